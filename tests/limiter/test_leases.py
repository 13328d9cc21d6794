"""Lease files: who lives is counted, who died or stopped is not, and nothing of the key is in any of them."""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from runner.limiter import Claim, Group, Lease, LockBusyError, Unit, sharing_with
from runner.limiter.leases import STALE_S
from tests.support.leaks import find_leaks, shown_forms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Enter = Callable[..., Lease]

KEY = "sk-planted-Ab3/x+Yz09q/Vv8=="
GROUP = Group("https://api.example.com/v1", "m", KEY)
ALL = {Unit.REQUESTS: Claim(6_000.0, 6_000.0)}


@pytest.fixture
def limits(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "limits"


@pytest.fixture
def enter(limits: Path) -> Iterator[Enter]:
    """Make leases, each as if it were a process: locks of two open files never belong together."""
    entered: list[Lease] = []

    def make(run_id: str = "run", group: Group = GROUP) -> Lease:
        entered.append(Lease(limits, group, run_id))
        return entered[-1]

    yield make
    for one in entered:
        one.leave()


def renew(lease: Lease, granted: float = 0.0) -> tuple[float, int]:
    """Return what is granted of 6,000, and how many others there are."""
    claims, others = lease.renew({Unit.REQUESTS: replace(ALL[Unit.REQUESTS], granted=granted)})
    return claims[Unit.REQUESTS].granted, others


def files(limits: Path) -> list[Path]:
    return sorted(limits.glob("*/*.lease"))


def die(lease: Lease) -> None:
    """Let go of the file without a word, as the kernel does for a process that is killed."""
    lease._close()


def test_two_processes_come_to_an_even_part(enter: Enter) -> None:
    first, second = enter(), enter()
    assert renew(first) == (6_000.0, 0)
    assert renew(second) == (0.0, 1)
    assert renew(first, 6_000.0) == (3_000.0, 1)
    assert renew(second) == (3_000.0, 1)


@pytest.mark.parametrize("end", [die, Lease.leave])
def test_what_is_left_behind_returns_at_once(enter: Enter, limits: Path, end: Callable[[Lease], None]) -> None:
    first, second = enter(), enter()
    renew(first)
    renew(first, 3_000.0)
    renew(second)
    end(second)
    assert renew(first, 3_000.0) == (6_000.0, 0)
    assert len(files(limits)) == 1


@pytest.mark.parametrize(
    "other",
    [
        replace(GROUP, server="https://b/v1"),
        replace(GROUP, model="n"),
        replace(GROUP, api_key="k"),
        replace(GROUP, api_key=None),
    ],
    ids=["server", "model", "key", "no key"],
)
def test_another_server_model_or_key_is_another_group(enter: Enter, other: Group) -> None:
    assert renew(enter()) == renew(enter(group=other)) == (6_000.0, 0)


def test_nothing_of_the_key_is_in_any_file_or_name_and_nobody_else_may_read_them(enter: Enter, tmp_path: Path) -> None:
    renew(enter())
    assert KEY not in repr(GROUP)
    cache = tmp_path / "cache"
    assert list(find_leaks(KEY, cache)) == []
    assert not [path for path in cache.rglob("*") for form in shown_forms(KEY).values() if form in path.name]
    for path in (cache / "limits").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_the_name_of_a_group_says_nothing_without_this_caches_salt(tmp_path: Path) -> None:
    names = set()
    for number in range(2):
        lease = Lease(tmp_path / f"{number}", GROUP, "run")
        renew(lease)
        names |= {path.name for path in (tmp_path / f"{number}").iterdir() if path.is_dir()}
        lease.leave()
    assert len(names) == 2


def test_a_stopped_process_is_not_counted(enter: Enter, limits: Path) -> None:
    first, second = enter(), enter()
    renew(first)
    (path,) = files(limits)
    renew(second)
    long_ago = path.stat().st_mtime - STALE_S - 1
    os.utime(path, (long_ago, long_ago))
    assert renew(second) == (6_000.0, 0)
    assert renew(first, 6_000.0) == (3_000.0, 1)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\0{",
        b"[]",
        b'{"claims": [1]}',
        b'{"claims": {"requests": [6000, 6000]}}',
        b'{"claims": {"requests": [0, 0, 0]}}',
        b'{"claims": {"requests": [1, -1, 0]}}',
        b'{"claims": {"requests": [1e999, 1, 0]}}',
        b'{"claims": {"requests": "abc"}}',
        b'{"claims": {"donkeys": [1, 1, 1]}}',
    ],
)
def test_nonsense_in_a_lease_counts_for_nothing(enter: Enter, limits: Path, text: bytes) -> None:
    first, second = enter(), enter()
    renew(first)
    (path,) = files(limits)
    path.write_bytes(text)
    assert renew(second) == (6_000.0, 0)


def test_a_cleared_cache_is_entered_again(enter: Enter, limits: Path) -> None:
    first, second = enter(), enter()
    renew(first)
    (path,) = files(limits)
    for one in path.parent.iterdir():
        one.unlink()
    path.parent.rmdir()
    assert renew(second) == (6_000.0, 0)
    assert renew(first, 6_000.0) == (3_000.0, 1)


def test_a_lock_that_is_not_free_is_not_waited_for(enter: Enter, limits: Path) -> None:
    lease = enter()
    renew(lease)
    with next(limits.glob("*/lock")).open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(LockBusyError):
            renew(lease)
    assert renew(lease) == (6_000.0, 0)


def test_a_damaged_salt_is_named(enter: Enter, limits: Path) -> None:
    renew(enter())
    (limits / "salt").write_bytes(b"short")
    with pytest.raises(OSError, match="salt: is damaged"):
        enter()


def test_where_a_key_cannot_be_hidden_nothing_is_shared(enter: Enter, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> bytes:
        raise ValueError("disabled for FIPS")

    monkeypatch.setattr(hashlib, "scrypt", refuse)
    with pytest.raises(OSError, match="no scrypt"):
        enter()


def test_whoever_asks_learns_with_how_many_a_run_shares(enter: Enter, limits: Path) -> None:
    assert sharing_with(limits, "a") is None
    first, second, third = enter("a"), enter("b"), enter("c", replace(GROUP, model="n"))
    for one in (first, second, third):
        renew(one)
    assert [sharing_with(limits, run_id) for run_id in ("a", "b", "c", "d")] == [1, 1, 0, None]
    die(second)
    assert [sharing_with(limits, run_id) for run_id in ("a", "b")] == [0, None]


def test_what_is_written_is_whole_at_every_moment(enter: Enter, limits: Path) -> None:
    lease = enter("r" * 255)
    every: dict[Unit, Any] = {unit: Claim(1e11 / 3, 1e11 / 7, 1e11 / 9) for unit in Unit}
    lease.renew(every)
    (path,) = files(limits)
    size = path.stat().st_size
    assert set(orjson.loads(path.read_bytes())["claims"]) == set(Unit)
    lease.renew(ALL)
    assert path.stat().st_size == size
    assert set(orjson.loads(path.read_bytes())["claims"]) == {Unit.REQUESTS}
