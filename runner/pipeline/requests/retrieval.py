"""Owns how `request.retrieval` becomes part of each request: compiled like the rest of it, entered by the endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner.endpoints import Template, compile_template

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.config import RunConfig
    from runner.endpoints import Endpoint


def chosen(config: RunConfig) -> dict[str, Any]:
    """Return what of `request.retrieval` is set, templates unrendered; empty where nothing is."""
    retrieval = config.request.retrieval
    values = {"knowledge_base": retrieval.knowledge_base, "documents": retrieval.documents}
    return {name: value for name, value in values.items() if value is not None}


def with_retrieval(body: Template, config: RunConfig, endpoint: Endpoint) -> Template:
    """Return the template of bodies that also say what may be looked into; the same one where the config says nothing.

    Raises TemplateError for a template that cannot be compiled, and for a constant value that the endpoint refuses.
    """
    enter, values = endpoint.enter_retrieval, chosen(config)
    if enter is None or not values:
        return body
    what = compile_template(values, "request.retrieval")

    def render(row: Mapping[str, Any]) -> dict[str, Any]:
        given = what.render(row)
        return enter(body.render(row), given.get("knowledge_base"), given.get("documents"))

    if what.constant:
        given = what.render({})
        enter({}, given.get("knowledge_base"), given.get("documents"))
    columns = tuple(sorted({*body.columns, *what.columns}))
    # A column may hold what the endpoint refuses, so that rendering can fail.
    return Template.varying(columns, render, certain=body.certain and what.constant, filtered=body.filtered)
