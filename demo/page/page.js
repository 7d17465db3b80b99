// The page: loads the sheet, keeps its session alive, and shows what changes.

import { $, label, make, post, tell } from "./dom.js";
import * as asking from "./ask.js";
import * as probing from "./run.js";
import { measureSpeed, showFiles, showSurvival } from "./files.js";
import { showVerdict } from "./verdict.js";

const BUSY_MS = 700;
const IDLE_MS = 3000;

const rates = {};
let sheet;
let key = sessionStorage.getItem("edgeproof") ?? "";
let model = "0";
let state = { runs: {}, recorded: {}, recalling: [], trouble: {} };
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
  probing.setUp(sheet, { key: () => key, model: () => model, open: openFiles, active: activeFiles }, poll);
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
    $("files").append(make("label", { children: [input, make("span", { text: label(file) })] }));
  }
}

function verdictOf(file) {
  return state.runs[file.key]?.verdict ?? state.recorded[file.key] ?? null;
}

// Files that the gate can judge and has not judged here.
function openFiles() {
  return sheet.models.filter((one) => one.judged && !verdictOf(one) && !probing.active(state.runs[one.key])).map((one) => one.key);
}

function activeFiles() {
  return sheet.models.filter((one) => probing.active(state.runs[one.key])).map((one) => one.key);
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
  timer = setTimeout(poll, activeFiles().length || state.recalling.length ? BUSY_MS : IDLE_MS);
}

// Why there is no verdict on a file: in a word, in a sentence, and for the chart.
function without(file) {
  const run = state.runs[file.key];
  const trouble = state.trouble[file.key];
  const told = trouble && [trouble.message, trouble.next_step].filter(Boolean).join(" → ");
  if (probing.active(run)) return { word: "Being probed …", text: probing.status(run), short: probing.inShort(run), busy: true };
  if (state.recalling.includes(file.key)) return { word: "Reading the report …", text: "The scores of the earlier report are judged again.", short: "reading the report", busy: true };
  if (!file.judged) return { word: "Cannot be judged", text: told, short: "cannot be judged with this baseline" };
  if (run) return { word: "Not judged", text: probing.status(run), short: probing.inShort(run), run: true };
  if (trouble) return { word: "Not judged", text: `No verdict is shown: ${told}`, short: "its report is refused", run: true };
  return { word: "Not judged yet", text: "No report on this file was given. Run the probes: they take as long as the gate. Or ask the model yourself, below.", short: "not judged yet", run: true };
}

function show() {
  const now = JSON.stringify([state, model, rates]);
  if (now === shown) return;
  shown = now;
  const file = sheet.models.find((one) => one.key === model);
  const run = state.runs[model];
  const recorded = state.recorded[model];
  const verdict = verdictOf(file);
  showVerdict(verdict, run?.verdict ? "Probed on this page just now." : recorded ? "From an earlier report on this very file, its scores judged again now." : "", without(file));
  probing.showRun(run, recorded, `evidence?key=${encodeURIComponent(key)}&model=${model}`);
  const files = sheet.models.filter((one) => one.key !== "original");
  showFiles(sheet, Object.fromEntries(files.map((one) => [one.key, verdictOf(one)])), rates, Object.fromEntries(files.map((one) => [one.key, without(one)])));
  $("run-all").hidden = files.length < 2;
  $("run-all").disabled = !openFiles().length;
  $("stop-all").hidden = files.length < 2 || !activeFiles().length;
  if (mapped !== model) showSurvival(file);
  mapped = model;
}

begin().catch((error) => tell(error.message ? error : { message: "The demo does not answer.", next_step: "look at the terminal" }));
