"""Owns one request of a content API as an adapter describes it: method, path, body and other texts, filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson

from runner.endpoints.target import compile_target
from runner.endpoints.tree import ABSENT, compile_tree

if TYPE_CHECKING:
    from collections.abc import Callable

# What expressions look up: model, knowledge_base, id, ….
Context: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Described:
    """A compiled request, which stands at `where` in the adapter; `reads` are the names it looks up.

    `path` and `body` fill a context in; they raise TemplateError.
    """

    where: str
    method: str
    path: Callable[[Context], str]
    body: Callable[[Context], bytes | None]
    reads: frozenset[str]

    def fill(self, context: Context) -> tuple[str, str, bytes | None]:
        """Return method, path and body of one request. Raises TemplateError."""
        return self.method, self.path(context), self.body(context)


@dataclass(frozen=True, slots=True)
class Texts:
    """Compiled texts by name. `fill` leaves out one whose expression finds nothing; it raises TemplateError."""

    fill: Callable[[Context], dict[str, str]]
    reads: frozenset[str]


def compile_request(values: Mapping[str, Any], where: tuple[str, ...]) -> Described:
    """Compile one request of `documents`, which was validated before."""
    target = compile_target(values["path"], values["query"], where)
    tree = compile_tree(values["body"], (*where, "body"))

    def body(context: Context) -> bytes | None:
        made = tree.render(context)
        return None if made is None or made is ABSENT else orjson.dumps(made)

    reads = {name for name, _ in target.reads} | {name for _, name, _ in tree.reads}
    return Described(".".join(where), values["method"], target.render, body, frozenset(reads))


def compile_texts(values: Mapping[str, str], where: tuple[str, ...]) -> Texts:
    """Compile texts, which were validated before."""
    trees = {name: compile_tree(value, (*where, name)) for name, value in values.items()}

    def fill(context: Context) -> dict[str, str]:
        made = {name: tree.render(context) for name, tree in trees.items()}
        return {name: _text(value) for name, value in made.items() if value is not ABSENT}

    return Texts(fill, frozenset(name for tree in trees.values() for _, name, _ in tree.reads))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
