"""Runs of every kind compared: other directions, several rows a sample, failures, runs that go on or never ended."""

from __future__ import annotations

import shutil
import sys
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest

import runner
from runner.comparison import compare
from runner.errors import RunFolderError
from runner.pipeline.sending import groupcommit
from runner.simulate import LanguageModel, SimulatorOptions
from runner.statistics import binary_difference
from tests.support.commands import evalrunner
from tests.support.odd_server import Reply, answering, completion
from tests.support.runs import questions, table, write_rows
from tests.support.serving import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from tests.support.odd_server import Call

    Replies = Callable[[Call], Reply]

SAMPLES = 30
NO = Reply(400, b'{"error": {"message": "no", "type": "invalid_request_error"}}')


def number_of(call: Call) -> int:
    return int(call.question.split()[2])


def right_but(*wrong: int) -> Replies:
    return lambda call: completion("no idea" if number_of(call) in wrong else f"{number_of(call) + 1}")


def config_of(dataset: Path, /, **sections: Any) -> dict[str, Any]:
    config: dict[str, Any] = {
        "name": "test",
        "dataset": {"path": str(dataset), "id": "id", "target": "answer"},
        "model": {"name": "m"},
        "request": {"messages": [{"role": "user", "content": "{{ question }}"}]},
        "limits": {"max_in_flight": 4},
        "retry": {"max_attempts": 1},
        "gates": {"max_failed_fraction": 1.0},
        "scorers": [{"name": "exact_match"}],
    }
    for name, values in sections.items():
        config[name] = {**config.get(name, {}), **values} if isinstance(values, dict) else values
    return config


def ran(run_dir: Path, reply: Replies, rows: Iterable[Mapping[str, Any]], /, *, code: int = 0, **sections: Any) -> Path:
    """Run rows against a server that answers like this; return the run folder."""
    config = config_of(write_rows(run_dir.parent / "rows.jsonl", rows), **sections)
    with answering(reply) as url:
        config["model"]["base_url"] = url
        assert runner.run(config, run_dir=run_dir).exit_code == code
    return run_dir


def surprised(logprob: float, *, more_at: int | None = None) -> Replies:
    """Return answers of two tokens with log probabilities, which differ a little from sample to sample."""

    def reply(call: Call) -> Reply:
        body = orjson.loads(completion("a b").body)
        own = logprob - number_of(call) / 100 - (0.6 if number_of(call) == more_at else 0)
        tokens = [
            {
                "token": text,
                "logprob": own,
                "bytes": list(text.encode()),
                "top_logprobs": [],
            }
            for text in ("a", " b")
        ]
        body["choices"][0]["logprobs"] = {"content": tokens}
        return Reply(body=orjson.dumps(body), headers={"Content-Type": "application/json"})

    return reply


def test_a_higher_perplexity_is_worse(tmp_path: Path) -> None:
    more: dict[str, Any] = {"scorers": [{"name": "perplexity"}], "request": {"params": {"logprobs": True}}}
    base = ran(tmp_path / "base", surprised(-0.5), questions(SAMPLES), **more)
    run = ran(tmp_path / "run", surprised(-0.7), questions(SAMPLES), **more)
    worse, better = compare(base, run), compare(run, base)
    score = worse.scores["perplexity"]
    assert (worse.verdict, better.verdict) == ("worse", "better")
    assert (score.lower_is_better, score.lost, score.gained, score.p_value) == (True, SAMPLES, 0, None)
    assert score.difference == pytest.approx(
        np.mean([np.exp(0.7 + n / 100) - np.exp(0.5 + n / 100) for n in range(30)])
    )
    assert (score.all, score.base_mean_all, score.difference_all) == (SAMPLES, None, None)
    assert worse.flips[0].sample_id == "q29"  # the largest loss
    assert better.scores["perplexity"].gained == SAMPLES
    mixed = compare(base, ran(tmp_path / "mixed", surprised(-0.4, more_at=4), questions(SAMPLES), **more))
    assert (mixed.scores["perplexity"].lost, mixed.scores["perplexity"].gained) == (1, SAMPLES - 1)
    assert [one.sample_id for one in mixed.flips[:2]] == ["q4", "q29"]


def test_likelihoods_are_compared_by_sample_where_a_score_stands_on_choice_0(tmp_path: Path) -> None:
    texts = [" yes", " no", " B"]
    rows = [
        {"id": f"s{n}", "context": f"so {n} is", "texts": texts, "turned": texts[n % 3 :] + texts[: n % 3], "answer": 1}
        for n in range(SAMPLES)
    ]
    scorers = [{"name": "multiple_choice"}, {"name": "perplexity"}]
    dataset = write_rows(tmp_path / "rows.jsonl", rows)
    folders = []
    for texts_of, repeats in (("{{ texts }}", 1), ("{{ turned }}", 1), ("{{ turned }}", 2)):
        with serving(SimulatorOptions(language_model=LanguageModel())) as simulator:
            config = config_of(dataset, scorers=scorers, model={"base_url": simulator.base_url})
            config["request"] = {"endpoint": "loglikelihood", "context": "{{ context }}", "continuations": texts_of}
            config["request"]["repeats"] = repeats
            config["dataset"]["keep"] = ["context"]
            folders.append(tmp_path / f"run-{len(folders)}")
            assert runner.run(config, run_dir=folders[-1]).exit_code == 0
    found = compare(*folders[:2])
    before, after = (chosen_rightly(folder) for folder in folders[:2])
    score = found.scores["multiple_choice"]
    assert (found.pairs, score.pairs, score.samples, score.all) == (3 * SAMPLES, SAMPLES, SAMPLES, SAMPLES)
    assert score.gained == sum(after[one] > before[one] for one in before)
    assert score.lost == sum(after[one] < before[one] for one in before)
    assert score.gained + score.lost > 0
    assert score.p_value is not None
    assert score.base_mean_all == score.base_mean == pytest.approx(np.mean(list(before.values())))
    assert {one.choice for one in found.flips if one.score == "multiple_choice"} == {0}
    assert (found.scores["perplexity"].pairs, found.scores["perplexity"].samples) == (3 * SAMPLES, SAMPLES)
    by_means = compare(folders[0], folders[2])
    again = by_means.scores["multiple_choice"]
    assert (by_means.by_sample_means, again.pairs, again.all) == (True, SAMPLES, SAMPLES)
    assert (again.gained, again.lost, again.difference) == (score.gained, score.lost, score.difference)
    assert (again.base_mean_all, again.run_mean_all) == (score.base_mean_all, score.run_mean_all)


def chosen_rightly(run_dir: Path) -> dict[str, bool]:
    likelihoods: dict[str, dict[int, float]] = defaultdict(dict)
    targets = {}
    for row in table(run_dir):
        likelihoods[row["sample_id"]][row["choice"]] = row["loglikelihood"]
        targets[row["sample_id"]] = int(row["target"])
    return {one: max(sorted(own), key=own.__getitem__) == targets[one] for one, own in likelihoods.items()}


def test_several_choices_are_rows_of_one_sample(tmp_path: Path) -> None:
    def choices(*texts: str) -> Replies:
        def reply(call: Call) -> Reply:
            body = orjson.loads(completion("").body)
            one = body["choices"][0]
            right = f"{number_of(call) + 1}"
            body["choices"] = [
                one | {"index": place, "message": {"role": "assistant", "content": text or right}}
                for place, text in enumerate(texts)
            ]
            return Reply(body=orjson.dumps(body), headers={"Content-Type": "application/json"})

        return reply

    base = ran(tmp_path / "base", choices("", "", "no"), questions(SAMPLES), request={"params": {"n": 3}})
    run = ran(tmp_path / "run", choices("", "no", "no"), questions(SAMPLES), request={"params": {"n": 3}})
    found = compare(base, run)
    score = found.scores["exact_match"]
    assert (found.by_sample_means, score.pairs, score.samples, score.lost) == (False, 3 * SAMPLES, SAMPLES, SAMPLES)
    assert (score.p_value, score.verdict) == (None, "worse")
    assert {one.choice for one in found.flips} == {1}
    one = ran(tmp_path / "one", right_but(), questions(SAMPLES))
    found = compare(base, one)
    score = found.scores["exact_match"]
    assert (found.by_sample_means, found.pairs, score.pairs, score.gained) == (True, SAMPLES, SAMPLES, SAMPLES)
    assert (score.base_mean, score.run_mean) == (pytest.approx(2 / 3), 1.0)
    # The first of the choices carries the usage of all.
    assert found.differences["completion_tokens"].difference == 0


def test_failures_of_some_repeats_leave_the_sample_its_other_rows(tmp_path: Path) -> None:
    seen: dict[int, int] = defaultdict(int)

    def failing_once(call: Call) -> Reply:
        seen[number_of(call)] += 1
        return NO if number_of(call) < 3 and seen[number_of(call)] == 1 else right_but(5)(call)

    base = ran(tmp_path / "base", right_but(), questions(SAMPLES), request={"repeats": 2})
    run = ran(tmp_path / "run", failing_once, questions(SAMPLES), request={"repeats": 3}, limits={"max_in_flight": 1})
    found = compare(base, run)
    score = found.scores["exact_match"]
    assert (found.by_sample_means, found.pairs, score.pairs, score.lost) == (True, SAMPLES, SAMPLES, 1)
    assert score.difference == pytest.approx(-1 / SAMPLES)
    assert score.difference_all == pytest.approx(-(1 + 3 / 3) / SAMPLES)
    assert score.unpaired == {"base": 0, "run": 0, "both": 0}
    assert found.differences["failed_fraction"].run == pytest.approx(3 / 3 / SAMPLES)


def test_a_run_that_failed_as_a_whole_has_no_pair_and_every_failure_is_told(tmp_path: Path) -> None:
    base = ran(tmp_path / "base", right_but(), questions(SAMPLES))
    run = ran(tmp_path / "run", lambda _: NO, questions(SAMPLES))
    found = compare(base, run)
    score = found.scores["exact_match"]
    assert (found.pairs, score.pairs, score.difference, score.verdict) == (SAMPLES, 0, None, "inconclusive")
    assert (score.all, score.base_mean_all, score.run_mean_all) == (SAMPLES, 1.0, 0.0)
    assert score.unpaired == {"base": 0, "run": SAMPLES, "both": 0}
    failed = found.differences["failed_fraction"]
    exact = binary_difference(SAMPLES, SAMPLES, 0).interval
    assert exact is not None
    assert (failed.base, failed.run, failed.interval) == (0.0, 1.0, (exact.low, exact.high))
    assert found.differences["latency_p50"].run is None  # how long failures took is no latency
    assert found.differences["prompt_tokens"].difference is None
    assert found.flips == []
    assert orjson.loads(orjson.dumps(found.to_json()))["scores"]["exact_match"]["difference"] is None


def test_a_run_that_stopped_early_is_compared_in_what_it_has_and_said_to_be_unfinished(tmp_path: Path) -> None:
    def dying(call: Call) -> Reply:
        return right_but(2)(call) if call.number <= 12 else Reply(401, b'{"error": {"message": "key"}}')

    base = ran(tmp_path / "base", right_but(), questions(SAMPLES))
    run = ran(tmp_path / "run", dying, questions(SAMPLES), code=5, limits={"max_in_flight": 1})
    found = compare(base, run)
    assert (found.pairs, found.only_base, found.only_run, found.scores["exact_match"].pairs) == (12, 18, 0, 12)
    assert (found.run.status, found.run.rows, found.scores["exact_match"].lost) == ("stopped", 12, 1)
    assert any("not complete (stopped)" in note for note in found.notes)
    back = compare(run, base)
    assert (back.only_base, back.only_run) == (0, 18)


def test_parts_that_are_replaced_meanwhile_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groupcommit, "_SEGMENT_BYTES", 5_000)
    rows = questions(SAMPLES)
    base = ran(tmp_path / "base", right_but(), rows)
    run = ran(tmp_path / "run", right_but(3), rows)
    before = compare(base, run)
    comparing = sys.modules["runner.comparison.compare"]  # as an attribute of its package it is the function
    pair = comparing.pair

    def pair_while_the_run_goes_on(*rows_of_both: Any) -> Any:
        other = [{**row, "answer": "other"} for row in rows[:20]]
        config = orjson.loads((run / "manifest.json").read_bytes())["config"]
        write_rows(tmp_path / "rows.jsonl", other)
        assert runner.run(config, run_dir=run).exit_code == 0
        return pair(*rows_of_both)

    monkeypatch.setattr(comparing, "pair", pair_while_the_run_goes_on)
    meanwhile = compare(base, run)
    monkeypatch.setattr(comparing, "pair", pair)
    assert meanwhile == before
    after = compare(base, run)
    assert (after.pairs, after.changed, after.only_base) == (0, 20, 10)


def test_skipped_rows_are_in_no_pair_and_alone_in_neither_run(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = questions(10)
    bad = [*rows[:5], {"id": "bad", "answer": "1"}, *rows[5:]]
    skipping = {"on_bad_row": "skip"}
    base = ran(tmp_path / "base", right_but(), bad, dataset=skipping)
    found = compare(base, ran(tmp_path / "run", right_but(7), bad, dataset=skipping))
    assert (found.pairs, found.only_base, found.only_run, found.base.rows) == (10, 0, 0, 11)
    assert [(one.sample_id, one.base_text, one.run_text) for one in found.flips] == [("q7", "8", "no idea")]


def test_content_is_told_apart_by_any_kept_column_whatever_its_type(tmp_path: Path) -> None:
    rows = [{**row, "shift": -1, "part": 0.5} for row in questions(6)]
    base = ran(tmp_path / "base", right_but(), rows)
    rows[0]["shift"] = -2  # which has the hash of -1
    rows[1]["part"] = None
    rows[2]["level"] = 7
    found = compare(base, ran(tmp_path / "run", right_but(), rows))
    assert (found.pairs, found.changed) == (3, 3)
    numbers = ran(tmp_path / "numbers", right_but(), [{**row, "shift": float(row["shift"])} for row in rows])
    assert compare(tmp_path / "run", numbers).changed == 0
    texts = compare(base, ran(tmp_path / "texts", right_but(), [{**row, "shift": "x", "part": 0.5} for row in rows]))
    assert (texts.changed, [note[:8] for note in texts.notes]) == (1, ["in_shift"])


def test_runs_of_other_datasets_say_which_and_what_cannot_be_told(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    rows = [{"id": row["id"], "question": row["question"]} for row in questions(6)]
    plain: dict[str, Any] = {"scorers": [{"name": "json_schema", "schema": {"type": "integer"}}]}
    dataset = {"target": None, "keep": []}
    base = ran(tmp_path / "a" / "base", right_but(), rows, dataset=dataset, **plain)
    found = compare(base, ran(tmp_path / "run", right_but(1), rows, dataset=dataset | {"limit": 4}, **plain))
    assert (found.pairs, found.only_base, found.scores["json_schema"].lost) == (4, 2, 1)
    assert any("dataset.limit, dataset.path" in note for note in found.notes)
    assert any("neither target nor a kept column" in note for note in found.notes)


def test_two_runs_without_scores_differ_in_all_else(tmp_path: Path) -> None:
    base = ran(tmp_path / "base", right_but(), questions(6), scorers=[])
    found = compare(base, ran(tmp_path / "run", right_but(), questions(6), scorers=[]))
    assert (found.scores, found.not_compared, found.flips, found.verdict) == ({}, {}, [], "inconclusive")
    assert found.differences["completion_tokens"].difference == 0
    assert found.differences["latency_p95"].base is not None


def test_what_a_run_of_another_version_or_without_a_part_is_is_said(tmp_path: Path) -> None:
    base = ran(tmp_path / "base", right_but(), questions(3))
    run = ran(tmp_path / "run", right_but(), questions(3))
    manifest = orjson.loads((run / "manifest.json").read_bytes())
    manifest["config"]["scorers"][0] |= {"name": "of_tomorrow", "as": "exact_match"}
    (run / "manifest.json").write_bytes(orjson.dumps(manifest))
    found = compare(base, run)
    assert (found.scores, found.not_compared) == ({}, {"exact_match": "its scorer is none of this version's"})
    for table_or_log in ("responses", "_commits"):  # a session that was killed before it made them
        shutil.rmtree(run / table_or_log)
    with pytest.raises(RunFolderError, match="no table yet"):
        compare(base, run)


def test_the_same_two_runs_compare_the_same_in_every_process(tmp_path: Path) -> None:
    base = ran(tmp_path / "base", right_but(3), questions(SAMPLES), request={"repeats": 2})
    run = ran(tmp_path / "run", right_but(5, 7), reversed(questions(SAMPLES)), request={"repeats": 3})
    for one, other in ((base, run), (base, base)):
        told = evalrunner("compare", one, other, "--json", cwd=tmp_path)
        assert told.json == {**orjson.loads(orjson.dumps(compare(one, other, most_flips=10).to_json())), "gates": []}
