// The page: loads the sheet, keeps its session alive, and shows what changes.

import { $, label, make, post, tell } from "./dom.js";
import * as asking from "./ask.js";
import * as probing from "./run.js";
import { measureSpeed, showFormats, showSurvival } from "./files.js";
import { showVerdict } from "./verdict.js";

const BUSY_MS = 700;
const IDLE_MS = 3000;

const rates = {};
let sheet;
let key = sessionStorage.getItem("edgeproof") ?? "";
let model = "0";
let state = { runs: {}, recorded: {}, trouble: {} };
let timer;
let shown = "";
let mapped;

async function begin() {
  const answer = await fetch("sheet");
  sheet = await answer.json();
  await enter();
  document.title = `edgeproof demo: ${sheet.name}`;
  $("sentence").textContent = sheet.sentence || `The pack ${sheet.name}`;
  fillFiles();
  asking.setUp(sheet, () => model);
  probing.setUp(sheet, () => key, () => model, poll);
  $("measure-speed").addEventListener("click", () => measureSpeed(sheet, rates, show));
  window.addEventListener("pagehide", () => navigator.sendBeacon("leave", JSON.stringify({ key })));
  window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) poll(); });
  show();
  await poll();
}

async function enter() {
  key = (await post("enter", { key })).key;
  sessionStorage.setItem("edgeproof", key);
}

function fillFiles() {
  const files = sheet.models.filter((one) => one.key !== "original");
  $("files").hidden = files.length < 2;
  for (const file of files) {
    const input = make("input", { attributes: { type: "radio", name: "file", value: file.key, autocomplete: "off" } });
    input.checked = file.key === model;
    input.addEventListener("change", () => { asking.stop(); $("replies").replaceChildren(); model = file.key; show(); });
    $("files").append(make("label", { children: [input, ` ${label(file)}`] }));
  }
}

async function poll() {
  clearTimeout(timer);
  try {
    const answer = await fetch(`state?key=${encodeURIComponent(key)}`);
    if (answer.ok) state = await answer.json();
    else await enter();
    if ($("trouble").dataset.gone) { tell(null); delete $("trouble").dataset.gone; }
  } catch {
    tell({ message: "The demo has ended.", next_step: "start it again in the terminal" });
    $("trouble").dataset.gone = "yes";
  }
  show();
  const busy = probing.active(state.runs[model]) || !(model in state.recorded);
  timer = setTimeout(poll, busy ? BUSY_MS : IDLE_MS);
}

function show() {
  const now = JSON.stringify([state, model, rates]);
  if (now === shown) return;
  shown = now;
  const file = sheet.models.find((one) => one.key === model);
  const run = state.runs[model];
  const recorded = state.recorded[model];
  const verdict = run?.verdict ?? recorded ?? null;
  const trouble = state.trouble[model];
  showVerdict(verdict, run?.verdict ? "Probed on this page just now." : recorded ? "From an earlier report on this very file, its scores judged again now." : trouble ? `No verdict is shown: ${[trouble.message, trouble.next_step].filter(Boolean).join(" → ")}` : "");
  probing.showRun(run, recorded, `evidence?key=${encodeURIComponent(key)}&model=${model}`);
  const verdicts = Object.fromEntries(sheet.models.map((one) => [one.key, state.runs[one.key]?.verdict ?? state.recorded[one.key]]));
  showFormats(sheet, verdicts, rates);
  if (mapped !== model) showSurvival(file);
  mapped = model;
}

begin().catch((error) => tell(error.message ? error : { message: "The demo does not answer.", next_step: "look at the terminal" }));
