"""Owns the figures of the scores of one run: means, their intervals, pass@k, majority votes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

RESAMPLES: Final = 1000
LEVEL: Final = 0.95
# Up to this many different samples, counted as pairs (sum, rows), a resample is one multinomial draw.
_MOST_PAIRS = 4096
# Up to here samples are drawn one by one; beyond, the mean is normal to more digits than a bootstrap has.
_MOST_DRAWN = 50_000
NORMAL_95: Final = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval of a mean, or of a difference of means, and how it was found."""

    low: float
    high: float
    method: Literal["bootstrap", "normal", "adjusted Wald", "rule of three"]


@dataclass(frozen=True, slots=True)
class Clusters:
    """Rows summed by sample: `sums` of their values, `rows` how many there are of each sample."""

    sums: NDArray[np.float64]
    rows: NDArray[np.int64]

    @property
    def mean(self) -> float | None:
        """Mean over all rows, null without any."""
        count = int(self.rows.sum())
        return float(self.sums.sum()) / count if count else None


def clustered(samples: NDArray[np.int64], values: NDArray[np.float64], count: int) -> Clusters:
    """Sum values by sample; `samples` are numbers below `count`. Samples without a row are left out."""
    sums = np.bincount(samples, weights=values, minlength=count).astype(np.float64)
    rows = np.bincount(samples, minlength=count)
    present = rows > 0
    return Clusters(sums[present], rows[present])


def numbered(samples: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """Return a number for each row's sample, given as hashes, in the order in which they came, and how many there are.

    Hashes differ from process to process; intervals must not.
    """
    _, first, inverse = np.unique(samples, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse], len(first)


def interval(clusters: Clusters, *, seed: int = 0) -> Interval | None:
    """Return the 95 % interval of the mean, of 1,000 resamples of the samples; null for fewer than two samples.

    The same rows and seed give the same interval. Beyond 50,000 samples of more than 4,096 kinds it is the normal
    interval of the ratio of sums, clustered by sample.
    """
    if len(clusters.rows) < 2:  # noqa: PLR2004 - one observation says nothing of its spread
        return None
    means = resampled_means(clusters, np.random.default_rng(seed))
    if means is None:
        spread = standard_error(clusters) * NORMAL_95
        mean = float(clusters.sums.sum() / clusters.rows.sum())
        return Interval(mean - spread, mean + spread, "normal")
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high), "bootstrap")


def resampled_means(clusters: Clusters, generator: np.random.Generator) -> NDArray[np.float64] | None:
    """Return the means of 1,000 resamples of the samples; null where there are so many that a mean is normal."""
    pairs, times = _kinds(clusters)
    if len(pairs) <= _MOST_PAIRS:
        return _drawn_by_kind(pairs, times, generator)
    return _drawn_by_sample(clusters, generator) if len(clusters.rows) <= _MOST_DRAWN else None


def standard_error(clusters: Clusters) -> float:
    """Return the standard error of the mean over all rows, a ratio of sums, clustered by sample; two or more."""
    count = len(clusters.rows)
    mean = float(clusters.sums.sum() / clusters.rows.sum())
    rest = clusters.sums - mean * clusters.rows
    return math.sqrt(count / (count - 1) * float(rest @ rest)) / float(clusters.rows.sum())


def pass_at_k(tries: NDArray[np.int64], passed: NDArray[np.int64], k: int) -> float | None:
    """Return the chance that at least one of k tries passes, without bias: the mean of 1 - C(n-c, k) / C(n, k).

    `tries` and `passed` are n and c of each sample (Chen et al. 2021, "Evaluating Large Language Models Trained on
    Code"). Samples with fewer than k tries are left out; null where none is left.
    """
    enough = tries >= k
    n, c = tries[enough], passed[enough]
    if not len(n):
        return None
    missed = np.ones(len(n))
    for step in range(k):
        # C(n-c, k) / C(n, k) as a product, which neither overflows nor cancels.
        missed *= np.maximum(n - c - step, 0) / (n - step)
    return float(np.mean(1 - missed))


def majority_scores(
    samples: NDArray[np.int64], order: NDArray[np.int64], answers: NDArray[np.int64], values: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the samples that voted, and the score of the answer that most of each sample's rows gave.

    Of answers with equally many votes the one given first, by `order`, wins; its first row's score counts.
    """
    if not len(samples):
        return samples, values
    by_answer = np.lexsort((order, answers, samples))
    s, a, o, v = samples[by_answer], answers[by_answer], order[by_answer], values[by_answer]
    begins = np.flatnonzero(np.r_[True, (s[1:] != s[:-1]) | (a[1:] != a[:-1])])
    votes = np.diff(np.r_[begins, len(s)])
    s, o, v = s[begins], o[begins], v[begins]
    best = np.lexsort((o, -votes, s))
    s, v = s[best], v[best]
    first = np.r_[True, s[1:] != s[:-1]]
    return s[first], v[first]


def _kinds(clusters: Clusters) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the different pairs (sum, rows), and how many samples have each."""
    right = int(np.count_nonzero(clusters.sums == 1))
    if (clusters.rows == 1).all() and right + int(np.count_nonzero(clusters.sums == 0)) == len(clusters.rows):
        # What nearly every score is.
        return np.array([[0.0, 1.0], [1.0, 1.0]]), np.array([len(clusters.rows) - right, right])
    together = np.empty(len(clusters.rows), dtype=np.complex128)
    together.real, together.imag = clusters.sums, clusters.rows
    kinds, times = np.unique(together, return_counts=True)
    return np.stack([kinds.real, kinds.imag]).T, times


def _drawn_by_kind(
    pairs: NDArray[np.float64], times: NDArray[np.int64], generator: np.random.Generator
) -> NDArray[np.float64]:
    """Draw samples with replacement: how often each kind comes is multinomial."""
    count = int(times.sum())
    drawn = generator.multinomial(count, times / count, size=RESAMPLES)
    sums: NDArray[np.float64] = drawn @ pairs
    means: NDArray[np.float64] = sums[:, 0] / sums[:, 1]
    return means


def _drawn_by_sample(clusters: Clusters, generator: np.random.Generator) -> NDArray[np.float64]:
    count = len(clusters.rows)
    means = np.empty(RESAMPLES)
    for number in range(RESAMPLES):
        drawn = generator.integers(count, size=count)
        means[number] = clusters.sums[drawn].sum() / clusters.rows[drawn].sum()
    return means
