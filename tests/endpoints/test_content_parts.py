"""Parts of content other than text: which body they become, byte for byte."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any

import orjson
import pytest

from runner.config import config_from_dict
from runner.pipeline.requests.fingerprint import RequestBuilder, Row, RowReader
from runner.pipeline.requests.prepare import prepare

BODIES = Path(__file__).parents[1] / "bodies"
PICTURE, SOUND = b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WAVE"
MESSAGES: list[dict[str, Any]] = [
    {"role": "system", "content": "Look and listen."},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "{{ question }}"},
            {"type": "image_url", "image_url": {"url": "{{ image | data_url }}", "detail": "high"}},
            {"type": "input_audio", "input_audio": {"data": "{{ clip | base64 }}", "format": "wav"}},
            {"type": "file", "file": {"filename": "{{ doc }}", "file_data": "{{ doc | data_url }}"}},
            {"type": "input_image", "file_id": "file-1"},
            {"type": "input_file", "file_url": "https://example.org/a.pdf"},
            {"type": "of.tomorrow", "value": [1, None, {"deep": "{{ question }}"}]},
        ],
    },
    {"role": "assistant", "content": [{"type": "text", "text": "I see."}, {"type": "refusal", "refusal": "No."}]},
    {"role": "user", "content": "{{ doc | file_text }}"},
]
ROW = {"id": "a", "question": "What?", "image": "pics/a.png", "clip": "clip.wav", "doc": "doc.html"}


def body_of(folder: Path, endpoint: str, messages: Any, row: dict[str, Any]) -> bytes:
    (folder / "pics").mkdir()
    (folder / "pics" / "a.png").write_bytes(PICTURE)
    (folder / "clip.wav").write_bytes(SOUND)
    (folder / "doc.html").write_text('<b class="x">Grüße</b>\n', encoding="utf-8")
    (folder / "data.jsonl").write_bytes(orjson.dumps(row))
    config = {
        "name": "golden",
        "dataset": {"path": "data.jsonl", "id": "id"},
        "model": {"base_url": "http://127.0.0.1:9/v1", "name": "m"},
        "request": {"endpoint": endpoint, "messages": messages, "params": {"temperature": 0}},
    }
    plan = prepare(config_from_dict(config, folder)).plan
    content, carry = RowReader(plan).read(row)
    (request,) = RequestBuilder(plan).build(Row(row, content, carry, 0))
    assert orjson.loads(request.body) == plan.template.render(row)
    return request.body


@pytest.mark.parametrize("endpoint", ["chat", "responses"])
def test_parts_become_the_golden_body(endpoint: str, tmp_path: Path) -> None:
    golden = orjson.loads((BODIES / f"request_{endpoint}_parts.json").read_bytes())
    assert body_of(tmp_path, endpoint, MESSAGES, ROW) == orjson.dumps(golden, option=orjson.OPT_SORT_KEYS)


def rendered() -> list[dict[str, Any]]:
    """Return the messages as a row would bring them along, complete."""
    values = {
        "{{ question }}": "What?",
        "{{ image | data_url }}": f"data:image/png;base64,{b64encode(PICTURE).decode()}",
        "{{ clip | base64 }}": b64encode(SOUND).decode(),
        "{{ doc }}": "doc.html",
        "{{ doc | data_url }}": "data:text/html;base64,PGIgY2xhc3M9IngiPkdyw7zDn2U8L2I+Cg==",
        "{{ doc | file_text }}": '<b class="x">Grüße</b>\n',
    }

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: filled(item) for key, item in value.items()}
        if isinstance(value, list):
            return [filled(item) for item in value]
        return values.get(value, value) if isinstance(value, str) else value

    made: list[dict[str, Any]] = filled(MESSAGES)
    return made


@pytest.mark.parametrize("endpoint", ["chat", "responses"])
def test_a_column_of_messages_becomes_the_same_body(endpoint: str, tmp_path: Path) -> None:
    golden = orjson.loads((BODIES / f"request_{endpoint}_parts.json").read_bytes())
    body = body_of(tmp_path, endpoint, "{{ messages }}", {"id": "a", "messages": rendered()})
    assert body == orjson.dumps(golden, option=orjson.OPT_SORT_KEYS)


@pytest.mark.parametrize(
    ("part", "sent"),
    [
        ({"type": "image_url", "image_url": "u"}, {"type": "input_image", "image_url": "u"}),
        (
            {"type": "image_url", "image_url": {"url": "u", "detail": "low"}, "cache": 1},
            {"type": "input_image", "image_url": "u", "detail": "low", "cache": 1},
        ),
        ({"type": "file", "file": {"file_id": "f"}, "x": 2}, {"type": "input_file", "file_id": "f", "x": 2}),
        ({"type": "file", "file": "f"}, {"type": "file", "file": "f"}),
        ({"type": None}, {"type": None}),
        ("text", "text"),
        (7, 7),
        (None, None),
    ],
)
def test_what_responses_makes_of_a_part_keeps_all_of_it(part: Any, sent: Any, tmp_path: Path) -> None:
    row = {"id": "a", "messages": [{"role": "user", "content": [part]}]}
    body = body_of(tmp_path, "responses", "{{ messages }}", row)
    assert orjson.loads(body)["input"] == [{"role": "user", "content": [sent]}]
