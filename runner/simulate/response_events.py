"""Owns the events of a streamed response, as OpenAI's Responses API sends them: typed, numbered, the whole at the end.

Texts, refusals, reasoning and arguments come word by word; of a text with log probabilities each piece is a token.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_WORD = re.compile(r"\s*\S+|\s+")
Event = dict[str, Any]


def events_of(response: dict[str, Any]) -> Iterator[Event]:
    """Yield the events of a response."""
    begun = {**response, "status": "in_progress", "incomplete_details": None, "output": []}
    begun.pop("usage", None)
    events: list[Event] = [{"type": f"response.{name}", "response": begun} for name in ("created", "in_progress")]
    for index, item in enumerate(response["output"]):
        events += ({**event, "output_index": index} for event in _events_of_item(item))
    events.append({"type": f"response.{response['status']}", "response": response})
    for number, event in enumerate(events):
        yield {**event, "sequence_number": number}


def _events_of_item(item: dict[str, Any]) -> Iterator[Event]:
    shell = {name: [] if isinstance(value, list) else value for name, value in item.items()}
    if "arguments" in item:
        shell["arguments"] = ""
    yield {"type": "response.output_item.added", "item": shell}
    of_item = {"item_id": item["id"]}
    for place, part in enumerate(item.get("content", ())):
        yield from ({**event, **of_item, "content_index": place} for event in _events_of_part(part))
    for place, part in enumerate(item.get("summary", ())):
        yield from ({**event, **of_item, "summary_index": place} for event in _events_of_summary(part))
    if "arguments" in item:
        yield from ({**event, **of_item} for event in _told("response.function_call_arguments", item["arguments"]))
    yield {"type": "response.output_item.done", "item": item}


def _events_of_part(part: dict[str, Any]) -> Iterator[Event]:
    kind = part["type"]
    field = "refusal" if kind == "refusal" else "text"
    empty = {**part, field: ""} | ({"logprobs": []} if "logprobs" in part else {})
    yield {"type": "response.content_part.added", "part": empty}
    told = list(_told(f"response.{kind}", part[field], field))
    entries = part.get("logprobs")
    if entries is not None:
        *deltas, done = told
        pieces = [(entry["token"], [entry]) for entry in entries] or [(delta["delta"], []) for delta in deltas]
        told = [{"type": f"response.{kind}.delta", "delta": text, "logprobs": own} for text, own in pieces]
        told.append({**done, "logprobs": entries})
    yield from told
    yield {"type": "response.content_part.done", "part": part}


def _events_of_summary(part: dict[str, Any]) -> Iterator[Event]:
    yield {"type": "response.reasoning_summary_part.added", "part": {**part, "text": ""}}
    yield from _told("response.reasoning_summary_text", part["text"], "text")
    yield {"type": "response.reasoning_summary_part.done", "part": part}


def _told(kind: str, text: str, field: str = "arguments") -> Iterator[Event]:
    yield from ({"type": f"{kind}.delta", "delta": word} for word in _WORD.findall(text))
    yield {"type": f"{kind}.done", field: text}
