// Makes elements. Every text goes in as text: what a model says never becomes markup.

export const $ = (id) => document.getElementById(id);

export function make(name, { text, attributes = {}, children = [], className } = {}) {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  if (className) element.className = className;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

export function drawn(name, attributes = {}, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

export function button(text, act, attributes = {}) {
  const made = make("button", { text, attributes: { type: "button", ...attributes } });
  made.addEventListener("click", act);
  return made;
}

// A probability of any size; `amount` writes the numbers of a verdict.
export function percent(share) {
  const value = 100 * share;
  if (value === 0) return "0%";
  if (value < 0.0001) return "<0.0001%";
  if (value > 99.95 && value < 100) return ">99.9%";
  return `${Number(value < 1 ? value.toPrecision(2) : value.toFixed(1))}%`;
}

// A number with its unit, as the gate writes it: "6.2%", "+0.125 nat", "3".
export function amount(value, unit) {
  if (unit === "share") return `${(100 * value).toFixed(1)}%`;
  return typeset(unit === "nat" ? `${value < 0 ? "" : "+"}${value.toFixed(3)} nat` : String(value));
}

// The gate's texts with a minus sign before numbers.
export function typeset(text) {
  return text.replace(/(^|[\s(])-(?=\d)/g, "$1\u2212");
}

export function label(model) {
  return model.format ? `${model.format} · ${model.name}` : model.name;
}

export function size(bytes) {
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(0)} kB` : bytes < 1e9 ? `${(bytes / 1e6).toFixed(0)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;
}

// Show a message at the top: { message, next_step }.
export function tell(trouble) {
  const box = $("trouble");
  box.hidden = trouble === null;
  box.textContent = trouble === null ? "" : [trouble.message, trouble.next_step].filter(Boolean).join(" → ");
}

export async function post(path, body) {
  let answer;
  try {
    answer = await fetch(path, { method: "POST", body: JSON.stringify(body) });
  } catch {
    throw { message: "The demo has ended.", next_step: "start it again in the terminal" };
  }
  const told = await answer.json();
  if (!answer.ok) throw told;
  return told;
}
