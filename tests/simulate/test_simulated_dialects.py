"""Owns the parameters that the simulator does not take."""

from __future__ import annotations

import orjson
import pytest

from runner.errors import UsageError
from runner.retry import find_refusal
from runner.simulate import DIALECTS, SimulatorOptions, Unsupported
from runner.simulate.dialects import refuse_parameter, without_ignored


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", ["n", "temperature", "max_completion_tokens"])
def test_a_refusal_names_its_parameter_in_every_dialect(dialect: str, name: str) -> None:
    body = {"model": "m", "messages": [], "n": 2, "temperature": 0.5, "max_completion_tokens": 3, "seed": 1}
    reply = refuse_parameter(body, Unsupported((name,), (), dialect))
    assert reply is not None
    refusal = find_refusal(reply.status, reply.body, orjson.dumps(body))
    assert refusal is not None
    assert refusal.names == (name,)


def test_what_is_not_sent_or_null_is_not_refused() -> None:
    unsupported = Unsupported(("n", "seed"))
    assert refuse_parameter({"messages": [], "n": None}, unsupported) is None


def test_what_is_ignored_is_taken_out_with_what_hangs_on_it() -> None:
    body = {"logprobs": True, "top_logprobs": 3, "n": 2}
    assert without_ignored(body, Unsupported((), ("logprobs",))) == {"n": 2}
    assert without_ignored(body, Unsupported(("n",))) is body


def test_an_unknown_dialect_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="klingon"):
        SimulatorOptions(unsupported=Unsupported(("n",), (), "klingon"))
