"""Owns sending log-likelihood requests: the form that the server knows is learnt once a session, before any sample.

What a sample asks for, the request that its key is made of, is one thing; what goes over the wire is another: one HTTP
request, or one for each continuation where the server refuses several prompts. All of a sample's answers are stored as
one record. Those that came before a trouble wait here for the sample's next attempt, and are not bought again.
"""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import anyio

from runner.digest import digest128
from runner.endpoints import FORMS, join_answers, judge_probe, next_forms, probe_body, wire_bodies
from runner.endpoints.likelihood_wire import Finding
from runner.errors import Action, BadRequestError, RequestError, UnsupportedError, kind_of
from runner.pipeline.sending.attempt import Outcome, Sent, attempt_of, judge
from runner.records import Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from runner.endpoints import Endpoint, Form
    from runner.limiter import Pool, Turn
    from runner.records import Attempt, Request, Response
    from runner.transport import Transport

# What the attempts that only ask for the form stand under in `attempts`; no row has this key.
PROBE_KEY = digest128(b"loglikelihood form")
_PROBE_TOKENS = 20
_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")


@dataclass(slots=True)
class Visit:
    """One attempt at a sample, at one server: its number, and the HTTP attempts before the last one, as they end.

    `waited_s` is how long it waited for the limiter between its requests.
    """

    turn: Turn
    number: int
    waited_s: float = 0.0
    earlier: list[Attempt] = field(default_factory=list)

    def note(self, request: Request, number: int, outcome: Outcome) -> None:
        """Note an HTTP attempt after which others follow."""
        sent = Sent(number, time.time(), self.turn.replica.name)
        self.earlier.append(attempt_of(request, sent, outcome, 0.0))


@dataclass(slots=True)
class LikelihoodSender:
    """Sends samples in the form that was learnt, taken to be that of every server; `form` is null until then."""

    transports: Sequence[Transport]
    endpoint: Endpoint
    pool: Pool
    form: Form | None = None
    _parts: dict[bytes, dict[int, Outcome]] = field(default_factory=dict)
    _alone: anyio.Lock = field(default_factory=anyio.Lock)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Hold while a sample is sent: alone, until the form is known."""
        if self.form is not None:
            yield
            return
        async with self._alone:
            yield

    async def send(self, request: Request, visit: Visit, *, answered_before: bool) -> Outcome:
        """Send a sample's request and judge what came back."""
        if self.form is None:
            trouble = await self._learn(request, visit)
            if trouble is not None:
                return trouble
        assert self.form is not None  # noqa: S101 - learnt above
        bodies = wire_bodies(request.body, self.form)
        if len(bodies) == 1:
            return await self._post(visit, request.path, bodies[0], answered_before=answered_before)
        return await self._send_each(request, bodies, visit, answered_before=answered_before)

    def forget(self, key: bytes) -> None:
        """Drop what is kept of a sample that has ended."""
        self._parts.pop(key, None)

    async def _learn(self, request: Request, visit: Visit) -> Outcome | None:
        """Find the form out; return the outcome that keeps it from being found, null once it is known."""
        left: tuple[Form, ...] = FORMS
        said: list[str] = []
        while self.form is None:
            form = left[0]
            outcome = await self._post(visit, request.path, probe_body(request.body, form), answered_before=False)
            finding, why = _finding(outcome, form)
            if finding is None:
                return outcome
            said.append(f"{form}: {why}")
            left = next_forms(left, finding)
            if finding is not Finding.WORKS and not left:
                return Outcome(outcome.response, _unsupported(said))
            visit.note(replace(request, key=PROBE_KEY, cases=()), 1, outcome)
            self.form = form if finding is Finding.WORKS else None
            await self._admit_next(visit, _PROBE_TOKENS)
        return None

    async def _send_each(
        self, request: Request, bodies: Sequence[bytes], visit: Visit, *, answered_before: bool
    ) -> Outcome:
        """Send the continuations one after the other; those that an earlier attempt brought are not sent again."""
        parts = self._parts.setdefault(request.key, {})
        last: Outcome | None = None
        for index, body in enumerate(bodies):
            if index in parts:
                continue
            if last is not None:
                visit.note(request, visit.number, last)
                await self._admit_next(visit, 0)
            last = await self._post(visit, request.path, body, answered_before=answered_before)
            if last.error is not None and last.error.action is not Action.END_ROW:
                return replace(last, so_far=_summed(list(parts.values()))) if parts else last
            parts[index] = last
        del self._parts[request.key]
        return _joined([parts[index] for index in range(len(bodies))])

    async def _admit_next(self, visit: Visit, tokens: int) -> None:
        visit.waited_s += await self.pool.admit_next(visit.turn, tokens)

    async def _post(self, visit: Visit, path: str, body: bytes, *, answered_before: bool) -> Outcome:
        try:
            response = await self.transports[visit.turn.replica.number].post(path, body)
        except RequestError as error:
            return Outcome(None, error)
        return judge(self.endpoint, response, answered_before=answered_before)


def sender_for(endpoint: Endpoint, transports: Sequence[Transport], pool: Pool) -> LikelihoodSender | None:
    """Return what sends requests of this endpoint; null for those that go out as they are."""
    return LikelihoodSender(transports, endpoint, pool) if endpoint.parse_exchange is not None else None


def _finding(outcome: Outcome, form: Form) -> tuple[Finding | None, str]:
    """Say what an attempt shows of a form; null where it shows a trouble that has nothing to do with it."""
    if outcome.error is None and outcome.response is not None:
        return judge_probe(outcome.response.body, form)
    if isinstance(outcome.error, BadRequestError):
        return Finding.REFUSED, outcome.error.message
    return None, ""


def _unsupported(said: Sequence[str]) -> UnsupportedError:
    return UnsupportedError(
        "the server gives no log probabilities of a prompt, which the endpoint loglikelihood needs; " + "; ".join(said),
        hint="vLLM, SGLang and llama-cpp-python (logits_all) have them; llama.cpp's own server ignores echo",
    )


def _joined(parts: Sequence[Outcome]) -> Outcome:
    """Return the answers to a sample's continuations as one; a failure alone where none was answered."""
    answered = [one.response for one in parts if one.error is None and one.response is not None]
    if not answered:
        return parts[0]
    bodies = [one.response.body if one.error is None and one.response else None for one in parts]
    failures = [(kind_of(type(one.error)), one.error.message) if one.error else None for one in parts]
    return Outcome(_in_place_of(answered, join_answers(bodies, failures)), None, _summed(parts))


def _in_place_of(answered: Sequence[Response], body: bytes) -> Response:
    return replace(
        answered[-1],
        body=body,
        started_at=answered[0].started_at,
        latency_s=sum(response.latency_s for response in answered),
    )


def _summed(parts: Sequence[Outcome]) -> Usage:
    counts = {name: [getattr(one.usage, name) for one in parts if one.error is None] for name in _COUNTS}
    return Usage(**{name: None if None in values else sum(values) for name, values in counts.items()})
