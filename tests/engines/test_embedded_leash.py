from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from runner.engines import ServerOptions
from runner.engines.server import _command

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.real, pytest.mark.kill]

FOREVER_S = 30

PARENT = textwrap.dedent(
    """
    import asyncio, sys
    from pathlib import Path
    from runner.engines import ServerOptions, open_gguf

    async def main():
        async with open_gguf(Path(sys.argv[1]), ServerOptions(threads=1, slots=1, context_tokens=256)) as server:
            print(server.pid, flush=True)
            await asyncio.Event().wait()

    asyncio.run(main())
    """
)

BETWEEN = textwrap.dedent(
    """
    import signal, subprocess, sys
    child = subprocess.Popen(sys.argv[1:])
    print(child.pid, flush=True)
    signal.pause()
    """
)


def test_the_server_dies_with_a_parent_that_is_killed(tiny_gguf: Path, pytestconfig: pytest.Config) -> None:
    command = [sys.executable, "-c", PARENT, str(tiny_gguf)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=pytestconfig.rootpath) as parent:
        assert parent.stdout is not None
        server = os.pidfd_open(int(parent.stdout.readline()))
        try:
            parent.send_signal(signal.SIGKILL)
            assert parent.wait() == -signal.SIGKILL
            assert has_ended(server)
        finally:
            os.close(server)


def test_the_leash_alone_ends_the_server(tiny_gguf: Path) -> None:
    """As on systems that know no parent-death signal: the parent lives on, and closes its end of the pipe."""
    command = _command(tiny_gguf, "tiny", ServerOptions(threads=1, slots=1, context_tokens=256))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert json.loads(child.stdout.readline())["url"].startswith("http://127.0.0.1:")
        child.stdin.close()
        assert child.wait(timeout=FOREVER_S) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent died")
def test_the_parents_death_alone_ends_the_server(tiny_gguf: Path) -> None:
    """As while a model loads, when the leash's thread may not get to run: here its other end stays open."""
    command = _command(tiny_gguf, "tiny", ServerOptions(threads=1, slots=1, context_tokens=256))
    between = [sys.executable, "-c", BETWEEN, *command]
    with subprocess.Popen(between, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        server = os.pidfd_open(int(parent.stdout.readline()))
        try:
            assert b"url" in parent.stdout.readline()
            parent.kill()
            assert has_ended(server)
            assert not parent.stdin.closed
        finally:
            os.close(server)


def has_ended(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(FOREVER_S * 1000))
