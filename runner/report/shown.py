"""Owns text as a page shows it: controls and marks that reorder text made visible, lengths bounded. Pure."""

from __future__ import annotations

import re
from typing import Any

from runner.jsontext import dumps, scrub

# Everything but tab and line end that a screen would obey: C0 and C1 controls, marks that reorder what stands around
# them, line ends that are none in HTML, and invisible tags.
_OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_PICTURES = 0x2400  # Unicode has a picture for each C0 control, in their order
_DELETE, _DELETE_PICTURE = 0x7F, "\u2421"
_MOST_NAME = 80


def visible(text: str) -> str:
    """Return text in which nothing is obeyed: ESC is shown as ␛, a mark such as U+202E by its number."""
    return _OBEYED.sub(_picture, scrub(text).replace("\r\n", "\n"))


def name_of(value: Any) -> str:
    """Return a value as a name on one line, 80 characters at most: of a column, a group, a model."""
    text = " ".join(visible(text_of(value)).split()) or "(empty)"
    return text if len(text) <= _MOST_NAME else text[: _MOST_NAME - 1] + "…"


def text_of(value: Any) -> str:
    """Return any value as text; what is no text as JSON."""
    if isinstance(value, str):
        return value
    return "(null)" if value is None else dumps(value) or str(value)


def cut(text: str, most: int) -> tuple[str, int]:
    """Return the beginning of a text, made visible, and how many characters are left out."""
    return visible(text[:most]), max(0, len(text) - most)


def _picture(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < ord(" "):
        return chr(_PICTURES + code)
    return _DELETE_PICTURE if code == _DELETE else f"⟦U+{code:04X}⟧"
