from __future__ import annotations

import logging
import socket
import ssl
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import jsonschema
import pytest

from runner.notify import Target, deliver, payload_json_schema, render
from runner.notify import delivery as delivery_module
from runner.notify.message import EVENTS
from runner.notify.webhook import POLICY, TIMEOUTS, Course, post_webhook
from tests.support.receiver import Answer, receiving

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runner.notify import Message

# Of a library that one of apprise's plugins loads, where Python still has it.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

SECRET = "T0SECRETtoken/x9y8z7w6v5u4"
WEBHOOK = Target("webhook", "HOOK", frozenset(EVENTS))
CHAT = Target("apprise", "CHAT", frozenset(EVENTS))
QUICK = replace(POLICY, first_wait_s=0.001, max_wait_s=0.002)


def post(address: str, **changes: float) -> tuple[bool, Course]:
    course = Course()
    timeouts = replace(TIMEOUTS, **changes)

    async def send() -> bool:
        return await post_webhook(address, b"{}", course, policy=QUICK, timeouts=timeouts)

    return anyio.run(send, backend="asyncio"), course


def test_a_webhook_receives_the_message(night: Callable[..., Message]) -> None:
    with receiving() as receiver:
        (found,) = deliver([WEBHOOK], night(), environ={"HOOK": f"{receiver.url}/services/{SECRET}/?a=b%20c"})
    assert (found.label, found.ok, found.attempts, found.error) == ("webhook HOOK", True, 1, "")
    assert receiver.paths == [f"/services/{SECRET}/?a=b%20c"]
    jsonschema.validate(receiver.bodies[0], payload_json_schema())
    assert receiver.bodies[0]["text"].startswith("regression: main 2026-11-22\n1 of 1 configs is worse")
    assert receiver.headers[0]["Content-Type"] == "application/json"
    assert "Authorization" not in receiver.headers[0]


def test_user_and_password_of_an_address_are_sent_as_such(night: Callable[..., Message]) -> None:
    with receiving() as receiver:
        address = receiver.url.replace("://", "://me:longpassword@")
        (found,) = deliver([WEBHOOK], night(), environ={"HOOK": address})
    assert found.ok
    assert receiver.headers[0]["Authorization"].startswith("Basic ")


def test_a_place_is_told_of_its_events_only(night: Callable[..., Message]) -> None:
    quiet = Target("webhook", "HOOK", frozenset({"failure"}))
    with receiving() as receiver:
        assert deliver([quiet], night(), environ={"HOOK": receiver.url}) == []
        assert deliver([quiet], night(event="failure"), environ={"HOOK": receiver.url})[0].ok
    assert [body["event"] for body in receiver.bodies] == ["failure"]


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_passing_trouble_is_sent_again(status: int) -> None:
    with receiving(Answer(status), Answer(status, {"Retry-After": "0"}), Answer(204, body=b"")) as receiver:
        taken, course = post(receiver.url)
    assert (taken, course.attempts, len(receiver.bodies)) == (True, 3, 3)


def test_all_attempts_of_a_message_have_one_id(night: Callable[..., Message], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery_module, "post_webhook", lambda *given: post_webhook(*given, policy=QUICK))
    with receiving(Answer(500), Answer()) as receiver:
        (found,) = deliver([WEBHOOK], night(), environ={"HOOK": receiver.url})
    assert (found.ok, found.attempts) == (True, 2)
    assert len({body["id"] for body in receiver.bodies}) == 1


def test_attempts_are_bounded_however_passing_the_trouble_looks() -> None:
    with receiving(Answer(429, {"Retry-After": "0"}, b"slow down")) as receiver:
        taken, course = post(receiver.url)
    assert (taken, course.attempts, len(receiver.bodies)) == (False, 5, 5)
    assert course.error == "HTTP 429: slow down"


def test_a_wait_beyond_the_bound_is_not_waited_for() -> None:
    with receiving(Answer(429, {"Retry-After": "3600"})) as receiver:
        taken, course = post(receiver.url)
    assert (taken, course.attempts) == (False, 1)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 413, 422])
def test_a_refusal_is_not_sent_again(status: int) -> None:
    with receiving(Answer(status, body=b"invalid\x1b[2J_payload")) as receiver:
        taken, course = post(receiver.url)
    assert (taken, course.attempts, course.error) == (False, 1, f"HTTP {status}: invalid[2J_payload")


def test_a_redirect_is_not_followed() -> None:
    with receiving() as other, receiving(Answer(307, {"Location": f"{other.url}/elsewhere"})) as receiver:
        taken, course = post(receiver.url)
        assert other.bodies == []
    assert (taken, course.attempts, course.error) == (False, 1, "HTTP 307: a redirect, which is not followed")


def test_a_huge_answer_is_not_read() -> None:
    with receiving(Answer(body=b"x" * 10_000_000)) as receiver:
        taken, course = post(receiver.url)
    assert (taken, course.attempts) == (False, 1)
    assert course.error == "the answer is larger than 65,536 bytes; it may have been delivered"


def test_a_receiver_that_hangs_is_given_up() -> None:
    with receiving(Answer(hang=True)) as receiver:
        taken, course = post(receiver.url, total=0.05)
    assert (taken, course.attempts, course.error) == (False, 5, "no answer in time")


def test_the_whole_delivery_has_an_end_and_the_others_are_told(night: Callable[..., Message]) -> None:
    other = Target("webhook", "OTHER", frozenset(EVENTS))
    with receiving(Answer(hang=True)) as stuck, receiving() as receiver:
        found = deliver([WEBHOOK, other], night(), environ={"HOOK": stuck.url, "OTHER": receiver.url}, within_s=0.2)
    assert [(one.label, one.ok) for one in found] == [("webhook HOOK", False), ("webhook OTHER", True)]
    assert found[0].error == "given up after 0.2 s"


def test_nobody_there_is_told_without_the_address() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        taken, course = post(f"http://127.0.0.1:{bound.getsockname()[1]}/{SECRET}?token=abcdefgh1")
    assert (taken, course.attempts) == (False, 5)
    assert course.error.startswith("not connected: cannot connect: Connect")
    assert not any(part in course.error for part in ("SECRET", "x9y8z7w6v5u4", "abcdefgh1"))


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    request += ["-keyout", str(key), "-out", str(certificate), "-days", "1", "-subj", "/CN=127.0.0.1"]
    subprocess.run(request, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with receiving(tls=context) as receiver:
        taken, course = post(f"{receiver.url}/{SECRET}")
        assert receiver.bodies == []
    assert not taken
    assert course.error.startswith("not connected: TLS failed")
    assert "SECRET" not in course.error


def test_an_address_that_comes_back_is_not_passed_on() -> None:
    path = f"/services/{SECRET}"
    with receiving(Answer(404, body=f"no hook at {path} or x9y8z7w6v5u4".encode())) as receiver:
        _, course = post(receiver.url + path)
    assert course.error == "HTTP 404: no hook at [redacted] or [redacted]"


def test_what_is_not_set_is_told_and_nothing_is_raised(night: Callable[..., Message]) -> None:
    found = deliver([WEBHOOK, CHAT], night(), environ={})
    assert [(one.ok, one.attempts, one.error) for one in found] == [
        (False, 0, "the environment variable HOOK is not set"),
        (False, 0, "the environment variable CHAT is not set"),
    ]


def test_a_bug_is_told_by_its_kind_and_not_raised(
    night: Callable[..., Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError(SECRET)

    monkeypatch.setattr(delivery_module, "payload", broken)
    with receiving() as receiver:
        (found,) = deliver([WEBHOOK], night(), environ={"HOOK": receiver.url})
    assert (found.ok, found.error) == (False, "internal error: ZeroDivisionError")


def test_apprise_delivers_plain_text(night: Callable[..., Message]) -> None:
    with receiving() as receiver:
        port = receiver.url.rpartition(":")[2]
        (found,) = deliver([CHAT], night(), environ={"CHAT": f"json://127.0.0.1:{port}/hook"})
    assert (found.label, found.ok, found.error) == ("apprise CHAT", True, "")
    title, body = render(night())
    assert (receiver.bodies[0]["title"], receiver.bodies[0]["message"]) == (title, body)


def test_apprise_tells_every_service_and_logs_no_address(
    night: Callable[..., Message], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with receiving(Answer(403), Answer()) as receiver, caplog.at_level(logging.WARNING):
        port = receiver.url.rpartition(":")[2]
        addresses = f"json://user:hunter22secret@127.0.0.1:{port}/{SECRET}, json://127.0.0.1:{port}/b"
        (found,) = deliver([CHAT], night(), environ={"CHAT": addresses})
    assert (found.ok, found.error) == (False, "service 1 (NotifyJSON): HTTP 403")
    assert len(receiver.bodies) == 2
    printed = capfd.readouterr()
    for text in (printed.out, printed.err, caplog.text):
        assert not any(part in text for part in ("hunter22secret", "SECRET", "x9y8z7w6v5u4"))


def test_apprise_cannot_read_every_address(night: Callable[..., Message], capfd: pytest.CaptureFixture[str]) -> None:
    (found,) = deliver([CHAT], night(), environ={"CHAT": f"nosuch://{SECRET}"})
    assert (found.ok, found.error) == (False, "apprise cannot read an address in it")
    assert "SECRET" not in capfd.readouterr().err


def test_apprise_has_an_end_too(night: Callable[..., Message]) -> None:
    # The last test of apprise: the thread that it leaves behind holds the others up until the receiver is closed.
    with receiving(Answer(hang=True)) as receiver:
        port = receiver.url.rpartition(":")[2]
        (found,) = deliver([CHAT], night(), environ={"CHAT": f"json://127.0.0.1:{port}/"}, within_s=0.3)
    assert (found.ok, found.error) == (False, "given up after 0.3 s")
