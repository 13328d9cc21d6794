from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from runner.config import config_from_dict
from runner.errors import ConfigError, UsageError
from runner.limiter import Limiter, Limits, Pool, Replica, Ticket, Verdict, shared_limits
from runner.pipeline.sending.steering import (
    LIMITS,
    Change,
    Look,
    Pause,
    Unpause,
    changed,
    difference,
    limits_in_force,
    line_of,
    read_command,
    reminders,
    servers_in_force,
)

if TYPE_CHECKING:
    from pathlib import Path

    from runner.config import RunConfig
    from runner.pipeline.sending.steering import Command

TYPED = Limits(max_in_flight=8, requests_per_minute=600.0, tokens_per_minute=9_000.0)


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    values = {
        "name": "n",
        "dataset": {"path": "d.jsonl"},
        "model": {"base_url": "http://a", "name": "m"},
        "request": {"messages": "{{ q }}"},
        "limits": {"max_in_flight": 8, "requests_per_minute": 600},
    }
    return config_from_dict(values, tmp_path)


@pytest.mark.parametrize("command", [Pause(), Unpause(), Look(), Change(("limits.max_in_flight=3", "é=\n"))])
def test_a_command_is_what_its_line_says(command: Command) -> None:
    assert read_command(line_of(command)) == command
    assert b"\n" not in line_of(command)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"pause",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b'"pause"',
        b"[" * 10_000,
        b'{"command":"stop"}',
        b'{"command":["pause"]}',
        b'{"command":{}}',
        b'{"command":"set"}',
        b'{"command":"set","set":[]}',
        b'{"command":"set","set":"limits.max_in_flight=3"}',
        b'{"command":"set","set":[1]}',
        b'{"command":"pause"',
    ],
)
def test_whatever_else_comes_is_refused(line: bytes) -> None:
    with pytest.raises(UsageError):
        read_command(line)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["limits.max_in_flight=3"], {"limits.max_in_flight": 3}),
        (["limits.max_in_flight=auto"], {"limits.max_in_flight": "auto"}),
        (["limits.requests_per_minute=null"], {"limits.requests_per_minute": None}),
        (["limits.requests_per_minute=600"], {}),
        (
            ["limits.input_tokens_per_minute=5e5", "limits.output_tokens_per_minute=7"],
            {"limits.input_tokens_per_minute": 5e5, "limits.output_tokens_per_minute": 7.0},
        ),
        (["limits.max_in_flight=3", "limits.max_in_flight=4"], {"limits.max_in_flight": 4}),
    ],
)
def test_limits_are_changed_as_a_config_is(
    config: RunConfig, texts: list[str], expected: dict[str, Any], tmp_path: Path
) -> None:
    after = changed(config, texts, tmp_path)
    assert difference(config.limits, after.limits) == expected
    assert after.model_copy(update={"limits": config.limits}) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("limits.max_in_flight=0", "--set limits.max_in_flight: expected 1 to"),
        ("limits.requests_per_minute=-1", "--set limits.requests_per_minute"),
        ("limits.requests_per_minut=1", 'did you mean "requests_per_minute"?'),
        ("limits.max_in_flight", "expected KEY=VALUE"),
        ("limits.max_in_flight=[", "--set limits.max_in_flight"),
    ],
)
def test_a_wrong_value_meets_the_rules_of_a_config(config: RunConfig, text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        changed(config, [text], tmp_path)
    assert message in refused.value.message


@pytest.mark.parametrize("key", ["retry.max_attempts", "limits", "model.base_url", "name", "", "request.limits.x"])
def test_only_limits_can_be_changed(config: RunConfig, key: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be changed while a run goes on") as refused:
        changed(config, ["limits.max_in_flight=3", f"{key}=3"], tmp_path)
    assert all(f"limits.{name}" in refused.value.hint for name in LIMITS)


def test_limits_in_force_say_where_they_come_from() -> None:
    limiter = Limiter(TYPED)
    found = limits_in_force(TYPED, TYPED, limiter.statistics())
    assert found == {
        "max_in_flight": {"value": 8, "source": "config"},
        "requests_per_minute": {"value": 600.0, "source": "config"},
        "tokens_per_minute": {"value": 9_000.0, "source": "config"},
        "input_tokens_per_minute": {"value": None, "source": None},
        "output_tokens_per_minute": {"value": None, "source": None},
    }
    ticket = limiter.ask(1, 1)
    assert isinstance(ticket, Ticket)
    told = {"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "59"}
    limiter.done(ticket, Verdict.ANSWERED, headers=told)
    now = replace(TYPED, max_in_flight="auto", tokens_per_minute=None, input_tokens_per_minute=5.0)
    limiter.change(now)
    found = limits_in_force(TYPED, now, limiter.statistics())
    assert found["max_in_flight"]["source"] == "measured"
    assert found["requests_per_minute"] == {"value": 60.0, "source": "headers"}
    assert found["tokens_per_minute"] == {"value": None, "source": None}
    assert found["input_tokens_per_minute"] == {"value": 5.0, "source": "set"}


def test_limits_in_force_are_told_for_each_server_of_a_pool() -> None:
    weights, now = [2.0, 1.0], replace(TYPED, max_in_flight=5, tokens_per_minute=None)
    replicas = [
        Replica(number, f"s{number}", Limiter(own), weight)
        for number, (own, weight) in enumerate(zip(shared_limits(TYPED, weights), weights, strict=True))
    ]
    pool = Pool(replicas)
    pool.change(now)
    pool.try_admit(1)
    first, second = servers_in_force(TYPED, now, pool.statistics())
    assert (first["name"], first["in_flight"], first["out"]) == ("s0", 1, False)
    assert (second["name"], second["in_flight"], second["out"]) == ("s1", 0, False)
    assert first["limits"]["max_in_flight"] == {"value": 5, "source": "set"}
    assert second["limits"]["max_in_flight"] == {"value": 2, "source": "set"}
    for server in (first, second):
        assert server["limits"]["requests_per_minute"] == {"value": 600.0, "source": "config"}
        assert server["limits"]["tokens_per_minute"] == {"value": None, "source": None}


@pytest.mark.parametrize(("measured", "source"), [(59.0, "measured"), (700.0, "config"), (None, "config")])
def test_a_measured_rate_counts_where_it_is_lower(measured: float | None, source: str) -> None:
    seen = replace(Limiter(TYPED).statistics(), measured_per_minute=measured)
    assert limits_in_force(TYPED, TYPED, seen)["requests_per_minute"]["source"] == source


@pytest.mark.parametrize(
    ("steered", "told"),
    [
        ([], []),
        ([{"paused": True}, {"paused": False}], []),
        ([{"paused": True}], ["paused when it ended"]),
        ([{"limits": {"limits.max_in_flight": 3}}, {"limits": {"limits.max_in_flight": 8}}], []),
        (
            [{"limits": {"limits.max_in_flight": 3}}, {"limits": {"limits.tokens_per_minute": None}}],
            ["(limits.max_in_flight=3 limits.tokens_per_minute=null)"],
        ),
        ([{"limits": {"limits.of_a_later_version": 3}}, {"limits": None}, {}], []),
    ],
)
def test_who_goes_on_is_told_what_the_last_session_was_asked(steered: list[dict[str, Any]], told: list[str]) -> None:
    found = reminders(steered, TYPED)
    assert len(found) == len(told)
    assert all(part in text for part, text in zip(told, found, strict=True))
