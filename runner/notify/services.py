"""Owns delivery through apprise: loaded only when it is asked for, bounded in time, silent about addresses.

apprise sends with a network library of its own, one address after another, and writes addresses into its log. So it
works in a thread that is left behind when its time is over, and of its log nothing is passed on but what an error code
and a few known words say.
"""

from __future__ import annotations

import importlib
import logging
import re
import threading
from dataclasses import dataclass, field

import anyio.to_thread

# What apprise's plugins log: "… error=401.", or that the connection failed.
_CODE = re.compile(r"\berror=(\d{3})\b")
_NO_CONNECTION = re.compile(r"connection error", re.IGNORECASE)
_SILENT = logging.NullHandler()


@dataclass(slots=True)
class Outcome:
    """What came of it: `sent` counts the services that took the message, `problems` is one text for each other."""

    sent: int = 0
    problems: list[str] = field(default_factory=list)
    finished: bool = False


async def send_with_apprise(addresses: str, title: str, body: str, *, within_s: float) -> Outcome:
    """Send plain text to every address of a list as apprise reads it (blanks or commas between), each once.

    Not finished after `within_s`, the rest is given up.
    """
    outcome = Outcome()
    thread = threading.Thread(
        target=_send_all, args=(addresses, title, body, outcome), name="evalrunner-apprise", daemon=True
    )
    thread.start()
    await anyio.to_thread.run_sync(thread.join, within_s)
    return outcome


def _send_all(addresses: str, title: str, body: str, outcome: Outcome) -> None:
    try:
        apprise = importlib.import_module("apprise")
        with _Overheard() as heard:
            services = apprise.Apprise()
            if not services.add(addresses) or not len(services):
                outcome.problems.append("apprise cannot read an address in it")
            for number, service in enumerate(services, 1):
                heard.clear()
                one = apprise.Apprise()
                one.add(service)
                if one.notify(title=title, body=body, body_format=apprise.NotifyFormat.TEXT):
                    outcome.sent += 1
                else:
                    outcome.problems.append(f"service {number} ({type(service).__name__}): {_reason(heard)}")
    except Exception as error:  # noqa: BLE001 - other people's plugins; the text of an exception may hold an address
        outcome.problems.append(f"apprise failed with {type(error).__name__}")
    outcome.finished = True


def _reason(heard: list[str]) -> str:
    for text in heard:
        if code := _CODE.search(text):
            return f"HTTP {code[1]}"
    return "not connected" if any(_NO_CONNECTION.search(text) for text in heard) else "not delivered"


class _Overheard(logging.Handler):
    """Takes what is logged under `apprise`, and keeps all of it from every other log, for good.

    The logger stays quiet afterwards: a thread that was left behind goes on logging. apprise sends in threads of its
    own, so whose words they are is not known; one list of addresses is sent to at a time.
    """

    _one_at_a_time = threading.Lock()

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._texts: list[str] = []

    def __enter__(self) -> list[str]:
        self._one_at_a_time.acquire()
        logger = logging.getLogger("apprise")
        logger.propagate = False
        logger.addHandler(self)
        return self._texts

    def __exit__(self, *_: object) -> None:
        logger = logging.getLogger("apprise")
        logger.addHandler(_SILENT)
        logger.removeHandler(self)
        self._one_at_a_time.release()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the record's text."""
        self._texts.append(record.getMessage())
