from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runner.errors import BusyError, CannotCreateError
from runner.folder.layout import RunFolder
from runner.folder.lock import hold_lock, is_locked

ROOT = Path(__file__).parent.parent.parent
HOLDER = """
import sys, pathlib
from runner.folder.layout import RunFolder
from runner.folder.lock import hold_lock
with hold_lock(RunFolder(pathlib.Path(sys.argv[1]))):
    print("held", flush=True)
    sys.stdin.read()
"""


def hold_elsewhere(root: Path) -> subprocess.Popen[str]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(root)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def end(holder: subprocess.Popen[str]) -> None:
    with holder:  # closes the pipes and waits
        pass


def test_a_second_process_is_refused_and_told_who_holds_the_run(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    holder = hold_elsewhere(tmp_path)
    try:
        assert is_locked(folder)
        with pytest.raises(BusyError, match=f"process {holder.pid} on ") as caught, hold_lock(folder):
            pass
        assert caught.value.exit_code == 75
    finally:
        end(holder)
    assert not is_locked(folder)
    with hold_lock(folder):
        assert is_locked(folder)


def test_kill_9_frees_the_lock(tmp_path: Path) -> None:
    holder = hold_elsewhere(tmp_path)
    os.kill(holder.pid, signal.SIGKILL)
    end(holder)
    assert not is_locked(RunFolder(tmp_path))
    with hold_lock(RunFolder(tmp_path)):
        pass


def test_the_lock_is_free_again_after_an_error_inside(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with pytest.raises(ZeroDivisionError), hold_lock(folder):
        raise ZeroDivisionError
    assert not is_locked(folder)


def test_a_damaged_lock_text_still_names_no_one_wrongly(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    holder = hold_elsewhere(tmp_path)
    try:
        folder.lock.write_text("{not json")
        with pytest.raises(BusyError) as caught, hold_lock(folder):
            pass
        assert "process" not in caught.value.message.removeprefix(f"{tmp_path}: another process")
    finally:
        end(holder)


def test_without_a_lock_file_nobody_holds_the_run(tmp_path: Path) -> None:
    assert not is_locked(RunFolder(tmp_path))
    assert not (tmp_path / "LOCK").exists()


def test_a_folder_that_cannot_hold_a_lock_is_a_creation_error(tmp_path: Path) -> None:
    (tmp_path / "LOCK").mkdir()
    with pytest.raises(CannotCreateError), hold_lock(RunFolder(tmp_path)):
        pass
