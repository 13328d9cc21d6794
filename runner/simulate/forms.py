"""Owns the API shapes besides chat: their requests read as chat requests, and a chat answer put into their shape.

Everything between (limits, faults, lengths, texts, log probabilities) is the same for all. Shapes: OpenAI API
reference, "Create completion" (legacy) and "The response object".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from runner.simulate.logprobs import chat_logprobs
from runner.simulate.prompts import InvalidRequestError, count_tokens, read_chat, request_digest
from runner.simulate.replies import ErrorBody
from runner.simulate.vectors import read_vectors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runner.simulate.prompts import ChatRequest
    from runner.simulate.variants import Answer
    from runner.simulate.vectors import VectorRequest

_DEFAULT_MAX_TOKENS = 16  # of a completion, as OpenAI documents it
_PADDING = "include_obfuscation"  # all that OpenAI's responses have among stream_options: usage always comes
_INCLUDE_LOGPROBS = "message.output_text.logprobs"
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for: `whole` as the limits see it, each of its prompts as a request, and the answer's shape.

    The text for a prompt is the same whether it comes alone or among others. `vectors` is set where not texts are asked
    for, but embeddings.
    """

    whole: ChatRequest
    parts: tuple[ChatRequest, ...]
    dress: Callable[[Answer], Answer]
    vectors: VectorRequest | None = None


Reader: TypeAlias = "Callable[[Mapping[str, Any], str], Asked]"


def plain(answer: Answer) -> Answer:
    """Return a chat answer as it is."""
    return answer


def ask_chat(body: Mapping[str, Any], digest: str) -> Asked:
    """Read a chat request. Raises InvalidRequestError."""
    request = read_chat(body, digest)
    return Asked(request, (request,), plain)


def ask_logits(body: Mapping[str, Any], digest: str) -> Asked:
    """Read a request to the separate path for log probabilities: chat with the flag set. Raises InvalidRequestError."""
    return ask_chat({**body, "logprobs": True}, digest)


def ask_embeddings(body: Mapping[str, Any], digest: str) -> Asked:
    """Read a request for embeddings. Raises InvalidRequestError."""
    vectors = read_vectors(body, digest)
    return Asked(vectors.chat, (vectors.chat,), plain, vectors)


# ---------------------------------------------------------------- completions


def ask_completions(body: Mapping[str, Any], digest: str) -> Asked:
    """Read a completions request. Raises InvalidRequestError."""
    prompts = _prompts(body.get("prompt"))
    base = replace(read_chat(_as_chat(body), digest), max_tokens=_max_tokens(body))
    best_of = body.get("best_of")
    if best_of is not None and (type(best_of) is not int or best_of < base.n):
        message = f"Invalid 'best_of': expected an integer of at least n, {base.n}."
        raise InvalidRequestError(ErrorBody(message, param="best_of", code="invalid_value"))
    parts = tuple(
        replace(
            base,
            digest=digest if len(prompts) == 1 else request_digest({**body, "prompt": prompt}),
            prompt_tokens=max(1, len(prompt) if isinstance(prompt, list) else count_tokens(prompt)),
            last_user_text=_text(prompt),
        )
        for prompt in prompts
    )
    whole = replace(base, prompt_tokens=sum(part.prompt_tokens for part in parts), n=base.n * len(parts))
    echo = body.get("echo") is True
    return Asked(whole, parts, lambda answer: _dress_completion(answer, parts, echo=echo))


def _prompts(prompt: Any) -> list[str | list[int]]:
    if isinstance(prompt, str):
        return [prompt]
    if isinstance(prompt, list) and prompt:
        if all(type(item) is int for item in prompt):
            return [prompt]
        texts = all(isinstance(item, str) for item in prompt)
        if texts or all(isinstance(item, list) and item and all(type(i) is int for i in item) for item in prompt):
            return prompt
    if prompt is None:
        error = ErrorBody("Missing required parameter: 'prompt'.", param="prompt", code="missing_required_parameter")
        raise InvalidRequestError(error)
    message = "Invalid type for 'prompt': expected a string, or an array of strings, of integers or of such arrays."
    raise InvalidRequestError(ErrorBody(message, param="prompt", code="invalid_type"))


def _as_chat(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a chat request with the same parameters; `logprobs` is a number here, or a flag at gateways."""
    chat = {**body, "messages": [{"role": "user", "content": ""}]}
    logprobs = body.get("logprobs")
    if type(logprobs) is int:
        chat |= {"logprobs": True, "top_logprobs": logprobs}
    if body.get("max_tokens") == 0:
        del chat["max_tokens"]
    return chat


def _max_tokens(body: Mapping[str, Any]) -> int:
    given: int | None = body.get("max_tokens", body.get("max_completion_tokens"))
    return _DEFAULT_MAX_TOKENS if given is None else given


def _text(prompt: str | list[int]) -> str:
    return prompt if isinstance(prompt, str) else "".join(f"<{token}>" for token in prompt)


def _dress_completion(answer: Answer, parts: tuple[ChatRequest, ...], *, echo: bool) -> Answer:
    per_prompt = parts[0].n
    choices = [
        _completion_choice(choice, parts[min(number // per_prompt, len(parts) - 1)], echo=echo)
        for number, choice in enumerate(answer["choices"])
    ]
    return {**answer, "id": f"cmpl-{answer['id'].partition('-')[2]}", "object": "text_completion", "choices": choices}


def _completion_choice(choice: dict[str, Any], part: ChatRequest, *, echo: bool) -> dict[str, Any]:
    text, prompt = choice["message"].get("content"), part.last_user_text
    logprobs = choice["logprobs"]
    entries = logprobs and (logprobs["content"] or logprobs["refusal"] or [])
    begin = 0 if echo else len(prompt)
    if echo and entries is not None and part.top_logprobs is not None:
        head = chat_logprobs(prompt, part.top_logprobs, part.digest, greedy=True)["content"]
        entries = [*({**entry, "first": number == 0} for number, entry in enumerate(head)), *entries]
    return {
        "index": choice["index"],
        "text": prompt + text if echo and text is not None else text,
        "logprobs": None if entries is None else _side_by_side(entries, begin),
        "finish_reason": choice["finish_reason"],
    }


def _side_by_side(entries: list[dict[str, Any]], begin: int) -> dict[str, Any]:
    """Return log probabilities in the older shape; offsets count characters of prompt and text together."""
    offsets, place = [], begin
    for entry in entries:
        offsets.append(place)
        place += len(entry["token"])
    tops = [{top["token"]: top["logprob"] for top in entry["top_logprobs"]} for entry in entries]
    return {
        "tokens": [entry["token"] for entry in entries],
        # Nothing comes before the first token of an echoed prompt, so that it has no probability.
        "token_logprobs": [None if entry.get("first") else entry["logprob"] for entry in entries],
        "top_logprobs": [
            None if entry.get("first") else {**top, entry["token"]: entry["logprob"]}
            for entry, top in zip(entries, tops, strict=True)
        ],
        "text_offset": offsets,
    }


# ---------------------------------------------------------------- responses


def ask_responses(body: Mapping[str, Any], digest: str) -> Asked:
    """Read a responses request. Raises InvalidRequestError."""
    include = body.get("include") or []
    options = body.get("stream_options")
    if isinstance(options, dict) and (unknown := next((name for name in options if name != _PADDING), None)):
        place = f"stream_options.{unknown}"
        raise InvalidRequestError(ErrorBody(f"Unknown parameter: '{place}'.", param=place, code="unknown_parameter"))
    chat: dict[str, Any] = {
        **{name: body[name] for name in ("model", "temperature", "stream") if name in body},
        "messages": _messages(body.get("input")),
        "max_tokens": body.get("max_output_tokens"),
    }
    if isinstance(include, list) and _INCLUDE_LOGPROBS in include:
        chat |= {"logprobs": True, "top_logprobs": body.get("top_logprobs") or 0}
    try:
        request = read_chat(chat, digest)
    except InvalidRequestError as error:
        said = error.body
        message = said.message.replace("'max_tokens'", "'max_output_tokens'").replace("'messages'", "'input'")
        param = {"max_tokens": "max_output_tokens", "messages": "input"}.get(said.param or "", said.param)
        raise InvalidRequestError(replace(said, message=message, param=param)) from None
    return Asked(request, (request,), lambda answer: _dress_response(answer, request))


def _messages(given: Any) -> Any:
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    if not isinstance(given, list):
        return given
    # Items that are no messages (calls, their results) count as text of the user's.
    return [
        item if not isinstance(item, dict) or "role" in item else {"role": "user", "content": str(item.get("output"))}
        for item in given
    ]


def _dress_response(answer: Answer, request: ChatRequest) -> Answer:
    choices = answer["choices"]
    finish = choices[0]["finish_reason"] if choices else "stop"
    reason = _INCOMPLETE.get(finish)
    body = {
        "id": f"resp_{answer['id'].partition('-')[2]}",
        "object": "response",
        "created_at": answer["created"],
        "status": "incomplete" if reason else "completed",
        "error": None,
        "incomplete_details": {"reason": reason} if reason else None,
        "model": answer["model"],
        "output": [item for choice in choices[:1] for item in _items(choice, answer["id"])],
        "max_output_tokens": request.max_tokens,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "service_tier": answer["service_tier"],
    }
    return {**body, "usage": _usage(answer["usage"])} if "usage" in answer else body


def _items(choice: dict[str, Any], name: str) -> list[dict[str, Any]]:
    message, items = choice["message"], []
    if thought := message.get("reasoning_content"):
        summary = [{"type": "summary_text", "text": thought}]
        items.append({"id": f"rs_{name}", "type": "reasoning", "summary": summary})
    parts: list[dict[str, Any]] = []
    if message.get("content") is not None:
        entries = choice["logprobs"]["content"] if choice["logprobs"] else []
        text = message["content"]
        parts.append({"type": "output_text", "text": text, "annotations": [], "logprobs": entries})
    if refusal := message.get("refusal"):
        parts.append({"type": "refusal", "refusal": refusal})
    items.extend(
        {"type": "function_call", "id": f"fc_{name}", "call_id": call["id"], **call["function"]}
        for call in message.get("tool_calls") or ()
    )
    if parts or not items:
        said = {"type": "message", "id": f"msg_{name}", "role": "assistant", "status": "completed", "content": parts}
        items.append(said)
    return items


def _usage(usage: dict[str, Any]) -> dict[str, Any]:
    return {
        "input_tokens": usage["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": usage["prompt_tokens_details"]["cached_tokens"]},
        "output_tokens": usage["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": usage["completion_tokens_details"]["reasoning_tokens"]},
        "total_tokens": usage["total_tokens"],
    }


# Below the base URL. A system with a path of its own for log probabilities calls it what it likes.
FORMS: Mapping[str, Reader] = MappingProxyType(
    {
        "/chat/completions": ask_chat,
        "/completions": ask_completions,
        "/responses": ask_responses,
        "/embeddings": ask_embeddings,
        "/logits": ask_logits,
        "/logprobs": ask_logits,
        "/chat/logits": ask_logits,
    }
)
