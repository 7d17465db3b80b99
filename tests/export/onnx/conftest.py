"""onnxruntime-genai's own builder as the oracle, plain onnxruntime to run graphs, and exports of tiny models."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from edgeproof.contracts.progress import Silent
from edgeproof.export.pipeline import export
from edgeproof_tests.export.conftest import Quiet
from edgeproof_tests.models import FAMILIES, YARN, save_model

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

BUILDER = {
    "onnx-int4": ("int4", []),
    "onnx-int4-mixed": ("int4", ["algo_config=k_quant_mixed"]),
    "onnx-int8": ("int8", []),
    "onnx-fp32": ("fp32", []),
}
"""The builder's precision and options by our format."""

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in FAMILIES if name != "lfm2"},
    "mistral-sliding": ("mistral", {"sliding_window": 24}),
    "qwen2-sliding": ("qwen2", {"sliding_window": 24, "use_sliding_window": True, "max_window_layers": 1}),
    "phi3-sliding": ("phi3", {"sliding_window": 24}),
    "phi3-partial": (
        "phi3",
        {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.75}},
    ),
    "gemma2-pattern": (
        "gemma2",
        {
            "layer_types": ["full_attention", "sliding_attention", "sliding_attention", "full_attention"],
            "query_pre_attn_scalar": 64,
        },
    ),
    "qwen2-head-dim": ("qwen2", {"head_dim": 32}),
    "qwen3-biases": ("qwen3", {"attention_bias": True}),
    "llama-yarn-betas": ("llama2", {"rope_parameters": {**YARN, "beta_fast": 16.0, "beta_slow": 2.0}}),
    "llama-ragged": (
        "llama",
        {
            "hidden_size": 80,
            "intermediate_size": 112,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
        },
    ),
}
"""Every family, and what changes the graph, options that llama.cpp refuses among them: the family, and what differs."""

ROPE_DIFFERS = {"llama-linear", "llama-yarn", "llama-yarn-betas", "qwen2-yarn", "gemma3-linear", "gemma3-vision"}
"""Where the builder's rope table is not torch's: Llama's linear and yarn scalings are ignored, yarn's settings are
refused where the file leaves out its defaults, Gemma 3's linear scaling is applied to its local layers too."""

WINDOW_DIFFERS = {"mistral-sliding", "phi3-sliding"}
"""Where the builder forgets the sliding window, since config.json has no layer_types."""


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, torch: Any) -> Callable[[str], Path]:
    """Return the folder of a variant's model, made once."""
    torch.set_num_threads(1)
    made: dict[str, Path] = {}

    def make(variant: str) -> Path:
        if variant not in made:
            family, changes = VARIANTS[variant]
            with Quiet():
                made[variant] = save_model(family, tmp_path_factory.mktemp(variant) / "tiny", **changes)
        return made[variant]

    return make


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return the folder that our export writes: `exported(base, "onnx-int4", adapters=[…])`, made once."""
    made: dict[tuple[Any, ...], Path] = {}

    def make(base: Path, name: str, adapters: tuple[Path, ...] = ()) -> Path:
        key = base, name, adapters
        if key not in made:
            out = tmp_path_factory.mktemp("ours")
            (item,) = export(base, adapters, [name], out, threads=1, progress=Silent())
            made[key] = item.path
        return made[key]

    return make


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, torch: Any) -> Callable[[Path, str], Path]:
    """Return the folder that onnxruntime-genai's builder writes, made once."""
    torch.set_num_threads(1)
    pytest.importorskip("onnxruntime_genai")
    made: dict[tuple[Path, str], Path] = {}

    def make(base: Path, name: str) -> Path:
        if (base, name) not in made:
            out = tmp_path_factory.mktemp("theirs")
            run_builder(base, out, *BUILDER[name])
            made[base, name] = out
        return made[base, name]

    return make


def run_builder(base: Path, out: Path, precision: str, options: list[str]) -> None:
    """Run the builder in this process, on a configuration of the layout that it was written for."""
    with Quiet(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        from onnxruntime_genai.models import builder

        arguments = ("", str(base), str(out), precision, "cpu", str(out / "cache"))
        parsed = builder.parse_extra_options(*arguments, options)
        _to_older_layout(parsed["hf_details"]["hf_config"])
        builder.create_model(*arguments, **parsed)


def _to_older_layout(config: Any) -> None:
    """Give the builder 0.18 what transformers 5 moved or leaves out: Gemma 3's ropes, longrope's older key."""
    text = getattr(config, "text_config", config)
    ropes = text.rope_parameters
    if "full_attention" in ropes:
        for target in {id(config): config, id(text): text}.values():
            target.rope_local_base_freq = ropes["sliding_attention"]["rope_theta"]
            target.rope_theta = ropes["full_attention"]["rope_theta"]
            target.rope_parameters = dict(ropes["full_attention"])
    elif ropes.get("rope_type") == "longrope":
        ropes["type"] = "longrope"


def arrays(folder: Path) -> dict[str, NDArray[Any]]:
    """Every stored array of a folder's graph, by name."""
    import onnx

    model = onnx.load(str(folder / "model.onnx"))
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def take_rope_tables(folder: Path, ours: Mapping[str, NDArray[Any]]) -> None:
    """Overwrite the rope tables of the builder's folder with `ours`, of the same names, types and shapes.

    torch's cos and sin differ from numpy's in last bits, by processor: an angle's last bit grows with the position.
    Over the same tables the two folders must give the same logits, bit for bit.
    """
    import onnx

    model = onnx.load(str(folder / "model.onnx"), load_external_data=False)
    branches = [attribute.g for node in model.graph.node if node.op_type == "If" for attribute in node.attribute]
    constants = [(node.output[0], node.attribute[0].t) for branch in branches for node in branch.node]
    stored = [(tensor.name, tensor) for tensor in model.graph.initializer] + constants
    tables = {name: tensor for name, tensor in stored if "_cache" in name}
    assert tables.keys() == {name for name in ours if "_cache" in name}
    for name, tensor in tables.items():
        theirs = onnx.numpy_helper.to_array(tensor, base_dir=str(folder))
        assert theirs.dtype == ours[name].dtype
        np.testing.assert_allclose(theirs, ours[name], rtol=0, atol=max(2e-7, len(theirs) * 2**-23), err_msg=name)
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            place = {entry.key: entry.value for entry in tensor.external_data}
            with (folder / place["location"]).open("r+b") as file:
                file.seek(int(place["offset"]))
                file.write(ours[name].tobytes())
        else:
            tensor.raw_data = ours[name].tobytes()
    (folder / "model.onnx").write_bytes(model.SerializeToString())


class Session:
    """A graph in plain onnxruntime, one thread; `level` overrides MatMulNBits' accuracy level."""

    def __init__(self, folder: Path, *, level: int | None = None) -> None:
        import onnx
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        path = folder / "model.onnx"
        if level is not None:
            model = onnx.load(str(path), load_external_data=False)
            for node in model.graph.node:
                for attribute in node.attribute:
                    if attribute.name == "accuracy_level":
                        attribute.i = level
            path = folder / f"level-{level}.onnx"
            path.write_bytes(model.SerializeToString())
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        if level is not None:
            path.unlink()
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._caches = {
            value.name: value.shape[1] for value in self._session.get_inputs() if value.name.startswith("past")
        }

    def run(
        self, ids: NDArray[np.int64], past: dict[str, NDArray[np.float32]] | None = None, *, head_dim: int
    ) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]:
        """Return logits [1, tokens, vocabulary] and the caches, which the next call takes."""
        empty = {name: np.zeros((1, heads, 0, head_dim), np.float32) for name, heads in self._caches.items()}
        past = past or empty
        length = next(iter(past.values())).shape[2] + ids.shape[1]
        feed = {"input_ids": ids, "attention_mask": np.ones((1, length), np.int64), **past}
        found = dict(zip(self._outputs, self._session.run(None, feed), strict=True))
        logits = found.pop("logits")
        return logits, {name.replace("present", "past_key_values"): values for name, values in found.items()}


def torch_model(folder: Path) -> Any:
    """The model as transformers runs it, in float32."""
    import torch
    import transformers

    torch.set_num_threads(1)
    with Quiet():
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager"
        )
    return model.eval()


def torch_logits(model: Any, ids: NDArray[np.int64]) -> NDArray[np.float32]:
    import torch

    with torch.no_grad(), Quiet():
        return model(torch.from_numpy(ids)).logits.numpy()


def head_dim(model: Any) -> int:
    config = model.config.get_text_config()
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def tolerance(logits: NDArray[np.float32]) -> float:
    """1e-4, and where random tied embeddings give logits of over 50, two parts in a million: some last bits."""
    return max(1e-4, 2e-6 * float(np.abs(logits).max()))


def sample_ids(length: int, *, seed: int = 0) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, 380, (1, length))
