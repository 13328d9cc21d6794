"""Owns the promise that a remembered scan is only ever used where it equals a fresh one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runner.errors import DatasetError
from runner.folder.layout import RunFolder
from runner.pipeline.passes.scan import scan_dataset
from runner.pipeline.passes.scancache import save_scan, scan_again, without_ids
from tests.support.plans import plan_of, scan_plan_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runner.pipeline.passes.scan import Scan, ScanPlan
    from runner.pipeline.requests.fingerprint import RequestPlan

ARRAYS = ("high", "low", "carry", "rows", "repeated_rows", "occurrences")


@pytest.fixture(autouse=True)
def _small() -> Iterator[None]:
    """Remember small datasets too, in small blocks; for all examples of a test alike."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("runner.pipeline.passes.scancache._FEWEST_ROWS", 1)
        patch.setattr("runner.pipeline.passes.fileblocks._BLOCK_BYTES", 64)
        yield


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    root = tmp_path / "run"
    root.mkdir()
    return RunFolder(root)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data.jsonl"


def line(number: int, question: str = "q", **more: Any) -> bytes:
    return orjson.dumps({"id": f"i{number}", "question": question, "answer": str(number), **more}) + b"\n"


LINES = [line(number) for number in range(12)]


def remember(folder: RunFolder, scan_plan: ScanPlan, content: bytes) -> None:
    scan_plan.paths[0].write_bytes(content)
    save_scan(folder, scan_plan, scan_dataset(scan_plan))


def fresh_or_none(scan_plan: ScanPlan) -> Scan | None:
    try:
        return scan_dataset(scan_plan)
    except DatasetError:
        return None


def check(folder: RunFolder, scan_plan: ScanPlan) -> bool:
    """Compare what is remembered with a fresh scan; return whether anything was."""
    again = scan_again(folder, scan_plan)
    if again is None:
        return False
    fresh = fresh_or_none(scan_plan)
    assert fresh is not None, "a dataset that cannot be used was taken as known"
    for name in ARRAYS:
        assert getattr(again.index, name).tolist() == getattr(fresh.index, name).tolist(), name
    assert again.ids.tolist() == fresh.ids.tolist()
    known = (again.index.rows_total, again.samples, again.bad_rows, again.bad_shown, dict(again.columns))
    assert known == (fresh.index.rows_total, fresh.samples, fresh.bad_rows, fresh.bad_shown, dict(fresh.columns))
    assert again.fingerprint == fresh.fingerprint
    return True


# ---------------------------------------------------------------- known, and grown


@pytest.mark.parametrize("plan", [plan_of(), plan_of(id_column=None)], ids=["ids", "no ids"])
def test_an_unchanged_file_is_known(folder: RunFolder, path: Path, plan: RequestPlan) -> None:
    remember(folder, scan_plan_of(path, plan), b"".join(LINES + LINES[:3] if plan.id_column is None else LINES))
    assert check(folder, scan_plan_of(path, plan))


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("ending", [b"\n", b""])
def test_appended_rows_are_read_and_the_others_are_not(
    folder: RunFolder, path: Path, count: int, ending: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember(folder, scan_plan_of(path), b"".join(LINES[:6]))
    path.write_bytes(b"".join(LINES[: 6 + count]).rstrip(b"\n") + ending)
    assert check(folder, scan_plan_of(path))
    read: list[int] = []
    from runner.pipeline.passes import scan  # noqa: PLC0415 - to count what it reads

    real = scan.read_batches

    def counting(*arguments: Any, **named: Any) -> Any:
        for batch in real(*arguments, **named):
            read.extend(batch.numbers)
            yield batch

    monkeypatch.setattr(scan, "read_batches", counting)
    assert scan_again(folder, scan_plan_of(path)) is not None
    assert read == list(range(6, 6 + count))


def test_a_grown_file_remembered_again_is_known_again(folder: RunFolder, path: Path) -> None:
    remember(folder, scan_plan_of(path), b"".join(LINES[:4]))
    for count in (6, 9, 12):
        path.write_bytes(b"".join(LINES[:count]))
        grown = scan_again(folder, scan_plan_of(path))
        assert grown is not None
        save_scan(folder, scan_plan_of(path), grown)
        assert check(folder, scan_plan_of(path))


def test_an_appended_row_with_a_new_column_or_another_type_is_seen(folder: RunFolder, path: Path) -> None:
    remember(folder, scan_plan_of(path), b"".join(line(number, level=number) for number in range(4)))
    with path.open("ab") as file:
        file.write(line(90, level="high", fresh=True))
    check(folder, scan_plan_of(path))


def test_an_appended_duplicate_id_and_an_appended_bad_row_are_left_to_a_full_scan(
    folder: RunFolder, path: Path
) -> None:
    for tail in (LINES[2], b"{bad\n", b'{"id":"x"}\n', b"[]\n"):
        remember(folder, scan_plan_of(path), b"".join(LINES))
        with path.open("ab") as file:
            file.write(tail)
        assert scan_again(folder, scan_plan_of(path)) is None


# ---------------------------------------------------------------- not known


def test_an_edited_middle_a_cut_file_and_a_reordered_one_are_read_anew(folder: RunFolder, path: Path) -> None:
    whole = b"".join(LINES)
    for content in (
        whole.replace(b'"i5"', b'"iX"'),
        whole.replace(b'"answer":"3"', b'"answer":"4"'),
        whole[: len(whole) // 2],
        b"".join(LINES[:-1]),
        b"".join(reversed(LINES)),
        b"\xef\xbb\xbf" + whole,
        b"\n" + whole,
        line(99) + whole,
    ):
        remember(folder, scan_plan_of(path), whole)
        path.write_bytes(content)
        assert scan_again(folder, scan_plan_of(path)) is None


@pytest.mark.parametrize(
    "other",
    [
        plan_of("{{ question }}!"),
        plan_of(id_column=None),
        plan_of(target_column=None),
        plan_of(kept=("question",)),
        plan_of(model="other"),
    ],
)
def test_another_plan_is_read_anew(folder: RunFolder, path: Path, other: RequestPlan) -> None:
    remember(folder, scan_plan_of(path), b"".join(LINES))
    assert scan_again(folder, scan_plan_of(path, other)) is None


def test_other_column_types_are_not_those_remembered(folder: RunFolder, path: Path) -> None:
    remember(folder, scan_plan_of(path), b"".join(line(number, level=number) for number in range(4)))
    check(folder, scan_plan_of(path, kinds={"level": "string"}))


def test_a_limit_is_neither_remembered_nor_looked_up(folder: RunFolder, path: Path) -> None:
    remember(folder, scan_plan_of(path, limit=3), b"".join(LINES))
    assert not folder.scan.exists()
    remember(folder, scan_plan_of(path), b"".join(LINES))
    assert scan_again(folder, scan_plan_of(path, limit=3)) is None


def test_a_file_that_changes_between_its_scan_and_its_remembering_is_not_remembered_wrongly(
    folder: RunFolder, path: Path
) -> None:
    path.write_bytes(b"".join(LINES))
    scan = scan_dataset(scan_plan_of(path))
    path.write_bytes(b"".join(LINES).replace(b'"i5"', b'"iX"'))
    save_scan(folder, scan_plan_of(path), scan)
    check(folder, scan_plan_of(path))


def test_a_last_line_without_its_end_behind_a_blank_one_is_not_taken_for_known(folder: RunFolder, path: Path) -> None:
    remember(folder, scan_plan_of(path), LINES[0] + b"\n" + LINES[1].rstrip(b"\n"))
    path.write_bytes(LINES[0] + b"\n" + LINES[2].rstrip(b"\n"))
    check(folder, scan_plan_of(path))


# ---------------------------------------------------------------- damaged


def test_nothing_remembered_is_no_error(folder: RunFolder, path: Path) -> None:
    path.write_bytes(b"".join(LINES))
    assert scan_again(folder, scan_plan_of(path)) is None
    folder.scan.mkdir()
    for content in (b"", b"garbage", b"PK\x03\x04"):
        (folder.scan / "rows.npz").write_bytes(content)
        assert scan_again(folder, scan_plan_of(path)) is None
    np.savez(folder.scan / "rows.npz", other=np.arange(3))
    assert scan_again(folder, scan_plan_of(path)) is None


def test_a_cut_memory_is_of_no_use_and_no_harm(folder: RunFolder, path: Path) -> None:
    remember(folder, scan_plan_of(path), b"".join(LINES))
    stored = folder.scan / "rows.npz"
    sound = stored.read_bytes()
    for keep in range(0, len(sound), 97):
        stored.write_bytes(sound[:keep])
        assert scan_again(folder, scan_plan_of(path)) is None


def test_a_flipped_bit_in_the_memory_does_no_harm(folder: RunFolder, path: Path) -> None:
    remember(folder, scan_plan_of(path), b"".join(LINES))
    stored = folder.scan / "rows.npz"
    sound = stored.read_bytes()
    shapes = [place for place in range(len(sound)) if sound.startswith(b"'shape': (", place)]
    for place in [*range(0, len(sound), 11), *(shape + more for shape in shapes for more in (10, 11))]:
        stored.write_bytes(sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1 :])
        check(folder, scan_plan_of(path))


def test_the_ids_checksums_are_let_go(folder: RunFolder, path: Path) -> None:
    path.write_bytes(b"".join(LINES))
    scan = scan_dataset(scan_plan_of(path))
    assert (len(scan.ids), len(without_ids(scan).ids)) == (12, 0)
    assert folder.root.exists()


# ---------------------------------------------------------------- any edit

ANY_LINE = st.one_of(
    st.builds(line, st.integers(0, 30), st.sampled_from(["q", "r"])),
    st.builds(line, st.integers(0, 30), st.just("q"), level=st.sampled_from([1, "one", None])),
    st.sampled_from([b"\n", b" \n", b"{bad\n", b"\r\n", b'{"id":"x","question":"q"}\r\n']),
)


@st.composite
def edits(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Draw a file before and after."""
    before = draw(st.lists(ANY_LINE, min_size=1, max_size=12))
    after = list(before)
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(after)))
        kind = draw(st.sampled_from(["append", "insert", "replace", "delete", "swap"]))
        if kind == "append":
            after += draw(st.lists(ANY_LINE, max_size=3))
        elif kind == "insert":
            after.insert(at, draw(ANY_LINE))
        elif kind == "replace" and at < len(after):
            after[at] = draw(ANY_LINE)
        elif kind == "delete":
            del after[at : at + 1]
        elif after:
            after[0], after[-1] = after[-1], after[0]
    contents = [b"".join(before), b"".join(after)]
    cuts = [draw(st.sampled_from([0, 0, 0, 1, 2, 5])) for _ in contents]
    first, second = (content[: len(content) - cut] for content, cut in zip(contents, cuts, strict=True))
    return first, second


@settings(max_examples=250, deadline=None)
@given(edit=edits(), with_ids=st.booleans())
@example(edit=(LINES[0] + b"\n" + LINES[1][:-1], LINES[0] + b"\n" + LINES[2][:-1]), with_ids=True)
def test_whatever_is_edited_what_is_known_equals_a_fresh_scan(
    tmp_path_factory: pytest.TempPathFactory,
    edit: tuple[bytes, bytes],
    with_ids: bool,  # noqa: FBT001 - drawn
) -> None:
    root = tmp_path_factory.mktemp("edit")
    folder, path = RunFolder(root), root / "data.jsonl"
    scan_plan = scan_plan_of(path, plan_of() if with_ids else plan_of(id_column=None))
    path.write_bytes(edit[0])
    before = fresh_or_none(scan_plan)
    if before is not None:
        save_scan(folder, scan_plan, before)
    check(folder, scan_plan)
    path.write_bytes(edit[1])
    check(folder, scan_plan)
