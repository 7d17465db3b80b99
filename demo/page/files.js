// Files side by side, and what is left of the unlearning in each tensor of one.

import { $, label, make, percent, post, size, tell } from "./dom.js";

const METRICS = [
  { title: "Size", from: (file) => file.size, words: (value) => size(value) },
  { title: "Speed", from: (file, verdict, rate) => rate, words: (value) => `${value.toFixed(1)} tokens/s` },
  { title: "Leaks", name: "leak" },
  { title: "Recovery", name: "recovery" },
  { title: "Cost of quantizing", name: "quantizing-cost" },
  { title: "Cost of unlearning", name: "unlearning-cost" },
];

export function showFormats(sheet, verdicts, rates) {
  const files = sheet.models.filter((model) => model.key !== "original");
  $("metrics").replaceChildren(...METRICS.map((metric) => figure(metric, files, verdicts, rates)));
}

function figure(metric, files, verdicts, rates) {
  const rows = files.map((file) => {
    const verdict = verdicts[file.key];
    const found = metric.name ? verdict?.criteria.find((one) => one.name === metric.name) : null;
    const value = metric.name ? (found?.upper ?? null) : (metric.from(file, verdict, rates[file.key]) ?? null);
    return { file, verdict, found, value };
  });
  const limit = rows.find((row) => row.found?.limit !== undefined && row.found?.limit !== null)?.found.limit ?? null;
  const unit = rows.find((row) => row.found)?.found.unit;
  const most = Math.max(limit ?? 0, ...rows.map((row) => row.value ?? 0)) * 1.1 || 1;
  const title = metric.title + (limit === null ? "" : `, limit ${worded(limit, unit)}`);
  return make("figure", {
    className: "metric",
    children: [make("figcaption", { text: title }), ...rows.map((row) => bar(row, metric, limit, most))],
  });
}

function worded(value, unit) {
  return unit === "share" ? percent(value) : `${value.toFixed(3).replace("-", "−")} nat`;
}

function bar({ file, verdict, found, value }, metric, limit, most) {
  const words = value === null ? (metric.name ? "not probed yet" : "not measured yet") : metric.words ? metric.words(value) : `≤ ${worded(value, found.unit)}`;
  const fill = make("span", { className: `fill ${found ? found.status : "plain"}` });
  fill.style.width = `${(100 * Math.max(0, value ?? 0)) / most}%`;
  const track = make("span", { className: "track", attributes: { "aria-hidden": "true" }, children: [fill] });
  if (limit !== null) {
    const line = make("span", { className: "line" });
    line.style.left = `${(100 * limit) / most}%`;
    track.append(line);
  }
  const title = make("span", { className: "label", children: [make("span", { text: label(file) })] });
  if (metric.name === "leak" && verdict) title.append(" ", make("b", { text: verdict.verdict, className: `word ${verdict.verdict.toLowerCase()}` }));
  return make("div", { className: "bar-row", children: [title, track, make("span", { text: words, className: "value" })] });
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
  const head = make("tr", { children: [make("th", { text: "layer", attributes: { scope: "col" } }), ...left.kinds.map((kind) => make("th", { attributes: { scope: "col" }, children: [make("span", { text: kind })] }))] });
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
