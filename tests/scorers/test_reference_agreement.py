"""Agreement with reference implementations, to 1e-9: what lm-evaluation-harness, sacrebleu and rouge-score said.

`references.json` was written with the versions that stand in it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runner.scorers import Setting, compile_scorers
from tests.support.scoring import scores_of

REFERENCES = json.loads((Path(__file__).parent / "references.json").read_bytes())
NEAR = 1e-9


def score(name: str, columns: dict[str, Any], setting: Setting | None = None, **options: Any) -> list[float | None]:
    (made,) = compile_scorers([{"name": name, **options}], setting or Setting())
    rows = len(next(iter(columns.values())))
    return [one.value for one in scores_of(made.scorer, {"status": ["ok"] * rows, **columns})]


def test_the_versions_are_stated() -> None:
    assert REFERENCES["versions"] == {"lm_eval": "0.4.13", "sacrebleu": "2.6.0", "rouge_score": "0.1.2"}


@pytest.mark.parametrize(("metric", "normalise"), [("acc", "none"), ("acc_norm", "characters"), ("acc_bytes", "bytes")])
@pytest.mark.parametrize("form", ["text", "index"])
def test_multiple_choice_agrees_with_the_harness(metric: str, normalise: str, form: str) -> None:
    columns: dict[str, list[Any]] = {name: [] for name in ("key", "choice", "continuation", "loglikelihood", "target")}
    for number, case in enumerate(REFERENCES["multiple_choice"]):
        for choice, (text, value) in enumerate(zip(case["choices"], case["loglikelihoods"], strict=True)):
            target = case["choices"][case["gold"]] if form == "text" else str(case["gold"])
            row = (f"{number}", choice, f" {text}", value, target)
            for name, cell in zip(columns, row, strict=True):
                columns[name].append(cell)
    options = {"normalise": normalise, "target": form}
    found = score("multiple_choice", columns, Setting("loglikelihood"), **options)
    on_first = [value for value, choice in zip(found, columns["choice"], strict=True) if choice == 0]
    assert on_first == [case[metric] for case in REFERENCES["multiple_choice"]]
    assert found.count(None) == len(found) - len(on_first)


@pytest.mark.parametrize(
    ("package", "name", "options", "key"),
    [
        ("sacrebleu", "bleu", {}, "bleu"),
        ("sacrebleu", "bleu", {"tokenise": "char", "smooth": "floor"}, "bleu_char_floor"),
        ("sacrebleu", "chrf", {}, "chrf"),
        ("sacrebleu", "chrf", {"word_order": 2}, "chrf_plus"),
        ("sacrebleu", "chrf", {"ignore_case": True}, "chrf_lower"),
        ("rouge_score", "rouge_l", {}, "rouge_fmeasure"),
        ("rouge_score", "rouge_l", {"measure": "precision"}, "rouge_precision"),
        ("rouge_score", "rouge_l", {"measure": "recall", "stem": True}, "rouge_recall_stemmed"),
    ],
)
def test_scores_of_texts_agree(package: str, name: str, options: dict[str, Any], key: str) -> None:
    pytest.importorskip(package)
    pairs = REFERENCES["pairs"]
    columns = {column: [pair[column] for pair in pairs] for column in ("text", "target")}
    assert score(name, columns, **options) == pytest.approx([pair[key] for pair in pairs], abs=NEAR)


@pytest.mark.parametrize(
    ("package", "name", "key"),
    [("sacrebleu", "bleu", "bleu"), ("sacrebleu", "chrf", "chrf"), ("rouge_score", "rouge_l", "rouge")],
)
def test_scores_against_several_references_agree(package: str, name: str, key: str) -> None:
    pytest.importorskip(package)
    cases = REFERENCES["several"]
    columns = {"text": [case["text"] for case in cases], "target": [json.dumps(case["targets"]) for case in cases]}
    assert score(name, columns, any_of=True) == pytest.approx([case[key] for case in cases], abs=NEAR)


@pytest.mark.parametrize(
    ("package", "name"), [("sacrebleu", "bleu"), ("sacrebleu", "chrf"), ("rouge_score", "rouge_l")]
)
def test_an_endless_answer_is_compared_as_far_as_it_is_bearable(package: str, name: str) -> None:
    pytest.importorskip(package)
    (made,) = compile_scorers([{"name": name}], Setting())
    columns = {"status": ["ok"], "text": ["the cat " * 1_000_000], "target": ["the cat"]}
    (one,) = scores_of(made.scorer, columns)
    assert one.value is not None
    assert one.note == "only the first 50,000 characters were compared"
