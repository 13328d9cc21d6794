"""Owns making texts comparable before they are compared, as options say; and several right answers in one target."""

from __future__ import annotations

import re
import string
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_DIGITS = str.maketrans("", "", string.digits)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Normalisation:
    """What does not count when an answer is compared with the target; both are treated alike."""

    strip: bool = field(default=True, metadata={"description": "White space around the text does not count."})
    ignore_case: bool = field(default=False, metadata={"description": "Upper and lower case are the same."})
    ignore_punctuation: bool = field(default=False, metadata={"description": "ASCII punctuation does not count."})
    ignore_numbers: bool = field(default=False, metadata={"description": "The digits 0 to 9 do not count."})
    ignore_articles: bool = field(default=False, metadata={"description": "The words a, an, the do not count."})
    collapse_spaces: bool = field(default=False, metadata={"description": "Any white space is one space."})
    unicode: Literal["NFC", "NFKC"] | None = field(
        default=None, metadata={"description": "Unicode normal form in which texts are compared."}
    )
    any_of: bool = field(
        default=False, metadata={"description": "The target is a JSON list, each of whose texts is a right answer."}
    )


def normaliser(options: Normalisation) -> Callable[[str], str]:
    """Return the function that makes a text comparable."""
    steps = list(_steps(options))
    if not steps:
        return str
    if len(steps) == 1:
        return steps[0]

    def normalise(text: str) -> str:
        for step in steps:
            text = step(text)
        return text

    return normalise


def _steps(options: Normalisation) -> list[Callable[[str], str]]:
    form = options.unicode
    chosen: list[tuple[bool, Callable[[str], str]]] = [
        (form is not None, lambda text: unicodedata.normalize(form or "NFC", text)),
        (options.ignore_case, str.casefold),
        (options.ignore_punctuation, lambda text: text.translate(_PUNCTUATION)),
        (options.ignore_numbers, lambda text: text.translate(_DIGITS)),
        (options.ignore_articles, lambda text: _ARTICLES.sub(" ", text)),
        (options.collapse_spaces, lambda text: " ".join(text.split())),
        (options.strip, str.strip),
    ]
    return [step for wanted, step in chosen if wanted]


def targets_of(target: str, *, any_of: bool) -> list[str]:
    """Return the right answers that a target names. Raises ValueError where `any_of` meets no list."""
    if not any_of:
        return [target]
    try:
        values = orjson.loads(target)
    except orjson.JSONDecodeError:
        values = None
    if not isinstance(values, list) or not values:
        raise ValueError("the target is no JSON list (any_of: true)")
    return [value if isinstance(value, str) else orjson.dumps(value).decode() for value in values]
