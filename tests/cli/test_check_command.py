"""Owns `check` as its users meet it, and what a run does with what a recent check found."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from runner.config import config_from_dict
from runner.folder.layout import RunFolder
from runner.folder.manifest import read_manifest
from runner.pipeline.probe import Probe
from runner.pipeline.probe.checked import find_missing, recent_check, remember_check
from runner.simulate import Unsupported
from tests.support.commands import evalrunner
from tests.support.odd_server import Reply, answering
from tests.support.runs import config_for, questions, sent_by, write_config, write_rows
from tests.support.serving import QUICK

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.simulate import Simulator
    from tests.support.commands import Finished
    from tests.support.odd_server import Call

NOW = datetime(2026, 11, 22, 1, 45, tzinfo=UTC)
KEY = "sk-planted-0123456789"


@pytest.fixture
def config(simulator: Simulator, tmp_path: Path) -> dict[str, Any]:
    return config_for(simulator, write_rows(tmp_path / "questions.jsonl", questions(4)))


@pytest.fixture
def path(config: dict[str, Any], tmp_path: Path) -> Path:
    return write_config(tmp_path / "my.yaml", config)


def checks_left() -> list[Path]:
    return sorted((Path(os.environ["XDG_CACHE_HOME"]) / "evalrunner" / "checks").glob("*"))


def test_of_a_pool_the_first_server_is_asked_and_the_others_are_named(
    simulator: Simulator, config: dict[str, Any], tmp_path: Path, here: Callable[..., Finished]
) -> None:
    other = "http://127.0.0.1:1/v1"
    config["model"]["base_url"] = [{"url": simulator.base_url}, {"url": other, "weight": 2}]
    path = write_config(tmp_path / "my.yaml", config)
    found = here("check", path, "--json")
    assert (found.code, found.json["server"], found.json["servers_not_asked"]) == (0, simulator.base_url, [other])
    assert f"not asked: {other}" in here("check", path).out


def test_a_run_knows_what_a_check_found(
    simulator: Simulator, config: dict[str, Any], tmp_path: Path, here: Callable[..., Finished]
) -> None:
    simulator.change(replace(QUICK, unsupported=Unsupported(("n",), ("logprobs",))))
    config["request"]["params"] = {"n": 2, "logprobs": True}
    path = write_config(tmp_path / "my.yaml", config)
    found = here("check", path, "--json")
    assert (found.code, found.json["capabilities"]["n"], found.json["capabilities"]["logprobs"]) == (0, False, False)
    assert len(checks_left()) == 1
    run = here("run", path, "--run-dir", tmp_path / "run", "--json")
    assert (run.code, run.json["ok"]) == (0, 8)
    lacking = [one for one in run.json["warnings"] if one.startswith("the server lacks")]
    assert len(lacking) == 2
    said = here("run", path, "--run-dir", tmp_path / "said")
    assert "the server lacks n: 2, as `evalrunner check` found at" in said.err
    kept = read_manifest(RunFolder(tmp_path / "run")).capabilities["check"]
    assert kept["facts"]["n"] is False


def test_fail_refuses_before_the_first_request(
    simulator: Simulator, config: dict[str, Any], tmp_path: Path, here: Callable[..., Finished]
) -> None:
    simulator.change(replace(QUICK, unsupported=Unsupported((), ("logprobs",))))
    config["request"] |= {"params": {"logprobs": True}, "on_unsupported": "fail"}
    path = write_config(tmp_path / "my.yaml", config)
    assert here("check", path).code == 0
    before = sent_by(simulator)
    for arguments in (("--run-dir", tmp_path / "run"), ("--dry-run",)):
        refused = here("run", path, *arguments)
        assert refused.code == 2
        assert "the server lacks logprobs" in refused.err
        assert "evalrunner check" in refused.err
    assert (sent_by(simulator), (tmp_path / "run").exists()) == (before, False)


def test_a_check_that_failed_leaves_nothing(simulator: Simulator, path: Path, here: Callable[..., Finished]) -> None:
    simulator.change(replace(QUICK, models=("another",)))
    assert here("check", path).code == 5
    assert checks_left() == []


def test_a_cache_that_cannot_be_written_is_no_trouble(
    path: Path, tmp_path: Path, here: Callable[..., Finished], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    for place in (str(tmp_path / "file"), "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", place)
        assert here("check", path).code == 0
        assert here("run", path, "--run-dir", tmp_path / place.replace("/", "_")).code == 0
    assert not Path("relative").exists()


@pytest.mark.parametrize("command", [(), ("--json",)])
def test_what_a_server_says_is_inert_and_without_the_key(command: tuple[str, ...], tmp_path: Path) -> None:
    evil = "\x1b]0;owned\x07\x1b[31m\u202etxt\n"

    def answer(call: Call) -> Reply:
        message = {"role": "assistant", "content": f"{evil} {call.key} {evil}"}
        body = {"choices": [{"message": message}], "model": evil, "data": [{"id": f"{evil}{call.key}"}]}
        return Reply(body=orjson.dumps(body), headers={"x-ratelimit-limit-requests": call.key})

    with answering(answer) as base_url:
        config = {
            "name": "odd",
            "dataset": {"path": str(write_rows(tmp_path / "data.jsonl", questions(1)))},
            "model": {"base_url": base_url, "name": "m", "api_key_env": "EVALRUNNER_TEST_KEY"},
            "request": {"messages": [{"role": "user", "content": "{{ question }}"}]},
        }
        path = write_config(tmp_path / "my.yaml", config)
        found = evalrunner("check", path, *command, cwd=tmp_path, env={"EVALRUNNER_TEST_KEY": KEY})
    assert found.code == 0
    assert KEY not in found.out + found.err
    assert not any(KEY.encode() in left.read_bytes() for left in checks_left())
    if command:
        assert found.json["requests"] <= 15
    else:
        assert "\u202e" not in found.out


def test_json_is_one_object_also_when_it_fails(path: Path, here: Callable[..., Finished]) -> None:
    away = here("check", path, "--json", "--set", "model.base_url=http://127.0.0.1:1/v1")
    assert (away.code, away.json["requests"], away.json["checks"][0]["outcome"]) == (6, 1, "failed")


# ---------------------------------------------------------------- what is left for later


def plain(tmp_path: Path, **model: Any) -> Any:
    model = {"base_url": "http://127.0.0.1:9/v1", "name": "m", **model}
    return config_from_dict({"name": "x", "dataset": {"path": "x.jsonl"}, "model": model, "request": {}}, tmp_path)


@pytest.mark.parametrize(("age_h", "fresh"), [(0, True), (23.9, True), (24.1, False), (-1, False)])
def test_a_check_is_known_for_a_day(age_h: float, fresh: bool, tmp_path: Path) -> None:  # noqa: FBT001 - a table
    config = plain(tmp_path)
    remember_check(config, Probe(facts={"n": False}), NOW)
    found = recent_check(config, NOW + timedelta(hours=age_h))
    assert (found is not None) is fresh
    if found:
        assert (found["facts"], found["checked_at"]) == ({"n": False}, "2026-11-22T01:45:00+00:00")


def test_another_server_model_or_path_is_not_known(tmp_path: Path) -> None:
    remember_check(plain(tmp_path), Probe(facts={"n": False}), NOW)
    for other in ({"base_url": "http://127.0.0.1:8/v1"}, {"name": "other"}, {"path": "/logits"}):
        assert recent_check(plain(tmp_path, **other), NOW) is None
    assert recent_check(plain(tmp_path), NOW) is not None


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b"\xff", b'{"checked_at": 3, "facts": {}}', b'{"checked_at": "x", "facts": {}}', b"[" * 9999],
)
def test_a_spoilt_file_is_no_check(content: bytes, tmp_path: Path) -> None:
    config = plain(tmp_path)
    remember_check(config, Probe(facts={}), NOW)
    (left,) = checks_left()
    left.write_bytes(content)
    assert recent_check(config, NOW) is None


@pytest.mark.parametrize(
    ("facts", "endpoint", "parameters", "missing"),
    [
        ({}, "chat", {"n": 2, "logprobs": True}, []),
        ({"n": None, "logprobs": None}, "chat", {"n": 2, "logprobs": True}, []),
        ({"n": False}, "chat", {"n": 1}, []),
        ({"n": False}, "chat", {"n": "{{ n }}"}, []),
        ({"n": False}, "chat", {"n": 3}, ["n: 3"]),
        ({"logprobs": False}, "chat", {"logprobs": False}, []),
        ({"logprobs": False}, "logprobs", {"logprobs": True}, ["the endpoint logprobs", "logprobs"]),
        ({"logprobs": True, "top_logprobs": 5}, "chat", {"logprobs": True, "top_logprobs": 5}, []),
        (
            {"logprobs": True, "top_logprobs": 5},
            "chat",
            {"logprobs": True, "top_logprobs": 6},
            ["top_logprobs: 6 (it gave 5)"],
        ),
        ({"seed": False, "stop": False}, "chat", {"seed": 1, "stop": None}, ["seed"]),
        (
            {"max_tokens_names": {"max_tokens": "ok", "max_completion_tokens": "refused"}},
            "chat",
            {"max_completion_tokens": 5},
            ["max_completion_tokens (it is refused)"],
        ),
        ({"max_tokens_names": 3}, "chat", {"max_tokens": 5}, []),
        ({"completions": False, "n": False}, "completions", {"n": 3}, ["the endpoint completions"]),
        ({"echo": False}, "loglikelihood", {}, ["the endpoint loglikelihood"]),
        ({"embeddings": {"dimension": 3}}, "embeddings", {}, []),
    ],
)
def test_only_a_plain_no_to_what_is_needed_counts(
    facts: dict[str, Any], endpoint: str, parameters: dict[str, Any], missing: list[str]
) -> None:
    assert find_missing(facts, endpoint, parameters) == missing


def test_places_that_are_told_are_looked_at_and_nothing_is_sent(
    config: dict[str, Any], tmp_path: Path, here: Callable[..., Finished], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOD_HOOK", "http://127.0.0.1:1/secret-path")
    monkeypatch.setenv("BAD_HOOK", "secret-path")
    config["notify"] = [{"webhook_env": name} for name in ("GOOD_HOOK", "BAD_HOOK", "NO_HOOK")]
    found = here("check", write_config(tmp_path / "my.yaml", config), "--json")
    assert found.json["notify"] == [
        {"label": "webhook GOOD_HOOK", "problem": ""},
        {
            "label": "webhook BAD_HOOK",
            "problem": "the value of BAD_HOOK is no URL that begins with https:// or http://",
        },
        {"label": "webhook NO_HOOK", "problem": "the environment variable NO_HOOK is not set"},
    ]
    assert "secret-path" not in found.out
