"""Owns how a key goes out: in a header, in the query, or as a password; and which texts must never come back."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Auth:
    """Where a key stands in a request.

    `kind` is bearer, header, query, basic or none. `name` is the header's or the query parameter's, `prefix` stands
    before the key in a header. With basic, the key is the password of `user`; without a user it is `user:password`.
    """

    kind: str = "bearer"
    name: str = ""
    prefix: str = ""
    user: str | None = None


BEARER = Auth()


def auth_headers(auth: Auth, key: str | None) -> dict[str, str]:
    """Return the headers that carry a key; none without one."""
    if not key or auth.kind in {"query", "none"}:
        return {}
    if auth.kind == "header":
        return {auth.name: auth.prefix + key}
    if auth.kind == "basic":
        return {"Authorization": f"Basic {base64.b64encode(_pair(auth, key).encode()).decode()}"}
    return {"Authorization": f"Bearer {key}"}


def auth_query(auth: Auth, key: str | None) -> dict[str, str]:
    """Return the query parameter that carries a key; none without one."""
    return {auth.name: key} if key and auth.kind == "query" else {}


def secrets_of(auth: Auth, key: str | None) -> list[str]:
    """Return every text that is to be kept out of what is written: the key, and what else can be told from it."""
    if not key:
        return []
    if auth.kind != "basic":
        return [key]
    pair = _pair(auth, key)
    return [key, pair, pair.partition(":")[2], base64.b64encode(pair.encode()).decode()]


def query_of(body: bytes) -> list[tuple[str, str]]:
    """Return a JSON object as query parameters, for a request without a body: lists repeat, null is left out."""
    values: dict[str, Any] = orjson.loads(body)
    pairs = []
    for name, value in values.items():
        pairs += [(name, _plain(one)) for one in (value if isinstance(value, list) else [value]) if one is not None]
    return pairs


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _pair(auth: Auth, key: str) -> str:
    return key if auth.user is None else f"{auth.user}:{key}"
