"""Counts what faults cost: requests beside those that the faults make unavoidable, by the simulator's own books.

Three servers: one of whose requests 7 % fail, and half of them for a minute; one whose quota ends at row 500; one that
leaves 0.1 % of its requests without an answer for ever. `--small` has fewer rows and a storm of a few seconds.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pyarrow.parquet as pq
from support.options import Size, read_options
from support.processes import evalrunner
from support.results import Result, report, say
from support.workload import write_rows

from runner.simulate import AnswerStyle, FaultRules, Latency, Limits, SimulatorOptions, Uniform, open_simulator

if TYPE_CHECKING:
    from runner.simulate import Simulator
    from runner.simulate.ledger import Entry

_PER_MINUTE = 6_000
_STEADY, _STORM = 0.07, 0.5
# No 429 among them: by those the limiter learns a rate, and its pace would be what is measured.
_KINDS = ("500", "502", "503", "529", "408", "html_200", "disconnect")
_HANGING = 0.001
_TIME_OUT_S = 10.0
_SERVER = SimulatorOptions(
    answers=AnswerStyle(completion_tokens=16), latency=Latency(first_token=Uniform(0.05, 0.35)), seed=1
)


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is sent: rows, when the storm begins and how long it lasts, after how many answers the quota is gone."""

    rows: int
    calm_s: float
    storm_s: float
    quota: int


_SCALES = {
    Size.SMALL: Scale(1_000, calm_s=2.0, storm_s=4.0, quota=100),
    Size.DEFAULT: Scale(10_000, calm_s=30.0, storm_s=60.0, quota=500),
    Size.FULL: Scale(10_000, calm_s=30.0, storm_s=60.0, quota=500),
}


@dataclass(frozen=True, slots=True)
class Run:
    """A run that ended: its exit code, its summary, and its seconds on the wall."""

    exit_code: int
    summary: dict[str, Any]
    wall_s: float


@dataclass(frozen=True, slots=True)
class Bench:
    """Where everything is, and how much of it."""

    folder: Path
    scale: Scale

    async def run(self, name: str, simulator: Simulator, **sections: Any) -> Run:
        """Run the dataset in a process of its own, on the run folder of that name."""
        dataset, place = self.folder / "rows.jsonl", name.replace(", ", "-")
        config = self.folder / f"{place}.yaml"
        if not dataset.exists():
            write_rows(dataset, self.scale.rows)
        content = {
            "name": place,
            "dataset": {"path": str(dataset), "id": "id"},
            "model": {"base_url": simulator.base_url, "name": "m"},
            "request": {
                "messages": [{"role": "user", "content": "{{ question }}"}],
                "timeout_s": {"connect": 10, "total": _TIME_OUT_S},
            },
            **sections,
        }
        config.write_text(json.dumps(content), encoding="utf-8")
        command = evalrunner("asyncio", "run", config, "--run-dir", self.folder / f"run-{place}", "--json", "--quiet")
        say(f"faults: {name}")
        begun = time.monotonic()
        ended = await anyio.run_process(command, check=False, stderr=subprocess.DEVNULL)
        return Run(ended.returncode, json.loads(ended.stdout), time.monotonic() - begun)


def main() -> None:
    """Run the three cases one after the other."""
    options = read_options(__doc__ or "")
    with options.scratch() as scratch:
        bench = Bench(Path(scratch), _SCALES[options.size])
        results: list[Result] = []
        for case in (_mixed_faults, _lost_quota, _hanging_requests):
            found = anyio.run(case, bench)
            for one in found:
                say(f"{one.what}: {one.ours}, {one.peer}: {one.measured}")
            results += found
    report(results, as_json=options.as_json)


# ---------------------------------------------------------------- mixed faults


async def _mixed_faults(bench: Bench) -> list[Result]:
    """Run at a typed limit that the server keeps, too; how many may be under way is found out, then typed."""
    return [
        *await _storm(bench, "mixed, auto", {"requests_per_minute": _PER_MINUTE}),
        *await _storm(bench, "mixed, 64", {"requests_per_minute": _PER_MINUTE, "max_in_flight": 64}),
    ]


async def _storm(bench: Bench, name: str, limits: dict[str, Any]) -> list[Result]:
    scale, marks = bench.scale, []

    def failing(share: float) -> SimulatorOptions:
        fractions = dict.fromkeys(_KINDS, share / len(_KINDS))
        return replace(_SERVER, limits=Limits(requests_per_minute=_PER_MINUTE), faults=FaultRules(fractions=fractions))

    async with open_simulator(failing(_STEADY)) as simulator, anyio.create_task_group() as group:

        async def change_the_weather() -> None:
            await _first_request(simulator)
            await anyio.sleep(scale.calm_s)
            for share, lasts_s in ((_STORM, scale.storm_s), (_STEADY, 0.0)):
                simulator.change(failing(share))
                marks.append(simulator.statistics().requests)
                await anyio.sleep(lasts_s)

        group.start_soon(change_the_weather)
        run = await bench.run(name, simulator, limits=limits)
        entries = list(simulator.ledger.entries())
        group.cancel_scope.cancel()
    stormy = entries[slice(*marks)] if len(marks) == 2 else []
    return [*_counted(name, run, entries, scale.rows), *_in_the_storm(name, entries, stormy), _time(name, run, entries)]


def _counted(name: str, run: Run, entries: list[Entry], rows: int) -> list[Result]:
    met = sum(entry.fault is not None for entry in entries)
    refused = sum(entry.status == 429 and entry.fault is None for entry in entries)
    unavoidable = rows + met
    return [
        Result(
            f"{name}: rows that completed",
            f"{run.summary['ok']:,}",
            f"{rows:,}",
            _share(run.summary["ok"], rows),
            "100 %",
        ),
        Result(
            f"{name}: requests ({refused} refused by the limit)",
            f"{len(entries):,}",
            f"{unavoidable:,}",
            f"{len(entries) - unavoidable} more than rows and faults met",
            f"≤ {1.1 * unavoidable + 100:,.0f}",
        ),
    ]


def _in_the_storm(name: str, entries: list[Entry], stormy: list[Entry]) -> list[Result]:
    # A used connection that breaks is first taken for one that had been closed: that retry takes none from the budget.
    met = {entry.digest: entry.fault for entry in entries[: stormy[0].number - 1]} if stormy else {}
    retries = 0
    for entry in stormy:
        retries += met.get(entry.digest, "disconnect") != "disconnect"
        met[entry.digest] = entry.fault
    answers = sum(entry.answered for entry in stormy)
    return [
        Result(
            f"{name}: retries in the storm that take from the budget",
            f"{retries:,} of {len(stormy):,} requests",
            f"{answers:,} answers",
            f"{retries} retries",
            f"≤ {100 + 0.1 * answers:.0f}: a hundred and a tenth of the answers",
        )
    ]


def _time(name: str, run: Run, entries: list[Entry]) -> Result:
    least_s = len(entries) * 60 / _PER_MINUTE
    return Result(f"{name}: seconds", f"{run.wall_s:.0f}", f"{least_s:.0f}", _share(least_s, run.wall_s))


# ---------------------------------------------------------------- a quota that ends


async def _lost_quota(bench: Bench) -> list[Result]:
    rows, quota = bench.scale.rows, bench.scale.quota
    results = []
    for in_flight in (64, 256):
        name, limits = f"quota, {in_flight}", {"max_in_flight": in_flight}
        async with open_simulator(replace(_SERVER, quota_after=quota)) as simulator:
            stopped = await bench.run(name, simulator, limits=limits)
            sent = simulator.statistics().requests
            late = _begun_after_the_first_failure(Path(stopped.summary["run_dir"]))
            simulator.change(_SERVER)
            resumed = await bench.run(name, simulator, limits=limits)
            paid = Counter(entry.digest for entry in simulator.ledger.entries() if entry.answered)
        results += [
            Result(f"{name}: exit code, answers kept", f"{stopped.exit_code}, {stopped.summary['ok']}", f"{quota}", ""),
            Result(
                f"{name}: requests until it stopped", f"{sent}", f"{quota + in_flight}", f"{late} sent later", "≤ 3"
            ),
            Result(
                f"{name}: rows after resuming",
                f"{resumed.summary['ok']:,}",
                f"{rows:,}",
                f"{sum(paid.values()) - len(paid)} paid twice",
                "0",
            ),
        ]
    return results


def _begun_after_the_first_failure(run_dir: Path) -> int:
    attempts = [
        row
        for part in sorted((run_dir / "attempts").glob("*.parquet"))
        for row in pq.read_table(part, columns=["started_at", "latency_s", "error_kind"]).to_pylist()
    ]
    told_at = min(row["started_at"].timestamp() + row["latency_s"] for row in attempts if row["error_kind"])
    return sum(row["started_at"].timestamp() > told_at for row in attempts)


# ---------------------------------------------------------------- requests that hang


async def _hanging_requests(bench: Bench) -> list[Result]:
    """Run at a rate that leaves a third of the slots free: a hung request takes a slot, and no other row's time."""
    runs = []
    for name, fractions in (("healthy", {}), ("hanging", {"hang": _HANGING})):
        async with open_simulator(replace(_SERVER, faults=FaultRules(fractions=fractions))) as simulator:
            runs.append(await bench.run(name, simulator, limits={"max_in_flight": 64, "requests_per_minute": 12_000}))
            hung = sum(entry.fault is not None for entry in simulator.ledger.entries())
    healthy, hanging = runs
    return [
        Result(
            "hanging: rows that completed", f"{hanging.summary['ok']:,}", f"{healthy.summary['ok']:,}", f"{hung} hung"
        ),
        Result(
            f"hanging: seconds, time-out {_TIME_OUT_S:g} s",
            f"{hanging.wall_s:.1f}",
            f"{healthy.wall_s:.1f}",
            f"{hanging.wall_s - healthy.wall_s:+.1f} s",
            f"≤ {_TIME_OUT_S:g} s",
        ),
    ]


async def _first_request(simulator: Simulator) -> None:
    while not simulator.statistics().requests:  # noqa: ASYNC110 - the simulator tells nobody of its first request
        await anyio.sleep(0.01)


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %"


if __name__ == "__main__":
    main()
