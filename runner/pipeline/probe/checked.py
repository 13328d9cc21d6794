"""Owns what a connection test leaves for later runs: its facts, in the user's cache, for a day; never a secret.

One small file for a server, model and path, in `evalrunner/checks` below $XDG_CACHE_HOME or ~/.cache. It may be missing
or gone at any time: a run only has less to say before it begins.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson

from runner.digest import digest_of
from runner.errors import UsageError
from runner.pipeline.requests.adapting import fails
from runner.pipeline.requests.prepare import server_names
from runner.pipeline.usercache import user_cache

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from runner.config import RunConfig
    from runner.pipeline.probe import Probe
    from runner.pipeline.requests.prepare import Prepared

_FRESH = timedelta(hours=24)
_MAX_BYTES = 1 << 20
_CHAT = frozenset({"chat", "logprobs"})
_FACT_OF_ENDPOINT = {"loglikelihood": "echo", "logprobs": "logprobs"}
_TRIED_BY_NAME = ("temperature", "top_p", "stop", "seed", "response_format", "tools")


def remember_check(config: RunConfig, found: Probe, now: datetime) -> None:
    """Leave the facts of a test that ended well; where the cache cannot be written, nothing is left."""
    path = _path(config)
    if path is None:
        return
    checks = [asdict(check) for check in found.checks]
    facts = {"checked_at": now.isoformat(timespec="seconds"), "facts": found.facts, "checks": checks}
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        staged = path.with_suffix(f".{os.getpid()}")
        staged.write_bytes(orjson.dumps(facts))
        staged.replace(path)


def recent_check(config: RunConfig, now: datetime) -> dict[str, Any] | None:
    """Return `checked_at` and `facts` of a test of the same server and model within the last day; null without one."""
    path = _path(config)
    try:
        if path is None or path.stat().st_size > _MAX_BYTES:
            return None
        found = orjson.loads(path.read_bytes())
        checked_at = datetime.fromisoformat(found["checked_at"]).astimezone(UTC)
        facts = found["facts"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not isinstance(facts, dict) or not timedelta(0) <= now - checked_at <= _FRESH:
        return None
    return {"checked_at": checked_at.isoformat(timespec="seconds"), "facts": facts}


def find_missing(facts: Mapping[str, Any], endpoint: str, parameters: Mapping[str, Any]) -> list[str]:
    """Return what requests with these parameters need and a test found missing, each in words.

    Only a plain no counts; what was not tested, or was unclear, is not held against the server.
    """
    missing = list(_missing_parameters(facts, parameters)) if endpoint in _CHAT else []
    if facts.get(_FACT_OF_ENDPOINT.get(endpoint, endpoint)) is False:
        missing.insert(0, f"the endpoint {endpoint}")
    return missing


def doubts_of(prepared: Prepared, check: Mapping[str, Any] | None) -> list[str]:
    """Return what to say before a run whose requests need what a recent test found missing."""
    if check is None:
        return []
    missing = find_missing(check["facts"], prepared.plan.endpoint.name, prepared.parameters)
    return [f"the server lacks {one}, as `evalrunner check` found at {check['checked_at']}" for one in missing]


def refuse_missing(prepared: Prepared, now: datetime) -> None:
    """Raise UsageError where `on_unsupported: fail` asks for what a recent test found missing."""
    doubts = doubts_of(prepared, recent_check(prepared.config, now)) if fails(prepared.config) else []
    if doubts:
        raise UsageError(
            "; ".join(doubts),
            hint="run `evalrunner check CONFIG` again if the server has changed, or set request.on_unsupported: adapt",
        )


def _missing_parameters(facts: Mapping[str, Any], parameters: Mapping[str, Any]) -> Iterator[str]:
    names = facts.get("max_tokens_names")
    for name, how in names.items() if isinstance(names, dict) else ():
        if name in parameters and how in ("refused", "ignored"):
            yield f"{name} (it is {how})"
    if parameters.get("logprobs") and facts.get("logprobs") is False:
        yield "logprobs"
    top, most = parameters.get("top_logprobs"), facts.get("top_logprobs")
    if type(top) is int and type(most) is int and parameters.get("logprobs") and top > most:
        yield f"top_logprobs: {top} (it gave {most})"
    n = parameters.get("n")
    if type(n) is int and n > 1 and facts.get("n") is False:
        yield f"n: {n}"
    for name in _TRIED_BY_NAME:
        if parameters.get(name) is not None and facts.get(name) is False:
            yield name


def _path(config: RunConfig) -> Path | None:
    if config.model.embedded is not None:
        return None
    cache = user_cache()
    if cache is None:
        return None
    name = digest_of([server_names(config)[0], config.model.name, config.model.path]).hex()
    return cache / "checks" / f"{name}.json"
