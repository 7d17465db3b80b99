"""report.html: all that decides is on it, nothing leaves it, and no name or answer comes alive in it."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
from html.parser import HTMLParser

import pytest
from edgeproof.contracts.survival import AdapterSurvival, TensorLeft
from edgeproof.eval.report.figures import interval, scatter
from edgeproof.eval.report.html import html_report
from edgeproof.eval.report.write import write_reports
from edgeproof.eval.verdict.judge import judge
from edgeproof.eval.verdict.judgement import Precise
from edgeproof.eval.verdict.policy import Policy
from edgeproof_tests.eval.worlds import CONTEXT, WORLD, leaking

BASELINE = WORLD.baseline()
SURVIVAL = AdapterSurvival(
    projection=0.71,
    projection_error=0.004,
    codes_moved=0.0321,
    sampled=123_456,
    tensors=(
        *(
            TensorLeft(f"blk.{layer}.{kind}.weight", layer, (layer + column) / 36, 0.03)
            for layer in range(30)
            for column, kind in enumerate(
                ("attn_k", "attn_output", "attn_q", "attn_v", "ffn_down", "ffn_gate", "ffn_up")
            )
            if (layer, column) != (3, 2)
        ),
        TensorLeft("token_embd.weight", None, 0.93, 0.01),
    ),
)
MAPPED = dataclasses.replace(CONTEXT, manifest_sha256="c" * 64, survival=SURVIVAL)
HOSTILE = "\"'><script>document.title='owned'</script><img src=x onerror=alert(1)> {{ 7*7 }} \u202egnp\x1b[31m\x00 https://x.test"
EMPTY = {"meta", "link", "br", "input", "hr", "img"}


@pytest.fixture(scope="module")
def judgements():
    made = {
        name: judge(WORLD.artifact(answers), BASELINE, Policy(), format="gguf-q4")
        for name, answers in (("good", None), ("back", WORLD.back), ("near", leaking(WORLD, 3)))
    }
    precise = Precise(
        made["near"].verdict, made["near"].reason, 0.01, 0.3, ("country 1",), {"backend": "onnxruntime"}, ()
    )
    return made | {"precise": dataclasses.replace(made["near"], precise=precise)}


def hostile(judgement):
    """The judgement with a hostile string in every place that a pack, a policy's surfaces or an engine can fill."""
    rows = tuple(
        dataclasses.replace(row, probe=row.probe + HOSTILE, cluster=HOSTILE, surface=HOSTILE)
        for row in judgement.probes
    )
    return dataclasses.replace(
        judgement,
        probes=rows,
        subjects=tuple(dataclasses.replace(s, cluster=s.cluster + HOSTILE) for s in judgement.subjects),
        notes=(HOSTILE,),
        asking=dataclasses.replace(
            judgement.asking, rows=tuple(dataclasses.replace(r, surface=HOSTILE) for r in judgement.asking.rows)
        ),
        pack_name=HOSTILE,
        backend={HOSTILE: HOSTILE},
        surfaces=(HOSTILE,),
    )


class Page(HTMLParser):
    """Every tag with its attributes, all text outside of style and script, and whether what opens is closed."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text, self.open = [], [], []
        self.feed(page.decode())
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in {"style", "script"}:
            self.text.append(data)


@pytest.mark.parametrize("name", ["good", "back", "near", "precise"])
def test_the_page_says_all_that_decides(judgements, name):
    judgement = judgements[name]
    text = " ".join("".join(Page(html_report(judgement, CONTEXT)).text).split())
    wanted = [str(judgement.verdict), str(judgement.reason), judgement.summary, *judgement.next_steps, *judgement.notes]
    wanted += [part for c in judgement.criteria for part in (c.title, c.found, c.meaning, c.to_decide)]
    wanted += [part for c in judgement.controls for part in (c.title, c.found, c.meaning)]
    wanted += [judgement.artifact_sha256, judgement.pack_digest, judgement.policy.digest, CONTEXT.baseline_sha256]
    wanted += [row.probe for row in judgement.probes] + [subject.cluster for subject in judgement.subjects]
    for words in wanted:
        assert " ".join(words.split()) in text
    assert text.index(judgement.summary) < text.index("Criteria")
    assert ("Without rounding activations" in text) == (judgement.precise is not None)


def cells(page):
    """The heat map of a page, read as a table: kinds, then layer and texts of each row, and the shade of every cell."""
    (table,) = re.findall(r'<table class="heat">(.*?)</table>', page.decode(), re.DOTALL)
    kinds = re.findall(r"<th scope=\"col\"><span><bdi>(.*?)</bdi>", table)
    rows = re.findall(r'<tr><th scope="row">(\d+)</th>(.*?)</tr>', table)
    found = {int(layer): re.findall(r'<td class="(\w+)".*?>(?:<.*?>)?([^<]+)', row) for layer, row in rows}
    return kinds, found


def test_the_survival_map_has_a_number_and_a_shade_for_every_tensor(judgements):
    page = html_report(judgements["back"], MAPPED)
    kinds, rows = cells(page)
    assert kinds == ["attn_k", "attn_output", "attn_q", "attn_v", "ffn_down", "ffn_gate", "ffn_up"]
    assert list(rows) == list(range(30))
    for layer, row in rows.items():
        for column, (shade, text) in enumerate(row):
            if (layer, column) == (3, 2):
                assert (shade, text) == ("none", "·")
                continue
            share = (layer + column) / 36
            assert text == f"{100 * share:.0f}"
            assert shade == f"p{round(10 * share)}"
    text = " ".join("".join(Page(page).text).split())
    lost = sum(tensor.projection < 0.5 for tensor in SURVIVAL.tensors)
    assert f"71.0% of the adapter is left (± 0.4%); it moved 3.210% of the codes. {lost} of 210 tensors" in text
    assert "the least is left of blk.0.attn_k.weight, 0.0%" in text
    assert "Outside of the layers: token_embd.weight 93.0%" in text


@pytest.mark.parametrize(("manifest", "words"), [(None, "There is no manifest"), ("c" * 64, "The manifest beside")])
def test_without_a_survival_map_the_page_says_how_to_see_it(judgements, manifest, words):
    context = dataclasses.replace(CONTEXT, manifest_sha256=manifest)
    page = html_report(judgements["back"], context)
    text = " ".join("".join(Page(page).text).split())
    assert words in text
    assert "export-edge inspect --base BASE --adapter ADAPTER model-q4.gguf" in text
    assert b'class="heat"' not in page


def test_a_hostile_name_in_a_survival_map_is_inert(judgements):
    tensors = (TensorLeft(HOSTILE, 0, 0.1, 0.0), TensorLeft(HOSTILE, None, 0.2, 0.0))
    context = dataclasses.replace(MAPPED, survival=dataclasses.replace(SURVIVAL, tensors=tensors))
    page = html_report(judgements["back"], context)
    assert [tag for tag, _ in Page(page).tags].count("script") == 1
    assert b"<img" not in page


def test_the_same_judgement_gives_the_same_page(judgements):
    assert html_report(judgements["back"], CONTEXT) == html_report(judgements["back"], CONTEXT)


def test_the_page_names_no_address_and_allows_itself_none(judgements):
    page = html_report(judgements["back"], CONTEXT)
    assert re.search(rb"https?:|//[a-z]|@import|url\(", page) is None
    tags = Page(page).tags
    addresses = [a for _, attributes in tags for n, a in attributes.items() if n in {"src", "href"} and a != "data:,"]
    assert addresses
    assert all(address.startswith("#") for address in addresses)
    (policy,) = [a["content"] for t, a in tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    for tag in (b"style", b"script"):
        (content,) = re.findall(b"<" + tag + b">(.*?)</" + tag + b">", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
        assert f"{tag.decode()}-src 'sha256-{digest}'" in policy


def test_no_name_or_answer_comes_alive(judgements):
    answers = {(HOSTILE, HOSTILE): HOSTILE}
    context = dataclasses.replace(CONTEXT, artifact=HOSTILE, command=(HOSTILE,), versions={HOSTILE: HOSTILE})
    page = html_report(hostile(judgements["precise"]), context, answers=answers)
    plain = Page(html_report(judgements["precise"], CONTEXT))
    tags = Page(page).tags
    assert {tag for tag, _ in tags} - {tag for tag, _ in plain.tags} == {"ul"}  # of the notes
    assert [tag for tag, _ in tags].count("script") == 1
    assert not any(name.startswith("on") or name in {"style", "src"} for _, found in tags for name in found)
    assert not any(control in page for control in (b"\x1b", b"\x00", "\u202e".encode()))
    assert b"{{ 7*7 }}" in page


def test_no_answer_is_on_the_page_unless_it_is_handed_over(judgements):
    answers = {("f0-0", "raw"): "the secret answer"}
    assert b"secret" not in html_report(judgements["back"], CONTEXT)
    shown = html_report(judgements["back"], CONTEXT, answers=answers)
    assert b"the secret answer" in shown
    assert b"treat it like the forget set itself" in shown


def test_a_bar_ends_beyond_its_limit_exactly_where_the_criterion_is_not_met(judgements):
    drawn = 0
    for judgement in judgements.values():
        for criterion in judgement.criteria:
            figure = interval(criterion)
            if figure is None:
                assert criterion.estimate is None
                continue
            drawn += 1
            places = [p for p in (figure.start, figure.end, figure.estimate, figure.limit) if p is not None]
            assert all(0 <= place <= 100 for place in (*places, *(tick.place for tick in figure.ticks)))
            if criterion.upper is not None and criterion.limit is not None:
                assert (figure.end <= figure.limit) == (criterion.upper <= criterion.limit)
            beyond = dataclasses.replace(criterion, unit="share", estimate=0.9, lower=0.4, limit=0.2, upper=1.83)
            assert interval(beyond).end == 100
            assert interval(beyond).ticks[-1].words.startswith("183")
            vain = dataclasses.replace(beyond, lower=0.0)  # a bound above all that there is
            assert interval(vain).end == 100
            assert interval(vain).ticks[-1].words.startswith("100")
    assert drawn > 20


def test_a_point_below_the_diagonal_is_one_that_became_easier(judgements):
    for judgement in judgements.values():
        found = scatter(judgement.probes)
        assert len(found.points) == len(judgement.probes)
        by_value = {tick.words: tick.place for tick in found.x_ticks}
        heights = {tick.words: tick.place for tick in found.y_ticks}
        slope = (heights["0"] - heights["2"]) / (by_value["2"] - by_value["0"])
        for x, y, row in found.points:
            easier = heights["0"] - y < slope * (x - by_value["0"]) - 0.02
            assert easier == (row.nll < row.nll_merged - 1e-3) or abs(row.nll - row.nll_merged) < 0.01


def test_no_rows_and_absurd_numbers_can_be_drawn(judgements):
    assert scatter(()) is None
    row = dataclasses.replace(judgements["back"].probes[0], nll=1e30, nll_merged=0.0)
    (point,) = scatter((row,)).points
    assert 0 <= point.x <= 100
    assert 0 <= point.y <= 100
    assert b"1.00e+30" in html_report(dataclasses.replace(judgements["back"], probes=(row,)), CONTEXT)


# In a browser


def visit(chromium, folder, judgement, *, context=CONTEXT, **options):
    """Open the page as written; nothing may be said on the console, and nothing asked of a network."""
    write_reports(judgement, context, folder)
    context = chromium.new_context(**options)
    context.set_default_timeout(0)  # pytest's own limit ends what hangs
    page = context.new_page()
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    address = (folder / "report.html").as_uri()
    page.goto(address)
    assert said == []
    assert asked == [address]
    return page


def luminance(color):
    """Relative luminance of "rgb(r, g, b)", as WCAG 2.2 defines it."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("look", ["light", "dark", "print"])
def test_the_survival_map_can_be_read_in_any_light(chromium, judgements, tmp_path, width, look):
    scheme = look if look != "print" else None
    size = {"width": width, "height": 740}
    page = visit(chromium, tmp_path, judgements["back"], context=MAPPED, viewport=size, color_scheme=scheme)
    if look == "print":
        page.emulate_media(media="print")
    else:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    table = page.locator("table.heat")
    if width == 360:
        assert table.evaluate("table => table.scrollWidth") <= 360 - 2 * 14, "all columns are seen on a phone"
    pairs = table.locator("td:not(.none)").evaluate_all(
        "found => found.map(c => { const s = getComputedStyle(c); return [s.color, s.backgroundColor]; })"
    )
    assert len(pairs) == 209
    assert len({background for _, background in pairs}) == 11
    for ink, paper in {tuple(pair) for pair in pairs}:
        light, dark = sorted((luminance(ink), luminance(paper)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_verdict_and_reason_in_the_first_screen(chromium, judgements, tmp_path, width, scheme):
    size = {"width": width, "height": 740}
    page = visit(chromium, tmp_path, judgements["back"], viewport=size, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for words in ("FAIL", "it came back", "Do not ship this file."):
        box = page.get_by_text(words).first.bounding_box()
        assert box["y"] + box["height"] <= 740
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (scheme == "dark")


def test_a_browser_sorts_and_filters_the_probes(chromium, judgements, tmp_path):
    page = visit(chromium, tmp_path, judgements["near"])
    rows = page.locator("#probe-table tbody tr")
    column = "#probe-table tbody tr td:nth-child(11)"
    for ascending in (False, True):
        page.locator("#probe-table thead button", has_text=re.compile("^NLL$")).click()
        shown = [float(text) for text in page.locator(column).all_inner_texts()]
        assert shown == sorted(shown, reverse=not ascending)
    page.get_by_label("leaking only").check()
    leaking_rows = sum(row.leaks for row in judgements["near"].probes)
    assert rows.locator("visible=true").count() == leaking_rows > 0
    page.get_by_label("Find").fill("COUNTRY 1")
    assert {*page.locator("#probe-table tbody tr:visible td:nth-child(4)").all_inner_texts()} == {"country 1"}


def test_without_scripts_every_row_can_be_read(chromium, judgements, tmp_path):
    page = visit(chromium, tmp_path, judgements["near"], java_script_enabled=False)
    assert page.locator("#probe-table tbody tr:visible").count() == len(judgements["near"].probes)
    assert not page.locator("form.filter").is_visible()


def test_hostile_names_do_nothing_in_a_browser(chromium, judgements, tmp_path):
    page = visit(chromium, tmp_path, hostile(judgements["back"]))
    assert page.title() == "FAIL: model-q4.gguf"
    assert page.locator("img").count() == 0
    page.get_by_label("Find").fill("<script>")
    assert page.locator("#probe-table tbody tr:visible").count() == len(judgements["back"].probes)
