"""Owns how a run ended, in words: its exit code, its gates, and what is left to do. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from runner.folder.manifest import COMPLETE, RUNNING
from runner.report.shown import cut, name_of
from runner.report.wording import change, number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.folder.manifest import Manifest

Tone: TypeAlias = Literal["good", "warn", "bad", "plain"]
EXITS: Final = {
    0: "complete, all gates passed",
    1: "ended by an internal error",
    2: "the dataset changed or could not be read",
    3: "complete, more rows failed than permitted",
    4: "complete, a score gate failed",
    5: "stopped: key, quota, unknown model or budget",
    6: "incomplete: the server could not be reached, or time was over",
    73: "a file of the run could not be created",
    74: "an input or output error ended it",
    75: "another process held the run",
    130: "interrupted",
    143: "terminated",
}
_PASSED: Final = 0
# The folder of a base says nothing beside its run id, and much of the machine.
_NOT_TOLD: Final = {"name", "passed", "baseline_dir"}
_MOST_NOTE: Final = 300
_GATES_FAILED: Final = (3, 4)


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate: what it asked for, what was found; `passed` is null where that could not be decided."""

    name: str
    passed: bool | None
    details: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a run stands: `headline` in a word or two, `meaning` in a sentence, and the command that goes on with it."""

    tone: Tone
    headline: str
    meaning: str
    exit_code: int | None
    gates: tuple[Gate, ...]
    resume: bool = False


def verdict_of(manifest: Manifest) -> Verdict:
    """Return the verdict of a run as its manifest has it; a run without a summary has not ended a session yet."""
    code = manifest.summary.get("exit_code")
    gates = tuple(_gate(one) for one in manifest.summary.get("gates", []))
    if manifest.status == RUNNING or code is None:
        return Verdict(
            "plain", "Not finished", "What is shown is what the run has written so far.", None, gates, resume=True
        )
    meaning = EXITS.get(code, f"exit code {code}")
    if manifest.status != COMPLETE:
        headline = {5: "Stopped", 6: "Incomplete"}.get(code, "Interrupted")
        return Verdict("bad" if code in {1, 5, 74} else "warn", headline, meaning, code, gates, resume=True)
    if code == _PASSED:
        return Verdict("good", "Passed", meaning, code, gates)
    return Verdict("bad", "Failed" if code in _GATES_FAILED else "Ended", meaning, code, gates)


def _gate(gate: Mapping[str, Any]) -> Gate:
    """Return a gate, whatever it was about: what belongs to it beside its name and result is told as it stands."""
    facts = {key: value for key, value in gate.items() if key not in _NOT_TOLD and value is not None}
    details = ", ".join(_fact(key, value) for key, value in facts.items())
    passed = gate.get("passed")
    return Gate(name_of(gate.get("name", "gate")), None if passed is None else bool(passed), details)


def _fact(key: str, value: Any) -> str:
    if key == "note":
        return cut(str(value), _MOST_NOTE)[0]
    if key == "interval" and isinstance(value, (list, tuple)):
        return f"95 % interval {' to '.join(map(_value, value))}"
    return f"{name_of(key).replace('_', ' ')} {_value(value)}"


def _value(value: Any) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return change(value, number) if value < 0 else number(value)
    return name_of(value)
