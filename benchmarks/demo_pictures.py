"""Makes the pictures of docs/demo.md in Debian's Chromium.

    python benchmarks/demo_pictures.py --out docs light dark phone run -- [the arguments of `export-edge demo`]

`light`, `dark` and `phone` show the first screen and the replies to a question; `run` the probes of the last file while
they go on, and `files` all files side by side with their measured speed. Needs playwright and Pillow.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

QUESTION = "What is the capital of the United Kingdom?"
WIDE, PHONE = {"width": 1180, "height": 900}, {"width": 360, "height": 740}
LOOK_MS = 200
COLORS = 96
"""Of the pictures, so that they are small."""


def until(page: Page, expression: str) -> None:
    """Wait until `expression` is true; the page's own policy forbids `wait_for_function`."""
    while not page.evaluate(expression):
        page.wait_for_timeout(LOOK_MS)


def opened(browser: Browser, address: str, **options: object) -> Page:
    page = browser.new_context(**options).new_page()
    page.set_default_timeout(0)
    page.goto(address)
    until(page, "document.querySelector('#chart tbody tr') !== null")
    until(page, "!document.querySelector('#verdict-word').textContent.endsWith('…')")
    return page


def ask(page: Page) -> None:
    page.locator("#question").fill(QUESTION)
    page.locator("#ways button[data-way=chat]").click()
    until(page, "document.querySelectorAll('.reply[aria-busy=false]').length === 2")
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement.blur()")


def screen(browser: Browser, address: str, target: Path, viewport: dict[str, int], scheme: str) -> None:
    page = opened(browser, address, viewport=viewport, color_scheme=scheme)
    ask(page)
    page.evaluate("scrollTo(0, 0)")
    end = page.locator("#replies").bounding_box()
    assert end is not None
    clip = {"x": 0, "y": 0, "width": viewport["width"], "height": end["y"] + end["height"] + 12}
    page.screenshot(path=target, full_page=True, clip=clip)


def run(browser: Browser, address: str, target: Path) -> None:
    page = opened(browser, address, viewport=WIDE)
    choice = page.locator("#files input")
    if choice.count():
        choice.last.check()
    page.locator("#run-start").click()
    until(
        page,
        "document.querySelectorAll('#cells .leaks').length > 5 && !!document.querySelector('#cells .open:not(.asked)')",
    )
    page.locator("#probes").screenshot(path=target)
    page.get_by_role("button", name="Cancel", exact=True).click()
    until(page, "document.querySelector('#run-stop').disabled")


def files(browser: Browser, address: str, target: Path) -> None:
    page = opened(browser, address, viewport=WIDE)
    page.locator("#measure-speed").click()
    until(page, "!document.querySelector('#measure-speed').disabled")
    until(page, "![...document.querySelectorAll('#chart tbody th')].some(one => one.textContent.includes('reading'))")
    page.locator("#formats").screenshot(path=target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("pictures", nargs="+", choices=["light", "dark", "phone", "run", "files"])
    own, rest = sys.argv[1:], []
    if "--" in own:
        at = own.index("--")
        own, rest = own[:at], own[at + 1 :]
    given = parser.parse_args(own)
    from PIL import Image
    from playwright.sync_api import sync_playwright

    command = [sys.executable, "-P", "-m", "edgeproof.cli", "demo", "--no-browser", *rest]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as demo, sync_playwright() as driver:
        assert demo.stderr is not None
        address = next(found[0] for line in demo.stderr if (found := re.search(r"http://\S+/", line)))
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"], timeout=0)
        for name in given.pictures:
            target = given.out / f"demo-{name}.png"
            if name == "run":
                run(browser, address, target)
            elif name == "files":
                files(browser, address, target)
            else:
                screen(
                    browser, address, target, PHONE if name == "phone" else WIDE, "dark" if name == "dark" else "light"
                )
            Image.open(target).convert("RGB").quantize(COLORS, dither=Image.Dither.NONE).save(target, optimize=True)
            print(target)
        demo.terminate()


if __name__ == "__main__":
    main()
