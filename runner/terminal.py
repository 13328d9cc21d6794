"""Owns making text safe to show: model output, file names and server messages must not steer a terminal."""

from __future__ import annotations

import re

# C0 and C1 controls but tab and line end, and the marks that reorder text on screen.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def inert(text: str) -> str:
    """Return the text without control characters and without marks that reorder it on screen."""
    return _CONTROL.sub("\ufffd", text)
