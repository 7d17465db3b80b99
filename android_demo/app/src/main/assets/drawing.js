"use strict";
// Gauges: what was seen, how far it may reach, and the limit, on one scale from 0.

const SVG = "http://www.w3.org/2000/svg";

function shape(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// Draws into `place`: a bar up to `seen`, a whisker up to `reach` (or none), a dashed line at `limit`. `said` is the text for
// those who do not see it. Mirrored where the page runs from right to left.
function gauge(place, { seen, reach, limit, said }) {
  const end = 1.25 * Math.max(limit, seen, reach ?? 0, 1e-9);
  const at = (value) => 1000 * Math.min(Math.max(value, 0), end) / end;
  const svg = shape("svg", { viewBox: "0 0 1000 44", preserveAspectRatio: "none", role: "img", "aria-label": said });
  if (getComputedStyle(document.documentElement).direction === "rtl") svg.setAttribute("transform", "scale(-1 1)");
  svg.append(shape("rect", { class: "track", x: 0, y: 10, width: 1000, height: 24, "vector-effect": "non-scaling-stroke" }));
  svg.append(shape("rect", { class: (reach ?? seen) > limit ? "seen over" : "seen", x: 0, y: 10, width: at(seen), height: 24 }));
  if (reach !== null) {
    svg.append(line("reach", at(seen), 22, at(reach), 22), line("reach", at(reach), 14, at(reach), 30));
  }
  svg.append(line("limit", at(limit), 2, at(limit), 42));
  place.replaceChildren(svg);
}

function line(kind, x1, y1, x2, y2) {
  return shape("line", { class: kind, x1, y1, x2, y2, "vector-effect": "non-scaling-stroke" });
}
