"""Owns numbers as a report writes them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

NOTHING: Final = "–"
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400


def number(value: float | None) -> str:
    """Return a number with four digits that count, or a whole one with all of them."""
    if value is None:
        return NOTHING
    if value == int(value) and abs(value) < 1e15:  # noqa: PLR2004 - floats hold whole numbers so far
        return f"{int(value):,}"
    return f"{value:,.4g}" if abs(value) < 1_000 else f"{value:,.0f}"  # noqa: PLR2004 - as above


def score(value: float | None) -> str:
    """Return a score: three places, fewer of large ones."""
    if value is None:
        return NOTHING
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"  # noqa: PLR2004 - scores of 0 to 100 say enough so


def percent(part: float, whole: float) -> str:
    """Return a share; what is there at all is never 0 %, what is missing at all never 100 %."""
    if not whole:
        return NOTHING
    share = 100 * part / whole
    if 0 < share < 0.1:  # noqa: PLR2004 - the smallest share that is written as one
        return "< 0.1 %"
    if 99.9 < share < 100:  # noqa: PLR2004 - likewise
        return "> 99.9 %"
    return f"{share:.3g} %"


def seconds(value: float | None) -> str:
    """Return a length of time in the unit that fits."""
    if value is None:
        return NOTHING
    if value < 2 * _MINUTE:
        return _short_time(value)
    if value < 2 * _HOUR:
        return f"{int(value // _MINUTE)} min {int(value % _MINUTE):02d} s"
    if value < 2 * _DAY:
        return f"{int(value // _HOUR)} h {int(value % _HOUR // _MINUTE):02d} min"
    return f"{value / _DAY:.1f} days"


def _short_time(value: float) -> str:
    if value < 1e-4:  # noqa: PLR2004 - less is no wait
        return "0 s"
    return f"{value * 1000:.3g} ms" if value < 0.9995 else f"{value:.3g} s"  # noqa: PLR2004 - what rounds to a second is one


def dollars(value: float | None) -> str:
    """Return an amount in US dollars."""
    if value is None:
        return NOTHING
    if value == 0:
        return "$0"
    return f"${value:,.2f}" if value >= 1 else f"${value:.4g}"


def size(count: int) -> str:
    """Return a number of bytes."""
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"  # noqa: PLR2004 - units


def change(value: float | None, form: Callable[[float | None], str]) -> str:
    """Return a difference with its sign, the amount as `form` writes it."""
    if value is None:
        return NOTHING
    return f"{'+' if value > 0 else '−' if value < 0 else ''}{form(abs(value))}"  # noqa: RUF001 - the sign for minus


def share(value: float | None) -> str:
    """Return a fraction as a share of 100."""
    return NOTHING if value is None else percent(value, 1)


def points(value: float | None) -> str:
    """Return the difference of two fractions in percentage points."""
    return NOTHING if value is None else f"{100 * value:.3g} points"


def chance(value: float | None) -> str:
    """Return a p-value."""
    if value is None:
        return NOTHING
    return f"{value:.2g}" if value >= 1e-4 else "< 0.0001"  # noqa: PLR2004 - smaller ones say no more
