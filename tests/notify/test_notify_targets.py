from __future__ import annotations

import pytest

from runner.config import Notification
from runner.notify import Target, readiness, targets_of


def test_entries_become_places_each_once_with_all_their_events() -> None:
    found = targets_of(
        [
            Notification(webhook_env="A"),
            Notification(apprise_env="A", on="always"),
            Notification(webhook_env="A", on=["success"]),
            Notification(webhook_env="B", on="recovery"),
        ]
    )
    assert [(one.label, sorted(one.events)) for one in found] == [
        ("webhook A", ["failure", "recovery", "regression", "success"]),
        ("apprise A", ["failure", "recovery", "regression", "success"]),
        ("webhook B", ["recovery"]),
    ]
    assert found[2].wants("recovery")
    assert not found[2].wants("failure")


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("https://hooks.example.com/services/T0/secret", ""),
        ("http://127.0.0.1:9/x?y=z", ""),
        ("  ", "the environment variable HOOK is not set"),
        ("hooks.example.com/secret", "the value of HOOK is no URL that begins with https:// or http://"),
        ("ftp://secret.example.com", "the value of HOOK is no URL that begins with https:// or http://"),
        ("https://secret.example.com:port/", "the value of HOOK is no URL that begins with https:// or http://"),
        ("https:///secret", "the value of HOOK is no URL that begins with https:// or http://"),
        ("https://[secret/", "the value of HOOK is no URL that begins with https:// or http://"),
        ("https://a.example/secret x", "the value of HOOK is no URL that begins with https:// or http://"),
        ("https://a.example/\x1bsecret", "the value of HOOK is no URL that begins with https:// or http://"),
    ],
)
def test_what_keeps_a_webhook_from_being_told_is_known_before(value: str, problem: str) -> None:
    (found,) = readiness([Target("webhook", "HOOK", frozenset())], {"HOOK": value})
    assert (found.label, found.problem) == ("webhook HOOK", problem)


def test_a_missing_library_is_known_before(monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target("apprise", "CHAT", frozenset())
    assert readiness([target], {"CHAT": "json://localhost"})[0].problem == ""
    monkeypatch.setattr("runner.notify.targets.find_spec", lambda _name: None)
    assert "pip install 'evalrunner[notify]'" in readiness([target], {"CHAT": "json://localhost"})[0].problem
