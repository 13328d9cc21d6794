"""Two runs, paired: what is compared and what is not, by real run folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

import runner
from runner.comparison import compare, last_good
from runner.errors import RunFolderError
from runner.folder.layout import RunFolder
from runner.folder.manifest import read_manifest
from tests.support.commands import evalrunner
from tests.support.odd_server import Reply, answering, completion
from tests.support.runs import config_for, questions, write_rows

if TYPE_CHECKING:
    from tests.support.odd_server import Call

EXACT = [{"name": "exact_match"}]


def answers(wrong: set[int], failing: set[int]) -> Any:
    def reply(call: Call) -> Reply:
        number = int(call.question.split()[2])
        if number in failing:
            return Reply(400, b'{"error": {"message": "no", "type": "invalid_request_error"}}')
        return completion("wrong \x1b[31m" if number in wrong else f"{number + 1}")

    return reply


def run(where: Path, rows: Any, wrong: set[int] = frozenset(), failing: set[int] = frozenset(), **more: Any) -> Path:  # type: ignore[assignment]
    where.mkdir(parents=True)
    dataset = write_rows(where / "data.jsonl", rows)
    scorers = more.pop("scorers", EXACT)
    with answering(answers(wrong, failing)) as url:
        server = type("Server", (), {"base_url": url})()
        config = config_for(server, dataset, gates={"max_failed_fraction": 1.0}, **more) | {"scorers": scorers}
        runner.run(config, run_dir=where / "run")
    return where / "run"


def test_what_was_lost_comes_first_and_failures_are_counted_apart(tmp_path: Path) -> None:
    base = run(tmp_path / "a", questions(60), wrong={1, 2})
    other = run(tmp_path / "b", questions(60), wrong=set(range(2, 14)), failing={50, 51})
    found = compare(base, other)
    score = found.scores["exact_match"]
    assert (found.pairs, found.only_base, found.only_run, found.changed) == (60, 0, 0, 0)
    assert (score.pairs, score.samples, score.gained, score.lost) == (58, 58, 1, 11)
    assert score.unpaired == {"base": 0, "run": 2, "both": 0}
    assert score.base_mean == pytest.approx(56 / 58)
    assert score.run_mean == pytest.approx(46 / 58)
    assert (score.base_mean_all, score.run_mean_all) == (pytest.approx(58 / 60), pytest.approx(46 / 60))
    assert score.p_value == pytest.approx(2 * 13 / 2**12)
    assert (score.verdict, found.verdict) == ("worse", "worse")
    assert [flip.run_value for flip in found.flips] == [0.0] * 11 + [1.0]
    assert {flip.sample_id for flip in found.flips} == {f"q{number}" for number in [1, *range(3, 14)]}
    assert (found.flips[0].base_status, found.flips[0].run_text) == ("ok", "wrong \x1b[31m")
    assert found.differences["failed_fraction"].difference == pytest.approx(2 / 60)
    assert orjson.loads(orjson.dumps(found.to_json()))["scores"]["exact_match"]["lost"] == 11
    assert len(compare(base, other, most_flips=3).flips) == 3


def test_rows_that_changed_or_have_no_counterpart_are_in_no_pair(tmp_path: Path) -> None:
    rows = questions(30)
    base = run(tmp_path / "a", rows)
    changed = [{**row, "answer": "other"} if row["id"] in {"q3", "q4"} else row for row in rows[:25]]
    found = compare(base, run(tmp_path / "b", [*changed[::-1], *questions(2, first=100)]))
    assert (found.pairs, found.changed, found.only_base, found.only_run) == (23, 2, 5, 2)
    assert found.scores["exact_match"].difference == 0
    assert compare(base, base).scores["exact_match"].verdict == "inconclusive"
    disjoint = compare(base, run(tmp_path / "c", questions(5, first=500)))
    assert (disjoint.pairs, disjoint.scores["exact_match"].difference) == (0, None)
    assert disjoint.notes


def test_other_options_under_one_name_are_not_compared(tmp_path: Path) -> None:
    base = run(tmp_path / "a", questions(4))
    other = run(tmp_path / "b", questions(4), scorers=[{"name": "exact_match", "ignore_case": True}])
    same = run(tmp_path / "c", questions(4), scorers=[{"name": "exact_match", "strip": True}])
    none = run(tmp_path / "d", questions(4), scorers=[])
    assert list(compare(base, other).not_compared) == ["exact_match"]
    assert list(compare(base, same).scores) == ["exact_match"]
    assert compare(base, none).scores == {}
    assert compare(base, none).verdict == "inconclusive"


def test_another_number_of_repeats_is_compared_by_means(tmp_path: Path) -> None:
    base = run(tmp_path / "a", questions(10), wrong={1})
    other = run(tmp_path / "b", questions(10), wrong={1, 2}, request={"repeats": 3})
    found = compare(base, other)
    assert (found.by_sample_means, found.pairs, found.scores["exact_match"].lost) == (True, 10, 1)
    assert [(flip.sample_id, flip.repeat) for flip in found.flips] == [("q2", None)]


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="not a run folder"):
        compare(tmp_path, tmp_path)


def test_the_last_good_run_is_the_newest_earlier_one_that_passed(tmp_path: Path) -> None:
    dataset = write_rows(tmp_path / "data.jsonl", questions(3))
    folders = []
    for failing, limit in (set(), 3), (set(), 3), ({0}, 3), (set(), 2), (set(), 3):
        with answering(answers(set(), failing)) as url:
            config = config_for(type("Server", (), {"base_url": url})(), dataset)
            config["dataset"]["limit"] = limit
            folders.append(Path(runner.run(config, overrides=[]).run_dir))
    manifest = read_manifest(RunFolder(folders[4]))
    assert last_good(folders[4].parent, manifest) == folders[1]
    assert last_good(folders[4].parent, read_manifest(RunFolder(folders[0]))) is None
    assert last_good(tmp_path / "nothing", manifest) is None


def test_the_command_says_it_first_and_shows_model_output_inert(tmp_path: Path) -> None:
    base, other = run(tmp_path / "a", questions(30)), run(tmp_path / "b", questions(30), wrong=set(range(12)))
    shown = evalrunner("compare", base, other, "--flips", 2, cwd=tmp_path)
    assert (shown.code, shown.out.splitlines()[0]) == (0, f"worse: {other}")
    assert shown.out.count("wrong") == 2
    failing = run(tmp_path / "c", questions(30), failing={4, 5, 6})
    assert "left out 3 without an answer in run; of all 30: base 1, run 0.9, difference -0.1" in (
        evalrunner("compare", base, failing, cwd=tmp_path).out
    )
    told = evalrunner("compare", base, other, "--json", cwd=tmp_path)
    assert (told.json["verdict"], told.json["scores"]["exact_match"]["lost"]) == ("worse", 12)
    assert evalrunner("compare", base, tmp_path, "--json", cwd=tmp_path).json["error"]["code"] == "run_folder"
