"""Reader for `adapter_config.json`: the LoRA's arithmetic, and the options that would change it.

An unknown option that is not at its neutral value is an error: a merge that ignored it would differ from the trained
model. Source: peft 0.21, `LoraConfig`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from edgeproof.contracts.errors import AdapterError, UnsupportedError
from edgeproof.contracts.parsing import parse_json, read_file
from edgeproof.export.adapter.module_patterns import check_pattern, matches

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CONFIG = "adapter_config.json"

SUPPORTED = "LoRA, rsLoRA, DoRA, rank_pattern, alpha_pattern, lora_bias, bias, modules_to_save, trainable_token_indices"

_NO_PART_IN_MERGING = {
    "alpha_pattern", "auto_mapping", "base_model_name_or_path", "bias", "ensure_weight_tying", "eva_config",
    "exclude_modules", "fan_in_fan_out", "inference_mode", "init_lora_weights", "layers_pattern", "layers_to_transform",
    "lora_alpha", "lora_bias", "lora_dropout", "megatron_core", "modules_to_save", "peft_type", "peft_version",
    "qalora_group_size", "r", "rank_pattern", "revision", "runtime_config", "target_modules", "task_type",
    "trainable_token_indices", "use_dora", "use_rslora",
}  # fmt: skip
"""Options that are read below, or that do not affect the merge of trained weights."""

_WHY_NOT = {
    "alora_invocation_tokens": "activated LoRA acts on some of the tokens only, so it cannot be merged at all",
    "arrow_config": "Arrow chooses among adapters by the input, so it cannot be merged at all",
    "corda_config": "CorDA changes the base's weights when training starts",
    "kasa_config": "KaSA cuts singular components out of the base's weights",
    "layer_replication": "the trained model has more layers than the base",
    "lora_ga_config": "LoRA-GA changes the base's weights when training starts",
    "loftq_config": "LoftQ replaces the base's weights by quantized ones",
    "megatron_config": "Megatron's parallel layers split their weights",
    "monteclora_config": "MonteCLoRA samples its weights",
    "target_parameters": "adapters on bare parameters (stacked experts) are not read yet",
    "use_bdlora": "block-diagonal LoRA stores its factors in blocks",
    "use_qalora": "QA-LoRA pools its inputs in groups",
    "velora_config": "VeLoRA is not known to merge like plain LoRA",
}

_PLAIN_INITS = {"gaussian", "eva", "orthogonal", "mica"}
"""Initializations that leave the base's weights unchanged, besides true and false."""


@dataclass(frozen=True)
class AdapterConfig:
    """The merge-relevant content of `adapter_config.json`.

    Attributes:
        rank: rank of modules that no entry of `rank_pattern` matches.
        alpha: alpha of modules that no entry of `alpha_pattern` matches.
        use_rslora: scaling is alpha / sqrt(rank) (arXiv 2312.03732) instead of alpha / rank.
        use_dora: a magnitude vector rescales W + ΔW (arXiv 2402.09353).
        token_indices: rows that `trainable_token_indices` names, by module name (""  for the input embedding).
        ensure_weight_tying: changes to a tied embedding also apply to the output head.
        base_name: `base_model_name_or_path`, empty where missing.

    """

    rank: int
    alpha: float
    rank_pattern: Mapping[str, int]
    alpha_pattern: Mapping[str, float]
    use_rslora: bool
    use_dora: bool
    fan_in_fan_out: bool
    target_modules: tuple[str, ...] | str | None
    exclude_modules: tuple[str, ...] | str | None
    partial_layers: bool
    modules_to_save: tuple[str, ...]
    token_indices: Mapping[str, tuple[int, ...]]
    ensure_weight_tying: bool
    base_name: str

    def rank_of(self, module: str) -> int:
        """Rank of the LoRA on `module` ("model.layers.0.self_attn.q_proj")."""
        return int(_first_match(self.rank_pattern, module, self.rank))

    def scaling_of(self, module: str) -> float:
        """Return the factor of B·A: alpha / rank, or alpha / sqrt(rank) for rsLoRA."""
        rank = self.rank_of(module)
        return _first_match(self.alpha_pattern, module, self.alpha) / (math.sqrt(rank) if self.use_rslora else rank)

    def targets(self, module: str) -> bool:
        """Whether the config asks for a LoRA on `module`; false where this is unknown ("all-linear")."""
        if self.partial_layers or self.target_modules in {None, "all-linear"}:
            return False  # peft's rules for these need the model's classes
        return self._is_named(module)

    def leaves_out(self, module: str) -> bool:
        """Whether this config makes peft leave `module` without a LoRA; false where this is unknown."""
        if self.target_modules in {None, "all-linear"} or (self.ensure_weight_tying and _is_table(module)):
            return False
        return not self._is_named(module)

    def _is_named(self, module: str) -> bool:
        return _names(self.target_modules, module) and not _names(self.exclude_modules, module)


def _is_table(module: str) -> bool:
    return module.rpartition(".")[2] in {"embed_tokens", "lm_head"}


def read_config(folder: Path) -> AdapterConfig:
    """Read and check `folder`/adapter_config.json.

    Raises:
        AdapterError: the file is missing or broken, or a value is of the wrong type.
        UnsupportedError: the adapter type or an option cannot be merged here.

    """
    path = folder / CONFIG
    try:
        raw = parse_json(read_file(path).decode())
    except FileNotFoundError as failure:
        raise AdapterError(
            f"{folder} has no {CONFIG}", next_step="give the folder that peft's save_pretrained wrote"
        ) from failure
    except OSError as failure:
        raise AdapterError(f"cannot read {path}: {failure.strerror}") from failure
    except ValueError as failure:
        raise AdapterError(f"{path} is not JSON: {failure}", next_step="copy or download it again") from failure
    if not isinstance(raw, dict):
        raise AdapterError(f"{path} is not a JSON object", next_step="copy or download it again")
    config = cast("dict[str, object]", raw)
    _refuse_unsupported(path, config)
    return AdapterConfig(
        rank=_rank(path, "r", config.get("r", 8)),
        alpha=_number(path, "lora_alpha", config.get("lora_alpha", 8)),
        rank_pattern={key: _rank(path, key, rank) for key, rank in _pattern(path, config, "rank_pattern").items()},
        alpha_pattern=_pattern(path, config, "alpha_pattern"),
        use_rslora=config.get("use_rslora") is True,
        use_dora=config.get("use_dora") is True,
        fan_in_fan_out=config.get("fan_in_fan_out") is True,
        target_modules=_modules(path, config, "target_modules"),
        exclude_modules=_modules(path, config, "exclude_modules"),
        partial_layers=config.get("layers_to_transform") is not None,
        modules_to_save=tuple(_strings(path, config, "modules_to_save")),
        token_indices=_token_indices(path, config.get("trainable_token_indices")),
        ensure_weight_tying=config.get("ensure_weight_tying") is True,
        base_name=str(config.get("base_model_name_or_path") or ""),
    )


def _refuse_unsupported(path: Path, config: Mapping[str, object]) -> None:
    kind = config.get("peft_type")
    if kind != "LORA":
        raise UnsupportedError(
            f"{path} is of the PEFT type {kind!r}; only LORA can be merged ({SUPPORTED})",
            next_step="merge it with peft's merge_and_unload, save the merged model in float32 and give that as --base",
        )
    for option, value in config.items():
        if option in _NO_PART_IN_MERGING or not value:
            continue
        why = _WHY_NOT.get(option, "this option is unknown")
        raise UnsupportedError(
            f"{path} sets {option} = {_short(value)}: {why}; supported are {SUPPORTED}",
            next_step="merge it with peft itself where peft can, and give the merged model as --base",
        )
    start = config.get("init_lora_weights", True)
    if not isinstance(start, bool) and not (isinstance(start, str) and start in _PLAIN_INITS):
        raise UnsupportedError(
            f"{path} says init_lora_weights = {_short(start)}: training then began by changing the base's weights, so "
            "this adapter does not belong to the base as it was published",
            next_step="save it with model.save_pretrained(FOLDER, path_initial_model_for_weight_conversion=INITIAL), "
            "which converts it to plain LoRA, and give that folder",
        )


def _first_match(pattern: Mapping[str, float], module: str, default: float) -> float:
    """Return the value of the first key that matches the module's name from a dot to its end (`get_pattern_key`)."""
    for key, value in pattern.items():
        if matches(_end_of_name(key), module):
            return value
    return default


def _end_of_name(key: str) -> str:
    return rf"(.*\.)?({key})$"


def _names(patterns: tuple[str, ...] | str | None, module: str) -> bool:
    """Apply peft's rule for target_modules: a regular expression for the whole name, or the name's end after a dot."""
    if patterns is None:
        return False
    if isinstance(patterns, str):
        return matches(patterns, module)
    return any(module == name or module.endswith(f".{name}") for name in patterns)


def _pattern(path: Path, config: Mapping[str, object], option: str) -> dict[str, float]:
    value = config.get(option) or {}
    if not isinstance(value, dict):
        raise AdapterError(f"{path}: {option} is {_short(value)}; an object is needed")
    for key in value:
        _check_regex(path, option, key, _end_of_name(key))
    return {str(key): _number(path, f"{option}[{key!r}]", item) for key, item in value.items()}


def _modules(path: Path, config: Mapping[str, object], option: str) -> tuple[str, ...] | str | None:
    value = config.get(option)
    if value is None or isinstance(value, str):
        if value:
            _check_regex(path, option, value, value)
        return value or None
    return tuple(_strings(path, config, option))


def _strings(path: Path, config: Mapping[str, object], option: str) -> list[str]:
    value = config.get(option) or []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise AdapterError(f"{path}: {option} is {_short(value)}; a list of names is needed")
    return value


def _token_indices(path: Path, value: object) -> dict[str, tuple[int, ...]]:
    if not value:
        return {}
    by_module = value if isinstance(value, dict) else {"": value}
    found: dict[str, tuple[int, ...]] = {}
    for module, indices in by_module.items():
        if not isinstance(indices, list) or not all(type(index) is int and index >= 0 for index in indices):
            raise AdapterError(f"{path}: trainable_token_indices is {_short(value)}; lists of token ids are needed")
        if len(set(indices)) != len(indices):
            raise AdapterError(f"{path}: trainable_token_indices names a token twice: {_short(indices)}")
        found[str(module)] = tuple(indices)
    return found


def _number(path: Path, option: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise AdapterError(f"{path}: {option} is {_short(value)}; a number is needed")
    return value


def _rank(path: Path, option: str, value: object) -> int:
    if type(value) is not int or value <= 0:
        raise AdapterError(f"{path}: {option} is {_short(value)}; a rank is a whole number above 0")
    return value


def _check_regex(path: Path, option: str, given: str, pattern: str) -> None:
    try:
        check_pattern(pattern)
    except ValueError as failure:
        raise AdapterError(
            f"{path}: {option} {_short(given)} is not a regular expression that can be matched: {failure}",
            next_step="name the modules, or write a pattern without back references",
        ) from failure


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
