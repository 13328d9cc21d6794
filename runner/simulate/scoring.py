"""Owns completions with the log probabilities of their prompts, which a tiny language model gives.

Shapes: OpenAI API reference, "Create completion" (legacy), and vLLM's `prompt_logprobs`. How servers deviate is set by
`LanguageModel`; the numbers are always those of `ngram`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from runner.simulate.forms import Asked, ask_completions
from runner.simulate.ngram import BEGIN, TOKENS, likeliest, logprob, tokenize
from runner.simulate.prompts import InvalidRequestError
from runner.simulate.replies import ErrorBody

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runner.simulate.prompts import ChatRequest
    from runner.simulate.variants import Answer

Offsets: TypeAlias = Literal["characters", "bytes", "from_completion", "behind_begin", "none"]
Spelling: TypeAlias = Literal["escaped", "replaced", "late", "stripped"]


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """How the server scores texts. The defaults are OpenAI's.

    `echo` is what becomes of that parameter; `prompt_logprobs` adds vLLM's. `zero_tokens` accepts `max_tokens: 0`,
    `arrays` several prompts. `begin` puts a token before every text. `offsets` is where `text_offset` begins, and
    `spelling` how tokens are shown that are no whole characters: as escaped bytes, as U+FFFD, or as nothing with the
    whole character behind; `stripped` leaves out the space that a token begins with, besides.
    """

    echo: Literal["given", "ignored", "refused"] = "given"
    prompt_logprobs: bool = False
    zero_tokens: bool = True
    arrays: bool = True
    begin: bool = False
    offsets: Offsets = "characters"
    spelling: Spelling = "escaped"

    def ask(self, body: Mapping[str, Any], digest: str) -> Asked:
        """Read a completions request. Raises InvalidRequestError for what this server refuses."""
        if body.get("echo") and self.echo == "refused":
            raise _refused("echo", "Setting 'echo' and 'logprobs' at the same time is not supported for this model.")
        if body.get("max_tokens") == 0 and not self.zero_tokens:
            raise _refused("max_tokens", "max_tokens must be at least 1, got 0.")
        if not self.arrays and isinstance(body.get("prompt"), list):
            raise _refused("prompt", "Only one prompt in a request is supported.")
        asked = ask_completions(body, digest)
        parts = tuple(self._sized(part) for part in asked.parts)
        whole = replace(asked.whole, prompt_tokens=sum(part.prompt_tokens for part in parts))
        return Asked(whole, parts, lambda answer: self._dress(answer, parts, body))

    def _sized(self, part: ChatRequest) -> ChatRequest:
        return replace(part, prompt_tokens=max(1, len(tokenize(part.last_user_text)) + self.begin))

    def _dress(self, answer: Answer, parts: Sequence[ChatRequest], body: Mapping[str, Any]) -> Answer:
        texts = [parts[min(choice["index"] // parts[0].n, len(parts) - 1)] for choice in answer["choices"]]
        ids = [self._generated(part) for part in texts]
        choices = [
            self._choice(choice["index"], part, own, body)
            for choice, part, own in zip(answer["choices"], texts, ids, strict=True)
        ]
        if "usage" in answer:
            usage = answer["usage"]
            usage["completion_tokens"] = sum(map(len, ids))
            usage["total_tokens"] = usage["prompt_tokens"] + usage["completion_tokens"]
        name = f"cmpl-{answer['id'].partition('-')[2]}"
        return {**answer, "id": name, "object": "text_completion", "choices": choices}

    def _prompt(self, part: ChatRequest) -> list[int]:
        return [0] * self.begin + tokenize(part.last_user_text)

    def _generated(self, part: ChatRequest) -> list[int]:
        ids = self._prompt(part) or [0]
        for _ in range(part.max_tokens or 0):
            ids.append(likeliest(ids[-1], 1)[0])
        return ids[len(ids) - (part.max_tokens or 0) :]

    def _choice(self, index: int, part: ChatRequest, generated: list[int], body: Mapping[str, Any]) -> dict[str, Any]:
        prompt = self._prompt(part)
        echoed = body.get("echo") is True and self.echo == "given"
        text = b"".join(map(TOKENS.__getitem__, generated)).decode("utf-8", "replace")
        choice: dict[str, Any] = {
            "index": index,
            "text": part.last_user_text + text if echoed else text,
            "logprobs": None,
            "finish_reason": "length",
        }
        if part.top_logprobs is not None:
            choice["logprobs"] = self._logprobs(prompt, generated, part.top_logprobs, echoed=echoed)
        if self.prompt_logprobs and body.get("prompt_logprobs") is not None:
            choice["prompt_logprobs"] = self._prompt_logprobs(prompt, body["prompt_logprobs"])
        return choice

    def _logprobs(self, prompt: list[int], generated: list[int], top: int, *, echoed: bool) -> dict[str, Any]:
        ids = prompt + generated
        shown = self._spelt(ids)
        first = 0 if echoed else len(prompt)
        chosen = range(first, len(ids))
        tops = [
            {shown_one: logprob(ids[place - 1], token) for token, shown_one in self._alternatives(ids, place, top)}
            if place
            else None
            for place in chosen
        ]
        return {
            "tokens": [shown[place] for place in chosen],
            "token_logprobs": [logprob(ids[place - 1], ids[place]) if place else None for place in chosen],
            "top_logprobs": tops,
            "text_offset": self._offsets(shown, len(prompt))[first:],
        }

    def _alternatives(self, ids: list[int], place: int, top: int) -> list[tuple[int, str]]:
        """Return the likeliest tokens and the chosen one, as shown; what comes last wins where two show the same."""
        tokens = [*reversed(likeliest(ids[place - 1], top)), *([ids[place]] if top else [])]
        ordered = sorted(dict.fromkeys(tokens), key=lambda token: logprob(ids[place - 1], token))
        return [(token, self._spelt([token])[0]) for token in ordered]

    def _prompt_logprobs(self, prompt: list[int], top: int) -> list[dict[str, Any] | None]:
        shown = self._spelt(prompt)
        found: list[dict[str, Any] | None] = [None] * bool(prompt)
        for place in range(1, len(prompt)):
            before = prompt[place - 1]
            by_rank = [logprob(before, token) for token in likeliest(before, len(TOKENS))]
            named = {prompt[place]: shown[place]} | {
                token: self._spelt([token])[0] for token in likeliest(before, top) if token != prompt[place]
            }
            found.append(
                {
                    str(token): {
                        "logprob": logprob(before, token),
                        "rank": by_rank.index(logprob(before, token)) + 1,
                        "decoded_token": text,
                    }
                    for token, text in named.items()
                }
            )
        return found

    def _spelt(self, ids: Sequence[int]) -> list[str]:
        """Return tokens as they are shown."""
        texts, pending = [], b""
        for token in ids:
            data = BEGIN.encode() if token == 0 else TOKENS[token]
            whole = _text(data)
            if whole is None and self.spelling == "late":
                pending += data
                whole = _text(pending)
                texts.append(whole or "")
                pending = b"" if whole else pending
            elif whole is None:
                escaped = "".join(f"\\x{byte:02x}" for byte in data)
                texts.append(f"bytes:{escaped}" if self.spelling == "escaped" else data.decode("utf-8", "replace"))
            else:
                texts.append(whole.removeprefix(" ") if self.spelling == "stripped" else whole)
        return texts

    def _offsets(self, shown: Sequence[str], prompt_tokens: int) -> list[int]:
        sizes = [len(text.encode()) if self.offsets == "bytes" else len(text) for text in shown]
        starts = list(accumulate(sizes, initial=0))[:-1]
        origin = {
            "from_completion": sum(sizes[:prompt_tokens]),
            "behind_begin": sizes[0] if self.begin and sizes else 0,
        }.get(self.offsets, 0)
        return [-1 if self.offsets == "none" else start - origin for start in starts]


def _text(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _refused(param: str, message: str) -> InvalidRequestError:
    return InvalidRequestError(ErrorBody(message, param=param, code="unsupported_value"))
