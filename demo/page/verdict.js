// Draws a verdict: the word, the sentence, each bound against its limit, and what the gate says beside it.

import { $, drawn, make, typeset } from "./dom.js";

// `open` says what is known where there is no verdict: { word, text, run: whether to offer a run }.
export function showVerdict(verdict, source, open) {
  const box = $("verdict");
  box.className = verdict ? verdict.verdict.toLowerCase() : "unknown";
  $("verdict-word").textContent = verdict ? verdict.verdict : open.word;
  $("verdict-reason").textContent = verdict ? verdict.reason : "";
  $("verdict-summary").textContent = verdict ? typeset(verdict.summary) : open.text;
  $("verdict-run").hidden = verdict !== null || !open.run;
  $("verdict-source").textContent = source;
  const first = verdict ? verdict.criteria.filter((one) => one.first) : [];
  $("criteria").replaceChildren(...first.map(criterion));
  const others = verdict ? decidedElsewhere(verdict).map(typeset) : [];
  $("verdict-others").hidden = !others.length;
  $("verdict-others").textContent = others.length ? `The verdict also goes by: ${others.join("; ")}.` : "";
  list($("verdict-steps"), "Next step: ", verdict?.next_steps ?? []);
  const notes = verdict?.notes ?? [];
  list($("verdict-notes"), "Note: ", notes);
  $("verdict-more").hidden = !notes.length;
  $("verdict-more").firstChild.textContent = notes.length === 1 ? "1 note of the gate" : `${notes.length} notes of the gate`;
}

// What is not met and has no box of its own.
function decidedElsewhere(verdict) {
  const criteria = verdict.criteria.filter((one) => !one.first && (one.status === "missed" || (one.needed && one.status === "undecided")));
  const controls = verdict.controls.filter((one) => one.needed && one.status !== "holds");
  return [...criteria.map((one) => `${one.title} (${one.status}): ${one.words}`), ...controls.map((one) => `${one.title} (${one.status}): ${one.found}`)];
}

function list(box, before, texts) {
  box.hidden = !texts.length;
  box.replaceChildren(...texts.map((text) => make("li", { text: before + typeset(text) })));
}

function criterion(one) {
  const article = make("article", { className: `criterion ${one.status}` });
  const title = make("h3", { children: [make("span", { text: one.status, className: `chip ${one.status}` }), make("span", { text: one.title })] });
  article.append(title, make("p", { text: typeset(one.words), className: "found" }));
  if (one.figure) article.append(interval(one));
  article.append(make("p", { text: one.meaning, className: "meaning quiet" }));
  return article;
}

export function interval(one) {
  const figure = one.figure;
  const svg = drawn("svg", { class: `interval ${one.status}`, width: "100%", height: 46, role: "img", "aria-label": `${one.title}: ${typeset(one.words)}` });
  if (figure.limit !== null) svg.append(drawn("rect", { class: "allowed", x: 0, y: 4, width: `${figure.limit}%`, height: 22 }));
  svg.append(drawn("line", { class: "axis", x1: 0, x2: "100%", y1: 26, y2: 26 }));
  if (figure.start !== null) {
    svg.append(drawn("line", { class: "bar", x1: `${figure.start}%`, x2: `${figure.end}%`, y1: 15, y2: 15 }));
    for (const end of [figure.start, figure.end]) svg.append(drawn("line", { class: "end", x1: `${end}%`, x2: `${end}%`, y1: 9, y2: 21 }));
  }
  svg.append(drawn("circle", { class: "estimate", cx: `${figure.estimate}%`, cy: 15, r: 5 }));
  if (figure.limit !== null) svg.append(drawn("line", { class: "limit", x1: `${figure.limit}%`, x2: `${figure.limit}%`, y1: 2, y2: 30 }));
  for (const tick of figure.ticks) svg.append(drawn("text", { x: `${tick.place}%`, y: 42, "text-anchor": tick.anchor }, typeset(tick.words)));
  return svg;
}
