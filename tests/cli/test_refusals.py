"""What cannot be run is refused before anything is sent: one clear message, its exit code, and nothing left behind."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.commands import evalrunner, one_message
from tests.support.runs import config_for, questions, sent_by, write_config, write_rows
from tests.support.serving import QUICK

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.simulate import Simulator
    from tests.support.commands import Finished

UNSET = "EVALRUNNER_TEST_UNSET"


@pytest.fixture
def config(simulator: Simulator, tmp_path: Path) -> dict[str, Any]:
    return config_for(simulator, write_rows(tmp_path / "questions.jsonl", questions(5)))


def refused(config: dict[str, Any], simulator: Simulator, folder: Path, *arguments: object) -> str:
    """Run a config that cannot be run and return the message; check that nothing came of it."""
    path = write_config(folder / "my.yaml", config)
    before = sorted(folder.iterdir())
    finished = evalrunner("run", path, *arguments, cwd=folder)
    assert finished.code == 2, finished
    assert sent_by(simulator) == 0
    assert sorted(folder.iterdir()) == before
    return one_message(finished)


def test_a_missing_dataset_is_named_with_what_was_meant(
    config: dict[str, Any], simulator: Simulator, tmp_path: Path
) -> None:
    config["dataset"]["path"] = "question.jsonl"
    message = refused(config, simulator, tmp_path)
    assert "question.jsonl does not exist" in message
    assert "did you mean questions.jsonl?" in message


def test_a_misspelt_key_is_named_with_its_line(simulator: Simulator, tmp_path: Path) -> None:
    write_rows(tmp_path / "questions.jsonl", questions(5))
    (tmp_path / "my.yaml").write_text(
        "name: test\n"
        "dataset: {path: questions.jsonl}\n"
        "model:\n"
        "  base_url: http://127.0.0.1:1/v1\n"
        "  name: m\n"
        "request:\n"
        "  messages: [{role: user, content: '{{ question }}'}]\n"
        "  temprature: 0\n"
        "limits: {max_in_fligt: 3}\n",
        encoding="utf-8",
    )
    finished = evalrunner("run", "my.yaml", cwd=tmp_path)
    message = one_message(finished)
    assert finished.code == 2
    assert "my.yaml:8" in message
    assert "temprature" in message
    assert "my.yaml:9" in message
    assert "max_in_flight" in message
    assert not (tmp_path / "outputs").exists()
    assert sent_by(simulator) == 0


def test_an_undefined_template_variable_sends_nothing(
    config: dict[str, Any], simulator: Simulator, tmp_path: Path
) -> None:
    config["request"]["messages"][0]["content"] = "{{ qestion }}"
    message = refused(config, simulator, tmp_path)
    assert "qestion" in message
    assert "did you mean 'question'" in message


def test_a_template_that_fails_for_one_row_names_that_row(
    config: dict[str, Any], simulator: Simulator, tmp_path: Path
) -> None:
    rows = questions(5)
    del rows[3]["question"]
    write_rows(tmp_path / "questions.jsonl", rows)
    message = refused(config, simulator, tmp_path)
    assert "questions.jsonl:4" in message
    assert "question" in message


def test_bad_rows_are_named_with_their_lines(config: dict[str, Any], simulator: Simulator, tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_bytes(path.read_bytes() + b'{"id": "q9", "question": \n[1]\n')
    message = refused(config, simulator, tmp_path)
    assert "2 rows" in message
    assert "questions.jsonl:6" in message
    assert "questions.jsonl:7" in message
    assert "on_bad_row" in message


def test_duplicate_ids_are_named_with_their_lines(config: dict[str, Any], simulator: Simulator, tmp_path: Path) -> None:
    write_rows(tmp_path / "questions.jsonl", [*questions(5), questions(1)[0]])
    message = refused(config, simulator, tmp_path)
    assert "'q0'" in message
    assert "questions.jsonl:1" in message
    assert "questions.jsonl:6" in message


def test_a_key_variable_that_is_not_set_is_named(config: dict[str, Any], simulator: Simulator, tmp_path: Path) -> None:
    config["model"]["api_key_env"] = UNSET
    assert UNSET in refused(config, simulator, tmp_path)


def test_keys_that_are_not_available_yet_are_all_named(
    config: dict[str, Any], simulator: Simulator, tmp_path: Path
) -> None:
    config["request"] = {"endpoint": "embeddings", "input": "{{ question }}", "batch_size": 4, "stream": True}
    message = refused(config, simulator, tmp_path)
    assert message.count("not available yet") == 2
    assert message.count("request.stream") == 2


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("run", "my.yaml", "--only", "okay"), "one of failed, truncated, refused"),
        (("run", "my.yaml", "--only", "failed"), "no run of this config is in it"),
        (("run", "my.yaml", "--only", "failed", "--new"), "--only and --new exclude each other"),
        (("run", "my.yaml", "--new", "--run-id", "x"), "exclude each other"),
    ],
)
def test_what_is_not_there_says_so(
    config: dict[str, Any], here: Callable[..., Finished], arguments: tuple[str, ...], named: str
) -> None:
    write_config(Path("my.yaml"), config)
    finished = here(*arguments)
    assert finished.code == 2
    assert named in one_message(finished)


# ---------------------------------------------------------------- one JSON object, whatever happens


def check_error(finished: Finished, code: str) -> None:
    assert finished.code == 2
    assert finished.json.keys() == {"error"}
    assert finished.json["error"].keys() == {"code", "message", "hint"}
    assert finished.json["error"]["code"] == code
    assert finished.json["error"]["message"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("run", "absent.yaml", "--json"), "config"),
        (("run", "--json", "my.yaml", "--no-such-option"), "usage"),
        (("nightly", "somewhere", "--json"), "config"),
    ],
)
def test_an_error_is_one_json_object_too(
    config: dict[str, Any], tmp_path: Path, arguments: tuple[str, ...], code: str
) -> None:
    write_config(tmp_path / "my.yaml", config)
    check_error(evalrunner(*arguments, cwd=tmp_path), code)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("run", "--json"), "usage"),
        (("--json",), "usage"),
        (("nosuch", "--json"), "usage"),
        (("run", "my.yaml", "--limit", "0", "--json"), "usage"),
        (("run", "my.yaml", "--limit", "two", "--json"), "usage"),
        (("schema", "nonsense", "--json"), "usage"),
        (("run", "my.yaml", "--set", "nonsense", "--json"), "config"),
        (("run", "my.yaml", "--set", "limits.no=1", "--json"), "config"),
        (("run", "my.yaml", "--max-cost", "1", "--json"), "usage"),  # no price
        (("run", "my.yaml", "--max-cost", "0", "--json"), "config"),
        (("status", "absent", "--json"), "run_folder"),
        (("verify", "absent", "--json"), "run_folder"),
        (("reseal", "absent", "--json"), "run_folder"),
        (("resume", "absent", "--json"), "run_folder"),
        (("run", "my.yaml", "--run-id", "../up", "--json"), "usage"),
        (("simulate", "--fault", "50=0.1", "--json"), "usage"),
    ],
)
def test_every_error_is_one_json_object(
    config: dict[str, Any], here: Callable[..., Finished], arguments: tuple[str, ...], code: str
) -> None:
    write_config(Path("my.yaml"), config)
    check_error(here(*arguments), code)


# ---------------------------------------------------------------- what the server refuses


def test_a_wrong_key_stops_with_exit_5_and_its_text_without_the_key(
    config: dict[str, Any], simulator: Simulator, tmp_path: Path
) -> None:
    key = "sk-planted-0123456789"
    simulator.change(replace(QUICK, api_keys=("sk-another",), echo_key="full"))
    config["model"]["api_key_env"] = "EVALRUNNER_TEST_KEY"
    path = write_config(tmp_path / "my.yaml", config)
    environment = {"EVALRUNNER_TEST_KEY": key}
    finished = evalrunner("run", path, "--debug", cwd=tmp_path, env=environment)
    assert finished.code == 5
    assert "HTTP 401: Incorrect API key provided: [redacted]." in finished.out
    assert "evalrunner resume" in finished.out
    assert key not in finished.out + finished.err
    checked = evalrunner("check", path, cwd=tmp_path, env=environment)
    assert checked.code == 5
    assert "Incorrect API key provided" in checked.out
    assert key not in checked.out + checked.err


def test_an_unknown_model_stops_with_exit_5(
    config: dict[str, Any], simulator: Simulator, tmp_path: Path, here: Callable[..., Finished]
) -> None:
    simulator.change(replace(QUICK, models=("other",)))
    finished = here("run", write_config(tmp_path / "my.yaml", config), "--json")
    assert (finished.code, finished.json["exit_code"], finished.json["status"]) == (5, 5, "stopped")
    assert "The model `m` does not exist" in finished.json["warnings"][0]
    assert sent_by(simulator) <= 8


def test_a_refused_connection_is_incomplete_with_exit_6(
    config: dict[str, Any], tmp_path: Path, here: Callable[..., Finished]
) -> None:
    config["model"]["base_url"] = "http://127.0.0.1:1/v1"
    finished = here("run", write_config(tmp_path / "my.yaml", config))
    assert finished.code == 6
    assert "cannot connect" in finished.out
    assert "127.0.0.1:1" in finished.out


def test_a_truncated_gzip_file_is_refused(config: dict[str, Any], simulator: Simulator, tmp_path: Path) -> None:
    packed = gzip.compress((tmp_path / "questions.jsonl").read_bytes())
    (tmp_path / "cut.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    config["dataset"]["path"] = "cut.jsonl.gz"
    assert "cut.jsonl.gz" in refused(config, simulator, tmp_path)
