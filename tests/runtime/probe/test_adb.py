"""The backend "adb" with a device that is a folder: the programs pushed there are run, emulated."""

from __future__ import annotations

import numpy as np
import pytest
from edgeproof.contracts.backend import GenerateRequest
from edgeproof.contracts.errors import ArtifactError, BackendError, InputError, UnsupportedError
from edgeproof.runtime import open_backend
from edgeproof.runtime.llama.backend import LlamaCpp
from edgeproof_tests.runtime import tiny_gguf
from edgeproof_tests.runtime.probe.test_emulated import IN_EIGHT_BITS

pytestmark = pytest.mark.phone


@pytest.fixture
def model(tmp_path):
    return tiny_gguf.write_as(tmp_path / "tiny.gguf", "Q8_0")


def opened(model, phone):
    return open_backend("adb", model, engine=str(phone), threads=1)


def test_the_device_computes_and_the_report_says_which(model, phone, fake, mixed_requests):
    asked = mixed_requests[:6]
    with opened(model, phone) as backend, LlamaCpp(model, threads=1) as own:
        pairs = zip(backend.score(asked), own.score(asked), strict=True)
        apart = np.concatenate([one.logprobs - other.logprobs for one, other in pairs])
        assert np.abs(apart).mean() <= IN_EIGHT_BITS
        request = GenerateRequest(asked[0].context, 5)
        assert len(next(iter(backend.generate([request]))).tokens) <= 5
        info = backend.info
    assert info.processor == ("Google Tensor G3, in Google Pixel 8, google/shiba/shiba:15/AP4A/1:user/release-keys")
    assert info.options["device"] == "Google Pixel 8"
    assert info.options["Android"] == "15, API level 35"
    assert info.options["ABI"] == "arm64-v8a"
    assert info.options["graphics driver, not used"] == "mali"
    assert info.options["computed on"].startswith("CPU, probe variant i8mm: ")
    assert info.options["served file, shown"] == "its sha256"
    assert "8A1X" not in repr(info)
    assert not list(fake.files.glob("*.answers"))


def test_what_is_there_already_is_not_pushed_again(model, phone, fake):
    for _ in range(2):
        opened(model, phone).close()
    assert len(fake.pushed) == 3
    stored = next(fake.files.glob("*.gguf"))
    stored.write_bytes(stored.read_bytes()[:5000])  # truncated there: pushed again
    opened(model, phone).close()
    assert len(fake.pushed) == 4


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({"devices": {}}, "no device is connected"),
        ({"devices": {"8A1X": "device", "9B2Y": "device"}}, "2 devices are connected: 8A1X, 9B2Y"),
        ({"devices": {"8A1X": "offline"}}, "the device 8A1X is offline"),
        ({"devices": {"8A1X": "unauthorized"}}, "the device 8A1X has not authorized this computer"),
        ({"devices": {"8A1X": "no permissions (user in plugdev group)"}}, "8A1X may not be opened by this user"),
        ({"devices": {"8A1X": "recovery"}}, "the device 8A1X is in the state 'recovery'"),
        ({"full": "df"}, r"the device's storage is full: probe-v8\.0 needs \d+ MB, 0 MB are free"),
        ({"full": "push"}, r"the device's storage is full: copying probe-v8\.0 to the device"),
        ({"flips": True}, r"the copy of probe-v8\.0 on the device differs: sha256 "),
        ({"after": 1}, "the probe ended in the middle of its work: the device was unplugged"),
        ({"after": 1, "kill": 137}, r"Android killed the probe \(status 137\), as a rule for want of memory"),
    ],
)
def test_each_fault_has_its_own_message(state, told, model, phone, fake):
    fake.set(**state)
    with pytest.raises(BackendError, match=told):
        opened(model, phone)


def test_one_of_two_devices_is_chosen(model, phone, fake, monkeypatch):
    fake.set(devices={"8A1X": "unauthorized", "9B2Y": "device"})
    monkeypatch.setenv("ANDROID_SERIAL", "9B2Y")
    opened(model, phone).close()
    monkeypatch.setenv("ANDROID_SERIAL", "7C3Z")
    with pytest.raises(BackendError, match="no device 7C3Z is connected"):
        opened(model, phone)


def test_what_the_probe_cannot_run_is_refused(model, phone, fake, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"has no probe-v8\.0"):
        opened(model, tmp_path)
    (tmp_path / "probe-v8.0").write_bytes(b"#!/bin/sh\nexit 0; # not a program\n")
    with pytest.raises(InputError, match="is no ARM64 program"):
        opened(model, tmp_path)
    with pytest.raises(UnsupportedError, match="the probe runs one GGUF file"):
        open_backend("adb", model, engine=str(phone), lora=model)
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(model.read_bytes()[:100_000])
    with pytest.raises(ArtifactError):
        opened(cut, phone)
    fake.set(properties={"ro.product.cpu.abi": "x86_64"})
    with pytest.raises(UnsupportedError, match="the device's ABI is x86_64"):
        opened(model, phone)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnsupportedError, match="there is no adb on the path"):
        opened(model, phone)


def test_a_run_that_was_unplugged_goes_on_where_it_stopped(model, phone, fake, mixed_requests):
    asked = mixed_requests[:8]
    fake.set(after=7)  # opening, warm-up, usage, then four answers
    with pytest.raises(BackendError, match="the device was unplugged"), opened(model, phone) as backend:
        list(backend.score(asked))
    fake.set()
    with opened(model, phone) as backend:
        assert backend.info.options["answers of an interrupted run"] == "5"
        found = [score.logprobs.tolist() for score in backend.score(asked)]
    with opened(model, phone) as backend:
        assert backend.info.options["answers of an interrupted run"] == "0"
        assert [score.logprobs.tolist() for score in backend.score(asked)] == found
