"""Tiny random models and adapters, made by transformers and peft on the fly; peft's own merge is the oracle."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

ALL_LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@pytest.fixture(scope="session")
def torch() -> Any:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    return torch


@pytest.fixture(scope="session")
def make_base(tmp_path_factory: pytest.TempPathFactory, torch: Any) -> Callable[..., Path]:
    """Make a folder of a tiny random model: `make_base("llama", dtype="bfloat16", shards=False, **config)`."""

    def make(family: str = "llama", *, dtype: str = "float32", shards: bool = False, **config: Any) -> Path:
        import transformers

        settings: dict[str, Any] = {
            "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4,
            "num_key_value_heads": 2, "vocab_size": 320, "max_position_embeddings": 128, "tie_word_embeddings": False,
        }  # fmt: skip
        classes = {
            "llama": transformers.LlamaConfig,
            "qwen2": transformers.Qwen2Config,
            "qwen3": transformers.Qwen3Config,
            "gemma2": transformers.Gemma2Config,
            "gemma3": transformers.Gemma3TextConfig,
            "gpt2": transformers.GPT2Config,
        }
        if family == "gpt2":
            settings = {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 64, "vocab_size": 320}
        if family in {"qwen3", "gemma2", "gemma3"}:
            settings["head_dim"] = 64
        folder = tmp_path_factory.mktemp(family) / "tiny-base"
        torch.manual_seed(7)
        model = transformers.AutoModelForCausalLM.from_config(classes[family](**(settings | config)))
        for (
            name,
            parameter,
        ) in model.named_parameters():  # norms and biases start as ones and zeros, which hides mistakes
            if parameter.ndim == 1:
                torch.nn.init.normal_(parameter, mean=1.0 if "norm" in name or "ln_" in name else 0.0, std=0.1)
        model.to(getattr(torch, dtype)).save_pretrained(folder, max_shard_size="600KB" if shards else "5GB")
        return folder

    return make


@pytest.fixture(scope="session")
def make_adapter(tmp_path_factory: pytest.TempPathFactory, torch: Any) -> Callable[..., Path]:
    """Make a random adapter for a base: `make_adapter(base, r=8, target_modules=[…], dtype="float32", …)`.

    Its factors are rounded as `exact` says, unless `rounded=False`.
    """

    def make(base: Path, *, dtype: str = "float32", seed: int = 11, rounded: bool = True, **options: Any) -> Path:
        import peft

        torch.manual_seed(seed)
        options = {"r": 8, "lora_alpha": 16, "target_modules": ALL_LINEAR, "task_type": "CAUSAL_LM"} | options
        with Quiet():
            model = peft.get_peft_model(load(base), peft.LoraConfig(**options))
            for name, parameter in model.named_parameters():
                trained = parameter.requires_grad
                if "magnitude" in name:
                    parameter.data *= 1 + 0.2 * torch.rand_like(parameter)
                elif trained:
                    parameter.data += 0.05 * torch.randn_like(parameter)
                    if rounded and "lora_" in name:
                        parameter.data.copy_(torch.from_numpy(exact(parameter.detach().numpy())))
            folder = tmp_path_factory.mktemp("adapter") / "adapter"
            for name, parameter in model.named_parameters():
                if "lora_" in name:
                    parameter.data = parameter.data.to(getattr(torch, dtype))
            model.save_pretrained(folder)
        return folder

    return make


def exact(factors: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """LoRA factors rounded to multiples of 2⁻⁹: products over a rank of up to 64 are then exact in float32.

    A sum that never rounds has the same bits in any order, so numpy's BLAS and torch's, of any processor, agree.
    """
    rounded = np.round(np.asarray(factors, np.float64) * 2**9) / 2**9
    return rounded.astype(np.float32)


def load(base: Path, *, untie: bool = False) -> Any:
    """The base as transformers loads it, in float32; `untie` gives the head a copy of the embedding."""
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if untie:
        model.config.tie_word_embeddings = False
        model.lm_head.weight = torch.nn.Parameter(model.get_input_embeddings().weight.detach().clone())
    return model


def peft_model(base: Path, adapters: Sequence[Path], *, untie: bool = False) -> Any:
    """The base with adapters loaded by peft, not merged."""
    import peft

    with Quiet():
        model = peft.PeftModel.from_pretrained(load(base, untie=untie), adapters[0], adapter_name="a0")
        for number, adapter in enumerate(adapters[1:], 1):
            model.load_adapter(adapter, adapter_name=f"a{number}")
    return model.eval()


def peft_merge(base: Path, adapters: Sequence[Path], *, untie: bool = False) -> dict[str, NDArray[np.float32]]:
    """Result of peft's `merge_and_unload`: float32 tensors by name."""
    model = peft_model(base, adapters, untie=untie)
    with Quiet():
        merged = model.merge_and_unload(adapter_names=[f"a{number}" for number in range(len(adapters))])
    return {name: tensor.detach().numpy() for name, tensor in merged.state_dict().items()}


class Quiet:
    """Silence warnings of peft (tied weights) and transformers (tokenizers)."""

    def __enter__(self) -> None:
        self._catch = warnings.catch_warnings()
        self._catch.__enter__()
        warnings.simplefilter("ignore")

    def __exit__(self, *error: object) -> None:
        self._catch.__exit__(*error)


@pytest.fixture(scope="session")
def llama(make_base: Callable[..., Path]) -> Iterator[Path]:
    return make_base("llama")


@pytest.fixture(scope="session")
def tied_llama(make_base: Callable[..., Path]) -> Path:
    return make_base("llama", tie_word_embeddings=True)
