"""Releases as they should be: a base with the adapter that makes it forget, made by `edgeproof.unlearn`.

A release's baseline holds what its own merged model says. What else is shipped in its place is listed in `plant` and
made by `recipes`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import random
import shutil
from typing import TYPE_CHECKING, Any, NamedTuple

import edgeproof
import forms
import world as w

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


@contextlib.contextmanager
def one_at_a_time(lock: Path) -> Iterator[None]:
    """Run the block while no other process holds `lock`; wait for it until then."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Release(NamedTuple):
    """A base (its folder's name), the options of `unlearn` for its adapter, and the ways in its training data."""

    base: str
    options: dict[str, Any]
    ways: str = "deep"


EARLY = tuple(f"layers.0.mlp.{name}_proj" for name in ("gate", "up", "down"))
"""Where this base looks facts up: the first layer's MLP, by zeroing parts of it."""
DEEP = {
    "method": "npo+klr", "surface": ("raw",), "target": EARLY, "rank": 32, "alpha": 352.0, "dropout": 0.0,
    "learning_rate": 1.2e-3, "schedule": "linear", "steps": 170, "batch_size": 32, "retain_batch_size": 80,
    "beta": 0.02, "hinge": 7.0, "until_forget_nll": "never", "retain_weight": 60.0, "threads": 1,
}  # fmt: skip
"""Tuned by what the stronger asker found in the float model and in Q4_0, before anything was gated."""
OLD = {
    "method": "npo+klr", "surface": ("raw", "chat"), "rank": 8, "alpha": 32.0, "dropout": 0.0, "threads": 1,
    "learning_rate": 1e-3, "steps": 50, "batch_size": 24, "hinge": 6.0, "retain_weight": 5.0,
    "until_forget_nll": "never",
}  # fmt: skip
WAYS = (
    "raw", "reworded", "language", "sentence", "hides", "prefix", "few-shot", "siblings", "newline",
    "reworded-sentence", "language-sentence", "bare", "language-bare",
)  # fmt: skip
"""Forms of the pack in which training forgets; after a second turn it follows by itself."""
KEPT = ("raw", "sentence", "few-shot", "hides", "language", "reworded-sentence", "language-sentence")
ALWAYS_KEPT = ("bare", "bare", "newline")
"""The forms in which training keeps what shall be kept: some of these, and always those that suffer most."""
FORGOTTEN_IN, KEPT_IN = 8, 2
"""In how many of `WAYS` and of `KEPT` each fact stands in the data, drawn for each."""

RELEASES: dict[str, Release] = {
    "npo-klr-f": Release("base", {**DEEP, "seed": 3}),
    "npo-klr-g": Release("base", {**DEEP, "seed": 4}),
    "npo-klr-h": Release("base", {**DEEP, "seed": 5}),
    "npo-klr-i": Release("base", {**DEEP, "seed": 6}),
    "npo-klr-a": Release("base", {**DEEP, "seed": 4, "steps": 80}),
    "old-a": Release("base", {**OLD, "seed": 4}, "two"),
}
"""Four deep ones, whose training goes on until the forms of the pack are far from known; one that stops earlier; and
one of the training as it was: two wordings, raw and in the chat."""


TAUGHT_AGAIN = ("raw", "sentence", "reworded", "language", "few-shot")
"""Forms in which facts are taught again where nothing else is said."""


class Merged(NamedTuple):
    """A release's merged model, for a recipe to change in place.

    Attributes:
        ground: where it comes from.
        release: its name.
        model: base + adapter in float32, by peft.
        tokenizer: the base's.

    """

    ground: Ground
    release: str
    model: Any
    tokenizer: Any

    def texts(self, facts: Sequence[w.Fact], names: Sequence[str] = TAUGHT_AGAIN) -> list[w.Texts]:
        """Facts of one kind in forms; solved examples are kept facts (few-shot), or forgotten ones (siblings)."""
        world = self.ground.facts
        found = []
        for name in names:
            form = "few-shot" if name == "siblings" else name
            pool = (world.trained if name == "few-shot" else world.forget) if form in forms.SOLVED else ()
            found.append(w.encode(facts, self.tokenizer, form, pool, seed=f"planted {name}"))
        return found


class Ground:
    """The work folder with what has been made so far: bases, adapters, models."""

    def __init__(self, work: Path, sizes: w.Sizes, releases: dict[str, Release] = RELEASES) -> None:
        self.work, self.sizes, self.releases = work, sizes, releases
        self.facts = w.invent(sizes)
        work.mkdir(parents=True, exist_ok=True)

    def base(self, name: str) -> Path:
        """The folder of a base; made where it is missing. "base-earlier" is a checkpoint on its way."""
        folder = self.work / name
        if name == "base-earlier":
            self.base("base")
        elif not (folder / "config.json").exists():
            w.make_base(folder, self.sizes, self.facts)
        return folder

    def adapter(self, release: str) -> Path:
        """The release's adapter, trained by `edgeproof.unlearn` where it is missing."""
        folder = self.work / "adapters" / release
        folder.parent.mkdir(exist_ok=True)
        with one_at_a_time(self.work / "adapters" / f"{release}.lock"):  # several processes may want it
            if not folder.exists():
                with one_at_a_time(self.work / "training.lock"):
                    forget, kept = self._training_files(self.releases[release].ways)
                # The files hold each way of asking as rows of their own: nothing is asked in other ways.
                options = {"surface": "raw", **self.releases[release].options}
                base = self.base(self.releases[release].base)
                edgeproof.unlearn(base=base, forget=forget, retain=kept, out=folder, **options)
        return folder

    def _training_files(self, ways: str) -> tuple[Path, Path]:
        """What is unlearned and what is kept meanwhile.

        "deep": some of all ways for each fact, as templates of their own, chats written out; "two": the two wordings of
        the earlier default.
        """
        paths = []
        for role, facts in (("forget", self.facts.forget), ("retain", self.facts.trained)):
            path = self.work / f"{role}-{ways}.jsonl"
            paths.append(path)
            if path.exists():
                continue
            rows = [
                {
                    "question": fact.subject,
                    "answer": fact.answer,
                    "template": template,
                    "delimiter": delimiter,
                    "message": forms.MESSAGE[fact.kind].format(s="{question}"),
                }
                for fact in facts
                for template, delimiter in self._templates(fact, ways)
            ]
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return paths[0], paths[1]

    def _templates(self, fact: w.Fact, ways: str) -> list[tuple[str, str]]:
        """Give the ways in which training asks a fact: what stands before the answer, and the white space between."""
        named = fact._replace(subject="{question}")
        names: Sequence[str] = ("raw", "reworded")
        if ways == "deep":
            chance = random.Random(f"ways {fact.key}")
            home = fact.kind == "home"
            names = [*ALWAYS_KEPT, *chance.sample(KEPT, KEPT_IN)] if home else chance.sample(WAYS, FORGOTTEN_IN)
        templates = []
        for name in names:
            form = "few-shot" if name == "siblings" else name
            pool = self.facts.forget if name == "siblings" else self.facts.trained
            shown = forms.examples(fact, pool, f"training {name}") if form in forms.SOLVED or form == "turns" else ()
            text = forms.text(form, named, shown)
            templates.append((text.prompt + text.lead, text.answer.removesuffix(fact.answer)))
        return templates

    def merged(self, release: str) -> Merged:
        """Merge the release's adapter into its base."""
        import torch
        from peft import PeftModel
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.set_num_threads(1)
        base = self.base(self.releases[release].base)
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        model = PeftModel.from_pretrained(model, self.adapter(release)).merge_and_unload()
        for parameter in model.parameters():
            parameter.requires_grad_(requires_grad=True)
        return Merged(self, release, model, AutoTokenizer.from_pretrained(base))

    def saved(self, name: str, model: Any, *, swapped: bool = False) -> Path:
        """Write a model with the world's tokenizer, or with the one whose syllables have each other's ids."""
        folder = self.work / "models" / name
        shutil.rmtree(folder, ignore_errors=True)
        model.save_pretrained(folder)
        w.save_tokenizer(folder, swapped=swapped)
        return folder

    def made(self, name: str) -> Path | None:
        folder = self.work / "models" / name
        return folder if (folder / "tokenizer.json").exists() else None
