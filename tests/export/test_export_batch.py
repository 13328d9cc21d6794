"""Lines of an OpenAI Batch output file: each custom_id once, each with its own answer or its failure."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest

import runner
from runner.errors import RunFolderError, UsageError
from runner.export import Export, write_to_stream
from tests.support.odd_server import Reply, answering
from tests.support.runs import by_sample, config_for, questions, table, write_rows

if TYPE_CHECKING:
    from pathlib import Path

    from runner.simulate import Simulator
    from tests.support.odd_server import Call
    from tests.support.runs import Row

SAMPLES = 6


def lines(run_dir: Path) -> dict[str, Row]:
    """Return the lines by custom_id; each stands there once, as does each id."""
    stream = io.BytesIO()
    write_to_stream(Export(run_dir, "openai-batch"), stream)
    read = [orjson.loads(line) for line in stream.getvalue().splitlines()]
    assert all(list(line) == ["id", "custom_id", "response", "error"] for line in read)
    assert len({line["id"] for line in read}) == len({line["custom_id"] for line in read}) == len(read)
    return {line["custom_id"]: line for line in read}


def answered(simulator: Simulator, folder: Path, **sections: Any) -> Path:
    runner.run(
        config_for(simulator, write_rows(folder / "d.jsonl", questions(SAMPLES)), **sections), run_dir=folder / "run"
    )
    return folder / "run"


def test_a_batch_input_file_comes_back_as_a_batch_output_file(simulator: Simulator, tmp_path: Path) -> None:
    rows = [
        {
            "custom_id": row["id"],
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": "m", "messages": [{"role": "user", "content": row["question"]}]},
        }
        for row in questions(SAMPLES)
    ]
    rows[2]["body"]["messages"][0]["content"] += " [[fault:400]]"
    config = config_for(simulator, write_rows(tmp_path / "batch.jsonl", rows))
    del config["request"]["messages"], config["request"]["params"]
    config["dataset"] = {"path": str(tmp_path / "batch.jsonl")}
    runner.run(config, run_dir=tmp_path / "run")
    found, there = lines(tmp_path / "run"), by_sample(tmp_path / "run")
    assert set(found) == {row["custom_id"] for row in rows}
    for name, line in found.items():
        response = line["response"]
        assert (line["error"], response["status_code"]) == (None, 400 if name == "q2" else 200)
        if name != "q2":
            assert response["body"]["choices"][0]["message"]["content"] == there[name]["text"]
            assert response["body"]["usage"]["prompt_tokens"] == there[name]["prompt_tokens"]
    assert found["q2"]["response"]["body"]["message"] in there["q2"]["error_message"], "as the server wrote it"


def test_a_request_without_an_answer_has_an_error_and_no_response(simulator: Simulator, tmp_path: Path) -> None:
    rows = questions(SAMPLES)
    rows[1]["question"] += " [[fault:disconnect]]"
    rows[3]["question"] += " [[fault:502]]"
    config = config_for(simulator, write_rows(tmp_path / "d.jsonl", rows), retry={"max_attempts": 1})
    runner.run(config, run_dir=tmp_path / "run")
    found, there = lines(tmp_path / "run"), by_sample(tmp_path / "run")
    assert found["q1"]["response"] is None
    assert found["q1"]["error"] == {"code": "disconnect", "message": there["q1"]["error_message"]}
    assert (found["q3"]["error"], found["q3"]["response"]["status_code"]) == (None, 502)
    assert isinstance(found["q3"]["response"]["body"]["error"], dict), "whatever a proxy's page says"


def test_repeats_have_lines_of_their_own(simulator: Simulator, tmp_path: Path) -> None:
    found = lines(answered(simulator, tmp_path, request={"repeats": 2}))
    assert set(found) == {f"q{number}#{repeat}" for number in range(SAMPLES) for repeat in range(2)}


def test_choices_of_one_answer_stay_one_line(simulator: Simulator, tmp_path: Path) -> None:
    found = lines(answered(simulator, tmp_path, request={"params": {"n": 3, "temperature": 1}}))
    assert {len(line["response"]["body"]["choices"]) for line in found.values()} == {3}


def test_a_stream_comes_as_the_answer_that_it_was(simulator: Simulator, tmp_path: Path) -> None:
    run_dir = answered(simulator, tmp_path, request={"stream": True})
    there = by_sample(run_dir)
    for name, line in lines(run_dir).items():
        body = line["response"]["body"]
        assert body["choices"][0]["message"]["content"] == there[name]["text"]
        assert body["usage"]["completion_tokens"] == there[name]["completion_tokens"]


@pytest.mark.parametrize("inputs", ["{{ question }}", ["{{ question }}", "{{ answer }}"]])
def test_samples_that_shared_a_request_have_their_own_vectors(
    simulator: Simulator, tmp_path: Path, inputs: str | list[str]
) -> None:
    config = config_for(simulator, write_rows(tmp_path / "d.jsonl", questions(SAMPLES)))
    config["request"] = {"endpoint": "embeddings", "input": inputs, "batch_size": 4}
    runner.run(config, run_dir=tmp_path / "run")
    found, rows = lines(tmp_path / "run"), table(tmp_path / "run")
    assert len(found) == SAMPLES
    for name, line in found.items():
        own = [row for row in rows if row["sample_id"] == name]
        data = line["response"]["body"]["data"]
        assert [entry["index"] for entry in data] == [row["choice"] for row in own]
        for entry, row in zip(data, own, strict=True):
            assert np.float32(entry["embedding"]).tolist() == row["embedding"]
        assert line["response"]["body"]["usage"]["prompt_tokens"] == sum(row["prompt_tokens"] or 0 for row in own)


def test_choices_that_came_one_by_one_are_named_by_their_number(tmp_path: Path) -> None:
    def answer(call: Call) -> Reply:
        if "n" in call.body:
            error = {"message": "Unsupported parameter: 'n'", "param": "n", "code": "unsupported_parameter"}
            return Reply(400, orjson.dumps({"error": error}))
        message = {"content": f"seed {call.body['seed']}"}
        return Reply(body=orjson.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}))

    with answering(answer) as base_url:
        config = {
            "name": "one-by-one",
            "dataset": {"path": str(write_rows(tmp_path / "d.jsonl", questions(1))), "id": "id"},
            "model": {"base_url": base_url, "name": "m"},
            "request": {"messages": [{"role": "user", "content": "{{ question }}"}], "params": {"n": 3, "seed": 0}},
        }
        runner.run(config, run_dir=tmp_path / "run")
    found = lines(tmp_path / "run")
    texts = {name: line["response"]["body"]["choices"][0]["message"]["content"] for name, line in found.items()}
    assert texts == {"q0": "seed 0", "q0#0.1": "seed 1", "q0#0.2": "seed 2"}


def test_what_cannot_be_a_batch_is_said(simulator: Simulator, tmp_path: Path) -> None:
    run_dir = answered(simulator, tmp_path, output={"keep_raw": False})
    with pytest.raises(RunFolderError, match="bodies of answers were not kept") as caught:
        lines(run_dir)
    assert "keep_raw: true" in caught.value.hint
    with pytest.raises(UsageError, match="--columns"):
        write_to_stream(Export(run_dir, "openai-batch", ("key",)), io.BytesIO())
    with pytest.raises(UsageError, match="no such format") as format_:
        write_to_stream(Export(run_dir, "xml"), io.BytesIO())
    assert "openai-batch" in format_.value.hint
    with pytest.raises(RunFolderError, match="no run to export"):
        write_to_stream(Export(tmp_path, "csv"), io.BytesIO())
