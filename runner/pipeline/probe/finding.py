"""Owns what a probe found: a list of questions with their answers for people, facts for programs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from runner.errors import Action, RequestError

PASSED, FAILED, LIMITED, UNCLEAR, SKIPPED = "ok", "failed", "no", "unclear", "not tested"

_MAX_DETAIL = 240


@dataclass(frozen=True, slots=True)
class Check:
    """One question and its answer: ok, failed (a run cannot work), no (the server lacks it), unclear, or not tested."""

    name: str
    outcome: str
    detail: str = ""
    hint: str = ""


@dataclass(slots=True)
class Probe:
    """All answers, how many requests they took, and `facts`: what a program wants to know, null where that is open."""

    checks: list[Check] = field(default_factory=list)
    requests: int = 0
    exit_code: int = 0
    facts: dict[str, Any] = field(default_factory=dict)

    def note(self, name: str, outcome: str, detail: str = "", hint: str = "") -> None:
        """Add an answer; of two to the same question the first stands."""
        if not self.has(name):
            self.checks.append(Check(name, outcome, " ".join(detail.split())[:_MAX_DETAIL], hint))

    def replace(self, name: str, outcome: str, detail: str = "", hint: str = "") -> None:
        """Add an answer in place of what was said before."""
        self.checks = [check for check in self.checks if check.name != name]
        self.note(name, outcome, detail, hint)

    def has(self, name: str) -> bool:
        """Say whether a question is answered."""
        return any(check.name == name for check in self.checks)


class NotAskedError(RequestError):
    """The probe's own bounds kept it from asking, or from waiting longer."""

    action = Action.RETRY


def is_passing(error: RequestError | None) -> bool:
    """Say whether an error shows nothing about what the server can do: trouble that may pass, or our own bounds."""
    return error is not None and error.action in (Action.RETRY, Action.RETRY_FREE)


def is_refusal(error: RequestError | None) -> bool:
    """Say whether the server found fault with the request itself."""
    return error is not None and error.http_status in {400, 422}
