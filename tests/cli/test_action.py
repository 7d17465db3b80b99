"""The GitHub Action's own step, run as action.yml has it: exit codes, reports and summary on real artifacts."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from edgeproof.cli import run
from edgeproof_tests.world import FORMATS

ROOT = Path(__file__).resolve().parents[2]


def action():
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))


def step(folder, **given):
    """Run the step named Gate as a runner does: inputs put into its variables, its line given to `sh -e`."""
    described = action()
    (gate,) = [found for found in described["runs"]["steps"] if found["name"] == "Gate"]
    inputs = {name: found.get("default", "") for name, found in described["inputs"].items()}
    inputs |= {name: str(value) for name, value in given.items()}
    known = {f"inputs.{name}": value for name, value in inputs.items()} | {"github.action_path": str(ROOT)}
    variables = {
        name: re.sub(r"\$\{\{ ([\w.-]+) \}\}", lambda found: known[found[1]], value)
        for name, value in gate["env"].items()
    }
    summary, output = folder / "step-summary.md", folder / "output"
    script = folder / "step.sh"
    script.write_text(gate["run"])
    environment = {
        **os.environ,
        **variables,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "GITHUB_STEP_SUMMARY": str(summary),
        "GITHUB_OUTPUT": str(output),
        "PYTHONSAFEPATH": "1",
    }
    assert gate["shell"] == "sh"
    done = subprocess.run(
        ["sh", "-e", str(script)], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    return done, summary.read_text(encoding="utf-8") if summary.exists() else ""


def outputs(folder):
    """What the step gave to the action's outputs, as a runner reads it."""
    lines = (folder / "output").read_text(encoding="utf-8").splitlines()
    found = dict(line.split("=", 1) for line in lines)
    named = re.findall(r"steps\.gate\.outputs\.(\w+)", json.dumps(action()["outputs"]))
    assert sorted(named) == sorted(action()["outputs"]) == sorted(found)
    return found


def test_the_action_uploads_what_the_step_wrote_whatever_its_verdict():
    gate, upload = action()["runs"]["steps"]
    assert upload["if"] == "always() && steps.gate.outputs.report != ''"
    assert upload["with"]["path"] == gate["env"]["EDGEPROOF_REPORT"]
    assert "${{" not in gate["run"]


def test_the_samples_are_yaml_and_name_no_input_that_the_action_lacks():
    described = action()
    yaml = pytest.importorskip("yaml")
    samples = {
        name: yaml.safe_load((ROOT / "examples" / "ci" / name).read_text()) for name in ("github.yml", "gitlab.yml")
    }
    steps = samples["github.yml"]["jobs"]["gate"]["steps"]
    (used,) = [found for found in steps if "edgeproof@" in found.get("uses", "")]
    assert set(used["with"]) <= set(described["inputs"])
    needed = {name for name, found in described["inputs"].items() if found["required"]}
    assert needed <= set(used["with"])
    assert samples["gitlab.yml"]["gate"]["artifacts"]["when"] == "always"


def samples():
    yaml = pytest.importorskip("yaml")
    return {
        name: yaml.safe_load((ROOT / "examples" / "ci" / f"{name}.yml").read_text()) for name in ("github", "gitlab")
    }


def scripts(name, job):
    """The commands of a job of a sample, as its shell gets them."""
    found = samples()[name]
    if name == "gitlab":
        return found[job]["script"]
    return [done["run"] for done in found["jobs"][job]["steps"] if "run" in done]


def test_what_the_samples_install_and_use_is_pinned():
    for name in ("github", "gitlab"):
        for job in ("gate", "publish"):
            (install,) = [line for line in scripts(name, job) if "pip install" in line]
            assert "--require-hashes -r" in install
    used = [found["uses"] for job in samples()["github"]["jobs"].values() for found in job["steps"] if "uses" in found]
    used += [found["uses"] for found in action()["runs"]["steps"] if "uses" in found]
    for one in used:
        assert re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}|OWNER/edgeproof@COMMIT", one)
    assert re.search(r":\d+\.\d+\.\d+-", samples()["gitlab"]["default"]["image"])


@pytest.mark.parametrize("name", ["github", "gitlab"])
def test_the_samples_publish_only_what_verifies_with_the_key_as_the_gated_file(name):
    gate, publish = " ".join(scripts(name, "gate")), " ".join(scripts(name, "publish"))
    for option in ("--key keys/gate.pub", "--require-pass", '--policy-sha256 "$POLICY_SHA256"', "--baseline-key"):
        assert option in publish
    assert publish.index("verify") < publish.index("echo")
    (artifact,) = set(re.findall(r"dist/[\w.-]+", publish))
    if name == "github":
        (used,) = [s for s in samples()["github"]["jobs"]["gate"]["steps"] if "edgeproof@" in s.get("uses", "")]
        assert used["with"]["artifact"] == artifact
        assert {"sign", "baseline-key", "policy-sha256"} <= set(used["with"])
    else:
        assert artifact in gate
        assert "--sign" in gate


@pytest.mark.slow
@pytest.mark.torch
def test_the_gitlab_samples_commands_gate_verify_and_refuse_another_file(world, tmp_path):
    import hashlib

    from edgeproof.eval import attestation
    from edgeproof.eval.baselines.file import load_baselines, save_baselines
    from edgeproof_tests.eval.test_verify import save_keys

    shutil.copytree(world.pack, tmp_path / "probes")
    for kind in ("gate", "baseline"):
        (tmp_path / kind).mkdir()
        save_keys(tmp_path / kind)
    keys = tmp_path / "keys"
    keys.mkdir()
    shutil.copyfile(tmp_path / "gate" / "gate.pub", keys / "gate.pub")
    shutil.copyfile(tmp_path / "baseline" / "gate.pub", keys / "baseline.pub")
    recorded = list(load_baselines(world.baseline).values())
    private = attestation.read_private_key(tmp_path / "baseline" / "gate.pem")
    save_baselines(recorded, tmp_path / "baseline.json", signing_key=private)
    (tmp_path / "policy.toml").write_text("[leak]\nshare = 0.1\n")
    made = {}
    for name, adapters in (("unlearned", ["--adapter", str(world.adapter)]), ("original", [])):
        chosen = ["--format", FORMATS[0], "--out", str(tmp_path / name), "--threads", "1", "--quiet"]
        assert run(["--base", str(world.base), *adapters, *chosen]) == 0
        (made[name],) = (tmp_path / name).glob("*.gguf")
    (tmp_path / "dist").mkdir()
    artifact = shutil.copyfile(made["unlearned"], tmp_path / "dist" / "model-q4.gguf")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "POLICY_SHA256": hashlib.sha256((tmp_path / "policy.toml").read_bytes()).hexdigest(),
        "EDGEPROOF_SIGNING_KEY": str(tmp_path / "gate" / "gate.pem"),
        "PYTHONSAFEPATH": "1",
    }

    def shell(job):
        (line,) = [line for line in scripts("gitlab", job) if line.startswith("export-edge")]
        return subprocess.run(["sh", "-e", "-c", line], cwd=tmp_path, env=environment, check=False).returncode

    assert shell("gate") == 0
    assert shell("publish") == 0
    shutil.copyfile(made["original"], artifact)
    assert shell("publish") == 3
    shutil.copyfile(made["unlearned"], artifact)
    (tmp_path / "policy.toml").write_text("[leak]\nshare = 0.9\n")
    assert shell("publish") == 3


@pytest.mark.parametrize("missing", ["artifact", "pack", "baseline", "report"])
def test_a_missing_input_is_an_error_and_no_verdict(tmp_path, missing):
    given = dict.fromkeys(("artifact", "pack", "baseline", "report"), "x") | {missing: ""}
    done, summary = step(tmp_path, **given)
    assert done.returncode == 2
    assert missing.upper() in done.stderr
    assert "PASS" not in summary


@pytest.mark.parametrize(
    "artifact", ["nowhere.gguf", "--help", "--version", "-h", "$(touch pwned)", "a; exit 0", "x' 0"]
)
def test_no_name_of_an_artifact_makes_it_pass(tmp_path, artifact):
    done, summary = step(tmp_path, artifact=artifact, pack="pack", baseline="baseline.json")
    assert done.returncode == 3
    assert "No verdict" in summary
    assert outputs(tmp_path) == {"verdict": "NONE", "reason": "exit code 3", "waived": "false", "report": ""}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["output", "step-summary.md", "step.sh"]


@pytest.mark.parametrize("name", ["summary.md", "report.json"])
def test_a_report_that_was_there_before_is_no_verdict_of_this_run(tmp_path, name):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "export-edge").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "bin" / "export-edge").chmod(0o755)
    (tmp_path / "edgeproof-report").mkdir()
    (tmp_path / "edgeproof-report" / name).write_text("## PASS: it stayed unlearned\n")
    done, summary = step(tmp_path, artifact="x.gguf", pack="pack", baseline="baseline.json")
    assert done.returncode == 3
    assert "holds a report that is not of this run" in done.stderr
    assert "PASS" not in summary
    assert outputs(tmp_path)["report"] == ""


def test_the_samples_remove_a_committed_report_before_anything_else():
    assert scripts("gitlab", "gate")[0].startswith("rm -rf edgeproof-report")
    jenkins = (ROOT / "examples" / "ci" / "Jenkinsfile").read_text(encoding="utf-8")
    steps = jenkins.partition("stage('Gate')")[2]
    assert (
        steps.index("sh 'rm -rf edgeproof-report'") < steps.index("withCredentials") < steps.index("archiveArtifacts")
    )


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.parametrize(
    ("kind", "code", "verdict"), [("pass", 0, "PASS"), ("fail", 1, "FAIL"), ("open", 4, "INCONCLUSIVE")]
)
def test_the_step_ends_as_the_verdict_says(world, tmp_path, kind, code, verdict):
    from junitparser import JUnitXml

    adapters = [] if kind == "fail" else ["--adapter", str(world.adapter)]
    made = tmp_path / "dist"
    chosen = ["--format", FORMATS[0], "--out", str(made), "--threads", "1", "--quiet"]
    assert run(["--base", str(world.base), *adapters, *chosen]) == 0
    (artifact,) = made.glob("*.gguf")
    policy = tmp_path / "policy.toml"
    policy.write_text("[leak]\nshare = 0.001\n")
    more = {"policy": policy} if kind == "open" else {}
    done, summary = step(tmp_path, artifact=artifact, pack=world.pack, baseline=world.baseline, **more)
    assert done.returncode == code, done.stderr
    assert summary.startswith(f"## {verdict}: ")
    assert summary.count("\n| ") >= 9
    report = tmp_path / "edgeproof-report"
    told = json.loads((report / "report.json").read_text())
    assert told["verdict"] == verdict
    reason = "; ".join((told["reason"], *told["also"]))
    assert outputs(tmp_path) == {"verdict": verdict, "reason": reason, "waived": "false", "report": "edgeproof-report"}
    (suite,) = JUnitXml.fromfile(str(report / "junit.xml"))
    assert (suite.failures + suite.errors == 0) == (code == 0)
    for text in (summary, done.stdout, done.stderr, *(path.read_text() for path in report.iterdir())):
        assert not re.findall(rf"\b(?:{'|'.join(world.facts.texts)})\b", text)
    # A second run into the same folder is none: an old report must not speak for a new file.
    again, _ = step(tmp_path, artifact=artifact, pack=world.pack, baseline=world.baseline, **more)
    assert again.returncode == 3
