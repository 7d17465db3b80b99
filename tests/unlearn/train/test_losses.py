"""The losses against the papers' formulas, written out again in plain torch on a whole model's logits, in float64."""

from __future__ import annotations

import copy
import math

import pytest
from edgeproof.contracts.errors import UsageError
from edgeproof.unlearn.data.encoding import EncodedText, batch_of
from edgeproof.unlearn.train.losses import (
    FORGET_LOSSES,
    METHODS,
    AnswerScores,
    mean_over_batch,
    method_of,
    still_known,
)
from edgeproof.unlearn.train.losses.forget import ga, npo, simnpo, wga
from edgeproof.unlearn.train.losses.retain import gdr, klr
from edgeproof_tests.models import random_model, tiny_config

pytestmark = pytest.mark.torch

torch = pytest.importorskip("torch")

TEXTS = [
    EncodedText((5, 17, 40, 9, 22, 31), 4),
    EncodedText((8, 3, 77, 12), 3),
    EncodedText((60, 61, 62, 63, 64, 65, 66, 67), 2),
]


@pytest.fixture(scope="module")
def model():
    return random_model(tiny_config("llama"), seed=1).double()


@pytest.fixture(scope="module")
def unsure(model):
    """A model whose tokens cost a few nat each, as a real one's; the random model's cost fifty."""
    flat = copy.deepcopy(model)
    with torch.no_grad():
        flat.get_output_embeddings().weight *= 0.05
    return flat


@pytest.fixture(scope="module")
def reference_model():
    return random_model(tiny_config("llama"), seed=2).double()


def plain_logprobs(model, text):
    """log π(token) of the answer, from the logits of the text alone: no padding, no gathering, no masks."""
    logits = model(torch.tensor([text.ids])).logits[0]
    rows = [
        torch.log_softmax(logits[position - 1], dim=0)[text.ids[position]]
        for position in range(text.answer_start, len(text.ids))
    ]
    return torch.stack(rows)


def plain_distributions(model, text):
    """log π over the vocabulary at the positions that predict the answer, [tokens, vocabulary]."""
    logits = model(torch.tensor([text.ids])).logits[0]
    return torch.log_softmax(logits[text.answer_start - 1 : len(text.ids) - 1], dim=1)


def scores_of(model, reference, distributions=None, texts=TEXTS):
    from edgeproof.unlearn.train.scoring import score

    return score(model, batch_of(texts, "cpu"), reference, distributions)


TOKENS = sum(len(text.ids) - text.answer_start for text in TEXTS)


@pytest.fixture(scope="module")
def reference(reference_model):
    with torch.no_grad():
        return torch.stack([plain_logprobs(reference_model, text).sum() for text in TEXTS])


@pytest.fixture(scope="module")
def distributions(reference_model):
    with torch.no_grad():
        return torch.cat([plain_distributions(reference_model, text) for text in TEXTS])


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters()}


def assert_same(model, ours, theirs):
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6, abs=1e-6)
    found, expected = gradients(model, ours), gradients(model, theirs)
    for name, gradient in expected.items():
        scale = gradient.abs().max().item()
        assert scale > 0, name
        assert (found[name] - gradient).abs().max().item() <= 1e-6 * min(1.0, scale), name


@pytest.mark.parametrize("beta", [0.05, 0.1, 1.0])
def test_npo_and_its_gradients_equal_the_formula_of_the_paper(model, reference, beta):
    ours = npo(scores_of(model, reference), beta).mean()
    ratios = torch.stack([plain_logprobs(model, text).sum() for text in TEXTS]) - reference
    theirs = -(2 / beta) * torch.log(1 / (1 + torch.exp(beta * ratios.double()))).mean()
    assert_same(model, ours, theirs)


def test_npo_starts_as_gradient_ascent_on_the_answers(model):
    own = torch.stack([plain_logprobs(model, text).sum() for text in TEXTS]).detach()
    ours = gradients(model, npo(scores_of(model, own), 0.1).mean())
    ascent = gradients(model, torch.stack([plain_logprobs(model, text).sum() for text in TEXTS]).mean())
    for name, gradient in ascent.items():
        assert torch.allclose(ours[name], gradient, rtol=1e-4, atol=1e-6 * gradient.abs().max().item()), name


LONG = [EncodedText(tuple(torch.randint(90, (120,), generator=torch.Generator().manual_seed(3)).tolist()), 1), TEXTS[1]]
"""A text of 119 tokens beside an answer of one."""


@pytest.mark.parametrize("beta", [0.5, 2.5, 4.5])
@pytest.mark.parametrize("texts", [TEXTS, LONG], ids=["answers", "long text"])
def test_simnpo_and_its_gradients_equal_the_formula_of_the_paper(unsure, texts, beta):
    ours = simnpo(scores_of(unsure, torch.zeros(len(texts)), texts=texts), beta).mean()
    means = [plain_logprobs(unsure, text).sum() / (len(text.ids) - text.answer_start) for text in texts]
    theirs = (2 / beta) * torch.stack([torch.log1p(torch.exp(beta * mean)) for mean in means]).mean()
    assert_same(unsure, ours, theirs)


def test_simnpo_pulls_at_every_text_alike_whatever_its_length():
    """NPO's pull at a text stops once its tokens have lost little each; SimNPO's depends on the loss per token."""

    def pulls(loss, beta, per_token):
        logprobs = torch.full((2, 200), -3.0, dtype=torch.float64, requires_grad=True)
        mask = torch.ones(2, 200, dtype=torch.bool)
        mask[1, 1:] = False
        reference = (logprobs.detach() + per_token).mul(mask).sum(dim=1)
        loss(AnswerScores(logprobs, mask, reference), beta).sum().backward()
        return logprobs.grad.sum(dim=1).tolist()

    long, short = pulls(simnpo, 2.5, 0.5)
    assert long == pytest.approx(short, rel=1e-9)
    long, short = pulls(npo, 0.1, 0.5)
    assert long / 200 < 1e-3 * short


@pytest.mark.parametrize("beta", [0.1, 0.5])
def test_what_is_left_of_npos_pull_is_what_its_gradient_weighs(beta):
    logprobs = torch.tensor([[-0.2, -0.7, -1.1], [-3.0, -2.0, -0.5]], dtype=torch.float64, requires_grad=True)
    reference = torch.tensor([-0.4, -0.1], dtype=torch.float64)
    scores = AnswerScores(logprobs, torch.ones(2, 3, dtype=torch.bool), reference)
    npo(scores, beta).sum().backward()
    left = FORGET_LOSSES["npo"].left(scores.sums.detach(), reference, beta)
    assert torch.allclose(logprobs.grad, left.unsqueeze(1).expand(2, 3), rtol=1e-12)
    assert [name for name, loss in FORGET_LOSSES.items() if loss.left is not None] == ["npo"]


@pytest.mark.parametrize("beta", [0.5, 1.0, 5.0])
def test_wga_and_its_gradients_equal_the_formula_of_the_paper(unsure, reference, beta):
    ours = mean_over_batch(wga(scores_of(unsure, reference), beta), TOKENS)
    logprobs = torch.cat([plain_logprobs(unsure, text) for text in TEXTS])
    weights = torch.tensor([math.exp(value) ** beta for value in logprobs.tolist()], dtype=torch.float64)
    assert_same(unsure, ours, (weights * logprobs).sum() / TOKENS)


def test_a_loss_says_whether_it_reads_the_base(unsure, reference):
    for loss in FORGET_LOSSES.values():
        asked = scores_of(unsure, reference)
        found = [
            loss.compute(asked._replace(reference=other), loss.beta or 0.0) for other in (reference, reference + 1)
        ]
        assert torch.equal(*found) is not loss.reference, loss.name
        assert found[0].dim() == (2 if loss.per_token else 1), loss.name


def test_gdr_and_its_gradients_equal_the_cross_entropy_of_transformers(model, reference):
    ours = mean_over_batch(gdr(scores_of(model, reference)), TOKENS)
    longest = max(len(text.ids) for text in TEXTS)
    ids = torch.tensor([[*text.ids, *[0] * (longest - len(text.ids))] for text in TEXTS])
    labels = torch.full_like(ids, -100)
    for row, text in enumerate(TEXTS):
        labels[row, text.answer_start : len(text.ids)] = torch.tensor(text.ids[text.answer_start :])
    assert_same(model, ours, model(ids, labels=labels).loss)


def test_ga_and_its_gradients_are_those_of_the_negated_cross_entropy(model, reference):
    ours = mean_over_batch(ga(scores_of(model, reference), 0.1), TOKENS)
    theirs = torch.cat([plain_logprobs(model, text) for text in TEXTS]).mean()
    assert_same(model, ours, theirs)


def test_klr_and_its_gradients_equal_the_sum_over_the_vocabulary(model, reference, distributions):
    ours = mean_over_batch(klr(scores_of(model, reference, distributions)), TOKENS)
    found = torch.cat([plain_distributions(model, text) for text in TEXTS])
    theirs = (distributions.exp() * (distributions - found)).sum(dim=1).mean()
    assert ours.item() > 0.1
    assert_same(model, ours, theirs)


def test_klr_equals_the_divergence_of_torchs_distributions(model, reference, distributions):
    found = torch.cat([plain_distributions(model, text) for text in TEXTS])
    categorical = torch.distributions.Categorical
    theirs = torch.distributions.kl_divergence(categorical(logits=distributions), categorical(logits=found))
    ours = scores_of(model, reference, distributions)
    assert torch.allclose(ours.divergence[ours.mask], theirs, rtol=1e-9, atol=1e-9)


def test_klr_is_zero_and_without_gradient_where_the_model_is_the_reference(reference_model, reference, distributions):
    loss = mean_over_batch(klr(scores_of(reference_model, reference, distributions)), TOKENS)
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    assert max(gradient.abs().max().item() for gradient in gradients(reference_model, loss).values()) < 1e-5


def test_a_text_beyond_the_hinge_gives_no_gradient_and_the_others_keep_theirs(model, reference):
    scores = scores_of(model, reference)
    nll = scores.nll.tolist()
    hinge = sum(sorted(nll)[1:]) / 2
    counts = still_known(scores, hinge)
    assert counts.tolist() == [value < hinge for value in nll]
    assert int(counts.sum()) == 2
    ours = mean_over_batch(npo(scores, 0.1), 3, counts)
    kept = [index for index in range(3) if counts[index]]
    ratios = torch.stack([plain_logprobs(model, TEXTS[i]).sum() - reference[i] for i in kept])
    theirs = (-(2 / 0.1) * torch.nn.functional.logsigmoid(-0.1 * ratios)).sum() / 3
    assert_same(model, ours, theirs)


def test_a_text_beyond_the_hinge_leaves_ga_the_other_texts_tokens(model, reference):
    scores = scores_of(model, reference)
    hinge = sum(sorted(scores.nll.tolist())[1:]) / 2
    counts = still_known(scores, hinge)
    assert int(counts.sum()) == 2
    ours = mean_over_batch(ga(scores, 0.1), TOKENS, counts)
    kept = [plain_logprobs(model, TEXTS[index]).sum() for index in range(3) if counts[index]]
    assert_same(model, ours, torch.stack(kept).sum() / TOKENS)


def test_without_a_hinge_all_texts_count(reference):
    scores = AnswerScores(torch.full((3, 2), -50.0), torch.ones(3, 2, dtype=torch.bool), reference)
    assert still_known(scores, None).all()
    assert not still_known(scores, 5.0).any()


def test_an_answer_that_comes_out_counts_whatever_it_costs_per_token(reference):
    """Answers of two tokens at −50 and of one at −4: beyond a hinge of 3, but the short one comes out."""
    logprobs, mask = torch.tensor([[-50.0, -50.0], [-4.0, 0.0]]), torch.tensor([[True, True], [True, False]])
    scores = AnswerScores(logprobs, mask, reference[:2])
    assert not still_known(scores, 3.0).any()
    assert still_known(scores, 3.0, -5.97).tolist() == [False, True]
    assert still_known(scores, 3.0, -3.0).tolist() == [False, False]


def test_npo_stays_finite_where_the_answer_has_become_impossible():
    logprobs = torch.tensor([[-1e4], [-1e-3]], requires_grad=True)
    scores = AnswerScores(logprobs, torch.ones(2, 1, dtype=torch.bool), torch.tensor([-1e-3, -1e4]))
    losses = npo(scores, 0.1)
    losses.sum().backward()
    assert losses[0].item() == pytest.approx(0.0, abs=1e-6)
    assert losses[1].item() == pytest.approx(2 * 1e4, rel=1e-3)
    assert logprobs.grad.isfinite().all()


def test_an_unknown_method_names_those_there_are():
    assert (
        tuple(f"{forget}+{retain}" for forget in ("ga", "npo", "simnpo", "wga") for retain in ("gdr", "klr")) == METHODS
    )
    with pytest.raises(UsageError, match="no such method: 'npo'") as caught:
        method_of("npo")
    assert "npo+gdr" in caught.value.next_step
