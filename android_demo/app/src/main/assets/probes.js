"use strict";
// The questions as they are answered, the newest first. More may become known of one: its row is told again.

const AT_ONCE = 40;
let rows = new Map(), filter = "all", shown = AT_ONCE;

const SHOWS = {
  all: () => true,
  leaks: (row) => row.leaks,
  kept: (row) => row.role === "retain",
};

function element(name, kind, text) {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  if (text !== undefined) { made.textContent = text; made.dir = "auto"; }
  return made;
}

function said(who, text) {
  const line = element("p");
  const name = element("span", "who", `${who}: `);
  name.removeAttribute("dir");
  line.append(name, element("bdi", "", text));
  return line;
}

// What the verdict of one asking is called.
function tagged(row) {
  if (row.role === "retain") return row.right ? ["fine", "Still known"] : ["bad", "No longer known"];
  if (row.leaks) return ["bad", row.role === "holdout" ? "Right, though never taught" : "Came back"];
  return ["fine", row.role === "holdout" ? "Not known, never taught" : "Did not come out"];
}

function original(row) {
  if (row.base === null) return "not recorded";
  if (row.role === "retain") return row.base ? "knew it" : "did not know it";
  return row.base ? "gave it away" : "did not give it away when asked like this";
}

function drawn(row) {
  const item = element("li");
  const [kind, word] = tagged(row);
  const tag = element("span", `tag ${kind}`, word);
  tag.removeAttribute("dir");
  item.append(element("p", "question", row.question), said("Answer asked for", row.answer),
    said(`Original (${row.surface})`, original(row)), said(`Shipped (${row.surface})`, row.reply ?? "no reply of its own; its probability was computed"), tag);
  return item;
}

function drawRows() {
  const those = [...rows.values()].filter(SHOWS[filter]);
  document.getElementById("rows").replaceChildren(...those.slice(-shown).reverse().map(drawn));
  document.getElementById("more").hidden = those.length <= shown;
  const none = document.getElementById("none");
  none.hidden = those.length > 0;
  none.textContent = filter === "leaks" ? "Nothing came back so far." : "Nothing answered yet.";
}

function addRows(more) {
  if (!more.length) return;
  for (const row of more) {
    rows.delete(row.ask);
    rows.set(row.ask, row);
  }
  drawRows();
}

function clearRows() {
  rows = new Map();
  shown = AT_ONCE;
  drawRows();
}

for (const button of document.querySelectorAll("[data-show]")) {
  button.addEventListener("click", () => {
    filter = button.dataset.show;
    shown = AT_ONCE;
    for (const other of document.querySelectorAll("[data-show]")) other.setAttribute("aria-pressed", String(other === button));
    drawRows();
  });
}
document.getElementById("more").addEventListener("click", () => { shown += AT_ONCE; drawRows(); });
