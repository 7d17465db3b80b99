"""The stages of the study, each of which leaves a JSON file: tuned and snapped bases, cells, attacks."""

from __future__ import annotations

import json
import math
import shutil
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from codes import moved_codes, rounding_errors, weight_change
from edgeproof.contracts.errors import TrainingError
from edgeproof.contracts.progress import Silent
from edgeproof.eval.measurement import Role
from edgeproof.eval.measuring.ignorance import ignorance_levels
from edgeproof.eval.packs.reader import load_pack
from edgeproof.export.pipeline import ExportOptions, export
from edgeproof.runtime import backend_for, open_backend
from edgeproof.unlearn import Settings, unlearn
from knowing import added, dequantized, encoded, load, nll, rounded_to_bf16, snap, tune
from plan import ATTACKED, FORGOTTEN, FORMATS, GENERATED_TOKENS, KEPT, SHORT_FORMATS, Attack, Cell, Grid, Size
from probing import probe
from surviving import LAYERS, through_rounding

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgeproof.eval.asking.tokens import Ask
    from edgeproof.eval.packs.pack import Pack

CAST = "bf16-cast"
"""A pseudo-format: the merged weights rounded to bfloat16, as a float32 GGUF."""
REQUANTIZED = ("gguf-q4_1", "gguf-iq4_nl", "gguf-q4")


@dataclass
class Study:
    """Folders and sizes, and what is run in them."""

    base: Path
    work: Path
    results: Path
    data: Path
    size: Size

    def run(self, item: Cell | Attack | Grid) -> None:
        """Run a cell, an attack or a look at the grids, and what it needs, unless its result is there."""
        if self._result(item.name).is_file():
            return
        if isinstance(item, Grid):
            self._save(item.name, {"rounding": rounding_errors(self.knowing(item.data, item.start))})
        elif isinstance(item, Cell):
            self._run_cell(item)
        else:
            self._run_attack(item)

    # Bases

    def knowing(self, data: str, start: str) -> Path:
        """Return the folder of the base that knows forget and retain, on a grid where asked."""
        free = self._tuned(f"{data}.knows", data, (*FORGOTTEN[data], *KEPT[data]))
        if start == "free":
            return self._recorded(f"{data}.free", free, data, FORMATS)
        folder = self.work / f"{data}.{start}"
        if not folder.is_dir():
            snap(free, folder, start)
        formats = SHORT_FORMATS if start == "q4_0" else ("gguf-f32",)
        return self._recorded(f"{data}.{start}", folder, data, formats)

    def retrained(self, data: str) -> Path:
        """Return the folder of the model that was tuned on retain alone, for as many epochs."""
        epochs = self._load(f"{data}.knows")["nll"]
        folder = self._tuned(f"{data}.retrained", data, KEPT[data], epochs=len(epochs), until=0.0)
        return self._recorded(f"{data}.retrained", folder, data, FORMATS)

    def _tuned(
        self, name: str, data: str, sets: Sequence[str], *, epochs: int | None = None, until: float | None = None
    ) -> Path:
        folder = self.work / name
        if not folder.is_dir() or not self._result(name).is_file():
            size = self.size
            made = tune(
                self.base,
                [self.set_path(data, part) for part in sets],
                folder,
                learning_rate=size.tune_rate,
                until=size.tune_until if until is None else until,
                most_epochs=size.tune_epochs if epochs is None else epochs,
                batch_size=size.tune_batch,
                tell=lambda text: print(f"  {name}: {text}", flush=True),
            )
            self._save(name, made._asdict())
        return folder

    def _recorded(self, name: str, folder: Path, data: str, formats: Sequence[str]) -> Path:
        """Export and probe a base once; its files stay, to compare codes with."""
        if not self._result(f"base.{name}").is_file() or not all(
            path.exists() for path in self._files(name, formats).values()
        ):
            began = time.monotonic()
            items = export(
                folder, [], formats, self.work / "files" / name, ExportOptions(name="model"), force=True, threads=1,
                progress=Silent(),
            )  # fmt: skip
            pack = self.pack(data)
            found: dict[str, Any] = {item.format: self._probed(item.path, item.format, pack, data) for item in items}
            levels: dict[str, float] = {}
            if name.endswith(".free"):  # on a grid it is the same model but for rounding
                with open_backend(backend_for(items[0].path), items[0].path, threads=1) as backend:
                    levels = ignorance_levels(pack, backend)
            self._save(
                f"base.{name}",
                {"artifacts": found, "ignorance": levels, "seconds": time.monotonic() - began},
            )
        return folder

    # Cells

    def unlearned(self, cell: Cell) -> Path:
        """Return the folder that unlearning wrote: a LoRA, or a model."""
        out = self.work / cell.name
        if out.is_dir() and (self.work / f"{cell.name}.json").is_file():
            return out
        base = self.knowing(cell.data, cell.start)
        if cell.same:
            return self._transplanted(cell, base, out)
        self.retrained(cell.data)
        size = self.size
        target = size.depth * self.depth(cell.data)
        settings = Settings(
            method=cell.method,
            surfaces=("raw",),
            full=cell.full,
            alpha=cell.alpha,
            retain_weight=cell.retain_weight,
            learning_rate=size.full_rate if cell.full else size.lora_rate,
            steps=size.steps,
            batch_size=size.batch_size,
            precision=size.precision,
            max_tokens=2048,
            targets=LAYERS if cell.survive else (),
            until_forget_nll=None if cell.survive else target,
            seed=cell.seed,
            threads=1,
        )
        result = unlearn(
            base,
            self.set_path(cell.data, "forget"),
            self.set_path(cell.data, "retain_trained"),
            out,
            settings,
            instrument=through_rounding(base, ATTACKED, target) if cell.survive else None,
            force=True,
        )
        facts = {**asdict(result), "out": cell.name, "target": target}
        (self.work / f"{cell.name}.json").write_text(json.dumps(facts))
        print(f"  {cell.name}: {facts}", flush=True)
        return out

    def _transplanted(self, cell: Cell, base: Path, out: Path) -> Path:
        """Add the change of the cell from "free" to `base`: its LoRA as it is, or its weights minus those it had."""
        twin = replace(cell, start="free", same=False, formats=FORMATS)
        made = self.unlearned(twin)
        if cell.full:
            added(base, made, self.knowing(cell.data, "free"), out)
        else:
            shutil.rmtree(out, ignore_errors=True)
            shutil.copytree(made, out)
        shutil.copy(self.work / f"{twin.name}.json", self.work / f"{cell.name}.json")
        return out

    def depth(self, data: str) -> float:
        """Return the retrained model's mean NLL per token on the forget set: how deep unlearning goes, nat.

        Unlearning counts all tokens of a text, of which the pack asks for the last words alone.
        """
        if data == "book":
            model, tokenizer = load(self.retrained(data))
            return float(nll(model, encoded([self.set_path(data, "forget")], tokenizer)).mean())
        pack = self.pack(data)
        record = self._load(f"base.{data}.retrained")["artifacts"]["gguf-f16"]
        chosen = [found for p, found in zip(pack.probes, record["nll"], strict=True) if p.role == Role.FORGET]
        return math.fsum(chosen) / len(chosen)

    def _run_cell(self, cell: Cell) -> None:
        began = time.monotonic()
        base, pack = self.knowing(cell.data, cell.start), self.pack(cell.data)
        try:
            out = self.unlearned(cell)
        except TrainingError as error:
            # A recipe that destroys the model is a finding, not an accident of the study.
            self._save(cell.name, {"cell": asdict(cell), "failed": str(error)})
            return
        trained = time.monotonic()
        files = self.work / "files" / cell.name
        formats = [name for name in cell.formats if name != CAST]
        source, adapters = (out, []) if cell.full else (base, [out])
        items = export(
            source, adapters, formats, files, ExportOptions(name="model"), force=True, threads=1, progress=Silent()
        )
        paths = {item.format: item.path for item in items}
        if CAST in cell.formats:
            folder = rounded_to_bf16(source, adapters, self.work / f"{cell.name}.cast")
            cast = export(
                folder, [], ["gguf-f32"], files / "cast", ExportOptions(name="model"), force=True, threads=1,
                progress=Silent(),
            )  # fmt: skip
            paths[CAST] = cast[0].path
            shutil.rmtree(folder)
        known = self._files(f"{cell.data}.{cell.start}", FORMATS)
        artifacts: dict[str, Any] = {}
        for name, path in paths.items():
            codes = moved_codes(known[name], path) if name in known and known[name].exists() else None
            artifacts[name] = {**self._probed(path, name, pack, cell.data), "codes": codes}
        change = weight_change(base, out) if cell.full else items[0].manifest.adapter_effect
        self._save(
            cell.name,
            {
                "cell": asdict(cell),
                "unlearning": json.loads((self.work / f"{cell.name}.json").read_text()),
                "change": change,
                "artifacts": artifacts,
                "seconds": {"unlearning": trained - began, "export and probes": time.monotonic() - trained},
            },
        )
        for name, path in paths.items():
            if name != ATTACKED:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    # Attacks

    def _run_attack(self, attack: Attack) -> None:
        began = time.monotonic()
        pack = self.pack(attack.data)
        if attack.cell is None:
            self.retrained(attack.data)
            source = self._files(f"{attack.data}.retrained", FORMATS)[ATTACKED]
            before = self._load(f"base.{attack.data}.retrained")["artifacts"][ATTACKED]
        else:
            self.run(attack.cell)
            source = self._made(attack.cell)
            before = self._load(attack.cell.name)["artifacts"][ATTACKED]
        after = (self._relearned if attack.kind == "relearn" else self._requantized)(attack, source, pack)
        self._save(
            attack.name,
            {
                "kind": attack.kind,
                "cell": asdict(attack.cell) if attack.cell else None,
                "before": before,
                "after": after,
                "seconds": time.monotonic() - began,
            },
        )

    def _made(self, cell: Cell) -> Path:
        """Return the cell's file that is attacked, made again where scratch was emptied."""
        files = self.work / "files" / cell.name
        found = next(files.glob(f"*{ATTACKED.removeprefix('gguf-').upper()}*.gguf"), None)
        if found is None:
            out = self.unlearned(cell)
            source, adapters = (out, []) if cell.full else (self.knowing(cell.data, cell.start), [out])
            (item,) = export(
                source, adapters, [ATTACKED], files, ExportOptions(name="model"), force=True, threads=1,
                progress=Silent(),
            )  # fmt: skip
            found = item.path
        return found

    def _relearned(self, attack: Attack, source: Path, pack: Pack) -> dict[str, Any]:
        """Fine-tune what the file holds on related, innocent text for a few steps; probe it in float16."""
        folder = dequantized(source, self.base, self.work / f"{attack.name}.start")
        out = self.work / attack.name
        size = self.size
        tune(
            folder, [self.set_path(attack.data, "related")], out, learning_rate=size.relearn_rate, until=0.0,
            most_epochs=10_000, most_steps=size.relearn_steps, batch_size=size.tune_batch,
            tell=lambda text: print(f"  {attack.name}: {text}", flush=True),
        )  # fmt: skip
        (item,) = export(
            out, [], ["gguf-f16"], self.work / "files" / attack.name, ExportOptions(name="model"), force=True,
            threads=1, progress=Silent(),
        )  # fmt: skip
        found = {"gguf-f16": self._probed(item.path, "gguf-f16", pack, attack.data)}
        for used in (folder, out, item.path.parent):
            shutil.rmtree(used)
        return found

    def _requantized(self, attack: Attack, source: Path, pack: Pack) -> dict[str, Any]:
        """Write what the file holds in other types."""
        options = ExportOptions(name="model", allow_requantize=True)
        items = export(
            source, [], REQUANTIZED, self.work / "files" / attack.name, options, force=True, threads=1,
            progress=Silent(),
        )  # fmt: skip
        found = {item.format: self._probed(item.path, item.format, pack, attack.data) for item in items}
        shutil.rmtree(items[0].path.parent)
        return found

    # Probes and files

    def _probed(self, artifact: Path, form: str, pack: Pack, data: str) -> dict[str, Any]:
        return probe(artifact, pack, _generated(form), GENERATED_TOKENS[data]).to_json()

    def pack(self, data: str) -> Pack:
        """Return the probe pack, cut to the size's limit."""
        return load_pack(self._cut(data) / "pack")

    def set_path(self, data: str, part: str) -> Path:
        """Return a training set, cut to the size's limit."""
        return self._cut(data) / f"{part}.jsonl"

    def _cut(self, data: str) -> Path:
        if self.size.limit is None:
            return self.data / data
        folder = self.work / "data" / data
        if not folder.is_dir():
            shutil.copytree(self.data / data, folder)
            for path in folder.rglob("*.jsonl"):
                lines = path.read_text(encoding="utf-8").splitlines()[: self.size.limit]
                path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return folder

    def _files(self, name: str, formats: Sequence[str]) -> dict[str, Path]:
        """Return where a base's artifacts lie, by format."""
        folder = self.work / "files" / name
        names = {"gguf-q4": "Q4_K_M", "onnx-int4": None}
        found = {}
        for form in formats:
            kind = names.get(form, form.removeprefix("gguf-").upper())
            found[form] = folder / ("model-onnx-int4" if kind is None else f"model-{kind}.gguf")
        return found

    def _result(self, name: str) -> Path:
        return self.results / f"{name}.json"

    def _load(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._result(name).read_text(encoding="utf-8"))
        return found

    def _save(self, name: str, facts: dict[str, Any]) -> None:
        self.results.mkdir(parents=True, exist_ok=True)
        partial = self._result(name).with_suffix(".part")
        text = json.dumps({"size": self.size.name, **facts}, allow_nan=False, separators=(",", ":"))
        partial.write_text(text + "\n", encoding="utf-8")
        partial.rename(self._result(name))


def _generated(form: str):  # noqa: ANN202 (a predicate for probing.probe)
    """Say which answers are generated: of F16 and Q4_0 files the first of each forget and retain cluster in a set."""
    seen: dict[tuple[str, str], str] = {}

    def chosen(ask: Ask) -> bool:
        item = ask.probe
        if form not in {"gguf-f16", "gguf-q4_0"} or item.role == Role.HOLDOUT:
            return False
        return seen.setdefault((item.group, item.cluster), item.id) == item.id

    return chosen
