from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from runner.engines import ServerOptions, open_embedded, open_gguf
from runner.engines import server as server_module
from runner.errors import CannotCreateError, EngineError

if TYPE_CHECKING:
    from runner.engines import EmbeddedServer

pytestmark = [pytest.mark.real, pytest.mark.asyncio]

ONE_THREAD = ServerOptions(threads=1, slots=2, context_tokens=256)


async def ask(server: EmbeddedServer, content: str, **params: Any) -> dict[str, Any]:
    body = {"messages": [{"role": "user", "content": content}], "temperature": 0, "max_tokens": 4, **params}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{server.base_url}/chat/completions", json=body) as response,
    ):
        answer = await response.json()
        assert response.status == 200, answer
        assert isinstance(answer, dict)
        return answer


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_gguf_file_is_served_while_the_context_is_open(tiny_gguf: Path) -> None:
    async with open_gguf(tiny_gguf, ONE_THREAD) as server:
        answer = await ask(server, "hello", logprobs=True, top_logprobs=5)
        assert is_alive(server.pid)
    assert server.base_url.startswith("http://127.0.0.1:")
    assert answer["model"] == server.model == "tiny"
    assert answer["usage"]["completion_tokens"] == 4
    assert len(answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]) == 5
    # No zombie either: a process that was not waited for still exists.
    assert not is_alive(server.pid)


async def test_more_requests_than_slots_are_all_answered(tiny_gguf: Path) -> None:
    async with open_gguf(tiny_gguf, ONE_THREAD) as server:
        answers = await asyncio.gather(*(ask(server, f"question {number}") for number in range(16)))
    assert [answer["usage"]["completion_tokens"] for answer in answers] == [4] * 16


async def test_every_slot_has_the_whole_context(tiny_gguf: Path) -> None:
    async with open_gguf(tiny_gguf, ONE_THREAD) as server:
        answers = await asyncio.gather(*(ask(server, "x" * 200, max_tokens=30) for _ in range(2)))
    assert [answer["usage"]["completion_tokens"] for answer in answers] == [30, 30]


async def test_a_path_stands_in_for_a_name(tiny_gguf: Path) -> None:
    async with open_embedded(str(tiny_gguf), threads=1, slots=1) as server:
        assert (await ask(server, "hello"))["choices"]


async def test_two_servers_run_at_the_same_time(tiny_gguf: Path) -> None:
    async with open_gguf(tiny_gguf, ONE_THREAD) as one, open_gguf(tiny_gguf, ONE_THREAD) as other:
        assert one.base_url != other.base_url
        assert (await ask(one, "hello"))["choices"] == (await ask(other, "hello"))["choices"]


async def test_the_server_outlives_the_signals_that_drain_a_run(tiny_gguf: Path) -> None:
    async with open_gguf(tiny_gguf, ONE_THREAD) as server:
        os.kill(server.pid, signal.SIGINT)
        os.kill(server.pid, signal.SIGTERM)
        assert (await ask(server, "hello"))["choices"]
        # A terminal sends to the foreground group, and the server is not in it.
        assert os.getpgid(server.pid) != os.getpgid(0)


async def test_an_error_inside_the_context_ends_the_server_and_passes(tiny_gguf: Path) -> None:
    before = children()
    with pytest.raises(ZeroDivisionError):
        async with open_gguf(tiny_gguf, ONE_THREAD):
            raise ZeroDivisionError
    assert children() == before


async def test_cancellation_ends_the_server(tiny_gguf: Path) -> None:
    opened: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def serve() -> None:
        async with open_gguf(tiny_gguf, ONE_THREAD) as server:
            opened.set_result(server.pid)
            await asyncio.Event().wait()

    task = asyncio.create_task(serve())
    pid = await opened
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not is_alive(pid)


async def test_a_server_that_hangs_is_killed(tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "_STOP_S", 0.1)
    async with open_gguf(tiny_gguf, ONE_THREAD) as server:
        os.kill(server.pid, signal.SIGSTOP)
    assert not is_alive(server.pid)


async def test_the_deadline_is_kept_and_leaves_no_process(tiny_gguf: Path) -> None:
    before = children()
    with pytest.raises(EngineError, match="was not ready after 0 s"):
        async with open_gguf(tiny_gguf, replace(ONE_THREAD, deadline_s=0.0)):
            pytest.fail("it opened")
    assert children() == before


async def test_a_file_that_is_no_model_is_reported_with_the_servers_words(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF but no more")
    before = children()
    with pytest.raises(EngineError, match="failed to load model") as caught:
        async with open_gguf(broken, ONE_THREAD):
            pytest.fail("it opened")
    assert "may be damaged" in caught.value.hint
    assert children() == before


async def test_the_log_is_added_to_and_only_the_new_lines_are_shown(tmp_path: Path) -> None:
    log, broken = tmp_path / "server.log", tmp_path / "broken.gguf"
    log.write_text("an earlier session\n")
    broken.write_bytes(b"nothing")
    with pytest.raises(EngineError) as caught:
        async with open_gguf(broken, replace(ONE_THREAD, log_path=log)):
            pytest.fail("it opened")
    assert "an earlier session" not in caught.value.message
    assert log.read_text().startswith("an earlier session\n")
    assert "failed to load model" in log.read_text()


async def test_nothing_is_written_to_the_terminal(tiny_gguf: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with open_gguf(tiny_gguf, ONE_THREAD) as server:
        await ask(server, "hello")
    assert capfd.readouterr() == ("", "")


async def test_a_log_that_cannot_be_written_is_reported(tiny_gguf: Path, tmp_path: Path) -> None:
    with pytest.raises(CannotCreateError, match=r"missing/server\.log"):
        async with open_gguf(tiny_gguf, replace(ONE_THREAD, log_path=tmp_path / "missing" / "server.log")):
            pytest.fail("it opened")


async def test_a_child_that_prints_something_else_is_reported(
    tiny_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('welcome')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(EngineError, match="something else writes to its output"):
        async with open_gguf(tiny_gguf, ONE_THREAD):
            pytest.fail("it opened")


async def test_a_child_without_the_package_says_how_to_install_it(
    tiny_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "xllamacpp.py").write_text("raise ImportError('libgomp.so.1: cannot open shared object file')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(EngineError, match=r"ImportError: libgomp\.so\.1") as caught:
        async with open_gguf(tiny_gguf, ONE_THREAD):
            pytest.fail("it opened")
    assert "libgomp1" in caught.value.hint


async def test_a_child_that_dies_without_a_word_is_reported(
    tiny_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "xllamacpp.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(EngineError, match="ended by SIGILL"):
        async with open_gguf(tiny_gguf, ONE_THREAD):
            pytest.fail("it opened")


async def test_the_default_model_knows_a_capital(installed_weights: str) -> None:
    async with open_embedded(installed_weights) as server:
        answer = await ask(server, "What is the capital of Finland?", max_tokens=16)
    assert "Helsinki" in answer["choices"][0]["message"]["content"]
    assert answer["model"] == "smollm2-135m"


def children() -> set[int]:
    """Return the process ids whose parent this process is, zombies included."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue  # it ended while we looked
        if parent == os.getpid():
            found.add(int(stat.parent.name))
    return found
