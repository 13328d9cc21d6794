"""Owns the way from a config to an open connection: the embedded server if there is one, and the HTTP session."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from runner.engines import open_embedded
from runner.errors import NotAvailableError
from runner.pipeline.adapters import auth_of, secrets
from runner.redaction import Redactor
from runner.transport import Timeouts, TransportOptions, open_transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from runner.config import RunConfig
    from runner.endpoints.adapter import Adapter
    from runner.transport import Transport


@contextlib.asynccontextmanager
async def connect(
    config: RunConfig, api_key: str | None, *, log_path: Path | None, adapter: Adapter | None = None
) -> AsyncIterator[Transport]:
    """Open what a config's requests go through, for the length of a run. Raises EngineError."""
    async with _base_url(config, log_path) as base_url:
        options = TransportOptions(
            base_url=base_url,
            api_key=api_key,
            headers={**(adapter.spec["headers"] if adapter else {}), **config.model.headers},
            timeouts=Timeouts(**config.request.timeout_s.model_dump()),
            method=adapter.method if adapter else "POST",
            auth=auth_of(adapter),
        )
        async with open_transport(options, Redactor(secrets(adapter, api_key))) as transport:
            yield transport


@contextlib.asynccontextmanager
async def _base_url(config: RunConfig, log_path: Path | None) -> AsyncIterator[str]:
    if config.model.embedded is not None:
        async with open_embedded(
            config.model.embedded, log_path=log_path, embeddings=config.request.endpoint == "embeddings"
        ) as server:
            yield server.base_url
        return
    url = config.model.base_url
    if isinstance(url, list):
        if len(url) != 1:
            raise NotAvailableError("model.base_url: a pool of replicas is not available yet")
        url = url[0].url
    if url is None:
        raise NotAvailableError("model.base_url: missing")
    yield url
