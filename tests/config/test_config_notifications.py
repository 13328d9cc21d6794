from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from runner.config import config_from_dict

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECRET = "https://hooks.example.com/services/T0/B0/abcdefgh12345678"


def test_an_entry_names_a_variable_and_events(values: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    entries = [
        {"webhook_env": "HOOK"},
        {"apprise_env": "CHAT", "on": "always"},
        {"webhook_env": "B", "on": ["success"]},
    ]
    config = config_from_dict(values({"notify": entries}), tmp_path)
    assert [entry.on for entry in config.notify] == [["regression", "failure", "recovery"], "always", ["success"]]
    assert [entry.webhook_env for entry in config.notify] == ["HOOK", None, "B"]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"webhook": SECRET}, "notify.0.webhook: unknown key (an address is a secret"),
        ({"url": SECRET}, "notify.0.url: unknown key (an address is a secret"),
        ({"webhook_env": SECRET}, "notify.0.webhook_env: expected the NAME of an environment variable"),
        ({"apprise_env": "slack://a/b/c"}, "notify.0.apprise_env: expected the NAME of an environment variable"),
        ({"webhook_env": "A", "apprise_env": "B"}, "notify.0.apprise_env: stands beside webhook_env"),
        ({"on": "always"}, "notify.0: says of no place where to send"),
        ({}, "notify.0: says of no place where to send"),
        ({"webhook_env": "A", "on": []}, "notify.0.on: the list is empty"),
        ({"webhook_env": "A", "on": ["regresion"]}, "notify.0.on.0: expected regression, failure, recovery or success"),
        ({"webhok_env": "A"}, 'notify.0.webhok_env: unknown key (did you mean "webhook_env"?'),
        (SECRET, "notify.0: expected a section with keys, found a text"),
        ({"webhook_env": [SECRET]}, "notify.0.webhook_env: expected a text, found a list"),
    ],
)
def test_what_is_wrong_is_named_and_no_address_is_shown(
    entry: Any, expected: str, complaints: Callable[[dict[str, Any]], list[str]]
) -> None:
    (found,) = complaints({"notify": [entry]})
    assert found.startswith(expected)
    assert "hooks.example.com" not in found


def test_what_is_wrong_is_told_with_its_line(load_problems: Callable[..., list[str]]) -> None:
    text = "name: a\ndataset: {path: a.jsonl}\nmodel: {base_url: 'http://h', name: m}\nnotify:\n  - webhook: x\n"
    (found,) = load_problems(text)
    assert found.startswith("run.yaml:5:5: notify.0.webhook: unknown key")
