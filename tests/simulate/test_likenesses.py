from __future__ import annotations

import aiohttp
import orjson
import pytest

from runner.errors import UsageError
from runner.simulate import LIKENESSES, likeness, open_simulator

HELLO = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1})


@pytest.mark.asyncio
@pytest.mark.parametrize("name", LIKENESSES)
async def test_every_kind_of_server_answers_and_its_books_name_its_limits(name: str) -> None:
    options = likeness(name)
    async with open_simulator(options) as simulator, aiohttp.ClientSession() as session:
        async with session.post(f"{simulator.base_url}/chat/completions", data=HELLO) as response:
            answer = await response.json()
            told = {key.lower() for key in response.headers if "ratelimit" in key.lower()}
        async with session.get(simulator.base_url.replace("/v1", "/_ledger/rates")) as response:
            rates = await response.json()
    assert answer["choices"]
    assert rates["limits"].keys() == options.limits.per_minute.keys()
    assert bool(told) is bool(options.limits.per_minute)


@pytest.mark.asyncio
async def test_the_books_are_served_by_span_and_by_second() -> None:
    async with open_simulator(likeness("anthropic")) as simulator, aiohttp.ClientSession() as session:
        root = simulator.base_url.removesuffix("/v1")
        async with session.post(f"{root}/v1/chat/completions", data=HELLO) as response:
            assert response.status == 200
        async with session.get(f"{root}/_ledger/rates?from_s=0&until_s=60") as response:
            limits = (await response.json())["limits"]
        assert [limits[name]["permitted"] for name in ("requests", "output_tokens")] == [1000, 90_000]
        assert limits["output_tokens"]["charged"] == 1
        async with session.get(f"{root}/_ledger/seconds") as response:
            seconds = (await response.json())["seconds"]
        assert (seconds[0]["requests"], sum(one["answered"] for one in seconds)) == (1, 1)
        for wrong in ("from_s=-1", "until_s=x", "from_s=1.5", "until_s="):
            async with session.get(f"{root}/_ledger/rates?{wrong}") as response:
                assert response.status == 400


def test_an_unknown_kind_of_server_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="cray") as caught:
        likeness("cray")
    assert caught.value.hint is not None
    assert "openai-tier1, azure, anthropic, vllm" in caught.value.hint
