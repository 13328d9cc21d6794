"""Owns night.json: what a night was to do, what became of each config, who was told, what was removed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson

from runner.durable import create_folder, write_atomically
from runner.nightly.dates import date_of
from runner.nightly.outcome import WAITING, is_finished

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.nightly.outcome import Event
    from runner.nightly.suite import SuiteFolder

FORMAT = 1
_MOST_BYTES = 64 * 1024 * 1024


@dataclass(slots=True)
class ConfigRecord:
    """One config's part in a night.

    `state` is waiting, running, good, regression or failure; `before` the state that was last concluded, in this night
    or an earlier one. `event` is what there was to tell of it, `told` whether that was done. `status`, `scores`,
    `gates` and the counts are the run's own. `comparison` is what is kept of comparing it with an earlier run, null
    without one; `notes` say what of its review could not be done. `calls` counts the processes that were started for
    it. Paths are absolute.
    """

    name: str
    config: str
    run_dir: str
    log: str
    state: str = WAITING
    before: str | None = None
    event: Event | None = None
    exit_code: int | None = None
    status: str | None = None
    verdict: str = ""
    message: str = ""
    hint: str = ""
    samples: int | None = None
    ok: int | None = None
    failed: int | None = None
    total_tokens: int | None = None
    cost_usd: float | None = None
    scores: dict[str, Any] = field(default_factory=dict)
    gates: list[dict[str, Any]] = field(default_factory=list)
    comparison: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)
    report: str | None = None
    told: bool = False
    calls: int = 0
    waited_s: float = 0.0
    duration_s: float = 0.0
    started_at: str | None = None
    ended_at: str | None = None

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do for it in this night."""
        return is_finished(self.exit_code)


@dataclass(slots=True)
class NightRecord:
    """The content of night.json. Times are ISO 8601 in UTC; `ended_at` is null while it runs, or if it was cut off.

    `missed` are the dates since the last night that had none, `cut_off` earlier nights that never ended.
    """

    suite: str
    run_id: str
    date: str
    time_zone: str
    started_at: str
    ends_at: str
    configs: list[ConfigRecord]
    ended_at: str | None = None
    exit_code: int | None = None
    verdict: str = ""
    missed: list[str] = field(default_factory=list)
    cut_off: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    deliveries: list[dict[str, Any]] = field(default_factory=list)
    format: int = FORMAT

    @property
    def end(self) -> datetime:
        """When the night has to end."""
        return datetime.fromisoformat(self.ends_at)

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do in it."""
        return all(one.finished for one in self.configs)

    def to_json(self) -> dict[str, Any]:
        """Return the record as a JSON object."""
        return asdict(self)


def write_record(folder: SuiteFolder, record: NightRecord) -> None:
    """Replace a night's record in one step. Raises CannotCreateError, StorageError."""
    create_folder(folder.night(record.run_id))
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    write_atomically(folder.record(record.run_id), orjson.dumps(asdict(record), option=options), staging=folder.staging)


def read_record(folder: SuiteFolder, run_id: str) -> NightRecord | None:
    """Read a night's record; null where there is none that can be read: a night can always begin again."""
    try:
        with folder.record(run_id).open("rb") as file:
            values = orjson.loads(file.read(_MOST_BYTES))
        if values["format"] > FORMAT:
            return None
        configs = [ConfigRecord(**one) for one in values.pop("configs")]
        record = NightRecord(**values, configs=configs)
        aware = record.end.tzinfo is not None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return record if aware else None


def records(folder: SuiteFolder) -> Iterator[NightRecord]:
    """Yield the records of a suite's nights, newest first."""
    try:
        names = [path.name for path in folder.nights.iterdir() if date_of(path.name) is not None]
    except OSError:
        return
    for name in sorted(names, reverse=True):
        record = read_record(folder, name)
        if record is not None:
            yield record
