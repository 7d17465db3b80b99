"""A folder of reports as a history: in the order of time, nothing skipped in silence, and a page that holds it."""

from __future__ import annotations

import io
import json
import re
import shutil
from datetime import datetime, timedelta
from html.parser import HTMLParser

import edgeproof
import pytest
from edgeproof.contracts.errors import InputError, OutputError
from edgeproof.eval.history.page import history_page
from edgeproof.eval.history.releases import read_history
from edgeproof.eval.history.terminal import render_history
from edgeproof.eval.history.trends import PLOT, trends
from edgeproof.eval.verdict.policy import Policy
from edgeproof_tests.eval.comparison.reports import HOSTILE, WORLD, change, retrained, write


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Four weeks of gguf-q4, the last with another policy, and one onnx-int4 between them; written out of order."""
    folder = tmp_path_factory.mktemp("releases")
    write(folder / "c", retrained(3, leaks=9), days=14, artifact_bytes=95_000_000)
    write(folder / "a", retrained(1), days=0)
    write(folder / "b", retrained(2, leaks=1), days=7)
    write(folder / "deep" / "onnx", retrained(2), days=8, baseline=WORLD.baseline("onnx-int4"))
    write(folder / "d", retrained(4), days=21, policy=Policy(leak_share=0.2))
    return folder


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written, tmp_path / "releases")


def shown(history):
    file = io.StringIO()
    render_history(history, file=file)
    return file.getvalue()


def test_releases_come_in_the_order_of_time_each_beside_the_one_of_its_format_before(folder):
    history = read_history(folder)
    assert [one.report.path.parent.name for one in history.releases] == ["a", "b", "onnx", "c", "d"]
    a, b, onnx, c, d = history.releases
    assert (a.before, onnx.before) == (None, None)
    assert (b.before, c.before, d.before) == (a.report, b.report, c.report)
    assert (b.newly_leaking, b.healed) == (("country 0",), ())
    assert (len(c.newly_leaking), c.healed) == (8, ())
    assert d.incomparable == ("the policies differ: leak_share 0.1 and 0.2",)
    assert (d.newly_leaking, d.healed) == ((), ())
    assert history.left_out == ()


def test_one_line_a_release_and_what_is_not_comparable_is_said(folder):
    head, _, *lines = shown(read_history(folder)).splitlines()
    assert head.split() == [
        "gated",
        "verdict",
        "format",
        "leaking",
        "change",
        "back",
        "quant.",
        "unlearn.",
        "lost",
        "MB",
        "report",
    ]
    assert len(lines) == 5 + 1
    assert re.search(r"^2026-02-27 12:00 +FAIL +gguf-q4 +9 of 31 +\+8 −0 .* 95.0 +c$", lines[3])
    assert lines[5] == "d is not comparable with c before it: the policies differ: leak_share 0.1 and 0.2"


def test_a_narrow_terminal_gets_lines_that_it_can_hold(folder, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")

    class Narrow(io.StringIO):
        def isatty(self):
            return True

    file = Narrow()
    render_history(read_history(folder), file=file)
    lines = re.sub("\x1b\\[[0-9;]*m", "", file.getvalue()).splitlines()
    assert max(map(len, lines)) <= 80
    at = lines.index("2026-02-27 12:00  FAIL  gguf-q4  c")
    assert lines[at + 1].startswith("  leaking 9 of 31, change +8 −0, back ")
    assert "…" not in "".join(lines)


def test_the_page_begins_with_the_worst_of_the_latest_files_of_each_format(tmp_path):
    write(tmp_path / "old", retrained(3, leaks=9), days=1)
    write(tmp_path / "good", retrained(1), days=2)
    write(tmp_path / "onnx", retrained(2, leaks=9), days=3, baseline=WORLD.baseline("onnx-int4"))
    write(tmp_path / "newest", retrained(1), days=4)
    page = history_page(read_history(tmp_path)).decode()
    assert re.search(r"<h1>FAIL<small>", page)
    assert "The latest <bdi>onnx-int4</bdi>: FAIL" in page
    assert "The latest <bdi>gguf-q4</bdi>: PASS" in page
    (tmp_path / "onnx" / "report.json").unlink()
    assert re.search(r"<h1>PASS<small>", history_page(read_history(tmp_path)).decode())


def test_damaged_reports_other_versions_and_copies_are_said(folder):
    (folder / "a2").mkdir()
    shutil.copy(folder / "a/report.json", folder / "a2/report.json")
    content = (folder / "b/report.json").read_bytes()
    (folder / "b/report.json").write_bytes(content[: len(content) // 2])
    change(folder / "c/report.json", lambda report: report.update(schema_version=4))
    history = read_history(folder)
    assert [one.report.path.parent.name for one in history.releases] == ["a", "onnx", "d"]
    reasons = {one.path.parent.name: one.reason for one in history.left_out}
    assert set(reasons) == {"a2", "b", "c"}
    assert "is a copy of" in reasons["a2"]
    assert "is damaged" in reasons["b"]
    assert "schema version 4" in reasons["c"]
    text, page = shown(history), history_page(history).decode()
    assert text.count("Left out: ") == 3
    assert "3 reports are left out" in page
    assert len(history.to_json()["left_out"]) == 3


def test_an_empty_folder_no_folder_and_nothing_readable_are_refused(tmp_path):
    with pytest.raises(InputError, match="holds no report"):
        read_history(tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        read_history(tmp_path / "nowhere")
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(InputError, match=r"(?s)holds no report.*is not a report of edgeproof"):
        read_history(tmp_path)


def test_a_folder_that_cannot_be_read_is_no_gap(folder, monkeypatch):
    def walk(_top, onerror):
        onerror(PermissionError(13, "Permission denied", str(folder / "b")))
        return iter(())

    monkeypatch.setattr("os.walk", walk)
    with pytest.raises(InputError, match=r"cannot read .*b: Permission denied"):
        read_history(folder)


def test_json_holds_it_all(folder):
    table = read_history(folder).to_json()
    assert json.loads(json.dumps(table, allow_nan=False)) == table
    assert [one["verdict"] for one in table["releases"]][-2:] == ["FAIL", "PASS"]
    assert table["releases"][3]["criteria"]["leak"]["found"] == "9 of 31 known clusters"
    assert table["releases"][4]["not_comparable"]


def test_two_hundred_reports_are_all_in_it(folder, tmp_path):
    many = tmp_path / "many"
    first = datetime.fromisoformat("2025-01-01T12:00:00+00:00")
    for number in range(200):
        place = many / f"{number:03}"
        place.mkdir(parents=True)
        shutil.copy(folder / "a/report.json", place)
        when = (first + timedelta(days=200 - number)).isoformat()
        change(place / "report.json", lambda report, when=when: report.update(created=when))
    history = read_history(many)
    assert [one.report.path.parent.name for one in history.releases] == [f"{n:03}" for n in reversed(range(200))]
    page = history_page(history).decode()
    assert page.count("<tr><th scope=") == 200
    assert page.count('class="dense"') == page.count("<svg")
    (leak, *_) = trends(history.releases)
    assert len({mark.x for mark in leak.marks}) == 200


# The figures


def test_a_trend_has_a_mark_for_each_release_and_a_break_where_it_is_not_comparable(folder):
    history = read_history(folder)
    own = [one for one in history.releases if one.report.format == "gguf-q4"]
    drawn = {trend.title: trend for trend in trends(own)}
    assert list(drawn) == [
        "leaking forget clusters",
        "knowledge recovered",
        "kept knowledge lost to quantizing, nat",
        "kept knowledge lost to unlearning, nat",
        "right answers lost",
        "size, MB",
        "time of asking, s",
    ]
    leak = drawn["leaking forget clusters"]
    a, b, c, d = leak.marks
    assert [mark.status for mark in leak.marks] == ["met", "undecided", "missed", "met"]
    assert a.y == d.y == leak.zero > b.y > c.y
    assert len(leak.lines) == 2
    assert [line[:2] for line in leak.lines] == [(a.x, a.y), (b.x, b.y)]
    one, two = leak.runs
    assert one.end == two.start == round((c.x + d.x) / 2, 2)
    assert two.limit < one.limit  # 20 % is higher up than 10 %
    assert len(drawn["size, MB"].lines) == 3
    assert len(drawn["time of asking, s"].lines) == 2


def test_a_mark_lies_where_the_scale_says(folder):
    history = read_history(folder)
    own = [one for one in history.releases if one.report.format == "gguf-q4"]
    for trend in trends(own)[:1]:
        low, *_, high = trend.y_ticks
        per_share = (low.place - high.place) / (float(high.words.rstrip("%")) - float(low.words.rstrip("%"))) * 100
        for mark, release in zip(trend.marks, own, strict=True):
            share = release.report.criteria["leak"].estimate
            assert mark.y == pytest.approx(low.place - share * per_share, abs=0.02)
    for trend in trends(own):
        for mark in trend.marks:
            assert PLOT[0] <= mark.x <= PLOT[1]
            for y in (mark.y, mark.low, mark.high):
                assert y is None or PLOT[2] <= y <= PLOT[3]
        assert 2 <= len(trend.y_ticks) <= 7


# The page


class Page(HTMLParser):
    """Tags with their attributes, and all text outside of the style."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text, self.open = [], [], []
        self.feed(page.decode())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)


def test_the_page_names_no_address_and_allows_itself_none(folder):
    page = history_page(read_history(folder))
    assert page == history_page(read_history(folder))
    assert re.search(rb"https?:|//[a-z]|@import|url\(", page) is None
    tags = Page(page).tags
    (policy,) = [a["content"] for t, a in tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "script-src" not in policy
    assert "script" not in {tag for tag, _ in tags}


def test_names_of_others_are_inert(folder):
    def hostile(report):
        report["artifact"].update(name=HOSTILE, format=HOSTILE)
        report.update(reason=HOSTILE)
        for subject in report["subjects"]:
            subject["cluster"] = HOSTILE + subject["cluster"]
        for criterion in report["criteria"]:
            criterion.update(title=HOSTILE, status=HOSTILE, found=HOSTILE)

    shutil.copytree(folder / "a", folder / "\x1b[31m<b>::error::")
    for name in ("b", "c", "d", "\x1b[31m<b>::error::"):
        change(folder / name / "report.json", hostile)
    history = read_history(folder)
    text, page = shown(history), history_page(history)
    for live in ("\x1b", "\x00", "\u202e", "::error::", "##vso["):
        assert live not in text
        assert live.encode() not in page
    found = Page(page)
    assert not {tag for tag, _ in found.tags} & {"script", "b", "img"}
    assert not any(name.startswith("on") or name == "src" for _, attributes in found.tags for name in attributes)


def test_it_is_written_once_and_replaced_on_request(folder, tmp_path):
    out = tmp_path / "history.html"
    found = edgeproof.history(folder, out=out)
    assert found.page == out
    assert out.read_bytes() == history_page(found)
    with pytest.raises(OutputError, match="exists"):
        edgeproof.history(folder, out=out)
    edgeproof.history(folder, out=out, force=True)
    assert edgeproof.history(folder).page is None


@pytest.mark.parametrize("width", [360, 1100])
def test_it_fits_a_phone_and_a_desk(chromium, folder, tmp_path, width):
    edgeproof.history(folder, out=tmp_path / "history.html")
    context = chromium.new_context(viewport={"width": width, "height": 900})
    context.set_default_timeout(0)
    page = context.new_page()
    said = []
    page.on("console", lambda message: said.append(message.text))
    page.goto((tmp_path / "history.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert said == []
    dates = [page.locator("svg").nth(0).locator("text").nth(n).bounding_box() for n in (-1, -2)]
    last, before = dates
    assert before["x"] + before["width"] <= last["x"]
    context.close()
