"""Owns `--set KEY=VALUE`: values as YAML, put into a document at a dotted key."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from runner.config.places import Document, Finding, Source, dotted, graft, value_at
from runner.config.yaml_text import MAX_DEPTH, read_yaml

if TYPE_CHECKING:
    from runner.config.places import KeyPath

_INDEX = re.compile(r"[0-9]{1,9}", re.ASCII)
# Numbers after those of the config (0) and the model file (1), so that problems come in the order of the command.
_FIRST_NUMBER = 2
_SYNTAX = "write --set limits.requests_per_minute=500, or --set request.messages.0.role=system for a list"


@dataclass(frozen=True, slots=True)
class Override:
    """One `--set`: its dotted key in parts, list indices still as text, and its value."""

    keys: tuple[str, ...]
    value: Document


def read_override(text: str, number: int) -> Override:
    """Read the `number`-th KEY=VALUE. Raises nothing: a text without a key has an empty `keys` and a finding."""
    key, equals, value = text.partition("=")
    keys = tuple(part.strip() for part in key.split("."))
    if not equals or not all(keys) or len(keys) > MAX_DEPTH:
        place = Source("--set", Path(), _FIRST_NUMBER + number, numbered=False).place(0, 0)
        return Override((), Document(None, {(): place}, (Finding(("--set",), "expected KEY=VALUE", _SYNTAX, place),)))
    source = Source(f"--set {dotted(keys)}", Path(), _FIRST_NUMBER + number, numbered=False)
    return Override(keys, read_yaml(value, source))


def with_override(document: Document, override: Override) -> Document:
    """Return the document with the override's value in it; what keeps it from being there is in the findings."""
    if not override.keys:
        return replace(document, findings=(*document.findings, *override.value.findings))
    path: KeyPath = ()
    for key in override.keys:
        here = value_at(document.values, path)
        if here is not None and not isinstance(here, dict | list):
            return _refused(document, override, f"{dotted(path)} is not a section and has no keys")
        if isinstance(here, list) and not (_INDEX.fullmatch(key) and int(key) < len(here)):
            return _refused(document, override, f"{dotted(path)} is a list of {len(here)}, counted from 0")
        path = (*path, int(key) if isinstance(here, list) else key)
    return graft(document, path, override.value)


def _refused(document: Document, override: Override, message: str) -> Document:
    finding = Finding(override.keys, message, place=override.value.places[()])
    return replace(document, findings=(*document.findings, finding))
