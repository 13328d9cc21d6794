from __future__ import annotations

import os
import select
import shlex
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from runner.schedule import INSTALLERS
from runner.schedule.cron import system_zone
from runner.schedule.crontab import read

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runner.schedule import ScheduleEntry

pytestmark = pytest.mark.skipif(
    "EVALRUNNER_CRON" not in os.environ, reason="EVALRUNNER_CRON names a cron daemon that root may start"
)


def test_a_real_daemon_runs_the_installed_line(make_entry: Callable[..., ScheduleEntry], tmp_path: Path) -> None:
    odd = tmp_path / "it's 100% odd $HOME é"
    (odd / "outputs").mkdir(parents=True)
    told = tmp_path / "told"
    os.mkfifo(told)
    python = odd / "python"
    python.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {shlex.quote(str(told))}\n')
    python.chmod(0o755)
    entry = replace(make_entry("* * * * *", folder=odd.name, zone=system_zone()), python=str(python))
    before = read()
    install, remove = INSTALLERS["cron"]
    reader = os.open(told, os.O_RDWR)
    install(entry)
    daemon = subprocess.Popen([os.environ["EVALRUNNER_CRON"], "-f"])
    try:
        ready, _, _ = select.select([reader], [], [], 100)
        words = os.read(reader, 65536).decode().splitlines() if ready else []
    finally:
        daemon.terminate()
        daemon.wait()
        remove(entry)
        os.close(reader)
    assert words == ["-m", "runner", "nightly", *entry.configs]
    assert read() == before
