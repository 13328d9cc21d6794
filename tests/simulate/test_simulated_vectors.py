"""Embeddings of the simulator: the vector depends on the input alone, and every fault does what it says."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import aiohttp
import numpy as np
import pytest

from runner.simulate import KINDS, SimulatorOptions, VectorStyle, open_simulator, vector_of
from runner.simulate.vectors import VECTOR_FAULTS

if TYPE_CHECKING:
    from runner.simulate import Simulator

pytestmark = pytest.mark.asyncio


async def ask(simulator: Simulator, given: Any, **params: Any) -> tuple[int, dict[str, Any]]:
    body = {"model": "m", "input": given, **params}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{simulator.base_url}/embeddings", json=body) as response,
    ):
        return response.status, await response.json()


def read(entry: dict[str, Any]) -> Any:
    found = entry["embedding"]
    return np.float32(found) if isinstance(found, list) else np.frombuffer(base64.b64decode(found), "<f4")


async def test_a_vector_depends_on_its_input_alone() -> None:
    async with open_simulator(SimulatorOptions()) as one, open_simulator(SimulatorOptions(seed=9)) as other:
        _, alone = await ask(one, "two")
        _, packed = await ask(other, ["one", "two"], encoding_format="base64")
        _, ids = await ask(one, [[1, 2], [3]])
        _, flat = await ask(one, [1, 2])
    assert (alone["object"], alone["model"], alone["usage"]) == (
        "list",
        "m",
        {"prompt_tokens": 1, "total_tokens": 1},
    )
    assert [entry["index"] for entry in packed["data"]] == [0, 1]
    assert isinstance(packed["data"][0]["embedding"], str)
    np.testing.assert_array_equal(read(alone["data"][0]), vector_of("two", 32))
    np.testing.assert_array_equal(read(packed["data"][1]), vector_of("two", 32))
    np.testing.assert_array_equal(read(ids["data"][0]), read(flat["data"][0]))
    assert ids["usage"]["total_tokens"] == 3
    assert np.linalg.norm(vector_of("two", 32)) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("given", "params"),
    [
        (None, {}),
        ("", {}),
        ([], {}),
        (["a", ""], {}),
        (["a", 1], {}),
        ([["a"]], {}),
        ([[]], {}),
        (5, {}),
        (["a"] * 2049, {}),
        ("a", {"dimensions": 0}),
        ("a", {"encoding_format": "int8"}),
    ],
)
async def test_what_is_wrong_is_refused(given: Any, params: dict[str, Any]) -> None:
    async with open_simulator(SimulatorOptions()) as simulator:
        status, body = await ask(simulator, given, **params)
    assert (status, body["error"]["type"]) == (400, "invalid_request_error")


async def test_dimensions_and_styles() -> None:
    options = SimulatorOptions(vectors=VectorStyle(dimensions=5))
    async with open_simulator(options) as simulator:
        assert len(read((await ask(simulator, "a"))[1]["data"][0])) == 5
        assert len(read((await ask(simulator, "a", dimensions=9))[1]["data"][0])) == 9
        simulator.change(replace(options, vectors=VectorStyle(base64="ignore")))
        _, body = await ask(simulator, "a", encoding_format="base64")
        assert isinstance(body["data"][0]["embedding"], list)
        simulator.change(replace(options, vectors=VectorStyle(base64="refuse")))
        assert [(await ask(simulator, "a", encoding_format=one))[0] for one in ("base64", "float")] == [400, 200]
        simulator.change(replace(options, vectors=VectorStyle(most_inputs=2)))
        assert [(await ask(simulator, ["a"] * count))[0] for count in (2, 3)] == [200, 413]
        simulator.change(replace(options, vectors=VectorStyle(most_bytes=60)))
        assert [(await ask(simulator, "a" * count))[0] for count in (5, 200)] == [200, 413]


async def test_a_marker_in_one_input_strikes_the_whole_request() -> None:
    async with open_simulator(SimulatorOptions()) as simulator:
        assert (await ask(simulator, ["a", "b [[fault:400]]", "c"]))[0] == 400
        assert (await ask(simulator, ["a", "c"]))[0] == 200


FAULTS = {
    "shuffled": lambda data: [entry["index"] for entry in data] == [3, 2, 1, 0],
    "missing_index": lambda data: [entry["index"] for entry in data] == [0, 2, 3],
    "no_index": lambda data: [entry.get("index") for entry in data] == [0, None, 2, 3],
    "duplicate_index": lambda data: [entry["index"] for entry in data] == [0, 0, 2, 3],
    "index_beyond": lambda data: [entry["index"] for entry in data] == [0, 4, 2, 3],
    "wrong_length": lambda data: [len(read(entry)) for entry in data] == [32, 33, 32, 32],
    "empty_vector": lambda data: [len(read(entry)) for entry in data] == [32, 0, 32, 32],
    "nan_vector": lambda data: [int(np.isfinite(read(entry)).sum()) for entry in data] == [32, 30, 32, 32],
    "broken_base64": lambda data: data[1]["embedding"].startswith("?"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_faults_strike_the_marked_input(fault: str) -> None:
    async with open_simulator(SimulatorOptions()) as simulator:
        given = ["a", f"b [[fault:{fault}]]", "c", "d"]
        status, body = await ask(simulator, given, encoding_format="base64")
    assert status == 200
    assert FAULTS[fault](body["data"])


async def test_every_fault_of_vectors_is_tested_and_known() -> None:
    assert FAULTS.keys() == VECTOR_FAULTS.keys()
    assert VECTOR_FAULTS.keys() <= KINDS
