"""Owns what a chat request says: its digest, its checks, and the few facts the answer depends on.

Tokens: every four characters (code points) of text are one token, in prompts and in answers alike; a message costs
four tokens more, an image, audio or other part without text 85. So counting is a division, and tokens joined give the
text.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import orjson

from runner.simulate.media import part_text
from runner.simulate.replies import ErrorBody

if TYPE_CHECKING:
    from collections.abc import Mapping

TOKEN_CHARACTERS = 4
DEFAULT_MODEL = "simulated"
_MESSAGE_TOKENS = 4
_MEDIA_TOKENS = 85
_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_MAX_STOPS = 4
_MAX_CHOICES = 128
_MAX_TOP_LOGPROBS = 20
_MAX_TEMPERATURE = 2
_ASKED = ("prompt", "suffix", "input", "instructions")
_NAMES = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal number",
    type(None): "null",
}


class InvalidRequestError(Exception):
    """The request is refused with 400; `body` is the error object of the reply."""

    def __init__(self, body: ErrorBody) -> None:
        super().__init__(body.message)
        self.body = body


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A valid chat request. `top_logprobs` is None where no log probabilities were asked for.

    `stream` says that the answer is to be streamed, `include_usage` that its usage is to come in a last chunk.
    """

    digest: str
    model: str
    prompt_tokens: int
    last_user_text: str
    max_tokens: int | None
    n: int
    stop: tuple[str, ...]
    top_logprobs: int | None
    greedy: bool
    stream: bool = False
    include_usage: bool = False


def request_digest(body: Mapping[str, Any]) -> str:
    """Return the ledger's name for a request: sha256 (hex) of the canonical JSON of what is asked, and of `seed`.

    What is asked stands in `messages`, or in `prompt` and `suffix`, or in `input` and `instructions`.
    """
    kept = {name: body[name] for name in _ASKED if name in body}
    kept |= {"messages": body.get("messages"), "seed": body.get("seed")}
    return sha256(orjson.dumps(kept, option=orjson.OPT_SORT_KEYS)).hexdigest()


def raw_digest(raw: bytes) -> str:
    """Return the ledger's name for a body that is no JSON object: sha256 (hex) of its bytes."""
    return sha256(raw).hexdigest()


def count_tokens(text: str) -> int:
    """Return how many tokens `text` is."""
    return -(-len(text) // TOKEN_CHARACTERS)


def read_chat(body: Mapping[str, Any], digest: str) -> ChatRequest:
    """Check a chat request as OpenAI's server does. Raises InvalidRequestError."""
    messages = _messages(body)
    temperature = _number(body, "temperature", _MAX_TEMPERATURE)
    return ChatRequest(
        digest=digest,
        model=_model(body),
        prompt_tokens=sum(_message_tokens(message) for message in messages),
        last_user_text=_last_user_text(messages),
        max_tokens=_max_tokens(body),
        n=_integer(body, "n", 1, _MAX_CHOICES) or 1,
        stop=_stop(body),
        top_logprobs=_top_logprobs(body),
        greedy=temperature == 0,
        stream=_stream(body),
        include_usage=_include_usage(body),
    )


def _messages(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    messages = body.get("messages")
    if messages is None:
        message = "Missing required parameter: 'messages'."
        raise InvalidRequestError(ErrorBody(message, param="messages", code="missing_required_parameter"))
    if not isinstance(messages, list):
        raise _wrong_type("messages", "an array of objects", messages)
    if not messages:
        message = "Invalid 'messages': empty array. Expected an array with minimum length 1."
        raise InvalidRequestError(ErrorBody(message, param="messages", code="empty_array"))
    for index, message in enumerate(messages):
        _check_message(f"messages[{index}]", message)
    return messages


def _check_message(name: str, message: Any) -> None:
    if not isinstance(message, dict):
        raise _wrong_type(name, "an object", message)
    role = message.get("role")
    if role not in _ROLES:
        text = f"Invalid value: {role!r}. Supported values are: {', '.join(_ROLES)}."
        raise InvalidRequestError(ErrorBody(text, param=f"{name}.role", code="invalid_value"))
    content = message.get("content")
    silent = content is None and role == "assistant"
    if not (silent or isinstance(content, str | list)):
        raise _wrong_type(f"{name}.content", "a string or an array of content parts", content)


def _model(body: Mapping[str, Any]) -> str:
    model = body.get("model")
    if model is None:
        return DEFAULT_MODEL
    if not isinstance(model, str):
        raise _wrong_type("model", "a string", model)
    return model


def _max_tokens(body: Mapping[str, Any]) -> int | None:
    old = _integer(body, "max_tokens", 1)
    new = _integer(body, "max_completion_tokens", 1)
    if old is not None and new is not None:
        message = "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."
        raise InvalidRequestError(ErrorBody(message, param="max_tokens", code="invalid_parameter_combination"))
    return old if new is None else new


def _stream(body: Mapping[str, Any]) -> bool:
    stream = body.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise _wrong_type("stream", "a boolean", stream)
    return bool(stream)


def _include_usage(body: Mapping[str, Any]) -> bool:
    options = body.get("stream_options")
    if options is None:
        return False
    if not isinstance(options, dict):
        raise _wrong_type("stream_options", "an object", options)
    if not body.get("stream"):
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise InvalidRequestError(ErrorBody(message, param="stream_options"))
    return bool(options.get("include_usage"))


def _stop(body: Mapping[str, Any]) -> tuple[str, ...]:
    stop = body.get("stop")
    stops = [stop] if isinstance(stop, str) else ([] if stop is None else stop)
    if not isinstance(stops, list) or not all(isinstance(item, str) for item in stops):
        raise _wrong_type("stop", "a string or an array of strings", stop)
    if len(stops) > _MAX_STOPS:
        message = f"Invalid 'stop': array too long. Expected at most {_MAX_STOPS}, but got {len(stops)}."
        raise InvalidRequestError(ErrorBody(message, param="stop", code="array_above_max_length"))
    return tuple(item for item in stops if item)


def _top_logprobs(body: Mapping[str, Any]) -> int | None:
    wanted = body.get("logprobs")
    if wanted is not None and not isinstance(wanted, bool):
        raise _wrong_type("logprobs", "a boolean", wanted)
    top = _integer(body, "top_logprobs", 0, _MAX_TOP_LOGPROBS)
    if top is not None and not wanted:
        message = "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled."
        raise InvalidRequestError(ErrorBody(message, param="top_logprobs"))
    return (top or 0) if wanted else None


def _integer(body: Mapping[str, Any], name: str, low: int, high: int | None = None) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong_type(name, "an integer", value)
    if value < low:
        message = f"Invalid '{name}': integer below minimum value. Expected a value >= {low}, but got {value} instead."
        raise InvalidRequestError(ErrorBody(message, param=name, code="integer_below_min_value"))
    if high is not None and value > high:
        message = f"Invalid '{name}': integer above maximum value. Expected a value <= {high}, but got {value} instead."
        raise InvalidRequestError(ErrorBody(message, param=name, code="integer_above_max_value"))
    return value


def _number(body: Mapping[str, Any], name: str, high: float) -> float | None:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _wrong_type(name, "a decimal", value)
    if not 0 <= value <= high:
        message = f"Invalid '{name}': decimal out of range. Expected 0 to {high}, but got {value} instead."
        code = "decimal_below_min_value" if value < 0 else "decimal_above_max_value"
        raise InvalidRequestError(ErrorBody(message, param=name, code=code))
    return value


def _wrong_type(name: str, expected: str, value: Any) -> InvalidRequestError:
    found = _NAMES.get(type(value), "something else")
    message = f"Invalid type for '{name}': expected {expected}, but got {found} instead."
    return InvalidRequestError(ErrorBody(message, param=name, code="invalid_type"))


def _message_tokens(message: dict[str, Any]) -> int:
    content = message.get("content")
    if isinstance(content, str):
        return _MESSAGE_TOKENS + count_tokens(content)
    return _MESSAGE_TOKENS + sum(_part_tokens(part) for part in content or ())


def _part_tokens(part: Any) -> int:
    text = part.get("text") if isinstance(part, dict) else None
    return count_tokens(text) if isinstance(text, str) else _MEDIA_TOKENS


def _last_user_text(messages: list[dict[str, Any]]) -> str:
    for message in reversed(messages):
        if message["role"] == "user":
            content = message["content"]
            return content if isinstance(content, str) else "".join(part_text(part) for part in content)
    return ""
