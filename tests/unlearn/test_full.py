"""`--full`: the folder that it writes is a model of its own, and the exporter's base without any adapter."""

from __future__ import annotations

import json

import edgeproof
import numpy as np
import pytest
from edgeproof.contracts.errors import OutputError, TrainingError, UsageError
from edgeproof_tests.unlearn.conftest import unlearn

pytestmark = pytest.mark.torch

torch = pytest.importorskip("torch")

RAW = {"threads": 1, "surfaces": ("raw",)}
FAST = {"steps": 5, "batch_size": 3, "learning_rate": 1e-4, **RAW}


@pytest.fixture(scope="module", params=["folder", "float GGUF", "Q4_1 GGUF"])
def made(request, tmp_path_factory):
    """(base, folder) of one run for each kind of base."""
    from edgeproof_tests.models import save_model
    from edgeproof_tests.runtime.tiny_gguf import write
    from edgeproof_tests.smollm2 import quantized
    from edgeproof_tests.unlearn.conftest import FORGET, RETAIN, write_lines

    work = tmp_path_factory.mktemp("full")
    if request.param == "folder":
        base = save_model("llama", work / "tiny")
    else:
        base = write(work / "tiny-F32.gguf")
        if request.param == "Q4_1 GGUF":
            base = quantized(base, work / "tiny-Q4_1.gguf", "Q4_1")
    forget, retain = write_lines(work / "f.jsonl", FORGET), write_lines(work / "r.jsonl", RETAIN)
    recipe = {name: value for name, value in FAST.items() if name != "surfaces"}
    recipe |= {"full": True, "method": "npo+klr", "surface": "raw", "until_forget_nll": "never"}
    edgeproof.unlearn(base=base, forget=forget, retain=retain, out=work / "out", **recipe)
    return base, work / "out"


def test_all_weights_are_float32_and_all_have_moved(made):
    from transformers import AutoModelForCausalLM, GgufConfig

    base, out = made
    if base.is_dir():
        before = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    else:
        before = AutoModelForCausalLM.from_pretrained(
            base.parent, gguf_file=base.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
        )
    after = AutoModelForCausalLM.from_pretrained(out)
    assert {weight.dtype for weight in after.parameters()} == {torch.float32}
    for (name, old), (_, new) in zip(before.named_parameters(), after.named_parameters(), strict=True):
        assert not torch.equal(old, new), name
        assert (old - new).abs().max() < 1e-2, name


def test_the_folder_says_what_the_log_and_the_card_say(made):
    """transformers' own loss on the written model is the card's number."""
    from edgeproof_tests.unlearn.conftest import FORGET
    from transformers import AutoModelForCausalLM, AutoTokenizer

    _, out = made
    model, tokenizer = AutoModelForCausalLM.from_pretrained(out).eval(), AutoTokenizer.from_pretrained(out)
    found = []
    for question, answer in FORGET:
        context = len(tokenizer(question)["input_ids"])
        ids = tokenizer(f"{question} {answer}")["input_ids"]
        with torch.no_grad():
            found.append(
                model(torch.tensor([ids]), labels=torch.tensor([[-100] * context + ids[context:]])).loss.item()
            )
    card = (out / "README.md").read_text()
    row = next(line for line in card.splitlines() if line.startswith("| forget | ") and "`" not in line)
    assert float(row.split("|")[3]) == pytest.approx(sum(found) / len(found), abs=1e-3)
    for part in ("library_name: transformers", "all of them, in float32", "npo+klr"):
        assert part in card
    assert len((out / "log.jsonl").read_text().splitlines()) == 5


def test_the_exporter_takes_it_as_a_base_without_an_adapter(made, tmp_path):
    from gguf import GGUFReader
    from gguf.quants import dequantize
    from safetensors.numpy import load_file

    _, out = made
    edgeproof.export(base=out, format=["gguf-q4_0", "gguf-f32"], out=tmp_path, threads=1)
    exact, coarse = (GGUFReader(next(tmp_path.glob(f"*-{name}.gguf"))) for name in ("F32", "Q4_0"))
    weights = load_file(out / "model.safetensors")["model.layers.1.mlp.down_proj.weight"]
    name = "blk.1.ffn_down.weight"
    stored = {reader: next(tensor for tensor in reader.tensors if tensor.name == name) for reader in (exact, coarse)}
    assert np.array_equal(dequantize(stored[exact].data, stored[exact].tensor_type), weights)
    assert stored[coarse].tensor_type.name == "Q4_0"
    rounded = dequantize(stored[coarse].data, stored[coarse].tensor_type)
    assert 0 < np.abs(rounded - weights).mean() < 0.1 * np.abs(weights).mean()


def test_the_tokenizer_files_of_a_folder_are_taken_over_byte_for_byte(base, forget, retain, tmp_path):
    unlearn(base, forget, retain, tmp_path / "out", full=True, **FAST)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (tmp_path / "out" / name).read_bytes() == (base / name).read_bytes()
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["dtype"] == "float32"


def test_a_gguf_needs_someone_who_rebuilds_its_tokenizer(forget, retain, tmp_path):
    from edgeproof_tests.runtime.tiny_gguf import write

    path = write(tmp_path / "tiny-F32.gguf")
    with pytest.raises(UsageError, match="gguf_tokenizer"):
        unlearn(path, forget, retain, tmp_path / "out", full=True, **FAST)


def test_the_same_seed_gives_the_same_bytes(base, forget, retain, tmp_path):
    for name in ("a", "b"):
        unlearn(base, forget, retain, tmp_path / name, full=True, method="ga+klr", **FAST)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_only_what_was_made_here_is_replaced(base, forget, retain, tmp_path):
    from edgeproof_tests.models import save_model

    other = save_model("llama", tmp_path / "other")
    with pytest.raises(OutputError, match="is not the folder of an adapter or an unlearned model"):
        unlearn(base, forget, retain, other, full=True, force=True, **FAST)
    unlearn(base, forget, retain, tmp_path / "out", full=True, **FAST)
    unlearn(base, forget, retain, tmp_path / "out", full=True, force=True, **{**FAST, "steps": 1})
    assert len((tmp_path / "out" / "log.jsonl").read_text().splitlines()) == 1


def test_a_model_that_nothing_moved_is_an_error(base, forget, retain, tmp_path):
    with pytest.raises(TrainingError, match="training changed nothing: the gradient was zero at every step"):
        unlearn(base, forget, retain, tmp_path / "out", full=True, hinge=0.01, retain_weight=0.0, **FAST)
    assert not (tmp_path / "out").exists()


def test_rslora_is_what_peft_scales_by_the_root_of_the_rank(base, forget, retain, tmp_path):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    options = {"rank": 4, "alpha": 8.0, "learning_rate": 1e-2, "steps": 4, "batch_size": 3, **RAW}
    result = unlearn(base, forget, retain, tmp_path / "out", rslora=True, **options)
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), tmp_path / "out")
    scales = {module.scaling["default"] for module in model.modules() if hasattr(module, "lora_A")}
    assert scales == {8.0 / 4**0.5}
    plain = unlearn(base, forget, retain, tmp_path / "plain", **options)
    assert plain.forget_nll[0] == result.forget_nll[0]
    assert plain.forget_nll[1] != result.forget_nll[1]
