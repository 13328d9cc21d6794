"""Owns sending the requests of a probe: 15 at most, a few at a time, each bounded in time."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import anyio
import orjson

from runner.endpoints import ENDPOINTS
from runner.errors import NoChoicesError, RequestError
from runner.pipeline.probe.finding import NotAskedError
from runner.pipeline.probe.reading import limit_headers, read_value
from runner.retry import classify_status, error_in_body, find_refusal

if TYPE_CHECKING:
    from runner.records import Response
    from runner.transport import Transport

MOST_REQUESTS = 15
REQUEST_S = 10.0
ANSWER_TOKENS = 16
PROMPT = "Count from 1 to 100, with a space between the numbers."
OTHER_TOKENS_NAME = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}

_AT_ONCE = 4
_MOST_TRIES = 3


@dataclass(frozen=True, slots=True)
class Target:
    """What to ask: the model's name, the run's own endpoint and its path, and what it calls the longest answer."""

    model: str
    endpoint: str = "chat"
    path: str | None = None
    tokens_name: str = "max_tokens"


@dataclass(frozen=True, slots=True)
class Said:
    """What came of a request: an answer, or why there is none; `refused` names parameters and what was said of them."""

    response: Response | None
    error: RequestError | None = None
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def answer(self) -> Response | None:
        """The answer, where it is one."""
        return self.response if self.error is None else None


class Asker:
    """Sends requests and counts them.

    `tokens_name` is what the server calls the longest answer, as far as is known; `text` what a chat has answered.
    """

    def __init__(self, transport: Transport, target: Target) -> None:
        self._transport = transport
        self._slots = anyio.Semaphore(_AT_ONCE)
        self.target = target
        self.tokens_name = target.tokens_name if target.tokens_name in OTHER_TOKENS_NAME else "max_tokens"
        self.requests = 0
        self.latencies: list[float] = []
        self.limits: list[str] = []
        self.text = ""

    def path(self, endpoint: str) -> str:
        """Return where an endpoint is: the run's own path if it is the run's own."""
        own = {"logprobs": "chat", "loglikelihood": "completions"}.get(self.target.endpoint, self.target.endpoint)
        if self.target.path and endpoint == own:
            return self.target.path
        return ENDPOINTS[endpoint].path if endpoint in ENDPOINTS else f"/{endpoint}"

    async def get(self, path: str) -> Said:
        """Send one GET; its body is not judged."""
        return await self._send(path, None)

    async def ask(self, path: str, body: dict[str, Any]) -> Said:
        """Send one request and judge its answer; one that the bounds forbid is not sent."""
        encoded = orjson.dumps({"model": self.target.model, **body})
        said = await self._send(path, encoded)
        response = said.response
        if response is None or said.error is not None:
            refusal = find_refusal(response.http_status, response.body, encoded) if response else None
            return Said(response, said.error, dict.fromkeys(refusal.names, refusal.said) if refusal else {})
        trouble = None if body.get("stream") else _trouble(response)
        if trouble is None:
            self.latencies.append(response.latency_s)
        return Said(response, trouble)

    async def ask_without_refused(
        self, path: str, body: dict[str, Any], extras: dict[str, Any], *, anyway: bool = False
    ) -> Said:
        """Ask with parameters on trial; those that are refused by name are left out and the others asked again.

        `anyway` asks again also when none is left on trial.
        """
        refused: dict[str, str] = {}
        extras = dict(extras)
        for left in reversed(range(_MOST_TRIES)):
            said = await self.ask(path, body | extras)
            blamed = said.refused.keys() & extras.keys()
            refused |= {name: said.refused[name] for name in blamed}
            if not blamed or not left:
                break
            extras = {name: value for name, value in extras.items() if name not in blamed}
            if "logprobs" in blamed:
                extras.pop("top_logprobs", None)
            if not extras and not anyway:
                break
        return Said(said.response, said.error, refused)

    def bounded(self, prompt: str = PROMPT) -> dict[str, Any]:
        """Return the body of a short chat."""
        return {"messages": [{"role": "user", "content": prompt}], self.tokens_name: ANSWER_TOKENS}

    async def chat(self, extras: dict[str, Any], prompt: str = PROMPT) -> Said:
        """Ask a short chat with parameters on trial."""
        return await self.ask_without_refused(self.path("chat"), self.bounded(prompt), extras)

    async def _send(self, path: str, encoded: bytes | None) -> Said:
        if self.requests >= MOST_REQUESTS:
            return Said(None, NotAskedError(f"the {MOST_REQUESTS} requests were used up"))
        self.requests += 1
        async with self._slots:
            try:
                with anyio.fail_after(REQUEST_S):
                    sending = self._transport.get(path) if encoded is None else self._transport.post(path, encoded)
                    response = await sending
            except RequestError as error:
                return Said(None, error)
            except TimeoutError:
                return Said(None, NotAskedError(f"no answer within {REQUEST_S:g} s"))
        self.limits = limit_headers(response.headers) or self.limits
        now = datetime.now(UTC)
        refusal = classify_status(response.http_status, response.headers, response.body, answered_before=False, now=now)
        return Said(response, refusal)


def _trouble(response: Response) -> RequestError | None:
    """Say what keeps a 2xx from being an answer."""
    value = read_value(response)
    if value is None:
        return NoChoicesError(f"HTTP {response.http_status}: the answer is no JSON: {response.body[:60]!r}")
    if (error := error_in_body(value)) is not None:
        return error
    lists = (value.get(name) for name in ("choices", "data", "output")) if isinstance(value, dict) else ()
    if any(isinstance(one, list) and one for one in lists):
        return None
    return NoChoicesError("the server's 2xx answer has no answer in it", hint="is model.base_url the API's?")
