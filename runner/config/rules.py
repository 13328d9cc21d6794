"""Owns what a config has to obey beyond types and ranges. Rules read plain values, whatever shape those have.

So a config with a wrong type in one place still has its other places checked, and every finding comes at once.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from runner.config.adapter_names import adapter_finding
from runner.config.credentials import (
    holds_key,
    is_credential_field,
    names_credential,
    names_variable,
    shown,
    shown_text,
)
from runner.config.gates import gate_findings
from runner.config.models import NAME_PATTERN
from runner.config.nights import nightly_findings
from runner.config.notifications import notification_findings
from runner.config.params import param_findings
from runner.config.paths import path_keys
from runner.config.places import Finding, value_at
from runner.config.scorers import scorer_findings
from runner.config.truncation import truncation_findings
from runner.retry.policy import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.config.places import KeyPath

USE_VARIABLE = "put the key into an environment variable, and the variable's name into model.api_key_env"

# One client address has no more connections to one server address.
_MOST_IN_FLIGHT = 65_535
_LARGEST_BATCH = 100_000
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_BLANK_OR_CONTROL = re.compile(r"[\s\x00-\x1f\x7f]")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# The keys below request that hold what is asked, by endpoint.
_CONTENT_KEYS: dict[str, tuple[str, ...]] = {
    "chat": ("messages",),
    "logprobs": ("messages",),
    "responses": ("messages",),
    "completions": ("prompt",),
    "embeddings": ("input",),
    "loglikelihood": ("context", "continuations"),
}
_WITHOUT_RETRIEVAL = ("completions", "embeddings", "loglikelihood")
_ONE_COLUMN = re.compile(r"\s*\{\{-?\s*[A-Za-z_][A-Za-z0-9_]*\s*-?\}\}\s*", re.ASCII)


def rule_findings(values: dict[str, Any]) -> list[Finding]:
    """Return what breaks a rule, at most one finding for a key."""
    by_path: dict[KeyPath, Finding] = {}
    for rule in _RULES:
        for finding in rule(values):
            by_path.setdefault(finding.path, finding)
    return list(by_path.values())


def _name(values: Any) -> Iterator[Finding]:
    name = value_at(values, ("name",))
    if isinstance(name, str) and (not re.fullmatch(NAME_PATTERN, name) or ".." in name):
        hint = "letters, digits, `.`, `_` and `-`, a letter or digit first, no `..`, 100 characters at most"
        yield Finding(("name",), f"{shown_text(name)} cannot name a folder", hint)


def _dataset_path(values: Any) -> Iterator[Finding]:
    path = value_at(values, ("dataset", "path"))
    if isinstance(path, list) and not path:
        yield Finding(("dataset", "path"), "the list is empty", "name at least one file")
    if isinstance(path, list) and "-" in path:
        yield Finding(("dataset", "path", path.index("-")), "standard input cannot be one of several files")


def _paths(values: Any) -> Iterator[Finding]:
    for path in path_keys(values):
        value = value_at(values, path)
        if value == "" or "\0" in value:
            yield Finding(path, f"{shown_text(value)} cannot be a path")


def _server(values: Any) -> Iterator[Finding]:
    model = value_at(values, ("model",))
    if not isinstance(model, dict):
        return
    given = [key for key in ("base_url", "embedded") if model.get(key) is not None]
    if not given:
        yield Finding(("model",), 'missing key "base_url"', "e.g. base_url: http://127.0.0.1:8000/v1")
    if len(given) > 1:
        yield Finding(("model", "embedded"), "stands beside base_url", "an embedded model has no URL; keep one of them")


def _urls(values: Any) -> Iterator[Finding]:
    base_url = value_at(values, ("model", "base_url"))
    if isinstance(base_url, list) and not base_url:
        yield Finding(("model", "base_url"), "the list is empty", "give at least one {url, weight}")
    numbers = range(len(base_url)) if isinstance(base_url, list) else ()
    paths: list[KeyPath] = [("model", "base_url"), *(("model", "base_url", number, "url") for number in numbers)]
    seen: set[str] = set()
    for path in paths:
        url = value_at(values, path)
        if not isinstance(url, str):
            continue
        if wrong := _wrong_with_url(url):
            yield Finding(path, *wrong)
        elif url.rstrip("/") in seen:
            yield Finding(path, "the same server stands twice", "weight gives a server more of the requests")
        seen.add(url.rstrip("/"))


def _wrong_with_url(url: str) -> tuple[str, str] | None:
    """Return message and hint; neither holds anything of the URL, since a key may stand in it."""
    if "$" in url:
        return "holds a `$`", "environment variables are not put into a config; --set model.base_url=… overrides it"
    try:
        parts = urlsplit(url)
        host, has_port = parts.hostname, parts.port != 0
    except ValueError:
        return "is not a URL", "e.g. http://127.0.0.1:8000/v1"
    if parts.scheme not in ("http", "https") or not host or not has_port or _BLANK_OR_CONTROL.search(url):
        return "expected a URL that begins with http:// or https:// and names a host", "e.g. http://127.0.0.1:8000/v1"
    if parts.username is not None or parts.password is not None:
        return "holds a user name or password", USE_VARIABLE
    if "?" in url or "#" in url:
        return "holds a query or fragment, which could carry a key", USE_VARIABLE
    return None


def _model_path(values: Any) -> Iterator[Finding]:
    path = value_at(values, ("model", "path"))
    if isinstance(path, str) and (not path.startswith("/") or _BLANK_OR_CONTROL.search(path) or set("?#") & set(path)):
        yield Finding(("model", "path"), "expected a path such as /logits, without a query")


def _adapter(values: Any) -> Iterator[Finding]:
    adapter = value_at(values, ("model", "adapter"))
    if isinstance(adapter, str) and (finding := adapter_finding(adapter)) is not None:
        yield finding


def _key_variable(values: Any) -> Iterator[Finding]:
    name = value_at(values, ("model", "api_key_env"))
    if isinstance(name, str) and not names_variable(name):
        message = "expected the NAME of an environment variable (letters, digits, _), not a key"
        yield Finding(("model", "api_key_env"), message, "e.g. api_key_env: OPENAI_API_KEY")


def _headers(values: Any) -> Iterator[Finding]:
    headers = value_at(values, ("model", "headers"))
    for name, value in headers.items() if isinstance(headers, dict) else ():
        path = ("model", "headers", name)
        if names_credential(name):
            yield Finding(path, "a header of this name carries a credential", USE_VARIABLE)
        if not HEADER_NAME.fullmatch(name):
            yield Finding(path, "is not the name of an HTTP header")
        if isinstance(value, str) and breaks_header(value):
            yield Finding(path, "a line break or control character cannot stand in a header")


def _credentials(values: Any) -> Iterator[Finding]:
    request = (("request", key) for key in ("params", "extra_body", "retrieval"))
    for section in (("name",), ("model",), ("scorers",), *request):
        for path, text in texts_in(value_at(values, section), section):
            if holds_key(text):
                yield Finding(path, "looks like a key", USE_VARIABLE)
            elif (section[0] == "request" or "options" in path) and is_credential_field(str(path[-1])):
                yield Finding(path, "the name of this field says that it carries a credential", USE_VARIABLE)


def breaks_header(value: str) -> bool:
    """Say whether a text holds what would end a header's line."""
    return _CONTROL.search(value) is not None


def texts_in(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    """Yield every text below a path of plain values."""
    if isinstance(value, str):
        yield path, value
    if isinstance(value, dict):
        for key, item in value.items():
            yield from texts_in(item, (*path, key))
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from texts_in(item, (*path, number))


def _messages(values: Any) -> Iterator[Finding]:
    messages = value_at(values, ("request", "messages"))
    if messages == []:
        yield Finding(("request", "messages"), "the list is empty", 'e.g. [{role: user, content: "{{ question }}"}]')
    if isinstance(messages, str) and not _ONE_COLUMN.fullmatch(messages):
        message = "expected a list of messages, or one template that is exactly {{ column }}"
        yield Finding(("request", "messages"), message, 'e.g. [{role: user, content: "{{ question }}"}]')


def _contents(values: Any) -> Iterator[Finding]:
    """Find what is asked with a key that the endpoint does not read; which key is missing only the dataset tells."""
    request = value_at(values, ("request",))
    if not isinstance(request, dict):
        return
    endpoint = request.get("endpoint", "chat")
    own = _CONTENT_KEYS.get(endpoint) if isinstance(endpoint, str) else None
    if own is None:
        return
    for name in dict.fromkeys(key for keys in _CONTENT_KEYS.values() for key in keys):
        if name not in own and request.get(name) is not None:
            hint = f"{endpoint} reads {' and '.join(f'request.{key}' for key in own)}; keep that and remove this"
            yield Finding(("request", name), f"is not used by the endpoint {endpoint}", hint)


def _retrieval(values: Any) -> Iterator[Finding]:
    """Find a choice of documents that the endpoint has no place for, or that is made twice."""
    endpoint, retrieval = (value_at(values, ("request", key)) for key in ("endpoint", "retrieval"))
    own_fields = ("params", "extra_body") if endpoint != "responses" else ()
    for name, value in retrieval.items() if isinstance(retrieval, dict) else ():
        path = ("request", "retrieval", name)
        if value is None:
            continue
        if endpoint in _WITHOUT_RETRIEVAL:
            yield Finding(path, f"is not used by the endpoint {endpoint}", "chat, logprobs and responses can search")
        for section in own_fields:
            if value_at(values, ("request", section, name)) is not None:
                yield Finding(path, f"stands in request.{section} too", "keep one of them")


def _prompt(values: Any) -> Iterator[Finding]:
    prompt = value_at(values, ("request", "prompt"))
    if not isinstance(prompt, list):
        return
    if not prompt:
        yield Finding(("request", "prompt"), "the list is empty", 'e.g. "{{ question }}"')
    kinds = {_prompt_kind(item) for item in prompt}
    if None in kinds or len(kinds) > 1:
        message = "expected a text, a list of texts, a list of token ids, or a list of lists of token ids"
        yield Finding(("request", "prompt"), message, 'e.g. "{{ question }}"')


def _likelihood(values: Any) -> Iterator[Finding]:
    context = value_at(values, ("request", "context"))
    if context is not None and not isinstance(context, str):
        yield Finding(("request", "context"), f"expected a text, found {shown(context)}", 'e.g. "{{ question }}"')
    where = ("request", "continuations")
    continuations = value_at(values, where)
    texts = isinstance(continuations, list) and all(isinstance(one, str) for one in continuations)
    one_column = isinstance(continuations, str) and _ONE_COLUMN.fullmatch(continuations)
    if continuations is not None and not texts and not one_column:
        message = "expected a list of texts, or one template that is exactly {{ column }} for a column of lists"
        yield Finding(where, message, 'e.g. [" yes", " no"]')
    elif texts and "" in (continuations or [""]):
        yield Finding(where, "a list without any text" if not continuations else "a continuation is an empty text")


def _prompt_kind(item: Any) -> str | None:
    if isinstance(item, str):
        return "text"
    if _is_token(item):
        return "token"
    return "tokens" if isinstance(item, list) and item and all(_is_token(token) for token in item) else None


def _is_token(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _params(values: Any) -> Iterator[Finding]:
    request = value_at(values, ("request",))
    yield from param_findings(request) if isinstance(request, dict) else ()


def _counts(values: Any) -> Iterator[Finding]:
    for path, most in ((("limits", "max_in_flight"), _MOST_IN_FLIGHT), (("request", "batch_size"), _LARGEST_BATCH)):
        count = value_at(values, path)
        if isinstance(count, int) and not isinstance(count, bool) and not 1 <= count <= most:
            yield Finding(path, f"expected 1 to {most} or auto, found {count}")


def _waits(values: Any) -> Iterator[Finding]:
    retry = value_at(values, ("retry",))
    if not isinstance(retry, dict):
        return
    usual = RetryPolicy()
    first, longest = retry.get("first_wait_s", usual.first_wait_s), retry.get("max_wait_s", usual.max_wait_s)
    if isinstance(first, int | float) and isinstance(longest, int | float) and first > longest:
        yield Finding(("retry", "max_wait_s"), f"{longest:g} is less than first_wait_s, {first:g}")


_RULES = (
    _name,
    _dataset_path,
    _paths,
    _server,
    _urls,
    _model_path,
    _adapter,
    _key_variable,
    _headers,
    _credentials,
    _messages,
    _contents,
    _retrieval,
    _prompt,
    _likelihood,
    _params,
    _counts,
    _waits,
    scorer_findings,
    gate_findings,
    truncation_findings,
    nightly_findings,
    notification_findings,
)
