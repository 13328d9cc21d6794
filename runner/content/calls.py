"""Owns one call of a content API: sent, judged and sent again by the run's retry policy; and lists, page by page."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlencode

import anyio
import orjson

from runner.errors import ConnectError, InvalidResponseError, OverloadError, RateLimitError, RequestError
from runner.jsontext import loads
from runner.retry import History, Retry, classify_status, decide
from runner.retry import error_in_body as usual_error_in_body

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from runner.records import Response
    from runner.retry import RetryPolicy
    from runner.transport import Transport, Upload

_T = TypeVar("_T")
MOST_PAGES = 1000
_LONGEST_ID = 512
NOT_THERE = frozenset({404, 410})
# After these nothing can have been stored: the request did not arrive, or was turned away at the door.
NOTHING_DONE = (ConnectError, RateLimitError, OverloadError)


class Caller:
    """Sends calls to one server. Raises RequestError for what retries do not mend.

    `refine` and `error_in_body` are the server's own way to see errors, as `Endpoint` has them.
    """

    def __init__(
        self,
        transport: Transport,
        policy: RetryPolicy,
        refine: Callable[[RequestError, bytes], RequestError] | None = None,
        error_in_body: Callable[[Any], RequestError | None] | None = None,
    ) -> None:
        self._transport = transport
        self._policy = policy
        self._refine = refine
        self._error_in_body = error_in_body or usual_error_in_body
        self._answered = False

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return the object at a path."""
        whole = f"{path}?{urlencode(query)}" if query else path
        return await self._object(lambda transport: transport.get(whole))

    async def pages(self, path: str, query: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return all objects of a list, each once, whose pages are named by the last id of the page before."""
        found: dict[str, dict[str, Any]] = {}
        after: dict[str, str] = {}
        for _ in range(MOST_PAGES):
            page = await self.get(path, {**query, **after})
            entries = page.get("data")
            if not isinstance(entries, list):
                raise InvalidResponseError(f"{path}: the answer is no list of objects")
            known, last = len(found), None
            for entry in entries:
                last = id_of(entry) or last
                if isinstance(entry, dict) and (own := id_of(entry)) is not None:
                    found.setdefault(own, entry)
            if page.get("has_more") is not True:
                return list(found.values())
            if len(found) == known or last is None:
                raise InvalidResponseError(f"{path}: the pages of the list repeat themselves")
            after = {"after": last}
        raise InvalidResponseError(f"{path}: the list has more than {MOST_PAGES:,} pages")

    async def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send an object, again where needed: only for what may be done twice."""
        data = orjson.dumps(body)
        return await self._object(lambda transport: transport.post(path, data))

    async def post_once(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send an object; again only where the server certainly did nothing with it."""
        data = orjson.dumps(body)
        return await self._object(lambda transport: transport.post(path, data), only_after=NOTHING_DONE)

    async def delete(self, path: str) -> bool:
        """Delete what is at a path; false where nothing was."""
        try:
            await self._object(lambda transport: transport.delete(path))
        except RequestError as error:
            if error.http_status in NOT_THERE:
                return False
            raise
        return True

    async def upload(self, path: str, upload: Upload) -> dict[str, Any]:
        """Send a file, again even if it may have come: one that nothing refers to is found by no search."""
        return await self._object(lambda transport: transport.upload(path, upload))

    async def ask(self, method: str, path: str, body: bytes | None) -> Any:
        """Return the JSON value that a request is answered with; null for an empty body. It may be sent again."""
        return await self.repeated(lambda transport: transport.send(method, path, body), self.value)

    async def tell(self, method: str, path: str, body: bytes | None) -> None:
        """Send a request whose answer does not matter beyond its status. It may be sent again."""
        await self.repeated(lambda transport: transport.send(method, path, body), self.said)

    async def repeated(
        self,
        send: Callable[[Transport], Awaitable[Response]],
        read: Callable[[Response], _T],
        unless: Callable[[], Awaitable[_T | None]] | None = None,
        only_after: tuple[type[RequestError], ...] = (RequestError,),
    ) -> _T:
        """Send until an answer can be read, as long as the policy says and errors are of `only_after`.

        Where something may have been done although no answer came, `unless` is asked first: what it returns stands for
        the answer, and null lets the request be sent again.
        """
        history = History(first_sent_at=time.monotonic())
        while True:
            try:
                return read(await send(self._transport))
            except RequestError as error:
                now, chance = time.monotonic(), random.random()  # noqa: S311 - jitter
                decision = decide(error, history, self._policy, now=now, random=chance)
                if not isinstance(decision, Retry) or not isinstance(error, only_after):
                    raise
                certain = isinstance(error, NOTHING_DONE)
            history = decision.history
            await anyio.sleep(decision.wait_s)
            if unless is not None and not certain and (done := await unless()) is not None:
                return done

    def value(self, response: Response) -> Any:
        """Return the JSON value of an answer; null for an empty body. Raises RequestError for what is no success."""
        self._check_status(response)
        if not response.body.strip():
            return None
        try:
            value, _ = loads(response.body)
        except ValueError as error:
            raise InvalidResponseError(f"HTTP {response.http_status}: the body is no JSON ({error})"[:300]) from error
        wrong = self._error_in_body(value)
        if wrong is not None:
            raise wrong
        self._answered = True
        return value

    def said(self, response: Response) -> Any:
        """Return what `value` returns; null also for a body that is no JSON."""
        try:
            return self.value(response)
        except InvalidResponseError:
            return None

    async def _object(
        self,
        send: Callable[[Transport], Awaitable[Response]],
        only_after: tuple[type[RequestError], ...] = (RequestError,),
    ) -> dict[str, Any]:
        return await self.repeated(send, self._read_object, only_after=only_after)

    def _read_object(self, response: Response) -> dict[str, Any]:
        value = self.value(response)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise InvalidResponseError(f"HTTP {response.http_status}: the body is no JSON object")
        return value

    def _check_status(self, response: Response) -> None:
        refused = classify_status(
            response.http_status,
            response.headers,
            response.body,
            answered_before=self._answered,
            now=datetime.now(UTC),
        )
        if refused is not None:
            raise refused if self._refine is None else self._refine(refused, response.body)


def segment(identity: str) -> str:
    """Return an id as one segment of a path, whatever is in it."""
    return quote(identity, safe="")


def id_of(entry: Any) -> str | None:
    """Return the id of an object; null where it has none that can stand in a path."""
    return usable_id(entry.get("id")) if isinstance(entry, dict) else None


def usable_id(identity: Any) -> str | None:
    """Return an id; null for what is none, and for one that cannot stand in a path."""
    if not isinstance(identity, str) or not identity.strip(".") or len(identity) > _LONGEST_ID:
        return None
    return identity if identity.isprintable() else None
