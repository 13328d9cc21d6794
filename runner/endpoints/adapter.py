"""Owns a custom wire format, compiled: how a logical request becomes an HTTP request, and what its answers mean.

A logical request is `{"model", "messages" | "prompt" | "input", params…, extra_body…}` in the API's own words, plus the
dataset columns that the adapter reads, under `$row`. Keys of rows come from it, so that wrapping never enters them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import orjson

from runner.digest import digest_of
from runner.endpoints import Endpoint
from runner.endpoints.chat import choices_wanted
from runner.endpoints.mapping import compile_response
from runner.endpoints.tree import compile_tree
from runner.errors import TemplateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from runner.endpoints.mapping import ResponseMapping
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
    _response: ResponseMapping

    @property
    def method(self) -> str:
        """The HTTP method."""
        method: str = self.spec["method"]
        return method

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
            refine=self._response.refine,
            error_in_body=self._response.error_in_body,
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
        _response=compile_response(spec["response"], spec["errors"]),
    )


def with_response_of(spec: Mapping[str, Any], mended: Mapping[str, Any]) -> dict[str, Any]:
    """Return an adapter's values with all but the request half taken from `mended`."""
    return {**mended, **{name: spec[name] for name in REQUEST_HALF}}


def _filled(text: str, context: Mapping[str, Any]) -> str:
    rendered = compile_tree(text).render(context)
    return rendered if isinstance(rendered, str) else str(rendered)


def asks_nothing(name: str, value: Any) -> bool:
    """Say whether a param asks for what would happen without it too."""
    return value is None or value is False or (name == "n" and value == 1 and value is not True)
