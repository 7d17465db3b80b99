"""Describes an unlearning run of OpenUnlearning, and says which commands gate what it made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeproof.contracts.advice import command

if TYPE_CHECKING:
    from pathlib import Path

    from edgeproof.contracts.training import Training

FORMAT = "gguf-q4"
TOFU = "locuslab/TOFU"
"""Twenty questions an author, in order; of its forget sets none has enough authors for the default policy."""
_HYDRA = ".hydra"
_YAML = (".yaml", ".yml")
_WEIGHTS = "config.json"


def is_run(path: Path) -> bool:
    """Whether `path` is to be read as a run: a folder that Hydra wrote into, a config, or a checkpoint from the hub."""
    from edgeproof.export.training.openunlearning import read_name

    if not path.is_dir():
        return path.suffix in _YAML
    return (path / _HYDRA).is_dir() or ((path / _WEIGHTS).is_file() and read_name(path.resolve().name) is not None)


def describe_run(path: Path) -> dict[str, object]:
    """Describe a run by its config, or by its name on the hub; `path` is its folder or the config itself.

    Raises:
        InputError: the config is missing or damaged, or is none of an unlearning run.

    """
    from edgeproof.contracts.training import NOT_NAMED
    from edgeproof.export.training.openunlearning import CONFIG, read_name, read_run

    config = path / CONFIG if path.is_dir() else path
    folder = config.parent.parent if config.parent.name == _HYDRA else config.parent
    named = read_name(folder.resolve().name)
    if named is None or config.parent.is_dir():
        training = read_run(config, NOT_NAMED if named is None else named.source)
    else:
        training = named
    adapter = (folder / "adapter_config.json").is_file()
    saved = "a LoRA adapter" if adapter else "all weights" if (folder / _WEIGHTS).is_file() else "nothing yet"
    return {"kind": "unlearning run", **training.to_json(), "saved": saved, "next": _next(training, adapter=adapter)}


def _next(training: Training, *, adapter: bool) -> list[dict[str, str]]:
    """List the commands from here to a verdict; nothing is downloaded by this tool."""
    from edgeproof.export.training.known import is_public

    steps = [f"hf download {training.start} --local-dir BASE"] if is_public(training.start) else []
    sets = (name.split()[0] for part in (training.forget, training.retain) for name in part.split(", ") if name)
    data = dict.fromkeys(name for name in sets if is_public(name))
    steps += [f"hf download {name} --repo-type dataset --local-dir DATA" for name in data]
    tofu = TOFU in data
    suffix = ("" if adapter else "-unlearned") + ("-policy" if tofu else "")
    judged = (command(f"{name}{suffix}", format=FORMAT) for name in ("baseline", "export-and-gate"))
    steps += [command("new-pack-tofu" if tofu else "new-pack"), *judged]
    return [{"command": step.replace("--policy POLICY", "--policy PACK/policy.toml")} for step in steps]
