"""Owns path and query of an adapter's requests: texts with expressions, filled so that no value leaves its place.

What an expression puts into a path is quoted and stays inside its segment, which may then be neither empty nor `.` or
`..`. A query parameter whose expression finds nothing is left out, and repeated for each item of a list.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from runner.endpoints.tree import ABSENT, compile_tree
from runner.errors import TemplateError
from runner.jsontext import dumps, scrub

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runner.endpoints.tree import Tree

_EXPRESSION = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_NO_SEGMENT = frozenset({"", ".", ".."})


@dataclass(frozen=True, slots=True)
class Target:
    """Compiled path and query. `render(context)` returns both as they stand in a request; it raises TemplateError.

    `reads` are the names that their expressions look up, each with the name looked up in that (see `Expression`).
    """

    render: Callable[[Mapping[str, Any]], str]
    reads: frozenset[tuple[str, str | None]]


def compile_target(path: str, query: Mapping[str, str], where: tuple[str, ...] = ()) -> Target:
    """Compile path and query, which were validated before; they stand at `where` in the adapter."""
    tree = compile_tree(path, (*where, "path"))
    fill = _filler(path, tree, ".".join((*where, "path")))
    parameters = {name: compile_tree(value, (*where, "query", name)) for name, value in query.items()}
    trees = (tree, *parameters.values())

    def render(context: Mapping[str, Any]) -> str:
        pairs = [pair for name, made in parameters.items() for pair in _pairs(name, made.render(context))]
        filled = fill(context)
        return f"{filled}?{urlencode(pairs, quote_via=quote)}" if pairs else filled

    return Target(render, frozenset((name, inner) for one in trees for _, name, inner in one.reads))


def _filler(path: str, tree: Tree, where: str) -> Callable[[Mapping[str, Any]], str]:
    if not tree.reads:
        return lambda _: path
    varies = [bool(_EXPRESSION.search(segment)) for segment in _EXPRESSION.sub("{{}}", path).split("/")]

    def fill(context: Mapping[str, Any]) -> str:
        filled: str = tree.render(_quoted(context))
        segments = filled.split("/")
        if len(segments) != len(varies):
            raise TemplateError(f"model.adapter: {where}: an expression puts a / into {path}")
        for segment, varying in zip(segments, varies, strict=True):
            if varying and segment in _NO_SEGMENT:
                what = f"`{segment}`" if segment else "nothing"
                raise TemplateError(f"model.adapter: {where}: {what} cannot stand between two / of {path}")
        return filled

    return fill


def _quoted(value: Any) -> Any:
    if isinstance(value, str):
        return quote(scrub(value), safe="")
    if isinstance(value, list):
        return [_quoted(item) for item in value]
    return {key: _quoted(item) for key, item in value.items()} if isinstance(value, dict) else value


def _pairs(name: str, value: Any) -> list[tuple[str, str]]:
    if value is ABSENT:
        return []
    return [(name, scrub(_as_text(one))) for one in (value if isinstance(value, list) else [value]) if one is not None]


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else dumps(value) or ""
