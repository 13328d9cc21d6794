"""Owns how often and how long a failed request is sent again: the `retry` section of a config."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When to send again and when to give up; times are in seconds.

    The ranges and descriptions in each field's metadata are what the config file is validated and documented by.
    """

    max_attempts: int = field(
        default=8,
        metadata={
            "ge": 1,
            "description": "Failures of the request itself before its row has failed; 429, 503, 529 and a server "
            "that is out do not count.",
        },
    )
    max_timeouts: int = field(
        default=1,
        metadata={"ge": 0, "description": "Time-outs that are sent again: each may have been billed already."},
    )
    first_wait_s: float = field(
        default=0.5, metadata={"gt": 0, "description": "Longest wait before the first retry; doubles with each retry."}
    )
    max_wait_s: float = field(default=60.0, metadata={"gt": 0, "description": "Longest wait between two attempts."})
    deadline_s: float = field(
        default=3600.0,
        metadata={
            "gt": 0,
            "description": "From a row's first send to giving it up, without time spent in the limiter or a pause.",
        },
    )
