"use strict";
// Shows what `phone` (Bridge.java) tells: {"stage", "model", "job", "wanted", "copying", "trouble", "verdict", "done", "total",
// "tokens_per_second", "peak_rss", "memory", "computes", "leak", "costs", "reasons", "evidence", "chat", "run"}.

const EVERY = 500; // milliseconds between two questions to the app
const by = (id) => document.getElementById(id);

const WORDS = {
  "FAIL": ["bad", "FAIL", "What had to be forgotten comes back, or what must hold does not."],
  "CANNOT PASS": ["bad", "Cannot pass", "Too much may come back: the laptop will say FAIL or INCONCLUSIVE."],
  "INCONCLUSIVE": ["open", "INCONCLUSIVE", "A control does not hold, or another processor computed than was asked for: this run decides nothing."],
  "NOTHING AGAINST IT": ["calm", "Nothing against it so far", "This is not a PASS. The laptop judges the evidence."],
  "": ["", "Not judged yet", "Run the probes to see what comes back."],
};

const percent = (share) => `${(100 * share).toLocaleString("en", { maximumFractionDigits: 1 })} %`;
const megabytes = (bytes) => `${Math.round(bytes / 1e6).toLocaleString("en")} MB`;

function show(state) {
  by("model").textContent = state.model ? state.model.name : "No model yet";
  by("about").textContent = state.model ? `${state.model.format} · ${megabytes(state.model.bytes)} · sha256 ${state.model.sha256.slice(0, 12)}…` : "";
  by("trouble").hidden = !state.trouble;
  by("trouble-text").textContent = state.trouble || "";
  showVerdict(state);
  showSetup(state);
  showWork(state);
  showLeaks(state.leak);
  showCosts(state.costs || []);
  by("asked").hidden = !state.run;
  showChat(state.chat);
}

function showVerdict(state) {
  const [kind, word, meaning] = WORDS[state.verdict || ""];
  const going = ["opening", "running"].includes(state.stage);
  by("verdict").className = kind;
  set("word", word);
  const open = ["", "NOTHING AGAINST IT"].includes(state.verdict || "");
  by("meaning").textContent = going && open ? "This is not a PASS. The probes are running." : meaning;
  by("reasons").replaceChildren(...(state.reasons || []).map((reason) => element("li", "", reason)));
}

// A live region is read aloud when its text changes, and only then.
function set(id, text) {
  if (by(id).textContent !== text) by(id).textContent = text;
}

function showSetup(state) {
  by("setup").hidden = Boolean(state.ready);
  by("need-job").classList.toggle("done", Boolean(state.job));
  by("need-model").classList.toggle("done", Boolean(state.ready));
  by("wanted").textContent = state.model ? `${state.model.name} (${megabytes(state.model.bytes)})` : "named by the job";
  by("open-model").disabled = !state.job || Boolean(state.copying);
  by("open-job").disabled = Boolean(state.copying);
  by("other-job").hidden = !state.job || Boolean(state.copying) || ["opening", "running"].includes(state.stage);
  by("copying").hidden = !state.copying;
  if (state.copying) {
    by("copied").value = state.copying.bytes / state.copying.total;
    by("copied-text").textContent = `${megabytes(state.copying.bytes)} of ${megabytes(state.copying.total)} copied`;
  }
}

function showWork(state) {
  const going = ["opening", "running"].includes(state.stage);
  by("work").hidden = by("device").hidden = !state.ready;
  by("bar").max = state.total || 1;
  by("bar").value = state.done || 0;
  by("count").textContent = counted(state);
  by("speed").textContent = state.tokens_per_second ? `${state.tokens_per_second.toLocaleString("en", { maximumFractionDigits: 1 })} tokens/s` : "–";
  by("memory").textContent = `${state.peak_rss ? megabytes(state.peak_rss) : "–"} of ${megabytes(state.memory || 0)} needed`;
  by("computes").textContent = state.computes || "–";
  by("start").hidden = going;
  by("start").textContent = ["cancelled", "failed"].includes(state.stage) && state.done ? "Go on" : state.evidence ? "Run again" : "Run the probes";
  by("start").classList.toggle("main", !state.evidence);
  by("share").classList.toggle("main", Boolean(state.evidence));
  by("cancel").hidden = !going;
  by("share").hidden = by("share-note").hidden = !state.evidence;
}

function counted(state) {
  const of = `${(state.done || 0).toLocaleString("en")} of ${(state.total || 0).toLocaleString("en")} requests answered`;
  return { opening: "The model is being loaded.", cancelled: `Stopped: ${of}. It goes on where it stopped.`, failed: `Ended early: ${of}.` }[state.stage] || of;
}

function showLeaks(leak) {
  by("leaks").hidden = !leak;
  if (!leak) return;
  const bound = leak.upper === null ? " so far" : `: ${percent(leak.share)}, at most ${percent(leak.upper)} of subjects like these`;
  const text = `${leak.leaking} of ${leak.known} subjects that the original gives away came back${bound}. Limit: ${percent(leak.limit)}.`;
  by("leaks-text").textContent = text;
  gauge(by("leaks-drawn"), { seen: leak.share, reach: leak.upper, limit: leak.limit, said: text });
  by("critical").hidden = !leak.critical;
  by("critical").textContent = `${leak.critical_leaking} of ${leak.critical} critical probes came back. None may.`;
}

function showCosts(costs) {
  by("kept").hidden = !costs.length;
  by("kept-drawn").replaceChildren(...costs.map((cost) => {
    const box = element("div", "gauge");
    const text = `${cost.name}: ${cost.seen.toLocaleString("en", { maximumFractionDigits: 2, signDisplay: "exceptZero" })}. Limit: ${cost.limit.toLocaleString("en")}.`;
    const drawn = element("div", "drawn");
    box.append(element("p", "", text), drawn);
    gauge(drawn, { seen: cost.seen, reach: null, limit: cost.limit, said: text });
    return box;
  }));
}

let last = "", run = "", rowsSeen = 0;

function refresh() {
  const told = phone.state();
  if (told !== last) {
    last = told;
    const state = JSON.parse(told);
    if (state.run !== run) { run = state.run; rowsSeen = 0; clearRows(); }
    show(state);
  }
  if (run) {
    const more = JSON.parse(phone.rows(rowsSeen));
    rowsSeen += more.length;
    addRows(more);
  }
}

by("start").addEventListener("click", () => { phone.start(); refresh(); });
by("cancel").addEventListener("click", () => { phone.cancel(); refresh(); });
by("share").addEventListener("click", () => phone.share());
by("open-job").addEventListener("click", () => phone.openJob());
by("other-job").addEventListener("click", () => phone.openJob());
by("open-model").addEventListener("click", () => phone.openModel());
by("licences").addEventListener("toggle", async () => {
  by("licence-texts").textContent = by("licences").open ? await (await fetch("edgeproof-licences.txt")).text() : "";
});
refresh();
setInterval(refresh, EVERY);
