from __future__ import annotations

import dataclasses

import pytest

from runner.limiter.policy import Limits
from runner.retry.policy import RetryPolicy


def test_the_defaults_are_those_of_the_contract() -> None:
    assert dataclasses.asdict(Limits()) == {
        "max_in_flight": "auto",
        "requests_per_minute": None,
        "tokens_per_minute": None,
        "input_tokens_per_minute": None,
        "output_tokens_per_minute": None,
    }
    assert dataclasses.asdict(RetryPolicy()) == {
        "max_attempts": 8,
        "max_timeouts": 1,
        "first_wait_s": 0.5,
        "max_wait_s": 60.0,
        "deadline_s": 3600.0,
    }


def test_policies_are_plain_immutable_values() -> None:
    for policy, name in ((Limits(), "max_in_flight"), (RetryPolicy(), "max_attempts")):
        assert not hasattr(policy, "__dict__")
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(policy, name, 3)
        assert policy == type(policy)()
