// What all parts of the page are made of. Text is always set as text, never as HTML.

const AIRFLOW = new URL("..", location.href);

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") element.addEventListener("click", value);
    else if (value !== undefined && value !== null && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const all = (element, selector) => [...element.querySelectorAll(selector)];

export function text(element, words) {
  if (element.textContent !== words) element.textContent = words;
}

export const count = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;

export const faint = (...children) => make("p", { class: "faint" }, ...children);

export const badge = (words, colour = "") => make("span", { class: `badge ${colour}` }, words);

/** Return a time span up to now in words, in its two largest units. Clocks of two machines differ: below 0 is 0. */
export function age(since) {
  return span(Date.now() / 1000 - since);
}

export function span(seconds) {
  let rest = Math.max(0, Math.floor(seconds));
  const words = [];
  for (const [name, length] of [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]]) {
    const whole = Math.floor(rest / length);
    rest %= length;
    if (whole || words.length || name === "s") words.push(`${whole} ${name}`);
  }
  return words.slice(0, 2).join(" ");
}

/** Return a time span that goes on while one looks. */
export function running(since) {
  return make("time", { "data-since": since, datetime: new Date(since * 1000).toISOString() }, age(since));
}

/** Return a moment: of today without the date. */
export function time(seconds) {
  const moment = new Date(seconds * 1000);
  const today = moment.toDateString() === new Date().toDateString();
  return today ? moment.toLocaleTimeString() : moment.toLocaleString();
}

export function link(href, words, focus) {
  return make("a", { href, rel: "noopener", target: new URL(href).origin === location.origin ? undefined : "_blank", "data-focus": focus }, words);
}

/** Return a link to a task instance in Airflow; of another's DAG there is no more to say than that it is there. */
export function taskLink(task, focus) {
  if (!task) return make("span", {}, "a workload whose DAG you may not see, or that is no task");
  const name = `${task.dag_id}.${task.task_id}${task.map_index >= 0 ? `[${task.map_index}]` : ""}`;
  if (!task.run_id) return make("span", {}, name);
  const parts = ["dags", task.dag_id, "runs", task.run_id, "tasks", task.task_id];
  if (task.map_index >= 0) parts.push("mapped", task.map_index);
  return link(new URL(parts.map(encodeURIComponent).join("/"), AIRFLOW).href, name, focus);
}

export function runLink({ dag_id: dagId, run_id: runId }) {
  const path = ["dags", dagId, "runs", runId].map(encodeURIComponent).join("/");
  return link(new URL(path, AIRFLOW).href, runId, `run:${dagId}:${runId}`);
}

/**
 * Return a table in a box of its own, which scrolls where the screen is narrow.
 *
 * The first cell of each row is its header, unless the row says otherwise.
 */
export function table(name, caption, columns, rows) {
  const head = make("thead", {}, make("tr", {}, columns.map((column) =>
    make("th", { scope: "col" }, column || make("span", { class: "unseen" }, "Action")))));
  const whole = make("table", {}, make("caption", { class: "unseen" }, caption), head, make("tbody", {}, rows));
  return make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption, "data-name": name, "data-focus": `table:${name}` }, whole);
}

/** Follow a link out of Airflow's frame, which lets nothing inside it move the window: Airflow's own document has to. */
export function outward(event) {
  const anchor = event.target.closest?.("a[href]");
  if (!anchor || window.parent === window) return;
  event.preventDefault();
  const outside = window.parent.document.createElement("a");
  outside.href = anchor.href;
  outside.rel = "noopener";
  if (event.ctrlKey || event.metaKey || anchor.target === "_blank") outside.target = "_blank";
  outside.click();
}

/** Be dark when Airflow around it is, or, without one, when the browser is. */
export function followTheme() {
  const preferred = matchMedia("(prefers-color-scheme: dark)");
  const outside = window.parent === window ? null : window.parent.document.documentElement;
  const apply = () => document.documentElement.classList.toggle("dark",
    outside ? outside.classList.contains("dark") : preferred.matches);
  if (outside) new MutationObserver(apply).observe(outside, { attributes: true, attributeFilter: ["class"] });
  preferred.addEventListener("change", apply);
  apply();
}
