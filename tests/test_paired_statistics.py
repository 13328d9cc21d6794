"""Figures of paired differences against scipy, and by simulation: coverage, and how often two equal runs differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

from runner.statistics import Clusters, binary_difference, judge, mcnemar, mean_difference, paired_difference
from runner.statistics.paired import _t_975

if TYPE_CHECKING:
    from runner.statistics import Estimate

SEED = 20261127
TIMES = 1000


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (3, 3), (1, 8), (0, 5), (40, 70), (100_000, 101_000)])
def test_mcnemar_is_the_exact_binomial_test(gained: int, lost: int) -> None:
    changed = gained + lost
    expected = stats.binomtest(gained, changed).pvalue if changed else 1.0
    assert mcnemar(gained, lost) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("freedom", [1, 2, 3, 5, 30, 1000])
def test_quantiles_of_student_are_those_of_scipy(freedom: int) -> None:
    assert _t_975(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=2e-3)


def binary(chance: np.random.Generator, pairs: int, gains: float, losses: float) -> Estimate:
    drawn = chance.random(pairs)
    return binary_difference(pairs, int((drawn < gains).sum()), int((drawn > 1 - losses).sum()))


def repeats(chance: np.random.Generator, samples: int, shift: float, *, binary_scores: bool) -> Estimate:
    """Return what three repeats of each sample show: correlated within a sample and between the runs."""
    level = chance.normal(size=(samples, 1))
    change = shift + chance.normal(scale=0.4, size=(samples, 1))
    base = level + chance.normal(size=(samples, 3))
    run = level + change + chance.normal(size=(samples, 3))
    difference = (run > 0) * 1.0 - (base > 0) if binary_scores else run - base
    return mean_difference(Clusters(difference.sum(axis=1), np.full(samples, 3)), 1.0)


def covered(found: list[Estimate], truth: float) -> float:
    return float(
        np.mean([one.interval is not None and one.interval.low <= truth <= one.interval.high for one in found])
    )


@pytest.mark.parametrize(("pairs", "gains", "losses"), [(200, 0.12, 0.07), (50, 0.2, 0.1), (1000, 0.05, 0.05)])
def test_binary_intervals_cover_the_difference(pairs: int, gains: float, losses: float) -> None:
    chance = np.random.default_rng(SEED)
    found = [binary(chance, pairs, gains, losses) for _ in range(TIMES)]
    assert 0.93 <= covered(found, gains - losses) <= 0.97


@pytest.mark.parametrize("samples", [20, 100])
def test_intervals_of_repeats_cover_the_difference(samples: int) -> None:
    chance = np.random.default_rng(SEED)
    found = [repeats(chance, samples, 0.3, binary_scores=False) for _ in range(TIMES)]
    assert 0.93 <= covered(found, 0.3) <= 0.97


def test_intervals_of_binary_repeats_cover_the_difference() -> None:
    chance = np.random.default_rng(SEED)
    found = [repeats(chance, 100, 0.3, binary_scores=True) for _ in range(TIMES)]
    # Level, change and noise are normal: the run's sum has variance 1 + 0.16 + 1.
    truth = float(stats.norm.cdf(0.3 / 2.16**0.5) - 0.5)
    assert 0.93 <= covered(found, truth) <= 0.97


def test_equal_runs_seldom_differ() -> None:
    chance = np.random.default_rng(SEED)
    of_pairs = [judge(binary(chance, 200, 0.1, 0.1), 0.02) for _ in range(TIMES)]
    of_repeats = [judge(repeats(chance, 100, 0.0, binary_scores=False), 0.02) for _ in range(TIMES)]
    for verdicts in (of_pairs, of_repeats):
        assert sum(one in {"better", "worse"} for one in verdicts) <= 65


@pytest.mark.parametrize(("samples", "changed"), [(30, 4), (100, 4), (400, 16)])
def test_equal_runs_of_which_few_samples_differ_seldom_differ(samples: int, changed: int) -> None:
    """Where a sample changes, both of its repeats do."""
    chance = np.random.default_rng(SEED)
    verdicts = []
    for _ in range(TIMES):
        drawn, one = chance.random(samples), changed / samples / 2
        difference = (drawn < one) * 1.0 - (drawn > 1 - one)
        verdicts.append(judge(mean_difference(Clusters(2 * difference, np.full(samples, 2)), 1.0), 0.02))
    assert sum(one in {"better", "worse"} for one in verdicts) <= 65


@pytest.mark.parametrize("one_each", [True, False])
def test_pairs_of_0_and_1_are_two_proportions_only_with_one_pair_a_sample(one_each: bool) -> None:  # noqa: FBT001 - pytest's
    chance = np.random.default_rng(SEED)
    base, run = (chance.integers(0, 2, 60) * 1.0 for _ in range(2))
    samples = np.arange(60) if one_each else np.arange(60) // 2
    found = paired_difference(base, run, samples)
    assert found.difference == pytest.approx(run.mean() - base.mean())
    assert (found.p_value is not None) == one_each
    assert found.interval is not None
    assert found.interval.method == ("adjusted Wald" if one_each else "bootstrap")
    other = paired_difference(base * 2, run * 2, samples)
    assert (other.p_value, other.difference) == (None, pytest.approx(2 * found.difference))


def test_the_detectable_effect_is_found_four_times_in_five() -> None:
    chance = np.random.default_rng(SEED)
    effect = repeats(chance, 400, 0.0, binary_scores=False).detectable
    assert effect is not None
    found = [judge(repeats(chance, 400, effect, binary_scores=False), 0.0) for _ in range(400)]
    assert 0.72 <= found.count("better") / 400 <= 0.88


def test_verdicts_know_the_direction_and_what_is_too_little() -> None:
    lost = binary_difference(200, 2, 30)
    assert judge(lost, 0.02) == "worse"
    assert judge(lost, 0.02, lower_is_better=True) == "better"
    assert judge(binary_difference(30, 0, 0), 0.02) == "inconclusive"
    assert judge(binary_difference(5000, 0, 0), 0.02) == "no difference"
    assert judge(binary_difference(1, 0, 1), 0.02) == "inconclusive"
    assert judge(mean_difference(Clusters(np.zeros(10), np.ones(10, np.int64)), 1.0), 0.02) == "inconclusive"
    assert judge(mean_difference(Clusters(np.zeros(2000), np.ones(2000, np.int64)), 1.0), 0.02) == "no difference"
