"""Owns a server's side of Cohere's `POST /v2/embed`, as its API reference has it: what it refuses, and its answers.

Source: Cohere API reference, "Embed API (v2)": `texts` (96 at most), `model`, `input_type` and `embedding_types` in;
`embeddings` by type, `texts` and `meta.billed_units.input_tokens` out; an error is an object with a `message`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner.simulate import vector_of
from tests.support.vendors import says

if TYPE_CHECKING:
    from tests.support.odd_server import Reply
    from tests.support.vendors import Seen

DIMENSIONS = 8
MOST_TEXTS = 96
POISON = "[[poison]]"
_FIELDS = {"texts", "model", "input_type", "embedding_types", "output_dimension", "truncate", "max_tokens"}
_REQUIRED = {"model", "input_type", "embedding_types"}


def embed(seen: Seen) -> Reply:
    """Answer a request."""
    refusal = _refusal(seen)
    if refusal is not None:
        return says({"id": "e-0", "message": refusal[1]}, refusal[0])
    return says(answer_to(seen.body["texts"]))


def answer_to(texts: list[str]) -> dict[str, Any]:
    """Return the body of an answer; a word is a token."""
    return {
        "id": "e-1",
        "embeddings": {"float": [vector_of(text, DIMENSIONS) for text in texts]},
        "texts": texts,
        "meta": {
            "api_version": {"version": "2"},
            "billed_units": {"input_tokens": sum(len(text.split()) for text in texts)},
        },
        "response_type": "embeddings_by_type",
    }


def _refusal(seen: Seen) -> tuple[int, str] | None:
    if (seen.method, seen.path) != ("POST", "/v2/embed"):
        return 404, f"no route for {seen.method} {seen.path}"
    if not seen.headers.get("authorization", "").startswith("Bearer "):
        return 401, "no api key supplied"
    body = seen.body
    texts = body.get("texts")
    of_texts = isinstance(texts, list) and all(isinstance(text, str) and text for text in texts)
    checks = (
        (bool(body.keys() - _FIELDS), "unknown field"),
        (bool(_REQUIRED - body.keys()), "a required field is missing"),
        (not of_texts, "invalid type: parameter texts is of type array of string"),
        (of_texts and len(texts) > MOST_TEXTS, f"total number of texts must be at most {MOST_TEXTS}"),
        (of_texts and any(POISON in text for text in texts), "a text cannot be embedded"),
    )
    return next(((400, f"invalid request: {message}") for wrong, message in checks if wrong), None)
