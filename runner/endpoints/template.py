"""Owns templates: config values whose strings are Jinja2, compiled once into fast, sandboxed renderers.

A string that is exactly `{{ column }}` keeps the column's type. One made only of text and `{{ column }}` is joined
without Jinja2 and cannot fail when the columns are there. All else runs in Jinja2's immutable sandbox with
StrictUndefined; results of `*` and `**` are bounded there, since `'a' * 10**8` is legal Jinja2. Dataset values are
data: they are never rendered as templates.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jinja2
from jinja2 import meta, nodes
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from runner.errors import TemplateError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MARKERS = re.compile(r"\{\{|\{%|\{#")
_EXACT = re.compile(r"\A\s*\{\{-?\s*([A-Za-z_][A-Za-z0-9_]*)\s*-?\}\}\s*\Z")
_MAX_RENDERED = 16 * 1024 * 1024
_MAX_REPEATED = 1_000_000


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled config value. `columns` are the dataset columns it reads, in sorted order.

    `certain` says that rendering cannot fail for a row that has all of `columns` with a value.
    `render(values)` returns the JSON value; it raises TemplateError.
    """

    columns: tuple[str, ...]
    certain: bool
    render: Callable[[Mapping[str, Any]], Any]


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


_ENVIRONMENT = _Sandbox(
    undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False, finalize=_refuse_null
)


def compile_template(value: Any, where: str) -> Template:
    """Compile a JSON value all of whose strings may be templates. `where` is the config key named in errors.

    Raises TemplateError for a template that Jinja2 cannot compile.
    """
    if isinstance(value, str):
        return _compile_text(value, where)
    if isinstance(value, dict):
        fields = {key: compile_template(item, f"{where}.{key}") for key, item in value.items()}
        return _combine(value, list(fields.values()), _render_dict({k: t.render for k, t in fields.items()}))
    if isinstance(value, list):
        items = [compile_template(item, f"{where}.{number}") for number, item in enumerate(value)]
        return _combine(value, items, _render_list([t.render for t in items]))
    return _constant(value)


def _constant(value: Any) -> Template:
    return Template((), certain=True, render=lambda _: value)


def _combine(value: Any, inner: list[Template], render: Callable[[Mapping[str, Any]], Any]) -> Template:
    columns = tuple(sorted({column for template in inner for column in template.columns}))
    certain = all(template.certain for template in inner)
    if certain and not columns:
        return _constant(value)
    return Template(columns, certain, render)


def _render_dict(fields: dict[str, Callable[[Mapping[str, Any]], Any]]) -> Callable[[Mapping[str, Any]], Any]:
    pairs = tuple(fields.items())
    return lambda values: {key: render(values) for key, render in pairs}


def _render_list(items: list[Callable[[Mapping[str, Any]], Any]]) -> Callable[[Mapping[str, Any]], Any]:
    renders = tuple(items)
    return lambda values: [render(values) for render in renders]


def _compile_text(text: str, where: str) -> Template:
    if not _MARKERS.search(text):
        return _constant(text)
    try:
        tree = _ENVIRONMENT.parse(text)
        exact = _EXACT.match(text)
        if exact:
            column = exact.group(1)
            return Template((column,), certain=True, render=_column_render(column, where))
        pieces = _plain_pieces(tree)
        columns = tuple(sorted(meta.find_undeclared_variables(tree)))
        if pieces is not None:
            return Template(columns, certain=True, render=_joined(pieces, where))
        return Template(columns, certain=False, render=_jinja_render(_ENVIRONMENT.from_string(text), where))
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(
            f"{where}: the template cannot be read: {error.message} (line {error.lineno} of the text)",
            hint="templates are Jinja2: {{ column }}, {% if column %}…{% endif %}",
        ) from error


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


def _column_render(column: str, where: str) -> Callable[[Mapping[str, Any]], Any]:
    def render(values: Mapping[str, Any]) -> Any:
        try:
            return values[column]
        except KeyError:
            raise _missing(where, column) from None

    return render


def _jinja_render(template: jinja2.Template, where: str) -> Callable[[Mapping[str, Any]], str]:
    def render(values: Mapping[str, Any]) -> str:
        try:
            text = template.render(values)
        except jinja2.UndefinedError as error:
            raise TemplateError(f"{where}: {error.message}", hint="the row has no such column") from error
        except Exception as error:
            raise TemplateError(f"{where}: the template failed: {error}") from error
        if len(text) > _MAX_RENDERED:
            raise TemplateError(f"{where}: the rendered text is longer than {_MAX_RENDERED:,} characters")
        return text

    return render


def _missing(where: str, column: str) -> TemplateError:
    return TemplateError(f"{where}: the row has no column '{column}'")
