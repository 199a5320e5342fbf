// Shows what api/overview tells, every few seconds while somebody looks. All text is set as text, never as HTML.

const INTERVAL = 3000;
const PATIENCE = 40000; // above what the server waits for the cluster at most
const AIRFLOW = new URL("..", location.href);
const $ = (id) => document.getElementById(id);
let shown = "";
let tellNow = () => {};

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") element.addEventListener("click", value);
    else if (value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function link(href, text) {
  const anchor = make("a", { href, rel: "noopener" }, text);
  anchor.addEventListener("click", (event) => {
    if (window.parent === window) return;
    // Airflow's frame lets nothing inside it move the window: Airflow's own document has to.
    event.preventDefault();
    const outside = window.parent.document.createElement("a");
    outside.href = href;
    outside.rel = "noopener";
    if (event.ctrlKey || event.metaKey || new URL(href).origin !== location.origin) outside.target = "_blank";
    outside.click();
  });
  return anchor;
}

function age(since) {
  let rest = Math.max(0, Math.floor(Date.now() / 1000 - since));
  const words = [];
  for (const [name, length] of [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]]) {
    const count = Math.floor(rest / length);
    rest %= length;
    if (count || words.length || name === "s") words.push(`${count} ${name}`);
  }
  return words.slice(0, 2).join(" ");
}

const time = (seconds) => new Date(seconds * 1000).toLocaleString();

function taskItem({ task, queue, since }) {
  const details = make("span", { class: "faint" }, ` · queue ${queue} · ${age(since)}`);
  if (!task) return make("li", {}, "A workload whose DAG you may not see, or that is no task", details);
  const parts = ["dags", task.dag_id, "runs", task.run_id, "tasks", task.task_id];
  if (task.map_index >= 0) parts.push("mapped", task.map_index);
  const name = `${task.dag_id}.${task.task_id}${task.map_index >= 0 ? `[${task.map_index}]` : ""}`;
  return make("li", {}, link(new URL(parts.map(encodeURIComponent).join("/"), AIRFLOW).href, name), details);
}

function workerItem(worker, mayDrain) {
  const draining = worker.state === "draining";
  const colour = { running: "good", draining: "warn" }[worker.state] ?? "faint";
  const slots = make("div", { class: "slots", "aria-hidden": "true" });
  const busy = worker.slots - worker.free;
  for (let slot = 0; slot < Math.min(worker.slots, 64); slot++) slots.append(make("i", { class: slot < busy ? "busy" : "" }));
  const serves = [...worker.queues, ...Object.entries(worker.resources).map(([name, amount]) => `${name}=${amount}`)];
  const button = mayDrain && make(
    "button",
    { "data-worker": worker.address, onclick: () => confirmDrain(worker, draining), "aria-label": `${draining ? "Keep" : "Drain"} worker ${worker.name}` },
    draining ? "Keep" : "Drain",
  );
  return make("div", { class: "worker" },
    make("div", {},
      make("span", { class: "name" }, String(worker.name)),
      make("span", { class: `badge ${colour}` }, worker.state),
      make("div", { class: "faint" }, worker.address),
      slots,
      make("div", { class: "faint" }, `${worker.free} of ${worker.slots} slots free${serves.length ? ` · serves ${serves.join(", ")}` : ""}`)),
    button || make("span"),
    make("ul", { class: "tasks" }, ...worker.running.map(taskItem)));
}

function clusterItems({ address, source, started, dashboard, versions, version_differences: differences }) {
  const rows = [["Dask scheduler", `${address} (${source})`]];
  if (started) rows.push(["Running since", `${time(started)} (${age(started)})`]);
  rows.push(["Versions", Object.entries(versions).filter(([, version]) => version).map((pair) => pair.join(" ")).join(", ")]);
  if (differences.length) rows.push(["Versions differ", make("span", { class: "bad" }, differences.join("; "))]);
  if (/^https?:/.test(dashboard ?? "")) rows.push(["Dask dashboard", link(dashboard, dashboard)]);
  return rows.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]);
}

function queueItem({ name, free, waiting, served }) {
  const text = served ? `${free} slots free · ${waiting} waiting` : `${waiting} waiting · no worker in service has it in [dask] queues`;
  return make("div", { class: "queue" }, make("span", { class: "name" }, name), make("span", { class: served ? "faint" : "bad" }, text));
}

function eventItem({ when, event, what, reason }) {
  return make("li", {}, make("span", { class: "faint" }, `${time(when)} · `), [event, what, reason].filter(Boolean).join(" · "));
}

function tile(number, text) {
  return make("div", { class: "tile" }, make("b", {}, String(number)), make("span", {}, text));
}

function showError(text, hint) {
  $("error").hidden = !text;
  if (text) $("error").replaceChildren(make("b", {}, text), make("p", {}, hint));
}

function show(data) {
  showError(data.error, "This page looks for the cluster as “airflow eks-dask status” does, on the API server's machine. It tries again by itself.");
  $("content").hidden = Boolean(data.error);
  $("events-section").hidden = !data.events.length;
  $("events").replaceChildren(...data.events.map(eventItem));
  if (data.error) return;
  const focused = document.activeElement?.dataset?.worker;
  const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
  const running = sum(data.workers.map((worker) => worker.running.length));
  $("tiles").replaceChildren(
    tile(data.workers.length, "workers"), tile(sum(data.workers.map((w) => w.slots)), "slots"),
    tile(running, "running"), tile(data.waiting_total, "waiting"));
  $("cluster").replaceChildren(...clusterItems(data.cluster));
  $("workers").replaceChildren(...(data.workers.length ? data.workers.map((w) => workerItem(w, data.may_drain)) : ["No worker has joined."]));
  $("queues").replaceChildren(...(data.queues.length ? data.queues.map(queueItem) : ["No queue is served or waited in."]));
  $("waiting-section").hidden = !data.waiting.length;
  $("waiting").replaceChildren(...data.waiting.slice(0, 50).map(taskItem));
  if (focused) document.querySelector(`[data-worker="${CSS.escape(focused)}"]`)?.focus();
}

async function ask(path, options = {}) {
  const response = await fetch(path, { ...options, signal: AbortSignal.timeout(PATIENCE) });
  const body = await response.json().catch(() => ({}));
  if (response.ok) return body;
  const detail = typeof body.detail === "string" ? body.detail : response.statusText;
  throw new Error(response.status === 401 ? "You are not logged in any more: reload Airflow" : `${response.status}: ${detail}`);
}

async function refresh() {
  try {
    const data = await ask("api/overview");
    const text = JSON.stringify(data);
    // Ages change although nothing else does.
    if (text !== shown || data.workers.some((w) => w.running.length)) show(data);
    shown = text;
    $("state").textContent = `As of ${new Date().toLocaleTimeString()}`;
  } catch (error) {
    shown = "";
    showError(`Airflow's API server did not tell: ${error.message}`, "What is below, if anything, is not current. The page tries again by itself.");
    $("state").textContent = "Not current";
  }
}

function confirmDrain(worker, cancel) {
  const dialog = $("confirm");
  $("confirm-title").textContent = `${cancel ? "Keep" : "Drain"} worker ${worker.name}?`;
  $("confirm-text").textContent = cancel
    ? `${worker.address} takes new tasks again.`
    : `${worker.address} finishes its ${worker.running.length} running tasks, takes no new ones, and leaves.`;
  $("confirm-yes").textContent = cancel ? "Keep it" : "Drain it";
  $("confirm-error").hidden = true;
  $("confirm-no").onclick = () => dialog.close();
  $("confirm-yes").onclick = async () => {
    $("confirm-yes").disabled = true;
    try {
      await ask("api/drain", {
        method: "POST",
        headers: { "Content-Type": "application/json", "X-Requested-With": "airflow-eks-dask" },
        body: JSON.stringify({ worker: worker.address, cancel }),
      });
      dialog.close();
      tellNow();
    } catch (error) {
      $("confirm-error").textContent = error.message;
      $("confirm-error").hidden = false;
    } finally {
      $("confirm-yes").disabled = false;
    }
  };
  dialog.showModal();
}

function followTheme() {
  const preferred = matchMedia("(prefers-color-scheme: dark)");
  const outside = window.parent === window ? null : window.parent.document.documentElement;
  const apply = () => document.documentElement.classList.toggle("dark",
    outside ? outside.classList.contains("dark") : preferred.matches);
  if (outside) new MutationObserver(apply).observe(outside, { attributes: true, attributeFilter: ["class"] });
  preferred.addEventListener("change", apply);
  apply();
}

followTheme();
while (true) {
  if (!document.hidden) await refresh();
  await new Promise((resolve) => { tellNow = resolve; setTimeout(resolve, INTERVAL); });
}
