"""Owns waiting for a server that is still starting: it refuses connections, or says that it loads."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import anyio

from runner.errors import ConnectError, RequestError, RunnerError
from runner.nightly.child import wait_for_any
from runner.pipeline.requests.prepare import read_api_key
from runner.pipeline.sending.connect import connect_all

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runner.config import RunConfig
    from runner.nightly.child import Stop
    from runner.pipeline.sending.connect import Connection

_LOADING = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT})
_ASK_S = 10.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.25, 15.0


async def wait_for_server(config: RunConfig, left_s: Callable[[], float], stop: Stop) -> float:
    """Wait until a server of the config answers anything but that it loads; return how long that took, in seconds.

    Gives up when no time is left, and where only the run itself can say what is wrong (no key): it will. An embedded
    model has no server to wait for. A server that takes a connection and says nothing is there.
    """
    if config.model.embedded is not None:
        return 0.0
    begun, wait_s = anyio.current_time(), _FIRST_WAIT_S
    try:
        async with connect_all(config, read_api_key(config), log_path=None) as connections:
            while not await _is_there(connections):
                if left_s() <= 0 or await wait_for_any(stop, min(wait_s, left_s())):
                    break
                wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
    except RunnerError:
        return 0.0
    return round(anyio.current_time() - begun, 3)


async def _is_there(connections: Sequence[Connection]) -> bool:
    for connection in connections:
        try:
            with anyio.fail_after(_ASK_S):
                response = await connection.transport.get("/models")
        except ConnectError:
            continue
        except (RequestError, TimeoutError):
            return True
        if response.http_status not in _LOADING:
            return True
    return False
