"""Owns the gates of a run as lines that people read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner.pipeline.scores.gates import FAILED_FRACTION, describe_gate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_ENDINGS = {True: "passed", False: "MISSED", None: "not judged"}


def gate_lines(gates: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return gates as rows of two cells; that of failed rows, which every run has, only where it is missed."""
    told = (gate for gate in gates if gate["name"] != FAILED_FRACTION or gate["passed"] is False)
    return [("gate", f"{gate['name']} {_ENDINGS[gate['passed']]}: {describe_gate(gate)}") for gate in told]
