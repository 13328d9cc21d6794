"""Owns what the parts of an adapter have to obey: paths, query parameters, trees, expressions, and what they read."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from runner.config.credentials import is_credential_field, shown_key
from runner.config.places import Finding
from runner.endpoints.adapter import CHOSEN, CONTEXT, TARGET_CONTEXT
from runner.endpoints.expressions import ExpressionError, compile_expression
from runner.endpoints.tree import compile_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.config.places import KeyPath
    from runner.endpoints.tree import Tree

AUTH_HINT = "say under auth how the key is sent, and put its variable's name into model.api_key_env"
_PATH = re.compile(r"/[^\s?#\x00-\x1f\x7f]*")
_EXPRESSION = re.compile(r"\{\{.*?\}\}")


def path_findings(text: Any, path: KeyPath, names: tuple[str, ...]) -> Iterator[Finding]:
    """Find what is wrong with a path whose expressions may read `names`."""
    if not isinstance(text, str):
        return
    if not _PATH.fullmatch(_EXPRESSION.sub("", text)):
        yield Finding(path, "expected a path such as /v1/answers, without a query", "parameters go under query")
    yield from text_findings(text, path, names)


def query_findings(query: Any, path: KeyPath, names: tuple[str, ...]) -> Iterator[Finding]:
    """Find what is wrong with query parameters, or fields of a form, whose expressions may read `names`."""
    for name, value in query.items() if isinstance(query, dict) else ():
        if is_credential_field(name):
            yield Finding((*path, name), "the name of this parameter says that it carries a credential", AUTH_HINT)
        yield from text_findings(value, (*path, name), names)


def text_findings(text: Any, path: KeyPath, names: tuple[str, ...]) -> Iterator[Finding]:
    """Find what is wrong with a text that becomes part of a URL or of a form; null is none."""
    if not isinstance(text, str):
        return
    yield from tree_findings(text, path, names)
    if any((name, inner) == ("retrieval", None) for _, name, inner in compile_tree(text, path).reads):
        yield Finding(path, "reads retrieval as a whole", "name what is meant: retrieval.knowledge_base")


def tree_findings(value: Any, path: KeyPath, names: tuple[str, ...]) -> Iterator[Finding]:
    """Find what is wrong with a tree whose expressions may read `names`."""
    tree = compile_tree(value, path)
    for trouble in tree.troubles:
        yield Finding(trouble.path, trouble.message, trouble.hint)
    yield from _read_findings(tree, names)


def expression_findings(text: Any, path: KeyPath) -> Iterator[Finding]:
    """Find what is wrong with a JMESPath expression of a response half; null is none."""
    if not isinstance(text, str):
        return
    if "{{" in text:
        yield Finding(path, "expected a JMESPath expression, found a template", "without {{ and }}")
        return
    try:
        compile_expression(text)
    except ExpressionError as error:
        yield Finding(path, error.message, error.hint)


def spelling(name: str, known: tuple[str, ...], what: str) -> str:
    """Return which of the known names was meant, or all of them."""
    close = get_close_matches(name, known, n=1)
    return f'did you mean "{close[0]}"?' if close else f"these {what}: {', '.join(known)}"


def _read_findings(tree: Tree, names: tuple[str, ...]) -> Iterator[Finding]:
    for path, name, inner in tree.reads:
        if name in CONTEXT and names == TARGET_CONTEXT and name not in names:
            hint = "what else changes from row to row belongs into the body"
            yield Finding(path, f"reads {name}; only {' and '.join(names)} can be read here", hint)
        elif name not in names:
            yield Finding(path, f"reads {shown_key(name)}, which is not there", spelling(name, names, "can be read"))
        elif name == "row" and inner is None:
            yield Finding(path, "reads row as a whole", "name the column: row.question")
        elif name == "retrieval" and inner is not None and inner not in CHOSEN:
            message = f"reads retrieval.{shown_key(inner)}, which is not there"
            yield Finding(path, message, spelling(inner, CHOSEN, "can be read"))
