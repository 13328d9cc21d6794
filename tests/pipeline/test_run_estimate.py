from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from runner.config import config_from_dict
from runner.limiter import Limits
from runner.pipeline.locate import Where
from runner.pipeline.passes.estimate import estimate
from runner.pipeline.survey import rehearse
from runner.prices import Price
from tests.support.runs import questions, write_rows

if TYPE_CHECKING:
    from pathlib import Path

    from runner.pipeline.passes.estimate import Estimate
    from runner.pipeline.survey import Rehearsal


def estimated(
    folder: Path, rows: list[dict[str, Any]], price: Price | None = None, limits: Limits | None = None, **request: Any
) -> Estimate:
    return estimate(rehearsed(folder, rows, **request).production, price, limits or Limits())


def rehearsed(
    folder: Path, rows: list[dict[str, Any]], *, base_url: Any = "http://127.0.0.1:9/v1", **request: Any
) -> Rehearsal:
    dataset = write_rows(folder / "data.jsonl", rows)
    config = {
        "name": "test",
        "dataset": {"path": str(dataset), "id": "id"},
        "model": {"base_url": base_url, "name": "m"},
        "request": {"messages": [{"role": "user", "content": "{{ question }}"}], **request},
        "output": {"dir": str(folder / "outputs")},
    }
    rehearsal = rehearse(config_from_dict(config, folder), Where(run_dir=folder / "run"))
    assert not (folder / "run").exists()
    return rehearsal


def test_rows_and_tokens_are_counted_before_anything_is_sent(tmp_path: Path) -> None:
    found = estimated(tmp_path, questions(10), params={"max_completion_tokens": 100})
    assert (found.requests, found.completion_tokens) == (10, 1000)
    # GPT-4 counts 7 for "What is 0 + 1?", and 7 around it.
    assert found.prompt_tokens == pytest.approx(10 * 14, rel=0.05)
    assert (found.cost_usd, found.seconds_under_limits) == (None, None)
    assert found.first_request is not None
    assert found.first_request["messages"] == [{"role": "user", "content": "What is 0 + 1?"}]
    assert found.to_json()["requests"] == 10


@pytest.mark.parametrize(("repeats", "n"), [(1, 1), (3, 1), (1, 4), (3, 4)])
def test_repeats_and_choices_are_counted(tmp_path: Path, repeats: int, n: int) -> None:
    found = estimated(tmp_path, questions(5), repeats=repeats, params={"max_tokens": 10, "n": n})
    assert (found.requests, found.completion_tokens) == (5 * repeats, 5 * repeats * n * 10)


def test_without_a_maximum_the_answers_length_and_the_cost_are_unknown(tmp_path: Path) -> None:
    found = estimated(tmp_path, questions(5), price=Price(1.0, 2.0))
    assert (found.completion_tokens, found.cost_usd) == (None, None)
    assert found.prompt_tokens > 0


def test_cost_is_prompt_and_longest_answer_at_their_prices(tmp_path: Path) -> None:
    found = estimated(tmp_path, questions(10), price=Price(3.0, 5.0), params={"max_tokens": 100})
    assert found.cost_usd == pytest.approx((found.prompt_tokens * 3 + 1000 * 5) / 1e6)


@pytest.mark.parametrize(
    ("limits", "seconds"),
    [
        (Limits(), None),
        (Limits(requests_per_minute=60), 10.0),
        (Limits(requests_per_minute=600), 1.0),
        (Limits(requests_per_minute=600, tokens_per_minute=100), 684.0),
    ],
)
def test_time_is_that_of_the_tightest_limit(tmp_path: Path, limits: Limits, seconds: float | None) -> None:
    found = estimated(tmp_path, questions(10), limits=limits, params={"max_tokens": 100})
    if seconds is None or limits.tokens_per_minute is None:
        assert found.seconds_under_limits == seconds
    else:
        assert found.seconds_under_limits == pytest.approx(seconds, rel=0.02)


def test_limits_are_those_of_each_server(tmp_path: Path) -> None:
    rehearsal = rehearsed(tmp_path, questions(10), base_url=[{"url": "http://a/v1"}, {"url": "http://b/v1"}])
    found = estimate(rehearsal.production, None, Limits(requests_per_minute=60), servers=2)
    assert found.seconds_under_limits == 5.0


def test_a_large_dataset_is_sampled_over_its_whole_length(tmp_path: Path) -> None:
    rows = [{"id": number, "question": "word " * (1 if number < 3000 else 1000)} for number in range(6000)]
    found = estimated(tmp_path, rows, params={"max_tokens": 1})
    assert (found.requests, found.completion_tokens) == (6000, 6000)
    assert found.prompt_tokens == pytest.approx(3000 * 8 + 3000 * 1007, rel=0.06)
