"""Owns what model.adapter can name: openai, an adapter that is shipped, or a file."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from runner.config.credentials import shown_text
from runner.config.places import Finding

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

NATIVE = "openai"
_SUFFIXES = (".yaml", ".yml")


@cache
def shipped_adapters() -> tuple[str, ...]:
    """Return the names of the adapters that come with the package."""
    return tuple(
        sorted(file.name.removesuffix(".yaml") for file in shipped_folder().iterdir() if file.name.endswith(".yaml"))
    )


def is_adapter_path(name: str) -> bool:
    """Say whether model.adapter names a file."""
    return name.endswith(_SUFFIXES)


def adapter_finding(name: str) -> Finding | None:
    """Return what is wrong with the value of model.adapter; null when it can be an adapter."""
    known = [NATIVE, *shipped_adapters()]
    if name in known or is_adapter_path(name):
        return None
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f'did you mean "{close[0]}"?' if close else f"the names are {', '.join(known)}"
    return Finding(("model", "adapter"), f"expected openai or a file *.yaml, found {shown_text(name)}", hint)


def shipped_folder() -> Traversable:
    """Return the folder of the shipped adapters."""
    return files("runner") / "adapters"
