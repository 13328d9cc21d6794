"""Whole runs whose rows name files: what arrives, what is sent again, what is refused before anything is paid for."""

from __future__ import annotations

import functools
import io
import os
import shutil
import sys
import tracemalloc
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import orjson
import pytest

import runner
from runner.config import config_from_dict
from runner.errors import DatasetError, TemplateError
from runner.limiter import Limits
from runner.pipeline.locate import Where
from runner.pipeline.passes.estimate import estimate
from runner.pipeline.passes.produce import produce
from runner.pipeline.sending import session
from runner.pipeline.sending.backlog import Backlog
from runner.pipeline.survey import prepare_and_scan, rehearse
from runner.simulate import AnswerStyle, FaultRules, Fixed, Latency
from tests.support.runs import by_sample, check_books, config_for, run_again, sent_by, table, write_rows
from tests.support.serving import QUICK

if TYPE_CHECKING:
    from pathlib import Path

    from runner.pipeline.sending.sessionplan import SessionPlan
    from runner.records import Request
    from runner.simulate import Simulator

ROWS = 6
CONTENT = [
    {"type": "text", "text": "{{ question }}"},
    {"type": "image_url", "image_url": {"url": "{{ image | data_url }}", "detail": "low"}},
]
ASKED = {"messages": [{"role": "user", "content": CONTENT}]}


def picture(number: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + bytes([number]) * 100


def write_dataset(folder: Path, count: int = ROWS) -> Path:
    (folder / "pics").mkdir(exist_ok=True)
    for number in range(count):
        (folder / "pics" / f"{number}.png").write_bytes(picture(number))
    return write_rows(folder / "data.jsonl", [row(number) for number in range(count)])


def row(number: int, **more: Any) -> dict[str, Any]:
    name = f"pics/{number}.png"
    return {"id": f"q{number}", "question": f"What is on {number}?", "image": name, "answer": "", **more}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return write_dataset(tmp_path)


@pytest.fixture
def echoing(simulator: Simulator) -> Simulator:
    simulator.change(replace(QUICK, answers=AnswerStyle(echo=True)))
    return simulator


def seen(content: bytes, kind: str = "image_url image/png") -> str:
    return f"[{kind} {len(content)} bytes {sha256(content).hexdigest()[:12]}]"


# ---------------------------------------------------------------- what arrives


def test_each_row_sends_its_own_picture(echoing: Simulator, dataset: Path) -> None:
    config, run_dir = config_for(echoing, dataset, request=ASKED), dataset.parent / "run"
    summary, sent = run_again(config, run_dir, echoing)
    assert (summary.exit_code, summary.ok, sent) == (0, ROWS, ROWS)
    rows = by_sample(run_dir)
    for number in range(ROWS):
        assert rows[f"q{number}"]["text"] == f"What is on {number}?{seen(picture(number))}"
        assert rows[f"q{number}"]["in_image"] == f"pics/{number}.png"
        assert rows[f"q{number}"]["prompt_tokens"] == 4 + 4 + 85
    bodies = {row["request"] for row in table(run_dir, "raw")}
    assert all(orjson.loads(body)["messages"][0]["content"][1]["image_url"]["detail"] == "low" for body in bodies)


@pytest.mark.parametrize("endpoint", ["chat", "responses", "logprobs"])
def test_pictures_sound_documents_and_texts_arrive_at_every_endpoint(
    endpoint: str, echoing: Simulator, tmp_path: Path
) -> None:
    for name, held in (
        ("a.webp", b"w"),
        ("clip.wav", b"RIFF"),
        ("doc.pdf", b"%PDF"),
        ("notes.txt", b"Gr\xc3\xbc\xc3\x9fe"),
    ):
        (tmp_path / name).write_bytes(held)
    content: list[dict[str, Any]] = [
        {"type": "text", "text": "{{ question }} {{ notes | file_text }}"},
        {"type": "image_url", "image_url": {"url": "{{ image | data_url('image/webp') }}"}},
        {"type": "input_audio", "input_audio": {"data": "{{ clip | base64 }}", "format": "wav"}},
        {"type": "file", "file": {"filename": "{{ doc }}", "file_data": "{{ doc | data_url }}"}},
        {"type": "image_url", "image_url": {"url": "{{ far | data_url }}"}},
    ]
    one = {"id": "a", "question": "Q", "image": "a.webp", "clip": "clip.wav", "doc": "doc.pdf", "notes": "notes.txt"}
    dataset = write_rows(tmp_path / "data.jsonl", [{**one, "far": "https://example.org/x.png", "answer": ""}])
    request = {"endpoint": endpoint, "messages": [{"role": "user", "content": content}]}
    config = config_for(echoing, dataset, request=request)
    assert runner.run(config, run_dir=tmp_path / "run").exit_code == 0
    image, file = ("input_image", "input_file") if endpoint == "responses" else ("image_url", "file")
    text = by_sample(tmp_path / "run")["a"]["text"]
    assert text == "".join(
        [
            "Q Grüße",
            seen(b"w", f"{image} image/webp"),
            seen(b"RIFF", "input_audio wav"),
            seen(b"%PDF", f"{file} application/pdf"),
            f"[{image} https://example.org/x.png]",
        ]
    )


def test_files_are_found_from_any_working_folder_beside_a_link_to_nothing(
    echoing: Simulator, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "by_link").symlink_to(dataset.parent)
    monkeypatch.chdir(tmp_path / "elsewhere")
    config = config_for(echoing, tmp_path / "by_link" / "data.jsonl", request=ASKED)
    assert runner.run(config, run_dir=tmp_path / "run").ok == ROWS


# ---------------------------------------------------------------- identity


@pytest.mark.parametrize("ids", ["id", None])
def test_a_replaced_picture_sends_exactly_its_sample_again(
    ids: str | None, simulator: Simulator, dataset: Path
) -> None:
    config, run_dir = config_for(simulator, dataset, request=ASKED, dataset={"id": ids}), dataset.parent / "run"
    run_again(config, run_dir, simulator)
    old = table(run_dir)
    (dataset.parent / "pics" / "3.png").write_bytes(picture(99))
    summary, sent = run_again(config, run_dir, simulator)
    assert (sent, summary.ok, summary.superseded) == (1, ROWS, 1)
    (gone,) = table(run_dir, "superseded")
    assert gone in old
    assert gone["in_image"] == "pics/3.png"
    assert run_again(config, run_dir, simulator)[1] == 0


def test_files_that_were_only_touched_copied_or_linked_send_nothing(
    simulator: Simulator, dataset: Path, tmp_path: Path
) -> None:
    config, run_dir = config_for(simulator, dataset, request=ASKED), tmp_path / "run"
    run_again(config, run_dir, simulator)
    pictures = sorted((tmp_path / "pics").iterdir())
    os.utime(pictures[0], (1, 1))
    pictures[1].write_bytes(pictures[1].read_bytes())
    pictures[2].rename(tmp_path / "pics" / "kept.png")
    pictures[2].symlink_to("kept.png")
    shutil.copy(pictures[3], tmp_path / "copy")
    (tmp_path / "copy").replace(pictures[3])
    summary, sent = run_again(config, run_dir, simulator)
    assert (sent, summary.ok, summary.superseded) == (0, ROWS, 0)


def test_a_picture_with_another_name_is_the_same_request(simulator: Simulator, dataset: Path, tmp_path: Path) -> None:
    config, run_dir = config_for(simulator, dataset, request=ASKED), tmp_path / "run"
    run_again(config, run_dir, simulator)
    (tmp_path / "pics").rename(tmp_path / "pictures")
    write_rows(dataset, [row(number, image=f"pictures/{number}.png") for number in range(ROWS)])
    summary, sent = run_again(config, run_dir, simulator)
    assert (sent, summary.ok, summary.superseded) == (0, ROWS, 0)
    assert by_sample(run_dir)["q2"]["in_image"] == "pictures/2.png"


def test_a_remembered_scan_is_not_trusted_where_files_may_have_changed(
    simulator: Simulator, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.pipeline.passes.scancache._FEWEST_ROWS", 1)
    plain, run_dir = config_for(simulator, dataset), dataset.parent
    runner.run(plain, run_dir=run_dir / "plain")
    assert (run_dir / "plain" / "_scan").exists(), "a dataset this small is not remembered: the test shows nothing"
    config = config_for(simulator, dataset, request=ASKED)
    run_again_from = sent_by(simulator)
    runner.run(config, run_dir=run_dir / "run")
    assert not (run_dir / "run" / "_scan").exists()
    (dataset.parent / "pics" / "0.png").write_bytes(picture(99))
    assert runner.run(config, run_dir=run_dir / "run").superseded == 1
    assert sent_by(simulator) - run_again_from == ROWS + 1


def test_the_key_is_that_of_what_is_sent(simulator: Simulator, dataset: Path) -> None:
    first = dataset.parent / "first"
    runner.run(config_for(simulator, dataset, request=ASKED), run_dir=first)
    by_url = [row(n, image=f"data:image/png;base64,{b64encode(picture(n)).decode()}") for n in range(ROWS)]
    other = write_rows(dataset.parent / "other.jsonl", by_url)
    runner.run(config_for(simulator, other, request=ASKED), run_dir=dataset.parent / "second")
    keys = [
        {name: one["key"] for name, one in by_sample(folder).items()} for folder in (first, dataset.parent / "second")
    ]
    assert keys[0] == keys[1]


# ---------------------------------------------------------------- bad rows


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ("pics/none.png", "'pics/none.png' does not exist"),
        ("../outside.png", "lies outside the dataset's folder"),
        ("/etc/passwd", "lies outside the dataset's folder"),
        ("pics/pipe.png", "is no regular file"),
        ("pics", "is a folder"),
        ("pics/a.unknown", "its suffix does not say"),
        ("pics/large.png", "20 MiB are the most"),
        (None, "found null"),
        (["pics/0.png"], "found list"),
    ],
)
def test_a_row_whose_file_cannot_be_sent_stops_before_any_request_with_its_place(
    image: Any, reason: str, simulator: Simulator, dataset: Path, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pics" / "pipe.png")
    (tmp_path / "pics" / "a.unknown").write_bytes(b"?")
    with (tmp_path / "pics" / "large.png").open("wb") as file:
        file.truncate(21 << 20)
    write_rows(dataset, [row(number) if number != 4 else row(4, image=image) for number in range(ROWS)])
    config = config_for(simulator, dataset, request=ASKED)
    with pytest.raises(DatasetError) as caught:
        runner.run(config, run_dir=tmp_path / "run")
    assert "1 row of the dataset cannot be used" in caught.value.message
    assert "data.jsonl:5: request.messages.0.content.1.image_url.url: " in caught.value.message
    assert reason in caught.value.message
    assert not (tmp_path / "run").exists()
    config["dataset"]["on_bad_row"] = "skip"
    summary, sent = run_again(config, tmp_path / "run", simulator)
    assert (sent, summary.by_status, summary.exit_code) == (ROWS - 1, {"ok": ROWS - 1, "skipped": 1}, 0)
    (skipped,) = [one for one in table(tmp_path / "run") if one["status"] == "skipped"]
    assert reason in skipped["error_message"]
    assert run_again(config, tmp_path / "run", simulator)[1] == 0


def test_a_row_whose_file_comes_later_is_sent_then(simulator: Simulator, dataset: Path, tmp_path: Path) -> None:
    config = config_for(simulator, dataset, request=ASKED, dataset={"on_bad_row": "skip"})
    (tmp_path / "pics" / "2.png").rename(tmp_path / "away.png")
    assert run_again(config, tmp_path / "run", simulator)[1] == ROWS - 1
    (tmp_path / "away.png").rename(tmp_path / "pics" / "2.png")
    summary, sent = run_again(config, tmp_path / "run", simulator)
    assert (sent, summary.by_status) == (1, {"ok": ROWS})


def test_a_file_that_goes_away_under_the_run_stops_it_and_it_can_be_resumed(
    simulator: Simulator, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_for(simulator, dataset, request=ASKED)
    real = session.run_session

    async def lose_a_file(plan: SessionPlan) -> session.SessionResult:
        (tmp_path / "pics" / "5.png").rename(tmp_path / "away.png")
        return await real(plan)

    monkeypatch.setattr("runner.pipeline.execute.run_session", lose_a_file)
    summary = runner.run(config, run_dir=tmp_path / "run")
    assert summary.exit_code == 2
    assert any("'pics/5.png' does not exist" in warning for warning in summary.warnings)
    monkeypatch.undo()
    (tmp_path / "away.png").rename(tmp_path / "pics" / "5.png")
    summary, _ = run_again(config, tmp_path / "run", simulator)
    assert (summary.exit_code, summary.ok, sent_by(simulator)) == (0, ROWS, ROWS)


def test_a_misspelt_column_is_named_even_where_bad_rows_are_skipped(simulator: Simulator, dataset: Path) -> None:
    content = [{"type": "image_url", "image_url": {"url": "{{ imag | data_url }}"}}]
    request = {"messages": [{"role": "user", "content": content}]}
    config = config_for(simulator, dataset, request=request, dataset={"on_bad_row": "skip"})
    with pytest.raises(TemplateError, match="'imag' is undefined") as caught:
        runner.run(config, run_dir=dataset.parent / "run")
    assert "did you mean 'image'" in caught.value.hint


def test_a_missing_file_in_the_first_row_does_not_stop_a_run_that_skips(simulator: Simulator, dataset: Path) -> None:
    (dataset.parent / "pics" / "0.png").unlink()
    content = [*CONTENT, {"type": "text", "text": "{{ hint | default('') }}"}]  # a column that no row has
    request = {"messages": [{"role": "user", "content": content}]}
    config = config_for(simulator, dataset, request=request, dataset={"on_bad_row": "skip"})
    assert runner.run(config, run_dir=dataset.parent / "run").by_status == {"ok": ROWS - 1, "skipped": 1}


def test_standard_input_has_no_folder_and_urls_pass(
    simulator: Simulator, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(dataset.parent)
    config = config_for(simulator, dataset, request=ASKED)
    config["dataset"]["path"] = "-"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(dataset.read_bytes())))
    with pytest.raises(DatasetError, match="a dataset that came by standard input lies in no folder"):
        runner.run(config, run_dir=dataset.parent / "run")
    by_url = b"".join(orjson.dumps(row(n, image="https://example.org/a.png")) + b"\n" for n in range(ROWS))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(by_url)))
    assert runner.run(config, run_dir=dataset.parent / "other").ok == ROWS


def test_datasets_of_several_folders_name_no_files(simulator: Simulator, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_dataset(tmp_path / name, 2)
    config = config_for(simulator, tmp_path / "data.jsonl", request=ASKED)
    config["dataset"] |= {"path": str(tmp_path / "*" / "data.jsonl"), "id": None}
    with pytest.raises(DatasetError, match="the dataset's own files lie in several folders"):
        runner.run(config, run_dir=tmp_path / "run")


def test_several_dataset_files_of_one_folder_share_its_pictures(simulator: Simulator, dataset: Path) -> None:
    write_rows(dataset.parent / "more.jsonl", [row(number, id=f"m{number}") for number in range(ROWS)])
    config = config_for(simulator, dataset, request=ASKED)
    config["dataset"]["path"] = str(dataset.parent / "*.jsonl")
    assert runner.run(config, run_dir=dataset.parent / "run").ok == 2 * ROWS


# ---------------------------------------------------------------- parts that rows bring along


PARTS: list[Any] = [
    {"type": "text", "text": "Q {{ 7 * 7 }}"},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "high"}},
    {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "mp3"}},
    {"type": "file", "file": {"file_id": "file-123"}},
    {"type": "input_image", "file_id": "file-9", "detail": "auto"},
    {"type": "input_file", "file_url": "https://example.org/a.pdf"},
    {"type": "video_url", "video_url": {"url": "https://example.org/v.mp4"}, "fps": 2},
    {"type": "of.tomorrow", "nested": [{"a": None}, 1.5, True]},
    {"no": "type", "image": "pics/0.png"},
]


@pytest.mark.parametrize("endpoint", ["chat", "logprobs"])
def test_a_column_of_messages_is_sent_as_it_is(endpoint: str, echoing: Simulator, dataset: Path) -> None:
    messages = [{"role": "system", "content": "Look."}, {"role": "user", "content": PARTS, "name": "x"}]
    write_rows(dataset, [{"id": "a", "messages": messages, "answer": ""}])
    config = config_for(echoing, dataset, request={"endpoint": endpoint, "messages": "{{ messages }}"})
    assert runner.run(config, run_dir=dataset.parent / "run").exit_code == 0
    (raw,) = table(dataset.parent / "run", "raw")
    assert orjson.loads(raw["request"])["messages"] == messages
    text = by_sample(dataset.parent / "run")["a"]["text"]
    assert text.startswith("Q {{ 7 * 7 }}[image_url image/png 8 bytes ")
    assert "[file file-123][input_image file-9][input_file https://example.org/a.pdf][video_url https://exam" in text


# ---------------------------------------------------------------- memory


LARGE = 1 << 20


def large_dataset(folder: Path, count: int) -> Path:
    dataset = write_dataset(folder, count)
    for number in range(count):
        (folder / "pics" / f"{number}.png").write_bytes(bytes([number]) * LARGE)
    return dataset


def config_of(dataset: Path, /, **sections: Any) -> Any:
    config: dict[str, Any] = {
        "name": "t",
        "dataset": {"path": str(dataset), "id": "id"},
        "model": {"base_url": "http://127.0.0.1:9/v1", "name": "m"},
        "request": ASKED,
        "output": {"dir": str(dataset.parent / "outputs")},
    }
    for name, values in sections.items():
        config[name] = {**config[name], **values}
    return config_from_dict(config, dataset.parent)


@pytest.mark.parametrize("seed", [None, 7])
@pytest.mark.parametrize("repeats", [1, 3])
def test_few_large_bodies_are_made_at_once_in_order_or_shuffled(seed: int | None, repeats: int, tmp_path: Path) -> None:
    count = 64
    config = config_of(large_dataset(tmp_path, count), dataset={"shuffle_seed": seed}, request={"repeats": repeats})
    production = rehearse(config, Where(run_dir=tmp_path / "run")).production
    names: list[str] = []
    tracemalloc.start()
    try:
        for batch in produce(production):
            made: list[Request] = batch  # type: ignore[assignment] # no row is skipped
            assert sum(len(one.body) for one in made) < (4 + 2 * repeats) * LARGE
            names += [one.cases[0].sample_id for one in made]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    expected = [f"q{number}" for number in range(count) for _ in range(repeats)]
    assert sorted(names) == sorted(expected)
    assert (names == expected) is (seed is None)
    assert peak < 32 * LARGE  # all bodies take 85 times as much as one file; the JSON encoder reserves ten times


def test_a_first_pass_over_large_files_holds_none_of_them(tmp_path: Path) -> None:
    config = config_of(large_dataset(tmp_path, 40))
    tracemalloc.start()
    try:
        prepare_and_scan(config)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * LARGE


def test_bodies_under_way_are_bounded_by_their_bytes(
    simulator: Simulator, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, size = 24, 300_000
    write_dataset(dataset.parent, count)
    for number in range(count):
        (dataset.parent / "pics" / f"{number}.png").write_bytes(bytes([number]) * size)
    monkeypatch.setattr(session, "Backlog", functools.partial(Backlog, most_bytes=3 * 401_000))
    rules = FaultRules(fractions={"503": 0.3})
    latency = Latency(first_token=Fixed(0.02))
    simulator.change(replace(QUICK, latency=latency, faults=rules))
    config = config_for(simulator, dataset, request=ASKED, limits={"max_in_flight": 16})
    summary = runner.run(config, run_dir=dataset.parent / "run")
    assert (summary.status, summary.ok) == ("complete", count)
    assert 1 < simulator.statistics().max_in_flight <= 3


def test_a_body_larger_than_the_bound_goes_by_itself(
    simulator: Simulator, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "Backlog", functools.partial(Backlog, most_bytes=10))
    summary = runner.run(config_for(simulator, dataset, request=ASKED), run_dir=dataset.parent / "run")
    assert (summary.status, summary.ok, simulator.statistics().max_in_flight) == ("complete", ROWS, 1)


def test_a_body_of_many_megabytes_goes_out_whole_and_is_kept(echoing: Simulator, dataset: Path) -> None:
    content = bytes(range(256)) * (20 << 12)
    (dataset.parent / "pics" / "1.png").write_bytes(content)
    config, run_dir = config_for(echoing, dataset, request=ASKED), dataset.parent / "run"
    summary = runner.run(config, run_dir=run_dir)
    check_books(summary, echoing)
    assert by_sample(run_dir)["q1"]["text"] == f"What is on 1?{seen(content)}"
    without = runner.run({**config, "output": {**config["output"], "keep_raw": False}}, run_dir=dataset.parent / "thin")
    assert (without.ok, table(without.run_dir, "raw")) == (ROWS, [])


# ---------------------------------------------------------------- estimate


def test_base64_is_not_counted_as_text_and_is_not_shown(tmp_path: Path) -> None:
    found = rehearse(config_of(large_dataset(tmp_path, 3)), Where(run_dir=tmp_path / "run"))
    guess = estimate(found.production, None, Limits())
    assert guess.requests == 3
    assert 3 * 1000 <= guess.prompt_tokens < 3 * 1200
    assert len(orjson.dumps(guess.first_request)) < 500
    assert "(1,398,104 characters)" in str(guess.first_request)
    (request, *_), *_ = produce(found.production)
    assert request.reserve_tokens < 2000  # type: ignore[union-attr] # no row is skipped
