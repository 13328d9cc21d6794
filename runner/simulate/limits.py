"""Owns rate limits: requests and tokens a minute, who is admitted, and the headers that tell a client of it.

Each limit is a token bucket kept as one time, the moment it will be full again (GCRA). A request is charged when it is
admitted, with its prompt and the longest answer it asks for, and nothing is given back: OpenAI estimates so up front.
Header names, Go durations and texts follow OpenAI; `remaining` is what the bucket holds now, `reset` the time until it
is full again (not the wait that is needed).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

_ROUNDING = 1e-6
_SECOND_MS = 1000
_MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What the server permits; None is no limit.

    `burst_s` is how many seconds' worth may come at once (servers enforce a minute's limit over 1 to 60 s). With
    `charge_refused` a refused request uses up request capacity too, as OpenAI's does. `send_headers` false hides
    everything but the status: no x-ratelimit headers, no Retry-After.
    """

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    burst_s: float = 10.0
    charge_refused: bool = False
    send_headers: bool = True


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether a request may pass, and the headers to send with whatever it gets.

    Of a refused one `limit_name` names the limit, `message` is the text, and `retry_after_s` the wait after which it
    would pass, or None if it never will.
    """

    admitted: bool
    headers: dict[str, str] = field(default_factory=dict)
    limit_name: str = ""
    message: str = ""
    retry_after_s: float | None = None


@dataclass(slots=True)
class Bucket:
    """One limit. Holds at most `capacity`, refills evenly at `per_minute`; full at the time `full_at` (seconds)."""

    name: str
    per_minute: float
    capacity: float
    full_at: float = -math.inf

    def level(self, now: float) -> float:
        """Return what the bucket holds; below 0 it is in debt."""
        return self.capacity - self.reset_s(now) * self.per_minute / 60

    def reset_s(self, now: float) -> float:
        """Return the seconds until it is full."""
        return max(0.0, self.full_at - now)

    def wait_s(self, cost: float, now: float) -> float:
        """Return the seconds until `cost` fits; more than the bucket holds waits for a full one and leaves a debt."""
        missing = min(cost, self.capacity) - self.level(now)
        return 0.0 if missing <= _ROUNDING else missing * 60 / self.per_minute

    def take(self, cost: float, now: float) -> None:
        """Charge `cost`."""
        self.full_at = max(self.full_at, now) + cost * 60 / self.per_minute


class Gate:
    """The limits' state. All or nothing: a request that one limit refuses is charged by neither."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._requests = _bucket("requests", limits.requests_per_minute, limits.burst_s)
        self._tokens = _bucket("tokens", limits.tokens_per_minute, limits.burst_s)

    def admit(self, model: str, tokens: int, now: float) -> Admission:
        """Admit or refuse one request that may use `tokens` tokens, at `now` seconds of any steady clock."""
        costs = [(bucket, cost) for bucket, cost in ((self._requests, 1), (self._tokens, tokens)) if bucket is not None]
        waits = [(bucket.wait_s(cost, now), bucket, cost) for bucket, cost in costs]
        if self._tokens is not None and tokens > self._tokens.per_minute:
            self._charge_refused(now)
            return self._never(model, self._tokens, tokens, now)
        if refused := [wait for wait in waits if wait[0] > 0]:
            self._charge_refused(now)
            return self._later(model, max(refused, key=lambda wait: wait[0]), now)
        for bucket, cost in costs:
            bucket.take(cost, now)
        return Admission(admitted=True, headers=self._headers(now))

    def _never(self, model: str, bucket: Bucket, cost: float, now: float) -> Admission:
        message = (
            f"Request too large for {model} in organization org-simulated on {_label(bucket)}: "
            f"Limit {bucket.per_minute:.0f}, Requested {cost:.0f}. "
            "The input or output tokens must be reduced in order to run successfully."
        )
        return Admission(admitted=False, headers=self._headers(now), limit_name=bucket.name, message=message)

    def _later(self, model: str, slowest: tuple[float, Bucket, float], now: float) -> Admission:
        wait_s, bucket, cost = slowest
        used = max(0.0, bucket.per_minute - bucket.level(now))
        message = (
            f"Rate limit reached for {model} in organization org-simulated on {_label(bucket)}: "
            f"Limit {bucket.per_minute:.0f}, Used {used:.0f}, Requested {cost:.0f}. "
            f"Please try again in {go_duration(wait_s)}."
        )
        headers = self._headers(now)
        if self._limits.send_headers:
            headers["Retry-After"] = str(math.ceil(wait_s))
            headers["retry-after-ms"] = str(math.ceil(wait_s * _SECOND_MS))
        return Admission(admitted=False, headers=headers, limit_name=bucket.name, message=message, retry_after_s=wait_s)

    def _charge_refused(self, now: float) -> None:
        # Down to empty and no further: who keeps asking is kept out, but never for longer than one refill.
        bucket = self._requests
        if self._limits.charge_refused and bucket is not None and bucket.level(now) > 0:
            bucket.take(min(1.0, bucket.level(now)), now)

    def _headers(self, now: float) -> dict[str, str]:
        headers = {}
        if self._limits.send_headers:
            for bucket in (self._requests, self._tokens):
                if bucket is not None:
                    headers[f"x-ratelimit-limit-{bucket.name}"] = f"{bucket.per_minute:.0f}"
                    headers[f"x-ratelimit-remaining-{bucket.name}"] = str(max(0, int(bucket.level(now) + _ROUNDING)))
                    headers[f"x-ratelimit-reset-{bucket.name}"] = go_duration(bucket.reset_s(now))
        return headers


def go_duration(seconds: float) -> str:
    """Return a duration as Go prints it, to the millisecond: `0s`, `12ms`, `1.5s`, `6m0s`, `1h0m0s`."""
    milliseconds = math.ceil(seconds * _SECOND_MS - _ROUNDING)
    if milliseconds <= 0:
        return "0s"
    if milliseconds < _SECOND_MS:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, _MINUTE_MS)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}h{minutes}m" if hours else (f"{minutes}m" if minutes else "")
    return f"{head}{rest / _SECOND_MS:g}s"


def _bucket(name: str, per_minute: float | None, burst_s: float) -> Bucket | None:
    if per_minute is None:
        return None
    return Bucket(name, per_minute, capacity=max(1.0, per_minute * burst_s / 60))


def _label(bucket: Bucket) -> str:
    return {"requests": "requests per min (RPM)", "tokens": "tokens per min (TPM)"}[bucket.name]
