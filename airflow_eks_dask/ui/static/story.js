// Runs that build or remove a cluster, step by step, and what happened lately.

import { badge, count, make, runLink, running, span, table, taskLink, time } from "./parts.js";

const COLOURS = { success: "good", failed: "bad", running: "", queued: "" };
const MARKS = { done: "✓", skipped: "–", running: "●", retrying: "↻", failed: "✗", waiting: "○" };
const TONES = { done: "good", failed: "bad", retrying: "warn", running: "live" };

export function runSections(runs) {
  return runs.map((run) => {
    const id = `run-${run.dag_id}-${run.run_id}`;
    const tasks = run.steps.reduce((total, step) => total + step.total, 0);
    const done = run.steps.reduce((total, step) => total + step.done, 0);
    const part = make("i");
    part.style.setProperty("--part", `${tasks ? (100 * done) / tasks : 0}%`);
    return make("section", { "aria-labelledby": id },
      make("div", { class: "head" }, make("h2", { id }, run.dag_id), badge(run.state, COLOURS[run.state])),
      make("p", { class: "faint" }, runLink(run), ` · ${done} of ${count(tasks, "task")} done`, lasted(run)),
      make("div", { class: `bar ${run.state}`, "aria-hidden": "true" }, part),
      make("ol", { class: "steps" }, run.steps.map(stepItem)));
  });
}

function stepItem(step) {
  return make("li", { class: step.state },
    make("span", { class: TONES[step.state], "aria-hidden": "true" }, `${MARKS[step.state]} `),
    make("span", { class: "name" }, step.label),
    make("div", { class: "faint" }, step.state, step.total > 1 && ` · ${step.done} of ${step.total}`, lasted(step)),
    step.failed.length > 0 && make("ul", {}, step.failed.map((task) => make("li", {}, taskLink(task, `failed:${task.run_id}:${task.task_id}:${task.map_index}`)))));
}

function lasted({ state, started, ended }) {
  if (!started || state === "waiting") return null;
  return ended ? ` · ${span(ended - started)}` : [" · ", running(started)];
}

export function historySection(events) {
  if (!events.length) return [];
  const rows = events.map(({ when, what, reason, fault, task }) => make("tr", { class: fault ? "fault" : undefined },
    make("td", { class: "when" }, time(when)),
    make("td", { class: "what" }, fault && make("span", { class: "unseen" }, "Fault: "), make("span", { class: "name" }, what),
      task && [" · ", taskLink(task, `event:${when}`)]),
    make("td", { class: "what" }, reason || "–")));
  return [make("section", { "aria-labelledby": "history-title" },
    make("h2", { id: "history-title" }, "Recent moves and faults"),
    make("p", { class: "faint under" }, "From Airflow's audit log, the latest first."),
    table("history", "Recent moves and faults", ["When", "What", "Reason"], rows))];
}
