"""Owns a custom wire format, compiled: how a logical request becomes an HTTP request, and what its answers mean.

A logical request is `{"model", "messages" | "prompt" | "input", params…, extra_body…}` in the API's own words, plus the
dataset columns that the adapter reads, under `$row`. Keys of rows come from it, so that wrapping never enters them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import orjson

from runner.digest import digest_of
from runner.endpoints import ENDPOINTS, Packable
from runner.endpoints.chat import choices_wanted
from runner.endpoints.embeddings import inputs_of
from runner.endpoints.mapping import compile_texts, compile_vectors
from runner.endpoints.tree import compile_tree
from runner.errors import TemplateError
from runner.jsontext import loads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from runner.endpoints import Endpoint
    from runner.endpoints.tree import Tree

# What the body's expressions can read.
CONTEXT = ("model", "messages", "prompt", "input", "params", "row")
# Where each endpoint's own content stands in the config's request, and in the logical request.
CONTENT = {"chat": "messages", "completions": "prompt", "embeddings": "input"}
ROW = "$row"
# All that makes a request another one; what is empty is left out, so that a later key does not change old digests.
REQUEST_HALF = ("method", "path", "query", "params", "body")
_OF_CAPABILITY = {
    "logprobs": ("logprobs", "top_logprobs"),
    "n": ("n",),
    "tools": ("tools", "tool_choice", "parallel_tool_calls", "functions", "function_call"),
    "response_format": ("response_format",),
    "seed": ("seed",),
}
_LONGEST_ANSWER = ("max_completion_tokens", "max_tokens")
_DEFAULT_COMPLETION_TOKENS = 512
# Unless the adapter says how many a server takes: its answers are JSON of any shape, all of which has to be parsed.
_MOST_INPUTS = 256
# Where the array of inputs stands in a body; JSON holds this byte nowhere else.
_PLACE = b"\0"


@dataclass(frozen=True, slots=True)
class Adapter:
    """A compiled adapter. `spec` are the plain values it was made of; `columns` the dataset columns its body reads.

    `request_digest` covers the request half. `certain` says that a body can be made of any row.
    """

    name: str
    spec: Mapping[str, Any]
    columns: tuple[str, ...]
    certain: bool
    request_digest: bytes
    _body: Tree

    @property
    def method(self) -> str:
        """The HTTP method."""
        method: str = self.spec["method"]
        return method

    @property
    def takes_array(self) -> bool:
        """Whether a request for embeddings may hold several inputs."""
        return bool(self.spec["capabilities"]["array_input"])

    @property
    def most_inputs(self) -> int | None:
        """The most inputs that the server takes in a request; null where the adapter does not say."""
        most: int | None = self.spec["capabilities"]["most_inputs"]
        return most

    @property
    def input_field(self) -> str | None:
        """The member of the body in which the inputs stand; null where they are not in one member alone."""
        fields = {path[1] for path, name, _ in self._body.reads if name == "input"}
        field = fields.pop() if len(fields) == 1 else None
        return field.removeprefix("$") if isinstance(field, str) else None

    @property
    def streams(self) -> bool:
        """Whether answers can be streamed, in the chunks of OpenAI's API."""
        return bool(self.spec["capabilities"]["stream"] == "openai")

    def endpoint(self, name: str) -> Endpoint:
        """Return an endpoint's functions as this adapter speaks it."""
        own = ENDPOINTS[name]
        response, errors = self.spec["response"], self.spec["errors"]
        if name == "embeddings":
            packable = Packable(by_default=True, most=self.most_inputs or _MOST_INPUTS) if self.takes_array else None
            mapping = compile_vectors(response, errors)
            own = replace(own, packable=packable, glance=None)
        else:
            stream = own.stream if self.streams else None
            mapping = compile_texts(response, errors, stream.read if stream else loads)
            chat = replace(ENDPOINTS["chat"], name=name, stream=stream, enter_retrieval=None)
            own = replace(chat, reserve_tokens=self._reserve_tokens)
        return replace(
            own,
            path=self.spec["path"],
            batch_url=None,
            find_problem=mapping.find_problem,
            parse=mapping.parse,
            count_tokens=mapping.count_tokens,
            refine=mapping.refine,
            error_in_body=mapping.error_in_body,
        )

    def target(self, model: str, path: str | None = None) -> str:
        """Return path and query for a model; `path` replaces the adapter's own."""
        context = {"model": model}
        own = _filled(self.spec["path"], {"model": quote(model, safe="")}) if path is None else path
        query = {name: _filled(value, context) for name, value in self.spec["query"].items()}
        return f"{own}?{urlencode(query, quote_via=quote)}" if query else own

    def unsupported(self, params: Iterable[str]) -> list[str]:
        """Return which of the params the adapter cannot express, in their order."""
        never = set(self.spec["params"]["unsupported"])
        never |= {name for able, names in _OF_CAPABILITY.items() if not self._can(able) for name in names}
        only = self.spec["params"]["only"]
        return [name for name in params if name in never or (only is not None and name not in only)]

    def wire(
        self, endpoint: str, param_names: tuple[str, ...], extra_names: tuple[str, ...]
    ) -> Callable[[Mapping[str, Any]], bytes]:
        """Return what turns a logical request into the bytes of a body. It raises TemplateError, TypeError."""
        build = self._builder(param_names, extra_names)
        if endpoint != "embeddings":
            return lambda logical: _encode(build(logical, logical.get("input")))
        inputs = inputs_of if self.takes_array else self._one_input
        return lambda logical: _encode(build(logical, inputs(logical["input"])))

    def wire_around(
        self, param_names: tuple[str, ...], extra_names: tuple[str, ...]
    ) -> Callable[[Mapping[str, Any]], tuple[bytes, bytes]]:
        """Return what turns a logical request without its input into what stands before and after the array of inputs.

        It raises TemplateError, TypeError.
        """
        build = self._builder(param_names, extra_names)

        def wrap(logical: Mapping[str, Any]) -> tuple[bytes, bytes]:
            before, *after = _encode(build(logical, orjson.Fragment(_PLACE))).split(_PLACE)
            if len(after) != 1:
                raise TemplateError("model.adapter: body: the inputs do not stand in one place of it")
            return before, after[0]

        return wrap

    def _builder(
        self, param_names: tuple[str, ...], extra_names: tuple[str, ...]
    ) -> Callable[[Mapping[str, Any], Any], dict[str, Any]]:
        """Return what makes a body of a logical request, and of what its expressions see as `input`."""
        rules = self.spec["params"]
        rename, defaults, omitted = rules["rename"], rules["defaults"], set(rules["omit"])
        render = self._body.render

        def build(logical: Mapping[str, Any], inputs: Any) -> dict[str, Any]:
            given = {name: logical[name] for name in param_names if logical[name] is not None and name not in omitted}
            params = {name: value for name, value in given.items() if name not in rename}
            params |= {rename[name]: value for name, value in given.items() if name in rename}
            context = {name: logical.get(name) for name in CONTEXT}
            context["params"] = {**defaults, **params}
            context["row"] = logical.get(ROW)
            context["input"] = inputs
            body = render(context)
            if not isinstance(body, dict):
                raise TemplateError("model.adapter: body: its $if leaves nothing to send")
            return body | {name: logical[name] for name in extra_names}

        return build

    def _one_input(self, content: Any) -> Any:
        inputs = inputs_of(content)
        if len(inputs) == 1:
            return inputs[0]
        raise TemplateError(
            f"request.input: {len(inputs)} inputs, and the adapter {self.name} takes one in a request",
            hint="where its server takes an array of them, the adapter says so: capabilities.array_input",
        )

    def _can(self, able: str) -> bool:
        stated = self.spec["capabilities"][able]
        if stated is not None:
            return bool(stated)
        needed = {"logprobs": "logprobs", "n": "choices"}.get(able)
        return needed is None or self.spec["response"][needed] is not None

    def _reserve_tokens(self, logical: dict[str, Any], size_bytes: int) -> int:
        found = {**self.spec["params"]["defaults"], **logical}
        longest = next((found[name] for name in _LONGEST_ANSWER if isinstance(found.get(name), int)), None)
        completion = _DEFAULT_COMPLETION_TOKENS if longest is None else longest
        return size_bytes // 4 + completion * choices_wanted(logical)


def compile_adapter(spec: Mapping[str, Any]) -> Adapter:
    """Compile an adapter's plain values, which were validated before."""
    body = compile_tree(spec["body"], ("body",))
    columns = sorted({inner for _, name, inner in body.reads if name == "row" and inner is not None})
    half = {name: spec[name] for name in REQUEST_HALF}
    half["params"] = {name: rule for name, rule in spec["params"].items() if rule}
    return Adapter(
        name=spec["name"],
        spec=spec,
        columns=tuple(columns),
        certain=body.certain and "$if" not in spec["body"],
        request_digest=digest_of({name: value for name, value in half.items() if value}),
        _body=body,
    )


def with_response_of(spec: Mapping[str, Any], mended: Mapping[str, Any]) -> dict[str, Any]:
    """Return an adapter's values with all but what makes requests taken from `mended`."""
    capabilities = {**mended["capabilities"], "array_input": spec["capabilities"].get("array_input", False)}
    return {**mended, **{name: spec[name] for name in REQUEST_HALF}, "capabilities": capabilities}


def _filled(text: str, context: Mapping[str, Any]) -> str:
    rendered = compile_tree(text).render(context)
    return rendered if isinstance(rendered, str) else str(rendered)


def asks_nothing(name: str, value: Any) -> bool:
    """Say whether a param asks for what would happen without it too."""
    return value is None or value is False or (name == "n" and value == 1 and value is not True)


def _encode(body: dict[str, Any]) -> bytes:
    return orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
