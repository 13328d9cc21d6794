"""Owns run.log.jsonl: what happened, one redacted JSON object a line; never a source of truth."""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self, TextIO

import orjson

from runner.errors import CannotCreateError
from runner.jsontext import scrub

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from runner.redaction import Redactor

# A server that fails every request must not fill the disk with the news of it.
_MOST_EVENTS = 10_000


class EventLog:
    """Appends events to the log file, and to `debug` where that is asked for. Raises CannotCreateError."""

    def __init__(self, path: Path, redactor: Redactor, debug: Callable[[str], None] | None) -> None:
        self._redactor = redactor
        self._debug = debug
        self._written = 0
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise CannotCreateError(f"{path}: cannot write the log: {error.strerror or error}") from error
        self._file: TextIO = os.fdopen(descriptor, "a", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._file.close()

    def write(self, event: str, details: dict[str, object]) -> None:
        """Write one event. A full disk costs the event, not the run: the journal is what counts."""
        self._written += 1
        if self._written > _MOST_EVENTS and self._debug is None:
            return
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = _line({"at": stamp, "event": event, **details})
        line = self._redactor.text(line)
        with contextlib.suppress(OSError):
            self._file.write(line + "\n")
            self._file.flush()
        if self._debug is not None:
            self._debug(line)


def _line(event: dict[str, object]) -> str:
    try:
        return orjson.dumps(event, default=str).decode()
    except TypeError:  # text that is no UTF-8, such as a file's name may be
        return orjson.dumps({name: scrub(str(value)) for name, value in event.items()}).decode()
