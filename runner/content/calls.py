"""Owns one call of a content API: sent, judged and sent again by the run's retry policy; and lists, page by page."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import anyio
import orjson

from runner.errors import ConnectError, InvalidResponseError, OverloadError, RateLimitError, RequestError
from runner.jsontext import loads
from runner.retry import History, Retry, classify_status, decide, error_in_body

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from runner.records import Response
    from runner.retry import RetryPolicy
    from runner.transport import Transport, Upload

_MOST_PAGES = 1000
_LONGEST_ID = 512
# After these nothing can have been stored: the request did not arrive, or was turned away at the door.
_NOTHING_DONE = (ConnectError, RateLimitError, OverloadError)


class Caller:
    """Sends calls to one server. Raises RequestError for what retries do not mend."""

    def __init__(self, transport: Transport, policy: RetryPolicy) -> None:
        self._transport = transport
        self._policy = policy
        self._answered = False

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return the object at a path."""
        whole = f"{path}?{urlencode(query)}" if query else path
        return await self._repeated(lambda: self._transport.get(whole))

    async def pages(self, path: str, query: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return all objects of a list, each once, whose pages are named by the last id of the page before."""
        found: dict[str, dict[str, Any]] = {}
        after: dict[str, str] = {}
        for _ in range(_MOST_PAGES):
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
        raise InvalidResponseError(f"{path}: the list has more than {_MOST_PAGES:,} pages")

    async def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send an object, again where needed: only for what may be done twice."""
        data = orjson.dumps(body)
        return await self._repeated(lambda: self._transport.post(path, data))

    async def post_once(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send an object; again only where the server certainly did nothing with it."""
        data = orjson.dumps(body)
        return await self._repeated(lambda: self._transport.post(path, data), only_after=_NOTHING_DONE)

    async def delete(self, path: str) -> bool:
        """Delete what is at a path; false where nothing was."""
        try:
            await self._repeated(lambda: self._transport.delete(path))
        except RequestError as error:
            if error.http_status == 404:  # noqa: PLR2004 - not found
                return False
            raise
        return True

    async def upload(self, path: str, upload: Upload) -> dict[str, Any]:
        """Send a file, again even if it may have come: one that nothing refers to is found by no search."""
        return await self._repeated(lambda: self._transport.upload(path, upload))

    async def _repeated(
        self, send: Callable[[], Awaitable[Response]], only_after: tuple[type[RequestError], ...] = (RequestError,)
    ) -> dict[str, Any]:
        history = History(first_sent_at=time.monotonic())
        while True:
            try:
                return self._read(await send())
            except RequestError as error:
                now, chance = time.monotonic(), random.random()  # noqa: S311 - jitter
                decision = decide(error, history, self._policy, now=now, random=chance)
                if not isinstance(decision, Retry) or not isinstance(error, only_after):
                    raise
            history = decision.history
            await anyio.sleep(decision.wait_s)

    def _read(self, response: Response) -> dict[str, Any]:
        status, now = response.http_status, datetime.now(UTC)
        refused = classify_status(status, response.headers, response.body, answered_before=self._answered, now=now)
        if refused is not None:
            raise refused
        try:
            value, _ = loads(response.body or b"{}")
        except ValueError as error:
            raise InvalidResponseError(f"HTTP {status}: the body is no JSON ({error})"[:300]) from error
        if not isinstance(value, dict):
            raise InvalidResponseError(f"HTTP {status}: the body is no JSON object")
        wrong = error_in_body(value)
        if wrong is not None:
            raise wrong
        self._answered = True
        return value


def segment(identity: str) -> str:
    """Return an id as one segment of a path, whatever is in it."""
    return quote(identity, safe="")


def id_of(entry: Any) -> str | None:
    """Return the id of an object; null where it has none that can stand in a path."""
    identity = entry.get("id") if isinstance(entry, dict) else None
    if not isinstance(identity, str) or not identity.strip(".") or len(identity) > _LONGEST_ID:
        return None
    return identity if identity.isprintable() else None
