"""Owns the lists of an adapter's answer: log probabilities, retrieved documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner.endpoints.found import as_number, as_text, as_word, find_in, item_at
from runner.endpoints.logprobs import read_chat_logprobs
from runner.records import Retrieved

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.records import Logprobs

_MAX_INT32 = 2**31 - 1


class LogprobReader:
    """Reads log probabilities: a list of entries, or lists side by side, into the shape of chat."""

    def __init__(self, logprobs: Mapping[str, Any]) -> None:
        self._entries = find_in(logprobs, "entries")
        self._token, self._logprob = find_in(logprobs, "token"), find_in(logprobs, "logprob")
        self._bytes, self._top = find_in(logprobs, "bytes"), find_in(logprobs, "top")
        self._tokens, self._token_logprobs = find_in(logprobs, "tokens"), find_in(logprobs, "token_logprobs")
        self._top_lists = find_in(logprobs, "top_lists")
        self._top_token = find_in(logprobs, "top_token", self._token)
        self._top_logprob = find_in(logprobs, "top_logprob", self._logprob)

    def read(self, choice: Any, notes: list[str]) -> Logprobs | None:
        """Return the flat lists, or null where the choice has none."""
        entries = self._entries(choice)
        if not isinstance(entries, list):
            tokens, logprobs = self._tokens(choice), self._token_logprobs(choice)
            if not isinstance(tokens, list):
                return None
            logprobs = logprobs if isinstance(logprobs, list) else []
            if len(logprobs) != len(tokens):
                notes.append(f"{len(tokens)} tokens and {len(logprobs)} log probabilities")
            made = [{"token": token, "logprob": item_at(logprobs, place)} for place, token in enumerate(tokens)]
        else:
            made = [
                {"token": self._token(entry), "logprob": self._logprob(entry), "bytes": self._bytes(entry)}
                for entry in entries
            ]
        top_lists = self._top_lists(choice)
        for place, one in enumerate(made):
            top = self._top(entries[place]) if isinstance(entries, list) else None
            one["top_logprobs"] = self._tops(item_at(top_lists, place) if top is None else top)
        return read_chat_logprobs({"content": made}, notes)

    def _tops(self, top: Any) -> list[dict[str, Any]]:
        if isinstance(top, dict):  # token: log probability, as text completions have it
            return [{"token": token, "logprob": logprob} for token, logprob in top.items()]
        if not isinstance(top, list):
            return []
        return [{"token": self._top_token(one), "logprob": self._top_logprob(one)} for one in top]


class RetrievedReader:
    """Reads the documents that a RAG system looked up."""

    def __init__(self, retrieved: Mapping[str, Any]) -> None:
        self._list = find_in(retrieved, "list")
        self._find = {name: find_in(retrieved, name) for name in ("rank", "id", "score", "text")}

    def read(self, body: Any, notes: list[str]) -> list[Retrieved] | None:
        """Return the documents in the server's order, ranked from 1 where it states no rank; null without a list."""
        found = self._list(body)
        if not isinstance(found, list):
            return None
        return [self._document(one, position, notes) for position, one in enumerate(found, start=1)]

    def _document(self, one: Any, position: int, notes: list[str]) -> Retrieved:
        rank = self._find["rank"](one)
        return Retrieved(
            rank=rank if type(rank) is int and abs(rank) <= _MAX_INT32 else position,
            id=as_word(self._find["id"](one)),
            score=as_number(self._find["score"](one)),
            text=as_text(self._find["text"](one), "retrieved.text", notes),
        )
