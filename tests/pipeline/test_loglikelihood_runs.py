"""Whole runs of log-likelihoods against servers of every kind: equal to the truth, or stopped with a reason."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest
from typer.testing import CliRunner

import runner
from runner.cli.app import command_line
from runner.folder.layout import RunFolder
from runner.pipeline.storing.verify import verify
from runner.simulate import FaultRules, LanguageModel, Latency, SimulatorOptions, distribution_from_text
from tests.support.likelihood_truth import truth
from tests.support.odd_server import Reply, answering
from tests.support.pools import fleet, run_pool
from tests.support.runs import sent_by, table, write_config, write_rows
from tests.support.serving import QUICK, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from runner import RunSummary
    from runner.progress import Snapshot
    from tests.support.odd_server import Call

CHOICES = [
    [" yes", " no"],
    [" A", " B", " C", " D"],
    ["yes."],
    [" caf\u00e9 \u6771\u4eac", " \U0001f642 and more", "\u0416\u0416"],
]
CONTEXTS = [
    "question: is water wet? answer:",
    "the answer is",
    "question: is fire cold? answer: ",
    "the quick brown fox \u6771",
    "na\u00efve",
]
REQUEST = {"endpoint": "loglikelihood", "context": "{{ context }}", "continuations": "{{ choices }}"}


def samples(count: int = 20) -> list[dict[str, Any]]:
    return [
        {"id": f"s{number}", "context": CONTEXTS[number % 5], "choices": CHOICES[number % 4], "answer": number % 2}
        for number in range(count)
    ]


def config_for(base_url: str, dataset: Path, /, **sections: Any) -> dict[str, Any]:
    return {
        "name": "likely",
        "dataset": {"path": str(dataset), "id": "id", "target": "answer", **sections.pop("dataset", {})},
        "model": {"base_url": base_url, "name": "m"},
        "request": {**REQUEST, "timeout_s": {"connect": 5, "total": 20}, **sections.pop("request", {})},
        "limits": {"max_in_flight": 4},
        "retry": {"max_attempts": 3, "first_wait_s": 0.001, "max_wait_s": 0.01, "deadline_s": 20},
        "output": {"dir": str(dataset.parent / "outputs")},
        **sections,
    }


def check_rows(summary: RunSummary, rows: Iterable[dict[str, Any]], *, begin: bool = False) -> None:
    """Compare every row with the truth; no other rows may be there."""
    found = {(row["sample_id"], row["choice"]): row for row in table(summary.run_dir)}
    keys: dict[str, set[str]] = {}
    for sample in rows:
        for choice, continuation in enumerate(sample["choices"]):
            row = found.pop((sample["id"], choice))
            right = truth(sample["context"], continuation, begin=begin)
            assert right is not None
            assert (row["status"], row["continuation"]) == ("ok", continuation), row["error_message"]
            assert row["loglikelihood"] == pytest.approx(right.loglikelihood, abs=1e-9)
            assert (row["is_greedy"], row["boundary_inexact"]) == (right.is_greedy, right.inexact)
            assert row["token_logprobs"] == [float(np.float32(value)) for value in right.values]
            assert len(row["tokens"]) == len(row["top_tokens"]) == len(row["token_bytes"]) == len(right.tokens)
            keys.setdefault(sample["id"], set()).add(row["key"])
    assert found == {}
    assert all(len(own) == 1 for own in keys.values())
    assert len(set.union(*keys.values())) == len(keys)


@pytest.mark.parametrize(
    ("server", "form", "probes"),
    [
        (LanguageModel(), ("echo", 0, True), 1),
        (LanguageModel(zero_tokens=False), ("echo", 1, True), 2),
        (LanguageModel(arrays=False), ("echo", 1, False), 3),
        (LanguageModel(arrays=False, zero_tokens=False), ("echo", 1, False), 3),
        (LanguageModel(begin=True), ("echo", 0, True), 1),
        (LanguageModel(begin=True, offsets="behind_begin", zero_tokens=False), ("echo", 1, True), 2),
        (LanguageModel(offsets="from_completion"), ("echo", 0, True), 1),
        (LanguageModel(offsets="bytes"), ("echo", 0, True), 1),
        (LanguageModel(offsets="none", zero_tokens=False), ("echo", 1, True), 2),
        (LanguageModel(echo="ignored", prompt_logprobs=True), ("prompt_logprobs", 1, True), 2),
        (LanguageModel(echo="refused", prompt_logprobs=True, arrays=False), ("prompt_logprobs", 1, False), 6),
        (LanguageModel(echo="refused", prompt_logprobs=True, begin=True), ("prompt_logprobs", 1, True), 5),
        (LanguageModel(spelling="replaced"), ("echo", 0, True), 1),
    ],
)
def test_every_kind_of_server_gives_the_same_numbers(
    server: LanguageModel, form: tuple[Any, ...], probes: int, tmp_path: Path
) -> None:
    rows = samples()
    dataset = write_rows(tmp_path / "data.jsonl", rows)
    with serving(SimulatorOptions(language_model=server)) as simulator:
        summary = runner.run(config_for(simulator.base_url, dataset), run_dir=tmp_path / "run")
        sent = sent_by(simulator)
    assert (summary.status, summary.exit_code, summary.warnings) == ("complete", 0, [])
    check_rows(summary, rows, begin=server.begin)
    manifest = orjson.loads((tmp_path / "run" / "manifest.json").read_bytes())
    way, max_tokens, together = form
    learnt = {"way": way, "max_tokens": max_tokens, "together": together}
    assert manifest["capabilities"] == {"loglikelihood": learnt}
    requests = len(rows) if together else sum(len(row["choices"]) for row in rows)
    assert sent == summary.http_requests == len(table(summary.run_dir, "attempts")) == requests + probes
    assert (summary.requests, summary.retries) == (len(rows), 0)
    assert verify(RunFolder(tmp_path / "run")).findings == []
    assert summary.prompt_tokens == sum(row["prompt_tokens"] or 0 for row in table(summary.run_dir))
    assert summary.prompt_tokens > 0


def test_tokens_without_their_spaces_are_never_counted_silently_wrong(tmp_path: Path) -> None:
    """A row is the truth, or it says that its boundary is inexact, or it failed with a reason."""
    rows = samples()
    dataset = write_rows(tmp_path / "data.jsonl", rows)
    outcomes = set()
    for spelling in ("stripped", "late"):
        with serving(SimulatorOptions(language_model=LanguageModel(spelling=spelling))) as simulator:
            summary = runner.run(config_for(simulator.base_url, dataset), run_dir=tmp_path / spelling)
        for row in table(summary.run_dir):
            sample = rows[int(row["sample_id"][1:])]
            right = truth(sample["context"], sample["choices"][row["choice"]])
            assert right is not None
            outcomes.add((row["status"], row["boundary_inexact"]))
            if row["status"] == "failed":
                assert row["error_kind"] == "parse"
            elif abs(row["loglikelihood"] - right.loglikelihood) > 1e-9:
                assert row["boundary_inexact"]
    assert ("ok", False) in outcomes


@pytest.mark.parametrize(
    ("server", "parts"),
    [
        (
            LanguageModel(echo="ignored"),
            ["echo with max_tokens 0", "gave no log probabilities of the prompt", "prompt_logprobs"],
        ),
        (LanguageModel(echo="refused"), ["Setting 'echo' and 'logprobs' at the same time", "prompt_logprobs"]),
        (LanguageModel(echo="ignored", arrays=False, zero_tokens=False), ["Only one prompt", "max_tokens must be"]),
    ],
)
def test_a_server_that_cannot_do_it_stops_the_run_and_says_so(
    server: LanguageModel, parts: list[str], tmp_path: Path
) -> None:
    rows = samples()
    dataset = write_rows(tmp_path / "data.jsonl", rows)
    config = config_for("", dataset, limits={"max_in_flight": 16})
    with serving(SimulatorOptions(language_model=server)) as simulator:
        config["model"]["base_url"] = simulator.base_url
        summary = runner.run(config, run_dir=tmp_path / "run")
        sent = sent_by(simulator)
        assert (summary.status, summary.exit_code, summary.by_status) == ("stopped", 5, {})
        (warning,) = summary.warnings
        assert "the server gives no log probabilities of a prompt, which the endpoint loglikelihood needs" in warning
        assert all(part in warning for part in parts)
        assert sent == summary.http_requests == len(table(summary.run_dir, "attempts")) <= 6
        assert table(summary.run_dir) == []
        simulator.change(SimulatorOptions(language_model=LanguageModel()))
        summary = runner.run(config, run_dir=tmp_path / "run")
    assert summary.exit_code == 0
    check_rows(summary, rows)


def test_nothing_is_sent_twice_and_an_edited_continuation_alone_is_sent_again(tmp_path: Path) -> None:
    rows = samples()
    dataset = write_rows(tmp_path / "data.jsonl", rows)
    with serving(SimulatorOptions(language_model=LanguageModel())) as simulator:
        config = config_for(simulator.base_url, dataset)
        runner.run(config, run_dir=tmp_path / "run")
        before = sent_by(simulator)
        summary = runner.run(config, run_dir=tmp_path / "run")
        assert sent_by(simulator) == before
        rows[3]["choices"] = [*rows[3]["choices"], " and four"]
        rows[7]["choices"] = [" yes", " two"]
        write_rows(dataset, rows)
        summary = runner.run(config, run_dir=tmp_path / "run")
        assert sent_by(simulator) == before + 1 + 2
        check_rows(summary, rows)
        assert (summary.status, summary.superseded) == ("complete", 3 + 3)
        runner.run(config, run_dir=tmp_path / "run")
        assert sent_by(simulator) == before + 3
    assert verify(RunFolder(tmp_path / "run")).findings == []


@pytest.mark.parametrize("arrays", [True, False])
def test_a_run_cut_short_is_resumed_to_the_same_rows(tmp_path: Path, *, arrays: bool) -> None:
    rows = samples(40)
    dataset = write_rows(tmp_path / "data.jsonl", rows)
    model = LanguageModel(arrays=arrays)
    with serving(SimulatorOptions(language_model=model, quota_after=25)) as simulator:
        config = config_for(simulator.base_url, dataset)
        summary = runner.run(config, run_dir=tmp_path / "run")
        assert summary.exit_code == 5
        partly = {(row["key"], row["choice"]) for row in table(summary.run_dir)}
        assert 0 < len(partly) < sum(len(row["choices"]) for row in rows)
        simulator.change(SimulatorOptions(language_model=model))
        summary = runner.run(config, run_dir=tmp_path / "run")
        assert (summary.status, summary.exit_code) == ("complete", 0)
        check_rows(summary, rows)
        assert partly <= {(row["key"], row["choice"]) for row in table(summary.run_dir)}
        assert summary.http_requests == sent_by(simulator) == len(table(summary.run_dir, "attempts"))


@pytest.mark.parametrize("arrays", [True, False])
def test_faults_on_the_way_cost_no_row_and_no_paid_answer(tmp_path: Path, *, arrays: bool) -> None:
    rows = samples(30)
    dataset = write_rows(tmp_path / "data.jsonl", rows)
    faults = FaultRules({"503": 0.05, "500": 0.05, "429": 0.05, "disconnect": 0.05}, script={1: "503", 2: "429"})
    options = replace(QUICK, language_model=LanguageModel(arrays=arrays), faults=faults)
    with serving(options) as simulator:
        config = config_for(simulator.base_url, dataset)
        config["retry"]["max_attempts"] = 50
        summary = runner.run(config, run_dir=tmp_path / "run")
        answered = sum(entry.answered for entry in simulator.ledger.entries())
        assert summary.http_requests == sent_by(simulator) == len(table(summary.run_dir, "attempts"))
    assert (summary.status, summary.failed) == ("complete", 0)
    check_rows(summary, rows)
    wanted = len(rows) if arrays else sum(len(row["choices"]) for row in rows)
    probes = 1  # of those for the form, one is answered
    assert answered == wanted + probes


def test_one_continuation_that_is_refused_leaves_the_others(tmp_path: Path) -> None:
    long = {"id": "s0", "context": "the answer is", "choices": [" A", " x" * 400, " B"], "answer": 0}
    rows = [long, *samples(4)[1:]]
    dataset = write_rows(tmp_path / "data.jsonl", rows)
    with serving(SimulatorOptions(language_model=LanguageModel(arrays=False), context_tokens=200)) as simulator:
        summary = runner.run(config_for(simulator.base_url, dataset), run_dir=tmp_path / "run")
    assert (summary.exit_code, summary.failed) == (3, 1)
    found = {(row["sample_id"], row["choice"]): row for row in table(summary.run_dir)}
    failed = found["s0", 1]
    assert (failed["status"], failed["error_kind"], failed["loglikelihood"]) == ("failed", "context_length", None)
    assert failed["continuation"] == " x" * 400
    for choice in (0, 2):
        right = truth("the answer is", long["choices"][choice])
        assert right is not None
        assert found["s0", choice]["loglikelihood"] == pytest.approx(right.loglikelihood, abs=1e-9)


@pytest.mark.parametrize("begin", [True, False])
def test_an_empty_context(tmp_path: Path, *, begin: bool) -> None:
    rows = [{"id": "s0", "context": "", "choices": ["the answer", "yes"]}]
    dataset = write_rows(tmp_path / "data.jsonl", rows)
    with serving(SimulatorOptions(language_model=LanguageModel(begin=begin))) as simulator:
        config = config_for(simulator.base_url, dataset, dataset={"target": None})
        summary = runner.run(config, run_dir=tmp_path / "run")
    if begin:
        check_rows(summary, rows, begin=True)
        return
    assert (summary.exit_code, summary.by_status) == (3, {"failed": 2})
    for row in table(summary.run_dir):
        assert (row["error_kind"], row["loglikelihood"]) == ("parse", None)
        assert "nothing comes before it, since the context is empty" in row["error_message"]


def test_templates_make_the_continuations_and_parameters_reach_the_server(tmp_path: Path) -> None:
    rows = [{"id": f"s{number}", "q": "is water wet", "a": "yes", "b": "no"} for number in range(3)]
    dataset = write_rows(tmp_path / "data.jsonl", rows)
    request = {
        "context": "question: {{ q }}? answer:",
        "continuations": [" {{ a }}", " {{ b }}"],
        "params": {"logprobs": 4, "seed": 7},
        "repeats": 2,
    }
    with serving(SimulatorOptions(language_model=LanguageModel())) as simulator:
        config = config_for(simulator.base_url, dataset, request=request, dataset={"target": None})
        summary = runner.run(config, run_dir=tmp_path / "run")
    found = table(summary.run_dir)
    assert len(found) == 3 * 2 * 2
    for row in found:
        right = truth("question: is water wet? answer:", [" yes", " no"][row["choice"]])
        assert right is not None
        assert row["loglikelihood"] == pytest.approx(right.loglikelihood, abs=1e-9)
        assert all(4 <= len(tops) <= 5 for tops in row["top_tokens"])
    asked = orjson.loads(table(summary.run_dir, "raw")[0]["request"])
    assert (asked["context"], asked["continuations"]) == ("question: is water wet? answer:", [" yes", " no"])
    assert asked["logprobs"] == 4


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"choices": " yes"}, "request.continuations: expected a list of texts, found a text"),
        ({"choices": []}, "request.continuations: expected a list of texts, found an empty list"),
        ({"choices": [" yes", 4]}, "request.continuations.1: expected a text, found the number 4"),
        ({"choices": [" yes", ""]}, "request.continuations.1: expected a text, found an empty text"),
        ({"choices": None}, "request.continuations: expected a list of texts, found null"),
        ({"context": [1]}, "request.context: expected a text, found a list"),
    ],
)
def test_rows_that_are_no_samples_are_found_before_anything_is_sent(
    row: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    rows = samples(4)
    rows[2] |= row
    dataset = write_rows(tmp_path / "data.jsonl", rows)
    with serving(SimulatorOptions(language_model=LanguageModel())) as simulator:
        config = config_for(simulator.base_url, dataset)
        with pytest.raises(runner.errors.DatasetError, match=r"data\.jsonl:3") as caught:
            runner.run(config)
        assert reason in str(caught.value)
        assert sent_by(simulator) == 0
        config["dataset"]["on_bad_row"] = "skip"
        summary = runner.run(config)
    assert summary.by_status["skipped"] == 1
    assert summary.failed == 0


# ---------------------------------------------------------------- servers that change, and answers of any shape


def scored(call: Call, spoil: Callable[[dict[str, Any]], Any] | None = None) -> Reply:
    """Answer as OpenAI does, each character a token of probability 1/2; `spoil` changes the body."""
    prompts = call.body["prompt"] if isinstance(call.body["prompt"], list) else [call.body["prompt"]]
    choices = [
        {
            "index": number,
            "text": prompt,
            "logprobs": {
                "tokens": list(prompt),
                "token_logprobs": [None, *[-0.5] * (len(prompt) - 1)],
                "top_logprobs": [None, *({one: -0.5} for one in prompt[1:])],
                "text_offset": list(range(len(prompt))),
            },
        }
        for number, prompt in enumerate(prompts)
    ]
    body: Any = {"choices": choices, "usage": {"prompt_tokens": 9, "completion_tokens": 0, "total_tokens": 9}}
    body = spoil(body) if spoil is not None else body
    return Reply(body=orjson.dumps(body), headers={"Content-Type": "application/json"})


def test_a_server_that_loses_the_ability_stops_the_run_with_its_rows_to_be_sent_again(tmp_path: Path) -> None:
    rows = samples(12)
    dataset = write_rows(tmp_path / "data.jsonl", rows)

    def answer(call: Call) -> Reply:
        if call.number <= 5 or call.number > 20:
            return scored(call)
        return Reply(body=b'{"choices":[{"index":0,"text":".","logprobs":null}]}')

    with answering(answer) as base_url:
        config = config_for(base_url, dataset, limits={"max_in_flight": 1})
        summary = runner.run(config, run_dir=tmp_path / "run")
        assert (summary.exit_code, summary.status) == (5, "stopped")
        assert "no log probabilities of the prompt, as its earlier ones had" in summary.warnings[-1]
        failed = [row for row in table(summary.run_dir) if row["status"] == "failed"]
        assert {row["error_kind"] for row in failed} <= {"unsupported", "missing_choice"}
        assert all(row["loglikelihood"] is None for row in failed)


def _swap(body: dict[str, Any]) -> dict[str, Any]:
    for choice in body["choices"]:
        choice["index"] = len(body["choices"]) - 1 - choice["index"]
    return body


def _other(body: dict[str, Any]) -> dict[str, Any]:
    for choice in body["choices"]:
        choice["logprobs"]["tokens"] = ["something", " else"]
        choice["logprobs"]["token_logprobs"] = [None, -1.0]
        choice["logprobs"]["top_logprobs"] = [None, {" else": -1.0}]
    return body


def _each(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def spoil(body: dict[str, Any]) -> dict[str, Any]:
        for choice in body["choices"]:
            choice["logprobs"] |= changes
        return body

    return spoil


@pytest.mark.parametrize(
    "spoil",
    [
        _swap,
        _other,
        _each(token_logprobs=None),
        _each(token_logprobs=[None, "NaN", {}, []]),
        _each(tokens=[1, None, {"a": 1}]),
        _each(tokens={"a": 1}, content=[{"token": "a", "logprob": -1}, 5]),
        lambda _: {"choices": [None, 5, "x", {"index": 0, "logprobs": [1], "prompt_logprobs": [[], 3, {"a": 4}]}]},
        lambda body: {**body, "choices": [{**one, "prompt_logprobs": {"1": 2}} for one in body["choices"]][:1]},
        lambda _: {"answers": [[[]]], "failures": 7, "choices": [{"logprobs": {"tokens": ["a"]}}]},
        lambda body: {**body, "usage": [1]},
    ],
)
def test_answers_of_any_shape_become_rows_without_a_wrong_number(spoil: Any, tmp_path: Path) -> None:
    rows = samples(6)
    dataset = write_rows(tmp_path / "data.jsonl", rows)
    with answering(lambda call: scored(call, None if call.number == 1 else spoil)) as base_url:
        summary = runner.run(config_for(base_url, dataset), run_dir=tmp_path / "run")
    expected = {(row["id"], number): text for row in rows for number, text in enumerate(row["choices"])}
    found = table(summary.run_dir)
    for row in found:
        if row["status"] == "ok":
            text = expected[row["sample_id"], row["choice"]]
            assert row["loglikelihood"] == pytest.approx(-0.5 * len(text))
        else:
            assert row["loglikelihood"] is None
            assert row["error_kind"] in ("parse", "unsupported", "missing_choice")
    if summary.exit_code != 5:
        assert len(found) == len(expected)
    assert len(table(summary.run_dir, "raw")) == len({row["request_key"] for row in found})


def test_reading_the_stored_bodies_again_gives_the_same_rows(tmp_path: Path) -> None:

    rows = samples()
    dataset = write_rows(tmp_path / "data.jsonl", rows)
    for arrays in (True, False):
        with serving(SimulatorOptions(language_model=LanguageModel(arrays=arrays))) as simulator:
            summary = runner.run(config_for(simulator.base_url, dataset), run_dir=tmp_path / str(arrays))
        before = table(summary.run_dir)
        result = CliRunner().invoke(command_line(), ["reseal", summary.run_dir])
        assert result.exit_code == 0, result.output
        assert table(summary.run_dir) == before
        check_rows(summary, rows)


@pytest.mark.parametrize("arrays", [True, False])
def test_kills_lose_nothing_and_a_sample_is_whole_or_not_there(tmp_path: Path, *, arrays: bool) -> None:
    rows = samples(160)
    dataset = write_rows(tmp_path / "data.jsonl", rows)
    model, random, kills = LanguageModel(arrays=arrays), Random(7), 4  # noqa: S311 - moments, not secrets
    latency = Latency(distribution_from_text("0.005..0.02"))
    with serving(SimulatorOptions(language_model=model, latency=latency)) as simulator:
        config = config_for(simulator.base_url, dataset)
        path = write_config(tmp_path / "config.json", config)
        command = [sys.executable, "-m", "runner", "run", str(path), "--run-dir", str(tmp_path / "run"), "--quiet"]
        seen: set[tuple[str, int, float]] = set()
        for _ in range(kills):
            process = subprocess.Popen(command)
            at_work = simulator.statistics().requests
            while simulator.statistics().requests == at_work and process.poll() is None:
                time.sleep(0.002)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(random.uniform(0, 0.3))
            process.kill()
            process.wait()
            now = {(row["key"], row["choice"], row["loglikelihood"]) for row in table(tmp_path / "run")}
            assert seen <= now
            seen = now
        summary = runner.run(config, run_dir=tmp_path / "run")
        answered = sum(entry.answered for entry in simulator.ledger.entries())
    assert summary.exit_code == 0
    check_rows(summary, rows)
    assert verify(RunFolder(tmp_path / "run")).findings == []
    assert seen <= {(row["key"], row["choice"], row["loglikelihood"]) for row in table(tmp_path / "run")}
    requests_a_sample, in_flight = (1 if arrays else 4), 4
    wanted = len(rows) if arrays else sum(len(row["choices"]) for row in rows)
    assert wanted < answered <= wanted + (kills + 1) + kills * in_flight * requests_a_sample


def test_samples_are_shared_over_the_servers_of_a_pool_and_one_may_die(tmp_path: Path) -> None:
    served = replace(
        QUICK, language_model=LanguageModel(), latency=Latency(first_token=distribution_from_text("0.002"))
    )
    rows = samples(120)
    dataset = write_rows(tmp_path / "data.jsonl", rows)
    with fleet(served, served) as servers:
        stopped: list[int] = []

        def look(snapshot: Snapshot) -> None:
            if not stopped and snapshot.done >= 30:
                servers.stop(1)
                stopped.append(snapshot.done)

        config = config_for("", dataset)
        config["model"]["base_url"] = servers.pool
        summary = run_pool(config, tmp_path / "run", look=look)
        assert (summary.exit_code, summary.failed) == (0, 0)
        check_rows(summary, rows)
        attempts = table(tmp_path / "run", "attempts")
        assert {row["server"] for row in attempts if row["error_kind"] is None} == set(servers.urls)
        assert {row["server"] for row in attempts if row["error_kind"]} <= {servers.urls[1]}
