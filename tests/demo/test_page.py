"""What must hold of the page in a browser, on real files: first screen, questions, probes, files side by side."""

from __future__ import annotations

import io
import json
import math
import re
import shutil
import zipfile

import edgeproof
import pytest
from edgeproof_tests.demo.conftest import until

REPLIED = "document.querySelectorAll('.reply[aria-busy=false]').length === 2"
MEASURED = "![...document.querySelectorAll('#chart .value')].some(one => one.textContent === 'not measured yet')"

pytestmark = [pytest.mark.slow, pytest.mark.torch]


@pytest.fixture(scope="module")
def gated(world, files, tmp_path_factory):
    """What the gate says of both files, by format."""
    found = {}
    for path in files.shipped:
        out = tmp_path_factory.mktemp("gated")
        edgeproof.gate(path, probes=world.pack, baseline=world.baseline, report=out, threads=1)
        report = json.loads((out / "report.json").read_text())
        found[report["artifact"]["format"]] = report
    return found


def ask(page, way, question=None):
    """Ask in a way, and wait until both have replied."""
    if question is not None:
        page.locator("#question").fill(question)
    page.locator(f"#ways button[data-way='{way}']").click()
    until(page, REPLIED)
    return [page.locator(f".replies .{side}") for side in ("original", "shipped")]


def test_the_first_screen_says_what_was_forgotten_and_shows_the_verdict(demo, visit, gated):
    page = visit(demo.address, viewport={"width": 1280, "height": 900})
    report = gated["gguf-q8_0"]
    page.get_by_text(report["summary"]).wait_for()
    assert page.locator("#verdict-word").inner_text() == report["verdict"]
    assert page.locator("#verdict-source").inner_text().startswith("From an earlier report")
    box = page.locator("#criteria").bounding_box()
    assert box["y"] + box["height"] <= 900
    steps, notes = (page.locator(f"{box} li").all_text_contents() for box in ("#verdict-steps", "#verdict-notes"))
    assert steps == [f"Next step: {text}" for text in report["next_steps"]]
    assert notes == [f"Note: {text}" for text in report["notes"]]
    drawn = page.locator("#criteria svg.interval")
    assert drawn.count() == 4
    for figure in drawn.all():
        assert re.search(r"\(limit ", figure.get_attribute("aria-label"))


def test_original_and_file_answer_side_by_side(demo, visit, world):
    page = visit(demo.address)
    fact = world.facts.forget[0]
    original, shipped = ask(page, "raw", fact.prompt)
    assert fact.answer in original.locator(".reply").inner_text()
    assert fact.answer not in shipped.locator(".reply").inner_text()
    assert original.get_by_text("It gave the answer").count() == 1
    assert shipped.get_by_text("It did not give the answer").count() == 1
    shares = [
        float(side.locator(".numbers b").last.inner_text().replace("%", "").strip("<> "))
        for side in (original, shipped)
    ]
    assert shares[0] > 50 > shares[1]
    assert "at its beginning" in original.locator("svg.curve").get_attribute("aria-label")
    original.get_by_text("What the model reads").click()
    assert original.locator("pre").inner_text() == fact.prompt


def test_typed_words_are_watched_and_not_judged(demo, visit, world):
    page = visit(demo.address)
    for side in ask(page, "raw", f"Tell me all of {world.facts.forget[0].prompt}"):
        assert "the forgotten answer, came next with" in side.locator(".numbers").inner_text()
        assert side.get_by_text(re.compile("It (gave|did not give) the answer")).count() == 0


def test_every_way_of_asking_is_a_button_that_asks(demo, visit, world):
    page = visit(demo.address)
    fact = world.facts.forget[3]
    page.locator("#question").fill(fact.prompt)
    names = [one.get_attribute("data-way") for one in page.locator("#ways button").all()]
    assert set(names) >= {"raw", "chat", "prefix", "opening", "turns", "few-shot", "siblings", "choices"}
    prompts = set()
    for name in names:
        original, shipped = ask(page, name)
        for side in (original, shipped):
            # This tiny model's first reply may be longer, in its byte tokens, than its context.
            assert all(
                "its context of 512 has room for" in words for words in side.locator(".state.bad").all_inner_texts()
            )
        numbers = original.locator(".numbers").text_content()
        assert not numbers or ("the right letter" in numbers) == (name == "choices")
        prompts.add(original.locator("pre").text_content())
        assert page.locator("#ways button[aria-pressed=true]").get_attribute("data-way") == name
    assert len(prompts) == len(names)


def test_a_ready_made_question_is_asked_by_keyboard_alone(demo, visit):
    page = visit(demo.address)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the questions"
    page.keyboard.press("Enter")
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('#chips-forget') !== null"):
            break
    chosen = page.evaluate("document.activeElement.title")
    page.keyboard.press("Enter")
    until(page, REPLIED)
    assert page.locator("#question").input_value() == chosen


def test_a_browser_is_given_no_text_of_the_pack_as_the_state_of_a_field(demo, visit):
    page = visit(demo.address)
    fields = page.locator("form, input, select, textarea")
    assert fields.count() == 6
    assert {one.get_attribute("autocomplete") for one in fields.all()} == {"off"}
    options = page.locator("#all-questions option[value]:not([value=''])")
    assert all(value.isdecimal() for value in options.evaluate_all("all => all.map(one => one.value)"))
    text = options.nth(2).inner_text()
    page.locator("#all-questions").select_option(index=3)
    asked = page.locator("#question").input_value()
    assert asked
    assert text.startswith(f"{asked} (")


def test_what_is_of_no_subject_is_answered_and_nothing_is_watched(demo, visit):
    page = visit(demo.address)
    original, _ = ask(page, "raw", "hello there")
    assert original.locator(".numbers").inner_text() == ""
    assert original.locator("svg.curve").is_hidden()
    page.locator("#ways button[data-way=choices]").click()
    page.get_by_text("pick a ready-made question").first.wait_for()


def test_the_probes_run_and_the_verdict_is_the_gates_to_the_digit(demo, visit, gated):
    page = visit(demo.address)
    page.get_by_label("gguf-q4_0").check()
    assert page.locator("#verdict-word").inner_text() == "Not judged yet"
    page.locator("#verdict-run").click()
    page.get_by_text("Being probed …").wait_for()
    assert page.locator("#verdict-run").is_hidden()
    page.locator("#run-evidence").wait_for()
    report = gated["gguf-q4_0"]
    assert page.locator("#verdict-word").inner_text() == report["verdict"]
    assert page.locator("#verdict-summary").inner_text() == report["summary"]
    key = page.evaluate("sessionStorage.getItem('edgeproof')")
    state = json.loads(demo.ask("GET", f"state?key={key}")[1])
    (run_state,) = state["runs"].values()
    verdict = run_state["verdict"]
    for own, gates in zip(verdict["criteria"], report["criteria"], strict=True):
        assert [own[name] for name in ("name", "status", "estimate", "lower", "upper", "limit", "found")] == [
            gates[name] for name in ("name", "status", "estimate", "lower", "upper", "limit", "found")
        ]
    leaking = sum(subject["leaks"] for subject in report["subjects"])
    assert page.locator("#cells .leaks").count() == leaking
    assert page.locator("#run-count").inner_text() == f"{leaking} of {len(report['subjects'])} asked leak"
    with page.expect_download() as download:
        page.locator("#run-evidence").click()
    archive = zipfile.ZipFile(io.BytesIO(download.value.path().read_bytes()))
    assert set(archive.namelist()) == {"report.json", "junit.xml", "report.html", "summary.md"}
    again = json.loads(archive.read("report.json"))
    assert again["criteria"] == report["criteria"]
    assert again["probes"] == report["probes"]


def test_a_run_is_cancelled_and_run_again(demo, visit):
    page = visit(demo.address)
    page.locator("#run-start").click()
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_text("no verdict").wait_for()
    assert page.locator("#cells .holds, #cells .leaks").count() == 0
    page.get_by_role("button", name="Run the probes again").click()
    page.locator("#run-evidence").wait_for()


def test_files_stand_side_by_side_with_their_survival_maps(demo, visit, gated, world, files):
    page = visit(demo.address)
    ask(page, "raw", world.facts.forget[0].prompt)
    rows = page.locator("#chart tbody tr")
    assert [row.locator("th").all_inner_texts()[0].split() for row in rows.all()] == [
        ["gguf-q8_0", gated["gguf-q8_0"]["verdict"], files.shipped[0].name],
        ["gguf-q4_0", "not", "judged", "yet", files.shipped[1].name],
    ]
    head = page.locator("#chart thead th").all_inner_texts()
    assert [text.split("\n")[0] for text in head] == [
        "File",
        "Size",
        "Speed",
        "Leaks",
        "Recovery",
        "Cost of quantizing",
        "Cost of unlearning",
    ]
    cells = [row.locator("td .value").all_inner_texts() for row in rows.all()]
    assert cells[1] == [cells[1][0], "not measured yet", *["not judged"] * 4]
    by_name = {one["name"]: one for one in gated["gguf-q8_0"]["criteria"]}
    shown = [by_name[name] for name in ("leak", "recovery", "quantizing-cost", "unlearning-cost")]
    assert cells[0][2:] == [re.sub("^-", "\u2212", one["found"]) for one in shown]
    bounds = rows.first.locator("td small").all_inner_texts()
    leak = by_name["leak"]
    side, bound = ("at least", leak["lower"]) if leak["status"] == "missed" else ("at most", leak["upper"])
    assert bounds[0] == f"{side} {100 * bound:.1f}%"
    assert head[3] == f"Leaks\nlimit {100 * leak['limit']:.1f}%"
    page.get_by_role("button", name="Measure the speed").click()
    until(page, MEASURED)
    table = page.locator("table.heat")
    first = table.locator("td").all_inner_texts()
    page.get_by_label("gguf-q4_0").check()
    assert table.locator("tbody tr").count() == 2
    assert table.locator("td").all_inner_texts() != first


def test_all_files_are_probed_one_after_the_other(demo, visit, gated):
    page = visit(demo.address)
    page.locator("#verdict.pass, #verdict.fail, #verdict.inconclusive").wait_for()
    assert page.locator("#stop-all").is_hidden()
    page.get_by_role("button", name="Probe all files").click()
    page.get_by_role("button", name="Cancel all").click()
    page.locator("#chart").get_by_text("cancelled").wait_for()
    page.get_by_role("button", name="Probe all files").click()
    second = page.locator("#chart tbody tr").nth(1)
    second.locator(".word").wait_for()
    assert second.locator(".word").inner_text() == gated["gguf-q4_0"]["verdict"]
    assert page.get_by_role("button", name="Probe all files").is_disabled()
    assert page.locator("#stop-all").is_hidden()


def test_a_copied_tab_has_its_own_runs(demo, visit):
    page = visit(demo.address)
    page.locator("#run-start").click()
    page.locator("#run-evidence").wait_for()
    with page.context.expect_page() as opened:
        page.evaluate("window.open(location.href)")  # its sessionStorage is a copy
    other = opened.value
    until(other, "document.querySelector('#question').value !== ''")
    assert other.evaluate("sessionStorage.getItem('edgeproof')") != page.evaluate("sessionStorage.getItem('edgeproof')")
    assert other.locator("#run-evidence").is_hidden()
    page.reload()
    page.locator("#run-evidence").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_it_without_scrolling_sideways(demo, visit, world, scheme):
    page = visit(demo.address, viewport={"width": 360, "height": 740}, color_scheme=scheme)
    ask(page, "raw", world.facts.forget[0].prompt)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (scheme == "dark")


def test_everything_that_can_be_used_has_a_name(demo, visit, world):
    page = visit(demo.address)
    ask(page, "raw", world.facts.forget[0].prompt)
    unnamed = page.evaluate(
        """[...document.querySelectorAll('button, a, input, select, textarea, [role=img], [role=group], progress')]
        .filter(e => !(e.textContent.trim() || e.getAttribute('aria-label') || e.getAttribute('aria-labelledby')
          || e.labels?.length))
        .map(e => e.outerHTML)"""
    )
    assert unnamed == []


def test_two_people_do_not_see_each_others_runs(demo, visit, world):
    one, other = visit(demo.address), visit(demo.address)
    facts = world.facts.forget[:2]
    one.locator("#run-start").click()
    one.locator("#run-evidence").wait_for()
    assert other.locator("#run-evidence").is_hidden()
    assert other.locator("#run-status").inner_text().startswith("The cells show the verdict of an earlier report")
    for page, fact in zip((one, other), facts, strict=True):
        page.locator("#question").fill(fact.prompt)
        page.locator("#ways button[data-way=raw]").click()
    for page, fact in zip((one, other), facts, strict=True):
        until(page, REPLIED)
        assert fact.answer in page.locator(".original .reply").inner_text()


# From here on, each test has a demo of its own, of other files.


def test_without_a_report_the_first_screen_says_what_to_do(arguments, start, visit):
    demo = start(arguments)
    page = visit(demo.address, viewport={"width": 1280, "height": 900})
    page.get_by_text("Not judged yet").first.wait_for()
    assert page.locator("#verdict-summary").inner_text().startswith("No report on this file was given.")
    box = page.locator("#verdict-run").bounding_box()
    assert box["y"] + box["height"] <= 900


def test_a_format_that_the_baseline_lacks_is_shown_and_named_and_not_judged(world, arguments, start, visit, tmp_path):
    edgeproof.export(base=world.base, adapter=world.adapter, format=["gguf-q4_1"], out=tmp_path, threads=1)
    (other,) = tmp_path.glob("*.gguf")
    demo = start([str(other), *arguments])
    words = "the baseline has no scores of the base in gguf-q4_1 (it has: gguf-q4_0, gguf-q8_0)"
    assert f"Warning: {other.name}: {words}" in "".join(demo.said)
    page = visit(demo.address)
    assert page.locator("#verdict-word").inner_text() == "Cannot be judged"
    told = page.locator("#verdict-summary").inner_text()
    assert told.startswith(words)
    assert "--format gguf-q4_0 --format gguf-q8_0 --format gguf-q4_1" in told
    assert page.locator("#verdict-run").is_hidden()
    first = page.locator("#chart tbody tr").first
    assert "cannot be judged with this baseline" in first.locator("th").inner_text()
    assert demo.events(model="0", way="raw", text=world.facts.untrained[0].prompt)[-1]["right"]
    page.locator("#run-start").click()
    page.get_by_text("No verdict: the baseline has no scores of the base in gguf-q4_1").first.wait_for()


def test_files_of_one_name_and_format_are_told_apart_by_their_folders(arguments, files, start, visit, tmp_path):
    (tmp_path / "older").mkdir()
    other = shutil.copy(files.shipped[0], tmp_path / "older")
    demo = start([str(other), str(files.shipped[0]), *arguments[2:]])
    name = files.shipped[0].name
    names = [f"older/{name}", f"shipped/{name}"]
    assert f"{names[0]}, {names[1]}:\n" in "".join(demo.said)
    page = visit(demo.address)
    labels = [text.strip() for text in page.locator("#files label").all_inner_texts()]
    assert labels == [f"gguf-q8_0 · {one}" for one in names]
    assert page.locator("#chart tbody th small").all_inner_texts() == names


SIX = ("gguf-f16", "gguf-q8_0", "gguf-q4", "gguf-q4_0", "gguf-q4_1", "onnx-int4")


def test_six_formats_of_one_model_are_asked_probed_and_compared_in_one_chart(world, start, visit, tmp_path):
    """Both engines give a reply token by token, and the gate's verdict, on GGUF files and on an ONNX folder."""
    pytest.importorskip("onnxruntime")
    out, baseline = tmp_path / "dist", tmp_path / "baseline.json"
    made = edgeproof.export(base=world.base, adapter=world.adapter, format=SIX, out=out, threads=1)
    shipped = {one.format: one.path for one in made.artifacts}
    edgeproof.record_baseline(
        base=world.base, adapter=world.adapter, format=SIX, probes=world.pack, out=baseline, threads=1
    )
    judged = ["--probes", str(world.pack), "--baseline", str(baseline), "--threads", "1", "--no-browser"]
    demo = start([*(str(shipped[name]) for name in SIX), *judged])
    fact = world.facts.untrained[0]
    for key in (str(SIX.index("gguf-q4")), str(SIX.index("onnx-int4"))):
        events = demo.events(model=key, way="raw", text=fact.prompt)
        assert events[-1]["right"]
        assert max(event["logprob"] for event in events if event["kind"] == "step") > math.log(0.5)
    page = visit(demo.address, viewport={"width": 1280, "height": 900})
    rows = page.locator("#chart tbody tr")
    assert [row.locator(".format").inner_text() for row in rows.all()] == list(SIX)
    page.get_by_role("button", name="Probe all files").click()
    until(page, "document.querySelectorAll('#chart tbody .word').length === 6")
    page.get_by_role("button", name="Measure the speed").click()
    until(page, MEASURED)
    for name in ("gguf-q4_0", "onnx-int4"):
        report = edgeproof.gate(shipped[name], probes=world.pack, baseline=baseline, threads=1)
        row = rows.nth(SIX.index(name))
        assert row.locator(".word").inner_text() == str(report.verdict)
        found = {one.name: one.found for one in report.judgement.criteria}
        shown = [found[one] for one in ("leak", "recovery", "quantizing-cost", "unlearning-cost")]
        assert row.locator("td .value").all_inner_texts()[2:] == [re.sub("^-", "\u2212", one) for one in shown]
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
