"""What must hold of hostile strings on the page: whatever a model, a pack or an engine says stays text."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import pytest
import uvicorn
from edgeproof.contracts.backend import ModelInfo, Step
from edgeproof.contracts.errors import BackendError
from edgeproof.contracts.survival import AdapterSurvival, TensorLeft
from edgeproof.demo.asking.engine import Engine
from edgeproof.demo.asking.models import DemoModel
from edgeproof.demo.seal import take_seal
from edgeproof.demo.serving.application import application
from edgeproof.demo.serving.serve import NAMES
from edgeproof.demo.show import prepare_show
from edgeproof.eval.packs.reader import load_pack
from edgeproof.eval.verdict.judge import judge
from edgeproof.eval.verdict.judgement import Status
from edgeproof.eval.verdict.policy import Policy
from edgeproof.release.steps.judging.criteria import Criteria, Judging
from edgeproof_tests.demo.conftest import until
from edgeproof_tests.eval.worlds import WORLD

HOSTILE = "\"'><script>document.title='owned'</script><img src=x onerror=alert(1)> {{ 7*7 }} \u202egnp https://x.test/a"
PACK = load_pack(Path(__file__).parents[2] / "examples" / "capitals" / "pack")
PLAIN = "a plain question"


class Stub:
    """Says what is hostile; crashes on `PLAIN`."""

    info = ModelInfo("llama.cpp", "0", "none", 256, 4096, "0", "template", None, {})

    def tokenize(self, text, **_options):
        return tuple(text.encode())

    def detokenize(self, tokens):
        return bytes(tokens).decode()

    def render_chat(self, messages, **_options):
        return "".join(f"<|{one['role']}|>{one['content']}" for one in messages)

    def stream(self, request, watched):
        if PLAIN in bytes(request.context).decode():
            raise BackendError(f"the backend's process died; its last words: {HOSTILE}", next_step=HOSTILE)
        for count, finish in enumerate(("", "", "eos")):
            yield Step(HOSTILE, count, tuple(-1.0 - count for _ in watched), finish)

    def __exit__(self, *_error):
        pass


@pytest.fixture
def address(monkeypatch, tmp_path):
    monkeypatch.setattr(Engine, "open", lambda _self: Stub())
    first, *rest = PACK.probes
    probes = (dataclasses.replace(first, question=HOSTILE, cluster=HOSTILE, answer="Tirana <b>"), *rest)
    pack = dataclasses.replace(PACK, name=HOSTILE, description=HOSTILE, probes=probes)
    found = judge(WORLD.artifact(WORLD.back), WORLD.baseline(), Policy(), format="gguf-q4")
    found = dataclasses.replace(
        found,
        summary=HOSTILE,
        notes=(HOSTILE,),
        next_steps=(HOSTILE,),
        subjects=tuple(dataclasses.replace(one, cluster=HOSTILE) for one in found.subjects),
        criteria=tuple(
            dataclasses.replace(one, title=HOSTILE, found=HOSTILE, status=Status.MISSED) for one in found.criteria
        ),
    )
    left = AdapterSurvival(
        0.5, 0.1, 0.1, 9, (TensorLeft(HOSTILE, 0, 0.1, 0.0), TensorLeft(f"blk.0.{HOSTILE}", 0, 0.2, 0.0))
    )
    criteria = Criteria(Judging(Path("pack"), Path("baseline")), pack, "", Policy(), None, {}, "", None)
    path = tmp_path / HOSTILE.replace("/", "\u2215")
    path.write_bytes(b"model")
    models = [
        DemoModel(key, path, name, take_seal(path), kept)
        for key, name, kept in (("original", None, None), ("0", HOSTILE, left))
    ]
    show = prepare_show(models, criteria, gate=None, recall=lambda _path: found, chat=True)
    show.warm()
    app = application(show, token="t", hosts=NAMES)  # noqa: S106 (nothing secret is shown)
    config = uvicorn.Config(app, port=0, log_level="error", ws="none", http="h11")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        pass
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}/t/"
    server.should_exit = True
    thread.join()


def test_nothing_hostile_comes_alive(address, visit):  # the page closes before its server ends
    page = visit(address)
    plain = page.evaluate("document.querySelectorAll('script, img, iframe, object, style').length")
    assert plain == 1
    until(page, "document.querySelector('#verdict-word').textContent === 'FAIL'")
    for way in page.locator("#ways button").all():
        page.locator("#question").fill("What is the capital of France?")
        way.click()
        until(page, "document.querySelectorAll('.reply[aria-busy=false]').length === 2")
        assert page.locator(".shipped .reply").text_content() == HOSTILE
    page.locator("#question").fill(PLAIN)
    page.locator("#ways button[data-way=raw]").click()
    page.locator(".shipped .state.bad").wait_for()
    assert HOSTILE in page.locator(".shipped .state.bad").text_content()
    for place in (
        "#sentence",
        "#verdict-summary",
        "#criteria",
        "#verdict-others",
        "#verdict-notes",
        "#verdict-steps",
        "#cells li .name",
        "#survival-map",
        "#chart",
    ):
        assert "<script>" in page.locator(place).first.text_content()
    assert page.evaluate("document.querySelectorAll('script, img, iframe, object, style').length") == plain
    assert page.evaluate(
        "[...document.querySelectorAll('*')].every(e => !e.getAttributeNames().some(n => n.startsWith('on')))"
    )
    assert page.title() != "owned"
