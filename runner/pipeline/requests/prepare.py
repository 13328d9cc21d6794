"""Owns turning a config into a plan: templates compiled, dataset found and peeked at, key fetched; nothing is sent."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from runner.config import unavailable
from runner.endpoints import ENDPOINTS, Template, compile_template, join_fields
from runner.engines import locate_embedded
from runner.errors import ConfigError, DatasetError, EngineError, Problem, TemplateError, UsageError
from runner.pipeline.requests.adapters import open_adapter, plan_for, secrets
from runner.pipeline.requests.attachments import Attachments, untouched
from runner.pipeline.requests.fingerprint import RequestPlan
from runner.pipeline.requests.packing import Packing, limits_of
from runner.pipeline.requests.pricing import configured_price, describe_listed, listed_price, refuse_unpriced
from runner.pipeline.requests.retrieval import chosen, with_retrieval
from runner.pipeline.scores.judging import refuse_baseline
from runner.readers import BadRow, is_batch_row, read_batches, resolve_paths
from runner.redaction import Redactor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from runner.config import RunConfig
    from runner.endpoints import Endpoint, Filters
    from runner.endpoints.adapter import Adapter
    from runner.prices import Listed, Price

# What an endpoint is asked with, by the key below request: what it is, and an example.
_MISSING_CONTENT = {
    "messages": ("the messages to send", "messages: [{role: user, content: '{{ question }}'}]"),
    "prompt": ("the text to go on from", "prompt: '{{ question }}'"),
    "input": ("the text to embed", "input: '{{ text }}'"),
    "context": ("the text that is given", "context: 'Question: {{ question }} Answer:'"),
    "continuations": ("the texts to measure", "continuations: [' yes', ' no']"),
}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A config made ready: how rows become requests, and the secret, which stays in memory.

    `asks_for_logprobs` is true when requests ask for log probabilities, and when each row decides that for itself.
    `parameters` is what requests hold beside model and content, as the config has it, templates and all. `listed` is
    set where `price` is that of a price list.
    """

    config: RunConfig
    paths: tuple[Path, ...]
    plan: RequestPlan
    price: Price | None
    api_key: str | None
    redactor: Redactor
    asks_for_logprobs: bool = False
    adapter: Adapter | None = None
    warnings: tuple[str, ...] = ()
    parameters: dict[str, Any] = field(default_factory=dict)
    listed: Listed | None = None


def prepare(config: RunConfig, spooled: Path | None = None, kept: Adapter | None = None) -> Prepared:
    """Check a config against its dataset's first rows and compile its templates.

    `spooled` replaces a dataset that comes by standard input, `kept` the adapter that the config names. Raises
    ConfigError for what is not available yet and for a baseline that is no run, UsageError for a missing key or price,
    DatasetError, TemplateError.
    """
    refuse_unavailable(config)
    refuse_baseline(config)
    listed = listed_price(config)
    price = listed.price if listed else configured_price(config)
    refuse_unpriced(config, price)
    if config.model.embedded is not None:
        try:
            locate_embedded(config.model.embedded)
        except EngineError as error:  # known before anything began: something is to be installed
            raise UsageError(error.message, hint=error.hint) from error
    adapter = kept or open_adapter(config)
    api_key = read_api_key(config)
    paths = (spooled,) if spooled else tuple(resolve_paths(config.dataset.path))
    first = _first_rows(paths)
    warnings: tuple[str, ...] = ()
    if adapter is not None:
        plan, warnings = _adapter_plan(config, adapter, first)
    elif first and is_batch_row(first[0]):
        plan = _batch_plan(config, first)
    else:
        plan = _template_plan(config, _attachments(paths, spooled))
    if first and not plan.ready_made:
        _check_columns(config, plan, first, adapter.columns if adapter else ())
    redactor = Redactor(secrets(adapter, api_key))
    body = {} if plan.ready_made or adapter else _body_of(config, plan.endpoint)
    asks = plan.ready_made or plan.endpoint.asks_for_logprobs(config.request.params if adapter else body)
    own = {"model", plan.endpoint.field, *plan.endpoint.contents}
    parameters = {name: value for name, value in body.items() if name not in own}
    if listed is not None:
        warnings = (*warnings, describe_listed(listed))
    return Prepared(config, paths, plan, price, api_key, redactor, asks, adapter, warnings, parameters, listed)


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


def server_names(config: RunConfig) -> list[str]:
    """Return how the output names the servers: by their base URLs, or `embedded:NAME`."""
    if config.model.embedded:
        return [f"embedded:{config.model.embedded}"]
    url = config.model.base_url
    urls = [url or ""] if not isinstance(url, list) else [one.url for one in url]
    return [one.rstrip("/") for one in urls]


def _first_rows(paths: Sequence[Path]) -> list[dict[str, Any]]:
    for batch in read_batches(paths, batch_rows=200):
        rows = [row for row in batch.rows if not isinstance(row, BadRow)]
        if rows:
            return rows
    return []


def _attachments(paths: Sequence[Path], spooled: Path | None) -> Attachments:
    """Return which files rows may name: those in the folder where the dataset lies, and below it."""
    if spooled:
        return Attachments(None, "a dataset that came by standard input lies in no folder")
    folders = {path.parent.resolve() for path in paths}
    if len(folders) != 1:
        return Attachments(None, "the dataset's own files lie in several folders")
    return Attachments(folders.pop())


def _template_plan(config: RunConfig, attachments: Attachments) -> RequestPlan:
    request = config.request
    endpoint = ENDPOINTS[request.endpoint]
    for key in endpoint.content_keys:
        if getattr(request, key) is None:
            message, hint = _MISSING_CONTENT[key]
            raise ConfigError([Problem(f"request.{key}", f"missing; {endpoint.name} needs {message}", hint)])
    body = _body_of(config, endpoint)
    fields = _compile(body, endpoint, attachments.reading)
    template = with_retrieval(_finished(join_fields(fields), endpoint), config, endpoint)
    kept = None if config.dataset.keep is None else tuple(config.dataset.keep)
    plan = RequestPlan(
        endpoint=endpoint,
        path=config.model.path or endpoint.path,
        model=config.model.name or "",
        template=template,
        fixed=_fixed_part(fields, endpoint, request.repeats),
        id_column=config.dataset.id,
        target_column=config.dataset.target,
        kept=kept,
        repeats=request.repeats,
        stream=request.stream,
        packing=_packing(config, endpoint, fields),
        file_digests=_file_digests(body, endpoint, attachments) if template.filtered else None,
    )
    retrieval = chosen(config)
    return plan.identified([body, retrieval] if retrieval else body)


def _adapter_plan(
    config: RunConfig, adapter: Adapter, first: list[dict[str, Any]]
) -> tuple[RequestPlan, tuple[str, ...]]:
    if first and is_batch_row(first[0]):
        raise UsageError(
            "model.adapter: the dataset is an OpenAI Batch file, whose bodies are sent as they are",
            hint="set model.adapter: openai, or use a dataset of plain rows",
        )
    made = plan_for(config, adapter)
    return made.plan, made.warnings


def _packing(config: RunConfig, endpoint: Endpoint, fields: Mapping[str, Template]) -> Packing | None:
    limits = limits_of(config, endpoint)
    if limits is None:
        return None
    others = {key: template for key, template in fields.items() if key != endpoint.field}
    return Packing(limits, fields[endpoint.field], others)


def _batch_plan(config: RunConfig, first: list[dict[str, Any]]) -> RequestPlan:
    endpoint = ENDPOINTS[config.request.endpoint]
    given = [f"request.{key}" for key in endpoint.content_keys if getattr(config.request, key) is not None]
    if given:
        raise UsageError(
            f"{given[0]}: the dataset is an OpenAI Batch file, whose bodies are sent as they are",
            hint=f"remove {' and '.join(given)}, or use a dataset of plain rows",
        )
    if chosen(config):
        raise UsageError(
            "request.retrieval: the dataset is an OpenAI Batch file, whose bodies are sent as they are",
            hint="remove request.retrieval, or use a dataset of plain rows",
        )
    url = first[0]["url"]
    by_url = {other.batch_url: name for name, other in ENDPOINTS.items()}
    if url in by_url and url != endpoint.batch_url:
        raise UsageError(
            f"request.endpoint: {endpoint.name} does not send the dataset's OpenAI Batch lines, which are for {url}",
            hint=f"write endpoint: {by_url[url]}",
        )
    plan = RequestPlan(
        endpoint=endpoint,
        path=config.model.path or endpoint.path,
        model=config.model.name or str(first[0]["body"].get("model") or ""),
        template=Template((), certain=True, render=lambda values: values["body"], pieces=()),
        id_column="custom_id",
        target_column=None,
        kept=(),
        repeats=config.request.repeats,
        ready_made=True,
        stream=config.request.stream,
    )
    return plan.identified(None)


def _body_of(config: RunConfig, endpoint: Endpoint) -> dict[str, Any]:
    """Return the body of every request as the config has it, templates in place of what differs by row."""
    request = config.request
    params = {**request.params, **request.extra_body}
    content = getattr(request, endpoint.content)
    if endpoint.contents:
        content = {key: getattr(request, key) for key in endpoint.contents}
    return {"model": config.model.name, **endpoint.compose(content, params)}


def _compile(body: dict[str, Any], endpoint: Endpoint, filters: Filters) -> dict[str, Template]:
    where = {key: f"request.{key}" for key in endpoint.contents} or {endpoint.field: f"request.{endpoint.content}"}
    return {
        key: compile_template(value, where.get(key, f"request.params.{key}"), filters) for key, value in body.items()
    }


def _file_digests(
    body: dict[str, Any], endpoint: Endpoint, attachments: Attachments
) -> Callable[[Mapping[str, Any]], bytes]:
    noted = join_fields(_compile(body, endpoint, attachments.noting))
    return attachments.digests_by(_finished(noted, endpoint).render)


def _finished(template: Template, endpoint: Endpoint) -> Template:
    """Return the template of whole bodies: what the endpoint still does to a rendered body is done, too."""
    finish, render = endpoint.finish, template.render
    if finish is None:
        return template
    certain = template.certain and not endpoint.refuses_rows
    return Template.varying(
        template.columns, lambda row: finish(render(row)), certain=certain, filtered=template.filtered
    )


def _fixed_part(fields: Mapping[str, Template], endpoint: Endpoint, repeats: int) -> dict[str, Any] | None:
    """Return a body's parameters where they are the same for every request; null where one of them varies."""
    parameters = {key: template for key, template in fields.items() if key != endpoint.field}
    varies = any(not template.constant for template in parameters.values())
    if varies or not endpoint.fixed_choices or (repeats > 1 and "seed" in parameters):
        return None
    return {key: template.render({}) for key, template in parameters.items()}


def _check_columns(config: RunConfig, plan: RequestPlan, first: list[dict[str, Any]], read: tuple[str, ...]) -> None:
    """Refuse at once what the first rows show to be misspelt: a column that no row has."""
    columns = {name for row in first for name in row}
    named = [("dataset.id", config.dataset.id), ("dataset.target", config.dataset.target)]
    named += [(f"dataset.keep.{number}", name) for number, name in enumerate(config.dataset.keep or ())]
    named += [("model.adapter: body", name) for name in read]
    for where, name in named:
        if name is not None and name not in columns:
            raise DatasetError(f"{where}: the dataset has no column '{name}'", hint=_suggest(name, columns))
    missing = [name for name in plan.template.columns if name not in columns]
    if not missing:
        return
    template = plan.template
    if template.filtered:  # whether there is a file is found out row by row: some rows may be skipped
        template = join_fields(_compile(_body_of(config, plan.endpoint), plan.endpoint, untouched()))
    try:
        template.render(first[0])
    except TemplateError as error:
        raise TemplateError(error.message, hint=_suggest(missing[0], columns)) from error


def _suggest(name: str, columns: set[str]) -> str:
    close = difflib.get_close_matches(name, columns, n=1)
    known = ", ".join(sorted(columns)[:20])
    return f"did you mean '{close[0]}'? columns: {known}" if close else f"columns: {known}"
