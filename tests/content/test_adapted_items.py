"""What the items of a server's lists become, whatever stands in them."""

from __future__ import annotations

from typing import Any

import pytest

from runner.content.items import BaseReader, DocumentReader

HASH = "0123456789abcdef" * 4
MAPPING: dict[str, Any] = {
    "id": "id",
    "name": "name",
    "sha256": "hash",
    "size_bytes": "size",
    "created_at": "made",
    "status": "state",
    "states": {"ready": "completed", "true": "completed", "3": "failed"},
    "error": "why",
}


def read(**item: Any) -> Any:
    return DocumentReader(MAPPING).read(item, "d1")


@pytest.mark.parametrize(
    ("found", "identity"),
    [("a", "a"), (7, "7"), ("a/b c", "a/b c")]
    + [(odd, None) for odd in (None, "", ".", "..", True, [], {}, "a\n", "x" * 513)],
)
def test_an_id_is_a_text_or_a_number_that_can_stand_in_a_path(found: Any, identity: str | None) -> None:
    assert DocumentReader(MAPPING).id({"id": found}) == identity
    assert BaseReader({"id": "id"}).id({"id": found}) == identity


@pytest.mark.parametrize(
    ("state", "status", "error"),
    [
        ("completed", "completed", None),
        ("failed", "failed", None),
        ("ready", "completed", None),
        (True, "completed", None),
        (3, "failed", None),
        (None, "in_progress", None),
        ([], "in_progress", None),
        ("READY\x1b", "in_progress", "the server says: READY"),
    ],
)
def test_the_servers_word_is_one_of_ours_or_said(state: Any, status: str, error: str | None) -> None:
    document = read(state=state)
    assert (document.status, document.error) == (status, error)


def test_without_a_word_a_document_is_ready_and_what_was_wrong_is_one_line() -> None:
    assert DocumentReader({"id": "id"}).read({}, "d1").status == "completed"
    assert read(state="3", why="a\nb\x1b[31m").error == "a b [31m"
    assert read(state="3", why={"a": 1}).error == "{'a': 1}"


@pytest.mark.parametrize(
    ("found", "sha256"),
    [
        (HASH, HASH),
        (HASH.upper(), HASH),
        (f"sha256:{HASH}", HASH),
        (f"docs/{HASH}-a.txt", HASH),
        (HASH[1:], None),
        (f"{HASH}0", None),
        (None, None),
        (7, None),
        ([HASH], None),
    ],
)
def test_a_hash_is_found_wherever_it_stands_in_a_text(found: Any, sha256: str | None) -> None:
    assert read(hash=found).sha256 == sha256


@pytest.mark.parametrize(
    ("name", "shown"),
    [(f"{HASH}-a.txt", "a.txt"), (f"{HASH}", HASH), ("a.txt", "a.txt"), (5, "5"), ([], None), ("", None)],
)
def test_a_name_is_shown_without_the_hash_before_it(name: Any, shown: str | None) -> None:
    assert read(name=name, hash=HASH).name == shown


@pytest.mark.parametrize(
    ("made", "seconds"),
    [
        (1700000000, 1700000000),
        (1700000000.5, 1700000000),
        ("2023-11-14T22:13:20+00:00", 1700000000),
        ("2023-11-14T22:13:20Z", 1700000000),
        ("0001-01-01T00:00:00+23:59", None),
        ("yesterday", None),
        (-5, None),
        (1e300, None),
        (True, None),
    ],
)
def test_a_time_is_a_number_or_iso_8601(made: Any, seconds: int | None) -> None:
    assert read(made=made).created_at == seconds


@pytest.mark.parametrize(("size", "count"), [(3, 3), (3.0, 3), (3.5, None), (-1, None), (2**63, None), ("3", None)])
def test_a_size_is_a_whole_number(size: Any, count: int | None) -> None:
    assert read(size=size).size_bytes == count
    assert BaseReader({"id": "id", "size_bytes": "size"}).read({"size": size}, "a").size_bytes == count


def test_an_item_that_is_no_object_has_nothing() -> None:
    for item in (None, 5, "text", [], [{}]):
        assert DocumentReader(MAPPING).id(item) is None
        assert DocumentReader(MAPPING).read(item, "d1").name is None
