"""Owns the rows that a report shows in full: read by their places, with prompts, attempts and tokens, all bounded."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

from runner.report.prompts import messages_of, pretty
from runner.report.shown import cut, text_of, visible
from runner.sinks import SCORES, column_values, rows_by_place

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    from runner.folder.manifest import Manifest
    from runner.sinks import Snapshot

# Log probabilities take a hundred times the room of their text: of a large run some rows have them.
_MOST_WITH_TOKENS: Final = 400
_MOST_TOKENS: Final = 512
_MOST_TOKEN_CHARACTERS: Final = 60
_MOST_ALTERNATIVES: Final = 5
_MOST_ATTEMPTS: Final = 20
_MOST_RETRIEVED: Final = 10
# No text is longer than this to begin with; `bounding` cuts further where the page would get too large.
MOST_CHARACTERS: Final = 8_000
_COLUMNS: Final = (
    "key", "sample_id", "repeat", "choice", "request_key", "request_row", "status", "error_kind", "error_message",
    "http_status", "parse_note", "text", "reasoning", "refusal", "tool_calls", "finish_reason", "audio_transcript",
    "continuation", "loglikelihood", "is_greedy", "retrieved", "prompt_tokens", "completion_tokens",
    "reasoning_tokens", "cost_usd", "started_at", "queued_s", "latency_s", "first_token_s", "attempts", "target",
)  # fmt: skip
_TOKEN_COLUMNS: Final = ("tokens", "token_logprobs", "top_tokens", "top_logprobs")
_ATTEMPT_COLUMNS: Final = (
    "request_key", "attempt", "session", "started_at", "latency_s", "http_status", "error_kind", "retry_after_s"
)  # fmt: skip
_ANSWERED: Final = {"ok", "truncated"}


@dataclass(slots=True)
class ShownRow:
    """One row as the page has it: `place` in the order of the parts, `facts` as JSON.

    `texts` are those of its facts that may be long, by name; `cut_off` how many characters each has lost.
    """

    place: int
    facts: dict[str, Any]
    messages: list[tuple[str, str]] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    cut_off: dict[str, int] = field(default_factory=dict)


def read_rows(snapshot: Snapshot, manifest: Manifest, scores: Sequence[str], places: Sequence[int]) -> list[ShownRow]:
    """Return rows by their places among all rows, in that order. `places` come with what matters most first.

    Raises DamagedError, BusyError.
    """
    columns = [*_COLUMNS, *(f"in_{name}" for name in manifest.columns)]
    rows: dict[int, ShownRow] = {}
    keys: dict[int, tuple[str, int]] = {}
    for place, row in rows_by_place(snapshot, "responses", places, columns):
        rows[place] = _shown(place, row, list(manifest.columns))
        keys[place] = (row["request_key"] or "", row["request_row"] or 0)
    answered = [place for place in places if place in rows and rows[place].facts["status"] in _ANSWERED]
    for place, row in rows_by_place(snapshot, "responses", answered[:_MOST_WITH_TOKENS], _TOKEN_COLUMNS):
        rows[place].facts["tokens"] = _tokens(row)
    if scores:
        names = [name for score in scores for name in (f"score_{score}", f"{score}_note")]
        for place, row in rows_by_place(snapshot, SCORES, list(rows), names):
            rows[place].facts["scores"] = [
                [row[f"score_{score}"], cut(row[f"{score}_note"] or "", 500)[0]] for score in scores
            ]
    _add_prompts(snapshot, rows, keys)
    _add_attempts(snapshot, rows, keys)
    return [rows[place] for place in sorted(rows)]


def _shown(place: int, row: Mapping[str, Any], columns: Sequence[str]) -> ShownRow:
    usage = [row["prompt_tokens"], row["completion_tokens"], row["reasoning_tokens"]]
    facts = {
        "id": cut(row["sample_id"] or "", 300)[0],
        "repeat": row["repeat"],
        "choice": row["choice"],
        "status": row["status"],
        "error": row["error_kind"] and visible(row["error_kind"]),
        "http": row["http_status"],
        "finish": row["finish_reason"] and cut(row["finish_reason"], 100)[0],
        "usage": usage,
        "cost": row["cost_usd"],
        "at": _stamp(row["started_at"]),
        "s": [row["latency_s"], row["first_token_s"], row["queued_s"]],
        "inputs": [cut(_plain(row[f"in_{name}"]), 1_000)[0] for name in columns],
        "likelihood": row["loglikelihood"],
        "greedy": row["is_greedy"],
        "retrieved": [_document(one) for one in (row["retrieved"] or [])[:_MOST_RETRIEVED]],
        "found": None if row["retrieved"] is None else len(row["retrieved"]),
    }
    shown = ShownRow(place, facts)
    named = {
        "answer": row["text"],
        "reasoning": row["reasoning"],
        "refusal": row["refusal"],
        "calls": pretty(row["tool_calls"]),
        "audio": row["audio_transcript"],
        "continuation": row["continuation"],
        "target": row["target"],
        "message": row["error_message"],
        "note": row["parse_note"],
    }
    for name, text in named.items():
        if text is not None:
            _set_text(shown, name, text)
    return shown


def _set_text(shown: ShownRow, name: str, text: str) -> None:
    shown.texts[name], left_out = cut(text, MOST_CHARACTERS)
    if left_out:
        shown.cut_off[name] = left_out


def _plain(value: Any) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else text_of(value)


def _document(one: Mapping[str, Any]) -> list[Any]:
    return [one["rank"], cut(one["id"] or "", 300)[0], one["score"], cut(one["text"] or "", 1_000)[0]]


def _stamp(at: datetime | None) -> str | None:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if at else None


def _tokens(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return tokens with their log probabilities, and the likeliest alternatives at each place."""
    tokens, logprobs = row["tokens"], row["token_logprobs"]
    if not tokens:
        return None
    tops = zip(row["top_tokens"] or [], row["top_logprobs"] or [], strict=False)
    alternatives = [[_token(*one) for one in zip(names or [], values or [], strict=False)] for names, values in tops]
    return {
        "list": [_token(*one) for one in zip(tokens[:_MOST_TOKENS], logprobs or [None] * len(tokens), strict=False)],
        "tops": [one[:_MOST_ALTERNATIVES] for one in alternatives[:_MOST_TOKENS]],
        "left_out": max(0, len(tokens) - _MOST_TOKENS),
    }


def _token(token: str | None, logprob: float | None) -> list[Any]:
    text = cut(token or "", _MOST_TOKEN_CHARACTERS)[0]
    return [text, None if logprob is None else round(logprob, 3)]


def _add_prompts(snapshot: Snapshot, rows: Mapping[int, ShownRow], keys: Mapping[int, tuple[str, int]]) -> None:
    """Give each row the messages of its request; none where bodies were not kept."""
    by_key = _by_key(keys)
    for row in _joined(snapshot, "raw", by_key, ("request_key", "request")):
        for place in by_key[row["request_key"]]:
            _set_messages(rows[place], messages_of(row["request"] or b"", keys[place][1]))


def _set_messages(row: ShownRow, messages: Sequence[tuple[str, str]]) -> None:
    """Keep as much of all messages together as of any other text, of the last ones first: there the question is."""
    room, left_out = MOST_CHARACTERS, 0
    row.messages = []
    for role, text in reversed(messages):
        start, rest = cut(text, room)
        room, left_out = room - min(len(text), room), left_out + rest
        row.messages.insert(0, (cut(role, 100)[0], start))
    if left_out:
        row.cut_off["prompt"] = left_out


def _add_attempts(snapshot: Snapshot, rows: Mapping[int, ShownRow], keys: Mapping[int, tuple[str, int]]) -> None:
    by_key = _by_key(keys)
    for row in _joined(snapshot, "attempts", by_key, _ATTEMPT_COLUMNS):
        for place in by_key[row["request_key"]]:
            held = rows[place].facts.setdefault("attempts", [])
            if len(held) < _MOST_ATTEMPTS:
                kind = row["error_kind"] and visible(row["error_kind"])
                held.append(
                    [row["session"], row["attempt"], _stamp(row["started_at"]), row["latency_s"], row["http_status"],
                     kind, row["retry_after_s"]]
                )  # fmt: skip


def _by_key(keys: Mapping[int, tuple[str, int]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for place, (key, _) in keys.items():
        found.setdefault(key, []).append(place)
    return found


def _joined(snapshot: Snapshot, table: str, keys: Collection[str], columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table that have one of the request keys, in the order in which they were written."""
    for part in snapshot.tables[table].values():
        before, places = 0, []
        for batch in part.batches(["request_key"]):
            found = column_values(batch, "request_key")
            places += [before + number for number, key in enumerate(found) if key in keys]
            before += len(found)
        if places:
            for values in part.rows_at(places, columns):
                yield dict(zip(columns, values, strict=True))
