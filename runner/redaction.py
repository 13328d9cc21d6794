"""Owns keeping secrets out of all that is written or shown: a key is replaced in any form it may come back in."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MASK = "[redacted]"
_MASK_BYTES = MASK.encode()
_HTML_NAMES = {"&": ("&amp;",), "<": ("&lt;",), ">": ("&gt;",), '"': ("&quot;",), "'": ("&apos;",)}
# Local servers take any key; replacing "none" or "EMPTY" all over an answer would damage it and hide nothing.
_SHORTEST_SECRET = 8


class Redactor:
    """Replaces known secrets, also where a server echoes them: plain, escaped for JSON, URL or HTML, or in Base64."""

    __slots__ = ("_base64", "_escaped", "_hints")

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = sorted({secret for secret in secrets if len(secret) >= _SHORTEST_SECRET}, key=len, reverse=True)
        self._escaped = [re.compile(_pattern(secret).encode()) for secret in known]
        # Looking for a plain piece of a secret is much quicker than for the pattern, and nearly always settles it.
        self._hints = [_hints(secret) for secret in known]
        self._base64 = sorted({form for secret in known for form in _base64_forms(secret)}, key=len, reverse=True)

    def text(self, value: str) -> str:
        """Return the text without any secret."""
        data = value.encode("utf-8", "surrogatepass")
        clean = self.body(data)
        return value if clean is data else clean.decode("utf-8", "surrogatepass")

    def body(self, value: bytes) -> bytes:
        """Return the bytes without any secret; the same object when there is none in them."""
        for hints, pattern in zip(self._hints, self._escaped, strict=True):
            if any(hint in value for hint in hints):
                clean = pattern.sub(_MASK_BYTES, value)
                value = clean if clean != value else value
        for form in self._base64:
            if form in value:
                value = value.replace(form, _MASK_BYTES)
        return value


def _hints(secret: str) -> tuple[bytes, ...]:
    """Return pieces of which any text with the secret has one: its longest word, or its first letter escaped."""
    word = max(re.findall(r"[A-Za-z0-9]+", secret), key=len, default="")
    code = ord(secret[0])
    escaped = {f"\\u{code:04x}", f"\\u{code:04X}", f"%{code:02x}", f"%{code:02X}", f"&#{code};"}
    escaped |= {f"&#x{code:x};", f"&#x{code:X};", f"&#X{code:X};"}
    return tuple(hint.encode() for hint in (word, *sorted(escaped)))


def _pattern(secret: str) -> str:
    return "".join(_one_of(character) for character in secret)


def _one_of(character: str) -> str:
    """Return a pattern for one character of a secret in every form that JSON, URLs and HTML give it."""
    code = ord(character)
    forms = {
        re.escape(character),
        rf"\\u(?i:{code:04x})",
        rf"%(?i:{code:02x})",
        rf"&#0*{code};",
        rf"&#[xX]0*(?i:{code:x});",
    }
    if not character.isalnum():
        forms.add(r"\\" + re.escape(character))
        forms.update(re.escape(name) for name in _HTML_NAMES.get(character, ()))
        forms.update({r"\\\\"} if character == "\\" else ())
    return f"(?:{'|'.join(sorted(forms, key=len, reverse=True))})"


def _base64_forms(secret: str) -> set[bytes]:
    """Return what of a secret stands in any Base64 text around it, in each of the three alignments."""
    forms = set()
    for lead in range(3):
        encoded = base64.b64encode(b"\0" * lead + secret.encode()).decode().rstrip("=")
        inner = encoded[(0, 2, 3)[lead] : len(encoded) - 1]
        forms.update({inner.encode(), inner.replace("+", "-").replace("/", "_").encode()})
    return forms
