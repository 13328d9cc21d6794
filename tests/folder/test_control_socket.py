from __future__ import annotations

import os
import stat
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runner.folder.controlsocket import exchange, listening
from runner.folder.layout import RunFolder

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator


@pytest.fixture(params=["shallow", "deep"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> RunFolder:
    root = tmp_path / "run"
    if request.param == "deep":
        root = tmp_path.joinpath(*(f"{number:x<60}" for number in range(6)))
        assert len(os.fsencode(root)) > 300
    root.mkdir(parents=True)
    return RunFolder(root)


@pytest.fixture
def served() -> Iterator[Callable[[socket.socket, bytes], None]]:
    """Answer one connection, in a thread; nothing is answered to it where the reply is empty."""
    threads: list[threading.Thread] = []

    def serve(listener: socket.socket, reply: bytes) -> None:
        def answer() -> None:
            listener.settimeout(30.0)
            connection, _ = listener.accept()
            with connection:
                received = connection.makefile("rb").readline()
                connection.sendall(received.replace(b"\n", b" ") + reply if reply else b"")

        threads.append(threading.Thread(target=answer))
        threads[-1].start()

    yield serve
    for thread in threads:
        thread.join()


def test_a_line_goes_and_a_line_comes_however_deep_the_folder_lies(
    folder: RunFolder, served: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as place:  # pytest's own folder may be too long for a socket by itself
        monkeypatch.setattr("tempfile.tempdir", place)
        talk(folder, served)
        assert list(Path(place).iterdir()) == []
    assert list(folder.root.iterdir()) == []


def talk(folder: RunFolder, served: Callable[..., None]) -> None:
    with listening(folder) as listener:
        assert stat.S_IMODE(folder.control.stat().st_mode) == 0o600
        served(listener, b"heard\n")
        assert exchange(folder, b"said", timeout_s=30.0) == b"said heard\n"


def test_the_socket_of_a_dead_process_is_replaced(folder: RunFolder, served: Callable[..., None]) -> None:
    with listening(folder):
        kept = folder.root / "kept"
        folder.control.rename(kept)
    kept.rename(folder.control)
    with pytest.raises(ConnectionRefusedError):
        exchange(folder, b"said", timeout_s=30.0)
    with listening(folder) as listener:
        served(listener, b"heard\n")
        assert exchange(folder, b"said", timeout_s=30.0) == b"said heard\n"


def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.control.write_text("mine")
    with pytest.raises(OSError, match="in use"), listening(folder):
        pass
    assert folder.control.read_text() == "mine"


def test_nobody_there_and_nobody_who_answers(folder: RunFolder, served: Callable[..., None]) -> None:
    with pytest.raises(FileNotFoundError):
        exchange(folder, b"said", timeout_s=30.0)
    with listening(folder) as listener:
        with pytest.raises(TimeoutError):
            exchange(folder, b"said", timeout_s=0.01)
        listener.accept()[0].close()
        served(listener, b"")
        with pytest.raises(ConnectionResetError):
            exchange(folder, b"said", timeout_s=30.0)


def test_an_answer_without_an_end_is_not_read_for_ever(folder: RunFolder, served: Callable[..., None]) -> None:
    with listening(folder) as listener:
        served(listener, b"x" * (1 << 20))
        assert len(exchange(folder, b"said", timeout_s=30.0)) >= 1 << 20
