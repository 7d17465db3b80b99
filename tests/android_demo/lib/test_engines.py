"""A host app's own engine answers a job, through the library's public interface."""

from __future__ import annotations

import pytest
from edgeproof_tests.android_demo.lib.host import host, unsealed
from edgeproof_tests.android_demo.lib.test_faults import changed, set_at

pytestmark = pytest.mark.official


def asking(job, compute):
    return changed(job, set_at("compute", value=compute))


@pytest.mark.parametrize(("leaking", "word"), [(0, "NOTHING AGAINST IT"), (12, "FAIL")])
def test_an_engine_of_ones_own_gives_the_same_verdict_from_the_same_numbers(
    library, program, clean, tmp_path, leaking, word
):
    job = asking(clean.leaking(leaking), "gpu")
    folder = job.install(tmp_path)
    run = host(library, tmp_path, job, program, "--engine", "gpu")
    assert run.status == 0, run.said
    assert run.last["verdict"] == word
    header, answers, _ = unsealed(folder)
    assert header["engine"]["name"] == "host engine"
    assert (header["engine"]["asked"], header["engine"]["computed"]) == ("gpu", "gpu")
    assert header["artifact_sha256"] == job.content["artifact"]["sha256"]
    scores = [answer for answer in answers if "logprobs" in answer]
    assert scores
    for answer in scores:
        assert [min(0.0, one) for one in answer["logprobs"]] == pytest.approx(job.scores[answer["id"]], abs=1e-6)
        assert answer["mean"] == [None] * len(answer["logprobs"])
    assert answers[-1]["context"] == job.spliced


@pytest.mark.parametrize("computed", ["cpu", "unknown"])
def test_asked_for_a_gpu_and_computed_elsewhere_is_inconclusive_even_where_it_leaks(
    library, program, clean, tmp_path, computed
):
    job = asking(clean.leaking(12), "gpu")
    folder = job.install(tmp_path)
    run = host(library, tmp_path, job, program, "--engine", computed)
    assert run.status == 0, run.said
    assert run.last["verdict"] == "INCONCLUSIVE"
    assert run.last["reasons"][0] == f"Asked for gpu, computed on {computed}: nothing is shown of it."
    header, _, end = unsealed(folder)
    assert header["engine"]["computed"] == computed
    assert end["verdict"] == "INCONCLUSIVE"


def test_the_probe_program_computes_on_the_processor_alone(library, program, clean, tmp_path):
    job = asking(clean, "npu")
    job.install(tmp_path)
    assert host(library, tmp_path, job, program).last["verdict"] == "INCONCLUSIVE"


def test_a_probe_that_names_another_device_is_inconclusive(library, program, clean, tmp_path):
    clean.install(tmp_path)
    liar = tmp_path / "liar"
    liar.write_text(f"""#!/bin/sh\n'{program}' | sed -u 's/\\["CPU"\\]/["CPU","Vulkan0"]/'\n""")
    liar.chmod(0o700)
    run = host(library, tmp_path, clean, liar)
    assert run.last["verdict"] == "INCONCLUSIVE"
    assert "computed on unknown" in run.last["reasons"][0]


@pytest.mark.parametrize(("leaking", "word"), [(0, "CANNOT PASS"), (12, "FAIL")])
def test_an_engine_without_log_probabilities_can_fail_but_shows_nothing_forgotten(
    library, program, clean, tmp_path, leaking, word
):
    job = clean.leaking(leaking)
    folder = job.install(tmp_path)
    run = host(library, tmp_path, job, program, "--engine", "silent")
    assert run.status == 0, run.said
    assert run.last["verdict"] == word
    header, answers, _ = unsealed(folder)
    assert header["engine"]["scores"] is False
    asked = [request["id"] for request in job.content["requests"] if "generate" in request]
    assert [answer["id"] for answer in answers] == asked


def test_broken_controls_leave_no_verdict_but_a_leak_found_by_weak_asking_is_one(library, program, clean, tmp_path):
    broken = {"holds": False, "found": "2 of 40 clusters", "mend": "Ask more"}
    for number, (control, leaking, word) in enumerate(
        (("positive", 12, "INCONCLUSIVE"), ("strength", 0, "INCONCLUSIVE"), ("strength", 12, "FAIL"))
    ):
        job = changed(clean.leaking(leaking), set_at("controls", control, value=broken))
        job.install(tmp_path / str(number))
        run = host(library, tmp_path / str(number), job, program)
        assert run.last["verdict"] == word, (control, leaking)
        assert any("2 of 40 clusters" in reason for reason in run.last["reasons"]) == (word == "INCONCLUSIVE")


def test_leaking_never_exposed_probes_leave_no_verdict(library, program, clean, tmp_path):
    job = changed(clean, set_at("controls", "holdout_in_format", value=5))
    job.install(tmp_path)
    run = host(library, tmp_path, job, program)
    assert run.last["verdict"] == "INCONCLUSIVE"
    assert run.last["reasons"] == ["5 of 5 never-exposed clusters leak: the pack sees leaks everywhere."]


def test_kinds_of_answers_that_are_not_here_are_left_to_the_laptop(library, program, clean, tmp_path):
    job = changed(clean, set_at("asks", 3, "answer_type", value="date"))
    job.install(tmp_path)
    run = host(library, tmp_path, job, program)
    assert run.last["verdict"] == "NOTHING AGAINST IT"
    assert run.last["counts"]["unjudged"] == 1
    assert run.last["reasons"] == ["1 replies of kinds that are judged on the laptop."]


def test_a_fail_that_the_laptop_could_still_turn_is_none_yet(library, program, clean, tmp_path):
    """The never-exposed probes' answers are dates: by rules that are not here they may leak, and break the control."""

    def dated(content):
        for ask in content["asks"]:
            if content["probes"][ask["probe"]]["role"] == "holdout":
                ask["answer_type"] = "date"

    job = changed(clean.leaking(12), dated)
    job.install(tmp_path)
    run = host(library, tmp_path, job, program)
    assert run.last["verdict"] == "CANNOT PASS"
    assert run.last["reasons"][0].startswith("12 of 35 known clusters leak, at least ")
    assert run.last["counts"]["unjudged"] == 5


def test_subjects_are_judged_each_by_the_stricter_rule(library, program, clean, tmp_path):
    for leaking, word in ((0, "NOTHING AGAINST IT"), (1, "FAIL")):
        job = changed(clean.leaking(leaking), set_at("rules", "leak_rule", value="subjects"))
        job.install(tmp_path / word)
        run = host(library, tmp_path / word, job, program)
        assert run.last["verdict"] == word
