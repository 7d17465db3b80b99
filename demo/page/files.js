// Files side by side in one chart, and what is left of the unlearning in each tensor of one.

import { $, amount, make, percent, post, size, tell, typeset } from "./dom.js";

const METRICS = [
  { title: "Size", from: (file) => file.size, words: size },
  { title: "Speed", from: (file, rates) => rates[file.key], words: (value) => `${value.toFixed(1)} tokens/s`, none: "not measured yet" },
  { title: "Leaks", name: "leak" },
  { title: "Recovery", name: "recovery" },
  { title: "Cost of quantizing", name: "quantizing-cost" },
  { title: "Cost of unlearning", name: "unlearning-cost" },
];

// `states` says of each file without a verdict why: { short, busy }.
export function showFiles(sheet, verdicts, rates, states) {
  const files = sheet.models.filter((model) => model.key !== "original");
  const columns = METRICS.map((metric) => column(metric, files, verdicts, rates));
  const head = make("tr", { attributes: { role: "row" }, children: [make("th", { text: "File", attributes: { scope: "col", role: "columnheader" } }), ...columns.map(heading)] });
  const body = files.map((file, index) => make("tr", { attributes: { role: "row" }, children: [
    rowHeading(file, verdicts[file.key], states[file.key]), ...columns.map((one) => cell(one, one.rows[index], states[file.key])),
  ] }));
  $("chart").replaceChildren($("chart").caption, make("thead", { children: [head] }), make("tbody", { children: body }));
}

function column(metric, files, verdicts, rates) {
  const rows = files.map((file) => {
    const found = verdicts[file.key]?.criteria.find((one) => one.name === metric.name);
    // What decides: the lower bound of a missed criterion, else the upper one.
    const value = metric.name ? (found?.status === "missed" ? found.lower : found?.upper) : metric.from(file, rates);
    return { found, value: value ?? null };
  });
  const judged = rows.find((row) => row.found)?.found;
  const limit = judged?.limit ?? null;
  return { metric, rows, limit, unit: judged?.unit, most: Math.max(limit ?? 0, ...rows.map((row) => row.value ?? 0)) * 1.1 || 1 };
}

function heading({ metric, limit, unit }) {
  const under = limit === null ? [] : [make("small", { text: `limit ${amount(limit, unit)}`, className: "quiet" })];
  return make("th", { attributes: { scope: "col", role: "columnheader" }, children: [make("span", { text: metric.title }), ...under] });
}

function rowHeading(file, verdict, state) {
  const word = verdict ? make("b", { text: verdict.verdict, className: `word ${verdict.verdict.toLowerCase()}` })
    : make("span", { text: state.short, className: "quiet" });
  return make("th", { attributes: { scope: "row", role: "rowheader" }, children: [
    make("span", { text: file.format ?? "unknown format", className: "format" }), " ", word, make("small", { text: file.name, className: "quiet" }),
  ] });
}

function cell({ metric, limit, unit, most }, { found, value }, state) {
  const small = make("span", { text: `${metric.title}${limit === null ? "" : `, limit ${amount(limit, unit)}`}`, className: "narrow quiet" });
  if (value === null) {
    const words = found ? typeset(found.found) : (metric.none ?? (state?.busy ? "…" : "not judged"));
    const bound = found ? [make("small", { text: "no bound", className: "quiet" })] : [];
    return make("td", { attributes: { role: "cell" }, children: [small, make("span", { text: words, className: `value${found ? "" : " quiet"}` }), ...bound] });
  }
  const fill = make("span", { className: `fill ${found ? found.status : "plain"}` });
  fill.style.width = `${(100 * Math.max(0, value)) / most}%`;
  const track = make("span", { className: "track", attributes: { "aria-hidden": "true" }, children: [fill] });
  if (limit !== null) {
    const line = make("span", { className: "line" });
    line.style.left = `${(100 * limit) / most}%`;
    track.append(line);
  }
  const words = found ? typeset(found.found) : metric.words(value);
  const bound = found ? [make("small", { text: `${found.status === "missed" ? "at least" : "at most"} ${amount(value, unit)}`, className: "quiet" })] : [];
  return make("td", { attributes: { role: "cell" }, children: [small, track, make("span", { text: words, className: "value" }), ...bound] });
}

export async function measureSpeed(sheet, rates, changed) {
  const pressed = $("measure-speed");
  pressed.disabled = true;
  try {
    for (const file of sheet.models.filter((model) => model.key !== "original")) {
      rates[file.key] = (await post("speed", { model: file.key })).rate;
      changed();
    }
    tell(null);
  } catch (error) {
    tell(error);
  }
  pressed.disabled = false;
}

export function showSurvival(file) {
  const left = file.survival;
  const box = $("survival-map");
  if (left === null) {
    box.replaceChildren(make("p", { className: "lead", text: "The manifest beside this file says nothing of single tensors. `export-edge inspect --base BASE --adapter ADAPTER FILE` measures it." }));
    return;
  }
  const lead = make("p", { className: "lead", text: "The share of the adapter's change to each tensor that is left in this file, in percent: 100 is all of it, 0 is none. It explains a verdict and is no part of it." });
  const found = make("p", { className: "found", children: [
    make("b", { text: percent(left.projection) }), ` of the adapter is left. ${left.lost} of ${left.tensors} tensors have kept less than ${percent(left.lost_below)} of their change; the least is left of ${left.worst.name}, ${percent(Math.max(0, left.worst.projection))}.`,
  ] });
  const head = make("tr", { attributes: { role: "row" }, children: [make("th", { text: "layer", attributes: { scope: "col" } }), ...left.kinds.map((kind) => make("th", { attributes: { scope: "col" }, children: [make("span", { text: kind })] }))] });
  const body = left.rows.map((row) => make("tr", { children: [
    make("th", { text: String(row.layer), attributes: { scope: "row" } }),
    ...row.cells.map((share) => share === null ? make("td", { text: "·", className: "none", attributes: { "aria-label": "not touched" } })
      : make("td", { text: (100 * share).toFixed(0), className: `p${Math.round(10 * Math.min(1, Math.max(0, share)))}` })),
  ] }));
  const table = make("table", { className: "heat", children: [
    make("caption", { text: "Left of the adapter by layer and tensor, in percent" }), make("thead", { children: [head] }), make("tbody", { children: body }),
  ] });
  box.replaceChildren(lead, found, make("div", { className: "scroll", attributes: { tabindex: "0", role: "region", "aria-label": "Survival map" }, children: [table] }));
}
