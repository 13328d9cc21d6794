"""Owns a list of a content API that an adapter describes: by cursor, by page number or offset, or all at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner.content.calls import MOST_PAGES
from runner.content.described import compile_request
from runner.endpoints.found import as_word, find_in, itself
from runner.endpoints.tree import is_true
from runner.errors import InvalidResponseError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runner.content.calls import Caller
    from runner.content.described import Context


class Listing:
    """A compiled list; `reads` are the names that its request looks up."""

    def __init__(self, caller: Caller, spec: Mapping[str, Any], where: tuple[str, ...]) -> None:
        self._caller = caller
        self._request = compile_request(spec, where)
        self._items, self._next = find_in(spec, "items", itself), find_in(spec, "next")
        self._items_text = spec["items"] or "@"
        self._has_next = spec["next"] is not None
        self._first_page: int = spec["first_page"]
        self.reads = self._request.reads

    async def read(self, context: Context, id_of: Callable[[Any], str | None]) -> dict[str, Any]:
        """Return all items by id, each once; what has no id is left out. Raises RequestError, TemplateError."""
        found: dict[str, Any] = {}
        place: dict[str, Any] = {"cursor": None, "page": self._first_page, "offset": 0}
        for _ in range(MOST_PAGES):
            answer = await self._caller.ask(*self._request.fill({**context, **place}))
            entries = self._items(answer)
            if not isinstance(entries, list):
                raise self._problem(f"`{self._items_text}` finds no list in the answer")
            known = len(found)
            for entry in entries:
                if (identity := id_of(entry)) is not None:
                    found.setdefault(identity, entry)
            following = self._following(answer, entries, place)
            if following is None:
                return found
            if (entries and len(found) == known) or (self._by_cursor and following["cursor"] == place["cursor"]):
                raise self._problem("the pages of the list repeat themselves")
            place = following
        raise self._problem(f"the list has more than {MOST_PAGES:,} pages")

    @property
    def _by_cursor(self) -> bool:
        return "cursor" in self.reads

    def _following(self, answer: Any, entries: list[Any], place: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return where the next page begins; null where this was the last one."""
        after = self._next(answer)
        if self._by_cursor:
            ended = not as_word(after)
        else:
            ended = not entries or self.reads.isdisjoint({"page", "offset"}) or (self._has_next and not is_true(after))
        if ended:
            return None
        return {"cursor": as_word(after), "page": place["page"] + 1, "offset": place["offset"] + len(entries)}

    def _problem(self, message: str) -> InvalidResponseError:
        return InvalidResponseError(f"{self._request.where}: {message}")
