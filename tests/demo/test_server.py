"""What must hold of the server on real files: the token, bad input, many at once, crashes, and every process's end."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import threading
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from edgeproof.export.artifact.manifest import manifest_path
from edgeproof_tests.demo.conftest import Demo

pytestmark = [pytest.mark.slow, pytest.mark.torch]


def kinds(events):
    return [event["kind"] for event in events]


def test_without_the_token_nothing_is_served(demo):
    where = urlsplit(demo.address)
    for path in ("/", "/sheet", "/wrong/sheet", "/" + where.path.strip("/")[:-1] + "/"):
        connection = HTTPConnection(where.netloc)
        connection.request("GET", path)
        answer = connection.getresponse()
        assert answer.status == 404
        assert b"it ends in a secret" in answer.read()
        connection.close()


def test_another_name_of_the_host_is_refused(demo):
    where = urlsplit(demo.address)
    connection = HTTPConnection(where.netloc)
    connection.request("GET", where.path, headers={"Host": "rebound.example"})
    assert connection.getresponse().status == 400
    connection.close()


def test_the_page_forbids_itself_every_other_host_and_every_cache(demo):
    where = urlsplit(demo.address)
    for path in ("", "page.js", "sheet"):
        connection = HTTPConnection(where.netloc)
        connection.request("GET", where.path + path)
        answer = connection.getresponse()
        content = answer.read().decode()
        connection.close()
        assert answer.status == 200
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'")
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        if path != "sheet":
            assert "https:" not in content


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"no json", "no JSON"),
        (b"[]", "no JSON object"),
        (b'{"text": "' + b"x" * 70_000 + b'"}', "more than 65,536 bytes; the demo takes 4,000 characters at most"),
        ({"model": "7"}, "no such model"),
        ({"model": "0", "way": "no way"}, "no such way of asking"),
    ],
)
def test_what_cannot_be_read_is_a_message(demo, body, words):
    status, content = demo.ask("POST", "ask", body)
    assert status == 400
    assert words in json.loads(content)["message"]


def test_a_question_of_10000_characters_is_a_message(demo):
    (*_, last) = demo.events(model="0", way="raw", text="x " * 5000)
    assert last["kind"] == "error"
    assert last["message"] == "the question has 9,999 characters; the demo takes 4,000 at most"
    assert last["next_step"] == "shorten it by 5,999 characters"


def test_what_is_longer_than_the_context_is_a_message(demo):
    text = "é" * 1000
    (*_, last) = demo.events(model="0", way="raw", text=text)
    assert last["kind"] == "error"
    found = re.fullmatch(
        r"with this question the model would read ([\d,]+) tokens, and its context of 512 has room for (\d+) beside "
        "the reply",
        last["message"],
    )
    read, room = (int(number.replace(",", "")) for number in found.groups())
    over, characters = (
        int(number.replace(",", ""))
        for number in re.match(
            r"shorten the question by ([\d,]+) tokens \(about ([\d,]+) characters\)", last["next_step"]
        ).groups()
    )
    assert read - room == over
    assert demo.events(model="0", way="raw", text=text[: len(text) - characters])[-1]["kind"] == "end"


def test_a_thousand_questions_at_once_are_each_answered_or_told(demo, world):
    fact = world.facts.forget[0]
    found = []

    def many():
        found.extend(demo.events(model="original", way="raw", text=fact.prompt)[-1] for _ in range(25))

    threads = [threading.Thread(target=many) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 1000
    answered = [event for event in found if event["kind"] == "end"]
    assert all(fact.answer in event["text"] for event in answered)
    turned_away = [event for event in found if event["kind"] == "error"]
    assert {event["message"] for event in turned_away} <= {"24 questions wait for this model"}
    assert len(answered) + len(turned_away) == 1000
    assert answered


def test_whoever_goes_away_stops_the_model(demo, world):
    where = urlsplit(demo.address)
    question = json.dumps({"model": "0", "way": "chat", "text": "hello", "sampled": True, "seed": 3}).encode()
    request = f"POST {where.path}ask HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(question)}\r\n\r\n".encode()
    for _ in range(40):  # more than may wait: those that left count no more
        with socket.create_connection((where.hostname, where.port)) as connection:
            connection.sendall(request + question)
            connection.recv(400)
    fact = world.facts.forget[0]
    (*_, last) = demo.events(model="0", way="raw", text=fact.prompt)
    assert last["kind"] == "end"


class Streaming:
    """A question of which the events are read one by one."""

    def __init__(self, demo, **question):
        where = urlsplit(demo.address)
        self.connection = HTTPConnection(where.netloc)
        self.connection.request("POST", where.path + "ask", json.dumps(question).encode())
        self.answer = self.connection.getresponse()

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.answer.close()
        self.connection.close()

    def until(self, kind):
        """The next event of a kind."""
        while (event := json.loads(self.answer.readline()))["kind"] != kind:
            pass
        return event


def test_a_crash_within_a_reply_is_a_message_and_the_next_question_is_answered(demo, world):
    fact = world.facts.forget[0]
    long = {"model": "original", "way": "chat", "text": fact.prompt, "sampled": True, "seed": 3}
    assert kinds(demo.events(**long))[-1] == "end"
    with Streaming(demo, **long) as reply:
        reply.until("step")
        for child in demo.children():
            os.kill(child, signal.SIGSEGV)
        assert "the backend's process died: signal 11, SIGSEGV" in reply.until("error")["message"]
    again = demo.events(model="original", way="raw", text=fact.prompt)
    assert kinds(again)[-1] == "end"
    assert fact.answer in again[-1]["text"]


@pytest.mark.parametrize("way", ["raw", "turns"])
def test_after_a_crash_while_idle_the_first_question_is_answered_by_a_new_process(demo, world, way):
    fact = world.facts.forget[0]
    asked = {"model": "original", "way": way, "text": fact.prompt}
    before = demo.events(**asked)
    for child in demo.children():
        os.kill(child, signal.SIGSEGV)
    found = demo.events(**asked)
    assert kinds(found).count("again") == 1
    assert kinds(found)[-1] == kinds(before)[-1]
    after = found[kinds(found).index("again") + 1 :]
    assert [event for event in after if event["kind"] == "step"] == [e for e in before if e["kind"] == "step"]


def test_after_a_crash_while_idle_the_speed_is_measured_by_a_new_process(demo):
    assert demo.ask("POST", "speed", {"model": "0"})[0] == 200
    for child in demo.children():
        os.kill(child, signal.SIGABRT)
    status, content = demo.ask("POST", "speed", {"model": "0"})
    assert status == 200
    assert json.loads(content)["rate"] > 0


def test_a_sampled_reply_is_the_seeds(demo, world):
    question = {"model": "original", "way": "chat", "text": world.facts.forget[0].prompt, "sampled": True}
    one, same, other = (demo.events(**question, seed=seed)[-1]["text"] for seed in (1, 1, 2))
    assert one == same != other


def test_a_file_that_is_gone_is_a_message_and_the_page_lives_on(arguments, files, tmp_path):
    shipped = shutil.copy(files.shipped[0], tmp_path / "gone.gguf")
    demo = Demo([str(shipped), *arguments[2:]])
    try:
        assert demo.events(model="0", way="raw", text="a")[-1]["kind"] == "end"
        shipped.unlink()
        for child in demo.children():
            os.kill(child, signal.SIGKILL)
        (*_, last) = demo.events(model="0", way="raw", text="a")
        assert last["kind"] == "error"
        assert "gone.gguf" in last["message"]
        key = json.loads(demo.ask("POST", "enter", {})[1])["key"]
        assert demo.ask("POST", "run", {"key": key, "model": "0"})[0] == 200
        while (run := json.loads(demo.ask("GET", f"state?key={key}")[1])["runs"]["0"])["phase"] != "failed":
            pass
        assert "gone.gguf" in run["error"]["message"]
        assert demo.ask("GET", "")[0] == 200
    finally:
        demo.interrupt()
        demo.ended()


@pytest.mark.parametrize("later", ["another file", "the same bytes again"])
def test_a_file_that_was_replaced_keeps_no_verdict_and_is_not_run(arguments, files, tmp_path, later):
    shipped = shutil.copy(files.shipped[0], tmp_path / files.shipped[0].name)
    shutil.copy(manifest_path(files.shipped[0]), manifest_path(shipped))
    demo = Demo([str(shipped), *arguments[2:], "--report", str(files.report)])
    changed = "the file changed since the demo started: "
    try:
        key = json.loads(demo.ask("POST", "enter", {})[1])["key"]
        while "0" not in (state := json.loads(demo.ask("GET", f"state?key={key}")[1]))["recorded"]:
            assert state["trouble"] == {}
        assert demo.events(model="0", way="raw", text="a")[-1]["kind"] == "end"
        shutil.copy(files.shipped[later == "another file"], tmp_path / "later")
        (tmp_path / "later").rename(shipped)
        state = json.loads(demo.ask("GET", f"state?key={key}")[1])
        assert state["recorded"] == {}
        assert state["trouble"]["0"]["message"].startswith(changed)
        for child in demo.children():
            os.kill(child, signal.SIGKILL)
        (*_, last) = demo.events(model="0", way="raw", text="a")
        assert last["kind"] == "error"
        assert last["message"].startswith(changed)
        demo.ask("POST", "run", {"key": key, "model": "0"})
        while (run := json.loads(demo.ask("GET", f"state?key={key}")[1])["runs"]["0"])["phase"] != "failed":
            assert run["phase"] in {"waiting", "running"}
        assert run["error"]["message"].startswith(changed)
    finally:
        demo.interrupt()
        demo.ended()


def alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


class Busy:
    """A demo that probes a file and answers a question."""

    def __init__(self, arguments, world, **environment):
        self.demo = Demo(arguments, **environment)
        fact = world.facts.forget[0]
        for model in ("original", "0"):
            assert self.demo.events(model=model, way="raw", text=fact.prompt)[-1]["kind"] == "end"
        key = json.loads(self.demo.ask("POST", "enter", {})[1])["key"]
        self.demo.ask("POST", "run", {"key": key, "model": "0"})
        while len(self.demo.children()) < 3:
            pass
        self.reply = Streaming(self.demo, model="original", way="chat", text=fact.prompt, sampled=True, seed=3)
        self.reply.until("step")
        self.children = self.demo.children()

    def ended(self):
        """Exit code and last words; nothing is left, and nothing was said that nobody can use."""
        code, said = self.demo.ended()
        self.reply.__exit__()
        assert not any(map(alive, self.children))
        assert "Traceback" not in said
        assert "error" not in said.lower()
        return code, said


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_every_process_while_probes_run_and_questions_are_answered(arguments, world, name, tmp_path):
    busy = Busy(arguments, world, TMPDIR=str(tmp_path))
    busy.demo.process.send_signal(getattr(signal, name))
    code, said = busy.ended()
    assert code == 130
    assert said.endswith("Interrupted; what has its final name is whole.\n")
    assert list(tmp_path.iterdir()) == []


def test_impatience_ends_it_as_cleanly(arguments, world):
    """Ctrl-C again and again, until it is gone."""
    busy = Busy(arguments, world)
    while busy.demo.process.poll() is None:
        busy.demo.interrupt()
    code, said = busy.ended()
    assert code == 130
    assert said.count("Interrupted") == 1


def test_where_a_hangup_is_ignored_from_the_start_the_demo_lives_on(arguments):
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        demo = Demo(arguments)
    finally:
        signal.signal(signal.SIGHUP, before)
    demo.process.send_signal(signal.SIGHUP)
    assert demo.events(model="0", way="raw", text="a")[-1]["kind"] == "end"
    demo.interrupt()
    assert demo.ended()[0] == 130


def test_it_ends_with_the_last_page(arguments):
    demo = Demo(arguments, ends_with_pages=True)
    assert demo.events(model="0", way="raw", text="a")[-1]["kind"] == "end"
    children = demo.children()
    key = json.loads(demo.ask("POST", "enter", {})[1])["key"]
    demo.ask("POST", "leave", {"key": key})
    code, said = demo.ended()
    assert code == 0
    assert said.endswith("The page was closed: the demo has ended.\n")
    assert children
    assert not any(map(alive, children))


def contents(folder):
    """What files hold that are below a folder now; some are gone before they are read."""
    for root, _, names in os.walk(folder):  # which passes over folders that are gone
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                yield Path(root, name).read_bytes()


def test_no_text_of_a_probe_reaches_the_disk(arguments, world, tmp_path):
    demo = Demo(arguments, TMPDIR=str(tmp_path))
    key = json.loads(demo.ask("POST", "enter", {})[1])["key"]
    for fact in world.facts.forget[:3]:
        demo.events(model="0", way="raw", text=fact.prompt)
    demo.ask("POST", "run", {"key": key, "model": "0"})
    while json.loads(demo.ask("GET", f"state?key={key}")[1])["runs"]["0"]["phase"] not in {"done", "failed"}:
        assert not any(text.encode() in content for content in contents(tmp_path) for text in world.facts.texts)
    evidence = demo.ask("GET", f"evidence?key={key}&model=0")[1]
    assert evidence.startswith(b"PK")
    demo.interrupt()
    _, said = demo.ended()
    assert list(tmp_path.rglob("*")) == []
    assert not any(text in said for text in world.facts.texts)
