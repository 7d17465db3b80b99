"""Runs lm-evaluation-harness with the model `edgeproof` added to its own.

    python -m edgeproof.cli.lm_eval --model edgeproof --model_args artifact=FILE.gguf --tasks wmdp_bio

lm_eval knows the models of its own list and has no way to find others, so that this stands where `lm_eval` would: every
other word is its own.
"""

from __future__ import annotations

import importlib.util
import sys

import click
from edgeproof.contracts.errors import EdgeproofError, UnsupportedError

MODEL = "edgeproof.release.lm_eval_model:EdgeproofLM"


def main() -> int:
    """Register the model, run lm_eval's own command line, and return the exit code."""
    try:
        register()
        from lm_eval.__main__ import cli_evaluate

        cli_evaluate()
    except EdgeproofError as error:
        click.echo(f"Error: {error}", err=True)
        return error.exit_code
    return 0


def register() -> None:
    """Make `edgeproof` a model of lm_eval; it is imported when it is asked for.

    Raises:
        UnsupportedError: lm_eval is not installed.

    """
    if importlib.util.find_spec("lm_eval") is None:
        raise UnsupportedError("lm-evaluation-harness is not installed", next_step="pip install 'edgeproof[lm-eval]'")
    from lm_eval.api.registry import model_registry

    if "edgeproof" not in model_registry:
        model_registry.register("edgeproof", target=MODEL)


if __name__ == "__main__":
    sys.exit(main())
