"""Owns a run's adapter: which one it is, the plan it gives, and what the manifest keeps of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.config import adapter_from_dict, load_adapter
from runner.config.adapter_names import NATIVE, is_adapter_path
from runner.endpoints import ENDPOINTS, Template, compile_template
from runner.endpoints.adapter import CONTENT, ROW, asks_nothing, compile_adapter, with_response_of
from runner.errors import ConfigError, Problem, TemplateError, UsageError
from runner.pipeline.requests.fingerprint import RequestPlan
from runner.pipeline.requests.packing import Packing, limits_of
from runner.pipeline.requests.retrieval import chosen, with_retrieval
from runner.transport import Auth, secrets_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from runner.config import RunConfig
    from runner.endpoints import Endpoint
    from runner.endpoints.adapter import Adapter
    from runner.folder.manifest import Manifest

_EXAMPLES = {
    "messages": "messages: [{role: user, content: '{{ question }}'}]",
    "prompt": 'prompt: "{{ question }}"',
    "input": 'input: "{{ text }}"',
}


@dataclass(frozen=True, slots=True)
class AdapterPlan:
    """How rows become requests of an adapter, and what the config asked for that it cannot do."""

    plan: RequestPlan
    warnings: tuple[str, ...]


def open_adapter(config: RunConfig) -> Adapter | None:
    """Return the adapter that a config names; null for the built-in format. Raises ConfigError."""
    if config.model.adapter == NATIVE:
        return None
    return compile_adapter(load_adapter(config.model.adapter))


def kept_adapter(manifest: Manifest) -> Adapter | None:
    """Return the adapter that a run was carried out with; null for the built-in format. Raises ConfigError."""
    if not manifest.adapter:
        return None
    return compile_adapter(adapter_from_dict(manifest.adapter, manifest.adapter.get("name", "")))


def kept_endpoint(manifest: Manifest, config: RunConfig) -> Endpoint:
    """Return the endpoint that a run's answers are read with. Raises ConfigError."""
    adapter = kept_adapter(manifest)
    return adapter.endpoint(config.request.endpoint) if adapter else ENDPOINTS[config.request.endpoint]


def renew_adapter(manifest: Manifest, config: RunConfig, say: Callable[[str], None]) -> bool:
    """Take the response half of the adapter's file as it is now into the manifest, and return whether it differs.

    The request half stays that of the run: what was sent was sent. Raises ConfigError for a file with errors in it.
    """
    name = config.model.adapter
    if not manifest.adapter:
        return False
    if is_adapter_path(name) and not Path(name).is_file():
        say(f"{name} is not there any more; the run's own copy of the adapter is used")
        return False
    mended = load_adapter(name)
    renewed = with_response_of(manifest.adapter, mended)
    if renewed == manifest.adapter:
        return False
    if compile_adapter(mended).request_digest != compile_adapter(renewed).request_digest:
        say(f"{name}: the request half differs from this run's; only the rest of it is used")
    manifest.adapter = renewed
    return True


def auth_of(adapter: Adapter | None) -> Auth:
    """Return how the key is sent."""
    if adapter is None:
        return Auth()
    auth = adapter.spec["auth"]
    return Auth(auth["type"], auth["name"] or "", auth["prefix"], auth["user"])


def secrets(adapter: Adapter | None, api_key: str | None) -> list[str]:
    """Return every text that is to be kept out of what is written."""
    return secrets_of(auth_of(adapter), api_key)


def plan_for(config: RunConfig, adapter: Adapter) -> AdapterPlan:
    """Return how a config's rows become requests. Raises ConfigError for what the adapter cannot do, UsageError."""
    request = config.request
    dropped = _refuse_or_drop(config, adapter)
    name = CONTENT[request.endpoint]
    content = getattr(request, name)
    if content is None:
        raise UsageError(f"request.{name}: missing; {request.endpoint} needs what to send", hint=_EXAMPLES[name])
    params = {key: value for key, value in request.params.items() if key not in dropped}
    logical = {"model": config.model.name, name: content, **params, **request.extra_body}
    names = tuple(key for key in params if key not in request.extra_body), tuple(request.extra_body)
    endpoint, model, path = adapter.endpoint(request.endpoint), config.model.name or "", config.model.path
    fields = _fields(logical, name, adapter)
    limits = limits_of(config, endpoint)
    others = {key: template for key, template in fields.items() if key != name}
    target, moves, retrieval = adapter.target(model, path), adapter.moves(path), chosen(config)
    if not retrieval:
        target, moves = _fixed(target, adapter), False
    certain = adapter.certain and (adapter.takes_array or name != "input")
    template = with_retrieval(_template(fields, certain=certain), config, endpoint)
    plan = RequestPlan(
        endpoint=endpoint,
        path=(path or adapter.spec["path"]) if moves else target({}),
        model=model,
        template=replace(template, certain=template.certain and not moves),
        id_column=config.dataset.id,
        target_column=config.dataset.target,
        kept=None if config.dataset.keep is None else tuple(config.dataset.keep),
        repeats=request.repeats,
        stream=request.stream,
        wire=adapter.wire(request.endpoint, *names),
        target=target if moves else None,
        wire_digest=adapter.request_digest,
        packing=None if limits is None else Packing(limits, fields[name], others, adapter.wire_around(*names)),
    )
    plan = plan.identified([logical, retrieval] if retrieval else logical)
    return AdapterPlan(plan, _warnings(config, adapter, dropped))


def _refuse_or_drop(config: RunConfig, adapter: Adapter) -> list[str]:
    """Return the params to leave out. Raises ConfigError for what cannot be left out."""
    request, name = config.request, adapter.name
    if request.endpoint not in adapter.spec["endpoints"]:
        has = " and ".join(adapter.spec["endpoints"])
        raise ConfigError(
            [Problem("request.endpoint", f"the adapter {name} has no {request.endpoint}", f"it has {has}")]
        )
    found = _unread_choices(config, adapter)
    if request.endpoint == "embeddings":
        found += _of_inputs(config, adapter)
    if request.stream and not adapter.streams:
        found.append(Problem("request.stream", f"the adapter {name} cannot stream", "set request.stream: false"))
    unsupported = adapter.unsupported(request.params)
    if request.on_unsupported == "fail":
        hint = "remove it, or set request.on_unsupported: adapt to go on without it"
        asked = [one for one in unsupported if not asks_nothing(one, request.params[one])]
        found += [Problem(f"request.params.{one}", f"the adapter {name} does not have it", hint) for one in asked]
    if found:
        raise ConfigError(found)
    return unsupported


def _of_inputs(config: RunConfig, adapter: Adapter) -> Iterator[Problem]:
    """Yield what is wrong with how many inputs a request is to hold, and with what stands in their place."""
    size, most, name = config.request.batch_size, adapter.most_inputs, adapter.name
    if isinstance(size, int) and size > 1 and not adapter.takes_array:
        hint = "remove it; where the server takes an array, the adapter says so: capabilities.array_input"
        yield Problem("request.batch_size", f"the adapter {name} takes one input in a request", hint)
    elif isinstance(size, int) and most is not None and size > most:
        yield Problem("request.batch_size", f"the adapter {name} takes {most} inputs in a request", f"at most {most}")
    if adapter.takes_array and adapter.input_field in config.request.extra_body:
        where = f"request.extra_body.{adapter.input_field}"
        yield Problem(where, f"the adapter {name} puts the inputs there", "remove it")


def _fixed(target: Callable[[Mapping[str, Any]], str], adapter: Adapter) -> Callable[[Mapping[str, Any]], str]:
    """Return a target that needs no request. Raises ConfigError for one that cannot do without a choice."""
    try:
        path = target({})
    except TemplateError as error:
        hint = "say which: retrieval: {knowledge_base: …}"
        message = f"missing; the adapter {adapter.name} needs it: {error.message}"
        raise ConfigError([Problem("request.retrieval", message, hint)]) from error
    return lambda _: path


def _unread_choices(config: RunConfig, adapter: Adapter) -> list[Problem]:
    """Return a problem for each choice of request.retrieval that the adapter would not send."""
    reads = adapter.chosen_reads(config.model.path)
    return [
        Problem(
            f"request.retrieval.{name}",
            f"the adapter {adapter.name} never sends it",
            f'write "{{{{ retrieval.{name} }}}}" where it belongs in the adapter\'s body, path or query',
        )
        for name in chosen(config)
        if name not in reads
    ]


def _warnings(config: RunConfig, adapter: Adapter, dropped: list[str]) -> tuple[str, ...]:
    found = [
        f"request.params.{one}: the adapter {adapter.name} does not have it; it is not sent"
        for one in dropped
        if not asks_nothing(one, config.request.params[one])
    ]
    if config.model.api_key_env is not None and adapter.spec["auth"]["type"] == "none":
        found.append(f"model.api_key_env: the adapter {adapter.name} sends no key")
    return tuple(found)


def _fields(logical: dict[str, Any], content: str, adapter: Adapter) -> dict[str, Template]:
    """Return the templates of a logical request's members: the config's, and the columns that the adapter reads."""
    fields = {
        key: compile_template(value, f"request.{content}" if key == content else f"request.params.{key}")
        for key, value in logical.items()
    }
    read = adapter.columns
    if read:
        fields[ROW] = Template.varying(read, lambda row: {column: row.get(column) for column in read}, certain=True)
    return fields


def _template(fields: Mapping[str, Template], *, certain: bool) -> Template:
    """Return what renders a logical request; `certain` says that the adapter can make a body of any."""
    renders = tuple((key, template.render) for key, template in fields.items())
    columns = tuple(sorted({column for template in fields.values() for column in template.columns}))
    certain = certain and all(template.certain for template in fields.values())
    return Template.varying(columns, lambda row: {key: make(row) for key, make in renders}, certain=certain)
