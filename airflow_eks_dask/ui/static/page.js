// Shows what api/overview tells, every few seconds while somebody looks.

import { age, all, count, followTheme, make, outward, text, time } from "./parts.js";
import { clusterSection } from "./cluster.js";
import { historySection, runSections } from "./story.js";

const INTERVAL = 3000;
const PATIENCE = 40000; // above what the server waits for clusters at most
const $ = (id) => document.getElementById(id);
const shown = new Map();
let tellNow = () => {};
let before = null;

/** Build a part of the page anew, but only if its data has changed: who reads, scrolls or tabs is not to be disturbed. */
function render(id, data, build) {
  const written = JSON.stringify(data);
  if (shown.get(id) === written) return;
  shown.set(id, written);
  const focused = document.activeElement?.dataset?.focus;
  const opened = all($(id), "details[open]").map((each) => each.dataset.name);
  const scrolled = all($(id), ".scroll").map((each) => [each.dataset.name, each.scrollLeft]);
  $(id).replaceChildren(...build());
  for (const name of opened) $(id).querySelector(`details[data-name="${CSS.escape(name)}"]`)?.setAttribute("open", "");
  for (const [name, left] of scrolled) {
    const box = $(id).querySelector(`.scroll[data-name="${CSS.escape(name)}"]`);
    if (box) box.scrollLeft = left;
  }
  if (focused && document.activeElement === document.body) $(id).querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
}

function showError(title, hint) {
  const written = title ? `${title}\n${hint}` : "";
  if (shown.get("error") === written) return;
  shown.set("error", written);
  $("error").hidden = !title;
  $("error").replaceChildren(...(title ? [make("b", {}, title), make("p", {}, hint)] : []));
}

function show(data) {
  const used = data.executor.includes("airflow_eks_dask");
  if (data.error) showError(data.error, "The clusters cannot be found before that is mended. The page tries again by itself.");
  else if (!used) showError(
    `This Airflow's tasks do not run on Dask: [core] executor = ${data.executor}.`,
    "Set it to airflow_eks_dask.DaskExecutor and restart Airflow; nothing else has to be configured to begin with.");
  else showError("");
  render("runs", data.runs, () => runSections(data.runs));
  // Without Dask, what there is to say about clusters is said above.
  const clusters = used ? data.clusters : data.clusters.filter((each) => each.address);
  render("clusters", [clusters, data.may_drain], () => clusters.map((each) => clusterSection(each, data.may_drain && askToDrain)));
  render("history", data.events, () => historySection(data.events));
  refreshAges();
  tellNews(data);
}

/** Say, to those who hear the page, what has changed since they last heard of it; not that time goes on. */
function tellNews(data) {
  const now = new Map(data.clusters.map((each) => [each.name, {
    cluster: each.error ? `${each.name}: ${each.error}` : `${each.name} answers`,
    workers: count(each.workers.length, "worker"),
    draining: `${each.workers.filter((worker) => worker.state === "draining").length} draining`,
  }]));
  if (before) {
    const news = [...now].flatMap(([name, said]) => Object.entries(said)
      .filter(([what, words]) => before.get(name)?.[what] !== words)
      .map(([what, words]) => (what === "cluster" ? words : `${words} on ${name}`)));
    for (const name of before.keys()) if (!now.has(name)) news.push(`${name} is no longer used`);
    if (news.length) $("news").textContent = news.join(". ");
  }
  before = now;
}

function refreshAges() {
  for (const each of all(document, "time[data-since]")) text(each, age(Number(each.dataset.since)));
}

async function ask(path, options = {}) {
  const response = await fetch(path, { ...options, signal: AbortSignal.timeout(PATIENCE) });
  const body = await response.json().catch(() => ({}));
  if (response.ok) return body;
  const detail = typeof body.detail === "string" ? body.detail : response.statusText;
  throw new Error(response.status === 401 ? "you are not logged in any more: reload Airflow" : `${response.status} ${detail}`);
}

async function refresh() {
  try {
    show(await ask("api/overview"));
    text($("state"), `As of ${time(Date.now() / 1000)}`);
  } catch (error) {
    showError(`Airflow's API server did not tell: ${error.message}.`, "What is below, if anything, is not current. The page tries again by itself.");
    text($("state"), "Not current");
  }
}

function askToDrain(cluster, worker) {
  const dialog = $("confirm");
  const cancel = worker.state === "draining";
  const tasks = worker.running.length;
  const others = cluster.workers.filter((each) => each.address !== worker.address && each.state === "running").length;
  $("confirm-title").textContent = cancel ? `Keep worker ${worker.name}?` : `Drain worker ${worker.name}?`;
  $("confirm-text").textContent = cancel
    ? `${worker.address} takes new tasks again.`
    : `${worker.address} takes no new tasks, ${tasks ? `finishes the ${tasks === 1 ? "one" : tasks} it runs` : "has none to finish"}, and leaves.`
      + (others ? "" : " It is the cluster's last worker: nothing runs there until another one joins.");
  $("confirm-yes").textContent = cancel ? "Keep it" : "Drain it";
  $("confirm-error").hidden = true;
  $("confirm-no").onclick = () => dialog.close();
  // The button that was pressed may have been made anew meanwhile.
  const opener = document.activeElement?.dataset?.focus;
  dialog.onclose = () => document.querySelector(`[data-focus="${CSS.escape(opener ?? "")}"]`)?.focus();
  $("confirm-yes").onclick = () => drain({ cluster: cluster.address, worker: worker.address, cancel });
  dialog.showModal();
}

async function drain(body) {
  $("confirm-yes").disabled = true;
  try {
    await ask("api/drain", {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Requested-With": "airflow-eks-dask" },
      body: JSON.stringify(body),
    });
    $("confirm").close();
    tellNow();
  } catch (error) {
    $("confirm-error").textContent = `It did not happen: ${error.message}.`;
    $("confirm-error").hidden = false;
  } finally {
    $("confirm-yes").disabled = false;
  }
}

followTheme();
document.addEventListener("click", outward);
while (true) {
  if (!document.hidden) await refresh();
  await new Promise((resolve) => { tellNow = resolve; setTimeout(resolve, INTERVAL); });
}
