"""Whole runs of embeddings through adapters: Cohere's format, formats of a user's own, and what comes back odd."""

from __future__ import annotations

import base64
import copy
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest

import runner
from runner.errors import ConfigError, DatasetError
from runner.folder.layout import RunFolder
from runner.folder.manifest import read_manifest
from runner.simulate import vector_of
from tests.support.cohere import DIMENSIONS, POISON, answer_to, embed
from tests.support.commands import evalrunner
from tests.support.odd_server import Reply
from tests.support.runs import by_sample, table, write_rows
from tests.support.vendors import says, vendor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runner import RunSummary
    from tests.support.vendors import Seen

KEY = "k3y-Abc0123456789xyz"
# A server that takes one text and answers with one vector, and one that takes several and says which is whose.
SINGLE: dict[str, Any] = {
    "endpoints": ["embeddings"],
    "path": "/one",
    "body": {"text": "{{ input }}"},
    "response": {"embeddings": {"list": "[vector]"}, "usage": {"prompt_tokens": "cost"}},
}
SEVERAL: dict[str, Any] = {
    "endpoints": ["embeddings"],
    "path": "/several/{{ model }}",
    "capabilities": {"array_input": True},
    "body": {"$merge": "{{ params }}", "ask": {"items": "{{ input }}", "kind": "{{ row.kind }}"}},
    "response": {
        "embeddings": {"list": "found", "vector": "values", "index": "of"},
        "usage": {"prompt_tokens": "cost", "raw": "@.{cost: cost}"},
    },
}


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENDOR_KEY", KEY)


def texts_of(count: int) -> list[dict[str, Any]]:
    return [{"id": f"q{n}", "text": f"passage number {n}", "kind": "odd" if n % 2 else "even"} for n in range(count)]


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Write rows and an adapter, and return a config that embeds the text of each row with it."""

    def make(root: str, adapter: Any, rows: list[dict[str, Any]], **request: Any) -> dict[str, Any]:
        if isinstance(adapter, dict):
            (tmp_path / "mine.yaml").write_text(json.dumps(adapter), encoding="utf-8")
            adapter = str(tmp_path / "mine.yaml")
        asked = {"endpoint": "embeddings", "input": "{{ text }}", "timeout_s": {"connect": 5, "total": 20}}
        return {
            "name": "vectors",
            "dataset": {"path": str(write_rows(tmp_path / "rows.jsonl", rows)), "id": "id"},
            "model": {
                "base_url": root,
                "name": "m",
                "adapter": adapter,
                "api_key_env": "VENDOR_KEY",
                "price": {"input_per_million": 1000},
            },
            "request": {**asked, **request},
            "limits": {"max_in_flight": 2},
            "retry": {"max_attempts": 2, "first_wait_s": 0.001, "max_wait_s": 0.01, "deadline_s": 20},
            "output": {"dir": str(tmp_path / "outputs")},
        }

    return make


def check_vectors(run_dir: Path, rows: list[dict[str, Any]], *, but: tuple[str, ...] = ()) -> None:
    """Compare every vector with the one that the server has for that text alone."""
    found = by_sample(run_dir)
    assert found.keys() == {row["id"] for row in rows}
    for row in rows:
        own = found[row["id"]]
        if row["id"] in but:
            assert (own["status"], own["embedding"]) == ("failed", None)
        else:
            assert own["status"] == "ok", own["error_message"]
            np.testing.assert_array_equal(np.float32(own["embedding"]), vector_of(row["text"], DIMENSIONS))


def sizes_of(run_dir: Path) -> list[int]:
    return sorted(row["n_samples"] for row in table(run_dir, "attempts"))


# ---------------------------------------------------------------- Cohere


def test_a_run_speaks_coheres_format(config: Any, tmp_path: Path) -> None:
    rows = texts_of(200)
    with vendor(embed) as server:
        made = config(server.root, "cohere-embed", rows, params={"truncate": "END"})
        summary: RunSummary = runner.run(made, run_dir=tmp_path / "run")
        assert (summary.exit_code, summary.ok, summary.warnings) == (0, 200, [])
        runner.run(made, run_dir=tmp_path / "run")
        assert len(server.seen) == 3  # 96 texts at most, and nothing twice
    check_vectors(tmp_path / "run", rows)
    assert sizes_of(tmp_path / "run") == [8, 96, 96]
    for body in server.bodies:
        texts = body.pop("texts")
        assert 1 <= len(texts) <= 96
        assert body == {
            "model": "m",
            "input_type": "search_document",
            "embedding_types": ["float"],
            "truncate": "END",
        }
    found = table(tmp_path / "run")
    assert summary.prompt_tokens == summary.total_tokens == 600 == sum(row["prompt_tokens"] for row in found)
    assert {row["completion_tokens"] for row in found} == {None}
    assert summary.cost_usd == pytest.approx(0.6)
    assert {(row["endpoint"], row["response_id"], row["usage_exact"]) for row in found} == {
        ("embeddings", "e-1", False)
    }
    ids, matrix = runner.load_embeddings(tmp_path / "run")
    assert (len(ids), matrix.shape, matrix.dtype) == (200, (200, DIMENSIONS), np.float32)
    np.testing.assert_array_equal(matrix[ids.index("q7")], vector_of("passage number 7", DIMENSIONS))
    assert not [path for path in (tmp_path / "run").rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]


def test_a_poisonous_text_fails_alone(config: Any, tmp_path: Path) -> None:
    rows = texts_of(96)
    rows[41]["text"] += POISON
    with vendor(embed) as server:
        summary = runner.run(config(server.root, "cohere-embed", rows), run_dir=tmp_path / "run")
        assert (summary.ok, summary.failed, summary.exit_code) == (95, 1, 3)
        assert len(server.seen) <= 1 + 2 * 7
        check_vectors(tmp_path / "run", rows, but=("q41",))
        bad = by_sample(tmp_path / "run")["q41"]
        assert (bad["error_kind"], bad["http_status"]) == ("bad_request", 400)
        assert bad["error_message"].startswith("HTTP 400: invalid request: a text cannot be embedded")
        assert [body["texts"] for body in server.bodies if body["texts"] == [rows[41]["text"]]]
        before = len(server.seen)
        runner.run(config(server.root, "cohere-embed", rows), run_dir=tmp_path / "run")
        assert len(server.seen) == before


def test_a_limit_that_no_adapter_states_is_learnt(config: Any, tmp_path: Path) -> None:
    adapter = copy.deepcopy(runner.config.load_adapter("cohere-embed"))
    adapter["capabilities"]["most_inputs"] = None
    rows = texts_of(600)
    with vendor(embed) as server:
        made = config(server.root, adapter, rows)
        made["limits"] = {"max_in_flight": 1}
        summary = runner.run(made, run_dir=tmp_path / "run")
    assert (summary.ok, summary.failed) == (600, 0)
    check_vectors(tmp_path / "run", rows)
    refused = [row["n_samples"] for row in table(tmp_path / "run", "attempts") if row["http_status"] == 400]
    assert max(refused) == 256
    assert len(refused) <= 7


# ---------------------------------------------------------------- formats of a user's own


def one(seen: Seen) -> Reply:
    text = seen.body["text"]
    return says({"vector": vector_of(text, DIMENSIONS), "cost": len(text)})


def as_base64(numbers: list[float]) -> str:
    return base64.b64encode(np.array(numbers, "<f4").tobytes()).decode()


def several(seen: Seen) -> Reply:
    """Answer in another order than was asked, in base64."""
    items = seen.body["ask"]["items"]
    found = [{"of": place, "values": as_base64(vector_of(item, DIMENSIONS))} for place, item in enumerate(items)]
    return says({"found": found[::-1], "cost": 7 * len(items)})


def test_one_input_a_request_is_the_default(config: Any, tmp_path: Path) -> None:
    rows = texts_of(5)
    with vendor(one) as server:
        summary = runner.run(config(server.root, SINGLE, rows), run_dir=tmp_path / "run")
        assert summary.exit_code == 0
        runner.run(config(server.root, SINGLE, rows), run_dir=tmp_path / "run")
    check_vectors(tmp_path / "run", rows)
    assert sorted(body["text"] for body in server.bodies) == sorted(row["text"] for row in rows)
    for row in table(tmp_path / "run"):
        assert row["prompt_tokens"] == row["total_tokens"] == len(row["in_text"])
        assert row["usage_exact"] is True
    assert sizes_of(tmp_path / "run") == [1] * 5


def test_columns_of_the_row_make_packs_of_their_own(config: Any, tmp_path: Path) -> None:
    rows = texts_of(20)
    with vendor(several) as server:
        made = config(server.root, SEVERAL, rows, params={"level": 2}, extra_body={"trace": "{{ kind }}"})
        summary = runner.run(made, run_dir=tmp_path / "run")
    assert (summary.exit_code, summary.prompt_tokens) == (0, 140)
    check_vectors(tmp_path / "run", rows)
    assert sorted((body["ask"]["kind"], body["trace"], len(body["ask"]["items"])) for body in server.bodies) == [
        ("even", "even", 10),
        ("odd", "odd", 10),
    ]
    assert {body["level"] for body in server.bodies} == {2}


@pytest.mark.parametrize("size", [1, 6, "auto"])
def test_packs_are_how_samples_travel_and_enter_no_key(size: Any, config: Any, tmp_path: Path) -> None:
    rows = texts_of(12)
    with vendor(several) as server:
        runner.run(config(server.root, SEVERAL, rows[:6], batch_size=4), run_dir=tmp_path / "run")
        before = len(server.seen)
        runner.run(config(server.root, SEVERAL, rows, batch_size=size), run_dir=tmp_path / "run")
        assert len(server.seen) - before == {1: 6, 6: 2, "auto": 2}[size]
        # An adapter that takes one at a time has the same rows: what its server can do is no part of a request.
        alone = {**SEVERAL, "capabilities": {}, "body": copy.deepcopy(SEVERAL["body"])}
        before = len(server.seen)
        runner.run(config(server.root, alone, rows), run_dir=tmp_path / "run")
        assert len(server.seen) == before
        runner.run(config(server.root, SEVERAL, rows), run_dir=tmp_path / "other")
    check_vectors(tmp_path / "run", rows)
    assert {row["key"] for row in table(tmp_path / "run")} == {row["key"] for row in table(tmp_path / "other")}


def test_an_edited_row_alone_is_sent_again(config: Any, tmp_path: Path) -> None:
    rows = texts_of(30)
    with vendor(several) as server:
        runner.run(config(server.root, SEVERAL, rows), run_dir=tmp_path / "run")
        rows[3]["text"], rows[4]["kind"] = "another passage", "odd"
        rows.reverse()
        before = len(server.seen)
        summary = runner.run(config(server.root, SEVERAL, rows), run_dir=tmp_path / "run")
        sent = [(body["ask"]["kind"], body["ask"]["items"]) for body in server.bodies[before:]]
    assert sorted(sent) == [("odd", ["passage number 4", "another passage"])]
    assert (summary.ok, summary.superseded) == (30, 2)
    check_vectors(tmp_path / "run", rows)


def test_token_ids_and_several_inputs_of_a_row(config: Any, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"id": "a", "text": "one", "kind": 1},
        {"id": "b", "text": [1, 2, 3], "kind": 1},
        {"id": "c", "text": ["two", "three"], "kind": 1},
        {"id": "d", "text": [4], "kind": 1},
    ]
    with vendor(several) as server:
        summary = runner.run(config(server.root, SEVERAL, rows, repeats=2), run_dir=tmp_path / "run")
    assert (summary.exit_code, summary.ok) == (0, 2 * 5)
    sent = Counter(json.dumps(body["ask"]["items"]) for body in server.bodies)
    assert sent == {'["one", "one"]': 1, '["two", "three"]': 2, "[[1, 2, 3], [1, 2, 3], [4], [4]]": 1}
    found = {(row["sample_id"], row["repeat"], row["choice"]): row["embedding"] for row in table(tmp_path / "run")}
    for repeat in (0, 1):
        for choice, text in enumerate(("two", "three")):
            np.testing.assert_array_equal(np.float32(found["c", repeat, choice]), vector_of(text, DIMENSIONS))


# ---------------------------------------------------------------- what is refused before anything is sent


@pytest.mark.parametrize(
    ("adapter", "request_", "where", "message"),
    [
        (SINGLE, {"batch_size": 2}, "request.batch_size", "the adapter mine takes one input in a request"),
        ("cohere-embed", {"batch_size": 97}, "request.batch_size", "takes 96 inputs in a request"),
        (SEVERAL, {"extra_body": {"ask": {}}}, "request.extra_body.ask", "puts the inputs there"),
        (SEVERAL, {"stream": True}, "request.stream", "streaming with the endpoint embeddings"),
        (SEVERAL, {"input": None}, "request.input", "missing"),
    ],
)
def test_what_cannot_be_is_refused(
    adapter: Any, request_: dict[str, Any], where: str, message: str, config: Any
) -> None:
    with pytest.raises(runner.RunnerError) as caught:
        runner.run(config("http://127.0.0.1:9", adapter, texts_of(2), **request_))
    assert where in str(caught.value)
    assert message in str(caught.value)


def test_packs_of_completions_are_not_available(config: Any) -> None:
    request = {"endpoint": "completions", "input": None, "prompt": "{{ text }}", "batch_size": 4}
    with pytest.raises(ConfigError, match=r"request\.batch_size: completions of several samples .* not available yet"):
        runner.run(config("http://127.0.0.1:9", "openai-completions", texts_of(2), **request))


def test_a_row_of_several_inputs_is_refused_where_a_request_holds_one(config: Any, tmp_path: Path) -> None:
    rows = [*texts_of(2), {"id": "many", "text": ["a", "b"], "kind": "odd"}]
    with vendor(one) as server:
        made = config(server.root, SINGLE, rows)
        with pytest.raises(DatasetError, match=r"2 inputs, and the adapter mine takes one in a request"):
            runner.run(made, run_dir=tmp_path / "run")
        assert server.seen == []
        made["dataset"]["on_bad_row"] = "skip"
        summary = runner.run(made, run_dir=tmp_path / "run")
    assert summary.by_status == {"ok": 2, "skipped": 1}


# ---------------------------------------------------------------- odd answers


def cut(vectors: list[Any]) -> list[Any]:
    return vectors[:-1]


def doubled(vectors: list[Any]) -> list[Any]:
    return [*vectors, vectors[0]]


def longer(vectors: list[Any]) -> list[Any]:
    return [*vectors[:-1], [*vectors[-1], 1.0]]


def worded(vectors: list[Any]) -> list[Any]:
    return [*vectors[:-1], "no vector"]


@pytest.mark.parametrize(
    ("spoil", "failed", "message"),
    [
        (cut, ("q0", "q1", "q2"), "the answer has 2 vectors for 3 inputs, and no index"),
        (doubled, ("q0", "q1", "q2"), "the answer has 4 vectors for 3 inputs, and no index"),
        (longer, ("q2",), "the embedding has 9 dimensions, and this run's first one 8"),
        (worded, ("q2",), "the embedding is no base64"),
    ],
)
def test_no_vector_is_given_to_the_wrong_sample(
    spoil: Callable[[list[Any]], list[Any]], failed: tuple[str, ...], message: str, config: Any, tmp_path: Path
) -> None:
    def answer(seen: Seen) -> Reply:
        body = answer_to(seen.body["texts"])
        return says({**body, "embeddings": {"float": spoil(body["embeddings"]["float"])}})

    rows = texts_of(3)
    with vendor(answer) as server:
        made = config(server.root, "cohere-embed", rows)
        made["output"]["keep_raw"] = False
        summary = runner.run(made, run_dir=tmp_path / "run")
        runner.run(made, run_dir=tmp_path / "run")
        assert len(server.seen) == 1  # it was paid for; asking again would not mend it
    assert (summary.failed, summary.exit_code, summary.prompt_tokens) == (len(failed), 3, 9)
    check_vectors(tmp_path / "run", rows, but=failed)
    found = by_sample(tmp_path / "run")
    for sample in failed:
        assert found[sample]["error_kind"] == "parse"
        assert found[sample]["error_message"].startswith(message)
        assert found[sample]["prompt_tokens"] == 3
    # What could not be used keeps its bytes, though the config keeps none.
    assert len(table(tmp_path / "run", "raw")) == 1


def test_answers_that_parsed_are_not_kept_where_none_are(config: Any, tmp_path: Path) -> None:
    with vendor(embed) as server:
        made = config(server.root, "cohere-embed", texts_of(3))
        made["output"]["keep_raw"] = False
        runner.run(made, run_dir=tmp_path / "run")
    assert table(tmp_path / "run", "raw") == []


HOSTILE = [
    b"{}",
    b"[]",
    b"null",
    b'"text"',
    b"5",
    b'{"embeddings": null}',
    b'{"embeddings": {"float": []}}',
    b'{"embeddings": {"float": [null, null]}}',
    b'{"embeddings": {"float": "AAAA"}}',
    b'{"embeddings": [[1], [2]]}',
    b'{"embeddings": {"float": [[1e999, "x"], [{}]]}}',
    b'{"embeddings": {"float": [[], []]}, "meta": {"billed_units": {"input_tokens": -1}}}',
    b'{"embeddings": {"float": ' + b"[" * 400 + b"1" + b"]" * 400 + b"}}",
    b'{"embeddings": {"float": ' + b"[" * 5000 + b"1" + b"]" * 5000 + b"}}",
    b'{"embeddings": {"float": ["\\ud800", "\xff"]}, "id": "\\ud800"}',
    b'{"embeddings": {"float": [[1' + b"0" * 5000 + b'], ["a"]]}, "meta": "x"}',
]


@pytest.mark.parametrize("body", HOSTILE)
def test_hostile_answers_end_in_rows_and_keep_their_bytes(body: bytes, config: Any, tmp_path: Path) -> None:
    with vendor(lambda _: Reply(body=body)) as server:
        made = config(server.root, "cohere-embed", texts_of(2))
        made["output"]["keep_raw"] = False
        summary = runner.run(made, run_dir=tmp_path / "run")
    rows = by_sample(tmp_path / "run")
    assert (summary.status, summary.samples, len(rows)) == ("complete", 2, 2)
    assert {row["status"] for row in rows.values()} <= {"failed", "ok"}
    assert summary.failed >= 1
    assert [row["response"] for row in table(tmp_path / "run", "raw")] == [body]
    assert len(server.seen) <= 2


# ---------------------------------------------------------------- resealing


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        ({"list": "embeddings.flaot"}, "no_choices"),
        ({"list": "embeddings.float", "vector": "vector"}, "no_choices"),
        ({"list": "embeddings.float[]"}, "parse"),
        ({"list": "embeddings.float", "index": "index"}, "parse"),
    ],
)
def test_resealing_with_a_mended_mapping_sends_nothing_and_gives_the_vectors(
    wrong: dict[str, str], kind: str, config: Any, tmp_path: Path
) -> None:
    right = runner.config.load_adapter("cohere-embed")
    bad = copy.deepcopy(right)
    bad["response"]["embeddings"] = wrong
    rows = texts_of(40)
    with vendor(embed) as server:
        made = config(server.root, bad, rows)
        made["output"]["keep_raw"] = False
        summary = runner.run(made, run_dir=tmp_path / "run")
        assert (summary.by_status, len(server.seen)) == ({"failed": 40}, 1)
        assert {row["error_kind"] for row in table(tmp_path / "run")} == {kind}
        # The mended file also says less of its server than the run's own: what was sent was sent.
        right["capabilities"] = {"array_input": False, "most_inputs": None}
        config(server.root, right, rows)
        finished = evalrunner("reseal", tmp_path / "run", "--json", cwd=tmp_path)
        assert (finished.code, finished.json["after"]) == (0, {"ok": 40})
        again = evalrunner("resume", tmp_path / "run", "--json", cwd=tmp_path)
        assert (again.json["exit_code"], len(server.seen)) == (0, 1)
    check_vectors(tmp_path / "run", rows)
    assert sum(row["prompt_tokens"] for row in table(tmp_path / "run")) == 120
    assert read_manifest(RunFolder(tmp_path / "run")).adapter["capabilities"]["array_input"] is True
    assert evalrunner("verify", tmp_path / "run", cwd=tmp_path).code == 0


# ---------------------------------------------------------------- the check


def checked(config: dict[str, Any], tmp_path: Path) -> tuple[int, dict[str, tuple[str, str]]]:
    path = tmp_path / "run.yaml"
    path.write_text(json.dumps(config), encoding="utf-8")
    finished = evalrunner("check", path, "--json", cwd=tmp_path)
    assert KEY not in finished.out
    return finished.code, {one["name"]: (one["outcome"], one["detail"]) for one in finished.json["checks"]}


def test_the_check_sends_one_request_and_says_what_each_expression_finds(config: Any, tmp_path: Path) -> None:
    with vendor(embed) as server:
        code, found = checked(config(server.root, "cohere-embed", texts_of(300)), tmp_path)
    assert (code, [body["texts"] for body in server.bodies]) == (0, [["passage number 0"] * 2])
    assert found["answer"] == ("ok", "2 vectors of 8 dimensions")
    assert found["embeddings.list"] == ("ok", "`embeddings.float` finds a list of 2")
    assert found["usage.prompt_tokens"] == ("ok", "`meta.billed_units.input_tokens` finds '6'")
    assert found["id"] == ("ok", "`id` finds 'e-1'")
    assert not found.keys() & {"text", "choices", "body", "tools", "n"}


@pytest.mark.parametrize(
    ("embeddings", "expression", "detail"),
    [
        ({"list": "vectors"}, "embeddings.list", "`vectors` finds nothing"),
        ({"list": "embeddings.float", "vector": "v"}, "embeddings.vector", "`v` finds nothing"),
        ({"list": "embeddings.float", "index": "place"}, "embeddings.index", "`place` finds nothing"),
    ],
)
def test_the_check_explains_a_mapping_that_finds_nothing(
    embeddings: dict[str, str], expression: str, detail: str, config: Any, tmp_path: Path
) -> None:
    adapter = copy.deepcopy(runner.config.load_adapter("cohere-embed"))
    adapter["response"]["embeddings"] = embeddings
    with vendor(lambda seen: says({**answer_to(seen.body["texts"]), "echo": KEY})) as server:
        code, found = checked(config(server.root, adapter, texts_of(2)), tmp_path)
    assert (code, found[expression]) == (5, ("no", detail))
    assert found["body"][1].startswith('{"id":"e-1","embeddings":{"float":[[')
    assert orjson.loads(found["body"][1])["echo"] != KEY


def test_the_check_of_a_server_that_takes_one_input_sends_one(config: Any, tmp_path: Path) -> None:
    with vendor(one) as server:
        code, found = checked(config(server.root, SINGLE, texts_of(2)), tmp_path)
    assert (code, server.bodies) == (0, [{"text": "passage number 0"}])
    assert found["answer"] == ("ok", "1 vector of 8 dimensions")


def test_the_check_shows_that_a_server_takes_no_array(config: Any, tmp_path: Path) -> None:
    def answer(seen: Seen) -> Reply:
        return says({"vectors": [vector_of(seen.body["ask"]["items"][0], DIMENSIONS)]})

    adapter = {**SEVERAL, "response": {"embeddings": {"list": "vectors"}}}
    with vendor(answer) as server:
        code, found = checked(config(server.root, adapter, texts_of(2)), tmp_path)
    assert code == 5
    assert found["answer"][1].startswith("the answer has 1 vectors for 2 inputs")


def test_the_check_tells_that_what_is_found_is_no_vector(config: Any, tmp_path: Path) -> None:
    adapter = copy.deepcopy(runner.config.load_adapter("cohere-embed"))
    adapter["response"]["embeddings"] = {"list": "texts"}
    with vendor(embed) as server:
        code, found = checked(config(server.root, adapter, texts_of(2)), tmp_path)
    assert code == 5
    assert found["answer"][0] == "failed"
    assert found["answer"][1].startswith("the embedding is no base64")
    assert found["body"][0] == "failed"
