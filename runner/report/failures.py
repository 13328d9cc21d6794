"""Owns what went wrong, by kind: rows that failed, attempts that did, an example, and what to do about it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from runner.errors import Action, request_errors
from runner.report.shown import cut
from runner.sinks import column_values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runner.report.rows import ShownRow
    from runner.sinks import Snapshot

_MOST_EXAMPLE: Final = 300
# As docs/failures.md has it, in a line.
ADVICE: Final = {
    "rate_limit": "Set limits.requests_per_minute and limits.tokens_per_minute to what the server permits.",
    "overload": "Lower limits.max_in_flight if it goes on.",
    "stale_connection": "Nothing: nobody read the request, and it was sent again.",
    "server": "Look at the server's log.",
    "request_timeout": "Raise request.timeout_s, or lower limits.max_in_flight.",
    "connect": "Is the server running, is model.base_url right? evalrunner check CONFIG",
    "disconnect": "A proxy or load balancer in between? A shorter answer?",
    "invalid_response": "Does model.base_url point to a web page? Overloaded servers do this, too.",
    "bad_request": "Read the message; check request.params and the row.",
    "context_length": "Shorten the prompt, or lower the longest answer that is asked for.",
    "not_found": "Check model.base_url and model.path.",
    "request_too_large": "Shorten the prompt, or lower request.batch_size.",
    "permission_denied": "The server refuses this content or feature to this key.",
    "redirect": "Set model.base_url to the final address.",
    "body_too_large": "Ask for less: fewer choices, fewer top_logprobs.",
    "no_choices": "Is model.base_url an endpoint of the shape that request.endpoint names?",
    "missing_choice": "A server that does not heed n is asked for each choice in a new run.",
    "parse": "The bytes are kept: evalrunner reseal RUN_DIR reads them again, without a request.",
    "cancelled": "Resume the run.",
    "auth": "Check the key in the variable that model.api_key_env names.",
    "model_not_found": "Check model.name, that the key may use it, and request.endpoint.",
    "quota": "Add credit, then resume.",
    "unsupported": "Remove the parameter that the message names, or use a server that takes it.",
}
_DONE: Final = {
    Action.RETRY_FREE: "sent again, free",
    Action.RETRY: "sent again",
    Action.END_ROW: "ends the row",
    Action.STOP_RUN: "stops the run",
}


@dataclass(frozen=True, slots=True)
class FailureKind:
    """One kind of failure: `rows` ended with it, `attempts` did; `resent` says whether resume sends such rows again."""

    kind: str
    rows: int
    attempts: int
    action: str
    resent: bool
    advice: str
    example: str


def failed_attempts(snapshot: Snapshot) -> tuple[int, Counter[str]]:
    """Return how many attempts there were, and how many failed, by kind. Raises DamagedError, BusyError."""
    count, kinds = 0, Counter[str]()
    for part in snapshot.tables["attempts"].values():
        for batch in part.batches(["error_kind"]):
            found = column_values(batch, "error_kind")
            count += len(found)
            kinds.update(kind for kind in found if kind is not None)
    return count, kinds


def failure_kinds(rows: Mapping[str, int], attempts: Mapping[str, int], shown: Sequence[ShownRow]) -> list[FailureKind]:
    """Return each kind that rows or attempts failed with, those of most rows first."""
    examples: dict[str, str] = {}
    for row in shown:
        if row.facts["error"] and row.texts.get("message"):
            examples.setdefault(row.facts["error"], cut(row.texts["message"], _MOST_EXAMPLE)[0])
    kinds = sorted({*rows, *attempts}, key=lambda kind: (-rows.get(kind, 0), -attempts.get(kind, 0), kind))
    return [_described(kind, rows.get(kind, 0), attempts.get(kind, 0), examples.get(kind, "")) for kind in kinds]


def _described(kind: str, rows: int, attempts: int, example: str) -> FailureKind:
    error = request_errors().get(kind)
    action = _DONE[error.action] if error else ""
    return FailureKind(kind, rows, attempts, action, bool(error and error.resend), ADVICE.get(kind, ""), example)
