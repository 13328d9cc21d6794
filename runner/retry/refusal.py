"""Owns which parameters of a request a server's refusal blames. Pure; it never guesses.

By structure first: `error.param` beside a code that says "unsupported" (OpenAI, Azure), an entry of pydantic's error
list whose `loc` names a member of the body (FastAPI, Mistral, vLLM). Then by text, where servers give nothing else;
each pattern below has its source. A name counts only if the request has a member of that name, and a phrase only if it
is not the request's own text that the server repeats. Whatever blames nothing that was sent is no refusal of a
parameter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runner import jsontext
from runner.retry.error_body import error_body_from_document, read_error_body

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from runner.retry.error_body import ErrorBody

MAX_SAID = 240

# What a request is about; to leave one of these out would be another request.
_CONTENT = frozenset({"model", "messages", "prompt", "input", "stream"})
_UNSUPPORTED_CODES = frozenset(
    {"unsupported_parameter", "unsupported_value", "unknown_parameter", "unrecognized_parameter"}
)
_EXTRA_TYPES = frozenset({"extra_forbidden", "value_error.extra"})
# More choices than a server gives at once is the one range that can be made good: by asking more often.
_N_CODES = frozenset({"integer_above_max_value", "less_than_equal", "literal_error", "value_error.number.not_le"})
_OTHER_NAMES = {"n_cmpl": ("n",), "thinking": ("reasoning_effort", "think"), "insert": ("suffix",)}
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_MAX_DEPTH = 4
_MAX_ENTRIES = 50

_Q = r"[\\'\"`]{0,3}"
_NAME = rf"{_Q}(?P<name>[A-Za-z_][\w.\[\]]{{0,63}})"
_PLAIN_NAMES = (
    "max_completion_tokens|max_tokens|top_logprobs|logprobs|temperature|top_p|seed|logit_bias|frequency_penalty"
    "|presence_penalty|response_format|parallel_tool_calls|tool_choice|tools|stream_options|reasoning_effort|best_of"
    "|echo|suffix|thinking|insert"
)

# The text of a 400 or 422. A pattern without a name stands for the parameter beside it.
_TEXTS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        # OpenAI and Azure, also inside the messages of gateways.
        (rf"(?:Unsupported|Unknown|Unrecognized) parameter: {_NAME}", ""),
        (rf"Unsupported value: {_NAME}{_Q} does not support", ""),
        (rf"Unrecognized request arguments? supplied: {_NAME}", ""),
        # Groq
        (rf"property {_NAME}{_Q} is unsupported", ""),
        (r"'n' ?: number must be at most \d+", "n"),
        (rf"[`'\"]{_NAME}{_Q} is not supported with this model", ""),
        # vLLM: pydantic's list, printed.
        (rf"'type': 'extra_forbidden', 'loc': \('body', {_NAME}", ""),
        (rf"^{_NAME}{_Q} is not (?:currently |yet )?supported", ""),
        (rf"vLLM V1 does not yet support {_NAME}", ""),
        # Anthropic, also through Bedrock; Fireworks.
        (r"(?P<name>[A-Za-z_][\w.]{0,63}): Extra inputs are not permitted", ""),
        (rf"Extra inputs are not permitted, field: {_NAME}", ""),
        (r"temperature[`']? and [`']?top_p[`']? cannot both be specified", "top_p"),
        (rf"[`']{_NAME}{_Q} is deprecated for this model", ""),
        (r"(?:^|[:`'\"] ?)n[`'\"]?:? (?:must|should) be (?:exactly |equal to )?1\b", "n"),
        (r"extraneous key \[(?P<name>\w{1,64})\] is not permitted", ""),
        # Gemini
        (rf"Unknown name {_NAME}{_Q}(?: at '[^']{{0,80}}')?: Cannot find field", ""),
        (r"[Ll]ogprobs is not (?:enabled|supported) for ", "logprobs"),
        (r"Multiple candidates is not enabled for ", "n"),
        # xAI, in camel case
        (rf"Argument not supported on this model: {_NAME}", ""),
        (rf"does not support parameter:? {_NAME}", ""),
        # llama.cpp
        (r"Field 'n': Value must be between 1 <= value <= \d+", "n"),
        (r"n_cmpl cannot be greater than the number of slots", "n"),
        (r"^(?P<name>tools|tool_choice) param requires --jinja", ""),
        (r"^logprobs is not supported with ", "logprobs"),
        # TGI
        (r"`best_of` != 1 is not (?:allowed|supported)", "best_of"),
        (r"[Ss]uffix is not supported", "suffix"),
        # Servers that say it in plain words, Ollama and DeepSeek among them.
        (rf"[Pp]arameter {_NAME}{_Q} is (?:not supported|unsupported|not allowed)", ""),
        (r"does not support (?:the )?(?:parameter )?[`'\"](?P<name>\w{1,64})[`'\"]", ""),
        (rf"do(?:es)?(?:n't| not) support (?P<name>{_PLAIN_NAMES})\b", ""),
    )
)
# These say it at any status: older llama.cpp and LiteLLM give 500, servers in Python whatever a TypeError gives.
_TEXTS_AT_ANY_STATUS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"Only one completion choice is allowed", "n"),
        (r"Only no echo is supported", "echo"),
        (rf"Unsupported param: {_NAME}", ""),
        (rf"UnsupportedParamsError: .{{0,200}}?(?:don't|doesn't|do not|does not) support {_NAME}=", ""),
        (rf"got an unexpected keyword argument {_NAME}", ""),
        # OpenAI gives 403 for this, and the key is as good as ever.
        (r"not allowed to request logprobs from this model", "logprobs"),
    )
)
# LiteLLM prints a dict or a list of them.
_LITELLM_LIST = re.compile(r"does not support parameters: (\{[^{}]{0,500}\}|\[[^\[\]]{0,500}\])")
_LITELLM_NAME = re.compile(r"'(\w+)'(?=[:,\]])")
_REFUSES_BY_TEXT = frozenset({400, 422})
_REFUSES_AT_ALL = frozenset({400, 403, 404, 422, 500, 501})


@dataclass(frozen=True, slots=True)
class Refusal:
    """Members of a request's body that its server does not take, and the server's words on one line."""

    names: tuple[str, ...]
    said: str


def find_refusal(status: int, answer: bytes, sent: bytes) -> Refusal | None:
    """Return the parameters of a request body that an answer refuses; null where it blames none of them.

    An error inside a 200 is read by the code in it. Never raises.
    """
    if status not in _REFUSES_AT_ALL and not 200 <= status < 300:  # noqa: PLR2004 - the range of success
        return None
    try:
        request, _ = jsontext.loads(sent)
    except ValueError:
        return None
    if not isinstance(request, dict):
        return None
    document, said = _read(answer)
    if status not in _REFUSES_AT_ALL:
        status = said.code or 400
    found = _by_structure(document, said, status) or _by_text(said.text, status, sent)
    names = tuple(dict.fromkeys(name for raw in found for name in _own_names(raw, request)))
    return Refusal(names, f"HTTP {status}: {said.text}"[:MAX_SAID]) if names else None


def _read(answer: bytes) -> tuple[Any, ErrorBody]:
    try:
        document, _ = jsontext.loads(answer)
    except ValueError:
        return None, read_error_body(answer)
    if isinstance(document, (dict, list)):
        return document, error_body_from_document(document)
    return None, read_error_body(answer)


def _by_structure(document: Any, said: ErrorBody, status: int) -> list[str]:
    if status not in _REFUSES_BY_TEXT:
        return []
    if said.param and said.signals & _UNSUPPORTED_CODES:
        return [said.param]
    if said.param == "n" and said.signals & _N_CODES:
        return ["n"]
    return list(_blamed_places(document, 0))


def _blamed_places(value: Any, depth: int) -> Iterator[str]:
    """Yield the members of the body that entries of a pydantic error list call forbidden."""
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, dict):
        for name in ("detail", "message", "error", "errors"):
            if isinstance(value.get(name), (dict, list)):
                yield from _blamed_places(value[name], depth + 1)
        return
    for entry in value[:_MAX_ENTRIES] if isinstance(value, list) else ():
        if not isinstance(entry, dict) or not isinstance(entry.get("loc"), list):
            continue
        place = [part for part in entry["loc"] if part != "body"]
        kind = entry.get("type")
        if place and isinstance(place[0], str) and (kind in _EXTRA_TYPES or (place[0] == "n" and kind in _N_CODES)):
            yield place[0]


def _by_text(text: str, status: int, sent: bytes) -> list[str]:
    patterns = _TEXTS_AT_ANY_STATUS + (_TEXTS if status in _REFUSES_BY_TEXT else ())
    own = _flat(sent)
    listed = _LITELLM_LIST.search(text)
    if listed and listed[0] not in own:
        return _LITELLM_NAME.findall(listed[1])
    for pattern, name in patterns:
        found = [name or match["name"] for match in pattern.finditer(text) if match[0] not in own]
        if found:
            return found
    return []


def _flat(sent: bytes) -> str:
    """Return a request's body as its texts would look in a message on one line."""
    return " ".join(re.sub(r"\\[nrt]", " ", sent.decode("utf-8", "replace")).replace('\\"', '"').split())


def _own_names(raw: str, request: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the request's own name for what a server calls `raw`; empty where it has none, or where it is content."""
    top = re.split(r"[.\[]", raw.removeprefix("body."))[0]
    names = (top, _CAMEL.sub("_", top).lower(), *_OTHER_NAMES.get(top, ()))
    return tuple(dict.fromkeys(name for name in names if name in request and name not in _CONTENT))[:1]
