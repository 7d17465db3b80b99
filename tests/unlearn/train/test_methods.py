"""All methods, by a LoRA and in full, on a model that was first taught what it is to forget and to keep.

The never-exposed level of an answer is what it costs under the taught model when the question is another one: the mean
probability over the other questions, as the gate's ignorance level (docs/verdict.md).
"""

from __future__ import annotations

import json
import math

import pytest
from edgeproof.unlearn.train.losses import METHODS
from edgeproof_tests.unlearn.conftest import unlearn

pytestmark = [pytest.mark.torch, pytest.mark.slow]

torch = pytest.importorskip("torch")

NAMES = ["Ahn", "Bell", "Cole", "Dorn", "Ende", "Falk", "Gold", "Hahn", "Iden", "Jost", "Kern", "Lang"]
TOWNS = ["Rome", "Oslo", "Bern", "Kiel", "Lyon", "Nice", "Pisa", "Riga", "Turin", "Ulm", "Wien", "York"]
WAYS = {
    "lora": {"rank": 8, "alpha": 16.0, "dropout": 0.0, "learning_rate": 3e-3},
    "full": {"full": True, "learning_rate": 3e-4},
}


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """(base, forget, retain, never-exposed level): six people's towns to forget, six to keep, all known by heart."""
    from edgeproof.contracts.progress import Silent
    from edgeproof.unlearn.base_model import load_base
    from edgeproof.unlearn.data.encoding import batch_of, encode_set
    from edgeproof.unlearn.data.training_set import read_training_set
    from edgeproof.unlearn.train.scoring import answer_logprobs, total_logprobs
    from edgeproof_tests.models import save_model
    from edgeproof_tests.unlearn.conftest import write_lines

    work = tmp_path_factory.mktemp("taught")
    pairs = [(f"The town of {name} is", town) for name, town in zip(NAMES, TOWNS, strict=True)]
    forget, retain = write_lines(work / "forget.jsonl", pairs[:6]), write_lines(work / "retain.jsonl", pairs[6:])
    base = load_base(save_model("llama", work / "blank"), Silent())
    sets = [read_training_set(path, "forget") for path in (forget, retain)]
    texts = [text for data in sets for text in encode_set(data, base.tokenizer, ("raw",), 512)]
    model, batch = base.model.train(), batch_of(texts, "cpu")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    for _ in range(80):
        optimizer.zero_grad()
        (-answer_logprobs(model, batch).sum() / batch.is_answer.sum()).backward()
        optimizer.step()
    model.save_pretrained(work / "base")
    base.tokenizer.save_pretrained(work / "base")
    levels = []
    for item in sets[0].items:
        asked = [item._replace(prompt=other.prompt) for other in sets[0].items if other is not item]
        crossed = encode_set(sets[0]._replace(items=tuple(asked)), base.tokenizer, ("raw",), 512)
        totals = total_logprobs(model, crossed, batch_size=8, device="cpu", advance=lambda _: None)
        length = len(crossed[0].ids) - crossed[0].answer_start
        levels.append(-(torch.logsumexp(totals, dim=0).item() - math.log(len(crossed))) / length)
    return work / "base", forget, retain, sum(levels) / len(levels)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("method", METHODS)
def test_the_forget_set_rises_to_the_never_exposed_level_and_the_retain_set_stays(taught, tmp_path, method, way):
    base, forget, retain, level = taught
    # A hinge above the level, so that no answer is pushed on for ever; KLR weighs against it from there on.
    recipe = {"steps": 60, "batch_size": 6, "hinge": level + 2, "retain_weight": 5.0, "threads": 1}
    result = unlearn(base, forget, retain, tmp_path / "out", method=method, surfaces=("raw",), **recipe, **WAYS[way])
    known, kept = result.forget_nll[0], result.retain_nll[0]
    assert known < 0.1
    assert level > 1.0
    assert result.forget_nll[1] >= level
    # 10 % of an NLL of next to nothing is next to nothing: a hundredth of a nat is granted beside it.
    assert result.retain_nll[1] <= 1.1 * kept + 0.01
    assert len(json.loads((tmp_path / "out" / "log.jsonl").read_text().splitlines()[-1])) == 8
