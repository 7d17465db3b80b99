// Draws the probability of the forgotten answer along a reply, on a logarithmic scale.

import { drawn, percent } from "./dom.js";

const LOWEST = Math.log(1e-5);
const GRID = [1, 0.1, 0.01, 0.001, 0.0001];
const LEFT = 15;
const FEWEST = 12;

const height = (logprob) => 6 + 84 * Math.min(1, logprob / LOWEST);

export class Curve {
  constructor() {
    this.svg = drawn("svg", { class: "curve", width: "100%", height: 150, role: "img", "aria-label": "No probability yet" });
    this.points = [];
    this.draw();
  }

  add(logprob) {
    this.points.push(logprob);
    this.draw();
  }

  get highest() {
    return Math.max(...this.points);
  }

  draw() {
    const parts = [];
    for (const share of GRID) {
      const y = `${height(Math.log(share))}%`;
      parts.push(drawn("line", { class: "grid", x1: `${LEFT}%`, x2: "100%", y1: y, y2: y }));
      parts.push(drawn("text", { x: `${LEFT - 2}%`, y, dy: 4, "text-anchor": "end" }, percent(share)));
    }
    parts.push(drawn("text", { x: "100%", y: "99%", "text-anchor": "end" }, "along the reply →"));
    const count = Math.max(FEWEST, this.points.length - 1);
    const place = (index) => LEFT + 1 + (98 - LEFT) * (index / count);
    this.points.forEach((logprob, index) => {
      if (index === 0) return;
      parts.push(drawn("line", { class: "along", x1: `${place(index - 1)}%`, y1: `${height(this.points[index - 1])}%`, x2: `${place(index)}%`, y2: `${height(logprob)}%` }));
    });
    if (this.points.length) {
      const last = this.points.length - 1;
      parts.push(drawn("circle", { class: "now", cx: `${place(last)}%`, cy: `${height(this.points[last])}%`, r: 4 }));
    }
    this.svg.replaceChildren(...parts);
  }

  describe() {
    if (!this.points.length) return;
    const [first, last] = [this.points[0], this.points[this.points.length - 1]];
    this.svg.setAttribute(
      "aria-label",
      `Probability of the answer along the reply: ${percent(Math.exp(first))} at its beginning, ${percent(Math.exp(this.highest))} at most, ${percent(Math.exp(last))} at its end`,
    );
  }
}
