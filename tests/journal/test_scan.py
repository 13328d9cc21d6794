"""Shows what a scan gives for sound, torn, damaged, moved and hostile segments."""

from __future__ import annotations

import os
import tracemalloc
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner import durable
from runner.errors import DamagedError, StorageError
from runner.journal import (
    Damage,
    FrameType,
    ScanEnd,
    SegmentHeader,
    SegmentWriter,
    list_segments,
    repair_tail,
    salvage_segment,
    scan,
    scan_segment,
    window,
)
from runner.journal.frames import HEAD, Salt, encode_frame
from runner.journal.header import HEADER_BLOCK_BYTES, HEADER_BYTES, HEADER_SALT, encode_header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Entry = tuple[FrameType, bytes]
    Write = Callable[[Path, Iterable[list[Entry]]], Path]

HEADER = SegmentHeader("run", 1, "beef")
SALT = Salt(b"\xffabc", 0xDEADBEEF)
SYNCED_BYTES = HEAD.size


def entries(groups: list[list[Entry]]) -> list[Entry]:
    return [entry for group in groups for entry in group]


def read(path: Path) -> list[Entry]:
    return [(frame.kind, frame.payload) for frame in scan_segment(path)]


def read_until_damage(path: Path) -> tuple[list[Entry], bool]:
    found: list[Entry] = []
    try:
        found.extend((frame.kind, frame.payload) for frame in scan_segment(path))
    except DamagedError:
        return found, True
    return found, False


kinds = st.sampled_from([FrameType.START, FrameType.ANSWER, FrameType.NOTE])


@settings(max_examples=80, deadline=None)
@given(st.lists(st.lists(st.tuples(kinds, st.binary(max_size=300)), min_size=1, max_size=5), max_size=5))
def test_what_is_committed_is_read_back_whatever_its_bytes_and_groups(groups: list[list[Entry]]) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(durable, "sync_data", lambda _: None)
        for module in (scan, window):
            patch.setattr(module, "CHUNK_BYTES", 64)  # so that frames cross the buffer's end, and are larger than it
        writer = SegmentWriter.open(Path(folder), HEADER)
        for group in groups:
            for kind, payload in group:
                writer.append(kind, payload[:7], payload[7:])
            writer.commit()
        found = scan_segment(writer.path)
        assert found.header == HEADER
        assert [(frame.kind, frame.payload) for frame in found] == entries(groups)
        assert found.end == ScanEnd(writer.frames, writer.size_bytes, 0)
        writer.close()


def test_frames_say_where_they_stand(tmp_path: Path, write_segment: Write, groups: list[list[Entry]]) -> None:
    path = write_segment(tmp_path, groups)
    content = path.read_bytes()
    frames = list(scan_segment(path))
    assert [frame.sequence for frame in frames] == list(range(30))
    for frame in frames:
        assert content[frame.offset + HEAD.size : frame.end] == frame.payload


def test_cut_at_every_offset_the_result_is_the_exact_prefix(
    tmp_path: Path, write_segment: Write, groups: list[list[Entry]]
) -> None:
    path = write_segment(tmp_path, groups)
    whole = entries(groups)
    ends = [frame.end for frame in scan_segment(path)]
    for size in reversed(range(path.stat().st_size)):
        os.truncate(path, size)
        found = scan_segment(path)
        assert [(frame.kind, frame.payload) for frame in found] == whole[: sum(end <= size for end in ends)]
        assert found.end is not None
        assert found.end.good_bytes + found.end.torn_bytes == size
        assert found.end.torn_bytes < HEADER_BYTES
        assert (found.header is None) == (size < HEADER_BYTES)
    assert size == 0


def test_no_flipped_bit_gives_a_wrong_frame_or_hides_a_sound_one(
    tmp_path: Path, write_segment: Write, groups: list[list[Entry]]
) -> None:
    path = write_segment(tmp_path, groups)
    whole = entries(groups)
    content = path.read_bytes()
    frames_end = len(content) - SYNCED_BYTES
    with path.open("r+b", buffering=0) as file:
        for offset, byte in enumerate(content):
            for bit in range(8):
                os.pwrite(file.fileno(), bytes([byte ^ 1 << bit]), offset)
                found, damaged = read_until_damage(path)
                assert found == whole[: len(found)], (offset, bit)
                # One copy of the header may be bad, and so may the last mark: no frame is lost with them.
                assert damaged == (HEADER_BYTES <= offset < frames_end), (offset, bit)
                assert damaged or len(found) == len(whole), (offset, bit)
            os.pwrite(file.fileno(), bytes([byte]), offset)


def test_salvage_gets_everything_but_the_frame_that_is_damaged(
    tmp_path: Path, write_segment: Write, groups: list[list[Entry]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_segment(tmp_path, groups)
    whole = list(scan_segment(path))
    content = path.read_bytes()
    for module in (scan, window):
        monkeypatch.setattr(module, "CHUNK_BYTES", 24)  # so that the search for the next frame crosses many buffers
    with path.open("r+b", buffering=0) as file:
        for offset in range(len(content) - SYNCED_BYTES):
            os.pwrite(file.fileno(), bytes([content[offset] ^ 0x55]), offset)
            found = salvage_segment(path)
            sound = [frame for frame in whole if not frame.offset <= offset < frame.end]
            assert list(found) == sound
            assert found.end is not None
            (damage,) = found.end.damaged
            assert damage.start <= offset < damage.end
            assert damage.lost_frames == len(whole) - len(sound)
            os.pwrite(file.fileno(), content[offset : offset + 1], offset)


def test_damage_is_refused_by_name_and_place_and_the_file_kept(
    tmp_path: Path, write_segment: Write, groups: list[list[Entry]]
) -> None:
    path = write_segment(tmp_path, groups)
    sixth = list(scan_segment(path))[5]
    content = bytearray(path.read_bytes())
    content[sixth.offset + HEAD.size] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedError, match=rf"000001\.journal is damaged at byte {sixth.offset}, behind 5 ") as caught:
        read(path)
    assert "--salvage" in caught.value.hint
    assert path.read_bytes() == content


def test_bytes_missing_from_the_middle_are_damage(
    tmp_path: Path, write_segment: Write, groups: list[list[Entry]]
) -> None:
    path = write_segment(tmp_path, groups)
    whole = list(scan_segment(path))
    content = path.read_bytes()
    path.write_bytes(content[: whole[7].offset] + content[whole[10].offset :])
    found, damaged = read_until_damage(path)
    assert (len(found), damaged) == (7, True)
    found = salvage_segment(path)
    assert [frame.sequence for frame in found] == [*range(7), *range(10, 30)]
    assert found.end is not None
    assert found.end.damaged == (Damage(whole[7].offset, whole[7].offset, 3),)


@pytest.mark.parametrize("gap", range(4, HEAD.size + 9))
def test_a_false_mark_hides_no_frame_behind_it(tmp_path: Path, gap: int) -> None:
    path = tmp_path / "000001.journal"
    frames = [encode_frame(SALT, n, FrameType.ANSWER, b"paid") for n in range(2)]
    false_mark = SALT.mark.ljust(gap, b"x")
    mark = encode_frame(SALT, 2, FrameType.SYNCED)
    path.write_bytes(encode_header(HEADER, SALT) + frames[0] + false_mark + frames[1] + mark)
    assert read_until_damage(path) == ([(FrameType.ANSWER, b"paid")], True)
    assert [frame.sequence for frame in salvage_segment(path)] == [0, 1]


@pytest.mark.parametrize("byte", [b"\0", b"\xff", b"a"])
@pytest.mark.parametrize("size", [1, 3, 4, 16, 17, 18, 100, 4096, 70_000])
def test_a_tail_of_zeros_or_other_filling_is_torn(
    tmp_path: Path, write_segment: Write, groups: list[list[Entry]], byte: bytes, size: int
) -> None:
    path = write_segment(tmp_path, groups)
    sound_bytes = path.stat().st_size
    with path.open("ab") as file:
        file.write(byte * size)
    found = scan_segment(path)
    assert len(list(found)) == 30
    assert found.end is not None
    assert (found.end.good_bytes, found.end.torn_bytes) == (sound_bytes, size)


def test_a_doubled_tail_of_any_length_adds_no_frame(
    tmp_path: Path, write_segment: Write, groups: list[list[Entry]]
) -> None:
    path = write_segment(tmp_path, groups)
    whole, content = entries(groups), path.read_bytes()
    for size in range(1, len(content) + 1, 3):
        path.write_bytes(content + content[-size:])
        found = scan_segment(path)
        assert [(frame.kind, frame.payload) for frame in found] == whole
        assert found.end is not None
        # The last mark may stand twice: it says the same.
        assert found.end.torn_bytes in {size, size - SYNCED_BYTES}
        assert [(frame.kind, frame.payload) for frame in salvage_segment(path)] == whole


def test_a_hole_in_a_group_that_was_never_acknowledged_is_a_torn_tail(tmp_path: Path) -> None:
    acknowledged = [encode_frame(SALT, n, FrameType.ANSWER, b"paid") for n in range(3)]
    mark = encode_frame(SALT, 3, FrameType.SYNCED)
    group = [encode_frame(SALT, n, FrameType.ANSWER, b"new") for n in range(3, 8)]
    path = tmp_path / "000001.journal"
    sound = encode_header(HEADER, SALT) + b"".join(acknowledged) + mark
    path.write_bytes(sound + group[0] + bytes(len(group[1])) + b"".join(group[2:]))
    found = scan_segment(path)
    assert [frame.payload for frame in found] == [b"paid"] * 3 + [b"new"]
    assert found.end is not None
    assert found.end.good_bytes == len(sound + group[0])
    # With the mark that only a finished sync writes, the same hole is damage.
    with path.open("ab") as file:
        file.write(encode_frame(SALT, 8, FrameType.SYNCED))
    assert read_until_damage(path) == ([(FrameType.ANSWER, b"paid")] * 3 + [(FrameType.ANSWER, b"new")], True)


def forged_frames(salt: Salt) -> bytes:
    """Return what a hostile server would answer with: frames of every type that claim to come later than all others."""
    sequences = [*range(10), 2**31, 2**32 - 2]
    forged = [encode_frame(salt, n, kind, b"forged") for n in sequences for kind in FrameType]
    return encode_header(HEADER, salt) + b"".join(forged) + encode_frame(salt, 2**32 - 1, FrameType.SYNCED)


@pytest.mark.parametrize(
    "guess",
    [HEADER_SALT, Salt(SALT.mark, 0), Salt(HEADER_SALT.mark, SALT.seed), Salt(SALT.mark, SALT.seed ^ 1)],
    ids=["the header's", "right mark", "right seed", "one bit off"],
)
def test_an_answer_full_of_frames_in_a_torn_frame_stays_text(tmp_path: Path, guess: Salt) -> None:
    path, torn = torn_around(tmp_path, forged_frames(guess))
    sound = path.read_bytes().removesuffix(torn)
    for size in range(1, len(torn), 29):
        path.write_bytes(sound + torn[:size])
        found = scan_segment(path)
        assert [frame.payload for frame in found] == [b"paid"]
        assert found.end is not None
        assert found.end.torn_bytes == size
        assert [frame.payload for frame in salvage_segment(path)] == [b"paid"]


def test_only_the_salt_stands_between_an_answer_and_a_frame(tmp_path: Path) -> None:
    path, _ = torn_around(tmp_path, forged_frames(SALT))
    assert read_until_damage(path) == ([(FrameType.ANSWER, b"paid")], True)


def torn_around(folder: Path, body: bytes) -> tuple[Path, bytes]:
    path = folder / "000001.journal"
    torn = encode_frame(SALT, 1, FrameType.ANSWER, body, b"end")[:-1]
    path.write_bytes(encode_header(HEADER, SALT) + encode_frame(SALT, 0, FrameType.ANSWER, b"paid") + torn)
    return path, torn


def test_frames_of_another_segment_with_the_same_numbers_are_not_taken(tmp_path: Path) -> None:
    writers = [SegmentWriter.open(tmp_path, SegmentHeader("run", number, "")) for number in (1, 2)]
    for writer in writers:
        for n in range(5):
            writer.append(FrameType.ANSWER, f"{writer.path.name} {n}".encode())
        writer.commit()
        writer.close()
    first, second = (writer.path for writer in writers)
    frames = list(scan_segment(first))
    mixed = first.read_bytes()[: frames[3].offset] + second.read_bytes()[frames[3].offset :]
    first.write_bytes(mixed)
    assert read_until_damage(first) == ([(FrameType.ANSWER, f"000001.journal {n}".encode()) for n in range(3)], False)


def test_a_frame_of_an_unknown_type_is_not_passed_on(tmp_path: Path) -> None:
    path = tmp_path / "000001.journal"
    sound = encode_header(HEADER, SALT) + encode_frame(SALT, 0, FrameType.ANSWER, b"a")
    path.write_bytes(sound + encode_frame(SALT, 1, 99, b"b"))  # type: ignore[arg-type] # what this test is about
    assert read(path) == [(FrameType.ANSWER, b"a")]


def test_a_segment_of_another_run_is_refused_by_name(tmp_path: Path, write_segment: Write) -> None:
    path = write_segment(tmp_path, [])
    with pytest.raises(DamagedError, match=r"000001\.journal belongs to run 20261122T014500Z-0a1b, not to run other"):
        scan_segment(path, run_id="other")
    with pytest.raises(DamagedError, match="belongs to run"):
        salvage_segment(path, run_id="other")


def test_a_renamed_segment_is_refused_by_name(tmp_path: Path, write_segment: Write) -> None:
    moved = write_segment(tmp_path, []).rename(tmp_path / "000002.journal")
    with pytest.raises(DamagedError, match=r"000002\.journal is segment 1 of its run"):
        scan_segment(moved)


def test_a_newer_format_is_refused_and_never_guessed(tmp_path: Path) -> None:
    fields = {"format": 2, "something": "else"}
    payload = orjson.dumps(fields).ljust(HEADER_BLOCK_BYTES - HEAD.size)
    path = tmp_path / "000001.journal"
    path.write_bytes(encode_frame(HEADER_SALT, 0, FrameType.HEADER, payload) + b"whatever")
    with pytest.raises(
        StorageError, match=r"written by a newer evalrunner .journal format 2, this one reads 1"
    ) as caught:
        scan_segment(path)
    assert not isinstance(caught.value, DamagedError)


@pytest.mark.parametrize("copies", [[0], [1], [0, 1]])
def test_either_copy_of_the_header_will_do(
    tmp_path: Path, write_segment: Write, groups: list[list[Entry]], copies: list[int]
) -> None:
    path = write_segment(tmp_path, groups)
    content = bytearray(path.read_bytes())
    for copy in copies:
        content[copy * HEADER_BLOCK_BYTES + 30] ^= 4
    path.write_bytes(content)
    if len(copies) == 2:
        with pytest.raises(DamagedError, match="no copy of its header is sound"):
            scan_segment(path)
        return
    assert read(path) == entries(groups)
    found = salvage_segment(path)
    assert len(list(found)) == 30
    assert found.end is not None
    start = copies[0] * HEADER_BLOCK_BYTES
    assert found.end.damaged == (Damage(start, start + HEADER_BLOCK_BYTES, 0),)


def test_a_header_block_must_be_of_its_type_and_length(tmp_path: Path) -> None:
    path = tmp_path / "000001.journal"
    for kind, size in [(FrameType.NOTE, HEADER_BLOCK_BYTES - HEAD.size), (FrameType.HEADER, 40)]:
        block = encode_frame(HEADER_SALT, 0, kind, orjson.dumps({"format": 1}).ljust(size))
        path.write_bytes(block.ljust(HEADER_BLOCK_BYTES) * 2 + b"more")
        with pytest.raises(DamagedError, match="no copy of its header is sound"):
            scan_segment(path)


def test_a_segment_that_died_at_birth_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "000001.journal"
    for content in (b"", b"\0" * HEADER_BYTES, encode_header(HEADER, SALT)[:600]):
        path.write_bytes(content)
        for found in (scan_segment(path), salvage_segment(path)):
            assert list(found) == []
            assert found.header is None
            assert found.end is not None
            assert (found.end.good_bytes, found.end.torn_bytes) == (0, len(content))


def test_memory_is_bounded_by_the_largest_frame_and_not_by_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable, "sync_data", lambda _: None)
    writer = SegmentWriter.open(tmp_path, HEADER)
    large = b"L" * (2 << 20)
    for _ in range(3):
        writer.append(FrameType.ANSWER, large)
        for _ in range(1500):
            writer.append(FrameType.ANSWER, b"s" * 2000)
        writer.commit()
    writer.close()
    # A length that claims the rest of the file: it must be found out without fetching that.
    frame = next(iter(scan_segment(writer.path)))
    with writer.path.open("r+b") as file:
        file.seek(frame.offset + 8)
        file.write((writer.size_bytes - frame.offset - HEAD.size).to_bytes(4, "little"))
    tracemalloc.start()
    try:
        count = sum(1 for _ in salvage_segment(writer.path))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 3 * 1501 - 1
    assert writer.size_bytes > 14 << 20
    assert peak_bytes < 6 << 20


def test_a_repaired_tail_is_gone_for_good(tmp_path: Path, write_segment: Write, groups: list[list[Entry]]) -> None:
    path = write_segment(tmp_path, groups)
    sound = path.read_bytes()
    path.write_bytes(sound + sound[HEADER_BYTES : HEADER_BYTES + 33])
    found = scan_segment(path)
    assert len(list(found)) == 30
    assert found.end is not None
    assert repair_tail(path, found.end.good_bytes) == 33
    assert path.read_bytes() == sound
    assert repair_tail(path, found.end.good_bytes) == 0


def test_repair_never_makes_a_file_longer(tmp_path: Path, write_segment: Write) -> None:
    path = write_segment(tmp_path, [])
    with pytest.raises(StorageError, match=f"has {HEADER_BYTES} bytes, fewer than the {HEADER_BYTES + 1}"):
        repair_tail(path, HEADER_BYTES + 1)
    assert path.stat().st_size == HEADER_BYTES


def test_what_cannot_be_read_is_named(tmp_path: Path, write_segment: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StorageError, match=r"cannot read .*000009\.journal: No such file"):
        scan_segment(tmp_path / "000009.journal")
    with pytest.raises(StorageError, match=r"cannot list .*missing: No such file"):
        list_segments(tmp_path / "missing")
    path = write_segment(tmp_path, [[(FrameType.NOTE, b"x")]])
    found = scan_segment(path)
    monkeypatch.setattr(os, "pread", lambda *_: input_output_error())
    with pytest.raises(StorageError, match=r"cannot read .*000001\.journal: Input/output error"):
        list(found)


def input_output_error() -> bytes:
    raise OSError(5, "Input/output error")


def test_segments_are_listed_by_number_and_strays_are_named(tmp_path: Path) -> None:
    good = ["000002.journal", "000010.journal", "999999.journal", "1000000.journal"]
    strays = [
        "0000003.journal",
        "000001.journal.bak",
        "1.journal",
        "notes.txt",
        "\u0660\u0660\u0660\u0660\u0660\u0661.journal",
    ]
    for name in good + strays:
        (tmp_path / name).touch()
    listed = list_segments(tmp_path)
    assert [path.name for path in listed.paths] == good
    assert sorted(path.name for path in listed.strays) == sorted(strays)


def test_the_crc_covers_every_field_but_the_mark() -> None:
    frame = bytearray(encode_frame(SALT, 3, FrameType.ANSWER, b"payload"))
    stated = int.from_bytes(frame[4:8], "little")
    for offset in range(8, len(frame)):
        changed = frame.copy()
        changed[offset] ^= 1
        assert zlib.crc32(changed[8:], SALT.seed) != stated
