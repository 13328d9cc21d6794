"""Owns what a paired difference of two means is worth: its interval, exact McNemar, detectable effect, verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from runner.statistics.means import LEVEL, NORMAL_95, Interval, clustered, resampled_means, standard_error

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from runner.statistics.means import Clusters

Verdict = Literal["better", "worse", "no difference", "inconclusive"]
# A difference is found in 80 % of all cases when it is this many standard errors: 5 %, two-sided.
_DETECTED: Final = NORMAL_95 + NormalDist().inv_cdf(0.8)
_SIGNIFICANT: Final = 1 - LEVEL
_TAIL: Final = (1 - LEVEL) / 2


@dataclass(frozen=True, slots=True)
class Estimate:
    """A difference of means (second minus first), in the unit of the values.

    `interval` is the 95 % interval and `detectable` the smallest true difference that as many samples with such a
    spread show in 80 % of all cases; both are null for fewer than two samples. `p_value` is that of the exact McNemar
    test, null where values are not 0 and 1 with one row a sample.
    """

    difference: float
    interval: Interval | None
    detectable: float | None
    p_value: float | None = None


def paired_difference(
    first: NDArray[np.float64], second: NDArray[np.float64], samples: NDArray[np.int64], span: float | None = None
) -> Estimate:
    """Estimate the mean of second minus first, one pair a place, at least one; `samples` numbers the sample of each.

    Values of 0 and 1 with one pair a sample are two proportions. `span` is the range of the values, null: as found.
    """
    if _binary(first) and _binary(second) and int(np.bincount(samples).max()) == 1:
        return binary_difference(
            len(first), int(np.count_nonzero(second > first)), int(np.count_nonzero(second < first))
        )
    return amount_difference(first, second, samples, span)


def amount_difference(
    first: NDArray[np.float64], second: NDArray[np.float64], samples: NDArray[np.int64], span: float | None = None
) -> Estimate:
    """Do what `paired_difference` does for what is counted or paid, also where it happens to be 0 and 1 only."""
    if span is None:
        span = float(max(first.max(), second.max()) - min(first.min(), second.min()))
    return mean_difference(clustered(samples, second - first, int(samples.max()) + 1), span)


def binary_difference(pairs: int, gained: int, lost: int) -> Estimate:
    """Estimate the difference of two proportions from pairs of one row a sample: `gained` went from 0 to 1.

    The interval is the adjusted Wald interval of Bonett and Price (2012), "Adjusted Wald confidence interval for a
    difference of binomial proportions based on paired data": one pair more in each of the two ways of changing. So it
    has a width where nothing changed, too, and keeps its coverage where little did.
    """
    if pairs < 2:  # noqa: PLR2004 - one observation says nothing of its spread
        return Estimate((gained - lost) / pairs, None, None, mcnemar(gained, lost))
    more, less = (gained + 1) / (pairs + 2), (lost + 1) / (pairs + 2)
    error = math.sqrt((more + less - (more - less) ** 2) / (pairs + 2))
    middle, half = more - less, NORMAL_95 * error
    found = Interval(max(middle - half, -1.0), min(middle + half, 1.0), "adjusted Wald")
    return Estimate((gained - lost) / pairs, found, _DETECTED * error, mcnemar(gained, lost))


def mean_difference(differences: Clusters, span: float, *, seed: int = 0) -> Estimate:
    """Estimate a mean of paired differences, which are summed by sample; at least one.

    The interval comes of 1,000 resamples of the samples, at percentiles that are moved outwards as a small number of
    samples demands (Hesterberg 2015, "What Teachers Should Know About the Bootstrap": expanded percentiles). Beyond
    50,000 samples of more than 4,096 kinds it is normal. Where not one sample differs, a resample cannot either: then
    it is what as many samples leave possible if each that differs did so by `span`, the range of the values.
    """
    count = len(differences.rows)
    mean = float(differences.sums.sum() / differences.rows.sum())
    if count < 2:  # noqa: PLR2004 - as above
        return Estimate(mean, None, None)
    if not differences.sums.any():
        most = (1 - _TAIL ** (1 / count)) * span
        return Estimate(mean, Interval(-most, most, "rule of three"), most * _DETECTED / NORMAL_95)
    error = standard_error(differences)
    means = resampled_means(differences, np.random.default_rng(seed))
    if means is None:
        half = NORMAL_95 * error
        return Estimate(mean, Interval(mean - half, mean + half, "normal"), _DETECTED * error)
    tail = _expanded_tail(count)
    low, high = np.quantile(means, [tail, 1 - tail])
    return Estimate(mean, Interval(float(low), float(high), "bootstrap"), _DETECTED * error)


def mcnemar(gained: int, lost: int) -> float:
    """Return the two-sided p-value of the exact McNemar test: so many changed one way and the other, by chance."""
    changed, fewer = gained + lost, min(gained, lost)
    if 2 * fewer >= changed:
        return 1.0
    steps: NDArray[np.float64] = np.arange(1, fewer + 1, dtype=np.float64)
    logs = np.concatenate([[0.0], np.cumsum(np.log((changed - steps + 1) / steps))]) - changed * math.log(2)
    return min(1.0, 2 * math.exp(float(np.logaddexp.reduce(logs))))


def judge(estimate: Estimate, tolerance: float, *, lower_is_better: bool = False) -> Verdict:
    """Return what a difference comes to.

    Better or worse: the interval leaves out 0, and the exact test, where there is one, finds p ≤ 0.05, too. No
    difference: the whole interval lies within ± `tolerance`, or the detectable effect does. Else inconclusive.
    """
    found = estimate.interval
    if found is None or estimate.detectable is None:
        return "inconclusive"
    by_test = estimate.p_value is None or estimate.p_value <= _SIGNIFICANT
    if by_test and (found.low > 0 or found.high < 0):
        return "better" if (found.low > 0) != lower_is_better else "worse"
    if max(abs(found.low), abs(found.high)) <= tolerance or estimate.detectable <= tolerance:
        return "no difference"
    return "inconclusive"


def _binary(values: NDArray[np.float64]) -> bool:
    return int(np.count_nonzero(values == 0)) + int(np.count_nonzero(values == 1)) == len(values)


def _expanded_tail(count: int) -> float:
    """Return the share of resamples to leave out at each end, of `count` samples: less than 2.5 % for few."""
    return NormalDist().cdf(-math.sqrt(count / (count - 1)) * _t_975(count - 1))


def _t_975(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's t, within 0.2 %: Cornish-Fisher expansion beyond 2 degrees of freedom."""
    if freedom == 1:
        return math.tan(math.pi * (0.5 - _TAIL))
    if freedom == 2:  # noqa: PLR2004 - the other closed form
        side = 1 - 2 * _TAIL
        return side * math.sqrt(2 / (1 - side**2))
    z, f = NORMAL_95, freedom
    return (
        z
        + (z**3 + z) / (4 * f)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * f**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * f**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * f**4)
    )
