"""An artifact is judged by a baseline of its own base and adapters, and by no other."""

from __future__ import annotations

import pytest
from edgeproof.contracts.errors import ArtifactError, BaselineError
from edgeproof.eval.baselines.sources import check_sources, read_sources, source_digest
from edgeproof.eval.measurement import ModelSource, Sources


def manifest(base="b", adapters=("a",)):
    def source(name, *digests):
        return {"name": name, "files": [{"file": str(i), "bytes": 1, "sha256": d} for i, d in enumerate(digests)]}

    return {"base": source("base", base, "config"), "adapters": [source(one, one) for one in adapters]}


RECORDED = read_sources([manifest()])


def test_the_same_sources_pass_whatever_they_are_called():
    renamed = manifest()
    renamed["base"]["name"] = "moved"
    renamed["base"]["files"].reverse()
    check_sources(RECORDED, read_sources([renamed]), again="record")


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (manifest(base="other"), "another model"),
        (manifest(adapters=("weaker",)), "other adapters"),
        (manifest(adapters=("a", "a")), "other adapters"),
    ],
)
def test_another_base_or_adapter_is_refused(found, told):
    with pytest.raises(BaselineError, match=told) as caught:
        check_sources(RECORDED, read_sources([found]), again="THE COMMAND")
    assert "THE COMMAND" in caught.value.next_step


def test_a_lora_beside_its_base_counts_as_its_adapters():
    found = read_sources([manifest(adapters=()), manifest(adapters=("a",))])
    check_sources(RECORDED, found, again="record")
    with pytest.raises(BaselineError, match="other adapters"):
        check_sources(RECORDED, read_sources([manifest(adapters=()), manifest(adapters=("b",))]), again="record")


def test_a_lora_for_another_base_is_refused_and_one_whose_base_has_no_manifest_is_not_overlooked():
    with pytest.raises(ArtifactError, match="that of the LoRA beside it"):
        read_sources([manifest(adapters=()), manifest(base="other")])
    check_sources(RECORDED, read_sources([None, manifest()]), again="record")
    with pytest.raises(BaselineError, match="other adapters"):
        check_sources(RECORDED, read_sources([None, manifest(adapters=("b",))]), again="record")


def test_the_original_without_adapters_may_be_judged_and_provenance_may_be_unknown():
    check_sources(RECORDED, read_sources([manifest(adapters=())]), again="record")
    assert read_sources([None]) is None
    check_sources(RECORDED, None, again="record")


def test_a_model_unlearned_in_all_weights_is_its_artifacts_only_source():
    known = read_sources([manifest()])
    recorded = Sources(known.base, (), read_sources([manifest(base="tuned", adapters=())]).base)
    check_sources(recorded, read_sources([manifest(base="tuned", adapters=())]), again="record")
    check_sources(recorded, read_sources([manifest(adapters=())]), again="record")  # the original
    for other in (manifest(base="weaker", adapters=()), manifest(base="tuned"), manifest()):
        with pytest.raises(BaselineError):
            check_sources(recorded, read_sources([other]), again="record")


@pytest.mark.parametrize("broken", [{}, {"base": 1, "adapters": []}, {"base": {"name": "x", "files": []}}])
def test_a_manifest_that_does_not_say_is_damaged(broken):
    with pytest.raises(ArtifactError, match="damaged"):
        read_sources([broken])


def test_a_digest_is_over_all_files():
    assert source_digest(["a", "b"]) == source_digest(["b", "a"]) != source_digest(["a"])
    assert Sources(ModelSource("x", "y"), ()).adapters == ()
