"""Owns templates: config values whose strings are Jinja2, compiled once into fast, sandboxed renderers.

A string that is exactly `{{ column }}` keeps the column's type. One made only of text and `{{ column }}` is joined
without Jinja2 and cannot fail when the columns are there. All else runs in Jinja2's immutable sandbox with
StrictUndefined; results of `*` and `**` are bounded there, since `'a' * 10**8` is legal Jinja2. Dataset values are
data: they are never rendered as templates. Whoever compiles a template may give it filters of his own, which may do
what this module never does, such as reading files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

import jinja2
from jinja2 import meta, nodes
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from orjson import OPT_SORT_KEYS, dumps

from runner.errors import TemplateError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Piece: TypeAlias = "bytes | Callable[[Mapping[str, Any]], bytes]"
# By name: functions of the value and of further arguments. They raise TemplateError for a value they do not take.
Filters: TypeAlias = "Mapping[str, Callable[..., str]]"

_MARKERS = re.compile(r"\{\{|\{%|\{#")
_EXACT = re.compile(r"\A(\s*)\{\{(-?)\s*([A-Za-z_][A-Za-z0-9_]*)\s*(-?)\}\}(\s*)\Z")
_MAX_RENDERED = 16 * 1024 * 1024
# With filters that put whole files into a text.
_MAX_FILTERED = 96 * 1024 * 1024
_MAX_REPEATED = 1_000_000
_NO_FILTERS: Filters = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled config value. `columns` are the dataset columns it reads, in sorted order.

    `certain` says that rendering cannot fail for a row that has all of `columns` with a value.
    `render(values)` returns the JSON value; it raises TemplateError. `pieces` joined are the same value as JSON with
    sorted keys, without the detour over objects: bytes that are always the same, and functions for the others.
    `filtered` says that it uses one of the filters it was compiled with.
    """

    columns: tuple[str, ...]
    certain: bool
    render: Callable[[Mapping[str, Any]], Any]
    pieces: tuple[Piece, ...]
    filtered: bool = False

    @classmethod
    def varying(
        cls,
        columns: tuple[str, ...],
        render: Callable[[Mapping[str, Any]], Any],
        *,
        certain: bool,
        filtered: bool = False,
    ) -> Template:
        """Return a template all of which depends on the row."""
        return cls(columns, certain, render, (lambda values: dumps(render(values), option=OPT_SORT_KEYS),), filtered)

    @property
    def constant(self) -> bool:
        """Whether it is the same for every row."""
        return self.certain and not self.columns

    def encoder(self) -> Callable[[Mapping[str, Any]], bytes]:
        """Return a function that gives a row's JSON. It raises TemplateError; TypeError for what JSON cannot hold."""
        pieces = self.pieces
        if len(pieces) == 1 and not isinstance(pieces[0], bytes):
            return pieces[0]
        return lambda values: b"".join([piece if isinstance(piece, bytes) else piece(values) for piece in pieces])


class _Sandbox(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any) -> Any:
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        if operator == "**" and (not numbers or abs(right) > 64):  # noqa: PLR2004 - an exponent no prompt needs
            raise SecurityError("the power is too large")
        if operator == "*" and not numbers:
            size = len(left) * right if hasattr(left, "__len__") else len(right) * left
            if size > _MAX_REPEATED:
                raise SecurityError(f"a repetition of more than {_MAX_REPEATED:,} characters")
        return super().call_binop(context, operator, left, right)


def _refuse_null(value: Any) -> Any:
    if value is None:
        raise jinja2.TemplateRuntimeError("a value is null; write {{ column or '' }} if that is meant")
    return value


def _environment(filters: Filters = _NO_FILTERS) -> _Sandbox:
    environment = _Sandbox(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False, finalize=_refuse_null
    )
    environment.filters.update({name: _applied(function) for name, function in filters.items()})
    return environment


def _applied(function: Callable[..., str]) -> Callable[..., str]:
    @jinja2.pass_context  # so that Jinja2 does not apply it to a constant while it compiles
    def apply(_: jinja2.runtime.Context, value: Any, *arguments: Any, **named: Any) -> str:
        if isinstance(value, jinja2.Undefined):
            str(value)  # raises the error that names the column
        return function(value, *arguments, **named)

    return apply


_ENVIRONMENT = _environment()


def compile_template(value: Any, where: str, filters: Filters = _NO_FILTERS) -> Template:
    """Compile a JSON value all of whose strings may be templates. `where` is the config key named in errors.

    `filters` are there besides Jinja2's own. Raises TemplateError for a template that Jinja2 cannot compile.
    """
    if isinstance(value, str):
        return _compile_text(value, where, filters)
    if isinstance(value, dict):
        return join_fields({key: compile_template(item, f"{where}.{key}", filters) for key, item in value.items()})
    if isinstance(value, list):
        return _join_items([compile_template(item, f"{where}.{number}", filters) for number, item in enumerate(value)])
    return _constant(value)


def join_fields(fields: Mapping[str, Template]) -> Template:
    """Return the template of an object out of those of its fields."""
    renders = tuple((key, template.render) for key, template in fields.items())
    pieces: list[Piece] = []
    for key in sorted(fields):
        pieces += [b"," if pieces else b"{", dumps(key), b":", *fields[key].pieces]
    return _combine(
        list(fields.values()),
        lambda values: {key: render(values) for key, render in renders},
        [*pieces, b"}"] if pieces else [b"{}"],
    )


def _join_items(items: list[Template]) -> Template:
    renders = tuple(template.render for template in items)
    pieces: list[Piece] = []
    for template in items:
        pieces += [b"," if pieces else b"[", *template.pieces]
    return _combine(
        items, lambda values: [render(values) for render in renders], [*pieces, b"]"] if pieces else [b"[]"]
    )


def _combine(inner: list[Template], render: Callable[[Mapping[str, Any]], Any], pieces: list[Piece]) -> Template:
    columns = tuple(sorted({column for template in inner for column in template.columns}))
    certain = all(template.certain for template in inner)
    if certain and not columns:
        value = render({})
        return Template((), certain=True, render=lambda _: value, pieces=_merged(pieces))
    return Template(columns, certain, render, _merged(pieces), any(template.filtered for template in inner))


def _constant(value: Any) -> Template:
    return Template((), certain=True, render=lambda _: value, pieces=(dumps(value, option=OPT_SORT_KEYS),))


def _merged(pieces: list[Piece]) -> tuple[Piece, ...]:
    """Join constant pieces that follow each other."""
    merged: list[Piece] = []
    for piece in pieces:
        if merged and isinstance(piece, bytes) and isinstance(merged[-1], bytes):
            merged[-1] += piece
        else:
            merged.append(piece)
    return tuple(merged)


def _compile_text(text: str, where: str, filters: Filters) -> Template:
    if not _MARKERS.search(text):
        return _constant(text)
    try:
        tree = _ENVIRONMENT.parse(text)
        exact = _EXACT.match(text)
        if exact:
            before, cuts_before, column, cuts_after, after = exact.groups()
            around = ("" if cuts_before else before, "" if cuts_after else after)
            return Template.varying((column,), _column_render(column, around, where), certain=True)
        pieces = _plain_pieces(tree)
        filtered, environment = _names_one(tree, filters), _ENVIRONMENT
        if filtered:
            environment = _environment(filters)
            tree.set_environment(environment)
        columns = tuple(sorted(meta.find_undeclared_variables(tree)))
        if pieces is not None:
            return Template.varying(columns, _joined(pieces, where), certain=True)
        render = _jinja_render(environment.from_string(text), where, _MAX_FILTERED if filtered else _MAX_RENDERED)
        return Template.varying(columns, render, certain=False, filtered=filtered)
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(
            f"{where}: the template cannot be read: {error.message} (line {error.lineno} of the text)",
            hint="templates are Jinja2: {{ column }}, {% if column %}…{% endif %}",
        ) from error


def _names_one(tree: nodes.Template, filters: Filters) -> bool:
    """Say whether a template uses one of the filters; one that stands in quotes may be used by `map`."""
    used = {node.name for node in tree.find_all(nodes.Filter)} if filters else set()
    quoted = {node.value for node in tree.find_all(nodes.Const) if type(node.value) is str} if filters else set()
    return not filters.keys().isdisjoint(used | quoted)


def _plain_pieces(tree: nodes.Template) -> list[tuple[bool, str]] | None:
    pieces: list[tuple[bool, str]] = []
    for output in tree.body:
        if not isinstance(output, nodes.Output):
            return None
        for node in output.nodes:
            if isinstance(node, nodes.TemplateData):
                pieces.append((False, node.data))
            elif isinstance(node, nodes.Name):
                pieces.append((True, node.name))
            else:
                return None
    return pieces


def _joined(pieces: list[tuple[bool, str]], where: str) -> Callable[[Mapping[str, Any]], str]:
    def render(values: Mapping[str, Any]) -> str:
        parts = []
        for is_column, text in pieces:
            if not is_column:
                parts.append(text)
                continue
            try:
                value = values[text]
            except KeyError:
                raise _missing(where, text) from None
            if value is None:
                raise TemplateError(f"{where}: column '{text}' is null", hint=f"write {{{{ {text} or '' }}}}")
            parts.append(value if type(value) is str else str(value))
        return "".join(parts)

    return render


def _column_render(column: str, around: tuple[str, str], where: str) -> Callable[[Mapping[str, Any]], Any]:
    """Return what gives a column's value as it is; a text keeps the white space that stands around its place."""

    def render(values: Mapping[str, Any]) -> Any:
        try:
            return values[column]
        except KeyError:
            raise _missing(where, column) from None

    def render_within(values: Mapping[str, Any]) -> Any:
        value = render(values)
        return around[0] + value + around[1] if type(value) is str else value

    return render_within if any(around) else render


def _jinja_render(template: jinja2.Template, where: str, longest: int) -> Callable[[Mapping[str, Any]], str]:
    def render(values: Mapping[str, Any]) -> str:
        try:
            text = template.render(values)
        except jinja2.UndefinedError as error:
            raise TemplateError(f"{where}: {error.message}", hint="the row has no such column") from error
        except TemplateError as error:
            raise TemplateError(f"{where}: {error.message}", hint=error.hint) from error
        except Exception as error:
            raise TemplateError(f"{where}: the template failed: {error}") from error
        if len(text) > longest:
            raise TemplateError(f"{where}: the rendered text is longer than {longest:,} characters")
        return text

    return render


def _missing(where: str, column: str) -> TemplateError:
    return TemplateError(f"{where}: the row has no column '{column}'")
