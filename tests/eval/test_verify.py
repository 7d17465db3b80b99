"""A verdict can be checked later: what is as it was verifies, and no byte of it can be another."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
import shutil
from datetime import UTC, datetime

import pytest
from edgeproof.contracts.backend import NOT_PROVED
from edgeproof.contracts.errors import (
    EvidenceError,
    InputError,
    OutputError,
    PolicyError,
    UnsupportedError,
    UsageError,
)
from edgeproof.contracts.survival import parse_survival
from edgeproof.contracts.training import Training
from edgeproof.eval import attestation
from edgeproof.eval.baselines.file import load_baselines, save_baselines
from edgeproof.eval.digests import digest_bytes
from edgeproof.eval.measurement import ModelSource, Role, Sampling, Sources
from edgeproof.eval.packs.files import open_pack
from edgeproof.eval.packs.reader import load_pack
from edgeproof.eval.report.context import ReportContext
from edgeproof.eval.report.disclosure import probe_digests
from edgeproof.eval.report.write import encode, write_reports
from edgeproof.eval.verdict.judge import judge
from edgeproof.eval.verdict.policy import Policy, read_policy, refuse_other_policy
from edgeproof.eval.verdict.second_computation import judge_both
from edgeproof.eval.verification.recompute import ArtifactDigests, Inputs
from edgeproof.eval.verification.verify import verify
from edgeproof.release.verify import statement
from edgeproof_tests.eval.worlds import World, leaking

WORLD = World(forget=31, known=31, retain=12, trained=2, holdout=3, critical=frozenset({"f30-0"}))
FORMAT = "gguf-q4"


@dataclasses.dataclass(frozen=True)
class Gated:
    """A gate's files in one folder, and what it was given."""

    root: object
    digests: ArtifactDigests

    @property
    def report(self):
        return self.root / "report"

    @property
    def inputs(self):
        return Inputs(self.root / "pack", self.root / "baseline.json", self.root / "policy.toml")

    def verify(self, *, key=True):
        """As the command line does it: the artifact is hashed again."""
        file = self.root / "model.gguf"
        digests = self.digests._replace(sha256=digest_bytes(file), files=((file.name, digest_bytes(file)),))
        return verify(self.report, digests, self.inputs, public_key=self.root / "gate.pub" if key else None)


def save_pack(folder, salt=""):
    folder.mkdir()
    toml = (
        'schema = 1\nname = "capitals" # a comment\n' + salt + '[[surface]]\nkind = "raw"\n[[surface]]\nkind = "chat"\n'
    )
    for role in Role:
        for trained in (False, True):
            facts = [f for f in WORLD.facts() if (f.role, f.trained) == (role, trained)]
            if facts:
                name = f"{role}-{trained}"
                lines = [
                    {"id": f.probe, "cluster": f.cluster, "question": f"Question {f.probe} is", "answer": f"A{f.probe}"}
                    | ({"critical": True} if f.critical else {})
                    for f in facts
                ]
                (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
                toml += f'[[set]]\nname = "{name}"\nrole = "{role}"\nfile = "{name}.jsonl"\n'
                toml += "trained = true\n" if trained else ""
    (folder / "pack.toml").write_text(toml)
    return load_pack(folder)


def save_keys(folder):
    ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    from cryptography.hazmat.primitives import serialization as form

    key = ed25519.Ed25519PrivateKey.generate()
    secret = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    (folder / "gate.pem").write_bytes(secret)
    public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    (folder / "gate.pub").write_bytes(public)


def write(
    root,
    answers=None,
    *,
    precise=None,
    shown=None,
    salt="",
    world=WORLD,
    policy="[leak]\nshare = 0.11 # by contract\n",
    sources=None,
    backend=None,
    embedding=None,
):
    """Gate a made-up artifact into `root`, with a key."""
    root.mkdir(exist_ok=True)
    pack = save_pack(root / "pack", salt)
    (root / "model.gguf").write_bytes(bytes(range(64)))
    (root / "policy.toml").write_text(policy)
    save_keys(root)
    recorded = world.baseline()
    measured = [recorded.base, recorded.merged, recorded.base_in_format[FORMAT], world.artifact(answers)]
    base, merged, in_format, artifact = (dataclasses.replace(m, pack_digest=pack.digest) for m in measured)
    in_format = dataclasses.replace(in_format, backend=in_format.backend | (embedding or {}))
    digest = digest_bytes(root / "model.gguf")
    artifact = dataclasses.replace(artifact, artifact_sha256=digest, backend=artifact.backend | (backend or {}))
    reference = {name: dataclasses.replace(m, pack_digest=pack.digest) for name, m in recorded.reference.items()}
    baseline = dataclasses.replace(
        recorded,
        pack_digest=pack.digest,
        base=base,
        merged=merged,
        base_in_format={FORMAT: in_format},
        sources=sources,
        reference=reference,
    )
    save_baselines([baseline], root / "baseline.json")
    baseline = load_baselines(root / "baseline.json")["llama.cpp"]
    policy = read_policy(root / "policy.toml")
    if precise is None:
        judgement = judge(artifact, baseline, policy, format=FORMAT)
    else:
        again = dataclasses.replace(artifact, scores=WORLD.artifact(precise).scores)
        judgement = judge_both(artifact, again, baseline, policy, format=FORMAT)
    context = ReportContext(
        artifact="model.gguf",
        artifact_files=(("model.gguf", digest),),
        command=("export-edge", "gate", "model.gguf"),
        baseline_sha256=digest_bytes(root / "baseline.json"),
        pack_files_sha256=open_pack(root / "pack").digest(),
        policy_file_sha256=digest_bytes(root / "policy.toml"),
        manifest_sha256=None,
        versions={"edgeproof": "0.1.0"},
        created=datetime(2026, 2, 13, 12, 0, 0, tzinfo=UTC),
        probe_digests=probe_digests(pack),
        artifact_bytes=64,
        base=None if sources is None else sources.base,
        seconds=2.5,
    )
    key = attestation.read_private_key(root / "gate.pem")
    write_reports(judgement, context, root / "report", answers=shown, signing_key=key)
    return Gated(root, ArtifactDigests(digest, (("model.gguf", digest),), 64, None))


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return write(tmp_path_factory.mktemp("gated"), leaking(WORLD, 20))


@pytest.fixture
def gated(original, tmp_path):
    shutil.copytree(original.root, tmp_path / "copy")
    return dataclasses.replace(original, root=tmp_path / "copy")


def refused(gated, *words, key=True):
    with pytest.raises(EvidenceError) as error:
        gated.verify(key=key)
    assert error.value.exit_code == 3
    for word in words:
        assert word in str(error.value)


def flips(path, count, seed=7):
    """Change one byte at a time at seeded places, always at the first and the last; the file is mended afterwards."""
    content = path.read_bytes()
    chosen = random.Random(seed)
    places = {0, len(content) - 1, *chosen.sample(range(len(content)), min(count, len(content)))}
    for place in sorted(places):
        changed = bytearray(content)
        changed[place] ^= chosen.choice((1, 2, 4, 8, 16, 32, 64, 128))
        path.write_bytes(bytes(changed))
        yield place
    path.write_bytes(content)


def forge(gated, change):
    """Change the report as somebody would who knows how it is made: canonical, with a digest that fits."""
    path = gated.report / "report.json"
    report = json.loads(path.read_bytes())
    change(report)
    del report["report_sha256"]
    path.write_bytes(encode(report | {"report_sha256": hashlib.sha256(encode(report)).hexdigest()}))


# What is as it was


@pytest.mark.parametrize(("answers", "verdict"), [(leaking(WORLD, 20), "FAIL"), (leaking(WORLD, 3), "INCONCLUSIVE")])
def test_what_is_as_it_was_verifies_whatever_its_verdict_is(tmp_path, answers, verdict):
    found = write(tmp_path, answers).verify()
    assert (found.verdict, found.signed) == (verdict, True)


def test_a_report_of_two_computations_verifies_and_shows_a_change_in_either(tmp_path):
    shown = {("f0-0", "raw"): "A text."}
    gated = write(tmp_path, leaking(WORLD, 20), precise=leaking(WORLD, 21), shown=shown)
    assert gated.verify().verdict == "FAIL"
    forge(gated, lambda report: report["precise"]["probes"][0]["logprobs"].__setitem__(0, -0.5))
    refused(gated, "precise.mean_difference", key=False)


@dataclasses.dataclass(frozen=True)
class Carrying(World):
    """A world all of whose models were asked with carriers in the chat."""

    def _measurement(self, label, answers, asks, sha):
        def carried(fact, surface):
            answer = answers(fact, surface)
            return dataclasses.replace(answer, carried=min(0.0, 0.5 - 2 * answer.nll)) if surface == "chat" else answer

        return super()._measurement(label, carried, asks, sha)


def test_a_report_of_carriers_and_a_reference_asking_verifies_and_shows_what_was_changed(tmp_path):
    world = Carrying(**{**dataclasses.asdict(WORLD), "sampling": WORLD.sampling, "reference": ("reference few-shot",)})
    gated = write(tmp_path, leaking(WORLD, 20), world=world)
    assert gated.verify().verdict == "FAIL"  # weak asking does not excuse what it finds all the same
    report = json.loads((gated.report / "report.json").read_bytes())
    assert {row["extraction_is"] for row in report["probes"] if row["surface"] == "chat"} == {"lower bound"}
    assert {row["surface"] for row in report["asking"]["rows"] if row["reference"]} == {"reference few-shot"}
    forge(gated, lambda report: report["probes"][1].update(carried_logprob=-0.1))
    refused(gated, "probes[1].extraction is", key=False)
    forge(gated, lambda report: report["probes"][1].update(carried_logprob=None))
    refused(gated, "carrier sentences", key=False)


def test_a_report_with_samples_verifies_and_shows_a_count_that_was_changed(tmp_path):
    world = dataclasses.replace(WORLD, sampling=Sampling(4, 1.0, 0))

    def answers(fact, surface):
        return dataclasses.replace(WORLD.good(fact, surface), sampled=int(fact.role == Role.FORGET))

    gated = write(tmp_path, answers, world=world, policy="[samples]\ncount = 4\n")
    assert gated.verify().verdict == "FAIL"
    forge(gated, lambda report: report["probes"][1].update(sampled_right=0))
    refused(gated, "probes[1].leaks is true; its scores give false", key=False)
    forge(gated, lambda report: report["probes"][1].update(sampled_right=5))
    refused(gated, "5 right of 4 samples", key=False)
    forge(gated, lambda report: report["probes"][1].update(sampled_right=1))
    forge(gated, lambda report: report.update(sampling=None))
    refused(gated, "the artifact has no samples", key=False)


def test_without_a_key_the_signature_is_not_checked_and_that_is_said(gated):
    (gated.report / "attestation.dsse.json").unlink()
    assert not gated.verify(key=False).signed
    refused(gated, "there is no attestation.dsse.json")


def test_last_digits_that_another_processor_would_add_otherwise_do_not_matter(gated):
    forge(gated, lambda report: report["criteria"][2].__setitem__("upper", report["criteria"][2]["upper"] + 1e-12))
    assert gated.verify(key=False).verdict == "FAIL"


# Bytes


@pytest.mark.parametrize(
    ("file", "count", "what"),
    [
        ("model.gguf", 64, "artifact: sha256"),
        ("report/report.json", 150, ""),
        ("pack/pack.toml", 40, "pack: sha256"),
        ("pack/forget-False.jsonl", 40, "pack: sha256"),
        ("baseline.json", 60, "baseline: sha256"),
        ("policy.toml", 60, "policy: sha256"),
    ],
)
def test_one_byte_changed_is_refused_and_named(gated, file, count, what):
    for _ in flips(gated.root / file, count):
        refused(gated, what, key=False)
    assert gated.verify().verdict == "FAIL"


def test_any_byte_of_the_signature_changed_is_refused(gated):
    envelope, public = gated.report / "attestation.dsse.json", gated.root / "gate.pub"
    for _ in flips(envelope, 10**6):
        with pytest.raises(EvidenceError):
            attestation.read_signed(envelope, public)
    assert attestation.read_signed(envelope, public)["predicate"]["result"] == "FAILED"
    for _ in flips(envelope, 1):
        refused(gated, "signature:")


@pytest.mark.parametrize("name", ["junit.xml", "report.html", "summary.md"])
def test_what_people_read_is_signed_too(gated, name):
    for _ in flips(gated.report / name, 0):
        refused(gated, f"signature: {name} is not what was signed")
    (gated.report / name).unlink()
    refused(gated, f"signature: it is over {name}, which is not beside the report")


def test_a_file_added_to_the_pack_is_refused_but_not_a_hidden_one(gated):
    (gated.root / "pack" / ".DS_Store").write_bytes(b"x")
    assert gated.verify().verdict == "FAIL"
    (gated.root / "pack" / "more.jsonl").write_bytes(b"x")
    refused(gated, "pack: sha256")


def test_the_file_of_a_folder_that_differs_is_named(gated):
    files = (("model.onnx", "1" * 64), ("tokenizer.json", "2" * 64))
    forge(
        gated,
        lambda report: report["artifact"].update(
            sha256="3" * 64, files=[{"name": name, "sha256": sha256} for name, sha256 in files]
        ),
    )
    found = ArtifactDigests("3" * 64, files, 64, None)
    assert verify(gated.report, found, gated.inputs).verdict == "FAIL"
    for now, words in (
        (
            found._replace(sha256="4" * 64, files=(files[0], ("tokenizer.json", "5" * 64))),
            r"artifact \(tokenizer.json\)",
        ),
        (found._replace(sha256="4" * 64, files=(*files, ("more", "5" * 64))), r"artifact \(more\)"),
        (found._replace(files=files[:1]), "lists other files"),
        (found._replace(manifest_sha256="6" * 64), "manifest beside the artifact: sha256 6666"),
    ):
        with pytest.raises(EvidenceError, match=words):
            verify(gated.report, now, gated.inputs)


def test_digests_of_single_probes_are_held_to_the_pack(tmp_path):
    gated = write(tmp_path, leaking(WORLD, 20), salt='salt = "' + "5a" * 32 + '"\n')
    assert gated.verify().verdict == "FAIL"
    report = json.loads((gated.report / "report.json").read_bytes())
    assert len(set(report["probe_digests"].values())) == len(WORLD.facts())
    forge(gated, lambda report: report["probe_digests"].update({"f0-0": "0" * 64}))
    refused(gated, "probe_digests.f0-0", key=False)
    forge(gated, lambda report: report.update(probe_digests=None))
    refused(gated, "probe_digests", key=False)


def test_a_survival_map_that_the_manifest_does_not_hold_is_refused(gated):
    tensor = {"name": "blk.0.attn_q.weight", "layer": 0, "projection": 0.9, "projection_error": 0.01}
    table = {"projection": 0.9, "projection_error": 0.01, "codes_moved": 0.1, "sampled": 64, "tensors": [tensor]}
    forge(gated, lambda report: report.update(survival=table))
    refused(gated, "its survival map is not what the manifest says", key=False)
    file = gated.root / "model.gguf"
    own = ArtifactDigests(digest_bytes(file), ((file.name, digest_bytes(file)),), 64, None, parse_survival(table))
    assert verify(gated.report, own, gated.inputs).verdict == "FAIL"
    forge(gated, lambda report: report["survival"]["tensors"][0].update(projection="x"))
    refused(gated, "damaged", key=False)


RUN = Training("base", "OpenUnlearning", "NPO", "open-unlearning/x", "", "", 0, (("beta", 0.1),), "", "")


def test_a_training_run_that_the_manifest_does_not_hold_is_refused(gated):
    forge(gated, lambda report: report.update(training=[RUN.to_json()]))
    refused(gated, "its training is not what the manifest says", key=False)
    file = gated.root / "model.gguf"
    own = ArtifactDigests(digest_bytes(file), ((file.name, digest_bytes(file)),), 64, None, training=(RUN,))
    assert verify(gated.report, own, gated.inputs).verdict == "FAIL"
    forge(gated, lambda report: report["training"][0].update(method="SimNPO"))
    with pytest.raises(EvidenceError, match="its training is not what the manifest says"):
        verify(gated.report, own, gated.inputs)
    forge(gated, lambda report: report["training"][0].update(seed="x"))
    refused(gated, "damaged", key=False)


def test_a_policy_that_is_missing_is_named_with_its_option(gated):
    """The pack's own, where it is the one; one too many is said to be that."""
    without = gated.inputs._replace(policy=None)
    with pytest.raises(EvidenceError, match=r"policy: .*give the policy of that gate: --policy FILE"):
        verify(gated.report, gated.digests, without)
    # `pack new` puts a policy into the pack's folder, of whose digest it is then a part.
    (gated.root / "pack" / "policy.toml").write_bytes((gated.root / "policy.toml").read_bytes())
    with pytest.raises(EvidenceError) as caught:
        verify(gated.report, gated.digests, without)
    assert f"--policy {gated.root / 'pack' / 'policy.toml'}" in caught.value.message


@pytest.mark.parametrize("name", ["pack", "baseline.json", "policy.toml"])
def test_a_missing_input_is_refused(gated, name):
    (gated.root / name).rename(gated.root / "away")
    refused(gated, "pack: " if name == "pack" else f"{name.partition('.')[0]}: cannot be read")


# Forgery


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r.update(verdict="PASS"),
        lambda r: r.update(exit_code=0),
        lambda r: r.update(reason="it stayed unlearned"),
        lambda r: r.update(notes=[]),
        lambda r: r["criteria"][0].update(status="met"),
        lambda r: r["criteria"][0].update(upper=0.05),
        lambda r: r["criteria"].pop(),
        lambda r: r["controls"][0].update(status="broken"),
        lambda r: r["subjects"][0].update(leaks=False),
        lambda r: r["subjects"].reverse(),
        lambda r: r["probes"][0].update(right=False),
        lambda r: r["probes"][0].update(right=1),
        lambda r: r["probes"][0].update(leaks=False),
        lambda r: r["probes"][0].update(logprobs=[-9.0, -9.0]),
        lambda r: r["probes"][0].update(logprobs=[-9, -9.5]),
        lambda r: r["probes"][0].update(logprobs=["x"]),
        lambda r: r["probes"][0].update(surface="nowhere"),
        lambda r: r["probes"][0].update(role="retain"),
        lambda r: r["probes"].pop(),
        lambda r: r["probes"].append(r["probes"][0]),
        lambda r: r["policy"]["values"].update(leak_share=0.9),
        lambda r: r["policy"].update(sha256="0" * 64),
        lambda r: r["artifact"].update(sha256="0" * 64),
        lambda r: r["artifact"].update(files=[]),
        lambda r: r["artifact"].update(bytes=63),
        lambda r: r["baseline"].update(base={"name": "another", "sha256": "0" * 64}),
        lambda r: r["artifact"].update(format="gguf-q8_0"),
        lambda r: r["artifact"].update(manifest_sha256="0" * 64),
        lambda r: r["pack"].update(sha256="0" * 64),
        lambda r: r["backend"].update(backend="onnxruntime"),
        lambda r: r["backend"].update(engine="another"),
        lambda r: r.update(precise={}),
        lambda r: r.update(more=1),
        lambda r: r.pop("notes"),
        lambda r: r.update(probes=None),
        lambda r: r.update(schema_version=3),
        lambda r: r.update(asking=None),
        lambda r: r["asking"].update(found=30),
        lambda r: r["asking"]["rows"][0].update(blind=True),
        lambda r: r["subjects"][0].update(known=False),
        lambda r: r["subjects"][0]["base_legs"].pop(),
        lambda r: r["probes"][1].update(carried_logprob=-9.0),
        lambda r: r["probes"][1].update(extraction_is="lower bound"),
        lambda r: r.update(created="today"),
    ],
)
def test_what_does_not_follow_from_the_scores_is_refused_without_any_signature(gated, change):
    forge(gated, change)
    refused(gated, key=False)


def test_scores_made_up_as_a_whole_are_refused_by_the_signature_alone(original, tmp_path):
    forged = write(tmp_path, leaking(WORLD, 0))
    shutil.copy(original.root / "gate.pub", tmp_path / "gate.pub")
    assert forged.verify(key=False).verdict != "FAIL"
    refused(forged, "the signature is not that of this key")
    shutil.copy(original.report / "attestation.dsse.json", forged.report / "attestation.dsse.json")
    refused(forged, "signature: report.json is not what was signed")


def test_a_time_or_a_version_changed_is_refused_by_the_signature(gated):
    forge(gated, lambda report: report.update(created="2027-02-13T12:00:00+00:00"))
    assert gated.verify(key=False).verdict == "FAIL"
    refused(gated, "signature: report.json is not what was signed")


def test_sentences_of_another_version_are_refused_with_both_versions(gated):
    forge(gated, lambda report: report.update(versions={"edgeproof": "9.9"}))
    assert gated.verify(key=False).verdict == "FAIL"
    forge(gated, lambda report: report.update(summary="In other words."))
    refused(gated, 'summary is "In other words."', "edgeproof 9.9 wrote it", key=False)


def test_without_the_extra_a_signature_says_what_to_install(gated, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert gated.verify(key=False).verdict == "FAIL"
    for need in (gated.verify, lambda: attestation.read_private_key(gated.root / "gate.pem")):
        with pytest.raises(UnsupportedError, match=r"edgeproof\[sign\]"):
            need()


def test_what_is_no_report_is_refused(gated):
    path = gated.report / "report.json"
    for content in (b"", b"{", b"[]", b"{}", b'{"schema": "edgeproof/report"}', b"\xff", b"[" * 100_000):
        path.write_bytes(content)
        refused(gated)
    path.unlink()
    refused(gated, "cannot read")


# Keys and statement


def test_the_statement_is_one_that_in_toto_readers_know(gated):
    signed = attestation.read_signed(gated.report / "attestation.dsse.json", gated.root / "gate.pub")
    assert signed["_type"] == "https://in-toto.io/Statement/v1"
    assert signed["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    (subject,) = signed["subject"]
    assert subject == {"name": "model.gguf", "digest": {"sha256": digest_bytes(gated.root / "model.gguf")}}
    predicate = signed["predicate"]
    assert predicate["result"] == "FAILED"
    assert "leak" in predicate["failedTests"]
    assert "control-positive" in predicate["passedTests"]
    named = [*predicate["passedTests"], *predicate["warnedTests"], *predicate["failedTests"]]
    assert len(named) == len(set(named)) == 12


def test_only_pass_is_passed(tmp_path):
    gated = write(tmp_path, leaking(WORLD, 3))
    signed = attestation.read_signed(gated.report / "attestation.dsse.json", gated.root / "gate.pub")
    assert (signed["predicate"]["result"], signed["predicate"]["edgeproof_verdict"]) == ("FAILED", "INCONCLUSIVE")


def test_numbers_that_came_through_a_server_are_said_to_by_verify_and_by_the_statement(tmp_path, original):
    backend = {"through": "http, http://10.0.0.7:8080", NOT_PROVED: "the file's name, its sha256"}
    gated = write(tmp_path, backend=backend)
    signed = attestation.read_signed(gated.report / "attestation.dsse.json", gated.root / "gate.pub")
    assert signed["predicate"]["edgeproof_server"] == {
        "through": "http, http://10.0.0.7:8080",
        "not_proved": "the file's name, its sha256",
    }
    found = gated.verify()
    assert "through an engine elsewhere (http, http://10.0.0.7:8080)" in statement(found)
    assert "NOT PROVED: the file's name, its sha256." in statement(found)
    assert "NOT PROVED" not in statement(original.verify())
    ours = attestation.read_signed(original.report / "attestation.dsse.json", original.root / "gate.pub")
    assert "edgeproof_server" not in ours["predicate"]


def test_the_signature_is_one_that_cryptography_itself_verifies(gated):
    import base64

    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    envelope = json.loads((gated.report / "attestation.dsse.json").read_bytes())
    payload, kind = base64.b64decode(envelope["payload"]), envelope["payloadType"].encode()
    message = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
    key = load_pem_public_key((gated.root / "gate.pub").read_bytes())
    key.verify(base64.b64decode(envelope["signatures"][0]["sig"]), message)


def test_a_key_that_is_none_is_an_error(gated, tmp_path):
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    plain, locked = form.NoEncryption(), form.BestAvailableEncryption(b"word")
    kinds = {
        "other": ec.generate_private_key(ec.SECP256R1()).private_bytes(
            form.Encoding.PEM, form.PrivateFormat.PKCS8, plain
        ),
        "locked": ed25519.Ed25519PrivateKey.generate().private_bytes(
            form.Encoding.PEM, form.PrivateFormat.PKCS8, locked
        ),
        "public": (gated.root / "gate.pub").read_bytes(),
        "empty": b"",
    }
    for name, content in kinds.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            attestation.read_private_key(tmp_path / name)
    with pytest.raises(InputError, match="nowhere"):
        attestation.read_private_key(tmp_path / "nowhere")
    with pytest.raises(InputError, match="not a public key in PEM"):
        verify(gated.report, gated.digests, gated.inputs, public_key=gated.root / "gate.pem")


def test_an_old_signature_does_not_stay_beside_a_new_report(gated):
    judgement = judge(WORLD.artifact(), WORLD.baseline(), Policy(), format=FORMAT)
    context = ReportContext(
        "m",
        (("m", "0" * 64),),
        (),
        "0" * 64,
        "0" * 64,
        None,
        None,
        {},
        datetime.now(UTC),
        artifact_bytes=0,
        base=None,
        seconds=0.0,
    )
    with pytest.raises(OutputError):
        write_reports(judgement, context, gated.report)
    write_reports(judgement, context, gated.report, force=True)
    assert sorted(path.name for path in gated.report.iterdir()) == [
        "junit.xml",
        "report.html",
        "report.json",
        "summary.md",
    ]


# What the artifact itself says


def rounding(gated):
    return dataclasses.replace(gated, digests=gated.digests._replace(rounds=True))


def test_a_report_of_a_rounding_artifact_whose_other_computation_was_cut_out_is_refused(tmp_path):
    """Signed or not: judged by the shipped computation alone it would be another verdict."""
    whole = write(tmp_path / "whole", leaking(WORLD, 20), precise=leaking(WORLD, 21))
    assert rounding(whole).verify().verdict == "FAIL"
    cut = write(tmp_path / "cut", leaking(WORLD, 20))
    assert cut.verify().verdict == "FAIL"
    refused(rounding(cut), "what it gives without rounding is not in the report")


@pytest.mark.parametrize("level", ["4", "0+4", "1"])
def test_a_report_that_says_itself_that_activations_were_rounded_needs_the_other_computation(gated, level):
    forge(gated, lambda report: report["backend"].update(accuracy_level=level))
    refused(gated, "what it gives without rounding is not in the report", key=False)


def test_a_second_computation_that_rounds_too_is_none(tmp_path):
    whole = write(tmp_path / "whole", WORLD.good, precise=WORLD.good)
    forge(whole, lambda report: report["precise"]["backend"].update(accuracy_level="4"))
    refused(rounding(whole), "its second computation rounds activations, too", key=False)


def of_two_rope_factors(gated):
    return dataclasses.replace(gated, digests=gated.digests._replace(original_context=4096))


def test_a_second_computation_that_is_not_the_one_with_the_long_rope_factors_is_refused(tmp_path):
    whole = write(tmp_path / "whole", WORLD.good, precise=WORLD.good)
    assert whole.verify().verdict == "INCONCLUSIVE"
    refused(of_two_rope_factors(whole), "is not the one with the artifact's long rope factors")


def test_a_report_of_another_format_than_the_file_says_is_refused(gated):
    found = dataclasses.replace(gated, digests=gated.digests._replace(format="gguf-q8_0"))
    refused(found, "it says that it is gguf-q8_0, the report judges it as gguf-q4")


def of_embedding(gated, stored):
    return dataclasses.replace(gated, digests=gated.digests._replace(embedding=stored))


@pytest.mark.parametrize("found", ["int8", None])
def test_a_report_of_another_embedding_than_the_graph_has_is_refused(tmp_path, found):
    gated = write(tmp_path, backend={"embedding": "float"}, embedding={"embedding": "float"})
    of_embedding(gated, "float").verify()
    told = found or "nothing that can be read"
    refused(of_embedding(gated, found), f"embedding table is stored as {told}, the report says float")


def test_an_older_baseline_without_the_embedding_is_told_as_that_and_not_as_another_machine(tmp_path):
    gated = write(tmp_path, backend={"embedding": "float"})
    of_embedding(gated, "float").verify()
    notes = " ".join(json.loads((gated.report / "report.json").read_bytes())["notes"])
    assert "does not say how the base's embedding table is stored" in notes
    assert "not set" not in notes


def test_a_second_computation_of_another_embedding_is_refused(tmp_path):
    gated = write(tmp_path, WORLD.good, precise=WORLD.good)
    forge(gated, lambda report: report["precise"]["backend"].update(embedding="float"))
    refused(of_embedding(gated, "int8"), "is stored as int8, the report says float", key=False)


def test_a_report_that_does_not_state_the_embedding_is_judged_by_that_of_the_graph(tmp_path):
    """Else leaving the type out would give a baseline of another one."""
    gated = write(tmp_path, embedding={"embedding": "float"})
    of_embedding(gated, "float").verify()
    refused(of_embedding(gated, "int8"), "stored as int8, that of the base in gguf-q4 in the baseline as float")


# The policy's digest, and the baseline's signature


def test_a_policy_is_held_to_its_pinned_digest(gated):
    path = gated.root / "policy.toml"
    policy = read_policy(path)
    for pinned in (digest_bytes(path), digest_bytes(path).upper(), policy.digest):
        refuse_other_policy(policy, path, pinned)
    path.write_text("[leak]\nshare = 0.5\n")
    with pytest.raises(PolicyError, match="not the policy that --policy-sha256 pins"):
        refuse_other_policy(read_policy(path), path, policy.digest)
    refuse_other_policy(Policy(), None, Policy().digest)
    with pytest.raises(PolicyError):
        refuse_other_policy(Policy(), None, policy.digest)
    with pytest.raises(UsageError, match="64 hexadecimal digits"):
        refuse_other_policy(policy, path, "abc")


def test_a_signed_baseline_is_that_of_its_key_and_of_no_other(gated, tmp_path):
    folder = tmp_path / "signed"
    folder.mkdir()
    save_keys(folder)
    recorded, path = load_baselines(gated.root / "baseline.json"), folder / "baseline.json"
    baselines = list(recorded.values())
    save_baselines(baselines, path, signing_key=attestation.read_private_key(folder / "gate.pem"))
    attestation.check_baseline_signature(path, folder / "gate.pub")
    moved = folder / "moved.json"
    shutil.copyfile(path, moved)
    shutil.copyfile(attestation.signature_path(path), attestation.signature_path(moved))
    attestation.check_baseline_signature(moved, folder / "gate.pub")
    with pytest.raises(EvidenceError, match="not that of this key"):
        attestation.check_baseline_signature(path, gated.root / "gate.pub")
    path.write_bytes(path.read_bytes().replace(b"capitals", b"Capitals"))
    with pytest.raises(EvidenceError, match="not a signature of"):
        attestation.check_baseline_signature(path, folder / "gate.pub")
    save_baselines(baselines, path, force=True)
    with pytest.raises(EvidenceError, match=r"no baseline\.json\.dsse\.json"):
        attestation.check_baseline_signature(path, folder / "gate.pub")


def test_a_reports_signature_is_none_of_a_baseline(gated):
    baseline = gated.root / "baseline.json"
    shutil.copyfile(gated.report / "attestation.dsse.json", attestation.signature_path(baseline))
    with pytest.raises(EvidenceError, match="not a signature of"):
        attestation.check_baseline_signature(baseline, gated.root / "gate.pub")


def test_an_artifact_that_is_prompted_otherwise_than_the_baselines_models_is_refused(gated):
    found = dataclasses.replace(gated, digests=gated.digests._replace(prompt_digest="0" * 64))
    refused(found, "chat template")
    baseline = load_baselines(gated.root / "baseline.json")["llama.cpp"]
    assert dataclasses.replace(gated, digests=gated.digests._replace(prompt_digest=baseline.prompt_digest)).verify()


def test_an_artifact_of_other_sources_than_the_baselines_is_refused(tmp_path):
    sources = Sources(ModelSource("base", "a" * 64), (ModelSource("adapter", "b" * 64),))
    gated = write(tmp_path, leaking(WORLD, 20), sources=sources)
    assert dataclasses.replace(gated, digests=gated.digests._replace(sources=sources)).verify()
    weaker = dataclasses.replace(sources, adapters=(ModelSource("weaker", "c" * 64),))
    refused(dataclasses.replace(gated, digests=gated.digests._replace(sources=weaker)), "other adapters")
