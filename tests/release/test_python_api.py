"""`import edgeproof`: the functions are the commands, load nothing early, and fail with errors that say what to do."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import edgeproof
import pytest
from edgeproof.cli import VERBS, group
from edgeproof.contracts.errors import CheckpointError, UsageError
from edgeproof.release.steps.arguments import equivalent_command
from edgeproof_tests.runtime import tiny_gguf

FUNCTIONS = {
    "export": edgeproof.export,
    "probe": edgeproof.probe,
    "baseline": edgeproof.record_baseline,
    "gate": edgeproof.gate,
    "verify": edgeproof.verify,
    "waive": edgeproof.waive,
    "compare": edgeproof.compare,
    "history": edgeproof.history,
    "card": edgeproof.card,
    "table": edgeproof.table,
    "evaluate": edgeproof.evaluate,
    "unlearn": edgeproof.unlearn,
    "inspect": edgeproof.inspect,
    "pack new": edgeproof.pack_new,
    "judge": edgeproof.judge,
    "phone job": edgeproof.phone_job,
    "phone push": edgeproof.phone_push,
    "phone run": edgeproof.phone_run,
    "pack check": edgeproof.pack_check,
}
PRINTING = {"quiet", "as_json", "as_markdown"}
CALLER = {"progress", "command", "on_written"}
HEAVY = {"torch", "transformers", "numpy", "scipy", "onnxruntime", "llama_cpp", "gguf", "rich", "click", "jinja2"}
DOCS = Path(__file__).resolve().parents[2] / "docs"
DATA = Path(__file__).resolve().parents[1] / "data"


def command(verb: str) -> click.Command:
    found: click.Command | None = group
    for word in verb.split():
        assert isinstance(found, click.Group)
        found = found.get_command(click.Context(found), word)
    assert found is not None
    return found


def own_options(verb: str) -> list[click.Parameter]:
    return [parameter for parameter in command(verb).params if parameter.name not in PRINTING]


def own_parameters(verb: str) -> list[inspect.Parameter]:
    return [p for p in inspect.signature(FUNCTIONS[verb]).parameters.values() if p.name not in CALLER]


def test_every_job_has_a_function():
    """Not a job: what only shows the others at work."""
    done = {verb.partition(" ")[0] for verb in FUNCTIONS}
    assert done <= set(VERBS)
    assert set(VERBS) - done <= {"quickstart", "demo"}


@pytest.mark.parametrize("verb", FUNCTIONS)
def test_functions_have_the_names_and_the_order_of_the_options(verb):
    options = [p.opts[0].removeprefix("--").replace("-", "_") for p in own_options(verb) if isinstance(p, click.Option)]
    keywords = [p.name for p in own_parameters(verb) if p.kind is p.KEYWORD_ONLY]
    assert keywords == options
    arguments = [p for p in own_options(verb) if isinstance(p, click.Argument)]
    assert len(arguments) == len([p for p in own_parameters(verb) if p.kind is p.POSITIONAL_OR_KEYWORD])


@pytest.mark.parametrize("verb", FUNCTIONS)
def test_functions_have_the_defaults_of_the_options(verb):
    options = [p for p in own_options(verb) if isinstance(p, click.Option)]
    words = [word for p in options if p.required for word in (p.opts[0], "given")]
    arguments = ["given" for p in own_options(verb) if isinstance(p, click.Argument)]
    read = command(verb).make_context(verb, [*arguments, *words]).params
    for parameter in own_parameters(verb):
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is not parameter.empty:
            default = parameter.default
            if default == "gguf-q4":
                default = ()  # shared by commands; export and baseline fill it in
            assert read[parameter.name] == default, parameter.name


def test_a_recipe_has_the_options_and_the_defaults_of_the_training_settings():
    from edgeproof.unlearn import Settings

    parameters = {p.name: p.default for p in own_parameters("unlearn")}
    several = {"targets": "target", "surfaces": "surface"}
    settings = {several.get(field.name, field.name): field.default for field in dataclasses.fields(Settings)}
    del settings["leak_logprob"]  # from the gate's rule and the pack, and no option
    assert settings == {name: default for name, default in parameters.items() if name in settings}


@pytest.mark.parametrize("verb", FUNCTIONS)
def test_what_an_option_needs_a_function_needs(verb):
    required = {p.name for p in own_options(verb) if isinstance(p, click.Option) and p.required}
    needed = {p.name for p in own_parameters(verb) if p.kind is p.KEYWORD_ONLY and p.default is p.empty}
    # The commands share options, and check these themselves.
    checked = {"gate": {"probes", "baseline"}}
    assert needed == required | checked.get(verb, set())


@pytest.mark.parametrize("verb", FUNCTIONS)
def test_every_parameter_is_documented(verb):
    documented = re.findall(r"^ {4}(\w+): ", inspect.getdoc(FUNCTIONS[verb]).partition("Args:")[2], re.MULTILINE)
    assert documented[: len(inspect.signature(FUNCTIONS[verb]).parameters)] == list(
        inspect.signature(FUNCTIONS[verb]).parameters
    )


def loaded_by(script: str) -> set[str]:
    code = f"import sys\n{script}\nprint(*sorted(name.partition('.')[0] for name in sys.modules))"
    run = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_importing_loads_nothing_but_pythons_own():
    assert loaded_by("import edgeproof") - loaded_by("") - sys.stdlib_module_names == {"edgeproof"}


def test_functions_are_had_without_the_libraries_that_they_call():
    names = ", ".join(function.__name__ for function in FUNCTIONS.values())
    assert not loaded_by(f"from edgeproof import {names}") & HEAVY


def test_functions_keep_their_names_when_packages_of_the_same_name_are_loaded():
    for package in ("export", "unlearn"):
        module = importlib.import_module(f"edgeproof.{package}")
        assert sys.modules[f"edgeproof.{package}"] is module
        assert inspect.isfunction(getattr(edgeproof, package))


def test_all_names_are_there_and_listed():
    assert sorted(edgeproof.__all__) == list(dir(edgeproof))
    for name in edgeproof.__all__:
        assert getattr(edgeproof, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'gates'"):
        edgeproof.gates  # noqa: B018


@pytest.mark.parametrize(
    "name", [name for name in edgeproof.__all__ if name.endswith(("Result", "Artifact", "ied", "tion"))]
)
def test_results_are_frozen_dataclasses(name):
    result = getattr(edgeproof, name)
    assert dataclasses.is_dataclass(result)
    assert result.__dataclass_params__.frozen


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    return tiny_gguf.write(tmp_path_factory.mktemp("api") / "tiny.gguf")


def test_errors_say_what_to_do_and_nothing_is_printed(tmp_path, artifact, capfd):
    with pytest.raises(CheckpointError, match="does not exist"):
        edgeproof.inspect(artifact, base=tmp_path / "no base", adapter=tmp_path / "no adapter")
    with pytest.raises(UsageError, match="gguf-q5") as caught:
        edgeproof.gate(artifact, format="gguf-q5", probes=tmp_path, baseline=tmp_path)
    assert isinstance(caught.value, edgeproof.EdgeproofError)
    assert caught.value.exit_code == 2
    with pytest.raises(UsageError, match="go together"):
        edgeproof.export(base=tmp_path, out=tmp_path / "out", probes=tmp_path)
    with pytest.raises(UsageError, match="gguf-f64") as caught:
        edgeproof.record_baseline(base="b", adapter="a", probes="p", out=tmp_path / "out", float="gguf-f64")
    assert "gguf-f16" in caught.value.next_step
    with pytest.raises(edgeproof.EdgeproofError) as caught:
        edgeproof.unlearn(base="b", forget="f", retain="r", out="o", until_survives=True)
    assert "--survive" in caught.value.next_step
    assert capfd.readouterr() == ("", "")


def test_one_value_needs_no_list(artifact, tmp_path):
    one = edgeproof.evaluate(
        str(artifact), data=str(DATA / "metrics/tofu"), metric="wf_Q_A_ROUGE", out=tmp_path / "a.json", threads=1
    )
    several = edgeproof.evaluate(
        artifact, data=[DATA / "metrics/tofu"], metric=["wf_Q_A_ROUGE"], out=tmp_path / "b.json", threads=1
    )
    assert one.metrics == several.metrics
    assert list(one.metrics) == ["wf_Q_A_ROUGE"]
    assert (one.file, one.summary_file) == (tmp_path / "a.json", tmp_path / "a_SUMMARY.json")


def test_files_record_the_command_that_does_the_same(artifact, tmp_path):
    """The recorded words, run as a command, write the same file."""
    out, data = tmp_path / "a b.json", DATA / "metrics/tofu"
    edgeproof.evaluate(artifact, data=data, metric="wf_Q_A_ROUGE", out=out, seed=3, threads=1, show_answers=True)
    first = json.loads(out.read_text())
    words = first["edgeproof"]["command"]
    assert words[:3] == ["export-edge", "evaluate", str(artifact)]
    assert {"--seed", "3", "--show-answers"} <= set(words)
    assert "--prompt" not in words
    out.rename(tmp_path / "first.json")
    (tmp_path / "a b_SUMMARY.json").unlink()
    run = subprocess.run([sys.executable, "-P", "-m", "edgeproof.cli", *words[1:]], capture_output=True, check=False)
    assert run.returncode == 0, run.stderr
    assert json.loads(out.read_text()) == first


def some_value(option: click.Parameter) -> object:
    """A value that the option takes and that is no default."""
    words = {"tensor_type": "PATTERN=TYPE", "format": "gguf-q8_0", "add_format": "gguf-q4_1", "survive": "gguf-q4_0",
             "float": "gguf-f32", "compute": "gpu"}  # fmt: skip
    word = words.get(option.name, f"some {option.name}")
    if isinstance(option, click.Option) and option.is_flag:
        return True
    if isinstance(option, click.Option) and option.multiple:
        return [word, words.get(option.name, "another")]
    return 7 if "integer" in option.type.name else 0.25 if option.type.name in {"float", "number"} else word


@pytest.mark.parametrize("verb", FUNCTIONS)
def test_the_recorded_command_is_read_back_as_the_same_options(verb):
    options = dict(zip([p.name for p in own_parameters(verb)], own_options(verb), strict=True))
    given = {name: some_value(option) for name, option in options.items()}
    words = equivalent_command(FUNCTIONS[verb], verb, given)
    read = command(verb).make_context(verb, list(words[2:])).params
    for name, option in options.items():
        wanted, found = given[name], read[option.name]
        if isinstance(found, tuple):
            found = [str(item) for item in found]
            wanted = wanted if isinstance(wanted, list) else [wanted]
        assert (str(found) if isinstance(wanted, str) else found) == wanted, name


def examples() -> str:
    blocks = re.findall(r"^```python\n(.*?)^```$", (DOCS / "python-api.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 10
    return "\n".join(blocks)


def test_the_examples_type_check_their_names():
    """Every function is shown, and everything shown is public."""
    used = set(re.findall(r"edgeproof\.(\w+)", examples()))
    assert used <= set(edgeproof.__all__)
    assert {function.__name__ for function in FUNCTIONS.values()} <= used


@pytest.mark.slow
@pytest.mark.torch
def test_the_examples_of_the_docs_run(taught, tmp_path, monkeypatch, capsys):
    base, pack, _ = taught
    for source, name in ((base, "base"), (pack, "pack"), (DATA / "metrics/tofu", "tofu")):
        shutil.copytree(source, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    space: dict[str, object] = {}
    exec(compile(examples(), "docs/python-api.md", "exec"), space)  # noqa: S102 (our own page)
    result, both = space["result"], space["both"]
    assert result.verdict in {"PASS", "FAIL", "INCONCLUSIVE"}
    assert [gated.format for gated in both.gated] == ["gguf-q4_0", "gguf-q8_0"]
    assert both.gated[0].verdict == result.verdict
    assert space["found"].verdict == result.verdict
    assert {path.name for path in result.reports} == {"report.json", "report.html", "junit.xml", "summary.md"}
    assert result.answers == {}
    with pytest.raises(TypeError, match="no boolean"):
        bool(result)
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.verdict = "PASS"
    said = capsys.readouterr()
    assert "does not exist" in said.out or "there is no" in said.out
    assert said.err == ""
    recorded = json.loads((tmp_path / "report/report.json").read_text())["command"]
    assert recorded[:2] == ["export-edge", "gate"]
    code = 0
    try:
        space["release"](result)
    except SystemExit as stop:
        code = stop.code
    assert code == result.exit_code
    assert str(result.verdict) in capsys.readouterr().err


class Listener:
    def __init__(self):
        self.tasks, self.warnings = [], []

    def start(self, task, total, unit):
        self.tasks.append((task, total, unit))

    def advance(self, done):
        pass

    def warn(self, message):
        self.warnings.append(message)


@pytest.mark.slow
@pytest.mark.torch
def test_results_hold_warnings_and_answers_and_listeners_hear_of_the_tasks(world, tmp_path, capfd):
    listener, written = Listener(), []
    exported = edgeproof.export(
        base=world.base,
        adapter=world.adapter,
        format="gguf-q8_0",
        out=tmp_path / "dist",
        probes=world.pack,
        baseline=world.baseline,
        show_answers=True,
        threads=1,
        progress=listener,
        on_written=lambda artifacts: written.append((artifacts, [task for task, *_ in listener.tasks])),
    )
    ((artifacts, before),) = written
    assert artifacts == exported.artifacts
    assert "Export" in before
    assert len(listener.tasks) > len(before)
    (gated,) = exported.gated
    assert gated.verdict == "PASS"
    assert {answer for answer in gated.answers.values() if answer.strip()}
    assert all(question not in repr(exported) for question in world.facts.texts)
    assert (tmp_path / "dist/report/report.json").is_file()

    bare = shutil.copy(exported.artifacts[0].path, tmp_path / "bare.gguf")
    alone = edgeproof.gate(bare, probes=world.pack, baseline=world.baseline, threads=1)
    assert alone.verdict == "PASS"
    assert any("bare.gguf has no manifest beside it" in warning for warning in alone.warnings)
    assert (alone.answers, alone.reports) == ({}, ())
    assert capfd.readouterr() == ("", "")
    alone.show()
    assert "PASS" in capfd.readouterr().err
