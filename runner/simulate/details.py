"""Owns the settings of single faults: sizes, pauses, and where a redirect leads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class FaultDetails:
    """`retry_headers` go out with 429, 503 and 529; the redirects lead to `redirect_url`.

    `huge` sends `huge_bytes` of text, `gzip_bomb` a body that unpacks to `bomb_bytes` (about a thousandth on the wire),
    `drip` sends `drip_bytes` and then waits `drip_interval_s`, again and again; `stall` says nothing for `stall_s`.
    """

    retry_headers: Mapping[str, str] = field(default_factory=lambda: {"Retry-After": "1"})
    redirect_url: str = "http://elsewhere.invalid/v1/chat/completions"
    huge_bytes: int = 32 * _MIB
    bomb_bytes: int = 64 * _MIB
    drip_bytes: int = 16
    drip_interval_s: float = 0.5
    stall_s: float = 20.0
