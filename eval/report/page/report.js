// Sorts tables by their heads and filters the probes. Without it all rows are there, leaking ones first.
"use strict";

function value(row, column) {
  const text = row.cells[column].textContent.trim();
  const number = Number(text.replace("%", ""));
  return text === "–" ? -Infinity : Number.isNaN(number) ? text : number;
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a < b ? -1 : a > b ? 1 : 0;
  return String(a).localeCompare(String(b), undefined, { numeric: true });
}

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const order = head.getAttribute("aria-sort") === "descending" ? 1 : -1;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order === 1 ? "ascending" : "descending");
      const body = table.tBodies[0];
      const rows = [...body.rows].map((row) => [value(row, column), row]);
      rows.sort((a, b) => order * compare(a[0], b[0]));
      body.append(...rows.map(([, row]) => row));
    });
  });
}

const form = document.querySelector("form.filter");
const rows = [...document.querySelectorAll("#probe-table tbody tr")];
const texts = rows.map((row) => [...row.querySelectorAll("bdi")].map((name) => name.textContent).join(" ").toLowerCase());

function filter() {
  const wanted = form.text.value.trim().toLowerCase();
  let shown = 0;
  rows.forEach((row, index) => {
    const fits = texts[index].includes(wanted)
      && (!form.role.value || row.dataset.role === form.role.value)
      && (!form.leaks.checked || "leaks" in row.dataset);
    row.hidden = !fits;
    shown += fits;
  });
  form.querySelector("output").textContent = `${shown} of ${rows.length}`;
}

form.hidden = false;
form.addEventListener("input", filter);
form.addEventListener("submit", (event) => event.preventDefault());
filter();
