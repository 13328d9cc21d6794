"""Owns a custom wire format, compiled: how a logical request becomes an HTTP request, and what its answers mean.

A logical request is `{"model", "messages" | "prompt" | "input", params…, extra_body…}` in the API's own words, plus the
dataset columns that the adapter reads, under `$row`, and what `request.retrieval` chooses, under `$retrieval`. Keys of
rows come from it, so that wrapping never enters them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import orjson

from runner.digest import digest_of
from runner.endpoints import ENDPOINTS, Packable
from runner.endpoints.chat import choices_wanted
from runner.endpoints.embeddings import inputs_of
from runner.endpoints.mapping import compile_errors, compile_texts, compile_vectors
from runner.endpoints.target import compile_target
from runner.endpoints.tree import compile_tree
from runner.errors import TemplateError
from runner.jsontext import loads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from runner.endpoints import Endpoint
    from runner.endpoints.target import Target
    from runner.endpoints.tree import Tree
    from runner.errors import RequestError

# What the body's expressions can read, and what those of path and query can.
CONTEXT = ("model", "messages", "prompt", "input", "params", "row", "retrieval")
TARGET_CONTEXT = ("model", "retrieval")
# What `retrieval` holds: the names below request.retrieval.
CHOSEN = ("knowledge_base", "documents")
# Where each endpoint's own content stands in the config's request, and in the logical request.
CONTENT = {"chat": "messages", "completions": "prompt", "embeddings": "input"}
ROW = "$row"
RETRIEVAL = "$retrieval"
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

    `request_digest` covers the request half. `certain` says that a request can be made of any row.
    """

    name: str
    spec: Mapping[str, Any]
    columns: tuple[str, ...]
    certain: bool
    request_digest: bytes
    _body: Tree
    _target: Target

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

    @property
    def refine(self) -> Callable[[RequestError, bytes], RequestError] | None:
        """How the server says what a failed answer means, as `Endpoint` has it."""
        return compile_errors(self.spec["errors"])[0]

    @property
    def error_in_body(self) -> Callable[[Any], RequestError | None] | None:
        """How the server says that a 2xx holds an error, as `Endpoint` has it."""
        return compile_errors(self.spec["errors"])[1]

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
            chat = replace(ENDPOINTS["chat"], name=name, stream=stream, enter_retrieval=enter_retrieval)
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

    def chosen_reads(self, path: str | None = None) -> frozenset[str]:
        """Return which names of `retrieval` are looked up anywhere; `path` replaces the adapter's own."""
        reads = {(name, inner) for _, name, inner in self._body.reads} | self._target_beside(path).reads
        return frozenset(one for name, inner in reads if name == "retrieval" for one in ((inner,) if inner else CHOSEN))

    def target(self, model: str, path: str | None = None) -> Callable[[Mapping[str, Any]], str]:
        """Return what gives path and query of a logical request; `path` replaces the adapter's own.

        It raises TemplateError. Where `moves` is false, it gives the same for every request.
        """
        render, own = self._target_beside(path).render, path or ""
        return lambda logical: own + render({"model": model, "retrieval": logical.get(RETRIEVAL) or {}})

    def moves(self, path: str | None = None) -> bool:
        """Say whether path or query may differ from request to request; `path` replaces the adapter's own."""
        return any(name == "retrieval" for name, _ in self._target_beside(path).reads)

    def _target_beside(self, path: str | None) -> Target:
        """Return path and query; the query alone where a path is given."""
        return self._target if path is None else compile_target("", self.spec["query"])

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
            context["retrieval"] = logical.get(RETRIEVAL) or {}
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
    body, target = compile_tree(spec["body"], ("body",)), compile_target(spec["path"], spec["query"])
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
        _target=target,
    )


def enter_retrieval(logical: dict[str, Any], knowledge_base: Any, documents: Any) -> dict[str, Any]:
    """Return a logical request that says what may be looked into; the same one where both are null."""
    chosen = {"knowledge_base": knowledge_base, "documents": documents}
    given = {name: value for name, value in chosen.items() if value is not None}
    return {**logical, RETRIEVAL: given} if given else logical


def with_response_of(spec: Mapping[str, Any], mended: Mapping[str, Any]) -> dict[str, Any]:
    """Return an adapter's values with all but what makes requests taken from `mended`."""
    capabilities = {**mended["capabilities"], "array_input": spec["capabilities"].get("array_input", False)}
    return {**mended, **{name: spec[name] for name in REQUEST_HALF}, "capabilities": capabilities}


def asks_nothing(name: str, value: Any) -> bool:
    """Say whether a param asks for what would happen without it too."""
    return value is None or value is False or (name == "n" and value == 1 and value is not True)


def _encode(body: dict[str, Any]) -> bytes:
    return orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
