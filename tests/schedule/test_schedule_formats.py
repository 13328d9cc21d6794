from __future__ import annotations

import shlex
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from ruamel.yaml import YAML

from runner.errors import UsageError
from runner.schedule import FORMATS
from runner.schedule.cron import begin_mark, system_zone, with_entry, without_entry
from runner.schedule.systemd import units

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runner.schedule import ScheduleEntry

ODD = 'it\'s 100% "odd" $HOME \\ é'


@pytest.mark.parametrize("folder", ["project", ODD])
def test_systemd_verifies_the_units(make_entry: Callable[..., ScheduleEntry], folder: str, tmp_path: Path) -> None:
    entry = make_entry("0 3 13 * 5", folder=folder, zone="Europe/Zurich")
    for name, text in units(entry).items():
        (tmp_path / name).write_text(text)
    command = ["systemd-analyze", "verify", "--user", "--man=no", "--recursive-errors=no"]
    done = subprocess.run(
        [*command, *(str(tmp_path / name) for name in units(entry))],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)},
        check=False,
    )
    ours = [line for line in done.stderr.splitlines() if "evalrunner-" in line]
    assert (ours, done.returncode) == ([], 0), done.stderr


def test_the_service_is_hardened_and_hides_no_exit_code(make_entry: Callable[..., ScheduleEntry]) -> None:
    service, timer = units(make_entry(zone="Europe/Zurich")).values()
    assert "TimeoutStartSec=14400\n" in service  # 02:30 to 06:00, and half an hour
    for line in ("Type=oneshot", "ProtectSystem=strict", "PrivateTmp=yes", "NoNewPrivileges=yes", "KillMode=mixed"):
        assert f"\n{line}\n" in service
    assert "SuccessExitStatus" not in service
    assert "OnCalendar=*-*-* 02:30:00 Europe/Zurich\n" in timer
    assert "Persistent=true\n" in timer


def test_a_crontab_line_gives_the_command_its_words(make_entry: Callable[..., ScheduleEntry], tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    python = tmp_path / ODD / "python"
    entry = replace(make_entry(folder=ODD, zone=system_zone()), python=str(python))
    python.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {shlex.quote(str(seen))}\n')
    python.chmod(0o755)
    (tmp_path / ODD / "outputs").mkdir()
    (line,) = [line for line in FORMATS["cron"](entry).splitlines() if not line.startswith("#")]
    command = line.split(" ", 5)[5].replace("\\%", "%")  # as cron does
    subprocess.run(["/bin/sh", "-c", command], check=True, env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"})
    assert seen.read_text().splitlines() == ["-m", "runner", "nightly", *entry.configs]
    assert "%" not in line.replace("\\%", "")


def test_cron_is_refused_in_another_zone(make_entry: Callable[..., ScheduleEntry]) -> None:
    other = "Asia/Tokyo" if system_zone() != "Asia/Tokyo" else "UTC"
    with pytest.raises(UsageError, match="cron runs by this machine's clock"):
        FORMATS["cron"](make_entry(zone=other))


def test_only_an_entrys_own_lines_of_a_crontab_change(make_entry: Callable[..., ScheduleEntry]) -> None:
    entry = make_entry(zone=system_zone())
    text = FORMATS["cron"](entry)
    foreign = "MAILTO=me\n# \udce9vil\r\n5 5 * * * true"
    added = with_entry(foreign, entry.id, text)
    assert added == f"{foreign}\n{text}"
    assert with_entry(added, entry.id, text) == added
    assert without_entry(added + "1 1 * * * false\n", entry.id) == f"{foreign}\n1 1 * * * false\n"
    assert without_entry(foreign, entry.id) == foreign
    with pytest.raises(UsageError, match="changed by hand"):
        without_entry(begin_mark(entry.id) + "\n", entry.id)


@pytest.mark.parametrize("folder", ["project", ODD])
def test_yaml_formats_hold_what_they_should(make_entry: Callable[..., ScheduleEntry], folder: str) -> None:
    entry = make_entry("17 2 * * 1-5", folder=folder, zone="Europe/Zurich", more="output: {dir: ../outputs}\n")
    workflow = YAML(typ="safe").load(FORMATS["github"](entry))
    assert workflow["on"]["schedule"] == [{"cron": "17 2 * * 1-5", "timezone": "Europe/Zurich"}]
    (nightly,) = [step for step in workflow["jobs"]["nightly"]["steps"] if step.get("name") == "Nightly"]
    assert shlex.split(nightly["run"]) == ["evalrunner", "nightly", "configs/night one.yaml"]
    assert nightly["env"] == {"MY_KEY": "${{ secrets.MY_KEY }}", "HOOK": "${{ secrets.HOOK }}"}
    claim, job = YAML(typ="safe").load_all(FORMATS["kubernetes"](entry))
    spec = job["spec"]["jobTemplate"]["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    assert (job["spec"]["timeZone"], job["spec"]["concurrencyPolicy"]) == ("Europe/Zurich", "Forbid")
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"]) == (0, 3 * 3600 + 43 * 60 + 1800)
    assert container["args"] == ["nightly", "/srv/evals/configs/night one.yaml"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert claim["kind"] == "PersistentVolumeClaim"


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_no_value_of_a_variable_is_written(
    make_entry: Callable[..., ScheduleEntry], form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-planted-key-1234567890")
    text = FORMATS[form](make_entry(zone=system_zone()))
    assert "planted" not in text
    assert "MY_KEY" in text


def test_a_line_break_in_a_path_is_refused(make_entry: Callable[..., ScheduleEntry]) -> None:
    with pytest.raises(UsageError, match="line break or control character"):
        make_entry(folder="a\nb")
