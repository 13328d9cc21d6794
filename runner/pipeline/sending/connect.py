"""Owns the way from a config to open connections: the embedded server if there is one, and an HTTP session for each."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runner.engines import open_embedded
from runner.errors import UsageError
from runner.pipeline.requests.adapters import auth_of, secrets
from runner.pipeline.requests.prepare import server_names
from runner.redaction import Redactor
from runner.transport import Timeouts, TransportOptions, open_transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from runner.config import RunConfig
    from runner.endpoints.adapter import Adapter
    from runner.transport import Transport


@dataclass(frozen=True, slots=True)
class Connection:
    """One server: its name in the output, its share of the requests, and what they go through."""

    name: str
    weight: float
    transport: Transport


@contextlib.asynccontextmanager
async def connect(
    config: RunConfig, api_key: str | None, *, log_path: Path | None, adapter: Adapter | None = None
) -> AsyncIterator[Transport]:
    """Open what a config's requests go through, for the length of a run: of a pool its first server.

    Raises EngineError.
    """
    async with _base_urls(config, log_path) as urls, _open(config, api_key, urls[0], adapter) as transport:
        yield transport


@contextlib.asynccontextmanager
async def connect_all(
    config: RunConfig, api_key: str | None, *, log_path: Path | None, adapter: Adapter | None = None
) -> AsyncIterator[list[Connection]]:
    """Open every server of a config, each with connections of its own. Raises EngineError."""
    names, weights = server_names(config), _weights(config)
    async with contextlib.AsyncExitStack() as stack:
        urls = await stack.enter_async_context(_base_urls(config, log_path))
        opened = [await stack.enter_async_context(_open(config, api_key, url, adapter)) for url in urls]
        yield [Connection(*one) for one in zip(names, weights, opened, strict=True)]


def _open(
    config: RunConfig, api_key: str | None, base_url: str, adapter: Adapter | None
) -> contextlib.AbstractAsyncContextManager[Transport]:
    options = TransportOptions(
        base_url=base_url,
        api_key=api_key,
        headers={**(adapter.spec["headers"] if adapter else {}), **config.model.headers},
        timeouts=Timeouts(**config.request.timeout_s.model_dump()),
        method=adapter.method if adapter else "POST",
        auth=auth_of(adapter),
    )
    return open_transport(options, Redactor(secrets(adapter, api_key)))


@contextlib.asynccontextmanager
async def _base_urls(config: RunConfig, log_path: Path | None) -> AsyncIterator[list[str]]:
    if config.model.embedded is not None:
        async with open_embedded(
            config.model.embedded, log_path=log_path, embeddings=config.request.endpoint == "embeddings"
        ) as server:
            yield [server.base_url]
        return
    url = config.model.base_url
    if url is None:
        raise UsageError("model.base_url: missing")
    yield [url] if isinstance(url, str) else [one.url for one in url]


def _weights(config: RunConfig) -> list[float]:
    url = config.model.base_url
    return [one.weight for one in url] if isinstance(url, list) else [1.0]
