"""Owns running the system's own commands: words as they are, no shell, bounded in time."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Final

from runner.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_S: Final = 60


def call(words: Sequence[str], given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a command and return what became of it. Raises UsageError where there is none, or it does not end."""
    program = shutil.which(words[0])
    if program is None:
        raise UsageError(f"there is no {words[0]} on this machine", hint="print the entry without --install")
    try:
        return subprocess.run(  # noqa: S603 - our own words
            [program, *words[1:]],
            input=given,
            capture_output=True,
            timeout=_MOST_S,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired:
        raise UsageError(f"`{' '.join(words)}` did not end within {_MOST_S} s") from None


def said(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return the last line that a command printed as its error, 200 characters at most."""
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:200] if lines else f"exit {done.returncode}"
