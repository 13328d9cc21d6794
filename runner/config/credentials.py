"""Owns telling a credential from a harmless value, so that none is stored in a config or shown in a message.

Known prefixes decide whether a value is refused. Whether a value is shown is decided more strictly: a long run of
letters and digits is kept back, since a message ends up in logs.
"""

from __future__ import annotations

import json
import re
from typing import Any

# Beginnings that the large services give their keys, JSON web tokens, and values of an Authorization header.
_KEY = re.compile(
    r"\b(?:sk[-_]|gsk_|csk-|hf_|xai-|nvapi-|pplx-|r8_|gh[opsu]_|github_pat_|glpat-|xox[abprs]-|tgp_v1_|AIza|AKIA|eyJ)"
    r"[A-Za-z0-9_-]{12,}"
    r"|\b(?:bearer|basic)\s+[A-Za-z0-9+/=._~-]{8,}",
    re.IGNORECASE,
)
_RANDOM_RUN = re.compile(r"(?=[^\s.,:;!?]*[0-9])(?=[^\s.,:;!?]*[A-Za-z])[A-Za-z0-9_+/=-]{20,}")
_CREDENTIAL_HEADER = re.compile(
    r"^(proxy-)?authorization$|^(set-)?cookie$|^api-?key$|^x-auth|token|secret|passw|credential|api[-_]?key",
    re.IGNORECASE,
)
_CREDENTIAL_FIELD = re.compile(
    r"^(api[-_]?key|token|(auth|access|bearer)[-_]?token|authorization|secret|client[-_]?secret|password)$",
    re.IGNORECASE,
)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_SHORTEST_BARE_KEY = 20
_LONGEST_SHOWN = 80


def holds_key(text: str) -> bool:
    """Return whether a known form of key, or the value of an Authorization header, stands in the text."""
    return _KEY.search(text) is not None


def is_bare_key(text: str) -> bool:
    """Return whether what should be the name of a variable looks like a key instead."""
    mixed = any(c.isdigit() for c in text) and any(c.islower() for c in text) and "_" not in text
    return text.startswith("sk-") or holds_key(text) or (mixed and len(text) >= _SHORTEST_BARE_KEY)


def names_variable(text: str) -> bool:
    """Return whether a text can be the name of an environment variable, and does not look like a key itself."""
    return _VARIABLE.fullmatch(text) is not None and not is_bare_key(text)


def names_credential(header: str) -> bool:
    """Return whether an HTTP header of this name usually carries a credential."""
    return _CREDENTIAL_HEADER.search(header) is not None


def is_credential_field(key: str) -> bool:
    """Return whether a key of a config or of a request's body is the usual name of a credential."""
    return _CREDENTIAL_FIELD.search(key) is not None


def shown(value: Any) -> str:
    """Return how a found value is named in a message: short, inert in a terminal, and never a credential."""
    if isinstance(value, str):
        return shown_text(value)
    if value is None or isinstance(value, bool | int | float):
        return _cut(json.dumps(value))
    if isinstance(value, dict):
        return "a mapping"
    return "a list" if isinstance(value, list | tuple) else f"a Python {type(value).__name__}"


def shown_text(text: str) -> str:
    """Return a text in quotes, or only its length where it may be a credential."""
    if holds_key(text) or _RANDOM_RUN.search(text):
        return f"a text of {len(text)} characters"
    return f'"{inert(_cut(text))}"'


def shown_key(key: str) -> str:
    """Return a key as it is named in a message; a key that may itself be a credential is masked."""
    return "[hidden]" if holds_key(key) else inert(_cut(key))


def inert(text: str) -> str:
    """Return the text with everything escaped that a terminal could obey, or that UTF-8 cannot hold."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"
