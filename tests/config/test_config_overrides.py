from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from runner.config import config_from_dict, to_dict

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TEXT = """\
name: demo
dataset: {path: data.jsonl}
model: {base_url: "http://127.0.0.1:8000/v1", name: m, price: null}
request:
  messages: [{role: user, content: a}]
  params: {stop: [x, y]}
"""
SYNTAX = "(write --set limits.requests_per_minute=500, or --set request.messages.0.role=system for a list)"


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("limits.requests_per_minute=500", "limits.requests_per_minute", 500.0),
        ("limits.max_in_flight=auto", "limits.max_in_flight", "auto"),
        ("name=other", "name", "other"),
        ("name='a=b'", None, None),
        ("request.stream=true", "request.stream", True),
        ("model.name=null", "model.name", None),
        ("model.name=", "model.name", None),
        ("model.name= x ", "model.name", "x"),
        ("model.name=a=b", "model.name", "a=b"),
        ("model.name='1'", "model.name", "1"),
        ("request.messages.0.role=system", "request.messages.0.role", "system"),
        ("request.params.stop.1=z", "request.params.stop", ["x", "z"]),
        ("request.params.stop=[a]", "request.params.stop", ["a"]),
        ("request.params.temperature=0.5", "request.params.temperature", 0.5),
        ("request.messages='{{ history }}'", "request.messages", "{{ history }}"),
        ("model.price.input_per_million=1", "model.price.input_per_million", 1.0),
        ("scorers=[{name: exact_match}]", "scorers.0.name", "exact_match"),
        ("gates={max_failed_fraction: 0.5}", "gates.max_failed_fraction", 0.5),
        (" dataset . limit =5", "dataset.limit", 5),
    ],
)
def test_an_override_replaces_a_value(
    override: str, key: str | None, value: Any, load_text: Callable[..., Any], load_problems: Callable[..., list[str]]
) -> None:
    if key is None:
        assert load_problems(TEXT, override)[0].startswith('--set name: "a=b" cannot name a folder')
        return
    found: Any = to_dict(load_text(TEXT, override).config)
    for part in key.split("."):
        found = found[int(part)] if isinstance(found, list) else found[part]
    assert found == value


def test_the_last_override_wins(load_text: Callable[..., Any]) -> None:
    assert load_text(TEXT, "dataset.limit=1", "dataset.limit=2").config.dataset.limit == 2
    assert load_text(TEXT, "dataset.limit=1", "dataset={path: b}").config.dataset.limit is None


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("foo", f"--set: expected KEY=VALUE {SYNTAX}"),
        ("=1", f"--set: expected KEY=VALUE {SYNTAX}"),
        ("", f"--set: expected KEY=VALUE {SYNTAX}"),
        ("a..b=1", f"--set: expected KEY=VALUE {SYNTAX}"),
        ("a.=1", f"--set: expected KEY=VALUE {SYNTAX}"),
        ("a" + ".a" * 100 + "=1", f"--set: expected KEY=VALUE {SYNTAX}"),
        ("sk-abcdefghijklmnop", f"--set: expected KEY=VALUE {SYNTAX}"),
        ("limits.rpm=1", "--set limits.rpm: unknown key (write limits.requests_per_minute)"),
        (
            "dataset.limit=[1",
            ("--set dataset.limit: not valid YAML: the text ends too early (a quote or bracket is not closed)"),
        ),
        (
            "request.params={a: 1, a: 2}",
            (
                "--set request.params: request.params.a: the key stands here a second time; "
                "the first is at --set request.params (keep one of them)"
            ),
        ),
        (
            "request.messages={{ h }}",
            ('--set request.messages: a key has to be a text (put a template in quotes: "{{ column }}")'),
        ),
        ("dataset.limit=\ud83d", "--set dataset.limit: a control character, which YAML does not allow"),
        (
            "limits={a: 1}",
            (
                "--set limits: limits.a: unknown key (the keys here are max_in_flight, requests_per_minute, "
                "tokens_per_minute, input_tokens_per_minute, output_tokens_per_minute)"
            ),
        ),
        ("name.a=1", "--set name.a: name is not a section and has no keys"),
        ("request.messages.1.role=x", "--set request.messages.1.role: request.messages is a list of 1, counted from 0"),
        ("request.messages.-1=x", "--set request.messages.-1: request.messages is a list of 1, counted from 0"),
        ("request.messages.first=x", "--set request.messages.first: request.messages is a list of 1, counted from 0"),
        (
            "request.messages.99999999999=x",
            ("--set request.messages.99999999999: request.messages is a list of 1, counted from 0"),
        ),
    ],
)
def test_a_wrong_override_is_named(override: str, problem: str, load_problems: Callable[..., list[str]]) -> None:
    assert load_problems(TEXT, override) == [problem]


def test_an_override_below_a_url_does_not_show_it(load_problems: Callable[..., list[str]]) -> None:
    text = TEXT.replace("http://127.0.0.1", "http://me:hunter2@127.0.0.1")
    assert "hunter2" not in str(load_problems(text, "model.base_url.port=1"))


def test_overrides_that_miss_come_with_the_other_problems(load_problems: Callable[..., list[str]]) -> None:
    assert load_problems("- a\n", "foo", "dataset.limit=0") == [
        "run.yaml:1:1: expected a config with the keys name, dataset and model; found a list",
        f"--set: expected KEY=VALUE {SYNTAX}",
    ]
    assert load_problems("", "dataset.limit=[") == [
        "run.yaml:1:1: expected a config with the keys name, dataset and model; it is empty",
        "--set dataset.limit: not valid YAML: the text ends too early (a quote or bracket is not closed)",
    ]


def test_overrides_work_on_a_dict_too(values: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    config = config_from_dict(values(), tmp_path, overrides=["scorers=[{name: includes}]"])
    assert config.scorers[0].name == "includes"


def test_an_override_changes_only_its_copy_of_an_anchor(load_text: Callable[..., Any]) -> None:
    text = TEXT + "  extra_body: {a: &x {k: 1}, b: *x}\n"
    assert load_text(text, "request.extra_body.a.k=2").config.request.extra_body == {"a": {"k": 2}, "b": {"k": 1}}
