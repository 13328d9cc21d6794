"""Shows what the bytes of a frame and of a header are, and that nothing else passes for one."""

from __future__ import annotations

import struct
import zlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.journal import frames
from runner.journal.frames import HEAD, FrameType, Salt, encode_frame, new_salt, parse_head
from runner.journal.header import HEADER_BLOCK_BYTES, HEADER_BYTES, SegmentHeader, encode_header

SALT = Salt(b"\xff\x01\x02\x03", 12345)


def test_the_layout_of_a_frame_is_the_documented_one() -> None:
    frame = encode_frame(SALT, 9, FrameType.ANSWER, b"ab", b"", b"cde")
    checked = struct.pack("<IIB", 5, 9, 4)
    crc = zlib.crc32(checked + b"abcde", 12345)
    assert frame == b"\xff\x01\x02\x03" + struct.pack("<I", crc) + checked + b"abcde"


@given(st.lists(st.binary(max_size=50)), st.integers(0, 2**32 - 1), st.sampled_from(list(FrameType)))
def test_a_head_reads_back_as_it_was_written(parts: list[bytes], sequence: int, kind: FrameType) -> None:
    frame = encode_frame(SALT, sequence, kind, *parts)
    head = parse_head(frame[: HEAD.size], SALT)
    assert head is not None
    assert (head.length, head.sequence, head.type) == (len(b"".join(parts)), sequence, kind)
    assert frame[HEAD.size :] == b"".join(parts)


@pytest.mark.parametrize("size", range(HEAD.size))
def test_part_of_a_head_is_none(size: int) -> None:
    assert parse_head(encode_frame(SALT, 0, FrameType.NOTE)[:size], SALT) is None


def test_the_mark_of_another_segment_is_none() -> None:
    frame = encode_frame(Salt(b"\xff\x01\x02\x04", 12345), 0, FrameType.NOTE)
    assert parse_head(frame[: HEAD.size], SALT) is None


def test_an_absurd_length_is_none() -> None:
    head = HEAD.pack(SALT.mark, 0, frames.MAX_PAYLOAD_BYTES + 1, 0, FrameType.NOTE)
    assert parse_head(head, SALT) is None


def test_a_payload_above_the_cap_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MAX_PAYLOAD_BYTES", 3)
    assert encode_frame(SALT, 0, FrameType.NOTE, b"ab", b"c").endswith(b"abc")
    with pytest.raises(ValueError, match="at most 3 bytes, not 4"):
        encode_frame(SALT, 0, FrameType.NOTE, b"ab", b"cd")


def test_marks_are_drawn_anew_and_are_never_text() -> None:
    salts = [new_salt() for _ in range(50)]
    assert len({salt.mark for salt in salts}) > 40
    assert len({salt.seed for salt in salts}) > 40
    for salt in salts:
        assert len(salt.mark) == 4
        with pytest.raises(UnicodeDecodeError):
            salt.mark.decode()


def test_a_header_is_two_equal_sectors_of_readable_json() -> None:
    block = encode_header(SegmentHeader("run", 7, "beef"), SALT)
    assert len(block) == HEADER_BYTES
    first, second = block[:HEADER_BLOCK_BYTES], block[HEADER_BLOCK_BYTES:]
    assert first == second
    assert orjson.loads(first[HEAD.size :]) == {
        "format": 1,
        "run_id": "run",
        "segment": 7,
        "manifest": "beef",
        "mark": "ff010203",
        "seed": 12345,
    }


def test_the_longest_run_id_that_a_folder_can_have_fits_into_a_header() -> None:
    assert len(encode_header(SegmentHeader("r" * 255, 999_999, "f" * 64), SALT)) == HEADER_BYTES


def test_a_header_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="too long for a journal header"):
        encode_header(SegmentHeader("r" * 500, 1, ""), SALT)
