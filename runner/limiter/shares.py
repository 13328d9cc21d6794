"""Owns how much of one limit each process may use, out of what all of them say of it. Pure.

A limit is filled up evenly, first to what each could use, then, with what nobody asks for, to what each knows as the
limit. A process takes less at once and more only out of what the others have written off, so that the parts never add
up to more than the limit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runner.limiter.headers import Unit

# Whoever wants nothing is left this much of an even part: to begin with, until the others have made room.
_LEAST = 0.05
# A remainder of sums of floats is no part.
_NOTHING = 1e-6


@dataclass(frozen=True, slots=True)
class Claim:
    """What one process says of one limit, in units a minute: the limit as it knows it, what it wants, what it has."""

    limit: float
    wanted: float
    granted: float = 0.0


def renewed(mine: Mapping[Unit, Claim], others: Sequence[Mapping[Unit, Claim]]) -> dict[Unit, Claim]:
    """Return a process's claims with what it may use of each limit from now on."""
    return {
        unit: replace(claim, granted=next_grant(claim, [one[unit] for one in others if unit in one]))
        for unit, claim in mine.items()
    }


def next_grant(mine: Claim, others: Sequence[Claim]) -> float:
    """Return what a process may use from now on, given what the others have said."""
    fair = fair_parts([mine, *others])[0]
    if mine.granted >= fair:
        return fair
    limit = max(one.limit for one in (mine, *others))
    free = limit - sum(one.granted for one in others)
    grant = min(fair, max(mine.granted, free))
    return grant if grant > _NOTHING * limit else 0.0


def fair_parts(claims: Sequence[Claim]) -> list[float]:
    """Return the part that each should have; together they are the highest limit, or all that may be used of it."""
    limit = max(one.limit for one in claims)
    least = _LEAST * limit / len(claims)
    parts = _filled(limit, [min(one.limit, max(one.wanted, least)) for one in claims])
    rest = _filled(limit - sum(parts), [one.limit - part for one, part in zip(claims, parts, strict=True)])
    return [part + more for part, more in zip(parts, rest, strict=True)]


def _filled(total: float, most: Sequence[float]) -> list[float]:
    """Return `total` poured out evenly, to each no more than its most."""
    level, left = math.inf, max(total, 0.0)
    for number, one in enumerate(sorted(most)):
        if one * (len(most) - number) >= left:
            level = left / (len(most) - number)
            break
        left -= one
    return [min(one, level) for one in most]
