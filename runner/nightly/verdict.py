"""Owns what a night comes to by its configs: the exit code, and the verdict in one sentence. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.errors import gravest
from runner.nightly.outcome import GOOD, INCOMPLETE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runner.nightly.record import ConfigRecord


def exit_code_of(configs: Iterable[ConfigRecord], troubles: Iterable[int]) -> int:
    """Return the night's exit code: the gravest of its configs and of its own troubles."""
    codes = [INCOMPLETE if one.exit_code is None else one.exit_code for one in configs]
    return gravest([*codes, *troubles])


def verdict_of(configs: Sequence[ConfigRecord]) -> str:
    """Return the night's verdict in one sentence."""
    bad = [one for one in configs if one.state != GOOD]
    worse = worse_of(one for one in configs if one.state == GOOD)
    recovered = [one.name for one in configs if one.event == "recovery"]
    if len(configs) == 1 and not bad:
        return f"good{' again' if recovered else ''}{'; its scores are worse than before' if worse else ''}"
    told = "; ".join(f"{one.name}: {one.verdict}" for one in bad[:3])
    more = f"; {len(bad) - 3} more" if len(bad) > 3 else ""  # noqa: PLR2004 - a sentence names three
    if len(configs) == 1:
        return told
    first = f"{len(bad)} of {len(configs)} bad: {told}{more}" if bad else f"all {len(configs)} good"
    again = f"; good again: {', '.join(recovered)}" if recovered else ""
    return f"{first}{again}" + (f"; worse scores: {', '.join(worse)}" if worse else "")


def worse_of(configs: Iterable[ConfigRecord]) -> list[str]:
    """Return the names of configs whose scores are worse than those of the run they are compared with."""
    return [one.name for one in configs if one.comparison is not None and one.comparison["verdict"] == "worse"]
