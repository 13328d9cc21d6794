from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runner.errors import StorageError, UsageError
from runner.schedule import INSTALLERS, installed_entries
from runner.schedule.cron import system_zone
from runner.schedule.unitfiles import folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runner.schedule import ScheduleEntry

_CRONTAB = """#!/bin/sh
table="$FAKE/table"
[ ! -f "$FAKE/broken" ] || { echo "cannot open: Permission denied" >&2; exit 1; }
case "$1" in
  -l) [ -f "$table" ] && exec cat "$table"; echo "no crontab for me" >&2; exit 1 ;;
  -) [ ! -f "$FAKE/refuses" ] || { echo "errors in crontab" >&2; exit 1; }; cat > "$table" ;;
esac
"""
_SYSTEMCTL = """#!/bin/sh
echo "$*" >> "$FAKE/calls"
if [ -f "$FAKE/nobus" ]; then echo "Failed to connect to bus: No medium found" >&2; exit 1; fi
case "$*" in *"enable --now"*) if [ -f "$FAKE/refuses" ]; then echo "Failed to enable" >&2; exit 1; fi ;; esac
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a crontab and a systemctl in front of the real ones; return the folder that steers them."""
    place = tmp_path / "fake"
    (place / "bin").mkdir(parents=True)
    for name, text in (("crontab", _CRONTAB), ("systemctl", _SYSTEMCTL)):
        (place / "bin" / name).write_text(text)
        (place / "bin" / name).chmod(0o755)
    monkeypatch.setenv("FAKE", str(place))
    monkeypatch.setenv("PATH", f"{place / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return place


def test_a_crontab_entry_comes_and_goes_and_nothing_else_changes(
    make_entry: Callable[..., ScheduleEntry], fake: Path
) -> None:
    install, remove = INSTALLERS["cron"]
    foreign = b"# caf\xe9\n1 1 * * * true"
    (fake / "table").write_bytes(foreign)
    entry = make_entry(zone=system_zone())
    assert install(entry) == [f"crontab: evalrunner:{entry.id} added"]
    assert install(entry) == [f"crontab: evalrunner:{entry.id} stands there already, unchanged"]
    assert install(make_entry("5 5 * * *", zone=system_zone())) == [f"crontab: evalrunner:{entry.id} replaced"]
    (listed,) = installed_entries()
    assert (listed.id, listed.format, listed.at, listed.zone) == (entry.id, "cron", "5 5 * * *", system_zone())
    assert listed.configs == entry.configs
    assert remove(entry) == [f"crontab: evalrunner:{entry.id} removed"]
    assert remove(entry) == [f"crontab: there is no evalrunner:{entry.id}"]
    assert (fake / "table").read_bytes() == foreign + b"\n"


def test_a_user_without_a_crontab_gets_one(make_entry: Callable[..., ScheduleEntry], fake: Path) -> None:
    entry = make_entry(zone=system_zone())
    INSTALLERS["cron"][0](entry)
    assert (fake / "table").read_text().startswith(f"# evalrunner:{entry.id} begin\n")


def test_a_crontab_that_cannot_be_read_is_never_written(make_entry: Callable[..., ScheduleEntry], fake: Path) -> None:
    (fake / "table").write_text("1 1 * * * true\n")
    (fake / "broken").touch()
    for act in INSTALLERS["cron"]:
        with pytest.raises(UsageError, match="Permission denied"):
            act(make_entry(zone=system_zone()))
    assert (fake / "table").read_text() == "1 1 * * * true\n"


def test_a_crontab_that_is_refused_stands_as_it_was(make_entry: Callable[..., ScheduleEntry], fake: Path) -> None:
    (fake / "table").write_text("1 1 * * * true\n")
    (fake / "refuses").touch()
    with pytest.raises(StorageError, match="errors in crontab"):
        INSTALLERS["cron"][0](make_entry(zone=system_zone()))
    assert (fake / "table").read_text() == "1 1 * * * true\n"


def test_units_come_and_go(make_entry: Callable[..., ScheduleEntry], fake: Path) -> None:
    install, remove = INSTALLERS["systemd"]
    entry = make_entry(zone="Europe/Zurich")
    service, timer = (folder() / f"evalrunner-{entry.id}.{kind}" for kind in ("service", "timer"))
    assert install(entry) == [f"{service} written", f"{timer} written", f"{timer.name} enabled"]
    assert install(entry) == [f"{service} unchanged", f"{timer} unchanged", f"{timer.name} enabled"]
    assert f"--user enable --now {timer.name}" in (fake / "calls").read_text().splitlines()
    (listed,) = installed_entries()
    assert (listed.id, listed.at, listed.zone) == (entry.id, "30 2 * * *", "Europe/Zurich")
    assert listed.configs == entry.configs
    assert remove(entry) == [f"{service} removed", f"{timer} removed"]
    assert list(folder().iterdir()) == []
    assert remove(entry) == [f"{folder()}: there is no evalrunner-{entry.id}"]


@pytest.mark.parametrize("form", ["cron", "systemd"])
@pytest.mark.parametrize("name", ["a b", "50%", "$HOME", "it's", 'say "x"', "back\\slash", "a; exec b"])
def test_what_an_entry_calls_is_read_again_whatever_its_path(
    make_entry: Callable[..., ScheduleEntry], fake: Path, form: str, name: str
) -> None:
    assert fake.is_dir()
    entry = make_entry(folder=name, zone=system_zone())
    INSTALLERS[form][0](entry)
    assert [one.configs for one in installed_entries()] == [entry.configs]


@pytest.mark.parametrize("trouble", ["nobus", "refuses"])
def test_nothing_is_half_installed(make_entry: Callable[..., ScheduleEntry], fake: Path, trouble: str) -> None:
    (fake / trouble).touch()
    with pytest.raises(UsageError, match=r"no systemd to talk to|Failed to enable"):
        INSTALLERS["systemd"][0](make_entry())
    assert [*folder().glob("*")] == []


def test_a_unit_that_is_not_ours_is_left_alone(make_entry: Callable[..., ScheduleEntry], fake: Path) -> None:
    assert fake.is_dir()
    entry = make_entry()
    folder().mkdir(parents=True)
    theirs = folder() / f"evalrunner-{entry.id}.timer"
    theirs.write_text("[Timer]\n")
    for act in INSTALLERS["systemd"]:
        with pytest.raises(UsageError, match="it is not evalrunner's"):
            act(entry)
    assert theirs.read_text() == "[Timer]\n"
