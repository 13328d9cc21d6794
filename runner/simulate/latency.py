"""Owns how long an answer takes: four distributions, and slowing down when the server is crowded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TypeAlias

from runner.errors import UsageError
from runner.simulate.chance import uniform

_NORMAL = NormalDist()
_FORMS = "use 0.2 (seconds), 0.1..0.5 (uniform), lognormal:0.8,0.5 (median, sigma) or pareto:0.3,1.5 (least, alpha)"
# What is served falls slowly as the crowd grows: by a fifteenth where it is twice, by an eighth where it is four times
# as large as is served well. An overloaded vLLM does so, which preempts requests and computes their prompts again.
_CROWDING = 1.1


@dataclass(frozen=True, slots=True)
class Fixed:
    """Always `s` seconds."""

    s: float


@dataclass(frozen=True, slots=True)
class Uniform:
    """Evenly between `low_s` and `high_s` seconds."""

    low_s: float
    high_s: float


@dataclass(frozen=True, slots=True)
class Lognormal:
    """Median `median_s` seconds with a long tail: the logarithm's standard deviation is `sigma`."""

    median_s: float
    sigma: float


@dataclass(frozen=True, slots=True)
class Pareto:
    """At least `least_s` seconds, with a tail as heavy as `alpha` is small: of 2 and below the variance is infinite."""

    least_s: float
    alpha: float


Distribution: TypeAlias = Fixed | Uniform | Lognormal | Pareto


@dataclass(frozen=True, slots=True)
class Latency:
    """`first_token` once, `per_token` for each token of the answer.

    With more than `slow_above` requests in flight all of it grows a little more than in proportion, as on a saturated
    device. With more than `refuse_above` they are refused with 503.
    """

    first_token: Distribution = Fixed(0.0)
    per_token: Distribution = Fixed(0.0)
    slow_above: int | None = None
    refuse_above: int | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """What the latency of one answer depends on."""

    number: int
    completion_tokens: int
    in_flight: int


def latency_s(latency: Latency, seed: int, load: Load) -> float:
    """Return the seconds from the request's arrival to the answer."""
    return sum(latency_parts_s(latency, seed, load))


def latency_parts_s(latency: Latency, seed: int, load: Load) -> tuple[float, float]:
    """Return the seconds to the first token, and those from there to the last."""
    first_s = _draw(latency.first_token, uniform("first_token", seed, load.number))
    token_s = _draw(latency.per_token, uniform("per_token", seed, load.number))
    crowd = 1.0 if latency.slow_above is None else max(1.0, load.in_flight / latency.slow_above) ** _CROWDING
    return crowd * first_s, crowd * token_s * load.completion_tokens


def distribution_from_text(text: str) -> Distribution:
    """Read `0.2`, `0.1..0.5`, `lognormal:0.8,0.5` or `pareto:0.3,1.5`. Raises UsageError."""
    try:
        if text.startswith("pareto:"):
            least_s, alpha = map(float, text.removeprefix("pareto:").split(","))
            return check_distribution(Pareto(least_s, alpha))
        if text.startswith("lognormal:"):
            median_s, sigma = map(float, text.removeprefix("lognormal:").split(","))
            return check_distribution(Lognormal(median_s, sigma))
        if ".." in text:
            low_s, high_s = map(float, text.split(".."))
            return check_distribution(Uniform(low_s, high_s))
        return check_distribution(Fixed(float(text)))
    except ValueError:
        raise UsageError(f"{text!r} is no latency.", hint=_FORMS) from None


def check_distribution(distribution: Distribution) -> Distribution:
    """Return the distribution, or raise UsageError if it could give something else than a finite time."""
    match distribution:
        case Fixed(s):
            valid = 0 <= s < math.inf
        case Uniform(low_s, high_s):
            valid = 0 <= low_s <= high_s < math.inf
        case Lognormal(median_s, sigma):
            valid = 0 < median_s < math.inf and 0 <= sigma < math.inf
        case Pareto(least_s, alpha):
            valid = 0 < least_s < math.inf and 0 < alpha < math.inf
    if not valid:
        raise UsageError(f"{distribution} is no latency: times are finite, not negative and in order.", hint=_FORMS)
    return distribution


def _draw(distribution: Distribution, u: float) -> float:
    match distribution:
        case Fixed(s):
            return s
        case Uniform(low_s, high_s):
            return low_s + (high_s - low_s) * u
        case Lognormal(median_s, sigma):
            return median_s * math.exp(sigma * _NORMAL.inv_cdf(max(u, 1e-12)))
        case Pareto(least_s, alpha):
            return float(least_s * (1 - u) ** (-1 / alpha))
