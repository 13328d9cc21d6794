from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

from runner.errors import UsageError
from runner.simulate.answers import AnswerStyle
from runner.simulate.faults import FaultRules, FaultSpan
from runner.simulate.judge import Judge, Place, open_envelope
from runner.simulate.latency import Fixed, Latency, Uniform
from runner.simulate.ledger import Tokens
from runner.simulate.limits import LimitChange, Limits
from runner.simulate.options import SimulatorOptions

if TYPE_CHECKING:
    from runner.simulate.judge import Verdict

HELLO = {"messages": [{"role": "user", "content": "Hello"}]}


class Court:
    """A judge with a clock that stands still unless it is moved."""

    def __init__(self, **options: Any) -> None:
        self.now = 0.0
        self.judge = Judge(SimulatorOptions(**options), lambda: self.now, lambda: 1_700_000_000.9)
        self._number = 0

    def ask(self, body: Any = None, key: str | None = None, in_flight: int = 1) -> Verdict:
        self._number += 1
        raw = body if isinstance(body, bytes) else orjson.dumps({**HELLO, **(body or {})})
        return self.judge.judge(open_envelope(raw, key), Place(self._number, in_flight))

    def error(self, body: Any = None, key: str | None = None) -> tuple[int, str | None]:
        reply = self.ask(body, key).reply
        return reply.status, orjson.loads(reply.body)["error"]["code"]


def test_an_answer_says_what_it_costs_and_has_ids() -> None:
    verdict = Court(answers=AnswerStyle(completion_tokens=7)).ask({"n": 2})
    assert (verdict.reply.status, verdict.fault, verdict.delay_s) == (200, None, 0.0)
    assert verdict.tokens == Tokens(prompt=6, completion=14)
    assert orjson.loads(verdict.reply.body)["created"] == 1_700_000_000
    assert verdict.reply.headers["x-request-id"].startswith("req_")


def test_keys_are_checked_first() -> None:
    court = Court(api_keys=("sk-right",))
    assert court.error(b"{", "sk-wrong") == (401, "invalid_api_key")
    assert court.error() == (401, None)
    assert court.ask(key="sk-right").reply.status == 200


@pytest.mark.parametrize(
    ("echo", "shown"),
    [("none", "provided."), ("masked", "provided: sk-v********9876."), ("full", "sk-very-secret-9876")],
)
def test_a_wrong_key_is_shown_as_told(echo: str, shown: str) -> None:
    body = Court(api_keys=("sk-right",), echo_key=echo).ask(key="sk-very-secret-9876").reply.body.decode()
    assert shown in body
    assert ("sk-very-secret-9876" in body) is (echo == "full")
    assert "sk-right" not in body


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'"text"', b"\xff"])
def test_a_body_that_is_no_object_is_refused(raw: bytes) -> None:
    assert Court().error(raw) == (400, None)


def test_wrong_requests_are_refused_by_name() -> None:
    court = Court(models=("good",), context_tokens=20)
    assert court.error({"model": "good", "messages": None}) == (400, "missing_required_parameter")
    assert court.error({"model": "other"}) == (404, "model_not_found")
    assert court.error({"model": "good", "max_tokens": 15}) == (400, "context_length_exceeded")
    assert court.ask({"model": "good", "max_tokens": 14}).reply.status == 200
    marked = {"model": "good", "messages": [{"role": "user", "content": "[[fault:nosuch]]"}]}
    assert court.error(marked) == (400, "unknown_fault")


def test_the_quota_ends_after_its_answers_and_does_not_come_back_by_itself() -> None:
    court = Court(quota_after=2, faults=FaultRules(script={2: "500"}))
    assert [court.ask().reply.status for _ in range(3)] == [200, 500, 200]
    court.now = 1e9
    assert [court.error() for _ in range(3)] == [(429, "insufficient_quota")] * 3


def test_credit_that_runs_out_is_402_and_as_much_comes_back() -> None:
    court = Court(quota_after=2, quota_error="credit", quota_back_s=30)
    assert [court.ask().reply.status for _ in range(3)] == [200, 200, 402]
    court.now = 29.9
    assert court.ask().reply.status == 402
    court.now = 30.0
    assert [court.ask().reply.status for _ in range(3)] == [200, 200, 402]


def test_a_crowd_is_refused_before_the_limits_are_charged() -> None:
    court = Court(latency=Latency(refuse_above=3), limits=Limits(requests_per_minute=60, burst_s=1))
    assert [court.ask(in_flight=count).reply.status for count in (4, 3, 4, 3)] == [503, 200, 503, 429]
    assert court.ask(in_flight=4).reply.headers["Retry-After"] == "1"


@pytest.mark.parametrize(("notice", "status"), [("anthropic", 529), ("none", 503)])
def test_a_crowd_is_refused_in_the_server_s_way(notice: str, status: int) -> None:
    court = Court(latency=Latency(refuse_above=3), limits=Limits(notice=notice), faults=FaultRules({"503": 1.0}))
    told = [court.ask(in_flight=count).reply for count in (4, 3)]
    assert told[0].status == status
    assert all(("Retry-After" in reply.headers) is (notice != "none") for reply in told)


def test_faults_of_a_span_strike_in_it_only() -> None:
    court = Court(faults=FaultRules({"503": 1.0}, {4: "ok"}, (FaultSpan(10, 20, {"500": 1.0}),)))
    found = []
    for court.now in (5.0, 14.9, 15.0, 20.0, 24.9, 25.0):
        found.append(court.ask().fault)
    assert found == ["503", "503", "500", None, "500", "503"]


def test_limits_are_charged_with_prompt_and_longest_answer() -> None:
    court = Court(limits=Limits(tokens_per_minute=6000, burst_s=10))
    first = court.ask({"max_tokens": 97, "n": 2})
    assert first.reply.headers["x-ratelimit-remaining-tokens"] == str(1000 - 6 - 2 * 97)
    court.now = 100.0
    assert court.ask().reply.headers["x-ratelimit-remaining-tokens"] == str(1000 - 6 - 256)


def test_a_refused_request_gets_429_with_headers_and_no_fault() -> None:
    court = Court(limits=Limits(requests_per_minute=6, burst_s=1), faults=FaultRules({"500": 1.0}))
    assert court.ask().fault == "500"
    refused = court.ask()
    error = orjson.loads(refused.reply.body)["error"]
    assert (refused.reply.status, error["type"], error["code"]) == (429, "requests", "rate_limit_exceeded")
    assert (refused.fault, refused.tokens, refused.reply.headers["Retry-After"]) == (None, None, "10")


def test_faults_keep_their_tokens_only_if_there_is_an_answer() -> None:
    kinds = ("cut", "reasoning", "bom", "html_200", "500", "redirect_307")
    court = Court(faults=FaultRules(script=dict(enumerate(kinds, 1))))
    answers = [court.ask().tokens is not None for _ in kinds]
    assert answers == [True, True, True, False, False, False]


def test_answers_wait_and_errors_do_not() -> None:
    latency = Latency(Fixed(1.0), Fixed(0.1), slow_above=1)
    court = Court(latency=latency, answers=AnswerStyle(completion_tokens=10), faults=FaultRules(script={2: "500"}))
    assert court.ask(in_flight=2).delay_s == pytest.approx(2 * 2**1.1)
    assert court.ask().delay_s == 0.0


def test_change_takes_effect_at_once() -> None:
    court = Court(limits=Limits(requests_per_minute=6, burst_s=1))
    assert [court.ask().reply.status for _ in range(2)] == [200, 429]
    court.judge.change(SimulatorOptions(faults=FaultRules({"503": 1.0})))
    assert court.ask().reply.status == 503


def test_changes_of_limits_put_in_force_later_count_from_then() -> None:
    court = Court()
    court.ask()
    court.now = 100.0
    changes = (LimitChange(10, "requests", 60),)
    court.judge.change(SimulatorOptions(limits=Limits(requests_per_minute=600, burst_s=1, changes=changes)))
    court.now = 109.9
    assert sum(court.ask().reply.status == 200 for _ in range(20)) == 10
    court.now = 111.0
    assert sum(court.ask().reply.status == 200 for _ in range(20)) == 1
    assert court.judge.rates.span(100, 120)["limits"]["requests"]["permitted"] == pytest.approx(100 + 10)


@pytest.mark.parametrize(
    "options",
    [
        {"port": 70_000},
        {"prefix": "api"},
        {"prefix": "/api/"},
        {"quota_after": -1},
        {"echo_key": "loud"},
        {"context_tokens": 0},
        {"limits": Limits(requests_per_minute=0)},
        {"limits": Limits(input_tokens_per_minute=0)},
        {"limits": Limits(token_window_s=0)},
        {"limits": Limits(notice="loud")},
        {"limits": Limits(changes=(LimitChange(1, "requests", 0),))},
        {"latency": Latency(refuse_above=0)},
        {"quota_error": "money"},
        {"quota_back_s": 0},
        {"faults": FaultRules(spans=(FaultSpan(0, 1, {"nosuch": 0.1}),))},
        {"latency": Latency(Uniform(1, 0))},
        {"answers": AnswerStyle(sigma=-1)},
        {"answers": AnswerStyle(median_tokens=0)},
        {"faults": FaultRules({"nosuch": 0.1})},
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        SimulatorOptions(**options)


def test_keys_do_not_show_in_the_options() -> None:
    assert "sk-right" not in repr(SimulatorOptions(api_keys=("sk-right",)))
