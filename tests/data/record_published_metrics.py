"""Run the authors' own metric code on fixed inputs and record what it gives: tests/data/metrics/*.json.

    python tests/data/record_published_metrics.py --sources DIR --out tests/data/metrics

`DIR` holds checkouts of locuslab/open-unlearning, swj0419/muse_bench, locuslab/tofu and OptimAI-Lab/Leak-k, each named
OWNER+NAME and with a file COMMIT. Needs torch, transformers, datasets, scikit-learn, scipy, rouge-score and omegaconf.
None of the authors' code is part of this project: it is imported from the checkouts, and only numbers are kept.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

import numpy as np

PROMPTS = {
    "qa": {
        "apply_chat_template": False,
        "user_start_tag": "Question: ",
        "user_end_tag": "\n",
        "asst_start_tag": "Answer: ",
        "asst_end_tag": "\n\n",
    },
    "chat": {"apply_chat_template": True, "system_prompt": "You are a helpful assistant."},
}


def stub(name: str, **attributes: Any) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__dict__.update(attributes)
    sys.modules[name] = module
    return module


def commit(source: Path) -> str:
    return f"{source.name.replace('+', '/')}@{(source / 'COMMIT').read_text().strip()}"


def plain(value: Any) -> Any:
    """JSON of what the code returns, without the prompts; the index becomes a string."""
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items() if key not in {"input", "prompt", "question"}}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value.item() if isinstance(value, np.generic) else value


# --- OpenUnlearning


def open_unlearning(source: Path) -> types.SimpleNamespace:
    """Its metric modules, without what they do not need: hydra's registry, lm-eval, the trainers."""
    root = source / "src"
    sys.path.insert(0, str(root))
    for package in ("evals", "evals.metrics", "data", "evals.metrics.mia"):
        stub(package, __path__=[str(root / package.replace(".", "/"))])
    sys.modules["data"].get_datasets = sys.modules["data"].get_collators = None  # type: ignore[attr-defined]
    load = importlib.import_module
    names = ("memorization", "privacy", "utility", "utils", "mia.loss", "mia.min_k", "mia.min_k_plus_plus", "mia.zlib")
    return types.SimpleNamespace(
        **{name.replace(".", "_"): load(f"evals.metrics.{name}") for name in names},
        auc=load("evals.metrics.mia.utils").mia_auc,
        qa=load("data.qa"),
        pretraining=load("data.pretraining"),
        collators=load("data.collators"),
    )


def tofu(code: types.SimpleNamespace, data: Path, model: Any, tokenizer: Any) -> dict[str, Any]:
    """Every TOFU metric of OpenUnlearning on a few items of each file, asked in two ways."""
    import datasets
    from omegaconf import OmegaConf

    files = {
        "forget": "forget01_perturbed",
        "retain": "retain_perturbed",
        "ra": "real_authors_perturbed",
        "wf": "world_facts_perturbed",
        "holdout": "holdout01",
    }
    rows = {name: json.loads((data / f"{file}.json").read_text()) for name, file in files.items()}
    code.qa.load_hf_dataset = datasets.Dataset.from_list

    def evaluate(prompt: str) -> dict[str, Any]:
        def dataset(name: str, key: str = "answer", *, generate: bool = False) -> Any:
            return code.qa.QADataset(
                {"mapping": rows[name]}, PROMPTS[prompt], tokenizer, answer_key=key, predict_with_generate=generate
            )

        def collator(side: str = "right") -> Any:
            return code.collators.DataCollatorForSupervisedDataset(tokenizer, side, index="index")

        def run(metric: Any, **kwargs: Any) -> Any:
            return metric._metric_fn(model, tokenizer=tokenizer, batch_size=2, **kwargs)

        memory, results = code.memorization, {}
        probability = [
            (name, kind, key)
            for name in ("forget", "retain", "ra", "wf")
            for kind, key in (("", "answer"), ("PARA_", "paraphrased_answer"), ("PERT_", "perturbed_answer"))
            if key in rows[name][0]
        ]
        for name, kind, key in probability:
            results[f"{name}_Q_A_{kind}Prob"] = run(memory.probability, data=dataset(name, key), collators=collator())
        for name in ("forget", "retain", "ra", "wf"):
            generation = OmegaConf.create({"do_sample": False, "max_new_tokens": 200, "use_cache": True})
            results[f"{name}_Q_A_ROUGE"] = run(
                memory.rouge,
                data=dataset(name, generate=True),
                collators=collator("left"),
                generation_args=generation,
                rouge_type="rougeL_recall",
            )
        for name, right, label, aggregator in (
            ("forget", "PARA_", "truth_ratio", "closer_to_1_better"),
            ("retain", "PARA_", "Truth_Ratio", "true_better"),
            ("ra", "", "Truth_Ratio", "true_better"),
            ("wf", "", "Truth_Ratio", "true_better"),
        ):
            parts = {"correct": results[f"{name}_Q_A_{right}Prob"], "wrong": results[f"{name}_Q_A_PERT_Prob"]}
            results[f"{name}_{label}"] = run(memory.truth_ratio, pre_compute=parts, aggregator=aggregator)
        for name in ("ra", "wf"):
            parts = {"correct": results[f"{name}_Q_A_Prob"], "wrong": results[f"{name}_Q_A_PERT_Prob"]}
            results[f"{name}_Q_A_Prob_normalised"] = run(memory.probability_w_options, pre_compute=parts)
        nine = ["retain_Q_A_Prob", "retain_Q_A_ROUGE", "retain_Truth_Ratio"]
        nine += [
            f"{name}_{what}" for name in ("ra", "wf") for what in ("Q_A_Prob_normalised", "Q_A_ROUGE", "Truth_Ratio")
        ]
        results["model_utility"] = run(code.utility.hm_aggregate, pre_compute={name: results[name] for name in nine})
        for name in ("exact_memorization", "extraction_strength"):
            results[name] = run(getattr(memory, name), data=dataset("forget"), collators=collator())
        both = {"forget": dataset("forget"), "holdout": dataset("holdout")}
        attacks = {
            "mia_loss": (code.mia_loss.LOSSAttack, {}),
            "mia_min_k": (code.mia_min_k.MinKProbAttack, {"k": 0.4}),
            "mia_min_k_plus_plus": (code.mia_min_k_plus_plus.MinKPlusPlusAttack, {"k": 0.4}),
            "mia_zlib": (code.mia_zlib.ZLIBAttack, {"tokenizer": tokenizer}),
        }
        for name, (attack, options) in attacks.items():
            results[name] = code.auc(attack, model, both, collator(), 2, **options)
        return plain(results)

    return {prompt: evaluate(prompt) for prompt in PROMPTS}


def texts(code: types.SimpleNamespace, muse: dict[str, Any], model: Any, tokenizer: Any) -> dict[str, Any]:
    """OpenUnlearning's attacks and memorization on MUSE's kinds of text."""
    import datasets

    code.pretraining.load_hf_dataset = datasets.Dataset.from_list

    def dataset(rows: list[dict[str, str]], **kwargs: Any) -> Any:
        return code.pretraining.CompletionDataset({"mapping": rows}, None, tokenizer, **kwargs)

    collate = code.collators.DataCollatorForSupervisedDataset(tokenizer, "right", index="index")
    both = {name: dataset([{"text": text} for text in muse[f"privleak/{name}"]]) for name in ("forget", "holdout")}
    results = {
        "mia_loss": code.auc(code.mia_loss.LOSSAttack, model, both, collate, 1),
        "mia_min_k": code.auc(code.mia_min_k.MinKProbAttack, model, both, collate, 1, k=0.4),
        "mia_min_k_plus_plus": code.auc(code.mia_min_k_plus_plus.MinKPlusPlusAttack, model, both, collate, 1, k=0.4),
        "mia_zlib": code.auc(code.mia_zlib.ZLIBAttack, model, both, collate, 1, tokenizer=tokenizer),
    }
    passages = dataset(muse["verbmem/forget"], text_key="gt", insert_space=True)
    for name in ("exact_memorization", "extraction_strength"):
        metric = getattr(code.memorization, name)
        results[name] = metric._metric_fn(model, data=passages, collators=collate, batch_size=1)
    return plain(results)


def pure_functions(code: types.SimpleNamespace) -> dict[str, Any]:
    """What needs no model: on numbers made up here."""
    import torch

    random = np.random.default_rng(0)
    min_k = code.mia_min_k.MinKProbAttack.__new__(code.mia_min_k.MinKProbAttack)
    plus = code.mia_min_k_plus_plus.MinKPlusPlusAttack.__new__(code.mia_min_k_plus_plus.MinKPlusPlusAttack)
    texts = []
    for length in (1, 2, 3, 7, 35, 60):
        for share in (0.2, 0.4):
            rows = torch.log_softmax(torch.tensor(random.normal(0, 3, (length, 50))), -1)
            if length == 7:
                rows[3] = torch.log_softmax(torch.tensor([60.0] + [0.0] * 49).double(), -1)  # certain: no spread
            chosen = rows.exp().multinomial(1, generator=torch.Generator().manual_seed(length))[:, 0]
            logprobs = rows[torch.arange(length), chosen]
            min_k.k = plus.k = share
            log, p = rows.numpy(), np.exp(rows.numpy())
            mean = (p * log).sum(-1)
            texts.append({
                "share": share,
                "logprobs": logprobs.tolist(),
                "means": mean.tolist(),
                "stds": np.sqrt((p * (log - mean[:, None]) ** 2).sum(-1)).tolist(),
                "min_k": float(min_k.compute_score(logprobs)),
                "min_k_plus_plus": float(
                    plus.compute_score({"vocab_log_probs": rows, "token_log_probs": logprobs})
                ),
            })  # fmt: skip
    right, wrong = random.gamma(2, 1, 40), random.gamma(3, 1, (40, 5))
    right[0], wrong[1] = 60.0, 60.0  # probabilities below the 1e-10
    parts = {
        "correct": {"value_by_index": {i: {"avg_loss": v, "prob": np.exp(-v)} for i, v in enumerate(right)}},
        "wrong": {"value_by_index": {i: {"avg_loss": v, "prob": np.exp(-v)} for i, v in enumerate(wrong)}},
    }
    ratios = {
        name: code.memorization.truth_ratio._metric_fn(None, pre_compute=parts, aggregator=name)
        for name in ("closer_to_1_better", "true_better")
    }
    options = code.memorization.probability_w_options._metric_fn(None, pre_compute=parts)
    tests = []
    for own, other in ((40, 40), (300, 300), (40, 200)):
        samples = [random.gamma(2, 1, own).tolist(), random.gamma(2.5, 1, other).tolist()]
        logs = [{"value_by_index": {i: {"score": v} for i, v in enumerate(sample)}} for sample in samples]
        found = code.privacy.ks_test._metric_fn(
            None, pre_compute={"forget": logs[0]}, reference_logs={"retain_model_logs": {"retain": logs[1]}}
        )
        tests.append({"own": samples[0], "reference": samples[1], "pvalue": found["agg_value"]})
    leaks = []
    for own, other in ((0.9, 0.5), (0.2, 0.46), (0.5, 1.0)):
        found = code.privacy.privleak._metric_fn(
            None,
            pre_compute={"forget": {"agg_value": own}},
            reference_logs={"retain_model_logs": {"retain": {"agg_value": other}}},
        )
        leaks.append({"auc": own, "retrained": other, "privleak": found["agg_value"]})
    means = [random.uniform(0.01, 1, 9).tolist(), [0.0, 1.0, 0.5]]
    harmonic = [
        code.utility.hm_aggregate._metric_fn(None, pre_compute={i: {"agg_value": v} for i, v in enumerate(row)})
        for row in means
    ]
    return plain({
        "texts": texts,
        "truth_ratio": {"right": right.tolist(), "wrong": wrong.tolist(), **ratios, "options": options},
        "ks_test": tests,
        "privleak": leaks,
        "harmonic_mean": [{"values": row, "mean": one["agg_value"]} for row, one in zip(means, harmonic, strict=True)],
    })  # fmt: skip


# --- TOFU's own code


def tofu_own(source: Path) -> dict[str, Any]:
    """Model utility and forget quality by both of its files, on losses made up here."""
    stub("hydra", main=lambda **_: lambda function: function)
    stub("natsort", natsorted=sorted)
    sys.path.insert(0, str(source))
    random = np.random.default_rng(1)

    def losses(count: int, *, wrong: int) -> dict[str, dict[str, Any]]:
        items = range(count)
        return {
            "avg_gt_loss": {i: float(random.gamma(2, 0.5)) for i in items},
            "avg_paraphrased_loss": {i: float(random.gamma(2, 0.6)) for i in items},
            "average_perturb_loss": {i: random.gamma(3, 0.7, wrong).tolist() for i in items},
            "rougeL_recall": {i: float(random.uniform(0, 1)) for i in items},
        }

    def model() -> dict[str, Any]:
        return {
            "eval_log.json": losses(30, wrong=5),
            "eval_real_world_wo_options.json": losses(12, wrong=3),
            "eval_real_author_wo_options.json": losses(10, wrong=3),
            "eval_log_forget.json": losses(40, wrong=5),
        }

    unlearned, retrained = model(), model()
    leaderboard = importlib.import_module("aggregate_eval_stat")
    sys.modules.pop("utils", None)
    paper = importlib.import_module("utils")
    return plain({
        "unlearned": unlearned,
        "retrained": retrained,
        "aggregate_eval_stat": {
            **leaderboard.get_model_utility(unlearned), **leaderboard.get_forget_quality(unlearned, retrained),
        },
        "utils": {**paper.get_model_utility(unlearned), **paper.get_forget_quality(unlearned, retrained)},
    })  # fmt: skip


# --- muse_bench


def muse_modules() -> list[Any]:
    return [importlib.import_module(f"metrics.{name}") for name in ("knowmem", "verbmem", "privleak", "logger")]


def muse_functions(source: Path) -> dict[str, Any]:
    """Its ROUGE, its cutting, its AUC and its constants, on inputs made up here."""
    sys.path.insert(0, str(source))
    knowmem, _, privleak, logger = muse_modules()
    constants = importlib.import_module("constants")
    found: dict[str, Any] = {}
    rouge = logger.RougeEvalLogger()
    pairs = [
        ("Call me Ishmael. Some years ago", "call me ishmael some years"),
        ("naïve café", "naive cafe"),
        ("running runs", "run run"),
        ("Kuwait's author", "the authors of Kuwait"),
        ("", "something"),
    ]
    for reference, text in pairs:
        rouge.log("", reference, text)
    found["rouge"] = rouge.history
    cuts = ["Paris\n\nQuestion: x", "Paris Question: y", "Paris\nQuestion", "Paris", "", "a\n\nb Question: c"]
    stops = ["\n\n", "\nQuestion", "Question:"]
    found["cut"] = [{"text": text, "cut": knowmem.get_prefix_before_words_occur(text, stops)} for text in cuts]
    random = np.random.default_rng(2)
    groups = [np.round(random.normal(0, 1, 30), 1).tolist(), np.round(random.normal(0.5, 1, 25), 1).tolist()]
    *_, area, _ = privleak.sweep(np.array(groups[0] + groups[1]), np.array([0] * 30 + [1] * 25))
    found["sweep"] = {"forget": groups[0], "holdout": groups[1], "auc": area}
    found["AUC_RETRAIN"] = {
        corpus: constants.AUC_RETRAIN[corpus]["forget_holdout_Min-40%"] for corpus in ("news", "books")
    }
    return plain(found)


def muse_bench(muse: dict[str, Any], model: Any, tokenizer: Any) -> dict[str, Any]:
    """Its VerbMem, KnowMem and PrivLeak on a model."""
    knowmem, verbmem, privleak, _ = muse_modules()
    found: dict[str, Any] = {}
    for name in ("forget", "retain"):
        qa, icl = muse[f"knowmem/{name}_qa"], muse[f"knowmem/{name}_qa_icl"]
        _, log = knowmem.eval(
            model, tokenizer, [q["question"] for q in qa], [q["answer"] for q in qa],
            [q["question"] for q in icl], [q["answer"] for q in icl],
        )  # fmt: skip
        found[f"{name}_knowmem_ROUGE"] = log
    passages = muse["verbmem/forget"]
    _, log = verbmem.eval(model, tokenizer, [p["prompt"] for p in passages], [p["gt"] for p in passages])
    found["forget_verbmem_ROUGE"] = log
    # Its `eval` cannot run as published (it asks a list for its keys): the two functions that it is made of can.
    scores = {
        name: [one["Min-40%"] for one in privleak.eval_data(muse[f"privleak/{name}"], model, tokenizer)]
        for name in ("forget", "holdout")
    }
    labels = np.array([0] * len(scores["forget"]) + [1] * len(scores["holdout"]))
    *_, area, _ = privleak.sweep(np.array(scores["forget"] + scores["holdout"]), labels)
    found["privleak"] = {**scores, "auc": area}
    return plain(found)


# --- Leak@k


def leak_at_k(source: Path) -> list[dict[str, Any]]:
    sys.path.insert(0, str(source / "TOFU" / "eval"))
    code = importlib.import_module("whole_eval")
    cases = [(200, c, k) for c in (0, 1, 10, 199, 200) for k in (1, 2, 16, 128, 200)]
    return [{"n": n, "c": c, "k": k, "leak": code.calculate_pass_at_k(n, c, k)} for n, c, k in cases]


def main() -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    stub("edgeproof_tests", __path__=[str(Path(__file__).resolve().parents[1])])
    models = importlib.import_module("edgeproof_tests.published_models")
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("sources", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    given = parser.parse_args()
    sources = {path.name.split("+")[1]: path for path in given.sources.iterdir()}
    muse_folder = given.out / "muse"
    muse = {
        str(path.relative_to(muse_folder).with_suffix("")): json.loads(path.read_text())
        for path in muse_folder.rglob("*.json")
    }

    def write(name: str, source: Path, record: dict[str, Any]) -> None:
        record = {"source": commit(source), **record}
        (given.out / f"{name}.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")

    source = sources["Leak-k"]
    write("leak_at_k", source, {"cases": leak_at_k(source)})
    source = sources["tofu"]
    write("tofu", source, tofu_own(source))
    source = sources["muse_bench"]
    write("muse_bench", source, muse_functions(source))
    sys.modules.pop("utils", None)
    code = open_unlearning(sources["open-unlearning"])
    write("open_unlearning", sources["open-unlearning"], pure_functions(code))
    for name in models.MODELS:
        with tempfile.TemporaryDirectory() as scratch:
            folder = models.published_model(name, Path(scratch) / name)
            model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval()
            tokenizer = AutoTokenizer.from_pretrained(folder)
            # The transformers that the authors pinned (4.40, 4.45) clean up with any tokenizer, 5.7 and later only so.
            tokenizer.clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output = True
            # transformers 5 returns a dictionary where the authors' code, written for 4, expects ids.
            tokenizer.apply_chat_template = functools.partial(tokenizer.apply_chat_template, return_dict=False)
            write(f"{name}/muse_bench", sources["muse_bench"], muse_bench(muse, model, tokenizer))
            write(f"{name}/open_unlearning_muse", sources["open-unlearning"], texts(code, muse, model, tokenizer))
            found = tofu(code, given.out / "tofu", model, tokenizer)
            write(f"{name}/open_unlearning_tofu", sources["open-unlearning"], found)


if __name__ == "__main__":
    main()
