"""A run over several servers goes on without those that are out; one that all servers have left holds on, and ends."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from runner.errors import RunFolderError
from runner.simulate import FaultDetails, FaultRules, Latency
from runner.simulate.dialects import Unsupported
from runner.simulate.latency import Fixed
from tests.support.pools import BRISK, fleet, run_pool
from tests.support.runs import by_sample, config_for, questions, table, write_rows
from tests.support.serving import QUICK

if TYPE_CHECKING:
    from runner.progress import Snapshot
    from runner.simulate import SimulatorOptions
    from tests.support.pools import Fleet

PACED = replace(QUICK, latency=Latency(first_token=Fixed(0.002)))


def config_of(servers: Fleet, folder: Path, rows: int, **sections: Any) -> dict[str, Any]:
    dataset = write_rows(folder / "data.jsonl", questions(rows))
    config = config_for(servers.served[0][0], dataset, **{"limits": {"max_in_flight": 4}, **sections})
    config["model"]["base_url"] = servers.pool
    return config


def failing(kind: str, options: SimulatorOptions = QUICK) -> SimulatorOptions:
    """Return a server that meets every request with one fault."""
    return replace(options, faults=FaultRules(fractions={kind: 1.0}))


def events(run_dir: str) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in (Path(run_dir) / "run.log.jsonl").read_bytes().splitlines()]


def test_one_of_four_servers_that_dies_and_comes_back_costs_no_row(tmp_path: Path) -> None:
    with fleet(*[PACED] * 4) as servers:
        times: list[str] = []
        before: list[int] = []

        def look(snapshot: Snapshot) -> None:
            if not times and snapshot.done >= 200:
                servers.stop(1)
                before.append(servers.requests(1))
                times.append("stopped")
            elif times == ["stopped"] and snapshot.out == (servers.urls[1],) and snapshot.done >= 600:
                servers.start(1)
                times.append("started")

        summary = run_pool(config_of(servers, tmp_path, 1500), tmp_path / "run", look=look)
        assert (summary.exit_code, summary.ok, summary.failed) == (0, 1500, 0)
        assert times == ["stopped", "started"]
        # It is asked again once it is back, and no row is lost or bought twice.
        assert servers.requests(1) > before[0]
        answered = {
            url: sum(one.statistics().answered for one in served)
            for url, served in zip(servers.urls, servers.served, strict=True)
        }
        assert Counter(row["server"] for row in table(summary.run_dir)) == answered
        attempts = table(summary.run_dir, "attempts")
        assert {row["server"] for row in attempts if row["error_kind"]} == {servers.urls[1]}
        assert Counter(row["server"] for row in attempts if row["error_kind"] is None) == answered
        named = [(one["event"], one["server"]) for one in events(summary.run_dir) if one["event"].startswith("server ")]
        assert named[0] == ("server out", servers.urls[1])
        assert named[-1] == ("server back", servers.urls[1])


def test_a_slow_server_gets_less(tmp_path: Path) -> None:
    slow = replace(QUICK, latency=Latency(first_token=Fixed(0.05)))
    with fleet(PACED, slow) as servers:
        summary = run_pool(config_of(servers, tmp_path, 300), tmp_path / "run")
        assert (summary.exit_code, summary.ok) == (0, 300)
        assert 0 < servers.requests(1) < servers.requests(0) / 2


def test_weights_are_the_servers_shares(tmp_path: Path) -> None:
    with fleet(PACED, PACED) as servers:
        config = config_of(servers, tmp_path, 800, limits={"max_in_flight": 12})
        config["model"]["base_url"][0]["weight"] = 3
        summary = run_pool(config, tmp_path / "run")
        assert summary.ok == 800
        assert servers.requests(0) / 800 == pytest.approx(0.75, abs=0.08)


def test_servers_that_are_all_out_hold_the_run_and_then_end_it(tmp_path: Path) -> None:
    with fleet(PACED, PACED) as servers:
        stopped: list[int] = []

        def look(snapshot: Snapshot) -> None:
            if not stopped and snapshot.done >= 50:
                servers.stop_all()
                stopped.append(snapshot.done)

        config = config_of(servers, tmp_path, 400, retry={"max_attempts": 2})
        breaker = replace(BRISK, give_up_s=0.2)
        summary = run_pool(config, tmp_path / "run", breaker=breaker, look=look)
        assert (summary.exit_code, summary.status, summary.failed) == (6, "incomplete", 0)
        assert 50 <= summary.ok < 400
        (said,) = [warning for warning in summary.warnings if "no server has answered" in warning]
        assert any(url in said for url in servers.urls)
        assert "cannot connect" in said
        servers.start(0)
        servers.start(1)
        again = run_pool(config, tmp_path / "run")
        assert (again.exit_code, again.ok, again.failed) == (0, 400, 0)


def test_nobody_there_ends_a_pools_run_at_once(tmp_path: Path) -> None:
    with fleet(QUICK, QUICK) as servers:
        config = config_of(servers, tmp_path, 50, retry={"max_attempts": 8})
        servers.stop_all()
        summary = run_pool(config, tmp_path / "run")
        assert (summary.exit_code, summary.by_status) == (6, {})
        assert any("cannot connect" in warning for warning in summary.warnings)


def test_a_server_of_a_pool_that_was_never_there_is_gone_around(tmp_path: Path) -> None:
    with fleet(QUICK, PACED) as servers:
        config = config_of(servers, tmp_path, 100, retry={"max_attempts": 1})
        servers.stop(0)
        summary = run_pool(config, tmp_path / "run")
        assert (summary.exit_code, summary.ok) == (0, 100)
        assert {row["server"] for row in table(summary.run_dir)} == {servers.urls[1]}


@pytest.mark.parametrize("kind", ["503", "500", "disconnect"])
def test_a_server_that_fails_for_a_while_is_asked_seldom_and_burns_no_attempts(tmp_path: Path, kind: str) -> None:
    with fleet(failing(kind)) as servers:
        (served,) = servers.served[0]
        at_once: list[int] = []

        def look(snapshot: Snapshot) -> None:
            if 15 <= servers.requests(0) < 20:  # 5 opened it, 7 were under way: these are probes
                at_once.append(snapshot.in_flight)
            if servers.requests(0) >= 20:
                served.change(QUICK)

        config = config_of(servers, tmp_path, 60, limits={"max_in_flight": 8}, retry={"max_attempts": 2})
        summary = run_pool(config, tmp_path / "run", look=look)
        assert (summary.exit_code, summary.ok, summary.failed) == (0, 60, 0)
        assert 0 <= max(at_once) <= 1
        failures = [row for row in table(summary.run_dir, "attempts") if row["error_kind"]]
        assert len(failures) >= 20


def test_a_server_that_goes_out_again_burns_no_attempts_either(tmp_path: Path) -> None:
    with fleet(failing("500", PACED)) as servers:
        (served,) = servers.served[0]
        times: list[int] = []

        def look(snapshot: Snapshot) -> None:
            sent = servers.requests(0)
            if (not times and sent >= 20) or (len(times) == 2 and sent >= times[1] + 20):
                served.change(PACED)
                times.append(sent)
            elif len(times) == 1 and snapshot.done >= 60:
                served.change(failing("500", PACED))
                times.append(sent)

        config = config_of(servers, tmp_path, 300, limits={"max_in_flight": 8}, retry={"max_attempts": 3})
        summary = run_pool(config, tmp_path / "run", look=look)
        assert (summary.exit_code, summary.ok, len(times)) == (0, 300, 3)


def test_rows_that_no_server_can_answer_do_not_look_like_a_server_that_is_out(tmp_path: Path) -> None:
    rows = [
        {**row, "question": f"{row['question']} [[fault:500]]"} if number % 4 == 1 else row
        for number, row in enumerate(questions(80))
    ]
    with fleet(PACED) as servers:
        config = config_of(servers, tmp_path, 1)
        write_rows(tmp_path / "data.jsonl", rows)
        summary = run_pool(config, tmp_path / "run", breaker=replace(BRISK, give_up_s=600.0))
        assert (summary.exit_code, summary.ok, summary.failed) == (3, 60, 20)
        assert {row["attempts"] for row in table(summary.run_dir) if row["status"] == "failed"} == {3}


def test_a_wait_that_one_server_asks_for_holds_up_nobody_else(tmp_path: Path) -> None:
    busy = failing("429", replace(QUICK, fault_details=FaultDetails(retry_headers={"Retry-After": "3600"})))
    with fleet(busy, PACED) as servers:
        summary = run_pool(config_of(servers, tmp_path, 100), tmp_path / "run")
        assert (summary.exit_code, summary.ok, summary.failed) == (0, 100, 0)
        assert servers.requests(0) <= 4


def test_what_one_server_refuses_is_learnt_for_all(tmp_path: Path) -> None:
    picky = replace(PACED, unsupported=Unsupported(refuse=("temperature",)))
    with fleet(picky, picky) as servers:
        summary = run_pool(config_of(servers, tmp_path, 60), tmp_path / "run")
        assert (summary.exit_code, summary.ok) == (0, 60)
        refusals = [row for row in table(summary.run_dir, "attempts") if row["error_kind"] == "unsupported"]
        assert 1 <= len(refusals) <= 2
        assert {row["server"] for row in by_sample(summary.run_dir).values()} == set(servers.urls)


def test_packs_go_around_a_server_that_dies(tmp_path: Path) -> None:
    with fleet(PACED, PACED) as servers:
        stopped: list[int] = []

        def look(snapshot: Snapshot) -> None:
            if not stopped and snapshot.done >= 100:
                servers.stop(0)
                stopped.append(snapshot.done)

        config = config_of(servers, tmp_path, 1200)
        timeouts = config["request"]["timeout_s"]
        config["request"] = {
            "endpoint": "embeddings",
            "input": "{{ question }}",
            "batch_size": 4,
            "timeout_s": timeouts,
        }
        summary = run_pool(config, tmp_path / "run", look=look)
        assert (summary.exit_code, summary.ok, summary.failed) == (0, 1200, 0)
        assert stopped
        rows = by_sample(summary.run_dir).values()
        assert {row["server"] for row in rows} == set(servers.urls)
        assert all(row["embedding"] for row in rows)


def test_the_set_of_servers_is_the_runs_identity_and_their_weights_are_not(tmp_path: Path) -> None:
    with fleet(QUICK, QUICK) as servers:
        config = config_of(servers, tmp_path, 10)
        assert run_pool(config, tmp_path / "run").ok == 10
        config["model"]["base_url"] = [{"url": servers.urls[1], "weight": 5}, {"url": servers.urls[0]}]
        before = servers.requests(0) + servers.requests(1)
        assert run_pool(config, tmp_path / "run").ok == 10
        assert servers.requests(0) + servers.requests(1) == before
        del config["model"]["base_url"][0]
        with pytest.raises(RunFolderError, match="base_url"):
            run_pool(config, tmp_path / "run")
