"""What a session answers when something is wrong with itself: the run goes on, and who asked is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from runner.config import config_from_dict
from runner.errors import StorageError
from runner.folder.layout import RunFolder
from runner.limiter import Limiter, Limits, Pool, Replica
from runner.pipeline.sending.backlog import Pending
from runner.pipeline.sending.livecontrol import LiveControl
from runner.pipeline.sending.sessionplan import Steering
from runner.pipeline.sending.underway import UnderWay
from runner.progress import Snapshot
from runner.records import Case, Request

if TYPE_CHECKING:
    from pathlib import Path

SNAPSHOT = Snapshot(1, 2, 0, 1, 0, 1, 0, 0, 0, 10, None, 1.0)


@dataclass
class Session:
    """A session that has one request under way, or that cannot be looked at."""

    broken: bool = False
    hired: int = 0
    recorded: list[dict[str, object]] = field(default_factory=list)

    def snapshot(self) -> Snapshot:
        if self.broken:
            raise ZeroDivisionError
        return SNAPSHOT

    def hire(self) -> None:
        self.hired += 1


def control_of(session: Session, folder: Path, record: Any = None) -> LiveControl:
    values = {
        "name": "n",
        "dataset": {"path": "d.jsonl"},
        "model": {"base_url": "http://a", "name": "m"},
        "request": {"messages": "{{ q }}"},
    }
    config = config_from_dict(values, folder)
    steering = Steering(
        RunFolder(folder), config, lambda one: one.limits, record or session.recorded.append, lambda text: text
    )
    pool = Pool([Replica(0, "s", Limiter(Limits(max_in_flight=1)))])
    return LiveControl(steering, pool, UnderWay(), session, lambda *_: None)


@pytest.mark.asyncio
async def test_a_bug_in_looking_at_a_run_is_told_and_raises_nothing(tmp_path: Path) -> None:
    reply = orjson.loads(await control_of(Session(broken=True), tmp_path)._reply(b'{"command":"status"}'))
    assert "ZeroDivisionError" in reply["error"]["message"]


@pytest.mark.asyncio
async def test_an_id_that_is_no_utf8_can_be_told(tmp_path: Path) -> None:
    control = control_of(Session(), tmp_path)
    case = Case(b"k", "a\ud800b", 0, b"", 0, None, b"")
    control.under_way.begin(Pending(Request(b"k", "/", b"", [case], 1, 0), 0.0, 0.0), 0.0, "s")
    reply = await control._reply(b'{"command":"status"}')
    assert reply.count(b"\n") == 1
    assert orjson.loads(reply)["slowest"][0]["sample_id"] == "a\ufffdb"


@pytest.mark.asyncio
async def test_what_the_disk_does_not_take_is_done_all_the_same(tmp_path: Path) -> None:
    def refuse(_: dict[str, object]) -> None:
        raise StorageError("no space left")

    session = Session()
    control = control_of(session, tmp_path, refuse)
    reply = orjson.loads(await control._reply(b'{"command":"set","set":["limits.max_in_flight=4"]}'))
    assert "no space left" in reply["warning"]
    assert reply["changed"] == {"limits": {"limits.max_in_flight": 4}}
    assert (control.pool.slots, session.hired) == (4, 1)


@pytest.mark.asyncio
async def test_changes_add_up_and_what_changes_nothing_is_not_recorded(tmp_path: Path) -> None:
    session = Session()
    control = control_of(session, tmp_path)
    for text in ("limits.max_in_flight=4", "limits.tokens_per_minute=50", "limits.max_in_flight=4"):
        await control._reply(b'{"command":"set","set":["%b"]}' % text.encode())
    statistics = control.pool.replicas[0].limiter.statistics()
    assert (statistics.max_in_flight, statistics.tokens_per_minute) == (4, 50.0)
    assert session.recorded == [
        {"limits": {"limits.max_in_flight": 4}},
        {"limits": {"limits.tokens_per_minute": 50.0}},
    ]
