"""The command `export`: data alone on stdout, files that are whole, errors that say what to do."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from typing import TYPE_CHECKING

import orjson
import pytest

import runner
from tests.support.commands import ROOT, evalrunner, one_message
from tests.support.runs import config_for, questions, write_rows
from tests.support.serving import serving

if TYPE_CHECKING:
    from pathlib import Path

SAMPLES = 3_000


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    with serving() as simulator:
        dataset = write_rows(folder / "d.jsonl", questions(SAMPLES))
        runner.run(config_for(simulator, dataset, limits={"max_in_flight": 64}), run_dir=folder / "run")
    return folder / "run"


@pytest.mark.parametrize(("form", "lines"), [("jsonl", SAMPLES), ("csv", SAMPLES + 1), ("openai-batch", SAMPLES)])
def test_stdout_has_the_data_and_a_file_the_same(run_dir: Path, tmp_path: Path, form: str, lines: int) -> None:
    finished = evalrunner("export", run_dir, "--format", form, cwd=tmp_path)
    read = list(csv.reader(io.StringIO(finished.out, newline=""))) if form == "csv" else finished.out.splitlines()
    assert (finished.code, finished.err, len(read)) == (0, "", lines)
    to_file = evalrunner("export", run_dir, "--format", form, "-o", "out", cwd=tmp_path)
    assert (to_file.code, to_file.out, to_file.err.strip()) == (0, "", f"{lines:,} lines in out")
    assert (tmp_path / "out").read_bytes().decode().replace("\r\n", "\n") == finished.out.replace("\r\n", "\n")
    told = evalrunner("export", run_dir, "--format", form, "-o", "out", "--json", cwd=tmp_path).json
    assert told == {"file": "out", "format": form, "lines": lines, "bytes": (tmp_path / "out").stat().st_size}


def test_columns_are_chosen(run_dir: Path, tmp_path: Path) -> None:
    finished = evalrunner("export", run_dir, "--format", "jsonl", "--columns", "sample_id, status", cwd=tmp_path)
    assert orjson.loads(finished.out.splitlines()[0]).keys() == {"sample_id", "status"}


def test_a_reader_that_goes_away_is_no_error(run_dir: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "runner", "export", str(run_dir), "--format", "jsonl"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={"PYTHONPATH": str(ROOT)}
    ) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline().startswith(b"{")
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == (b"", 0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--format", "xml"], "no such format"),
        (["--format", "csv", "--columns", "txet"], "did you mean text?"),
        (["--format", "openai-batch", "--columns", "text"], "--columns"),
        (["--format", "csv", "-o", "."], "is a folder"),
    ],
)
def test_what_cannot_be_exported_is_said(run_dir: Path, tmp_path: Path, arguments: list[str], said: str) -> None:
    finished = evalrunner("export", run_dir, *arguments, cwd=tmp_path)
    assert finished.code == 2
    assert said in one_message(finished)


def test_a_file_that_cannot_be_made_and_json_without_a_file(run_dir: Path, tmp_path: Path) -> None:
    finished = evalrunner("export", run_dir, "--format", "csv", "-o", "no/such/folder.csv", cwd=tmp_path)
    assert (finished.code, "folder.csv" in one_message(finished)) == (73, True)
    without = evalrunner("export", run_dir, "--format", "csv", "--json", cwd=tmp_path)
    assert (without.code, without.json["error"]["code"]) == (2, "usage")
