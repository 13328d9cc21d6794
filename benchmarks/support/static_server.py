"""Owns nginx as the server that costs next to nothing: started on a port, with static answers, and stopped again."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from support.bodies import write_bodies

if TYPE_CHECKING:
    from collections.abc import Iterator

CHAT = "/v1"
CHAT_LOGPROBS = "/logprobs/v1"
# One vector in each answer, and as many as a full pack has inputs.
SINGLE_EMBEDDING, PACKED_EMBEDDINGS = "/single/v1", "/packed/v1"
_TEMPLATE = Path(__file__).with_name("nginx.conf.in")
_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin"))
_START_S = 10.0
_MISSING = 2


def find_nginx() -> str:
    """Return the nginx program; where there is none, say how to install it and exit with code 2."""
    found = shutil.which("nginx", path=_PATH)
    if found is None:
        sys.stderr.write(
            "nginx is needed and was not found. Install it:\n"
            "  Debian, Ubuntu  apt-get install nginx-light\n"
            "  Fedora          dnf install nginx\n"
            "  macOS           brew install nginx\n"
            "Nothing has to be configured or started.\n"
        )
        sys.exit(_MISSING)
    return found


@contextlib.contextmanager
def static_server(folder: Path, port: int | None = None) -> Iterator[str]:
    """Serve static answers from `folder` and yield the address, `http://127.0.0.1:PORT`; any free port unless given."""
    program = find_nginx()
    port = port or free_port()
    folder.mkdir(parents=True, exist_ok=True)
    write_bodies(folder)
    config = folder / "nginx.conf"
    # Started by root, nginx would give its worker to a user who may not be allowed to read the folder.
    user = "user root;" if os.geteuid() == 0 else ""
    text = Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(USER=user, FOLDER=folder, PORT=port)
    config.write_text(text, encoding="utf-8")
    errors = folder / "stderr.log"
    with errors.open("wb") as log:
        process = subprocess.Popen([program, "-e", "stderr", "-p", str(folder), "-c", str(config)], stderr=log)
    try:
        _wait_until_up(process, port, errors)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_up(process: subprocess.Popen[bytes], port: int, errors: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    sys.exit(f"nginx did not start on port {port}:\n{errors.read_text(encoding='utf-8', errors='replace')}")
