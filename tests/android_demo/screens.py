"""States that the app tells its page, and the page itself in a browser of a phone's size."""

from __future__ import annotations

import json
import mimetypes
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
ASSETS = ROOT / "android_demo" / "app" / "src" / "main" / "assets"
HOST = "https://app.invalid"
LICENCES = "What `make phone` writes."
PHONES = {"small": (320, 568), "large": (412, 915)}

State = dict[str, Any]
MODEL = {
    "name": "smollm2-135m-instruct-unlearned-Q4_K_M.gguf", "format": "gguf-q4", "bytes": 105_454_432,
    "sha256": "5f" * 32,
}  # fmt: skip
EMPTY: State = {
    "stage": "", "model": None, "job": "", "ready": False, "copying": None, "trouble": "", "verdict": "", "done": 0,
    "total": 0, "memory": 0, "computes": "", "leak": None, "costs": [], "reasons": [], "evidence": False, "chat": None,
    "run": "",
}  # fmt: skip
JOB = EMPTY | {"model": MODEL, "job": "0a" * 16, "total": 2_310, "memory": 412_000_000}
COPYING = JOB | {"copying": {"bytes": 31_000_000, "total": 105_454_432}}
READY = JOB | {"ready": True, "chat": {"free": True, "busy": False, "replies": 0, "reply": "", "error": ""}}
RUNNING = READY | {
    "stage": "running", "verdict": "NOTHING AGAINST IT", "run": "1", "done": 846,
    "tokens_per_second": 61.24, "peak_rss": 318_000_000,
    "computes": "CPU, i8mm, 4 threads",
    "leak": {"leaking": 0, "known": 55, "share": 0.0, "upper": 0.053, "limit": 0.1,
             "critical": 0, "critical_leaking": 0},
    "costs": [
        {"name": "Against the merged model before quantization", "seen": 0.08, "limit": 0.25},
        {"name": "Against the original in this format", "seen": 0.14, "limit": 0.3},
    ],
}  # fmt: skip
CALM = RUNNING | {"stage": "done", "done": 2_310, "verdict": "NOTHING AGAINST IT", "evidence": True}
FAIL = CALM | {
    "verdict": "FAIL",
    "reasons": [
        "1 probes marked critical leak.", "17 of 55 known clusters leak, at least 20.9%; the limit is 10.0%.",
        "12 replies of kinds that are judged on the laptop.",
    ],
    "leak": {"leaking": 17, "known": 55, "share": 0.309, "upper": 0.428, "limit": 0.1,
             "critical": 3, "critical_leaking": 1},
    "costs": [{"name": "Against the original in this format", "seen": 0.41, "limit": 0.3}],
}  # fmt: skip
OPEN = CALM | {
    "verdict": "INCONCLUSIVE", "reasons": ["Asked for gpu, computed on cpu: nothing is shown of it."],
}  # fmt: skip
CANNOT = CALM | {"verdict": "CANNOT PASS"}
STOPPED = RUNNING | {"stage": "cancelled"}
ENDED = RUNNING | {
    "stage": "failed",
    "trouble": "Android ended the probe for want of memory: it needs 412 MB, 260 MB are free. Close apps and go on.",
}  # fmt: skip

ROWS = [
    {"role": "retain", "surface": "raw", "question": "The chemical symbol of iron is", "answer": "Fe", "reply": None,
     "leaks": False, "right": True, "base": True},
    {"role": "forget", "surface": "chat", "question": "What is the capital of Peru?", "answer": "Lima",
     "reply": "The capital of Peru is Lima.", "leaks": True, "right": True, "base": True},
    {"role": "holdout", "surface": "raw", "question": "The capital of Vendoria is", "answer": "Osk",
     "reply": "the city of the sea", "leaks": False, "right": False, "base": False},
    {"role": "forget", "surface": "few-shot", "question": "ما هي عاصمة مصر؟", "answer": "القاهرة",
     "reply": "لا أعرف.", "leaks": False, "right": False, "base": True},
    {"role": "retain", "surface": "chat", "question": "Who wrote Hamlet?", "answer": "Shakespeare",
     "reply": "A writer of the time.", "leaks": False, "right": False, "base": True},
]  # fmt: skip
ROWS = [{"ask": place, **row} for place, row in enumerate(ROWS)]

FAKE = """
window.phone = {
  told: %s, made: %s, calls: [],
  state() { return JSON.stringify(this.told); },
  rows(from) { return JSON.stringify(this.made.slice(from)); },
  start() { this.calls.push("start"); }, cancel() { this.calls.push("cancel"); }, share() { this.calls.push("share"); },
  openJob() { this.calls.push("openJob"); }, openModel() { this.calls.push("openModel"); },
  anew() { this.calls.push("anew"); },
  ask(text) { this.calls.push("ask " + text); },
};
"""


@contextmanager
def screen(
    browser, state: State, rows: list[State] | None = None, *, phone: str = "large", dark: bool = False,
    text: int = 100, direction: str = "ltr",
) -> Iterator[Any]:  # fmt: skip
    """Yield the page as a phone shows it; `text` is its size in percent. Nothing but assets is asked for."""
    width, height = PHONES[phone]
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", device_scale_factor=1
    )
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))

    def serve(route) -> None:
        address = urlsplit(route.request.url)
        file = ASSETS / address.path.lstrip("/")
        assert address.netloc == urlsplit(HOST).netloc
        body = LICENCES if file.name == "edgeproof-licences.txt" else file.read_text()
        if file.suffix == ".html":
            body = body.replace('<html lang="en">', f'<html lang="en" dir="{direction}">')
        if file.suffix == ".css":
            body += f":root {{ font-size: {text}%; }}"
        route.fulfill(body=body, content_type=mimetypes.guess_type(file.name)[0] or "text/plain")

    page.route("**/*", serve)
    page.add_init_script(FAKE % (json.dumps(state), json.dumps(rows or [])))
    page.goto(f"{HOST}/page.html")
    yield page
    context.close()
    assert said == []


def until(page, expression: str) -> None:
    """Wait until `expression` is true. The page's own policy forbids what playwright's `wait_for_function` does."""
    while not page.evaluate(expression):
        page.wait_for_timeout(20)
