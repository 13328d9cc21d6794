"""Scores beside the parts: in the same commit, in line with the answers whatever becomes of them, never a lost row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import runner
from runner.errors import ConfigError
from runner.folder.commits import read_commits
from runner.folder.layout import RunFolder
from runner.pipeline.sending import groupcommit
from runner.pipeline.storing.verify import verify
from runner.simulate import LanguageModel, SimulatorOptions
from tests.support.commands import evalrunner
from tests.support.odd_server import Reply, answering, completion
from tests.support.runs import config_for, questions, table, write_rows
from tests.support.serving import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner import RunSummary
    from runner.simulate import Simulator
    from tests.support.odd_server import Call

SAMPLES = 40
EXACT = [{"name": "exact_match"}]


def reply(call: Call) -> Reply:
    """Answer one of four questions wrongly, refuse one of ten, fail one of twenty."""
    number = int(call.question.split()[2])
    if number % 20 == 7:
        return Reply(400, b'{"error": {"message": "no", "type": "invalid_request_error"}}')
    if number % 10 == 5:
        message = {"role": "assistant", "content": None, "refusal": "I will not"}
        return Reply(body=orjson.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}))
    return completion(f"{number + 1}" if number % 4 else "wrong")


@pytest.fixture
def base_url() -> Iterator[str]:
    with answering(reply) as url:
        yield url


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "data.jsonl", questions(SAMPLES))


@pytest.fixture(autouse=True)
def _several_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groupcommit, "_SEGMENT_BYTES", 6_000)


def config(base_url: str, dataset: Path, scorers: Any = EXACT, /, **sections: Any) -> dict[str, Any]:
    server = type("Server", (), {"base_url": base_url})()
    sections = {"limits": {"max_in_flight": 2}, "gates": {"max_failed_fraction": 1.0}, **sections}
    return config_for(server, dataset, **sections) | {"scorers": list(scorers)}


def run(config: dict[str, Any], dataset: Path) -> RunSummary:
    return runner.run(config, run_dir=dataset.parent / "run")


def check_scores(summary: RunSummary, name: str = "exact_match") -> list[dict[str, Any]]:
    """Compare scores with responses: the same parts, the same rows in the same order; return them as one table."""
    folder = RunFolder(Path(summary.run_dir))
    assert verify(folder).findings == []
    scoring = orjson.loads(folder.manifest.read_bytes())["scoring"]
    (own,) = folder.table("scores").iterdir()
    assert own.name == scoring
    parts = sorted(part.name for part in folder.table("responses").iterdir())
    assert sorted(part.name for part in own.iterdir()) == parts
    rows = []
    for part in parts:
        answers, scores = (pq.read_table(where / part, partitioning=None) for where in (folder.table("responses"), own))
        assert scores.schema.field(f"score_{name}").type == pa.float64()
        assert scores.schema.field(f"{name}_note").type == pa.string()
        assert scores.select(["key", "choice"]).equals(
            answers.select(["key", "choice"]).cast(scores.select(["key", "choice"]).schema)
        )
        rows += [one | other for one, other in zip(answers.to_pylist(), scores.to_pylist(), strict=True)]
    return rows


def expected(row: dict[str, Any]) -> float | None:
    return {"failed": None, "refused": 0.0}.get(row["status"], float(row["text"] == row["target"]))


def test_scores_are_sealed_while_the_run_goes_on(base_url: str, dataset: Path) -> None:
    summary = run(config(base_url, dataset), dataset)
    rows = check_scores(summary)
    assert len(rows) == SAMPLES
    assert len(table(summary.run_dir)) == SAMPLES
    assert len(list((dataset.parent / "run" / "responses").iterdir())) > 3
    assert [row["score_exact_match"] for row in rows] == [expected(row) for row in rows]
    assert {row["exact_match_note"] for row in rows} == {None, "failed", "refused"}


def test_a_score_states_both_denominators_and_what_each_status_came_to(base_url: str, dataset: Path) -> None:
    summary = run(config(base_url, dataset), dataset)
    facts = summary.scores["exact_match"]
    assert facts["by_status"] == {
        "ok": {"rows": 34, "scored": 34, "mean": 24 / 34},
        "refused": {"rows": 4, "scored": 4, "mean": 0.0},
        "failed": {"rows": 2, "scored": 0, "mean": None},
    }
    assert (facts["answered"], facts["scored"], facts["all"], facts["samples"]) == (38, 38, 40, 40)
    assert (facts["mean"], facts["mean_all"]) == (24 / 38, 24 / 40)
    assert facts["interval"][0] < 24 / 38 < facts["interval"][1]
    manifest = orjson.loads((dataset.parent / "run" / "manifest.json").read_bytes())
    assert manifest["summary"]["scores"] == summary.scores


def test_a_changed_target_and_a_changed_question_are_scored_again(base_url: str, dataset: Path) -> None:
    run(config(base_url, dataset), dataset)
    rows = questions(SAMPLES)
    rows[4]["answer"] = "wrong"
    rows[2]["question"] = "What is 8 + 1?"
    del rows[9]
    write_rows(dataset, rows)
    scored = {
        row["sample_id"]: row["score_exact_match"] for row in check_scores(run(config(base_url, dataset), dataset))
    }
    assert (scored["q4"], scored["q2"], scored["q1"]) == (1.0, 0.0, 1.0)
    assert "q9" not in scored


def test_other_scorers_of_a_config_are_applied_to_what_is_there(base_url: str, dataset: Path) -> None:
    first = run(config(base_url, dataset, []), dataset)
    assert first.scores == {}
    assert not (dataset.parent / "run" / "scores").exists()
    second = run(config(base_url, dataset), dataset)
    assert second.http_requests == first.http_requests
    check_scores(second)
    third = run(config(base_url, dataset, [{"name": "numeric", "as": "n"}]), dataset)
    check_scores(third, "n")
    assert set(third.scores) == {"n"}
    last = run(config(base_url, dataset, []), dataset)
    assert last.scores == {}
    assert "score_n" not in runner.load(last.run_dir).columns


def test_scores_load_beside_the_answers(base_url: str, dataset: Path) -> None:
    summary = run(config(base_url, dataset), dataset)
    rows = {row["sample_id"]: row for row in check_scores(summary)}
    frame = runner.load(summary.run_dir)
    assert [str(frame[name].dtype) for name in ("score_exact_match", "exact_match_note")] == [
        "double[pyarrow]",
        "string[pyarrow]",
    ]
    for row in frame.itertuples():
        assert (row.score_exact_match == rows[row.sample_id]["score_exact_match"]) or row.status == "failed"
    chosen = runner.load(summary.run_dir, columns=["score_exact_match", "sample_id", "response"])
    assert list(chosen.columns) == ["score_exact_match", "sample_id", "response"]
    assert chosen["score_exact_match"].sum() == 24


def test_a_part_whose_scores_are_being_replaced_loads_by_key(base_url: str, dataset: Path) -> None:
    summary = run(config(base_url, dataset), dataset)
    (scores,) = (dataset.parent / "run" / "scores").iterdir()
    one, other = sorted(scores.iterdir())[1:3]
    found = pq.read_table(one, partitioning=None)
    pq.write_table(found.slice(1).take(pa.array(range(found.num_rows - 2, -1, -1))), one)
    other.unlink()
    frame = runner.load(summary.run_dir, columns=["status", "text", "target", "score_exact_match"])
    given = frame[frame["score_exact_match"].notna()]
    assert len(given) < 38
    assert (given["score_exact_match"] == (given["text"] == given["target"]).fillna(value=False).astype(float)).all()


def test_repeats_have_pass_at_k_and_a_majority(dataset: Path) -> None:
    seen: dict[str, int] = {}

    def answer(call: Call) -> Reply:
        number = int(call.question.split()[2])
        nth = seen[call.question] = seen.get(call.question, 0) + 1
        # Three of four answers are right, but for every other sample whose wrong ones agree and are more.
        right = nth == 1 if number % 2 else nth > 1
        return completion(f"{number + 1}" if right else "0")

    with answering(answer) as url:
        summary = run(config(url, dataset, request={"repeats": 4}), dataset)
    facts = summary.scores["exact_match"]
    assert (facts["all"], facts["samples"], facts["mean"]) == (160, 40, 0.5)
    assert facts["pass_at"] == pytest.approx({"1": 0.5, "2": 0.75, "4": 1.0})
    assert facts["majority_vote"] == {"mean": 0.5, "answered": 40, "mean_all": 0.5, "all": 40}


def test_likelihoods_are_chosen_between_and_stand_on_choice_0(tmp_path: Path) -> None:
    rows = [
        {"id": f"s{n}", "context": f"the answer {n} is", "choices": [" yes", " no", " B"], "answer": n % 3}
        for n in range(12)
    ]
    dataset = write_rows(tmp_path / "data.jsonl", rows)
    request = {"endpoint": "loglikelihood", "context": "{{ context }}", "continuations": "{{ choices }}"}
    with serving(SimulatorOptions(language_model=LanguageModel())) as simulator:
        made = config(simulator.base_url, dataset, [{"name": "multiple_choice"}, {"name": "perplexity"}])
        made["request"] = request
        made["dataset"]["keep"] = ["context"]
        summary = run(made, dataset)
    scored = check_scores(summary, "multiple_choice")
    by_key: dict[str, list[dict[str, Any]]] = {}
    for row in scored:
        by_key.setdefault(row["key"], []).append(row)
    assert len(by_key) == 12
    for key_rows in by_key.values():
        values = [row["loglikelihood"] for row in key_rows]
        right = values.index(max(values)) == int(key_rows[0]["target"])
        assert [row["score_multiple_choice"] for row in key_rows] == [float(right), None, None]
    assert (summary.scores["multiple_choice"]["all"], summary.scores["multiple_choice"]["answered"]) == (12, 12)
    assert (summary.scores["perplexity"]["all"], summary.scores["perplexity"]["mean_all"]) == (36, None)


def shout(row: dict[str, Any]) -> float:
    if row["in_level"] == 1:
        raise RuntimeError(row["sample_id"])
    return row["in_level"] / 2


def test_a_function_of_the_user_that_raises_costs_no_row(base_url: str, dataset: Path) -> None:
    scorers = [{"name": "python", "as": "own", "function": f"{__name__}:shout"}]
    summary = run(config(base_url, dataset, scorers), dataset)
    rows = check_scores(summary, "own")
    assert len(rows) == SAMPLES
    for row in rows:
        if row["status"] == "ok" and row["in_level"] == 1:
            assert (row["score_own"], row["own_note"]) == (None, f"RuntimeError: {row['sample_id']}")
    facts = summary.scores["own"]
    assert facts["scored"] < facts["answered"] < facts["all"]


@pytest.mark.parametrize(
    ("scorer", "changes", "message"),
    [
        ({"name": "regex", "pattern": "("}, {}, "scorers.0.pattern: regex: is no regular expression"),
        ({"name": "exact_match"}, {"dataset": {"target": None}}, "scorers.0: exact_match compares with a target"),
        ({"name": "python", "function": "no.such:f"}, {}, "scorers.0.function: python: no.such:f cannot be loaded"),
        (
            {"name": "python", "function": "json:dumps", "columns": ["txt"]},
            {},
            "scorers.0.columns: there is no column txt",
        ),
    ],
)
def test_a_scorer_that_cannot_be_made_stops_before_anything_is_created(
    scorer: dict[str, Any], changes: dict[str, Any], message: str, base_url: str, dataset: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        run(config(base_url, dataset, [scorer], **changes), dataset)
    assert message in str(caught.value)
    assert not (dataset.parent / "run").exists()


def test_vectors_of_two_runs_are_compared_by_sample(simulator: Simulator, dataset: Path) -> None:
    rows = questions(SAMPLES)
    made = config_for(simulator, dataset)
    made["request"] = {"endpoint": "embeddings", "input": "{{ question }}"}
    runner.run(made, run_dir=dataset.parent / "other")
    rows[0]["question"] = "something else"
    write_rows(dataset, [*reversed(rows), {"id": "new", "question": "new", "answer": "", "level": 0}])
    scorers = [{"name": "embedding_similarity", "as": "near", "against": str(dataset.parent / "other")}]
    summary = run(made | {"scorers": scorers}, dataset)
    found = {row["sample_id"]: row for row in check_scores(summary, "near")}
    assert found["new"]["near_note"] == "the other run has no vector"
    assert found["q0"]["score_near"] < 0.999
    assert all(found[f"q{n}"]["score_near"] == pytest.approx(1, abs=1e-6) for n in range(1, SAMPLES))
    assert summary.scores["near"]["scored"] == SAMPLES


def test_scores_are_damaged_visibly_and_salvaged_runs_are_scored_again(base_url: str, dataset: Path) -> None:
    made = config(base_url, dataset)
    summary = run(made, dataset)
    (scores,) = (dataset.parent / "run" / "scores").iterdir()
    part = sorted(scores.iterdir())[1]
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 0x20
    part.write_bytes(content)
    assert [finding.file for finding in verify(RunFolder(dataset.parent / "run")).findings] == [
        f"scores/{scores.name}/{part.name}"
    ]
    saved = dataset.parent / "saved"
    assert evalrunner("verify", summary.run_dir, "--salvage", saved, cwd=dataset.parent).code == 0
    assert json.loads((saved / "manifest.json").read_bytes())["scoring"] == ""
    again = runner.run(made, run_dir=saved)
    check_scores(again)
    assert again.http_requests == summary.http_requests
    assert again.scores == summary.scores
    assert read_commits(RunFolder(saved)).parts("responses")
