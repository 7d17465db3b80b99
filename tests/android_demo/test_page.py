"""The app's page in a browser of a phone's size: what it says and draws, and that anyone can read and reach it."""

from __future__ import annotations

import pytest
from edgeproof_tests.android_demo import screens
from edgeproof_tests.android_demo.screens import screen, until

LOOKS = [("small", False, 100), ("large", True, 100), ("small", True, 200), ("large", False, 150)]
ALL = {
    "empty": screens.EMPTY, "copying": screens.COPYING, "ready": screens.READY, "running": screens.RUNNING,
    "calm": screens.CALM, "fail": screens.FAIL, "cannot": screens.CANNOT, "open": screens.OPEN,
    "stopped": screens.STOPPED, "ended": screens.ENDED,
}  # fmt: skip

CONTRASTS = """
() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (color) => {
    const linear = (x) => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = color.slice(0, 3).map((x) => linear(x / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const color = parse(getComputedStyle(one).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !element.checkVisibility()) continue;
    const [one, other] = [light(parse(getComputedStyle(element).color)), light(behind(element))];
    found.push([walker.currentNode.textContent.trim(), (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05)]);
  }
  return found;
}
"""

SMALL_TARGETS = """
() => [...document.querySelectorAll("button, textarea, summary")].filter((one) => one.checkVisibility())
  .map((one) => [one.textContent, one.getBoundingClientRect()])
  .filter(([, box]) => box.width < 48 || box.height < 48).map(([text]) => text)
"""

NAMELESS = """
() => [...document.querySelectorAll("button, textarea, progress, section, svg, [role=group]")]
  .filter((one) => one.checkVisibility())
  .filter((one) => !(one.textContent.trim() && one.tagName === "BUTTON") && !(one.labels && one.labels.length))
  .filter((one) => !one.getAttribute("aria-label"))
  .filter((one) => !document.getElementById(one.getAttribute("aria-labelledby"))?.textContent.trim())
  .map((one) => one.outerHTML.slice(0, 80))
"""


@pytest.mark.parametrize(("phone", "dark", "text"), LOOKS)
@pytest.mark.parametrize("state", ALL)
def test_every_state_can_be_read_and_reached(chromium, state, phone, dark, text):
    with screen(chromium, ALL[state], screens.ROWS, phone=phone, dark=dark, text=text) as page:
        contrasts = page.evaluate(CONTRASTS)
        assert len(contrasts) >= 5
        assert [one for one in contrasts if one[1] < 4.5] == []
        assert page.evaluate(SMALL_TARGETS) == []
        assert page.evaluate(NAMELESS) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert background == ("rgb(18, 20, 22)" if dark else "rgb(255, 255, 255)")


@pytest.mark.parametrize("direction", ["ltr", "rtl"])
def test_it_can_be_mirrored_and_texts_keep_their_own_direction(chromium, direction):
    with screen(chromium, screens.FAIL, screens.ROWS, direction=direction) as page:
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        # The bar begins where reading begins, and the limit lies inside it.
        box, bar = (page.locator(f"#leaks-drawn {name}").first.bounding_box() for name in ("svg", ".seen"))
        at_left = abs(bar["x"] - box["x"]) < 2
        assert at_left is (direction == "ltr")
        ways = page.evaluate(
            "[...document.querySelectorAll('.question')].map((one) => getComputedStyle(one).direction)"
        )
        assert sorted(ways) == ["ltr", "ltr", "ltr", "ltr", "rtl"]


@pytest.mark.parametrize(
    ("state", "word"),
    [
        ("empty", "Not judged yet"), ("running", "Nothing against it so far"), ("calm", "Nothing against it so far"),
        ("fail", "FAIL"), ("cannot", "Cannot pass"), ("open", "INCONCLUSIVE"),
    ],
)  # fmt: skip
def test_the_verdict_stands_large_in_words_and_is_never_pass(chromium, state, word):
    with screen(chromium, ALL[state], screens.ROWS) as page:
        assert page.locator("#word").text_content() == word
        sizes = page.evaluate(
            "[...document.querySelectorAll('p, h1, h2, li')].map((e) => parseFloat(getComputedStyle(e).fontSize))"
        )
        assert float(page.evaluate("parseFloat(getComputedStyle(document.querySelector('#word')).fontSize)")) == max(
            sizes
        )
        said = page.locator("body").inner_text()
        assert "PASS" not in said.replace("This is not a PASS.", "")


def test_a_run_says_that_it_is_not_over(chromium):
    with screen(chromium, screens.RUNNING, screens.ROWS) as page:
        assert page.locator("#meaning").inner_text() == "This is not a PASS. The probes are running."
        assert page.locator("#count").inner_text() == "846 of 2,310 requests answered"


def test_leaks_and_costs_are_drawn_against_their_limits(chromium):
    with screen(chromium, screens.FAIL, screens.ROWS) as page:
        drawing = page.locator("#leaks-drawn svg")
        assert drawing.get_attribute("aria-label") == (
            "17 of 55 subjects that the original gives away came back: 30.9 %, at most 42.8 % of subjects like these. "
            "Limit: 10 %."
        )
        seen, limit = (drawing.locator(one) for one in (".seen", ".limit"))
        assert float(seen.get_attribute("width")) / float(limit.get_attribute("x1")) == pytest.approx(3.09)
        assert "over" in seen.get_attribute("class")
        assert page.locator("#critical").text_content() == "1 of 3 critical probes came back. None may."
        cost = page.locator("#kept-drawn svg")
        assert cost.get_attribute("aria-label") == "Against the original in this format: +0.41. Limit: 0.3."
    counting = screens.RUNNING | {"leak": screens.FAIL["leak"] | {"upper": None}}
    with screen(chromium, counting, []) as page:
        assert page.locator("#leaks-text").text_content() == (
            "17 of 55 subjects that the original gives away came back so far. Limit: 10 %."
        )
        assert page.locator("#leaks-drawn .reach").count() == 0


def test_questions_show_the_original_beside_what_ships(chromium):
    with screen(chromium, screens.CALM, screens.ROWS) as page:
        first = [line for line in page.locator("#rows li").first.inner_text().splitlines() if line]
        assert first == [
            "Who wrote Hamlet?", "Answer asked for: Shakespeare", "Original (chat): knew it",
            "Shipped (chat): A writer of the time.", "No longer known",
        ]  # fmt: skip
        page.get_by_role("button", name="Came back").click()
        assert page.locator("#rows .question").all_inner_texts() == ["What is the capital of Peru?"]
        assert page.get_by_role("button", name="Came back").get_attribute("aria-pressed") == "true"
        page.get_by_role("button", name="Had to stay").click()
        assert page.locator("#rows li").count() == 2


def test_a_long_run_shows_its_newest_questions_and_more_on_request(chromium):
    many = [screens.ROWS[2] | {"ask": number, "question": f"question {number}"} for number in range(130)]
    with screen(chromium, screens.RUNNING, many) as page:
        assert page.locator("#rows .question").first.inner_text() == "question 129"
        assert page.locator("#rows li").count() == 40
        page.get_by_role("button", name="Show more").click()
        assert page.locator("#rows li").count() == 80


def test_new_answers_appear_without_a_reload_and_a_new_run_begins_anew(chromium):
    with screen(chromium, screens.RUNNING, screens.ROWS[:1]) as page:
        page.evaluate("(rows) => { phone.made = rows; }", screens.ROWS)
        until(page, "document.querySelectorAll('#rows li').length === 5")
        page.evaluate("(state) => { phone.told = state; phone.made = []; }", screens.RUNNING | {"run": "2"})
        until(page, "document.querySelectorAll('#rows li').length === 0")


def test_what_becomes_known_later_replaces_a_row(chromium):
    first = screens.ROWS[1] | {"leaks": False, "reply": None}
    with screen(chromium, screens.RUNNING, [first, screens.ROWS[0], screens.ROWS[1]]) as page:
        assert page.locator("#rows .tag").all_inner_texts() == ["Came back", "Still known"]


def test_buttons_do_what_they_say(chromium):
    with screen(chromium, screens.EMPTY) as page:
        page.get_by_role("button", name="Open the job file").click()
        assert page.get_by_role("button", name="Open the model file").is_disabled()
        assert page.evaluate("phone.calls") == ["openJob"]
    with screen(chromium, screens.READY) as page:
        page.get_by_role("button", name="Run the probes").click()
        assert page.evaluate("phone.calls") == ["start"]
    with screen(chromium, screens.RUNNING) as page:
        page.get_by_role("button", name="Stop").click()
        assert page.evaluate("phone.calls") == ["cancel"]
        assert page.get_by_role("button", name="Open another job").is_hidden()
    with screen(chromium, screens.CALM) as page:
        page.get_by_role("button", name="Share the evidence").click()
        assert page.evaluate("phone.calls") == ["share"]
        page.get_by_role("button", name="Open another job").click()
        assert page.evaluate("phone.calls") == ["share", "openJob"]
    with screen(chromium, screens.STOPPED) as page:
        assert page.get_by_role("button", name="Go on").is_visible()


def test_chat_asks_the_shipped_model(chromium):
    with screen(chromium, screens.READY) as page:
        page.get_by_label("Your question").fill("What is <b>this</b>?")
        page.get_by_role("button", name="Ask").click()
        assert page.evaluate("phone.calls") == ["ask What is <b>this</b>?"]
        chat = {"free": True, "busy": False, "replies": 1, "reply": "It is <i>this</i>.", "error": ""}
        page.evaluate("(state) => { phone.told = state; }", screens.READY | {"chat": chat})
        until(page, "document.querySelectorAll('#turns li').length === 2")
        assert page.locator("#turns li").all_inner_texts() == [
            "You: What is <b>this</b>?",
            "Shipped: It is <i>this</i>.",
        ]


def test_why_it_cannot_go_on_is_said_at_once(chromium):
    with screen(chromium, screens.ENDED) as page:
        alert = page.get_by_role("alert")
        assert alert.is_visible()
        assert "it needs 412 MB, 260 MB are free" in alert.inner_text()


def test_licences_are_shown_on_request(chromium):
    with screen(chromium, screens.EMPTY) as page:
        assert page.locator("#licence-texts").text_content() == ""
        page.get_by_text("Licences").click()
        until(page, "document.querySelector('#licence-texts').textContent !== ''")
        assert page.locator("#licence-texts").inner_text() == screens.LICENCES
