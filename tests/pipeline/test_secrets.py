"""A planted key, which servers show again in every way: it is in no byte of the run folder and in nothing printed."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
import pytest

import runner
from runner.config import config_from_dict
from runner.pipeline import execute
from runner.pipeline.locate import Where
from runner.pipeline.opening import RunOptions
from runner.simulate import AnswerStyle
from tests.support.leaks import find_leaks, shown_forms
from tests.support.odd_server import Reply, answering, completion
from tests.support.runs import by_sample, config_for, questions, table, write_rows
from tests.support.serving import QUICK

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runner import RunSummary
    from runner.simulate import Simulator
    from tests.support.odd_server import Call

# With the characters that JSON, URLs and HTML write in more than one way.
KEY = "sk-planted-Ab3/x+Yz09q/Vv8=="
VARIABLE = "EVALRUNNER_TEST_KEY"
JSON = {"Content-Type": "application/json"}


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, KEY)


def run_with_key(config: dict[str, Any], run_dir: Path) -> tuple[RunSummary, str]:
    """Run with the key and with --debug's sink; return the summary and all that was said."""
    said = io.StringIO()
    loaded = config_from_dict(config, run_dir.parent)
    options = RunOptions(
        Where(run_dir=run_dir), say=lambda text: _write(said, text), debug=lambda text: _write(said, text)
    )
    return execute.run(loaded, options), said.getvalue()


def _write(said: io.StringIO, text: str) -> None:
    said.write(f"{text}\n")


# ---------------------------------------------------------------- places where a server shows it


def in_answer(form: str) -> Reply:
    """In the text of a 200; `form` is what stands in the JSON string, byte for byte."""
    reply = completion("the key is HERE, I think")
    return replace(reply, body=reply.body.replace(b"HERE", form.encode()))


def in_model_name(form: str) -> Reply:
    body = orjson.loads(completion("fine").body) | {"model": "HERE", "id": "HERE", "system_fingerprint": "HERE"}
    return Reply(body=orjson.dumps(body).replace(b"HERE", form.encode()), headers=JSON)


def in_error(form: str) -> Reply:
    return Reply(400, b'{"error":{"message":"Bad key %s given","code":null}}' % form.encode(), JSON)


def in_error_of_200(form: str) -> Reply:
    return Reply(200, b'{"error":{"message":"Upstream said: %s","code":400}}' % form.encode(), JSON)


def in_page(form: str) -> Reply:
    page = f"<html><title>400 {form}</title><body>Authorization: Bearer {form}</body></html>"
    return Reply(400, page.encode(), {"Content-Type": "text/html"})


def in_plain_text(form: str) -> Reply:
    return Reply(400, f"no such key: {form}".encode(), {"Content-Type": "text/plain"})


def in_what_is_no_json(form: str) -> Reply:
    return Reply(200, f"key={form}".encode(), JSON)


def in_headers(form: str) -> Reply:
    names = ("x-request-id", "retry-after", "x-ratelimit-remaining-requests", "location", "set-cookie", "x-key")
    return replace(completion("fine"), headers={**JSON, **dict.fromkeys(names, form)})


def in_long_header(form: str) -> Reply:
    return replace(completion("fine"), headers={**JSON, "x-request-id": "x" * 190 + form})


def in_broken_header(form: str) -> Reply:
    return Reply(head=f"HTTP/1.1 200 OK\r\nbad header {form}\x00: x\r\n\r\n".encode())


def in_endless_header(form: str) -> Reply:
    return Reply(head=b"HTTP/1.1 200 OK\r\nX-Echo: " + (form + ",").encode() * 1000 + b"\r\n\r\n")


def in_status_line(form: str) -> Reply:
    return Reply(head=f"HTTP/1.1 {form} OK\r\n\r\n".encode())


PLACES: dict[str, Callable[[str], Reply]] = {
    place.__name__: place
    for place in (
        in_answer,
        in_model_name,
        in_error,
        in_error_of_200,
        in_page,
        in_plain_text,
        in_what_is_no_json,
        in_headers,
        in_long_header,
        in_broken_header,
        in_endless_header,
        in_status_line,
    )
}
FORMS = shown_forms(KEY)
assert all("\\" not in form for name, form in FORMS.items() if "json" not in name)


def possible(place: str, form: str) -> bool:
    """JSON's escapes mean something inside JSON alone, those of HTML on a page."""
    return {
        "json": place in {"in_answer", "in_model_name", "in_error", "in_error_of_200"},
        "html": place == "in_page",
    }.get(form.partition("_")[0], True)


def test_the_test_finds_a_key_where_there_is_one(simulator: Simulator, tmp_path: Path) -> None:
    rows = [{**row, "note": form} for row, form in zip(questions(len(FORMS)), FORMS.values(), strict=True)]
    dataset = write_rows(tmp_path / "data.jsonl", rows)
    runner.run(config_for(simulator, dataset), run_dir=tmp_path / "run")
    leaks = find_leaks(KEY, tmp_path / "run", "", f"a {KEY}")
    assert [leak for leak in leaks if "column" in leak] == [
        "raw/part-000001.parquet column meta",
        "responses/part-000001.parquet column in_note",
    ]
    assert leaks[-1] == "text 1"


@pytest.mark.parametrize("form", FORMS)
def test_a_key_that_the_server_shows_is_nowhere(simulator: Simulator, tmp_path: Path, form: str) -> None:
    places = [place for place in PLACES if possible(place, form)]
    # The server learns the place from the row; the row does not hold the key.
    rows = [{"id": place, "question": place, "answer": "?"} for place in places]
    dataset = write_rows(tmp_path / "data.jsonl", rows)
    keys = set()
    journal = []

    def answer(call: Call) -> Reply:
        keys.add(call.key)
        journal.extend(path.read_bytes() for path in (tmp_path / "run" / "_journal").iterdir())
        return PLACES[call.question](FORMS[form])

    with answering(answer) as base_url:
        model = {"base_url": base_url, "api_key_env": VARIABLE}
        config = config_for(simulator, dataset, model=model, limits={"max_in_flight": 1})
        summary, said = run_with_key(config, tmp_path / "run")
    assert keys == {KEY}
    assert by_sample(summary.run_dir).keys() == set(places)
    (tmp_path / "run" / "journal-as-it-was").write_bytes(b"\n".join(journal))
    texts = (said, orjson.dumps(summary.to_json()).decode(), runner.load(summary.run_dir).to_csv())
    assert find_leaks(KEY, tmp_path / "run", *texts) == []
    assert b"[redacted]" in b"\n".join(row["response"] or b"" for row in table(summary.run_dir, "raw"))


@pytest.mark.parametrize("at", range(180, 330, 6))
def test_no_piece_of_a_key_is_left_where_a_message_is_cut(simulator: Simulator, tmp_path: Path, at: int) -> None:
    dataset = write_rows(tmp_path / "data.jsonl", questions(3))

    def answer(call: Call) -> Reply:
        text = "x" * at + KEY
        if call.number == 1:
            return in_error(text)
        return in_long_header("x" * (at - 180) + KEY) if call.number == 2 else in_endless_header(text)

    with answering(answer) as base_url:
        model = {"base_url": base_url, "api_key_env": VARIABLE}
        config = config_for(simulator, dataset, model=model, limits={"max_in_flight": 1}, retry={"max_attempts": 1})
        summary, said = run_with_key(config, tmp_path / "run")
    shown = [row[name] or "" for row in table(summary.run_dir) for name in ("error_message", "request_id")]
    assert all(KEY[:9] not in text for text in [*shown, said, *summary.warnings])


# ---------------------------------------------------------------- the simulator, which knows another key


def test_a_401_that_shows_the_key_again(simulator: Simulator, tmp_path: Path) -> None:
    dataset = write_rows(tmp_path / "data.jsonl", questions(4))
    simulator.change(replace(QUICK, api_keys=("sk-another",), echo_key="full"))
    config = config_for(simulator, dataset, model={"api_key_env": VARIABLE})
    summary, said = run_with_key(config, tmp_path / "run")
    assert summary.exit_code == 5
    assert any("Incorrect API key provided: [redacted]" in warning for warning in summary.warnings)
    assert "attempt failed" in said
    assert find_leaks(KEY, tmp_path, said, repr(summary), str(summary.to_json())) == []


def test_the_key_that_the_server_accepts_is_nowhere_either(simulator: Simulator, tmp_path: Path) -> None:
    dataset = write_rows(tmp_path / "data.jsonl", questions(4))
    simulator.change(replace(QUICK, api_keys=(KEY,), answers=AnswerStyle(echo=True)))
    config = config_for(simulator, dataset, model={"api_key_env": VARIABLE})
    summary, said = run_with_key(config, tmp_path / "run")
    assert (summary.exit_code, summary.ok) == (0, 4)
    assert find_leaks(KEY, tmp_path, said, repr(summary)) == []
    manifest = orjson.loads((tmp_path / "run" / "manifest.json").read_bytes())
    assert manifest["config"]["model"]["api_key_env"] == VARIABLE


def redirect_to(target: str) -> Callable[[Call], Reply]:
    return lambda _: Reply(307, b"", {"Location": target})


def test_a_redirect_that_carries_the_key_is_not_shown(simulator: Simulator, tmp_path: Path) -> None:
    dataset = write_rows(tmp_path / "data.jsonl", questions(1))
    for target in (f"https://{KEY[:-2]}.example/v1", f"https://user:{KEY}@example/v1", f"https://example/?key={KEY}"):
        with answering(redirect_to(target)) as base_url:
            config = config_for(simulator, dataset, model={"base_url": base_url, "api_key_env": VARIABLE})
            summary, said = run_with_key(config, tmp_path / f"run-{len(target)}")
        assert summary.exit_code == 5
        assert find_leaks(KEY, tmp_path, said, repr(summary)) == []
