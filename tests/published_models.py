"""The tiny models that the authors' code was run on, made again from their seed: with a BOS before texts, and without.

folder = published_model("bos", tmp_path / "bos")
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from edgeproof_tests.models import save_model

if TYPE_CHECKING:
    from pathlib import Path

MODELS = ("plain", "bos")
BOS = "<unused0>"


def published_model(name: str, folder: Path) -> Path:
    """Write the model `name` (of MODELS) as a float32 Hugging Face folder; the two differ in their tokenizer alone."""
    save_model("llama", folder, max_position_embeddings=2048)
    if name == "bos":
        _add_bos(folder)
    return folder


def _add_bos(folder: Path) -> None:
    """Make the tokenizer put BOS before each text, as Llama-2's does."""
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    number = tokenizer["model"]["vocab"][BOS]
    tokenizer["added_tokens"].append({
        "id": number, "content": BOS, "single_word": False, "lstrip": False, "rstrip": False,
        "normalized": False, "special": True,
    })  # fmt: skip
    tokenizer["added_tokens"].sort(key=lambda token: token["id"])
    first = [{"SpecialToken": {"id": BOS, "type_id": 0}}]
    tokenizer["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [*first, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [*first, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {BOS: {"id": BOS, "ids": [number], "tokens": [BOS]}},
    }
    path.write_text(json.dumps(tokenizer))
    config = folder / "tokenizer_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"bos_token": BOS}))
    for name in ("config.json", "generation_config.json"):
        described = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(described | {"bos_token_id": number}))
