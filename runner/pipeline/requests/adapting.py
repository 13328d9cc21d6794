"""Owns what a run has learnt of its server's parameters, and what becomes of its requests by that.

Everything here is a decision; nothing waits or sends. Where there is no lesson, since the request would no longer be
the one that was asked for, the run stops. Keys and digests of rows stay those of the request as configured.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import orjson

from runner.digest import digest128
from runner.errors import MissingChoiceError, UnsupportedError, kind_of
from runner.pipeline.requests.lessons import (
    CHAT_ENDPOINTS,
    REPEAT,
    Lesson,
    adapt,
    lesson_for,
    lessons_from_json,
    lessons_to_json,
    prompts_in,
)
from runner.retry import find_refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.config import RunConfig
    from runner.endpoints import Endpoint
    from runner.pipeline.requests.prepare import Prepared
    from runner.records import Request, Response
    from runner.redaction import Redactor
    from runner.retry import Refusal

_MISSING = kind_of(MissingChoiceError)


@dataclass(slots=True)
class Adapting:
    """What a run has learnt of its server's parameters so far.

    `accepted` says that an answer has come to a request with all of them; `watches_choices`, that no answer has shown
    yet whether the server heeds `n`. `mixed` rows bring parameters of their own (OpenAI Batch lines).
    """

    endpoint: Endpoint
    stops: bool
    repeats: int
    mixed: bool = False
    accepted: bool = False
    watches_choices: bool = True
    lessons: list[Lesson] = field(default_factory=list)
    _said: int = 0

    def learn(self, request: Request, response: Response | None) -> list[Lesson] | UnsupportedError | None:
        """Return what a failed answer teaches: lessons (also known ones), why the run stops, or null: nothing."""
        if response is None:
            return None
        refusal = find_refusal(response.http_status, response.body, request.body)
        if refusal is None:
            return None
        if self.stops:
            return _refused(refusal.names[0], refusal, "on_unsupported: fail stops at the first refusal")
        sent = orjson.loads(request.body)
        taught: list[Lesson] = []
        for name in refusal.names:
            lesson = self._known(name) or lesson_for(name, refusal, self.endpoint, sent, self.lessons)
            if lesson is None:
                # A server that took it before, or rows that each ask something else: then it is about this row.
                return None if self.accepted or self.mixed else _refused(name, refusal, _WHY_NOT)
            taught.append(lesson)
        fresh = [lesson for lesson in taught if lesson not in self.lessons]
        if not fresh and not self._changes(request):
            return None
        self.lessons += fresh
        return taught

    def watches(self, request: Request) -> bool:
        """Say whether an accepted answer to a request may be news."""
        return not self.accepted or (self.watches_choices and request.choices > 1)

    def learn_choices(self, request: Request, response: Response | None) -> int | None:
        """Return how many choices an accepted answer has, where it has too few of them and that is news.

        Only answers until the first that has all of them are looked at, and only a gap at the end is made good.
        """
        if response is None or request.choices < 2 or request.of_choices or not self._can_split(request):  # noqa: PLR2004
            return None
        try:
            outputs = self.endpoint.parse(response.body, 1, request.choices).outputs[0]
        except Exception:  # noqa: BLE001 - the answer is not in the journal yet: nothing here may keep it from there
            return None
        came = [output.error_kind != _MISSING for output in outputs]
        count = sum(came)
        if count >= request.choices:
            self.watches_choices = False
            return None
        if not count or not all(came[:count]):
            return None
        if not self.stops and self._known("n") is None:
            said = f"an answer to n: {request.choices} had {count} choice{'s' if count > 1 else ''}"
            self.lessons.append(Lesson("n", REPEAT, said))
        return count

    def requests(self, request: Request) -> list[Request]:
        """Return what is sent in place of a request, with all that was learnt: one, or one for each choice."""
        body = orjson.loads(request.body)
        if self._known("n") and request.choices > 1 and self._can_split(request):
            parts = [one_choice(request, choice, self.repeats, self.endpoint) for choice in range(request.choices)]
        else:
            parts = [request]
        lessons = [lesson for lesson in self.lessons if lesson.action != REPEAT or body.get("n") == 1]
        return [_adapted(part, lessons, self.endpoint) for part in parts]

    def missing(self, request: Request, came: int) -> list[Request]:
        """Return the requests for the choices of a case from number `came` on."""
        return [one_choice(request, choice, self.repeats, self.endpoint) for choice in range(came, request.choices)]

    def unsaid(self) -> list[Lesson]:
        """Return the lessons since the last call."""
        fresh, self._said = self.lessons[self._said :], len(self.lessons)
        return fresh

    def _known(self, name: str) -> Lesson | None:
        return next((lesson for lesson in self.lessons if lesson.param == name), None)

    def _changes(self, request: Request) -> bool:
        return [part.body for part in self.requests(request)] != [request.body]

    def _can_split(self, request: Request) -> bool:
        return _can_split(request, orjson.loads(request.body), self.endpoint)


def adapting_for(prepared: Prepared, known: Mapping[str, Any]) -> Adapting | None:
    """Return what a session begins with, `known` being the manifest's capabilities; null where there are no parameters.

    A run that asks with nothing but its content cannot be refused a parameter, and pays nothing for this.
    """
    plan = prepared.plan
    if not prepared.parameters and not plan.ready_made:
        return None
    if plan.packing is not None or plan.endpoint.parse_exchange is not None:  # these find out in their own way
        return None
    adapting = Adapting(
        plan.endpoint, stops=fails(prepared.config), repeats=plan.repeats, mixed=plan.ready_made, lessons=[]
    )
    adapting.accepted = known.get("accepted") is True and not plan.ready_made
    adapting.lessons = [] if adapting.stops else list(lessons_from_json(known.get("parameters")))
    adapting.unsaid()
    return adapting


def fails(config: RunConfig) -> bool:
    """Say whether a run stops at the first parameter that its server does not take."""
    return config.request.on_unsupported == "fail"


def one_choice(request: Request, choice: int, repeats: int, endpoint: Endpoint) -> Request:
    """Return the request for one choice of a case.

    A seed is moved on by `repeats` for each choice, since the repeats of a sample have taken the steps of one.
    """
    body = orjson.loads(request.body)
    body.pop("n", None)
    if type(body.get("seed")) is int:
        body["seed"] += choice * repeats
    encoded = _encode(body)
    return replace(
        request,
        key=choice_key(request.key, choice),
        body=encoded,
        choices=1,
        reserve_tokens=endpoint.reserve_tokens(body, len(encoded)),
        answer_tokens=endpoint.reserve_tokens(body, 0),
        first_choice=choice,
        of_choices=request.choices,
    )


def choice_key(key: bytes, choice: int) -> bytes:
    """Return what names the request for one choice of a case; for the first it is the case's own key."""
    return digest128(b"choice" + key + choice.to_bytes(4, "little")) if choice else key


def note_lessons(capabilities: dict[str, Any], adapting: Adapting, redactor: Redactor) -> None:
    """Put what was learnt into a manifest's capabilities."""
    if adapting.lessons:
        capabilities["parameters"] = lessons_to_json(adapting.lessons, redactor.text)
    if adapting.accepted and not adapting.mixed:
        capabilities["accepted"] = True


def too_few(came: int, request: Request) -> UnsupportedError:
    """Return the error that stops a run whose server does not heed `n`."""
    return UnsupportedError(
        f"the server does not heed the parameter n: an answer to n: {request.choices} had {came} choices",
        hint="what came is kept; request.on_unsupported: adapt, in a new run, asks for each choice by itself",
    )


_WHY_NOT = "without it the request would be another one"


def _refused(name: str, refusal: Refusal, why: str) -> UnsupportedError:
    return UnsupportedError(
        f"the server does not support the parameter {name} ({refusal.said})",
        hint=f"{why}; remove it from the request, or use a server that takes it",
    )


def _adapted(request: Request, lessons: list[Lesson], endpoint: Endpoint) -> Request:
    body = orjson.loads(request.body)
    adapted = adapt(body, lessons)
    if adapted == body:
        return request
    encoded = _encode(adapted)
    return replace(
        request,
        body=encoded,
        reserve_tokens=endpoint.reserve_tokens(adapted, len(encoded)),
        answer_tokens=endpoint.reserve_tokens(adapted, 0),
        unbounded=endpoint.longest_answer(adapted) is None,
    )


def _can_split(request: Request, body: Mapping[str, Any], endpoint: Endpoint) -> bool:
    """Say whether a request's choices can be asked for one by one: one case, one prompt, and `n` alone counts them."""
    if len(request.cases) != 1 or endpoint.name not in {*CHAT_ENDPOINTS, "completions"}:
        return False
    return body.get("n") == request.choices and prompts_in(body) == 1


def _encode(body: Mapping[str, Any]) -> bytes:
    return orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
