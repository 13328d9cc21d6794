from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from runner.__main__ import main
from tests.support.commands import Finished, judged

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Finished]:
    """Run commands in this process, in a folder of the test's own: the start of a process is what takes most time."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments: object) -> Finished:
        monkeypatch.setattr(sys, "argv", ["evalrunner", *map(str, arguments)])
        mask = os.umask(0o022)
        capfd.readouterr()
        try:
            with pytest.raises(SystemExit) as ended:
                main()
        finally:
            os.umask(mask)
        out, err = capfd.readouterr()
        return judged(Finished(int(ended.value.code or 0), out, err))

    return command
