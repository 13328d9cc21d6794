"""Owns stopping: why a session ends early, and the two ways to end it: let answers come in, or let go at once."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.errors import RunnerError


class StopKind(Enum):
    """Why a session ended before every row did: exit code, manifest status."""

    INTERNAL = (1, "interrupted")
    STORAGE = (74, "interrupted")
    INTERRUPTED = (130, "interrupted")
    TERMINATED = (143, "interrupted")
    DOOMED = (5, "stopped")
    OVER_BUDGET = DOOMED  # another name: the same end
    UNREACHABLE = (6, "incomplete")
    OUT_OF_TIME = UNREACHABLE
    DATASET = (2, "interrupted")

    @property
    def exit_code(self) -> int:
        """Return the command's exit code."""
        return self.value[0]

    @property
    def status(self) -> str:
        """Return the manifest's status."""
        return self.value[1]


_PRECEDENCE = tuple(StopKind)


@dataclass(slots=True)
class Control:
    """The state of stopping: `soft` scopes hold what waits (for rows, for a slot), `hard` ones the requests."""

    kind: StopKind | None = None
    error: RunnerError | None = None
    soft: set[anyio.CancelScope] = field(default_factory=set)
    hard: set[anyio.CancelScope] = field(default_factory=set)

    @property
    def stopping(self) -> bool:
        """Whether no further request may go out."""
        return self.kind is not None

    def stop(self, kind: StopKind, error: RunnerError | None = None) -> None:
        """Send nothing more; what is under way may still come in. The gravest reason stands, of equals the first."""
        if self.kind is None or _PRECEDENCE.index(kind) < _PRECEDENCE.index(self.kind):
            self.kind, self.error = kind, error
        for scope in self.soft:
            scope.cancel()

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Hold what may be cancelled as soon as the run stops: waiting for rows, for admission, for a file."""
        with anyio.CancelScope() as scope:
            self.soft.add(scope)
            if self.stopping:
                scope.cancel()
            try:
                yield
            finally:
                self.soft.discard(scope)

    def let_go(self) -> None:
        """Give up on what is under way, too."""
        for scope in self.soft | self.hard:
            scope.cancel()
