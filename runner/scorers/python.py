"""Owns the scorer python: a function of the user's, called for every answer. What it raises becomes a note."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from runner.errors import ConfigError, Problem
from runner.jsontext import scrub
from runner.records import Score
from runner.scorers.scorer import Scorer

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.scorers.scorer import Setting

_COLUMNS = ("sample_id", "repeat", "choice", "status", "text", "reasoning", "tool_calls", "finish_reason", "target")
_NAME = re.compile(r"[^\W\d][\w.]*:[^\W\d]\w*")
_MAX_NOTE = 500


@dataclass(frozen=True, slots=True)
class Options:
    """Which function, and what it gets."""

    function: str = field(metadata={"description": "`module:function`; the module has to be importable."})
    columns: list[str] = field(
        default_factory=list,
        metadata={"description": "Further columns of `responses` that the function wants, e.g. token_logprobs."},
    )
    options: dict[str, Any] = field(default_factory=dict, metadata={"description": "Keyword arguments of every call."})


def make(options: Options, setting: Setting) -> Scorer:
    """Return the scorer. Raises ConfigError where there is no such function."""
    function = _function(options.function)
    names = tuple(dict.fromkeys((*_COLUMNS, *setting.columns, *options.columns)))
    extra = dict(options.options)

    def call(*values: Any) -> Score:
        return _score(function(dict(zip(names, values, strict=True)), **extra))

    return Scorer(names, call)


def _function(path: str) -> Callable[..., Any]:
    if not _NAME.fullmatch(path):
        raise ConfigError([Problem("function", "expected module:function", "e.g. function: my_scorers:grade")])
    module, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:
        hint = "the module is looked for where Python looks: install it, or name its folder in PYTHONPATH"
        message = f"{path} cannot be loaded ({type(error).__name__}: {error})"
        raise ConfigError([Problem("function", message, hint)]) from error
    if not callable(found):
        raise ConfigError([Problem("function", f"{path} is no function")])
    function: Callable[..., Any] = found
    return function


def _score(result: Any) -> Score:
    """Read what a function returned: a number, a truth value, null, or one of them with a note."""
    value, note = result if isinstance(result, tuple) else (result, None)
    if note is not None:
        note = scrub(str(note))[:_MAX_NOTE]
    return Score(None if value is None else float(value), note)
