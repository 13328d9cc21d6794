"""Owns the simulator as a process of its own, and asking its books what it permitted, charged and refused."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

from support.processes import evalrunner

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_POLL_S = 0.02
_START_S = 60.0


@contextlib.contextmanager
def rehearsal(options: Sequence[str], log: Path) -> Iterator[str]:
    """Start `evalrunner simulate` with options on a free port, and yield its base URL."""
    command = evalrunner("asyncio", "simulate", "--port", "0", *options)
    with log.open("wb") as errors, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as process:
        try:
            line = process.stdout.readline().decode() if process.stdout else ""
            if not line.startswith("serving "):
                sys.exit(f"The simulator did not start:\n{log.read_text(encoding='utf-8', errors='replace')}")
            yield line.removeprefix("serving ").strip()
        finally:
            process.kill()


def wait_for_first_request(base_url: str, client: subprocess.Popen[bytes]) -> float:
    """Return about when the first request came (of `time.monotonic`); exits where the client ends before."""
    deadline = time.monotonic() + _START_S
    while not books(base_url, "")["requests"]:
        if client.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"{client.args!r} sent nothing.")
        time.sleep(_POLL_S)
    return time.monotonic()


def books(base_url: str, page: str) -> dict[str, Any]:
    """Return a page of the simulator's ledger, such as `/rates?from_s=5`."""
    with urlopen(f"{base_url.removesuffix('/v1')}/_ledger{page}", timeout=30) as answer:  # noqa: S310 - our own server
        found: dict[str, Any] = json.load(answer)
    return found
