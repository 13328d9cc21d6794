"""Owns the body of an adapter's request: a tree of values whose texts may be expressions, evaluated without strings.

`"{{ EXPRESSION }}"` is the value that the expression finds, with its type; where it finds nothing, its key or list item
is left out. A text with more around it is joined. In a mapping, `$merge` puts the members of an object there (keys that
are written out win), `$omit` leaves some of these out, `$if` leaves the whole mapping out; `$$name` is a key `$name`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from runner.endpoints.expressions import ExpressionError, compile_expression
from runner.errors import TemplateError
from runner.jsontext import dumps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from runner.endpoints.expressions import Expression

    Render = Callable[[Any], Any]

_DIRECTIVES = ("$merge", "$omit", "$if")
_PIECES = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_EXACT = re.compile(r"\A\s*\{\{(.*)\}\}\s*\Z", re.DOTALL)
_MOST_JOINED = 16 * 1024 * 1024


class _Absent:
    """The value of an expression that finds nothing."""


ABSENT: Final = _Absent()


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing wrong in a tree, at a path of keys and list indices."""

    path: tuple[str | int, ...]
    message: str
    hint: str = ""


@dataclass(slots=True)
class Tree:
    """A compiled tree. `render(context)` gives a value, or ABSENT; it raises TemplateError.

    `reads` are the names its expressions look up (see `Expression`), each with the path it stands at; `certain` says
    that rendering cannot fail.
    """

    render: Render
    troubles: list[Trouble] = field(default_factory=list)
    reads: list[tuple[tuple[str | int, ...], str, str | None]] = field(default_factory=list)
    certain: bool = True


def compile_tree(value: Any, path: tuple[str | int, ...] = ()) -> Tree:
    """Compile a tree of JSON values; what is wrong in it is in `troubles`, and such a tree must not be rendered."""
    tree = Tree(_constant(None))
    tree.render = _node(value, path, tree)
    return tree


def is_true(value: Any) -> bool:
    """Say whether JMESPath takes a value for true: null, false and what is empty are not, 0 is."""
    return not (value is None or value is False or value is ABSENT or value in ("", [], {}))


def _node(value: Any, path: tuple[str | int, ...], tree: Tree) -> Render:
    if isinstance(value, str):
        return _text(value, path, tree)
    if isinstance(value, dict):
        return _mapping(value, path, tree)
    if isinstance(value, list):
        return _list([_node(item, (*path, number), tree) for number, item in enumerate(value)])
    return _constant(value)


def _constant(value: Any) -> Render:
    return lambda _: value


def _list(items: list[Render]) -> Render:
    return lambda context: [made for item in items if (made := item(context)) is not ABSENT]


def _mapping(value: dict[str, Any], path: tuple[str | int, ...], tree: Tree) -> Render:
    fields: list[tuple[str, Render]] = []
    for key, item in value.items():
        if key.startswith("$$") or not key.startswith("$"):
            fields.append((key.removeprefix("$"), _node(item, (*path, key), tree)))
        elif key not in _DIRECTIVES:
            close = get_close_matches(key, _DIRECTIVES, n=1)
            hint = f'did you mean "{close[0]}"?' if close else f"{', '.join(_DIRECTIVES)}; $${key[1:]} is a key {key}"
            tree.troubles.append(Trouble((*path, key), "unknown instruction", hint))
    merge = _expression_at("$merge", value, path, tree)
    condition = _expression_at("$if", value, path, tree)
    omitted = _omitted(value, path, tree)
    where = ".".join(map(str, path))

    def render(context: Any) -> Any:
        if condition is not None and not is_true(condition(context)):
            return ABSENT
        made: dict[str, Any] = {}
        if merge is not None and (found := merge(context)) is not ABSENT:
            if not isinstance(found, dict):
                raise TemplateError(f"model.adapter: {where}.$merge: what it finds is no object")
            made = {key: item for key, item in found.items() if key not in omitted}
        for key, item in fields:
            rendered = item(context)
            if rendered is not ABSENT:
                made[key] = rendered
        return made

    return render


def _expression_at(key: str, value: dict[str, Any], path: tuple[str | int, ...], tree: Tree) -> Render | None:
    if key not in value:
        return None
    text = value[key]
    if not isinstance(text, str) or not _EXACT.match(text):
        tree.troubles.append(Trouble((*path, key), "expected one expression", 'e.g. "{{ params }}"'))
        return None
    if key == "$merge" and text.strip("{} ") != "params":
        tree.certain = False  # `params` is always an object; what anything else is shows in the rows
    return _text(text, (*path, key), tree)


def _omitted(value: dict[str, Any], path: tuple[str | int, ...], tree: Tree) -> frozenset[str]:
    names = value.get("$omit", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        tree.troubles.append(Trouble((*path, "$omit"), "expected a list of names", "e.g. [tools, format]"))
        return frozenset()
    if names and "$merge" not in value:
        tree.troubles.append(Trouble((*path, "$omit"), "stands without $merge, from which it leaves names out"))
    return frozenset(names)


def _text(text: str, path: tuple[str | int, ...], tree: Tree) -> Render:
    if "{{" not in text:
        return _constant(text)
    exact = _EXACT.match(text)
    where = ".".join(map(str, path))
    try:
        if exact and (text.count("{{") == 1 or _compiles(exact.group(1))):
            return _found(_read(exact.group(1), path, tree), where)
        return _joined(list(_pieces(text, path, tree)), where, tree)
    except ExpressionError as error:
        tree.troubles.append(Trouble(path, error.message, error.hint))
        return _constant(None)


def _compiles(text: str) -> bool:
    try:
        compile_expression(text.strip())
    except ExpressionError:
        return False
    return True


def _read(text: str, path: tuple[str | int, ...], tree: Tree) -> Expression:
    expression = compile_expression(text.strip())
    tree.reads += [(path, name, inner) for name, inner in expression.reads]
    tree.certain = tree.certain and expression.certain
    return expression


def _found(expression: Expression, where: str) -> Render:
    def render(context: Any) -> Any:
        try:
            value = expression.search(context)
        except ExpressionError as error:
            raise TemplateError(f"model.adapter: {where}: {error.message}") from error
        return ABSENT if value is None else value

    return render


def _pieces(text: str, path: tuple[str | int, ...], tree: Tree) -> Iterable[str | Expression]:
    end = 0
    for match in _PIECES.finditer(text):
        yield text[end : match.start()]
        yield _read(match.group(1), path, tree)
        end = match.end()
    rest = text[end:]
    if "{{" in rest:
        raise ExpressionError("a {{ that no }} closes")
    yield rest


def _joined(pieces: list[str | Expression], where: str, tree: Tree) -> Render:
    tree.certain = False

    def render(context: Any) -> str:
        parts = [piece if isinstance(piece, str) else _as_text(piece, context, where) for piece in pieces]
        if sum(map(len, parts)) > _MOST_JOINED:
            raise TemplateError(f"model.adapter: {where}: the text is longer than {_MOST_JOINED:,} characters")
        return "".join(parts)

    return render


def _as_text(expression: Expression, context: Any, where: str) -> str:
    try:
        value = expression.search(context)
    except ExpressionError as error:
        raise TemplateError(f"model.adapter: {where}: {error.message}") from error
    if value is None:
        hint = f"write {{{{ {expression.text} || '' }}}} if that is meant"
        raise TemplateError(
            f"model.adapter: {where}: `{expression.text}` finds nothing to put into the text", hint=hint
        )
    return value if isinstance(value, str) else dumps(value) or ""
