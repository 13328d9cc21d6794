"""A run is stopped (SIGSTOP, as a laptop's sleep is) and continued: no time-outs, no answer lost, and no burst."""

from __future__ import annotations

import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from runner.awake import STANDSTILL_S
from runner.simulate import Fixed, Latency, Limits
from tests.support.commands import finish, started
from tests.support.runs import config_for, questions, sent_by, table, write_config, write_rows
from tests.support.serving import QUICK, serving

if TYPE_CHECKING:
    from pathlib import Path

# A strict server: half a second's worth at once and no more, and everything beyond is refused.
PER_MINUTE = 2400.0
STRICT = replace(
    QUICK,
    limits=Limits(requests_per_minute=PER_MINUTE, burst_s=0.5, notice="none"),
    latency=Latency(first_token=Fixed(0.5)),
)
SAMPLES = 150
TOTAL_S = 2.0
_PATIENCE_S = 30


@pytest.mark.parametrize("request_changes", [{}, {"stream": True}], ids=["whole", "streamed"])
def test_a_stopped_run_goes_on_as_if_nothing_had_been(tmp_path: Path, request_changes: dict[str, Any]) -> None:
    """It is stopped for longer than any request may take, with requests under way whose answers come meanwhile."""
    dataset = write_rows(tmp_path / "questions.jsonl", questions(SAMPLES))
    timeouts = {"connect": 5, "total": TOTAL_S, "first_byte": TOTAL_S, "idle": TOTAL_S}
    with serving(STRICT) as simulator:
        config = config_for(
            simulator,
            dataset,
            limits={"max_in_flight": 40, "requests_per_minute": PER_MINUTE},
            request={"timeout_s": timeouts, **request_changes},
        )
        path, run_dir = write_config(tmp_path / "my.yaml", config), tmp_path / "run"
        with started("run", path, "--run-dir", run_dir, "--json", cwd=tmp_path) as process:
            last = time.monotonic() + _PATIENCE_S
            while sent_by(simulator) < SAMPLES // 2:
                assert time.monotonic() < last, "the run never sent its requests"
                time.sleep(0.005)
            process.send_signal(signal.SIGSTOP)
            sent, stopped_at = sent_by(simulator), time.monotonic()
            assert simulator.statistics().in_flight > 5
            while time.monotonic() - stopped_at < STANDSTILL_S + TOTAL_S:
                time.sleep(0.05)
            assert sent_by(simulator) - sent <= 1  # what was on the wire
            process.send_signal(signal.SIGCONT)
            finished = finish(process)
        assert (finished.code, finished.json["ok"]) == (0, SAMPLES)
        assert simulator.statistics().by_status == {200: SAMPLES}
    assert {row["error_kind"] for row in table(run_dir, "attempts")} == {None}
