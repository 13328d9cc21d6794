from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from runner.config import load_config
from runner.nightly import NightRecord, load_suite
from runner.nightly.record import write_record
from runner.schedule import entry_of, read_expression
from runner.schedule.systemd import units

CONFIG = "name: a\ndataset: {path: a.jsonl}\nmodel: {base_url: 'http://h', name: m, api_key_env: KEY_FOR_NOBODY}\n"

END = "2026-11-26T06:00:00+00:00"


def command(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "runner", "schedule", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=place,
        env={"PATH": str(place), "HOME": str(place), "PYTHONPATH": str(Path(__file__).parents[2])},
    )


def test_an_entry_is_printed_and_notes_go_to_stderr(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(CONFIG)
    done = command(tmp_path, "a.yaml", "--at", "30 2 * * *", "--format", "systemd")
    assert done.returncode == 0, done.stderr
    assert f'nightly" "{tmp_path}/a.yaml"' in done.stdout
    assert "KEY_FOR_NOBODY" in done.stderr
    assert "next: " in done.stderr


def test_json_is_one_object(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(CONFIG)
    done = command(tmp_path, "a.yaml", "--at", "@daily", "--format", "kubernetes", "--json")
    found = orjson.loads(done.stdout)
    assert found["format"] == "kubernetes"
    assert len(found["next"]) == 3
    assert "kind: CronJob" in found["entry"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.yaml", "--format", "cron"), "missing --at"),
        (("a.yaml", "--at", "@daily"), "missing --format: one of systemd, cron, github, kubernetes"),
        (("a.yaml", "--at", "1 2 3", "--format", "cron"), "expected five fields, found 3"),
        (("a.yaml", "--at", "@daily", "--format", "github", "--install"), "github is not installed from here"),
        (("a.yaml", "b.yaml", "--at", "@daily", "--format", "github"), "several time zones: UTC (a.yaml:1:1), Asia/"),
        (("c.yaml", "--at", "@daily", "--format", "github"), 'the time zone "Nowhere/X" does not exist'),
        (("a.yaml", "--at", "@daily", "--format", "systemd", "--install"), "there is no systemctl on this machine"),
    ],
)
def test_what_cannot_be_scheduled_is_told(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    (tmp_path / "a.yaml").write_text(CONFIG)
    (tmp_path / "b.yaml").write_text(CONFIG + "nightly: {time_zone: Asia/Tokyo}\n")
    (tmp_path / "c.yaml").write_text(CONFIG + "nightly: {time_zone: Nowhere/X}\n")
    done = command(tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert not (tmp_path / ".config").exists()


def test_nothing_installed_is_an_empty_list(tmp_path: Path) -> None:
    assert command(tmp_path, "list").stdout == "nothing is installed for this user\n"
    assert orjson.loads(command(tmp_path, "list", "--json").stdout) == {"entries": []}


def test_what_is_installed_is_listed_with_how_its_last_night_ended(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(CONFIG + "output: {dir: results}\n")
    entry = entry_of([load_config(path)], read_expression("30 2 * * *"))
    units_folder = tmp_path / ".config" / "systemd" / "user"
    units_folder.mkdir(parents=True)
    for name, text in units(entry).items():
        (units_folder / name).write_text(text)
    assert last_of(tmp_path) is None, "there was no night yet"
    folder = load_suite([path]).folder
    folder.staging.mkdir(parents=True)
    night = NightRecord("a", "nightly-20261126", "2026-11-26", "UTC", "2026-11-26T02:00:00+00:00", END, [])
    write_record(folder, night)
    assert last_of(tmp_path) == {
        "night": "2026-11-26", "ended_at": None, "exit_code": None, "verdict": "not ended", "page": str(folder.page)
    }  # fmt: skip
    ended = {"ended_at": "2026-11-26T03:00:00+00:00", "exit_code": 4, "verdict": "a: a score gate failed"}
    write_record(folder, replace(night, **ended))
    assert "2026-11-26: a: a score gate failed (exit 4)" in command(tmp_path, "list").stdout
    path.write_text("name: [")
    assert last_of(tmp_path) is None, "its config cannot be read any more"


def last_of(place: Path) -> dict[str, Any] | None:
    (listed,) = orjson.loads(command(place, "list", "--json").stdout)["entries"]
    last: dict[str, Any] | None = listed["last"]
    return last
