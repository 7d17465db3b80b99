"""Processor time of each test, children included; unlike wall time it hardly depends on other load.

`make test ARGS=--cpu-times=20` ends with the twenty phases that took most, and the whole. A fixture that many tests
share counts for the first of them, as with `--durations`.
"""

from __future__ import annotations

import os

import pytest

SPENT = pytest.StashKey[float]()


def pytest_addoption(parser):
    parser.addoption("--cpu-times", type=int, default=0, metavar="N", help="show the N phases that took most")


def spent() -> float:
    """User and system time of this process and of the children that it has waited for, in seconds."""
    return sum(os.times()[:4])


def _measured(item):
    before = spent()
    try:
        return (yield)
    finally:
        item.stash[SPENT] = spent() - before


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item):
    return (yield from _measured(item))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item):
    return (yield from _measured(item))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item):
    return (yield from _measured(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    report.cpu_s = item.stash.get(SPENT, 0.0)
    return report


def pytest_terminal_summary(terminalreporter, config):
    wanted = config.getoption("--cpu-times")
    if not wanted:
        return
    reports = {
        id(report): report for kind in terminalreporter.stats.values() for report in kind if hasattr(report, "cpu_s")
    }.values()
    terminalreporter.section(f"most processor time, of {sum(report.cpu_s for report in reports):.0f} s in all")
    for report in sorted(reports, key=lambda report: -report.cpu_s)[:wanted]:
        terminalreporter.line(f"{report.cpu_s:7.2f} s  {report.when:8}  {report.nodeid}")
