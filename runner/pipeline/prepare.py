"""Owns turning a config into a plan: templates compiled, dataset found and peeked at, key fetched; nothing is sent."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runner.config import unavailable
from runner.endpoints import ENDPOINTS, Template, compile_template
from runner.engines import locate_embedded
from runner.errors import ConfigError, DatasetError, EngineError, TemplateError, UsageError
from runner.pipeline.fingerprint import RequestPlan
from runner.pipeline.rows import Price
from runner.readers import BadRow, is_batch_row, read_batches, resolve_paths
from runner.redaction import Redactor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from runner.config import RunConfig


@dataclass(frozen=True, slots=True)
class Prepared:
    """A config made ready: how rows become requests, and the secret, which stays in memory."""

    config: RunConfig
    paths: tuple[Path, ...]
    plan: RequestPlan
    price: Price | None
    api_key: str | None
    redactor: Redactor


def prepare(config: RunConfig, spooled: Path | None = None) -> Prepared:
    """Check a config against its dataset's first rows and compile its templates.

    `spooled` replaces a dataset that comes by standard input. Raises ConfigError for what is not available yet,
    UsageError for a missing key, DatasetError, TemplateError.
    """
    refuse_unavailable(config)
    if config.model.embedded is not None:
        try:
            locate_embedded(config.model.embedded)
        except EngineError as error:  # known before anything began: something is to be installed
            raise UsageError(error.message, hint=error.hint) from error
    api_key = read_api_key(config)
    paths = (spooled,) if spooled else tuple(resolve_paths(config.dataset.path))
    first = _first_rows(paths)
    plan = _batch_plan(config, first) if first and is_batch_row(first[0]) else _template_plan(config)
    if first and not plan.ready_made:
        _check_columns(config, plan, first)
    redactor = Redactor([api_key] if api_key else [])
    return Prepared(config, paths, plan, price_of(config), api_key, redactor)


def refuse_unavailable(config: RunConfig) -> None:
    """Raise ConfigError for everything the contract names and this version does not have yet."""
    problems = unavailable(config)
    if problems:
        raise ConfigError(problems)


def read_api_key(config: RunConfig) -> str | None:
    """Return the key out of the environment. Raises UsageError when the variable is named but not set."""
    name = config.model.api_key_env
    if name is None:
        return None
    key = os.environ.get(name, "").strip()
    if not key:
        raise UsageError(
            f"model.api_key_env: the environment variable {name} is not set",
            hint=f"export {name}=… in the shell that starts the run; the key is never written anywhere",
        )
    if not key.isascii() or any(character.isspace() or not character.isprintable() for character in key):
        raise UsageError(f"model.api_key_env: the value of {name} has characters that no HTTP header can hold")
    return key


def server_name(config: RunConfig) -> str:
    """Return how the output names the server: its base URL, or `embedded:NAME`."""
    if config.model.embedded:
        return f"embedded:{config.model.embedded}"
    url = config.model.base_url
    return (url if isinstance(url, str) else url[0].url if url else "").rstrip("/")


def _first_rows(paths: Sequence[Path]) -> list[dict[str, Any]]:
    for batch in read_batches(paths, batch_rows=200):
        rows = [row for row in batch.rows if not isinstance(row, BadRow)]
        if rows:
            return rows
    return []


def _template_plan(config: RunConfig) -> RequestPlan:
    request = config.request
    if request.messages is None:
        raise UsageError(
            "request.messages: missing; chat needs the messages to send",
            hint="messages: [{role: user, content: '{{ question }}'}]",
        )
    body = {"model": config.model.name, "messages": request.messages, **request.params, **request.extra_body}
    template = _compile(body)
    endpoint = ENDPOINTS[request.endpoint]
    kept = None if config.dataset.keep is None else tuple(config.dataset.keep)
    plan = RequestPlan(
        endpoint=endpoint,
        path=config.model.path or endpoint.path,
        model=config.model.name or "",
        template=template,
        id_column=config.dataset.id,
        target_column=config.dataset.target,
        kept=kept,
        repeats=request.repeats,
        stream=request.stream,
    )
    return plan.identified(body)


def _batch_plan(config: RunConfig, first: list[dict[str, Any]]) -> RequestPlan:
    if config.request.messages is not None:
        raise UsageError(
            "request.messages: the dataset is an OpenAI Batch file, whose bodies are sent as they are",
            hint="remove request.messages, or use a dataset of plain rows",
        )
    endpoint = ENDPOINTS["chat"]
    plan = RequestPlan(
        endpoint=endpoint,
        path=config.model.path or endpoint.path,
        model=config.model.name or str(first[0]["body"].get("model") or ""),
        template=Template((), certain=True, render=lambda values: values["body"]),
        id_column="custom_id",
        target_column=None,
        kept=(),
        repeats=config.request.repeats,
        ready_made=True,
        stream=config.request.stream,
    )
    return plan.identified(None)


def _compile(body: dict[str, Any]) -> Template:
    fields = {
        key: compile_template(value, "request.messages" if key == "messages" else f"request.params.{key}")
        for key, value in body.items()
    }
    whole = compile_template(body, "request")
    renders = {key: template.render for key, template in fields.items()}
    return Template(whole.columns, whole.certain, lambda values: {key: make(values) for key, make in renders.items()})


def _check_columns(config: RunConfig, plan: RequestPlan, first: list[dict[str, Any]]) -> None:
    """Refuse at once what the first rows show to be misspelt: a column that no row has."""
    columns = {name for row in first for name in row}
    named = [("dataset.id", config.dataset.id), ("dataset.target", config.dataset.target)]
    named += [(f"dataset.keep.{number}", name) for number, name in enumerate(config.dataset.keep or ())]
    for where, name in named:
        if name is not None and name not in columns:
            raise DatasetError(f"{where}: the dataset has no column '{name}'", hint=_suggest(name, columns))
    missing = [name for name in plan.template.columns if name not in columns]
    if not missing:
        return
    try:
        plan.template.render(first[0])
    except TemplateError as error:
        raise TemplateError(error.message, hint=_suggest(missing[0], columns)) from error


def _suggest(name: str, columns: set[str]) -> str:
    close = difflib.get_close_matches(name, columns, n=1)
    known = ", ".join(sorted(columns)[:20])
    return f"did you mean '{close[0]}'? columns: {known}" if close else f"columns: {known}"


def price_of(config: RunConfig) -> Price | None:
    """Return the model's price, null where it is not wholly known."""
    price = config.model.price
    if price is None or price.input_per_million is None or price.output_per_million is None:
        return None
    return Price(price.input_per_million, price.output_per_million, price.cached_input_per_million)
