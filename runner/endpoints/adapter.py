"""Owns a custom wire format, compiled: how a logical request becomes an HTTP request, and what its answers mean.

A logical request is `{"model", "messages" | "prompt" | "input", params…, extra_body…}` in the API's own words, plus the
dataset columns that the adapter reads, under `$row`, and what `request.retrieval` chooses, under `$retrieval`. Keys of
rows come from it, so that wrapping never enters them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from runner.digest import digest_of
from runner.endpoints import Endpoint
from runner.endpoints.chat import choices_wanted
from runner.endpoints.mapping import compile_response
from runner.endpoints.target import compile_target
from runner.endpoints.tree import compile_tree
from runner.errors import TemplateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from runner.endpoints.mapping import ResponseMapping
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
    _response: ResponseMapping

    @property
    def method(self) -> str:
        """The HTTP method."""
        method: str = self.spec["method"]
        return method

    @property
    def refine(self) -> Callable[[RequestError, bytes], RequestError] | None:
        """The server's own way to see a failed answer, as `Endpoint` has it."""
        return self._response.refine

    @property
    def error_in_body(self) -> Callable[[Any], RequestError | None] | None:
        """The server's own way to see an error inside a 2xx, as `Endpoint` has it."""
        return self._response.error_in_body

    def endpoint(self, name: str) -> Endpoint:
        """Return an endpoint's functions as this adapter speaks it."""
        return Endpoint(
            name=name,
            path=self.spec["path"],
            choices_wanted=choices_wanted,
            reserve_tokens=self._reserve_tokens,
            find_problem=self._response.find_problem,
            parse=self._response.parse,
            count_tokens=self._response.count_tokens,
            refine=self.refine,
            error_in_body=self.error_in_body,
            enter_retrieval=enter_retrieval,
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

    def wire(self, param_names: tuple[str, ...], extra_names: tuple[str, ...]) -> Callable[[Mapping[str, Any]], bytes]:
        """Return what turns a logical request into the bytes of a body. It raises TemplateError, TypeError."""
        rules = self.spec["params"]
        rename, defaults, omitted = rules["rename"], rules["defaults"], set(rules["omit"])
        render = self._body.render

        def wrap(logical: Mapping[str, Any]) -> bytes:
            given = {name: logical[name] for name in param_names if logical[name] is not None and name not in omitted}
            params = {name: value for name, value in given.items() if name not in rename}
            params |= {rename[name]: value for name, value in given.items() if name in rename}
            context = {name: logical.get(name) for name in CONTEXT}
            context["params"] = {**defaults, **params}
            context["row"] = logical.get(ROW)
            context["retrieval"] = logical.get(RETRIEVAL) or {}
            body = render(context)
            if not isinstance(body, dict):
                raise TemplateError("model.adapter: body: its $if leaves nothing to send")
            for name in extra_names:
                body[name] = logical[name]
            return orjson.dumps(body, option=orjson.OPT_SORT_KEYS)

        return wrap

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
        _response=compile_response(spec["response"], spec["errors"]),
    )


def enter_retrieval(logical: dict[str, Any], knowledge_base: Any, documents: Any) -> dict[str, Any]:
    """Return a logical request that says what may be looked into; the same one where both are null."""
    chosen = {"knowledge_base": knowledge_base, "documents": documents}
    given = {name: value for name, value in chosen.items() if value is not None}
    return {**logical, RETRIEVAL: given} if given else logical


def with_response_of(spec: Mapping[str, Any], mended: Mapping[str, Any]) -> dict[str, Any]:
    """Return an adapter's values with all but the request half taken from `mended`."""
    return {**mended, **{name: spec[name] for name in REQUEST_HALF}}


def asks_nothing(name: str, value: Any) -> bool:
    """Say whether a param asks for what would happen without it too."""
    return value is None or value is False or (name == "n" and value == 1 and value is not True)
