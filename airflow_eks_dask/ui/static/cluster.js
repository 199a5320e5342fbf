// One Dask cluster: its lanes, workers, queues, and what waits.

import { badge, count, faint, link, make, running, table, taskLink, time } from "./parts.js";

const SLOTS_DRAWN = 32;
const WAITING_SHOWN = 50;
const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

/**
 * @param cluster As the server tells it.
 * @param askToDrain Called with the cluster and a worker; false for who may not.
 */
export function clusterSection(cluster, askToDrain) {
  const title = `cluster-${cluster.address ?? cluster.lanes.map((lane) => lane.name).join("-")}`;
  const state = cluster.error ? badge("not reached", "bad") : cluster.note ? badge("not seen") : badge("connected", "good");
  const head = make("div", { class: "head" },
    make("h2", { id: title }, cluster.name[0].toUpperCase() + cluster.name.slice(1)),
    state, cluster.lanes.map((lane) => make("span", { class: "badge lane" }, `lane ${lane.name}`)));
  const known = !cluster.error && !cluster.note;
  return make("section", { "aria-labelledby": title }, head,
    cluster.error && make("p", { class: "message fault" }, cluster.error),
    cluster.note && make("p", { class: "message" }, cluster.note),
    cluster.version_differences.length > 0 && make("p", { class: "message fault" },
      make("b", {}, "Versions differ between Airflow here and the Dask scheduler there: "), cluster.version_differences.join("; ")),
    known && tiles(cluster),
    facts(cluster),
    known && workers(cluster, askToDrain),
    cluster.queues.length > 0 && queues(cluster, known),
    cluster.waiting.length > 0 && waiting(cluster));
}

function tiles({ workers, queues, waiting_total: onCluster }) {
  const slots = sum(workers.map((worker) => worker.slots));
  const busy = sum(workers.map((worker) => worker.running.length));
  const waits = onCluster + sum(queues.map((queue) => queue.in_airflow));
  const tile = (number, words) => make("div", { class: "tile" }, make("dt", {}, words), make("dd", {}, String(number)));
  return make("dl", { class: "tiles" },
    tile(workers.length, workers.length === 1 ? "worker" : "workers"), tile(slots, slots === 1 ? "slot" : "slots"), tile(busy, "running"), tile(waits, "waiting"));
}

function facts(cluster) {
  const rows = [];
  if (cluster.address) rows.push(["Dask scheduler", [make("code", {}, cluster.address), ` from ${cluster.source}`]]);
  for (const { name, since } of cluster.lanes) {
    if (since) rows.push([`Lane ${name}`, ["uses it since ", time(since), ", for ", running(since)]]);
  }
  if (cluster.started) rows.push(["Up", ["since ", time(cluster.started), ", for ", running(cluster.started)]]);
  const versions = said(cluster.versions);
  if (versions) rows.push(["Versions", [versions]]);
  for (const [other, number] of workerVersions(cluster)) {
    rows.push(["Worker versions", [other === versions ? `the same on ${count(number, "worker")}` : `${other} on ${count(number, "worker")}`]]);
  }
  if (/^https?:/.test(cluster.dashboard ?? "")) {
    rows.push(["Dask dashboard", [link(cluster.dashboard, cluster.dashboard, `dashboard:${cluster.address}`)]]);
  }
  if (cluster.kubernetes) {
    rows.push(["Kubernetes dashboard", ["opened by ", make("code", {}, `airflow eks-dask dashboard --cluster ${cluster.kubernetes}`)]]);
  }
  if (!rows.length) return null;
  return make("dl", { class: "facts" }, rows.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
}

const said = (versions) => Object.entries(versions).map((pair) => pair.join(" ")).join(" · ");

/** Return how many workers have which versions. */
function workerVersions({ workers }) {
  const counts = new Map();
  for (const versions of workers.map((worker) => said(worker.versions)).filter(Boolean)) counts.set(versions, (counts.get(versions) ?? 0) + 1);
  return counts;
}

function workers(cluster, askToDrain) {
  const heading = make("h3", {}, "Workers");
  if (!cluster.workers.length) return [heading, faint("No worker has joined: nothing can run here.")];
  const columns = ["Worker", "State", "Slots", "Serves", "Runs", ...(askToDrain ? [""] : [])];
  const rows = cluster.workers.map((worker) => workerRow(cluster, worker, askToDrain));
  return [heading, table(`workers:${cluster.address}`, `Workers of ${cluster.name}`, columns, rows)];
}

function workerRow(cluster, worker, askToDrain) {
  const colour = { running: "good", draining: "warn" }[worker.state];
  const serves = [...worker.queues, ...Object.entries(worker.resources).map(([name, amount]) => `${name}=${amount}`)];
  const tasks = worker.running.map((workload) => make("li", {},
    taskLink(workload.task, focusOf(workload)), make("span", { class: "faint" }, " · ", running(workload.since))));
  return make("tr", { class: worker.version_differences.length ? "fault" : undefined },
    make("th", { scope: "row", class: "worker" }, worker.name, faint(worker.address),
      worker.version_differences.length > 0 && make("p", { class: "bad" }, `Versions differ: ${worker.version_differences.join("; ")}`)),
    make("td", {}, badge(worker.state, colour)),
    make("td", {}, slots(worker)),
    make("td", {}, serves.join(", ") || "–"),
    make("td", { class: "tasks" }, tasks.length ? make("ul", {}, tasks) : make("span", { class: "faint" }, "nothing")),
    askToDrain && make("td", { class: "action" }, drainButton(cluster, worker, askToDrain)));
}

function slots(worker) {
  const busy = worker.slots - worker.free;
  const drawn = Array.from({ length: Math.min(worker.slots, SLOTS_DRAWN) }, (_, slot) =>
    make("i", { class: slot < busy ? "busy" : undefined }));
  return [`${worker.free} of ${worker.slots} free`, make("div", { class: "slots", "aria-hidden": "true" }, drawn)];
}

function drainButton(cluster, worker, askToDrain) {
  const word = worker.state === "draining" ? "Keep" : "Drain";
  return make("button", {
    "data-focus": `drain:${cluster.address}:${worker.address}`,
    "aria-label": `${word} worker ${worker.name}`,
    onclick: () => askToDrain(cluster, worker),
  }, word);
}

function queues(cluster, known) {
  const rows = cluster.queues.map(({ name, free, waiting, in_airflow: inAirflow, served }) =>
    make("tr", { class: served ? undefined : "fault" },
      make("th", { scope: "row" }, name),
      make("td", {}, served ? (known ? "yes" : "not known") : make("span", { class: "bad" }, "no: no worker in service has it in [dask] queues")),
      make("td", { class: "number" }, known ? String(free) : "–"),
      make("td", { class: "number" }, String(waiting)),
      make("td", { class: "number" }, String(inAirflow))));
  return [make("h3", {}, "Queues"),
    table(`queues:${cluster.address}`, `Queues of ${cluster.name}`, ["Queue", "Served", "Free slots", "Waiting on the cluster", "Waiting in Airflow"], rows)];
}

function waiting(cluster) {
  const items = cluster.waiting.slice(0, WAITING_SHOWN).map((workload) => make("li", {},
    taskLink(workload.task, focusOf(workload)),
    make("span", { class: "faint" }, ` · queue ${workload.queue} · `, running(workload.since))));
  const more = cluster.waiting_total - items.length;
  return make("details", { "data-name": `waiting:${cluster.address}` },
    make("summary", { "data-focus": `waiting:${cluster.address}` }, `${count(cluster.waiting_total, "workload")} wait for a slot`),
    make("ul", { class: "tasks" }, items, more > 0 && make("li", { class: "faint" }, `and ${more} more`)));
}

function focusOf({ task, since }) {
  return task ? `task:${task.dag_id}:${task.run_id}:${task.task_id}:${task.map_index}` : `task:${since}`;
}
