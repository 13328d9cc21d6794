"""Owns the limits a user may set for an endpoint: the `limits` section of a config."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Limits:
    """What a server permits; null is unlimited (or unknown), counts are per minute and above zero.

    The ranges and descriptions in each field's metadata are what the config file is validated and documented by.
    """

    max_in_flight: int | Literal["auto"] = field(
        default="auto",
        metadata={
            "description": "Requests under way at the same time, 1 or more; or `auto`: as many as the server takes."
        },
    )
    requests_per_minute: float | None = field(
        default=None, metadata={"gt": 0, "description": "Requests the server permits in a minute."}
    )
    tokens_per_minute: float | None = field(
        default=None, metadata={"gt": 0, "description": "Tokens, of prompts and answers together, in a minute."}
    )
    input_tokens_per_minute: float | None = field(
        default=None,
        metadata={"gt": 0, "description": "Prompt tokens in a minute, if the server counts them apart."},
    )
    output_tokens_per_minute: float | None = field(
        default=None,
        metadata={"gt": 0, "description": "Answer tokens in a minute, if the server counts them apart."},
    )
