"""Owns what makes a row a line of an OpenAI Batch input file, and what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

# The paths of the Batch API that we have an endpoint for, and the key each needs in its body (OpenAI's Batch guide).
_NEEDED: Final = {
    "/v1/chat/completions": "messages",
    "/v1/completions": "prompt",
    "/v1/embeddings": "input",
    "/v1/responses": None,
}


def is_batch_row(row: Mapping[str, Any]) -> bool:
    """Tell whether the row has the four keys of a Batch input line: custom_id, method, url and a body object."""
    return (
        isinstance(row.get("body"), dict)
        and isinstance(row.get("custom_id"), str)
        and isinstance(row.get("url"), str)
        and isinstance(row.get("method"), str)
    )


def check_batch_row(row: Mapping[str, Any]) -> str | None:
    """Return why a row for which `is_batch_row` holds cannot be sent, None where it can."""
    if not row["custom_id"]:
        return "custom_id is empty"
    if row["method"] != "POST":
        return f"method is {row['method']!r}, not 'POST'"
    if row["url"] not in _NEEDED:
        return f"url {row['url']!r} is none of {', '.join(_NEEDED)}"
    return _check_body(row["body"], _NEEDED[row["url"]])


def _check_body(body: Mapping[str, Any], needed: str | None) -> str | None:
    if not isinstance(body.get("model"), str) or not body["model"]:
        return "body has no model"
    if body.get("stream") not in {None, False}:
        return "body.stream is set; a batch line cannot stream"
    if needed and not body.get(needed):
        return f"body has no {needed}"
    return None
