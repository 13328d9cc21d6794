"""A run is paused, goes on and gets other limits while it runs; and nobody who connects can do it harm."""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from runner.folder.controlsocket import exchange
from runner.folder.layout import RunFolder
from runner.folder.lock import hold_lock
from runner.simulate import Fixed, Latency
from tests.support.commands import finish, one_message, started
from tests.support.runs import config_for, questions, sent_by, table, write_config, write_rows
from tests.support.serving import QUICK

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from runner.simulate import Simulator
    from tests.support.commands import Finished

    Here = Callable[..., Finished]

SAMPLES = 60
_PATIENCE_S = 30


def wait_until(holds: Callable[[], bool]) -> None:
    last = time.monotonic() + _PATIENCE_S
    while not holds():
        assert time.monotonic() < last, "it never came to that"
        time.sleep(0.01)


@contextmanager
def running(
    simulator: Simulator, run_dir: Path, cwd: Path, /, fault: str = "", **sections: Any
) -> Iterator[subprocess.Popen[str]]:
    """Have a slow run under way, in a process of its own; `fault` is the mark of one in every other question."""
    simulator.change(replace(QUICK, latency=Latency(first_token=Fixed(0.2))))
    rows = [{**row, "question": f"{row['question']} {fault * (n % 2)}"} for n, row in enumerate(questions(SAMPLES))]
    dataset = write_rows(cwd / "questions.jsonl", rows)
    sections.setdefault("limits", {"max_in_flight": 2})
    path = write_config(cwd / "my.yaml", config_for(simulator, dataset, **sections))
    with started("run", path, "--run-dir", run_dir, "--json", cwd=cwd) as process:
        wait_until(lambda: RunFolder(run_dir).control.exists() and simulator.statistics().answered > 0)
        yield process


def send_for_ever(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"x" * 100_000)


def sessions(run_dir: Path) -> list[dict[str, Any]]:
    found = orjson.loads((run_dir / "manifest.json").read_bytes())["sessions"]
    assert isinstance(found, list)
    return found


def events(run_dir: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in (run_dir / "run.log.jsonl").read_bytes().splitlines()]


def test_a_paused_run_sends_nothing_and_goes_on(simulator: Simulator, tmp_path: Path, here: Here) -> None:
    """In a folder whose path is longer than a socket's address may be; and paused for longer than rows may take."""
    run_dir = tmp_path.joinpath(*(f"{number:x<60}" for number in range(3)))
    retry = {"max_attempts": 2, "first_wait_s": 0.001, "max_wait_s": 0.01, "deadline_s": 0.5}
    with running(simulator, run_dir, tmp_path, fault="[[fault:503*2]]", retry=retry) as process:
        paused = here("pause", run_dir)
        assert (paused.code, paused.err) == (0, "")
        assert "paused" in paused.out
        assert f"evalrunner unpause {run_dir}" in paused.out
        wait_until(lambda: simulator.statistics().in_flight == 0)
        sent = sent_by(simulator)
        assert sent < 2 * SAMPLES
        live = here("status", run_dir, "--json").json["live"]
        wait_until(lambda: here("status", run_dir, "--json").json["live"]["paused_s"] > 1.0)
        assert live["paused"] is True
        assert sent_by(simulator) == sent
        assert "paused" in here("status", run_dir).out
        again = here("pause", run_dir, "--json").json
        assert (again["paused"], again["changed"]) == (True, {})
        simulator.change(QUICK)
        unpaused = here("unpause", run_dir, "--json").json
        assert (unpaused["paused"], unpaused["changed"]) == (False, {"paused": False})
        assert unpaused["paused_s"] > 1.0
        finished = finish(process)
    assert (finished.code, finished.json["ok"], finished.json["failed"]) == (0, SAMPLES, 0)
    assert sent_by(simulator) >= 2 * SAMPLES
    assert [entry.get("paused") for entry in sessions(run_dir)[-1]["steered"]] == [True, False]
    assert [event["paused"] for event in events(run_dir) if event["event"] == "steered"] == [True, False]
    assert not RunFolder(run_dir).control.exists()
    gone = here("unpause", run_dir)
    assert gone.code == 2
    assert "no process is running this run" in one_message(gone)


def test_other_limits_hold_at_once_and_for_this_session_only(simulator: Simulator, tmp_path: Path, here: Here) -> None:
    run_dir = tmp_path / "run"
    with running(simulator, run_dir, tmp_path) as process:
        said = here("set", run_dir, "limits.max_in_flight=7", "limits.requests_per_minute=6000", "--json").json
        assert said["servers"][0]["limits"]["max_in_flight"] == {"value": 7, "source": "set"}
        assert said["servers"][0]["limits"]["requests_per_minute"] == {"value": 6000.0, "source": "set"}
        assert said["changed"] == {"limits": {"limits.max_in_flight": 7, "limits.requests_per_minute": 6000.0}}
        wait_until(lambda: simulator.statistics().in_flight == 7)
        shown = here("set", run_dir, "limits.requests_per_minute=null").out
        assert "limits.max_in_flight             7 (set)" in shown
        assert "limits.requests_per_minute       none" in shown
        process.send_signal(signal.SIGINT)
        assert finish(process).code == 130
    assert [entry["limits"] for entry in sessions(run_dir)[0]["steered"]] == [
        {"limits.max_in_flight": 7, "limits.requests_per_minute": 6000.0},
        {"limits.requests_per_minute": None},
    ]
    simulator.change(QUICK)
    resumed = here("resume", run_dir)
    assert resumed.code == 0
    assert "this one begins with the config's (limits.max_in_flight=7)" in resumed.err
    assert sessions(run_dir)[1]["steered"] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("limits.max_in_flight=0", "expected 1 to"),
        ("limits.max_in_flite=4", 'did you mean "max_in_flight"?'),
        ("retry.max_attempts=4", "cannot be changed while a run goes on"),
    ],
)
def test_what_no_config_may_say_changes_nothing(
    simulator: Simulator, tmp_path: Path, here: Here, change: str, message: str
) -> None:
    run_dir = tmp_path / "run"
    with running(simulator, run_dir, tmp_path):
        refused = here("set", run_dir, "limits.tokens_per_minute=5", change)
        assert refused.code == 2
        assert message in one_message(refused)
        assert here("set", run_dir, change, "--json").json["error"]["code"] == "usage"
        live = here("status", run_dir, "--json").json["live"]
        assert live["servers"][0]["limits"]["tokens_per_minute"]["value"] is None
        assert sessions(run_dir)[0]["steered"] == []


def test_status_shows_the_slowest_rows(simulator: Simulator, tmp_path: Path, here: Here) -> None:
    run_dir = tmp_path / "run"
    with running(simulator, run_dir, tmp_path, limits={"max_in_flight": 14}):
        simulator.change(replace(QUICK, latency=Latency(first_token=Fixed(20.0))))

        def stuck() -> bool:
            live = here("status", run_dir, "--json").json["live"]
            return bool(live["in_flight"] == 14 and live["slowest"][-1]["age_s"] > 0.5)

        wait_until(stuck)
        shown = here("status", run_dir).out
        live = here("status", run_dir, "--json").json["live"]
    assert len(live["slowest"]) == 10
    ages = [one["age_s"] for one in live["slowest"]]
    assert ages == sorted(ages, reverse=True)
    assert {(one["attempt"], one["samples"], one["server"]) for one in live["slowest"]} == {(1, 1, simulator.base_url)}
    assert all(one["sample_id"] in shown for one in live["slowest"])
    assert live["total"] == SAMPLES
    assert 0 < live["done"] <= live["answered"]


def test_nobody_who_connects_harms_the_run(simulator: Simulator, tmp_path: Path, here: Here) -> None:
    run_dir, folder = tmp_path / "run", RunFolder(tmp_path / "run")
    with running(simulator, run_dir, tmp_path) as process:
        with ExitStack() as stack:
            for _ in range(9):  # one more than are listened to at once
                stack.enter_context(socket.socket(socket.AF_UNIX)).connect(str(folder.control))
            for line in (b"", b"\x00\xff", b"{" * 9999, b'{"command":"set","set":["limits.x=' + b"[" * 9999 + b'"]}'):
                answer = orjson.loads(exchange(folder, line, timeout_s=_PATIENCE_S))
                assert answer["error"]["code"] in {"usage", "config"}
                assert answer["error"]["message"]
        with socket.socket(socket.AF_UNIX) as endless:
            endless.connect(str(folder.control))
            with pytest.raises(OSError, match=r"Broken pipe|reset"):
                send_for_ever(endless)
        assert here("set", run_dir, "limits.max_in_flight=60").code == 0
        finished = finish(process)
    assert (finished.code, finished.json["ok"]) == (0, SAMPLES)


def test_the_key_is_in_no_answer(
    simulator: Simulator, tmp_path: Path, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "sk-planted-5f1c9a2b7d"
    monkeypatch.setenv("PLANTED_KEY", key)
    run_dir = tmp_path / "run"
    model = {"base_url": simulator.base_url, "name": "m", "api_key_env": "PLANTED_KEY"}
    with running(simulator, run_dir, tmp_path, model=model):
        refused = here("set", run_dir, f"limits.max_in_flight={key}", "--json")
        assert key not in refused.out
        assert key not in here("set", run_dir, f"limits.{key}=1").err
    assert key.encode() not in b"".join(path.read_bytes() for path in run_dir.rglob("*") if path.is_file())


def test_a_paused_run_can_be_interrupted(simulator: Simulator, tmp_path: Path, here: Here) -> None:
    run_dir = tmp_path / "run"
    with running(simulator, run_dir, tmp_path) as process:
        assert here("pause", run_dir).code == 0
        process.send_signal(signal.SIGINT)
        finished = finish(process)
    assert finished.code == 130
    assert finished.json["ok"] == sent_by(simulator) < SAMPLES


def test_a_killed_run_leaves_a_socket_that_the_next_one_replaces(
    simulator: Simulator, tmp_path: Path, here: Here
) -> None:
    run_dir = tmp_path / "run"
    with running(simulator, run_dir, tmp_path) as process:
        assert here("pause", run_dir).code == 0
        process.kill()
        process.wait(_PATIENCE_S)
    assert RunFolder(run_dir).control.is_socket()
    message = one_message(here("pause", run_dir))
    assert "no process is running this run" in message
    assert f"evalrunner resume {run_dir}" in message
    assert here("status", run_dir, "--json").json["live"] is None
    simulator.change(QUICK)
    resumed = here("resume", run_dir)
    assert resumed.code == 0
    assert "this one begins unpaused" in resumed.err
    assert len(table(run_dir)) == SAMPLES
    assert not RunFolder(run_dir).control.exists()


def test_where_nobody_can_be_asked_it_is_said_why(simulator: Simulator, tmp_path: Path, here: Here) -> None:
    run_dir = tmp_path / "run"
    dataset = write_rows(tmp_path / "questions.jsonl", questions(3))
    path = write_config(tmp_path / "my.yaml", config_for(simulator, dataset))
    assert here("run", path, "--run-dir", run_dir).code == 0
    assert "this is not a run folder" in one_message(here("pause", tmp_path))
    with hold_lock(RunFolder(run_dir)):
        assert "takes no commands now" in one_message(here("pause", run_dir))
    manifest = orjson.loads((run_dir / "manifest.json").read_bytes())
    manifest["sessions"][-1] |= {"ended_at": None, "host": "elsewhere.example"}
    (run_dir / "manifest.json").write_bytes(orjson.dumps(manifest))
    finished = here("unpause", run_dir, "--json")
    assert finished.code == 2
    assert finished.json["error"]["code"] == "not_running"
    assert "elsewhere.example" in finished.json["error"]["hint"]


def test_without_unix_sockets_it_is_said(
    tmp_path: Path, here: Here, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows; there Python knows of none."""
    for module in ("sending.livecontrol", "remote"):
        monkeypatch.setattr(f"runner.pipeline.{module}.supported", lambda: False)
    dataset = write_rows(tmp_path / "questions.jsonl", questions(3))
    path = write_config(tmp_path / "my.yaml", config_for(simulator, dataset))
    assert here("run", path, "--run-dir", "run").code == 0
    assert "no unix sockets" in one_message(here("pause", "run"))


def test_a_run_goes_on_where_there_can_be_no_socket(simulator: Simulator, tmp_path: Path, here: Here) -> None:
    run_dir = tmp_path / "run"
    dataset = write_rows(tmp_path / "questions.jsonl", questions(3))
    path = write_config(tmp_path / "my.yaml", config_for(simulator, dataset))
    run_dir.mkdir(mode=0o700)
    os.mkdir(run_dir / "control.sock")  # noqa: PTH102
    assert here("run", path, "--run-dir", run_dir).code == 0
    told = [event["event"] for event in events(run_dir) if event["event"] != "pace"]
    assert told == ["session started", "cannot be steered", "session ended"]
