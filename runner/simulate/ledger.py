"""Owns what reached the server and what it answered: append-only, in memory and, if asked for, in two files.

`<path>` gets a line with the request's digest for every 200 that carries an answer, `<path>.arrivals` one for every
request. Lines are appended with O_APPEND and outlive the server's own death. An answer's line is written right before
its last byte goes out: every answer that a client has whole is in the file, and the file may name a few whose client
died before they came. A byte is out when the transport has it. `rates` are the books of the limits.
"""

from __future__ import annotations

import os
import time
from array import array
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from runner.errors import CannotCreateError, StorageError
from runner.simulate.rates import RateBook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType

_DIGEST_BYTES = 32
_ARRIVED, _COMPLETED, _ANSWERED = range(3)


@dataclass(frozen=True, slots=True)
class Entry:
    """One request: `number` by arrival, from 1. `status` is None as long as none was sent, `fault` what it met.

    `completed` says that the last byte of the reply was written, `answered` that it was a 200 with an answer in it.
    """

    number: int
    digest: str
    status: int | None
    fault: str | None
    completed: bool
    answered: bool


@dataclass(frozen=True, slots=True)
class Tokens:
    """What an answer costs."""

    prompt: int
    completion: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """Totals. `by_status` counts the replies begun; the tokens are those of the answers completed."""

    requests: int
    answered: int
    in_flight: int
    max_in_flight: int
    by_status: dict[int, int]
    prompt_tokens: int
    completion_tokens: int


class Ledger:
    """The record of all requests, 36 bytes each, and the books of the limits, by the clock `now`.

    Raises CannotCreateError if its files cannot be opened.
    """

    def __init__(self, path: Path | None, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._answers = _open(path) if path is not None else None
        self._arrivals = _open(path.with_name(f"{path.name}.arrivals")) if path is not None else None
        self._digests = bytearray()
        self._statuses = array("H")
        self._faults = array("B")
        self._fault_names: list[str | None] = [None]
        self._progress = bytearray()
        self._by_status: Counter[int] = Counter()
        self._answered = 0
        self._tokens = Tokens(0, 0)
        self._max_in_flight = 0
        self.in_flight = 0
        self.rates = RateBook()

    def arrive(self, digest: str) -> Arrival:
        """Record a request; what is returned is entered as a context while the request is in flight."""
        self._digests += bytes.fromhex(digest)
        self._statuses.append(0)
        self._faults.append(0)
        self._progress.append(_ARRIVED)
        _append(self._arrivals, digest)
        return Arrival(self, len(self._progress), digest)

    def entries(self) -> Iterator[Entry]:
        """Yield every request in the order of arrival."""
        for index, progress in enumerate(self._progress):
            yield Entry(
                number=index + 1,
                digest=self._digests[index * _DIGEST_BYTES : (index + 1) * _DIGEST_BYTES].hex(),
                status=self._statuses[index] or None,
                fault=self._fault_names[self._faults[index]],
                completed=progress != _ARRIVED,
                answered=progress == _ANSWERED,
            )

    def statistics(self) -> Statistics:
        """Return the totals."""
        return Statistics(
            requests=len(self._progress),
            answered=self._answered,
            in_flight=self.in_flight,
            max_in_flight=self._max_in_flight,
            by_status=dict(sorted(self._by_status.items())),
            prompt_tokens=self._tokens.prompt,
            completion_tokens=self._tokens.completion,
        )

    def close(self) -> None:
        """Close the files."""
        for descriptor in (self._answers, self._arrivals):
            if descriptor is not None:
                os.close(descriptor)
        self._answers = self._arrivals = None

    def enter(self) -> None:
        """Count one request more in flight."""
        self.in_flight += 1
        self._max_in_flight = max(self._max_in_flight, self.in_flight)

    def note_fault(self, number: int, fault: str) -> None:
        """Record the fault that a request meets."""
        if fault not in self._fault_names:
            self._fault_names.append(fault)
        self._faults[number - 1] = self._fault_names.index(fault)

    def note_status(self, number: int, status: int) -> None:
        """Record the status that goes out now."""
        self._statuses[number - 1] = status
        self._by_status[status] += 1

    def note_answer(self, digest: str) -> None:
        """Record, in the file, an answer whose last byte is about to go out."""
        _append(self._answers, digest)

    def note_completed(self, number: int, tokens: Tokens | None) -> None:
        """Record that the last byte went out; `tokens` None: of a reply that is no answer."""
        if tokens is None:
            self._progress[number - 1] = _COMPLETED
            return
        self._progress[number - 1] = _ANSWERED
        self._answered += 1
        self.rates.note_answer(tokens.completion, self._now())
        self._tokens = Tokens(self._tokens.prompt + tokens.prompt, self._tokens.completion + tokens.completion)


class Arrival:
    """One request in flight; the steps of its reply are told in the order they stand here."""

    __slots__ = ("_ledger", "_tokens", "digest", "number")

    def __init__(self, ledger: Ledger, number: int, digest: str) -> None:
        self._ledger = ledger
        self._tokens: Tokens | None = None
        self.number = number
        self.digest = digest

    def __enter__(self) -> Self:
        self._ledger.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ledger.in_flight -= 1

    def expect(self, fault: str | None, tokens: Tokens | None) -> None:
        """Say what it will get: a fault, and what the answer costs if it is one."""
        self._tokens = tokens
        if fault is not None:
            self._ledger.note_fault(self.number, fault)

    def begin(self, status: int) -> None:
        """Say that the status goes out."""
        self._ledger.note_status(self.number, status)

    def finishing(self) -> None:
        """Say that the last byte is about to go out."""
        if self._tokens is not None:
            self._ledger.note_answer(self.digest)

    def finished(self) -> None:
        """Say that the last byte went out."""
        self._ledger.note_completed(self.number, self._tokens)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CannotCreateError(f"Cannot open the ledger {path}: {error.strerror}.") from error


def _append(descriptor: int | None, digest: str) -> None:
    if descriptor is None:
        return
    line = f"{digest}\n".encode()
    try:
        written = os.write(descriptor, line)
    except OSError as error:
        raise StorageError(f"Cannot write the ledger: {error.strerror}.") from error
    if written != len(line):
        raise StorageError("Cannot write the ledger: the disk is full.")
