"""Owns whole runs against servers that do not take every parameter: what is sent instead, learnt, stored and said."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

import runner
from runner.config import config_from_dict
from runner.folder.commits import read_commits
from runner.folder.layout import RunFolder
from runner.pipeline.opening import open_existing, sealing_of
from runner.pipeline.storing.reseal import reseal
from runner.pipeline.storing.verify import salvage, verify
from runner.simulate import DIALECTS, Unsupported
from tests.support.commands import evalrunner
from tests.support.odd_server import Reply, answering, completion
from tests.support.runs import (
    by_sample,
    config_for,
    questions,
    run_again,
    sent_by,
    table,
    write_config,
    write_rows,
)
from tests.support.serving import QUICK

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.simulate import Simulator
    from tests.support.odd_server import Call

SAMPLES = 24
# Refusals of one parameter that a run may meet, however many slots it has.
HANDFUL = 4
MESSAGES = [{"role": "user", "content": "{{ question }}"}]


def unsupporting(simulator: Simulator, *refuse: str, ignore: tuple[str, ...] = (), dialect: str = "openai") -> None:
    simulator.change(replace(QUICK, unsupported=Unsupported(refuse, ignore, dialect)))


def asking(simulator: Simulator, tmp_path: Path, count: int = SAMPLES, /, **request: Any) -> dict[str, Any]:
    """Return a config with 64 slots; `request` is merged into its section."""
    dataset = write_rows(tmp_path / "data.jsonl", questions(count))
    config = config_for(simulator, dataset, limits={"max_in_flight": 64})
    config["request"] |= request
    return config


def refusals(simulator: Simulator) -> int:
    statuses = simulator.statistics().by_status
    return sum(count for status, count in statuses.items() if status in (400, 422))


def capabilities(run_dir: str | Path) -> dict[str, Any]:
    manifest = orjson.loads(RunFolder(Path(run_dir)).manifest.read_bytes())
    found: dict[str, Any] = manifest["capabilities"]
    return found


def asked(run_dir: str | Path) -> list[dict[str, Any]]:
    """Return the bodies of all requests that ended."""
    return [orjson.loads(row["request"]) for row in table(run_dir, "raw")]


def places(run_dir: str | Path) -> list[tuple[str, int]]:
    return sorted((row["sample_id"], row["choice"]) for row in table(run_dir))


def every(count: int, choices: int) -> list[tuple[str, int]]:
    return sorted((row["id"], choice) for row in questions(count) for choice in range(choices))


# ---------------------------------------------------------------- learnt once, whatever the words


@pytest.mark.parametrize("dialect", DIALECTS)
def test_three_refused_parameters_cost_a_handful_of_requests(
    dialect: str, simulator: Simulator, tmp_path: Path
) -> None:
    unsupporting(simulator, "n", "temperature", "max_completion_tokens", dialect=dialect)
    params = {"n": 3, "temperature": 0.5, "seed": 5, "max_completion_tokens": 4}
    config = asking(simulator, tmp_path, params=params) | {"retry": {"max_attempts": 1}}
    summary, _ = run_again(config, tmp_path / "run", simulator)
    assert (summary.exit_code, summary.by_status) == (0, {"truncated": 3 * SAMPLES})
    assert 3 <= refusals(simulator) <= 3 * HANDFUL
    assert places(summary.run_dir) == every(SAMPLES, 3)
    assert summary.retries == refusals(simulator)
    assert Counter(row["error_kind"] for row in table(summary.run_dir, "attempts"))["unsupported"] == summary.retries
    for body in asked(summary.run_dir):
        assert body.keys() == {"model", "messages", "max_tokens", "seed"}
        assert body["max_tokens"] == 4
    assert {name: what["action"] for name, what in capabilities(summary.run_dir)["parameters"].items()} == {
        "n": "repeat",
        "temperature": "drop",
        "max_completion_tokens": "rename",
    }
    assert all(any(f"does not support {name}:" in one for one in summary.warnings) for name in params if name != "seed")
    assert run_again(config, tmp_path / "run", simulator)[1] == 0


def test_rows_are_those_of_a_server_that_takes_everything(simulator: Simulator, tmp_path: Path) -> None:
    params = {"n": 3, "temperature": 0.5, "max_tokens": 6}
    found = []
    for name, refused in (("whole", ()), ("single", ("n", "temperature", "max_tokens"))):
        unsupporting(simulator, *refused)
        summary = runner.run(asking(simulator, tmp_path, params=params), run_dir=tmp_path / name)
        assert summary.exit_code == 0
        rows = {(row["key"], row["choice"]): row for row in table(summary.run_dir)}
        assert len(rows) == 3 * SAMPLES
        found.append(rows)
    whole, single = found
    assert whole.keys() == single.keys()
    for place, row in whole.items():
        for column in ("sample_id", "repeat", "request_row", "status", "model", "target", "in_question", "endpoint"):
            assert row[column] == single[place][column]
        assert single[place]["total_tokens"] is not None  # each came by a request of its own
    assert len({row["request_key"] for row in single.values()}) == len(single)
    assert all(row["request_key"] == row["key"] for (_, choice), row in single.items() if choice == 0)


def test_no_two_choices_or_repeats_of_a_sample_share_a_seed(simulator: Simulator, tmp_path: Path) -> None:
    unsupporting(simulator, "n")
    config = asking(simulator, tmp_path, 2, params={"n": 3, "seed": 100}, repeats=2)
    summary, _ = run_again(config, tmp_path / "run", simulator)
    assert summary.by_status == {"ok": 12}
    seeds = Counter(body["messages"][0]["content"] for body in asked(summary.run_dir))
    assert set(seeds.values()) == {6}
    assert {body["seed"] for body in asked(summary.run_dir)} == set(range(100, 106))
    assert len({row["text"] for row in table(summary.run_dir) if row["sample_id"] == "q0"}) == 6


def test_completions_are_asked_for_choice_by_choice_too(simulator: Simulator, tmp_path: Path) -> None:
    unsupporting(simulator, "n", dialect="llamacpp")
    config = asking(simulator, tmp_path, endpoint="completions", prompt="{{ question }}", params={"n": 2})
    del config["request"]["messages"]
    summary, _ = run_again(config, tmp_path / "run", simulator)
    assert (summary.exit_code, places(summary.run_dir)) == (0, every(SAMPLES, 2))


def test_a_later_session_is_not_taught_again(simulator: Simulator, tmp_path: Path) -> None:
    unsupporting(simulator, "n", "temperature")
    config = asking(simulator, tmp_path, 4, params={"n": 2, "temperature": 0})
    runner.run(config, run_dir=tmp_path / "run")
    before = refusals(simulator)
    write_rows(tmp_path / "data.jsonl", questions(8))
    summary, sent = run_again(config, tmp_path / "run", simulator)
    assert (sent, refusals(simulator) - before) == (8, 0)
    assert places(summary.run_dir) == every(8, 2)
    assert len([one for one in summary.warnings if "does not support" in one]) == 2


def test_what_was_learnt_is_on_disk_before_the_run_ends(tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []

    def answer(call: Call) -> Reply:
        if "temperature" in call.body:
            return refused("temperature")
        seen.append(capabilities(tmp_path / "run"))
        return completion("ok")

    with answering(answer) as base_url:
        runner.run(odd(base_url, tmp_path, 1, {"temperature": 0}), run_dir=tmp_path / "run")
    assert seen[0]["parameters"]["temperature"]["action"] == "drop"


# ---------------------------------------------------------------- what may not go


@pytest.mark.parametrize("name", ["response_format", "tools", "stop", "logit_bias", "chat_template_kwargs", "own_word"])
@pytest.mark.parametrize("policy", ["adapt", "fail"])
def test_what_the_question_hangs_on_is_never_left_out(
    name: str, policy: str, simulator: Simulator, tmp_path: Path
) -> None:
    values = {"response_format": {"type": "json_object"}, "tools": [{}], "stop": ["x"]}
    unsupporting(simulator, name)
    config = asking(simulator, tmp_path, extra_body={name: values.get(name, {"1": 1})}, on_unsupported=policy)
    summary = runner.run(config, run_dir=tmp_path / "run")
    assert (summary.exit_code, summary.status, table(summary.run_dir)) == (5, "stopped", [])
    assert refusals(simulator) == sent_by(simulator) <= HANDFUL
    (said,) = [one for one in summary.warnings if name in one]
    assert f"Unsupported parameter: '{name}' is not supported with this model." in said
    unsupporting(simulator)
    assert runner.run(config, run_dir=tmp_path / "run").by_status == {"ok": SAMPLES}


@pytest.mark.parametrize("name", ["n", "temperature", "max_tokens", "logprobs", "seed"])
def test_fail_stops_at_the_first_refusal_and_says_whose(name: str, simulator: Simulator, tmp_path: Path) -> None:
    unsupporting(simulator, name, dialect="fastapi")
    params = {"n": 2, "temperature": 0, "max_tokens": 5, "logprobs": True, "seed": 1}
    config = asking(simulator, tmp_path, params=params, on_unsupported="fail")
    summary = runner.run(config, run_dir=tmp_path / "run")
    assert (summary.exit_code, summary.status, summary.samples) == (5, "stopped", SAMPLES)
    assert table(summary.run_dir) == []
    assert sent_by(simulator) <= HANDFUL
    (said,) = [one for one in summary.warnings if "does not support" in one]
    assert f"the parameter {name} (HTTP 422: body.{name}: Extra inputs are not permitted)" in said
    assert {row["error_kind"] for row in table(summary.run_dir, "attempts")} == {"unsupported"}
    assert "parameters" not in capabilities(summary.run_dir)


def test_log_probabilities_that_are_refused_are_null_and_said(simulator: Simulator, tmp_path: Path) -> None:
    unsupporting(simulator, "logprobs", dialect="groq")
    config = asking(simulator, tmp_path, params={"logprobs": True, "top_logprobs": 2})
    summary, _ = run_again(config, tmp_path / "run", simulator)
    assert (summary.exit_code, summary.ok) == (0, SAMPLES)
    assert all(row["tokens"] is None and row["text"] for row in table(summary.run_dir))
    assert all("logprobs" not in body and "top_logprobs" not in body for body in asked(summary.run_dir))
    assert any("logprobs: requests went without it, and there are no log" in one for one in summary.warnings)


def test_the_endpoint_for_log_probabilities_is_nothing_without_them(simulator: Simulator, tmp_path: Path) -> None:
    unsupporting(simulator, "logprobs")
    summary = runner.run(asking(simulator, tmp_path, endpoint="logprobs"), run_dir=tmp_path / "run")
    assert (summary.exit_code, sent_by(simulator) <= HANDFUL) == (5, True)
    assert "logprobs" in summary.warnings[-1]


def test_a_bound_of_the_answer_never_goes(simulator: Simulator, tmp_path: Path) -> None:
    unsupporting(simulator, "max_tokens", "max_completion_tokens")
    config = asking(simulator, tmp_path, params={"max_completion_tokens": 5})
    summary = runner.run(config, run_dir=tmp_path / "run")
    assert (summary.exit_code, sent_by(simulator) <= 2 * HANDFUL) == (5, True)
    assert "max_tokens" in summary.warnings[-1]


# ---------------------------------------------------------------- n, heeded by halves


@pytest.mark.parametrize("came", [1, 2])
def test_choices_that_a_server_leaves_out_are_asked_for(came: int, tmp_path: Path) -> None:
    def answer(call: Call) -> Reply:
        return choices(min(came, call.body.get("n", 1)), call.question)

    with answering(answer) as base_url:
        config = odd(base_url, tmp_path, 6, {"n": 4, "seed": 7}, max_in_flight=1)
        summary = runner.run(config, run_dir=tmp_path / "run")
        assert (summary.exit_code, summary.by_status) == (0, {"ok": 24})
        assert places(summary.run_dir) == every(6, 4)
        assert summary.http_requests == 1 + (4 - came) + 5 * 4  # the first kept, its rest, and one for each choice
        assert summary.completion_tokens == sum(row["completion_tokens"] or 0 for row in table(summary.run_dir)) == 24
        assert runner.run(config, run_dir=tmp_path / "run").http_requests == summary.http_requests
    assert verify(RunFolder(tmp_path / "run")).findings == []
    assert f"an answer to n: 4 had {came} choice" in summary.warnings[-1]


def test_fail_keeps_the_choices_that_came_and_stops(tmp_path: Path) -> None:
    heeds = threading.Event()

    def answer(call: Call) -> Reply:
        return choices(call.body.get("n", 1) if heeds.is_set() else 1, call.question)

    with answering(answer) as base_url:
        config = odd(base_url, tmp_path, 4, {"n": 3}, max_in_flight=1, on_unsupported="fail")
        summary = runner.run(config, run_dir=tmp_path / "run")
        assert (summary.exit_code, summary.by_status) == (5, {"ok": 1})
        assert "n: an answer to n: 3 had 1 choices" in summary.warnings[-1]
        heeds.set()
        summary = runner.run(config, run_dir=tmp_path / "run")
    assert (summary.exit_code, summary.http_requests, places(summary.run_dir)) == (0, 1 + 2 + 3, every(4, 3))


# ---------------------------------------------------------------- choices that come one by one: resume, kill, repair


def stopped_after(answers: int) -> tuple[Callable[[Call], Reply], threading.Event]:
    """Return a server without `n` that refuses the key after some answers, until it is told to be well."""
    given = 0
    well = threading.Event()

    def answer(call: Call) -> Reply:
        nonlocal given
        if "n" in call.body:
            return refused("n")
        if given >= answers and not well.is_set():
            return Reply(401, b'{"error":{"message":"no"}}')
        given += 1
        return completion(f"{given}")

    return answer, well


@pytest.mark.parametrize("answers", [1, 2, 4, 7, 11])
def test_resume_asks_for_the_missing_choices_alone(answers: int, tmp_path: Path) -> None:
    answer, well = stopped_after(answers)
    with answering(answer) as base_url:
        config = odd(base_url, tmp_path, 4, {"n": 3}, max_in_flight=2)
        first = runner.run(config, run_dir=tmp_path / "run")
        assert (first.exit_code, first.ok) == (5, answers)
        paid = {(row["key"], row["choice"]): row["text"] for row in table(first.run_dir)}
        well.set()
        summary = runner.run(config, run_dir=tmp_path / "run")
    rows = {(row["key"], row["choice"]): row["text"] for row in table(summary.run_dir)}
    assert (summary.exit_code, summary.by_status, summary.superseded) == (0, {"ok": 12}, 0)
    assert places(summary.run_dir) == every(4, 3)
    assert paid.items() <= rows.items()
    kinds = Counter(row["error_kind"] for row in table(summary.run_dir, "attempts"))
    assert kinds[None] == 12
    assert verify(RunFolder(tmp_path / "run")).findings == []


def test_a_choice_that_failed_for_a_while_is_sent_again_alone(tmp_path: Path) -> None:
    well = threading.Event()

    def answer(call: Call) -> Reply:
        if "n" in call.body:
            return refused("n")
        if call.body["seed"] == 11 and not well.is_set():
            return Reply(500, b"{}")
        return completion("yes")

    with answering(answer) as base_url:
        config = odd(base_url, tmp_path, 3, {"n": 3, "seed": 10})
        summary = runner.run(config, run_dir=tmp_path / "run")
        assert (summary.exit_code, summary.by_status) == (3, {"failed": 3, "ok": 6})
        assert {row["choice"] for row in table(summary.run_dir) if row["status"] == "failed"} == {1}
        before = summary.http_requests
        well.set()
        summary = runner.run(config, run_dir=tmp_path / "run")
    assert (summary.exit_code, summary.by_status, summary.superseded) == (0, {"ok": 9}, 3)
    assert summary.http_requests - before == 3
    assert places(summary.run_dir) == every(3, 3)
    assert verify(RunFolder(tmp_path / "run")).findings == []


@pytest.mark.parametrize("passing", [5, 11, 20])
def test_a_kill_between_choices_loses_none_and_doubles_none(passing: int, simulator: Simulator, tmp_path: Path) -> None:
    unsupporting(simulator, "n")
    config = asking(simulator, tmp_path, 6, params={"n": 4, "seed": 1}) | {"limits": {"max_in_flight": 2}}
    path = write_config(tmp_path / "my.yaml", config)
    killed = evalrunner(
        "run",
        path,
        "--run-dir",
        tmp_path / "run",
        cwd=tmp_path,
        env={"EVALRUNNER_CRASH_AT": f"session:after-answer:{passing}"},
    )
    assert killed.code == -9
    answered = simulator.statistics().by_status[200]
    summary = runner.run(config, run_dir=tmp_path / "run")
    assert (summary.exit_code, summary.by_status) == (0, {"ok": 24})
    assert places(summary.run_dir) == every(6, 4)
    assert simulator.statistics().by_status[200] <= 24 + 2
    assert answered >= 1
    assert verify(RunFolder(tmp_path / "run")).findings == []


def split_run(simulator: Simulator, tmp_path: Path, *, keep_raw: bool = True) -> tuple[dict[str, Any], Path]:
    """Return a finished run whose choices came one by one, in two sessions."""
    unsupporting(simulator, "n")
    config = asking(simulator, tmp_path, 3, params={"n": 2, "seed": 1})
    config["output"]["keep_raw"] = keep_raw
    runner.run(config, run_dir=tmp_path / "run")
    write_rows(tmp_path / "data.jsonl", questions(5))
    run_again(config, tmp_path / "run", simulator) if keep_raw else runner.run(config, run_dir=tmp_path / "run")
    return config, tmp_path / "run"


def test_a_changed_target_reaches_every_choice(simulator: Simulator, tmp_path: Path) -> None:
    config, run_dir = split_run(simulator, tmp_path)
    rows = [{**row, "answer": f"new {row['id']}", "level": 9} for row in questions(5)]
    write_rows(tmp_path / "data.jsonl", rows[1:])
    summary, sent = run_again(config, run_dir, simulator)
    assert (sent, summary.superseded, summary.by_status) == (0, 2, {"ok": 8})
    assert {(row["target"], row["in_level"]) for row in table(run_dir)} == {(f"new q{n}", 9) for n in range(1, 5)}
    assert {row["sample_id"] for row in table(run_dir, "superseded")} == {"q0"}


def test_another_id_or_text_around_the_same_request_buys_nothing_again(simulator: Simulator, tmp_path: Path) -> None:
    """A row whose digest changed and whose request did not: its choices are found by their key."""
    unsupporting(simulator, "n")
    content = "{{ question if level >= 0 else '' }}"
    config = asking(simulator, tmp_path, 3, params={"n": 2}, messages=[{"role": "user", "content": content}])
    runner.run(config, run_dir=tmp_path / "run")
    write_rows(tmp_path / "data.jsonl", [{**row, "level": row["level"] + 1} for row in questions(3)])
    summary, sent = run_again(config, tmp_path / "run", simulator)
    assert (sent, summary.by_status, summary.superseded) == (0, {"ok": 6}, 0)


@pytest.mark.parametrize("keep_raw", [True, False])
def test_reseal_keeps_every_choice_at_its_place(simulator: Simulator, tmp_path: Path, *, keep_raw: bool) -> None:
    config, run_dir = split_run(simulator, tmp_path, keep_raw=keep_raw)
    before = sorted(table(run_dir), key=lambda row: (row["key"], row["choice"]))
    folder, manifest = open_existing(run_dir)
    sealing = sealing_of(folder, manifest, config_from_dict(manifest.config, tmp_path))
    reseal(sealing, read_commits(folder))
    after = sorted(table(run_dir), key=lambda row: (row["key"], row["choice"]))
    assert after == before
    assert verify(folder).findings == []
    sent = sent_by(simulator)
    assert runner.run(config, run_dir=run_dir).by_status == {"ok": 10}
    assert sent_by(simulator) == sent


@pytest.mark.parametrize("table_name", ["responses", "raw"])
def test_salvage_keeps_the_choices_that_are_sound(table_name: str, simulator: Simulator, tmp_path: Path) -> None:
    config, run_dir = split_run(simulator, tmp_path)
    damaged = max((run_dir / table_name).glob("*.parquet"))
    damaged.write_bytes(damaged.read_bytes()[:-20])
    folder, manifest = open_existing(run_dir)
    target = RunFolder(tmp_path / "saved")
    salvage(folder, target, sealing_of(target, manifest, config_from_dict(manifest.config, tmp_path)))
    assert verify(target).findings == []
    summary = runner.run(config, run_dir=target.root)
    assert (summary.exit_code, summary.by_status, places(target.root)) == (0, {"ok": 10}, every(5, 2))


# ---------------------------------------------------------------- servers that mean no good


def test_a_refusal_of_the_rows_own_is_the_rows_own(tmp_path: Path) -> None:
    def answer(call: Call) -> Reply:
        if call.question.startswith("What is 1 "):
            said = "messages[0].content: Unsupported parameter: 'frobnicate' is not supported; 'temperature' is fine"
            return Reply(
                400, orjson.dumps({"error": {"message": said, "param": "messages[0]", "code": "unsupported_value"}})
            )
        return completion("ok")

    with answering(answer) as base_url:
        summary = runner.run(odd(base_url, tmp_path, 3, {"temperature": 0}), run_dir=tmp_path / "run")
    rows = by_sample(summary.run_dir)
    assert (summary.exit_code, rows["q1"]["error_kind"], summary.ok) == (3, "bad_request", 2)
    assert not any("does not support" in one for one in summary.warnings)
    assert summary.http_requests == 3


def test_a_server_that_took_a_parameter_and_then_refuses_it_fails_that_row(tmp_path: Path) -> None:
    def answer(call: Call) -> Reply:
        return refused("tools") if call.number == 3 else completion("ok")

    with answering(answer) as base_url:
        config = odd(base_url, tmp_path, 5, {"tools": []}, max_in_flight=1)
        summary = runner.run(config, run_dir=tmp_path / "run")
    assert (summary.exit_code, summary.by_status) == (3, {"failed": 1, "ok": 4})


@pytest.mark.parametrize(
    "blame",
    [
        lambda call: next(iter(sorted(call.body.keys() - {"model", "messages"})), "messages"),
        lambda _: "temperature",
        lambda call: "max_tokens" if "max_tokens" in call.body else "max_completion_tokens",
        lambda _: "n",
        lambda _: "__class__",
    ],
)
def test_a_server_that_refuses_for_ever_ends_the_run(blame: Callable[[Call], str], tmp_path: Path) -> None:
    params = {"temperature": 0, "n": 3, "max_tokens": 5, "seed": 1, "top_p": 1, "user": "u"}
    with answering(lambda call: refused(blame(call))) as base_url:
        summary = runner.run(odd(base_url, tmp_path, 6, params), run_dir=tmp_path / "run")
    assert summary.exit_code in (3, 5)
    assert summary.ok == 0
    assert summary.http_requests <= 6 * 3 + 8 * HANDFUL


def test_a_key_in_a_refusal_reaches_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "sk-planted-0123456789"
    monkeypatch.setenv("EVALRUNNER_TEST_KEY", key)

    def answer(call: Call) -> Reply:
        if "seed" not in call.body:
            return completion("ok")
        said = f"Unsupported parameter: 'seed' is not supported with {call.key}."
        return Reply(400, orjson.dumps({"error": {"message": said, "param": "seed", "code": "unsupported_parameter"}}))

    with answering(answer) as base_url:
        config = odd(base_url, tmp_path, 2, {"seed": 1})
        config["model"]["api_key_env"] = "EVALRUNNER_TEST_KEY"
        summary = runner.run(config, run_dir=tmp_path / "run")
    assert summary.ok == 2
    assert "[redacted]" in str(summary.warnings)
    files = [path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert not any(key.encode() in content for content in files)
    assert key not in str(summary)


def test_rows_with_parameters_of_their_own_fail_alone(simulator: Simulator, tmp_path: Path) -> None:
    """OpenAI Batch lines: what may be left out is, what may not ends its row and no other."""
    unsupporting(simulator, "tools", "temperature")
    lines = [
        {
            "custom_id": f"r{number}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": "m", "messages": [{"role": "user", "content": f"{number}"}], **more},
        }
        for number, more in enumerate([{}, {"temperature": 0}, {"tools": [{}]}, {"temperature": 1}])
    ]
    config = config_for(simulator, write_rows(tmp_path / "data.jsonl", lines), limits={"max_in_flight": 1})
    config["dataset"] = {"path": str(tmp_path / "data.jsonl")}
    config["request"] = {}
    summary, _ = run_again(config, tmp_path / "run", simulator)
    assert {name: row["status"] for name, row in by_sample(summary.run_dir).items()} == {
        "r0": "ok",
        "r1": "ok",
        "r2": "failed",
        "r3": "ok",
    }


def test_a_run_without_parameters_learns_nothing(tmp_path: Path) -> None:
    with answering(lambda _: completion("ok")) as base_url:
        summary = runner.run(odd(base_url, tmp_path, 4, {}), run_dir=tmp_path / "run")
    assert (summary.ok, capabilities(summary.run_dir).keys()) == (4, {"tokens"})


# ---------------------------------------------------------------- odd servers


def odd(base_url: str, tmp_path: Path, count: int, params: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a config that asks some server; `max_in_flight` and keys of `request` may be given."""
    slots = changes.pop("max_in_flight", 4)
    return {
        "name": "odd",
        "dataset": {"path": str(write_rows(tmp_path / "data.jsonl", questions(count))), "id": "id"},
        "model": {"base_url": base_url, "name": "m"},
        "request": {"messages": MESSAGES, "params": params, "timeout_s": {"connect": 5, "total": 20}, **changes},
        "limits": {"max_in_flight": slots},
        "retry": {"max_attempts": 2, "first_wait_s": 0.001, "max_wait_s": 0.01, "deadline_s": 20},
        "output": {"dir": str(tmp_path / "outputs")},
    }


def refused(name: str) -> Reply:
    error = {"message": f"Unsupported parameter: '{name}'", "param": name, "code": "unsupported_parameter"}
    return Reply(400, orjson.dumps({"error": error}), {"Content-Type": "application/json"})


def choices(count: int, text: str) -> Reply:
    made = [
        {"index": number, "message": {"role": "assistant", "content": f"{text} {number}"}, "finish_reason": "stop"}
        for number in range(count)
    ]
    usage = {"prompt_tokens": 1, "completion_tokens": count, "total_tokens": 1 + count}
    return Reply(body=orjson.dumps({"choices": made, "usage": usage}), headers={"Content-Type": "application/json"})
