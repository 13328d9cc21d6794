"""What a score comes to over some rows, by hand-counted examples; and on which rows it stands."""

from __future__ import annotations

import numpy as np
import pytest

from runner.records import STATUSES
from runner.scorers import (
    SCORERS,
    ScoredRows,
    Setting,
    compile_scorers,
    figure,
    stands_on_first_choices,
    status_figures,
)

NAN = float("nan")


def rows(*each: tuple[int, str, float]) -> ScoredRows:
    """Return rows given as (sample, status, score)."""
    samples, statuses, values = zip(*each, strict=True) if each else ((), (), ())
    return ScoredRows(
        np.array(samples, dtype=np.int64),
        max(samples, default=-1) + 1,
        np.array([STATUSES.index(one) for one in statuses], dtype=np.int8),
        np.array(values, dtype=np.float64),
    )


MIXED = rows((0, "ok", 1.0), (0, "truncated", 0.0), (1, "refused", 0.0), (2, "failed", NAN), (3, "ok", NAN))


def test_both_denominators_are_stated() -> None:
    found = figure(MIXED, worst=0.0)
    assert (found.mean, found.scored, found.answered) == (pytest.approx(1 / 3), 3, 4)
    assert (found.mean_all, found.all) == (pytest.approx(1 / 5), 5)


@pytest.mark.parametrize(("worst", "mean_all"), [(None, None), (-1.0, -1 / 5)])
def test_a_row_without_a_score_counts_as_the_worst_among_all(worst: float | None, mean_all: float | None) -> None:
    assert figure(MIXED, worst).mean_all == pytest.approx(mean_all)


def test_no_row_has_no_mean() -> None:
    found = figure(rows(), worst=0.0)
    assert (found.mean, found.mean_all, found.interval, found.all) == (None, None, None, 0)


def test_rows_of_one_sample_are_one_observation() -> None:
    assert figure(rows((0, "ok", 1.0), (0, "ok", 0.0)), worst=0.0).interval is None


def test_the_interval_is_of_the_rows_and_not_of_how_their_samples_are_numbered() -> None:
    few = rows(*((9 * sample, "ok", float(sample % 3 == 0)) for sample in range(40)))
    assert figure(few, 0.0) == figure(few.renumbered(), 0.0)
    assert figure(few, 0.0).interval is not None


def test_each_status_says_how_its_rows_count() -> None:
    found = status_figures(MIXED)
    assert list(found) == [status for status in STATUSES if status in found]
    assert {name: (one.rows, one.scored, one.mean) for name, one in found.items()} == {
        "ok": (2, 1, 1.0),
        "truncated": (1, 1, 0.0),
        "refused": (1, 1, 0.0),
        "failed": (1, 0, None),
    }


@pytest.mark.parametrize("endpoint", ["chat", "completions", "loglikelihood"])
@pytest.mark.parametrize("kind", sorted(SCORERS.keys() - {"python", "embedding_similarity", "json_schema", "regex"}))
def test_a_score_stands_on_choice_0_where_its_scorer_judges_whole_keys(kind: str, endpoint: str) -> None:
    (made,) = compile_scorers([{"name": kind}], Setting(endpoint=endpoint))
    assert stands_on_first_choices(kind, endpoint) is made.scorer.by_key


def test_a_scorer_of_another_version_stands_on_all_rows() -> None:
    assert not stands_on_first_choices("of_tomorrow", "loglikelihood")
