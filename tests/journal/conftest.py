"""Owns how the journal tests write a segment: groups of frames in, the file and what was acknowledged out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runner.journal import FrameType, SegmentHeader, SegmentWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

Entry = tuple[FrameType, bytes]

KINDS = [FrameType.START, FrameType.ATTEMPT, FrameType.ANSWER, FrameType.FAILURE, FrameType.SKIPPED, FrameType.NOTE]


@pytest.fixture
def header() -> SegmentHeader:
    return SegmentHeader(run_id="20261122T014500Z-0a1b", segment=1, manifest="5f" * 32)


@pytest.fixture
def groups() -> list[list[Entry]]:
    """Nine groups of one to five frames with payloads of 0 to 40 bytes, 30 frames in all."""
    sizes = [1, 3, 5, 2, 4, 1, 5, 4, 5]
    entries = [(KINDS[n % len(KINDS)], bytes((n * 7 + i) % 256 for i in range(n * 13 % 41))) for n in range(sum(sizes))]
    taken = iter(entries)
    return [[next(taken) for _ in range(size)] for size in sizes]


@pytest.fixture
def write_segment(header: SegmentHeader) -> Callable[[Path, Iterable[list[Entry]]], Path]:
    def write(folder: Path, groups: Iterable[list[Entry]]) -> Path:
        writer = SegmentWriter.open(folder, header)
        for group in groups:
            for kind, payload in group:
                writer.append(kind, payload)
            writer.commit()
        writer.close()
        return writer.path

    return write
