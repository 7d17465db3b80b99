"""Runs convert_hf_to_gguf.py with a given list of tokens: `convert_with_tokens.py TREE ORDERS.json` (converter.py)."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path


def main(tree: str, orders: str) -> None:
    """Convert once for each job."""
    sys.path[:0] = [tree, str(Path(tree) / "gguf-py")]
    import conversion
    from conversion.base import TextModel

    given = json.loads(Path(orders).read_text())
    tokens = given["tokens"]

    def set_vocab(self: TextModel) -> None:
        self.gguf_writer.add_tokenizer_model("gpt2")
        self.gguf_writer.add_tokenizer_pre("gpt-2")
        self.gguf_writer.add_token_list(tokens)
        self.gguf_writer.add_token_types([1] * len(tokens))
        self.gguf_writer.add_token_merges(["h e"])
        self.gguf_writer.add_eos_token_id(len(tokens) - 1)

    conversion.load_all_models()
    families = [TextModel]
    for family in families:
        families += family.__subclasses__()
        family.set_vocab = set_vocab
    script = str(Path(tree) / "convert_hf_to_gguf.py")
    for options in given["jobs"]:
        sys.argv = [script, *options]
        runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])
