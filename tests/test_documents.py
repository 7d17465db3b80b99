"""The documents: links lead somewhere, the index is complete, and commands have options that exist."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import click
import pytest
from edgeproof.cli import DEFAULT_VERB, VERBS, group

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/**/*.md"), *ROOT.glob("benchmarks/**/README.md")]
)
IDS = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
LINK = re.compile(r"\]\(([^()\s]+)\)")
CODE = re.compile(r"^```.*?^```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives a document's headings."""
    headings = re.findall(r"^#+ +(.+?)\s*$", BLOCK.sub("", path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(path: Path) -> list[list[str]]:
    """The words of each `export-edge` command in a code block, from the verb on."""
    found = []
    for block in BLOCK.findall(path.read_text()):
        for line in re.sub(r"\\?\n +", " ", block).splitlines():
            for command in re.findall(r"\bexport-edge (.*)", line.split(" #")[0]):
                words = re.findall(r"[\w./=-]+", command)
                found.append(words if words[:1] and words[0] in VERBS else [DEFAULT_VERB, *words])
    return found


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_links_lead_to_files_and_headings(path):
    for link in LINK.findall(CODE.sub("", path.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = unquote(link).partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_the_index_lists_every_document():
    index = (ROOT / "docs" / "README.md").read_text()
    names = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert {name for name in names if f"]({name})" not in index} == set()


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_tests_that_are_named_exist(path):
    """Files, and the words of `tests/run.sh -k`, which match names of folders and files."""
    tests = [file.relative_to(ROOT / "tests") for file in (ROOT / "tests").rglob("test_*.py")]
    text = path.read_text()
    for file in re.findall(r"`([\w/]+/test_\w+\.py)`", text):
        assert Path(file.removeprefix("tests/")) in tests
    for selected in re.findall(r'tests/run\.sh -k ("[^"]+"|\w+)', text):
        words = set(re.findall(r"\w+", selected)) - {"and"}
        assert any(all(any(word in part for part in file.parts) for word in words) for file in tests), selected


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_commands_in_code_blocks_have_options_that_exist(path):
    for verb, *words in commands(path):
        command = group.get_command(None, verb)
        if isinstance(command, click.Group):
            assert words[:1], verb
            command = command.commands[words.pop(0)]
        known = {name for option in command.params for name in option.opts} | {"--help"}
        assert {word.split("=")[0] for word in words if word.startswith("--") and word != "--"} <= known, verb


def test_the_readme_has_commands_that_are_checked():
    verbs = [verb for verb, *_ in commands(ROOT / "README.md")]
    assert verbs[:3] == ["baseline", "export", "gate"]
