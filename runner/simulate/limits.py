"""Owns rate limits: what a server permits, when that changes, and who is admitted.

A request is charged when it is admitted, with its prompt and the longest answer it asks for, and nothing is given back:
OpenAI estimates so up front. How a client is told of its limits is `notices`' part.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from runner.errors import UsageError
from runner.simulate.meters import Bucket, Window
from runner.simulate.times import seconds_from_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.simulate.meters import Meter

# In the order in which servers name them in headers.
LIMITS: Mapping[str, str] = MappingProxyType(
    {
        "requests": "requests_per_minute",
        "tokens": "tokens_per_minute",
        "input_tokens": "input_tokens_per_minute",
        "output_tokens": "output_tokens_per_minute",
    }
)


@dataclass(frozen=True, slots=True)
class LimitChange:
    """From `at_s` seconds after the first request the limit `name` is `per_minute`.

    In settings that are put in force in mid-run, the time counts from then.
    """

    at_s: float
    name: str
    per_minute: float


@dataclass(frozen=True, slots=True)
class Limits:
    """What the server permits; None is no limit.

    Each limit is a bucket that holds `burst_s` seconds' worth (servers enforce a minute's limit over 1 to 60 s), unless
    requests or tokens are counted in fixed windows of so many seconds. With `charge_refused` a refused request uses up
    request capacity too, as OpenAI's does. `notice` says in whose way clients are told: one of `notices.NOTICES`.
    """

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    input_tokens_per_minute: float | None = None
    output_tokens_per_minute: float | None = None
    burst_s: float = 10.0
    request_window_s: float | None = None
    token_window_s: float | None = None
    charge_refused: bool = False
    notice: str = "openai"
    changes: tuple[LimitChange, ...] = ()

    @property
    def per_minute(self) -> dict[str, float]:
        """The limits there are at the start, by name."""
        found: dict[str, float | None] = {name: getattr(self, key) for name, key in LIMITS.items()}
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Charge:
    """What a request may cost: its prompt's tokens, and those of the longest answer it asks for."""

    input_tokens: int
    output_tokens: int

    def of(self, name: str) -> int:
        """Return what the limit `name` charges."""
        match name:
            case "requests":
                return 1
            case "tokens":
                return self.input_tokens + self.output_tokens
            case "input_tokens":
                return self.input_tokens
            case _:
                return self.output_tokens


@dataclass(frozen=True, slots=True)
class Standing:
    """How a limit stands: what it holds now (not below 0), and the seconds until it is whole again."""

    name: str
    per_minute: float
    remaining: int
    reset_s: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request may not pass: the limit's name, what is used of a minute's, what was asked for.

    `retry_after_s` is the wait after which it would pass, None if it never will.
    """

    name: str
    per_minute: float
    used: float
    cost: float
    retry_after_s: float | None


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether a request may pass, and how the limits stand then."""

    refusal: Refusal | None = None
    standings: tuple[Standing, ...] = field(default=())

    @property
    def admitted(self) -> bool:
        """It may pass."""
        return self.refusal is None


class Gate:
    """The limits' state. All or nothing: a request that one limit refuses is charged by none.

    Changes count from `begun`, a time of the clock that `admit` is given, or from the first request.
    """

    def __init__(self, limits: Limits, begun: float | None = None) -> None:
        self._limits = limits
        self._meters = {name: _meter(name, value, limits) for name, value in limits.per_minute.items()}
        self._changes = sorted(limits.changes, key=lambda change: change.at_s)
        self._begun = begun

    def admit(self, charge: Charge, now: float) -> Admission:
        """Admit or refuse one request at `now` seconds of any steady clock."""
        if self._changes:
            self._change(now)
        refusal = self._refuse(charge, now)
        if refusal is None:
            for meter in self._meters.values():
                meter.take(charge.of(meter.name), now)
        elif self._limits.charge_refused:
            self._charge_refused(now)
        return Admission(refusal, tuple(_standing(meter, now) for meter in self._meters.values()))

    def _refuse(self, charge: Charge, now: float) -> Refusal | None:
        slowest: Refusal | None = None
        longest_s = 0.0
        for meter in self._meters.values():
            cost = charge.of(meter.name)
            if meter.name != "requests" and cost > meter.per_minute:
                return _refusal(meter, cost, now, None)
            wait_s = meter.wait_s(cost, now)
            if wait_s > longest_s:
                slowest, longest_s = _refusal(meter, cost, now, wait_s), wait_s
        return slowest

    def _charge_refused(self, now: float) -> None:
        # Down to empty and no further: who keeps asking is kept out, but never for longer than one refill.
        meter = self._meters.get("requests")
        if meter is not None and meter.level(now) > 0:
            meter.take(min(1.0, meter.level(now)), now)

    def _change(self, now: float) -> None:
        self._begun = now if self._begun is None else self._begun
        while self._changes and now >= self._begun + self._changes[0].at_s:
            change = self._changes.pop(0)
            if meter := self._meters.get(change.name):
                meter.change(change.per_minute, now)
            else:
                self._meters[change.name] = _meter(change.name, change.per_minute, self._limits)


def change_from_text(text: str) -> LimitChange:
    """Read `30s:requests_per_minute=3000`. Raises UsageError."""
    at, _, what = text.partition(":")
    key, _, value = what.partition("=")
    names = {key: name for name, key in LIMITS.items()}
    try:
        change = LimitChange(seconds_from_text(at), names[key], float(value))
    except (KeyError, ValueError):
        raise UsageError(
            f"{text!r} is no change of a limit.",
            hint=f"for example 30s:requests_per_minute=3000; limits: {', '.join(names)}",
        ) from None
    return change


def _meter(name: str, per_minute: float, limits: Limits) -> Meter:
    window_s = limits.request_window_s if name == "requests" else limits.token_window_s
    return Bucket(name, per_minute, limits.burst_s) if window_s is None else Window(name, per_minute, window_s)


def _standing(meter: Meter, now: float) -> Standing:
    return Standing(meter.name, meter.per_minute, max(0, int(meter.level(now) + 1e-6)), meter.reset_s(now))


def _refusal(meter: Meter, cost: float, now: float, wait_s: float | None) -> Refusal:
    used = min(meter.per_minute, max(0.0, meter.capacity - meter.level(now)))
    return Refusal(meter.name, meter.per_minute, used, cost, wait_s)
