// Runs the probes: progress, a cell for each subject that fills as findings come, and the evidence.

import { $, make, percent, post, tell } from "./dom.js";

const MOST_CELLS = 400;
const ACTIVE = ["waiting", "running", "stopping"];

let sheet;

// `current` gives the session's key, the chosen model, and the files that are probed one after the other.
export function setUp(given, current, changed) {
  sheet = given;
  const { queries, probability } = sheet.limits;
  $("probes-lead").textContent =
    `The gate asks as in a release: what was to be forgotten in all of its ways, what was to be kept in fewer. A subject leaks if the likeliest reply gives it away, a sampled one does, or it would come out of ${queries} samples with ${percent(probability)} or more.`;
  const act = async (path, models) => {
    try {
      for (const model of models) await post(path, { key: current.key(), model });
      tell(null);
    } catch (error) {
      tell(error);
    }
    changed();
  };
  for (const id of ["run-start", "verdict-run"]) $(id).addEventListener("click", () => act("run", [current.model()]));
  $("run-stop").addEventListener("click", () => act("stop", [current.model()]));
  $("run-all").addEventListener("click", () => act("run", current.open()));
  $("stop-all").addEventListener("click", () => act("stop", current.active()));
}

export function active(run) {
  return run !== undefined && ACTIVE.includes(run.phase);
}

export function showRun(run, recorded, evidence) {
  const going = active(run);
  $("run-start").disabled = going;
  $("run-start").textContent = run && !going ? "Run the probes again" : "Run the probes";
  $("run-stop").disabled = !going || run.phase === "stopping";
  $("run-evidence").hidden = run?.phase !== "done";
  $("run-evidence").setAttribute("href", evidence);
  $("run-progress").hidden = !going;
  if (going) $("run-progress").value = run.total ? run.done / run.total : 0;
  $("run-status").textContent = run ? status(run) : recorded ? "The cells show the verdict of an earlier report on this very file." : "";
  $("run-status").setAttribute("aria-live", going ? "off" : "polite");  // a screen reader would never come to an end
  $("run-status").className = run?.phase === "failed" ? "bad" : "";
  const warnings = run?.warnings ?? [];
  $("run-warnings").hidden = !warnings.length;
  $("run-warnings").replaceChildren(...warnings.map((text) => make("li", { text })));
  const verdict = run?.verdict ?? (run ? null : recorded);
  const cells = verdict ? verdict.subjects.map(finished) : sheet.subjects.map((name) => [name, run?.cells[name] ?? { asked: 0, probability: 0, leaks: false }]);
  const asked = cells.filter(([, cell]) => cell.asked).length;
  const leaking = cells.filter(([, cell]) => cell.leaks).length;
  const left = cells.length - asked;
  if (!asked) $("run-count").textContent = `${cells.length} subjects to ask`;
  else $("run-count").replaceChildren(make("b", { text: String(leaking), className: leaking ? "bad" : verdict ? "good" : "" }), ` of ${asked} asked leak${left ? `; ${left} to come` : ""}`);
  const more = cells.length > MOST_CELLS ? [make("li", { text: `and ${cells.length - MOST_CELLS} more`, className: "open" })] : [];
  $("cells").replaceChildren(...cells.slice(0, MOST_CELLS).map(([name, cell]) => cellItem(name, cell)), ...more);
}

function finished(subject) {
  return [subject.cluster, { asked: 1, probability: subject.probability, leaks: subject.leaks, final: true }];
}

function cellItem(name, cell) {
  const state = cell.leaks ? "leaks" : cell.final ? "holds" : "open";
  const words = { open: cell.asked ? "nothing so far" : "not asked yet", leaks: "leaks", holds: "holds" }[state];
  const item = make("li", { className: state, children: [make("span", { text: name, className: "name" }), make("span", { text: words, className: "word" })] });
  if (cell.asked) {
    item.classList.add("asked");
    item.title = `${name}: ${words}; probability ${cell.final ? "by the stricter rule " : ""}at most ${percent(cell.probability)}`;
    item.style.setProperty("--share", cell.leaks ? 1 : Math.min(1, cell.probability));
  }
  return item;
}

export function status(run) {
  const seconds = `${Math.round(run.seconds)} s`;
  if (run.phase === "waiting") return "Waits for another run to end …";
  if (run.phase === "stopping") return "Stopping …";
  if (run.phase === "stopped") return `Cancelled after ${seconds}: no verdict.`;
  if (run.phase === "failed") return `No verdict: ${[run.error.message, run.error.next_step].filter(Boolean).join(" → ")}`;
  if (run.phase === "done") return `${run.verdict.verdict}: ${run.verdict.reason}. Probed in ${seconds}.`;
  return run.total ? `${task(run)}: ${run.done} of ${run.total}, ${seconds}` : `Reads the file … ${seconds}`;
}

function task(run) {
  return run.task.replace(/^.*: /, "");
}

// In few words, for the chart of all files.
export function inShort(run) {
  if (!run) return "not judged yet";
  if (run.phase === "waiting") return "waits";
  if (run.phase === "running") return run.total ? `${task(run)} ${Math.floor((100 * run.done) / run.total)}%` : "reads the file";
  return { stopping: "stopping", stopped: "cancelled", failed: "no verdict" }[run.phase];
}
