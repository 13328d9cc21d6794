"""Figures of scores against closed forms, brute force and coverage."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from runner.statistics import Clusters, clustered, interval, majority_scores, pass_at_k


def one_each(values: list[float] | np.ndarray) -> Clusters:
    return clustered(np.arange(len(values)), np.asarray(values, dtype=np.float64), len(values))


def test_means_are_over_rows_and_samples_without_a_row_are_left_out() -> None:
    found = clustered(np.array([0, 2, 2, 2]), np.array([1.0, 0.0, 0.0, 1.0]), 5)
    assert found.rows.tolist() == [1, 3]
    assert found.mean == 0.5
    assert clustered(np.empty(0, np.int64), np.empty(0), 0).mean is None


def test_an_interval_wants_two_samples_and_is_the_same_each_time() -> None:
    assert interval(one_each([1.0])) is None
    assert interval(clustered(np.zeros(50, np.int64), np.arange(50) % 2 * 1.0, 1)) is None
    scores = one_each(np.arange(200) % 3 / 2)
    assert interval(scores) == interval(scores)
    assert interval(scores) != interval(scores, seed=1)


@pytest.mark.parametrize("kinds", ["few", "many"])
def test_a_bootstrap_interval_is_as_wide_as_theory_says(kinds: str) -> None:
    chance = np.random.default_rng(1)
    values = chance.integers(0, 2, 6000) * 1.0 if kinds == "few" else chance.normal(3, 2, 6000)
    found = interval(one_each(values))
    assert found is not None
    assert found.method == "bootstrap"
    half = 1.96 * values.std() / len(values) ** 0.5
    assert found.low == pytest.approx(values.mean() - half, abs=half * 0.15)
    assert found.high == pytest.approx(values.mean() + half, abs=half * 0.15)


def test_rows_of_one_sample_are_no_independent_observations() -> None:
    chance = np.random.default_rng(2)
    values = np.repeat(chance.integers(0, 2, 300) * 1.0, 16)
    samples = np.repeat(np.arange(300), 16)
    by_sample, by_row = interval(clustered(samples, values, 300)), interval(one_each(values))
    assert by_sample is not None
    assert by_row is not None
    assert (by_sample.high - by_sample.low) / (by_row.high - by_row.low) == pytest.approx(4, rel=0.2)


def test_the_normal_interval_of_many_samples_is_the_bootstrap_one() -> None:
    chance = np.random.default_rng(3)
    rows = chance.integers(1, 4, 60_000)
    sums = chance.normal(1, 1, 60_000) * rows
    large, small = interval(Clusters(sums, rows)), interval(Clusters(sums[:50_000], rows[:50_000]))
    assert large is not None
    assert small is not None
    assert (large.method, small.method) == ("normal", "bootstrap")
    shrunk = (50_000 / 60_000) ** 0.5
    assert (large.high - large.low) / (small.high - small.low) == pytest.approx(shrunk, rel=0.1)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    chance = np.random.default_rng(4)
    covered = 0
    for _ in range(200):
        difficulty = chance.uniform(0, 1, 150)
        rows = chance.integers(1, 6, 150)
        samples = np.repeat(np.arange(150), rows)
        values = (chance.uniform(size=len(samples)) < difficulty[samples]) * 1.0
        found = interval(clustered(samples, values, 150))
        assert found is not None
        covered += found.low <= 0.5 <= found.high
    assert 0.89 <= covered / 200 <= 0.99


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_pass_at_k_is_the_share_of_all_draws_of_k_that_hold_a_pass(k: int) -> None:
    tries, passed = [5, 5, 5, 6], [0, 2, 5, 1]
    shares = []
    for n, c in zip(tries, passed, strict=True):
        draws = list(combinations([1] * c + [0] * (n - c), k))
        shares.append(sum(map(any, draws)) / len(draws))
    assert pass_at_k(np.array(tries), np.array(passed), k) == pytest.approx(np.mean(shares), abs=1e-12)


def test_pass_at_k_leaves_out_samples_with_fewer_tries() -> None:
    assert pass_at_k(np.array([1, 4]), np.array([1, 0]), 2) == 0.0
    assert pass_at_k(np.array([1]), np.array([1]), 2) is None
    assert pass_at_k(np.array([100_000]), np.array([1]), 50_000) == pytest.approx(0.5)


def test_the_majority_answer_of_a_sample_counts_and_the_earlier_of_two() -> None:
    samples = np.array([0, 0, 0, 1, 1, 2, 2, 3])
    order = np.array([0, 1, 2, 0, 1, 1, 0, 0])
    answers = np.array([7, 8, 8, 5, 6, 5, 6, 9])
    values = np.array([1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.25, 1.0])
    who, scores = majority_scores(samples, order, answers, values)
    assert who.tolist() == [0, 1, 2, 3]
    assert scores.tolist() == [0.0, 1.0, 0.25, 1.0]
    assert len(majority_scores(samples[:0], order[:0], answers[:0], values[:0])[0]) == 0
