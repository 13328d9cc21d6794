"""Owns the scorer numeric: the number that an answer ends with is compared with that of the target."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from runner.records import Score
from runner.scorers.scorer import NO_TARGET, RIGHT, WRONG, Scorer

if TYPE_CHECKING:
    from runner.scorers.scorer import Setting

# Thousands are set apart by comma, point, apostrophe or the spaces that typography has for it; never a plain one.
_POINT = r"(?:[0-9]{1,3}(?:[,'\u2019\u00a0\u2009\u202f][0-9]{3})+(?![0-9])|[0-9]++)(?:\.[0-9]++)?|\.[0-9]++"
_COMMA = r"(?:[0-9]{1,3}(?:[.'\u2019\u00a0\u2009\u202f][0-9]{3})+(?![0-9])|[0-9]++)(?:,[0-9]++)?|,[0-9]++"
# A dash behind a word or a number is no sign: `10-5`, `(a)-5`.
_SIGN = r"(?:(?<![\w)])[-+\u2212])?[$\u20ac\u00a3]?"
_SEPARATORS = re.compile(r"['\u2019\u00a0\u2009\u202f$\u20ac\u00a3]")
_LONGEST = 100_000
_NOTHING = Score(0.0, "no number in the answer")
_NO_NUMBER = Score(None, "no number in the target")


@dataclass(frozen=True, slots=True)
class Options:
    """Which number counts, and how near it has to be."""

    tolerance: float = field(
        default=0.0, metadata={"ge": 0, "description": "Largest difference that is right, as an amount."}
    )
    relative_tolerance: float = field(
        default=0.0, metadata={"ge": 0, "description": "Largest difference that is right, as a share of the target."}
    )
    which: Literal["first", "last"] = field(
        default="last", metadata={"description": "Which of several numbers in the answer counts."}
    )
    decimal_comma: bool = field(
        default=False, metadata={"description": "1.234,5 is what others write as 1,234.5; for answer and target."}
    )


def make(options: Options, _setting: Setting) -> Scorer:
    """Return the scorer."""
    pattern = _pattern(_COMMA if options.decimal_comma else _POINT)

    def number(text: str, which: str) -> float | None:
        found = None
        for found in pattern.finditer(text):  # noqa: B007 - the last one is wanted
            if which == "first":
                break
        return None if found is None else _value(found, decimal_comma=options.decimal_comma)

    def compare(text: str | None, target: str | None) -> Score:
        if target is None:
            return NO_TARGET
        wanted = number(target[:_LONGEST], "last")
        if wanted is None:
            return _NO_NUMBER
        found = number((text or "")[-_LONGEST:] if options.which == "last" else (text or "")[:_LONGEST], options.which)
        if found is None:
            return _NOTHING
        near = abs(found - wanted) <= max(options.tolerance, options.relative_tolerance * abs(wanted))
        return RIGHT if near else WRONG

    def answer(text: str | None, _: str | None) -> str | None:
        found = number((text or "")[-_LONGEST:], options.which)
        return None if found is None else repr(found)

    return Scorer(("text", "target"), compare, answer=answer)


def _pattern(number: str) -> re.Pattern[str]:
    """Return the pattern of a number: a fraction in LaTeX, a fraction, or a plain number with its exponent."""
    fraction = rf"\\[dt]?frac\{{(?P<above>{_SIGN}(?:{number}))\}}\{{(?P<below>{number})\}}"
    plain = rf"(?P<number>(?:{number})(?:[eE][-+]?[0-9]{{1,4}}(?![0-9]))?)(?:[ ]?/[ ]?(?P<divisor>{number}))?"
    return re.compile(rf"(?P<sign>{_SIGN})(?:{fraction}|{plain})")


def _value(found: re.Match[str], *, decimal_comma: bool) -> float | None:
    """Return the number that was found; null where it is none that a float holds."""
    above, below = found["above"] or found["number"], found["below"] or found["divisor"]
    value = _float(above, decimal_comma=decimal_comma)
    if below is not None:
        divisor = _float(below, decimal_comma=decimal_comma)
        value = value / divisor if divisor else math.nan
    if found["sign"][:1] in {"-", "\u2212"}:
        value = -value
    return value if math.isfinite(value) else None


def _float(text: str, *, decimal_comma: bool) -> float:
    text = _SEPARATORS.sub("", text).replace("\u2212", "-")
    return float(text.replace(".", "").replace(",", ".") if decimal_comma else text.replace(",", ""))
