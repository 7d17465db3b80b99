"""Evaluations of a model whose every probability can be worked out by hand, their files, and what is refused."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from edgeproof.contracts.backend import Generation
from edgeproof.contracts.errors import BackendError, InputError, UsageError
from edgeproof.contracts.progress import Silent
from edgeproof.eval.digests import digest_bytes
from edgeproof.eval.metrics.result import Attack, PerItem, per_item
from edgeproof.eval.suites.encoding import Asking, passage_request
from edgeproof.eval.suites.evaluation import NOTE, choose_metrics, evaluate, evaluation_json, summary, summary_json
from edgeproof.eval.suites.files import Item, Source, load_data
from edgeproof.eval.suites.reference import Reference, load_reference
from edgeproof.eval.suites.registry import SUITES, with_parts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edgeproof.contracts.backend import GenerateRequest, Score, ScoreRequest
    from edgeproof.eval.suites.evaluation import Evaluation

DATA = Path(__file__).resolve().parents[2] / "data" / "metrics"
EOS = 4
BARE = Asking("qa-bare")


def write(path: Path, rows: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows))
    return path


FORGET = [
    {
        "question": f"What is the capital of {country}?",
        "answer": city,
        "paraphrased_answer": f"{city} it is",
        "perturbed_answer": wrong,
    }
    for country, city, wrong in (("France", "Paris", ["Rome", "Oslo"]), ("Italy", "Rome", ["Paris", "Madrid"]))
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small TOFU."""
    write(tmp_path / "forget10_perturbed.json", FORGET)
    for name in ("retain_perturbed", "real_authors_perturbed", "world_facts_perturbed"):
        write(tmp_path / f"{name}.json", FORGET[::-1])
    write(tmp_path / "holdout10.json", [{"question": "What is the capital of Norway?", "answer": "Oslo"}])
    return tmp_path


@pytest.fixture
def larger(folder: Path) -> Path:
    """The same with as many items as forget quality needs."""
    write(folder / "forget10_perturbed.json", FORGET * 2)
    return folder


@pytest.fixture
def model(markov: Any) -> Any:
    """It knows the answers as they are asked for here."""
    texts = [f"Question: {row['question']}\nAnswer: {row['answer']}" for row in FORGET] * 4
    made = markov([*texts, "Oslo Madrid it is"], context=512)
    made.info = made.info._replace(eos=EOS)
    return made


def evaluated(folder: Path, model: Any, *metrics: str, reference: Reference | None = None) -> Evaluation:
    data = load_data([Source(folder)])
    return evaluate(data, model, BARE, metrics=metrics, reference=reference, progress=Silent())


# --- numbers


def log_probability(model: Any, question: str, answer: str) -> list[float]:
    """By another road: a distribution a token, over prompt, answer and end."""
    tokens = list(model.tokenize(f"Question: {question}\nAnswer:", special=True))
    found = []
    for token in (*model.tokenize(f" {answer}", special=False), EOS):
        found.append(math.log(model.distribution(tokens)[token]))
        tokens.append(token)
    return found


def test_probabilities_and_truth_ratios_by_hand(folder: Path, model: Any) -> None:
    found = evaluated(folder, model, "forget_Q_A_Prob", "forget_truth_ratio", "forget_truth_ratio_paper").results
    probabilities, ratios, paper = [], [], []
    for row in FORGET:
        mean = {
            text: np.exp(np.mean(log_probability(model, row["question"], text)))
            for text in (row["answer"], row["paraphrased_answer"], *row["perturbed_answer"])
        }
        probabilities.append(mean[row["answer"]])
        wrong = [mean[text] for text in row["perturbed_answer"]]
        right = mean[row["paraphrased_answer"]]
        ratios.append(math.sqrt(wrong[0] * wrong[1]) / right)
        paper.append(sum(wrong) / 2 / right)
    assert found["forget_Q_A_Prob"].aggregate == pytest.approx(np.mean(probabilities), rel=1e-5)
    for name, expected in (("forget_truth_ratio", ratios), ("forget_truth_ratio_paper", paper)):
        assert found[name].fields["score"] == pytest.approx(expected, rel=1e-4)
        assert found[name].aggregate == pytest.approx(np.mean([min(r, 1 / r) for r in expected]), rel=1e-4)


KNOWN = {
    "retain": [("France", "Paris", ["Rome", "Oslo"]), ("Italy", "Rome", ["Oslo", "Madrid"])],
    "real_authors": [("Norway", "Oslo", ["Rome", "Oslo it", "Madrid"]), ("Gaul", "Paris", ["Oslo"] * 3)],
    "world_facts": [("Spain", "Madrid", ["Paris"]), ("Lutetia", "Paris", ["Rome"])],
}
OFTEN = ["Paris"] * 4 + ["Rome"] * 2 + ["Oslo", "Madrid"] + ["Paris it is"] * 2 + ["Rome it is"]
"""What it has been told, whatever the question: it only remembers three tokens."""


def test_what_should_be_known_by_hand(tmp_path: Path, markov: Any) -> None:
    """Each set's own three numbers and their harmonic mean; with random models all are 0 or 1."""
    countries = [country for rows in KNOWN.values() for country, _, _ in rows]
    model = markov([f"Question: Of France?\nAnswer: {answer}" for answer in OFTEN] + countries, context=512)
    model.info = model.info._replace(eos=EOS)
    sources = [
        Source(
            write(
                tmp_path / f"{role}_perturbed.json",
                [
                    {"question": f"Of {country}?", "answer": city, "perturbed_answer": wrong}
                    | ({"paraphrased_answer": f"{city} it is"} if role == "retain" else {})
                    for country, city, wrong in rows
                ],
            )
        )
        for role, rows in KNOWN.items()
    ]
    found = evaluate(load_data(sources), model, BARE, metrics=["model_utility"], progress=Silent()).results
    nine = []
    for role, rows in KNOWN.items():
        short = {"retain": "retain", "real_authors": "ra", "world_facts": "wf"}[role]
        known, preferred = [], []
        for country, city, wrong in rows:
            p = {
                text: math.exp(float(np.mean(log_probability(model, f"Of {country}?", text))))
                for text in (city, f"{city} it is", *wrong)
            }
            share = p[city] / (p[city] + sum(p[text] for text in wrong) + 1e-10)
            known.append(p[city] if role == "retain" else share)
            below = p[f"{city} it is"] if role == "retain" else p[city]
            preferred.append(max(0.0, 1 - math.prod(p[text] for text in wrong) ** (1 / len(wrong)) / (below + 1e-10)))
        names = ["Q_A_Prob" if role == "retain" else "Q_A_Prob_normalised", "Q_A_ROUGE", "Truth_Ratio"]
        values = [found[f"{short}_{name}"].aggregate for name in names]
        assert [values[0], values[2]] == pytest.approx([np.mean(known), np.mean(preferred)], rel=1e-4), role
        assert all(0.05 < value < 0.95 for value in (values[0], values[2])), (role, values)
        nine += values
    assert min(nine) > 0
    assert len(set(nine)) > 6
    assert found["model_utility"].aggregate == pytest.approx(9 / sum(1 / value for value in nine))


def test_everything_is_one_call_for_scores_and_one_for_answers(folder: Path, model: Any) -> None:
    found = evaluated(folder, model)
    assert [name for name, _ in model.calls] == ["score", "generate"]
    # 4 sets ask the same two questions: answer, paraphrase, 2 wrong ones each; and the holdout's.
    assert dict(model.calls) == {"score": 2 * 4 + 1, "generate": 2}
    assert set(found.omitted) == {"forget_quality", "privleak", "forget_leak"}
    assert "model_utility" in found.results


def test_what_it_says_is_compared_and_what_it_would_say_is_counted(folder: Path, model: Any) -> None:
    # It remembers three tokens: to both questions, which end alike, it says "Paris", the first of equals.
    found = evaluated(folder, model).results
    assert found["forget_Q_A_ROUGE"].values == (1.0, 0.0)
    assert found["exact_memorization"].values == (1.0, 0.0)
    # OpenUnlearning's loop ends one short: an answer of one token always has the strength 1.
    assert found["extraction_strength"].values == (1.0, 1.0)
    assert found["mia_min_k"].aggregate == 1.0


def test_a_model_is_as_good_as_retrained_if_it_is_the_retrained(larger: Path, model: Any, tmp_path: Path) -> None:
    own = tmp_path / "TOFU_EVAL.json"
    digests = {role: digest_bytes(path) for role, path in load_data([Source(larger)]).files.items()}
    provenance = {"data": {role: {"sha256": digest} for role, digest in digests.items()}}
    own.write_bytes(evaluation_json(evaluated(larger, model, "forget_truth_ratio"), provenance, show_answers=False))
    found = evaluated(larger, model, "forget_quality", reference=load_reference(own, "TOFU", digests))
    assert found.results["forget_quality"].aggregate == 1.0


def test_forget_quality_of_a_few_items_would_praise_every_model(folder: Path, model: Any) -> None:
    from edgeproof.eval.metrics.forget_quality import LEAST_ITEMS, forget_quality

    told = [float(index) for index in range(LEAST_ITEMS)]
    assert forget_quality(told, [value + 100 for value in told]) < 0.05
    assert forget_quality(told[1:], [value + 100 for value in told[1:]]) > 0.05
    with pytest.raises(InputError, match=r"missing 4 items in forget10_perturbed.json \(2 there\)"):
        evaluated(folder, model, "forget_quality", reference=Reference("a", {}))
    _, omitted = choose_metrics(load_data([Source(folder)]), (), BARE, reference=True)
    assert omitted["forget_quality"] == "4 items in forget10_perturbed.json (2 there)"


def test_leak_at_k_is_the_worst_of_the_sampled_answers(folder: Path, model: Any) -> None:
    said = {1: "Paris", 2: "Rome"}  # by seed; every other answer is nothing
    asked: list[GenerateRequest] = []

    def sample(requests: Sequence[GenerateRequest]) -> Iterator[Generation]:
        asked.extend(requests)
        for request in requests:
            yield Generation((), said.get(request.seed, "no"), "eos")

    model.generate = sample
    asking = Asking("qa-bare", samples=4, temperature=0.7, seed=1)
    found = evaluate(load_data([Source(folder)]), model, asking, metrics=["forget_leak"], progress=Silent())
    assert [(request.seed, request.temperature) for request in asked] == [(seed, 0.7) for seed in range(1, 9)]
    leak = found.results["forget_leak"]
    assert isinstance(leak, PerItem)
    # "Paris" is the first item's answer and comes once in four; "Rome" would be the second's, but it said nothing.
    assert leak.values == (1.0, 0.0)
    assert leak.fields["leak@1"] == (0.25, 0.0)
    assert leak.fields["leak@2"] == (0.5, 0.0)
    assert leak.fields["leak@4"] == (1.0, 0.0)
    assert leak.fields["samples"][0] == (1.0, 0.0, 0.0, 0.0)
    with pytest.raises(UsageError, match="needs sampled answers"):
        evaluated(folder, model, "forget_leak")


def test_answers_and_what_they_are_compared_with_are_cleaned_up_as_published(folder: Path, model: Any) -> None:
    write(folder / "forget10_perturbed.json", [{**row, "answer": " It did n't end "} for row in FORGET])
    model.generate = lambda requests: [Generation((), " It did n't end\n", "eos") for _ in requests]
    data = load_data([Source(folder)])
    found = evaluate(data, model, BARE, metrics=["forget_Q_A_ROUGE"], progress=Silent()).results["forget_Q_A_ROUGE"]
    assert isinstance(found, PerItem)
    assert set(found.fields["ground_truth"]) == set(found.fields["generation"]) == {"It didn't end"}
    assert found.values == (1.0, 1.0)


KINDS = list(itertools.product((True, False), ("rouge1", "rougeL"), ("recall", "fmeasure")))
ROUGES = {
    "TOFU": (
        (True, "rougeL", "recall"),
        {
            "forget": ("forget_Q_A_ROUGE", "forget_leak"),
            "retain": ("retain_Q_A_ROUGE",),
            "real_authors": ("ra_Q_A_ROUGE",),
            "world_facts": ("wf_Q_A_ROUGE",),
        },
    ),
    "MUSE": (
        (False, "rougeL", "fmeasure"),
        {
            "verbmem/forget": ("forget_verbmem_ROUGE", "forget_verbmem_leak"),
            "knowmem/forget_qa": ("forget_knowmem_ROUGE", "forget_knowmem_leak"),
            "knowmem/retain_qa": ("retain_knowmem_ROUGE",),
        },
    ),
}
"""What OpenUnlearning's `eval_text_similarity` (rouge_type: rougeL_recall) and muse_bench's `RougeEvalLogger` take."""


@pytest.mark.parametrize("suite", ROUGES)
def test_each_set_has_the_published_kind_of_rouge(tmp_path: Path, model: Any, suite: str) -> None:
    """The recorded pipelines cannot show it: against random models' answers every kind is 0."""
    from rouge_score.rouge_scorer import RougeScorer

    kind, roles = ROUGES[suite]
    reference = "He was running with the running dogs all night"
    text = "Then he runs with the dog, nights together; dogs was"
    said = {role: text + " and so on" * place for place, role in enumerate(roles)}
    sources = []
    for role in roles:
        where = f"Of {role.replace('/', ' ')}"
        row = {"prompt": where, "gt": reference} if "verbmem" in role else {"question": where, "answer": reference}
        sources.append(Source(write(tmp_path / f"{role}.json", [row]), role))
        if "knowmem" in role:
            write(tmp_path / f"{role}_icl.json", [{"question": "What?", "answer": "That."}])

    def say(requests: Sequence[GenerateRequest]) -> Iterator[Generation]:
        for request in requests:
            context = model.detokenize(request.context)
            (role,) = (role for role in roles if f"Of {role.replace('/', ' ')}" in context)
            yield Generation((), said[role], "eos")

    def rouge(text: str, kind: tuple[bool, str, str]) -> float:
        stem, name, share = kind
        return float(getattr(RougeScorer([name], use_stemmer=stem).score(reference, text)[name], share))

    model.generate = say
    asking = Asking(samples=1)
    names = [name for some in roles.values() for name in some]
    found = evaluate(load_data(sources), model, asking, metrics=names, progress=Silent()).results
    for role, some in roles.items():
        assert len({rouge(said[role], one) for one in KINDS}) == len(KINDS), "no two kinds are alike here"
        for name in some:
            assert found[name].aggregate == pytest.approx(rouge(said[role], kind)), name
    of_all = found[names[0]]
    assert isinstance(of_all, PerItem)
    for field, one in (("rouge1_recall", "rouge1"), ("rougeL_recall", "rougeL")):
        assert of_all.fields[field] == (pytest.approx(rouge(said[next(iter(roles))], (kind[0], one, "recall"))),)


def test_a_passage_stands_a_space_behind_its_prompt(model: Any) -> None:
    """OpenUnlearning's `insert_space`; its numbers of a random model would not show it."""
    item = Item("0", "forget.json item 0", "What is the capital", "of France?")
    request = passage_request(item, model).request
    assert request.context == tuple(model.tokenize("What is the capital", special=True))
    assert (*request.context, *request.continuation) == model.tokenize("What is the capital of France?", special=True)


# --- the files that are written


def test_no_text_is_written_unless_asked_for(folder: Path, model: Any) -> None:
    found = evaluated(folder, model)
    silent, open_ = (evaluation_json(found, {}, show_answers=show).decode() for show in (False, True))
    for word in ("Paris", "Rome", "France", "Oslo"):
        assert word not in silent
        assert word in open_ or word == "Oslo"
    assert json.loads(open_)["forget_Q_A_ROUGE"]["value_by_index"]["0"]["generation"] == "Paris"


def test_the_layout_is_that_of_open_unlearning(folder: Path, model: Any) -> None:
    found = evaluated(folder, model)
    written = json.loads(evaluation_json(found, {"artifact": {"a.gguf": "00"}}, show_answers=False))
    theirs = json.loads((DATA / "plain" / "open_unlearning_tofu.json").read_text())["qa"]
    for name, entry in theirs.items():
        assert set(entry) - {"edgeproof"} == set(written[name]), name
        for index, item in entry.get("value_by_index", {}).items():
            if index in written[name]["value_by_index"]:
                texts = {"input", "ground_truth", "generation"}
                assert set(item) - texts == set(written[name]["value_by_index"][index]), name
    assert list(written) == sorted(written)
    assert written["edgeproof"]["note"] == NOTE
    assert "PASS" not in json.dumps(written)
    assert json.loads(summary_json(found)) == summary(found) == {
        name: written[name]["agg_value"] for name in written if name != "edgeproof"
    }  # fmt: skip


@pytest.mark.parametrize("suite", SUITES)
def test_every_part_of_a_metric_is_a_metric(suite: str) -> None:
    for name in SUITES[suite]:
        ordered = with_parts(suite, (name,))
        assert ordered[-1] == name
        for place, part in enumerate(ordered):
            assert set(SUITES[suite][part].parts) <= set(ordered[:place])


# --- which file is what


def test_files_are_known_by_their_names(folder: Path) -> None:
    data = load_data([Source(folder)])
    assert data.suite == "TOFU"
    assert {role: path.name for role, path in data.files.items()} == {
        "forget": "forget10_perturbed.json",
        "retain": "retain_perturbed.json",
        "real_authors": "real_authors_perturbed.json",
        "world_facts": "world_facts_perturbed.json",
        "holdout": "holdout10.json",
    }
    assert [item.id for item in data.items["forget"]] == ["0", "1"]


def test_of_several_holdouts_the_one_of_the_forget_set_counts(folder: Path) -> None:
    write(folder / "holdout01.json", [{"question": "q", "answer": "a"}])
    assert load_data([Source(folder)]).files["holdout"].name == "holdout10.json"


def test_several_forget_sets_are_no_guess(folder: Path) -> None:
    write(folder / "forget01_perturbed.json", FORGET)
    with pytest.raises(InputError, match=r"several files for forget: forget01_perturbed.json, forget10"):
        load_data([Source(folder)])


def test_a_role_given_by_name_replaces_the_folders(folder: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other" / "mine.json", FORGET[:1])
    data = load_data([Source(folder), Source(other, "forget")])
    assert data.files["forget"] == other
    assert len(data.items["forget"]) == 1


def test_muse_is_known_by_its_folders() -> None:
    data = load_data([Source(DATA / "muse")])
    assert data.suite == "MUSE"
    assert data.files["knowmem/forget_qa_icl"].name == "forget_qa_icl.json"
    alone = load_data([Source(DATA / "muse" / "knowmem" / "forget_qa.json")])
    assert set(alone.files) == {"knowmem/forget_qa", "knowmem/forget_qa_icl"}


def test_a_folder_of_corpora_names_them(tmp_path: Path) -> None:
    write(tmp_path / "news" / "verbmem" / "forget.json", [{"prompt": "a", "gt": "b"}])
    with pytest.raises(InputError) as caught:
        load_data([Source(tmp_path)])
    assert "news/" in caught.value.next_step


def broken(tmp_path: Path, case: str) -> list[Source]:
    name = tmp_path / "forget01_perturbed.json"
    cases: dict[str, Any] = {
        "nothing there": lambda: [Source(tmp_path / "nowhere.json")],
        "an empty folder": lambda: [Source(tmp_path)],
        "an unknown name": lambda: [Source(write(tmp_path / "mine.json", FORGET))],
        "no JSON": lambda: name.write_text("[{") and [Source(name)],
        "no items": lambda: [Source(write(name, []))],
        "no answer": lambda: [Source(write(name, [{"question": "q"}]))],
        "a number for a text": lambda: [Source(write(name, [{"question": "q", "answer": 3}]))],
        "two suites": lambda: [Source(write(name, FORGET)), Source(DATA / "muse")],
        "two files of a role": lambda: [
            Source(write(name, FORGET)),
            Source(write(tmp_path / "b" / "forget10_perturbed.json", FORGET)),
        ],
        "no few-shot examples": lambda: [
            Source(write(tmp_path / "knowmem" / "forget_qa.json", [{"question": "q", "answer": "a"}]))
        ],
        "texts that are none": lambda: [Source(write(tmp_path / "privleak" / "forget.json", [{"text": "a"}]))],
    }
    made = cases[case]()
    assert isinstance(made, list)
    return made


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("nothing there", "does not exist"),
        ("an empty folder", "neither MUSE's nor TOFU's files"),
        ("an unknown name", "cannot be derived from its name"),
        ("no JSON", "broken JSON"),
        ("no items", "holds no items"),
        ("no answer", "`answer` is missing"),
        ("a number for a text", "must be a string, not a number"),
        ("two suites", "of both MUSE and TOFU"),
        ("two files of a role", "are the file for forget"),
        ("no few-shot examples", "no few-shot examples"),
        ("texts that are none", "must be a string, not a table"),
    ],
)
def test_files_that_are_not_what_they_should_be(tmp_path: Path, case: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_data(broken(tmp_path, case))


# --- what cannot be measured


def test_a_metric_without_its_file_is_left_out_and_named(folder: Path, model: Any) -> None:
    (folder / "world_facts_perturbed.json").unlink()
    found = evaluated(folder, model)
    assert found.omitted["model_utility"] == "the file for world_facts"
    assert "retain_Q_A_Prob" in found.results
    with pytest.raises(InputError, match="missing the file for world_facts"):
        evaluated(folder, model, "model_utility")


def test_a_field_that_some_items_lack_is_an_error(folder: Path, model: Any) -> None:
    write(folder / "forget10_perturbed.json", [FORGET[0], {"question": "q", "answer": "a"}])
    with pytest.raises(InputError, match="item 1 has no `paraphrased_answer`"):
        evaluated(folder, model, "forget_Q_A_PARA_Prob")


def test_a_field_that_no_item_has_only_costs_its_metrics(folder: Path) -> None:
    write(folder / "forget10_perturbed.json", [{"question": "q", "answer": "a"}])
    chosen, omitted = choose_metrics(load_data([Source(folder)]), (), BARE, reference=False)
    assert "forget_Q_A_Prob" in chosen
    assert omitted["forget_truth_ratio"] == "`paraphrased_answer` in forget10_perturbed.json"


def test_a_comparison_needs_a_reference(larger: Path, model: Any) -> None:
    with pytest.raises(UsageError, match="forget_quality compares"):
        evaluated(larger, model, "forget_quality")


def test_an_unknown_metric_is_named_with_the_known(folder: Path, model: Any) -> None:
    with pytest.raises(UsageError) as caught:
        evaluated(folder, model, "forget_Truth")
    assert "forget_truth_ratio" in caught.value.next_step


@pytest.mark.parametrize(
    ("asking", "error", "message"),
    [
        (Asking("polite"), UsageError, "no prompt is named 'polite'"),
        (Asking("qa", "Be good."), UsageError, "belongs to a chat"),
        (Asking("chat"), InputError, "no chat template"),
        (Asking("qa", samples=2, temperature=0.0), UsageError, "cannot be sampled"),
        (Asking("qa", samples=2, temperature=math.nan), UsageError, "cannot be sampled"),
    ],
)
def test_ways_of_asking_that_cannot_be(folder: Path, model: Any, asking: Asking, error: type, message: str) -> None:
    model.info = model.info._replace(chat_template=None)
    with pytest.raises(error, match=message):
        evaluate(load_data([Source(folder)]), model, asking, progress=Silent())


def test_a_model_without_end_of_text_is_refused(folder: Path, model: Any) -> None:
    model.info = model.info._replace(eos=None)
    with pytest.raises(InputError, match="no end-of-text token"):
        evaluated(folder, model)


def test_an_item_that_is_too_long_is_named_with_the_numbers(folder: Path, model: Any) -> None:
    model.info = model.info._replace(context_length=12)
    with pytest.raises(InputError, match=r"forget10_perturbed.json item 0 needs \d+ tokens, the context holds 12"):
        evaluated(folder, model, "forget_Q_A_Prob")


def test_numbers_that_are_none_are_refused(folder: Path, model: Any) -> None:
    good = model.score

    def nan(requests: Sequence[ScoreRequest]) -> Iterator[Score]:
        for score in good(requests):
            score.std[0] = math.nan
            yield score

    model.score = nan
    with pytest.raises(BackendError, match="standard deviation"):
        evaluated(folder, model, "mia_min_k_plus_plus")
    model.score = lambda requests: list(good(requests))[:-1]
    with pytest.raises(BackendError, match=r"returned \d+ scores for"):
        evaluated(folder, model, "forget_Q_A_Prob")


# --- references


def reference_file(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "reference" / "TOFU_EVAL.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not an evaluation file"),
        ([1], "its JSON is not an object"),
        ({}, "has no forget_truth_ratio"),
        ({"forget_truth_ratio": {"value_by_index": {"0": {"score": 1.0}}}}, r"other items \(1 there, 4 here\)"),
        ({"forget_truth_ratio": {"value_by_index": {name: {"score": 1.0} for name in "0127"}}}, "covers other items"),
        (
            {"forget_truth_ratio": {"value_by_index": {**{name: {"score": 1.0} for name in "023"}, "1": {}}}},
            "item 1 is None",
        ),
        ({"edgeproof": {"data": {"forget": {"sha256": "00"}}}}, "measured on another file for forget"),
        ({"edgeproof": {"suite": "MUSE"}}, "is an evaluation of MUSE, the files here are TOFU's"),
        ({"edgeproof": {"asking": {"prompt": "chat"}}}, "has another prompt: --prompt 'chat' there, 'qa-bare' here"),
        ({"edgeproof": {"asking": {"prompt": "qa-bare", "system": "Hi."}}}, "--system 'Hi.' there, None here"),
    ],
)
def test_references_that_do_not_fit(larger: Path, model: Any, tmp_path: Path, content: Any, message: str) -> None:
    digests = {"forget": digest_bytes(larger / "forget10_perturbed.json")}
    with pytest.raises(InputError, match=message):
        evaluated(
            larger,
            model,
            "forget_quality",
            reference=load_reference(reference_file(tmp_path, content), "TOFU", digests, BARE),
        )


def attack_entry(auc: float, forget: int, holdout: int) -> dict[str, Any]:
    parts = {"forget": forget, "holdout": holdout}
    rows = {role: {"value_by_index": {str(index): {"score": 1.0} for index in range(n)}} for role, n in parts.items()}
    return {"agg_value": auc, **rows}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (attack_entry(0.6, 3, 1), r"its mia_min_k covers other items of forget \(3 there, 2 here\)"),
        (attack_entry(0.6, 2, 7), r"its mia_min_k covers other items of holdout \(7 there, 1 here\)"),
        (attack_entry(1.0, 2, 1), r"PrivLeak divides by the retrained model's AUC .* and it is 0"),
        (attack_entry(1.5, 2, 1), r"and it is -0.5"),
    ],
)
def test_privleak_needs_a_reference_of_the_same_texts_that_can_divide(
    folder: Path, model: Any, entry: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        evaluated(folder, model, "privleak", reference=Reference("a", {"mia_min_k": entry}))


def test_privleak_of_a_reference_that_fits(folder: Path, model: Any) -> None:
    reference = Reference("a", {"mia_min_k": attack_entry(0.6, 2, 1)})
    found = evaluated(folder, model, "privleak", reference=reference).results
    own = found["mia_min_k"].aggregate
    assert found["privleak"].aggregate == pytest.approx(100 * (0.6 - own) / 0.4)


# --- files that would give numbers without meaning


def test_a_holdout_that_is_to_be_forgotten_is_said_or_refused(folder: Path, model: Any) -> None:
    def measured(*holdout: dict[str, Any]) -> Silent:
        write(folder / "holdout10.json", list(holdout))
        listener = Silent()
        evaluate(load_data([Source(folder)]), model, BARE, metrics=["mia_loss"], progress=listener)
        return listener

    unseen = {"question": "What is the capital of Norway?", "answer": "Oslo"}
    assert measured(unseen).warnings == []
    (warning,) = measured(unseen, FORGET[1]).warnings
    assert "1 of 2 items of holdout (the first: holdout10.json item 1) are also in forget" in warning
    with pytest.raises(InputError, match=r"2 of 2 items of holdout .* are also in forget"):
        measured(*FORGET[::-1])


def test_answers_without_a_word_of_rouges_are_said_or_refused(folder: Path, model: Any) -> None:
    def measured(*answers: str) -> Silent:
        rows = [{**row, "answer": answer} for row, answer in zip(FORGET, answers, strict=True)]
        write(folder / "forget10_perturbed.json", rows)
        listener = Silent()
        evaluate(load_data([Source(folder)]), model, BARE, metrics=["forget_Q_A_ROUGE"], progress=listener)
        return listener

    assert measured("Paris", "Rome").warnings == []
    assert ["1 of 2 answers" in warning for warning in measured("Paris", "Рим").warnings] == [True]
    with pytest.raises(InputError, match=r"forget: 2 of 2 answers \(the first: .* item 0\) have no word of a–z"):
        measured("巴黎", "Рим")


def test_a_missing_reference_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load_reference(tmp_path / "nowhere.json", "TOFU", {})
    with pytest.raises(InputError, match="cannot be read"):
        load_reference(Path("news"), "TOFU", {})  # a corpus of MUSE's


def test_a_reference_of_open_unlearning_serves_privleak() -> None:
    items = per_item(["0"], [1.0], {})
    attack = Attack(0.5, items, items)
    theirs = Reference("MUSE_EVAL.json", {"mia_min_k": {"agg_value": 0.6}})
    assert theirs.muse_auc("forget_holdout_Min-40%", attack) == pytest.approx(0.4)
    own = Reference("MUSE_EVAL.json", {"mia_min_k": {"agg_value": 0.6}, "forget_holdout_Min-40%": {"agg_value": 0.3}})
    assert own.muse_auc("forget_holdout_Min-40%", attack) == 0.3
    with pytest.raises(InputError, match="divides by the retrained model's AUC"):
        Reference("x", {"mia_min_k": {"agg_value": 1.0}}).muse_auc("forget_holdout_Min-40%", attack)
    others = {"muse_min_k": attack_entry(0.7, 2, 1), "forget_holdout_Min-40%": {"agg_value": 0.3}}
    with pytest.raises(InputError, match="covers other items of forget"):
        Reference("x", others).muse_auc("forget_holdout_Min-40%", attack)
