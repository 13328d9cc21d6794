"""Owns loading the libraries of the extra `scores`, when the first scorer that wants one is made."""

from __future__ import annotations

import importlib
from typing import Any

from runner.errors import ConfigError, Problem

# Of hostile answers no more than this is compared: what these take grows with the product of both lengths.
_LONGEST = 50_000
_PRODUCT = 200_000_000


def library(name: str) -> Any:
    """Return a module. Raises ConfigError that says how to install it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        hint = "pip install 'evalrunner[scores]'"
        raise ConfigError(
            [Problem("name", f"the package of {name.partition('.')[0]} is not installed", hint)]
        ) from error


def shortened(text: str | None, target: str) -> tuple[str, str | None]:
    """Return as much of an answer as is compared with the target, and a note if that is not all of it."""
    text = text or ""
    longest = min(_LONGEST, _PRODUCT // max(len(target), 1))
    if len(text) <= longest:
        return text, None
    return text[:longest], f"only the first {longest:,} characters were compared"
