// Questions, ways of asking, and the replies of the original and of the file that ships, side by side.

import { $, button, label, make, percent } from "./dom.js";
import { Curve } from "./curve.js";

let sheet;
let chosen;
let way;
let running = [];

export function setUp(given, currentModel) {
  [sheet, chosen] = [given, currentModel];
  way = (sheet.ways.find((one) => one.chat) ?? sheet.ways[0]).name;
  const forget = sheet.questions.filter((one) => one.role === "forget");
  const retain = sheet.questions.filter((one) => one.role === "retain");
  fillChips($("chips-forget"), "To be forgotten", best(forget, 6), (one) => one.subject);
  fillChips($("chips-retain"), "To be kept", best(retain, 3), (one) => one.text);
  const all = $("all-questions");
  all.append(group("To be forgotten", forget), group("To be kept", retain));
  all.addEventListener("change", () => all.value && choose(sheet.questions[Number(all.value)].text));
  $("ways").append(...sheet.ways.map(wayButton));
  explain();
  $("ask-form").addEventListener("submit", (event) => { event.preventDefault(); ask(); });
  $("question").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); ask(); }
  });
  $("ask-stop").addEventListener("click", stop);
  $("question").value = best(forget, 1)[0].text;
}

// Those that the original knows best, one for each subject.
function best(questions, count) {
  const sorted = questions.slice().sort((one, other) => other.known - one.known);
  const subjects = new Set();
  return sorted.filter((one) => !subjects.has(one.subject) && subjects.add(one.subject)).slice(0, count);
}

function fillChips(box, words, questions, short) {
  box.hidden = !questions.length;
  box.append(make("span", { text: words, className: "quiet" }), ...questions.map((one) => button(short(one), () => { choose(one.text); ask(); }, { title: one.text })));
}

// An option's value is a number: a browser may write what is chosen to its profile.
function group(title, questions) {
  const options = questions.map((one) => make("option", { text: `${one.text} (${one.answer})`, attributes: { value: String(sheet.questions.indexOf(one)) } }));
  return make("optgroup", { attributes: { label: title }, children: options });
}

function choose(text) {
  $("question").value = text;
}

function wayButton(one) {
  const made = button(one.title, () => { way = one.name; explain(); ask(); }, { title: one.meaning, "data-way": one.name });
  if (!one.asked) made.classList.add("extra");
  return made;
}

function explain() {
  for (const one of $("ways").children) one.setAttribute("aria-pressed", String(one.dataset.way === way));
  const now = sheet.ways.find((one) => one.name === way);
  $("way-meaning").textContent = `${now.title}: ${now.meaning}${now.asked ? "" : " This pack does not ask this way."}`;
}

export function stop() {
  for (const one of running) one.abort();
  running = [];
  $("ask-stop").disabled = true;
}

async function ask() {
  stop();
  const text = $("question").value;
  const models = sheet.models.filter((model) => model.key === "original" || model.key === chosen());
  const sampled = $("sampled").checked;
  const seed = Math.floor(Math.random() * 2 ** 32);
  $("ask-stop").disabled = false;
  const replies = models.map((model) => new Reply(model));
  $("replies").replaceChildren(...replies.map((reply) => reply.article));
  const own = models.map(() => new AbortController());
  running = own;
  await Promise.all(replies.map((reply, index) => reply.follow({ model: models[index].key, text, way, sampled, seed }, own[index].signal)));
  if (running === own) stop();
}

class Reply {
  constructor(model) {
    this.model = model;
    const title = model.key === "original" ? "Original" : "This file";
    this.prompt = make("pre");
    this.first = make("p", { className: "first quiet", attributes: { hidden: "" } });
    this.text = make("p", { className: "reply", attributes: { "aria-live": "polite", "aria-busy": "true" } });
    this.state = make("p", { className: "state", text: "waits …", attributes: { role: "status" } });
    this.numbers = make("p", { className: "numbers" });
    this.curve = new Curve();
    this.curve.svg.setAttribute("hidden", "");
    this.article = make("article", {
      className: model.key === "original" ? "original" : "shipped",
      attributes: { "aria-label": `Reply of ${title.toLowerCase()}` },
      children: [
        make("h3", { children: [make("span", { text: title }), make("small", { text: label(model), className: "quiet" })] }),
        this.first, this.text, this.state, this.numbers, this.curve.svg,
        make("details", { children: [make("summary", { text: "What the model reads" }), this.prompt] }),
      ],
    });
  }

  async follow(body, signal) {
    try {
      const answer = await fetch("ask", { method: "POST", body: JSON.stringify(body), signal });
      if (!answer.ok) return this.fail(await answer.json());
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        const lines = (rest + value).split("\n");
        rest = lines.pop();
        for (const line of lines) this.hear(JSON.parse(line));
      }
      if (!this.ended) this.fail({ message: "The reply broke off.", next_step: "ask again" });
    } catch (error) {
      if (signal.aborted) this.end("stopped");
      else this.fail({ message: "The demo does not answer any more.", next_step: "look at the terminal, and start it again" });
    }
  }

  hear(event) {
    if (event.kind === "waiting") this.state.textContent = event.ahead ? `${event.ahead} other ${event.ahead === 1 ? "question comes" : "questions come"} first …` : "reads the question …";
    else if (event.kind === "again") this.again();
    else if (event.kind === "prompt") this.begin(event);
    else if (event.kind === "step") this.step(event);
    else if (event.kind === "end") this.close(event);
    else if (event.kind === "error") this.fail(event);
  }

  begin(event) {
    this.prompt.textContent = event.text;
    this.answer = event.answer;
    const forgotten = event.role === "forget";
    this.what = { letter: "the right letter", subject: forgotten ? "the subject of the forgotten answer" : "the subject" }[event.target]
      ?? (forgotten ? "the forgotten answer" : "the answer");
    this.short = { letter: "the right letter", subject: "the subject" }[event.target] ?? "the answer";
    this.role = event.role;
    if (event.turn === 2) {
      this.first.hidden = false;
      this.first.textContent = `First reply: ${this.text.textContent || "(nothing)"}`;
      this.text.textContent = "";
      this.curve.points = [];
    }
    this.state.textContent = event.turn === 2 ? "is doubted, and answers again …" : "reads the question …";
  }

  // Its process had crashed before this question, which a new one is asked.
  again() {
    [this.first.hidden, this.text.textContent, this.curve.points] = [true, "", []];
    this.state.textContent = "this model's process had died: a new one is started …";
  }

  step(event) {
    this.text.textContent = event.text;
    this.state.textContent = "answers …";
    if (event.logprob === null) return;
    this.curve.svg.removeAttribute("hidden");
    this.curve.add(event.logprob);
    this.tellNumbers(` comes next with `, event.logprob, " now, at most ");
  }

  tellNumbers(verb, now, most) {
    this.numbers.replaceChildren(
      `“${this.answer}”, ${this.what},${verb}`, make("b", { text: percent(Math.exp(now)) }),
      most, make("b", { text: percent(Math.exp(this.curve.highest)) }),
    );
  }

  close(event) {
    this.text.textContent = event.text;
    if (event.turn === 1) return;
    const pace = event.rate === null ? "" : `first word after ${event.first_seconds.toFixed(1)} s, then ${event.rate.toFixed(1)} tokens/s`;
    this.end(pace);
    if (this.curve.points.length) this.tellNumbers(" came next with ", this.curve.points[0], " at the beginning, at most ");
    if (event.right === null) return;
    const words = `It ${event.right ? "gave" : "did not give"} ${this.short}`;
    const wanted = event.right === (this.role !== "forget");
    const tone = this.model.key === "original" ? "" : wanted ? "good" : "bad";
    this.state.prepend(make("b", { text: words, className: tone }), " · ");
  }

  end(words) {
    this.ended = true;
    this.state.textContent = words;
    this.text.setAttribute("aria-busy", "false");
    if (!this.text.textContent) this.text.textContent = "(nothing)";
    this.curve.describe();
  }

  fail(error) {
    this.end("");
    if (this.text.textContent === "(nothing)") this.text.textContent = "";
    this.state.className = "state bad";
    this.state.setAttribute("role", "alert");
    this.state.textContent = [error.message, error.next_step].filter(Boolean).join(" → ");
  }
}
