"""Chromium for tests in a browser: one per session, since playwright can be started once per process.

Without Chromium these tests are skipped, unless $EDGEPROOF_CHROMIUM is "required", as .ci/run sets it.
"""

from __future__ import annotations

import importlib.util
import os
import shutil

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def chromium():
    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if program is None or importlib.util.find_spec("playwright") is None:
        missing = f"no {'Chromium' if program is None else 'playwright'} on this machine"
        if os.environ.get("EDGEPROOF_CHROMIUM") == "required":
            pytest.fail(missing)
        pytest.skip(missing)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=program, args=["--no-sandbox"], timeout=0)
        yield opened
        opened.close()
