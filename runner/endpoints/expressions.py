"""Owns JMESPath: expressions compiled once, checked for what they read, and evaluated on hostile data.

An expression can only look values up: it calls nothing but JMESPath's own functions, whose results are bounded here.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, cast

import jmespath
from jmespath import functions
from jmespath.exceptions import JMESPathError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Node = dict[str, Any]

_LONGEST = 4096
_MOST_JOINED = 64 * 1024 * 1024
_SYNTAX = "JMESPath: a.b, a[0], a[?type=='text'].b, join(', ', a[].b)"
# What these give depends on no function and no number, so that they cannot fail whatever the value is.
_CERTAIN = frozenset(
    {
        *("field", "subexpression", "literal", "identity", "current", "index", "index_expression", "projection"),
        *("filter_projection", "value_projection", "flatten", "and_expression", "or_expression"),
        *("not_expression", "multi_select_list", "multi_select_dict", "key_val_pair", "pipe"),
    }
)
_LEFT_FIRST = frozenset({"subexpression", "index_expression", "projection", "filter_projection"})
_LEFT_FIRST |= {"value_projection", "pipe"}


class ExpressionError(ValueError):
    """An expression that cannot be compiled, or that fails on a value; `hint` says what is possible."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression.

    `search(value)` raises ExpressionError. `reads` are the names it looks up in the value itself, each with the name
    looked up in that, or null where it takes the whole; `@` stands for the value. `certain` says that it cannot fail.
    """

    text: str
    search: Callable[[Any], Any]
    reads: tuple[tuple[str, str | None], ...]
    certain: bool

    def find(self, value: Any) -> Any:
        """Return what is found; null where nothing is, or where the value does not have the shape it needs."""
        try:
            return self.search(value)
        except ExpressionError:
            return None


def compile_expression(text: str) -> Expression:
    """Compile an expression. Raises ExpressionError for what is none, and for a function that does not exist."""
    if len(text) > _LONGEST:
        raise ExpressionError(f"an expression of more than {_LONGEST:,} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a backquoted text without its own quotes
            parsed = jmespath.compile(text)
            tree = cast("Node", parsed.parsed)
            _check_functions(tree)
            certain = all(_is_certain(node) for node in _nodes(tree))
            reads = tuple(dict.fromkeys(_reads(tree, at_root=True)))
    except ExpressionError:
        raise
    except (JMESPathError, ValueError, RecursionError, Warning) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ExpressionError(f"not a JMESPath expression: {reason}"[:200], _SYNTAX) from error
    names = _plain_names(tree)
    search = _lookup(names) if names else _searcher(parsed, text)
    return Expression(text, search, reads, certain)


class _Functions(functions.Functions):
    """JMESPath's functions, `join` bounded: a long glue from the data could make of megabytes as many gigabytes."""

    @functions.signature({"types": ["string"]}, {"types": ["array-string"]})
    def _func_join(self, glue: str, items: list[str]) -> str:
        if len(glue) * len(items) + sum(map(len, items)) > _MOST_JOINED:
            raise ExpressionError(f"join() of more than {_MOST_JOINED:,} characters")
        return glue.join(items)


_OPTIONS = jmespath.Options(custom_functions=_Functions())


def _searcher(parsed: Any, text: str) -> Callable[[Any], Any]:
    def search(value: Any) -> Any:
        try:
            return parsed.search(value, options=_OPTIONS)
        except ExpressionError:
            raise
        except Exception as error:
            # The functions fail in many ways on data of another type; none of them is worth an answer.
            raise ExpressionError(f"`{text}` fails: {type(error).__name__}: {error}"[:300]) from error

    return search


def _plain_names(tree: Node) -> tuple[str, ...]:
    if tree["type"] == "field":
        return (tree["value"],)
    if tree["type"] == "subexpression" and all(child["type"] == "field" for child in tree["children"]):
        return tuple(child["value"] for child in tree["children"])
    return ()


def _lookup(names: tuple[str, ...]) -> Callable[[Any], Any]:
    """Return what looks up `a.b.c`, as most expressions do, without walking a tree."""

    def search(value: Any) -> Any:
        for name in names:
            if not isinstance(value, dict):
                return None
            value = value.get(name)
        return value

    return search


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    for child in node["children"]:
        if isinstance(child, dict):  # a slice has numbers here
            yield from _nodes(child)


def _is_certain(node: Node) -> bool:
    if node["type"] == "comparator":
        return node["value"] in {"eq", "ne"}  # a text is not less than a number
    return node["type"] in _CERTAIN


def _check_functions(tree: Node) -> None:
    known = _Functions.FUNCTION_TABLE
    for node in _nodes(tree):
        if node["type"] != "function_expression":
            continue
        name, count = node["value"], len(node["children"])
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f'did you mean "{close[0]}"?' if close else f"the functions are {', '.join(sorted(known))}"
            raise ExpressionError(f"there is no function {name}()", hint)
        wanted = known[name]["signature"]
        more = bool(wanted) and bool(wanted[-1].get("variadic"))
        if count < len(wanted) or (count > len(wanted) and not more):
            raise ExpressionError(f"{name}() takes {len(wanted)} arguments{' or more' if more else ''}, not {count}")


def _reads(node: Node, *, at_root: bool) -> Iterator[tuple[str, str | None]]:
    """Yield what a node looks up in the value that the whole expression is given."""
    kind, children = node["type"], node["children"]
    if kind == "slice":
        return
    if kind == "expref":
        at_root = False
    if kind == "field" and at_root:
        yield node["value"], None
    elif kind in {"current", "identity"} and at_root:
        yield "@", None
    elif kind == "subexpression" and at_root and children[0]["type"] == "field":
        yield children[0]["value"], _first_name(children[1])
        at_root = False
    for position, child in enumerate(children):
        inside = kind in _LEFT_FIRST and position > 0
        yield from _reads(child, at_root=at_root and not inside)


def _first_name(node: Node) -> str | None:
    """Return the name that a node begins with: `x` of `x[0].y`; null for anything but a name."""
    while node["type"] in _LEFT_FIRST or node["type"] == "flatten":
        node = node["children"][0]
    return node["value"] if node["type"] == "field" else None
