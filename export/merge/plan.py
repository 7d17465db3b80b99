"""Merge plan: assigns every adapter tensor to a base tensor, before any computation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from edgeproof.contracts.errors import AdapterError, UnsupportedError
from edgeproof.contracts.tensors import TensorInfo, identity
from edgeproof.export.adapter.checks import base_mismatch
from edgeproof.export.merge.names import HEADS, BaseNames, MergeTarget
from edgeproof.export.merge.steps import BLOCK_VALUES, AddBias, AddDora, AddLowRank, Replace, ReplaceRows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgeproof.contracts.tensors import Checkpoint, Float32Array
    from edgeproof.export.adapter.adapter import Adapter, LowRank
    from edgeproof.export.merge.steps import RowReader, Step


_CONV1D_MODELS = {"gpt2", "openai-gpt", "imagegpt", "decision_transformer"}
"""Model types of transformers that store linear layers as `Conv1D`, [in, out]."""


@dataclass
class MergePlan:
    """Tensors and steps of a merge.

    Attributes:
        tensors: tensors of the merged model, in the base's order; an untied head comes first, as it sorts in one file.
        steps: merge steps of each tensor, in order; without tensors that no adapter touches.
        sources: the base's tensor, for tensors with another name there (the embedding for an untied head).
        config: the base's configuration, with `tie_word_embeddings` updated.
        touched: for each adapter, the base's tensor of each module with a LoRA.
        warnings: warnings for the user.

    """

    tensors: dict[str, TensorInfo]
    config: dict[str, object]
    steps: dict[str, tuple[Step, ...]] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    touched: list[dict[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def plan_merge(base: Checkpoint, adapters: Sequence[Adapter], names: Mapping[str, MergeTarget] | None) -> MergePlan:
    """Plan the merge of `adapters` into `base`; arguments and errors as for `MergedModel`."""
    lookup = BaseNames(base, names)
    plan = MergePlan(dict(base.tensors), dict(base.config))
    steps: dict[str, list[Step]] = {}
    for adapter in adapters:
        added = _place(base, adapter, lookup, plan, gguf=names is not None)
        if lookup.tied:
            _tie(adapter, added, lookup)
        for name, new in added.items():
            steps[name] = _append(adapter, name, steps.get(name, []), new, lookup, plan)
        plan.warnings.extend(adapter.warnings)
        if warning := base_mismatch(adapter.path, adapter.config.base_name, base):
            plan.warnings.append(warning)
    if lookup.tied:
        _untie(steps, lookup, plan)
    plan.steps = {name: tuple(found) for name, found in steps.items() if found}
    return plan


def _place(
    base: Checkpoint, adapter: Adapter, lookup: BaseNames, plan: MergePlan, *, gguf: bool
) -> dict[str, list[Step]]:
    """Convert an adapter's tensors to steps, by the merged model's tensor names; each must have a place."""
    added: dict[str, list[Step]] = {}
    lost: list[str] = []
    readers: dict[str, RowReader] = {}
    for tensor, stored in (*adapter.saved_base.items(), *adapter.replaced.items()):
        target = lookup.find(tensor)
        if target is None:
            lost.append(tensor)
            continue
        _check_replaced(adapter, tensor, stored.shape, lookup.info(target.name))
        step = Replace(stored, target.transform)
        added.setdefault(target.name, []).append(step)
        readers[target.name] = step.rows
    for module, tokens in adapter.token_rows.items():
        target = lookup.find(f"{module}.weight")
        if target is None:
            lost.append(f"{module}.token_adapter")
            continue
        info = lookup.info(target.name)
        if max(tokens.indices) >= info.rows or tokens.rows.shape[1] != info.columns:
            raise AdapterError(
                f"the adapter {adapter.path} trains rows up to {max(tokens.indices)} of {module}, of width "
                f"{tokens.rows.shape[1]}, and the base's is {info.shape}",
                next_step="give the base that the adapter was trained on, with the same resized vocabulary",
            )
        added.setdefault(target.name, []).append(ReplaceRows(tokens))
    touched: dict[str, str] = {}
    conv1d = not gguf and _conv1d(base, adapter, lookup)
    for module, lora in adapter.low_rank.items():
        target = lookup.find(f"{module}.weight")
        if target is None:
            lost.append(f"{module}.lora_A")
            continue
        info, source = lookup.info(target.name), lookup.source(target.name)
        transposed = _check_shape(adapter, lora, info, conv1d=conv1d)
        if transposed and target.transform is not identity:
            raise UnsupportedError(f"LoRA on {module} cannot be merged into {target.name}: the base reorders its rows")
        if lora.magnitude is not None:
            reader = readers.get(target.name, _reader(base, source))
            dora = AddDora(lora, lora.magnitude, transposed, info.rows, reader, target.transform)
            added.setdefault(target.name, []).append(dora)
        else:
            added.setdefault(target.name, []).append(AddLowRank(lora, transposed, target.transform))
        touched[module] = source
        if lora.bias is not None:
            place = lookup.find(f"{module}.bias")
            if place is None:
                raise AdapterError(
                    f"the adapter {adapter.path} has a lora_bias for {module}, and that layer has no bias to add it to",
                    next_step="train with lora_bias=False; peft cannot merge this either",
                )
            added.setdefault(place.name, []).append(AddBias(lora, lora.bias, place.transform))
    if lost:
        total = len(adapter.saved_base) + len(adapter.replaced) + len(adapter.token_rows) + len(adapter.low_rank)
        _refuse_lost(base, adapter, lost, total)
    plan.touched.append(touched)
    _warn_incomplete(adapter, lookup, set(touched.values()), plan)
    return added


def _append(  # noqa: PLR0917 (a part of plan_merge, named for readability)
    adapter: Adapter, name: str, before: list[Step], new: list[Step], lookup: BaseNames, plan: MergePlan
) -> list[Step]:
    """Append an adapter's steps on one tensor to those of the earlier adapters."""
    if before and _is_saved_base(adapter, new[0], name, lookup):
        new = new[1:]
    if before and new and isinstance(new[0], Replace):
        raise AdapterError(
            f"the adapter {adapter.path} replaces {name}, which would discard the changes of an earlier adapter",
            next_step="put the adapter that replaces it first, or merge the adapters into separate models",
        )
    if before and any(isinstance(step, AddDora) for step in new):
        plan.warnings.append(
            f"the adapter {adapter.path} uses DoRA on {name} after another adapter: its norms are taken from the base "
            "alone, as peft's merge of several adapters does; if it was trained on top of the merged model, merge that "
            "first, save it, and give it as --base"
        )
    return [*before, *new]


def _is_saved_base(adapter: Adapter, step: Step, name: str, lookup: BaseNames) -> bool:
    """Whether a replacement equals the base's table, which peft saves with a LoRA on it."""
    if not isinstance(step, Replace) or step.tensor not in adapter.saved_base.values():
        return False
    info, read = lookup.info(name), _reader(lookup.base, lookup.source(name))
    height = max(1, BLOCK_VALUES // info.columns)
    bounds = [(at, min(at + height, info.rows)) for at in range(0, info.rows, height)]
    return all(np.array_equal(step.rows(start, stop), read(start, stop)) for start, stop in bounds)


def _tie(adapter: Adapter, added: dict[str, list[Step]], lookup: BaseNames) -> None:
    """Apply changes of one of embedding and head to the other if the adapter was trained that way.

    With `ensure_weight_tying` all changes are shared; rows of `trainable_token_indices` are shared unless head and
    embedding have different ones (peft 0.21, `set_additional_trainable_modules`).
    """
    embedding, head = lookup.embedding or "", lookup.head
    ours, theirs = added.get(embedding, []), added.get(head, [])
    if adapter.config.ensure_weight_tying and (ours or theirs):
        if any(isinstance(step, AddDora) for step in theirs):
            return  # DoRA rescales the head's rows and the embedding's columns: one table cannot have both
        if ours and theirs and not _same(ours, theirs):
            raise AdapterError(
                f"the adapter {adapter.path} sets ensure_weight_tying, but holds different changes for {embedding} "
                f"and {head}",
                next_step="save it again with the peft version that trained it",
            )
        added[embedding] = added[head] = ours or theirs
    elif ours and not theirs and all(isinstance(step, ReplaceRows) for step in ours):
        added[head] = ours


def _same(embedding: list[Step], head: list[Step]) -> bool:
    """Whether both hold the same change: peft saves a tied LoRA twice, the second time transposed."""
    if len(embedding) != len(head):
        return False
    for left, right in zip(embedding, head, strict=True):
        if isinstance(left, AddLowRank) and isinstance(right, AddLowRank):
            A, B = left.lora.A.read(), left.lora.B.read()
            same = np.array_equal(right.lora.A.read(), B.T) and np.array_equal(right.lora.B.read(), A.T)
            same = same and left.lora.scaling == right.lora.scaling
        elif isinstance(left, Replace) and isinstance(right, Replace):
            same = np.array_equal(left.tensor.read(), right.tensor.read())
        elif isinstance(left, ReplaceRows) and isinstance(right, ReplaceRows):
            same = left.tokens.indices == right.tokens.indices
            same = same and np.array_equal(left.tokens.rows.read(), right.tokens.rows.read())
        else:
            same = False
        if not same:
            return False
    return True


def _untie(steps: dict[str, list[Step]], lookup: BaseNames, plan: MergePlan) -> None:
    """Add a tensor for the head if it no longer equals the embedding."""
    embedding, head = lookup.embedding or "", lookup.head
    ours, theirs = steps.get(embedding, []), steps.get(head, [])
    stored = head in plan.tensors
    if ours == theirs:
        if not stored:
            steps.pop(head, None)
        return
    plan.config["tie_word_embeddings"] = False
    if "tie_embedding" in plan.config:  # LFM2's key
        plan.config["tie_embedding"] = False
    inner = plan.config.get("text_config")
    if isinstance(inner, dict) and "tie_word_embeddings" in inner:
        plan.config["text_config"] = {**inner, "tie_word_embeddings": False}
    if not stored:
        info = lookup.info(head)
        plan.tensors = {head: TensorInfo(head, info.shape, info.dtype), **plan.tensors}
        plan.sources[head] = embedding
    changed = " and ".join(name for name, found in ((embedding, ours), (head, theirs)) if found)
    plan.warnings.append(
        f"{embedding} and {head} are tied in the base and differ after the merge (the adapters change {changed}): they "
        "are untied, so the file holds the table twice"
    )


def _reader(base: Checkpoint, name: str) -> RowReader:
    def read(start: int, stop: int) -> Float32Array:
        return base.rows(name, start, stop)

    return read


def _conv1d(base: Checkpoint, adapter: Adapter, lookup: BaseNames) -> bool:
    """Whether the base stores its linear layers as [in, out]; `fan_in_fan_out` is not reliable (peft corrects it).

    Square matrices are ambiguous; any matrix that fits only transposed decides.
    """
    if base.config.get("model_type") in _CONV1D_MODELS:
        return True
    if not adapter.config.fan_in_fan_out:
        return False
    for module, lora in adapter.low_rank.items():
        target = None if lora.embedding else lookup.find(f"{module}.weight")
        if target is not None and lora.A.shape[1] != lora.B.shape[0]:
            return lookup.info(target.name).shape == (lora.A.shape[1], lora.B.shape[0])
    return False


def _check_shape(adapter: Adapter, lora: LowRank, info: TensorInfo, *, conv1d: bool) -> bool:
    """Whether ΔW must be transposed; the base's shape must fit."""
    linear_in_conv1d = info.name.rpartition(".")[0].rpartition(".")[2] in HEADS
    transposed = lora.embedding or (conv1d and not linear_in_conv1d)
    fits = (lora.B.shape[0], lora.A.shape[1])
    if info.shape != (fits[::-1] if transposed else fits):
        raise AdapterError(
            f"the adapter {adapter.path} was trained on another base: its ΔW for {lora.module} is "
            f"{fits[::-1] if transposed else fits}, the base's {info.name} is {info.shape}",
            next_step=f"give the base that it was trained on{_named(adapter)}",
        )
    return transposed


def _check_replaced(adapter: Adapter, tensor: str, shape: tuple[int, ...], info: TensorInfo) -> None:
    if tuple(size for size in shape if size != 1) != tuple(size for size in info.shape if size != 1):
        raise AdapterError(
            f"the adapter {adapter.path} replaces {tensor} by a tensor of shape {shape}; the base's is {info.shape}",
            next_step=f"give the base that it was trained on{_named(adapter)}; if training resized the vocabulary, "
            "give the resized base",
        )


def _refuse_lost(base: Checkpoint, adapter: Adapter, lost: list[str], total: int) -> None:
    example = next((name for name in base.tensors if name.endswith(".weight")), next(iter(base.tensors), "nothing"))
    raise AdapterError(
        f"{len(lost)} of {total} tensors of the adapter {adapter.path} match nothing in the base {base.path}, the "
        f"first being {lost[0]}; the base has names like {example}",
        next_step=f"give the base that it was trained on{_named(adapter)}",
    )


def _warn_incomplete(adapter: Adapter, lookup: BaseNames, touched: set[str], plan: MergePlan) -> None:
    wanted = {name for module, name in lookup.modules().items() if adapter.config.targets(module)}
    missing = sorted(wanted - touched)
    if missing:
        plan.warnings.append(
            f"the adapter {adapter.path} holds no LoRA for {len(missing)} of the {len(wanted)} modules that its "
            f"target_modules name, the first being {missing[0]}: they stay as in the base"
        )


def _named(adapter: Adapter) -> str:
    return f" ({adapter.config.base_name})" if adapter.config.base_name else ""
