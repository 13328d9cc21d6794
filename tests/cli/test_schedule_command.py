from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import orjson
import pytest

CONFIG = "name: a\ndataset: {path: a.jsonl}\nmodel: {base_url: 'http://h', name: m, api_key_env: KEY_FOR_NOBODY}\n"


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
