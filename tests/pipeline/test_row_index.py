from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.pipeline.passes.rowindex import NO_ROW, RECORD, build_row_index, extend_row_index
from runner.pipeline.requests.fingerprint import occurrence_digest

if TYPE_CHECKING:
    from runner.pipeline.passes.rowindex import RowIndex

# Few upper and lower halves, so that they meet often; a digest of zeros stands for no row.
DIGESTS = st.builds(
    lambda high, low: high.to_bytes(8, "big") + low.to_bytes(8, "big"),
    st.sampled_from([1, 2, 2**63, 2**64 - 1]),
    st.integers(0, 5) | st.integers(0, 2**64 - 1),
)


def records(digests: list[bytes | None]) -> bytearray:
    return bytearray(
        b"".join(NO_ROW if one is None else one + n.to_bytes(4, "little") for n, one in enumerate(digests))
    )


def find(index: RowIndex, digests: list[bytes]) -> list[int]:
    """Return the row number of each digest, -1 where there is none."""
    high = np.array([int.from_bytes(one[:8], "big") for one in digests], dtype=np.uint64)
    low = np.array([int.from_bytes(one[8:], "big") for one in digests], dtype=np.uint64)
    at = index.find(high, low)
    return [int(index.rows[position]) if position >= 0 else -1 for position in at]


def same(one: RowIndex, other: RowIndex) -> bool:
    arrays = ("high", "low", "carry", "rows", "repeated_rows", "occurrences")
    equal = all(np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays)
    return equal and one.rows_total == other.rows_total


def test_a_record_takes_twenty_bytes() -> None:
    assert RECORD.itemsize == len(NO_ROW) == 20


@given(st.lists(DIGESTS, unique=True, max_size=40), st.lists(DIGESTS, max_size=20))
def test_find_tells_digests_with_equal_upper_halves_apart(digests: list[bytes], strangers: list[bytes]) -> None:
    index = build_row_index(records(list(digests)), count_occurrences=False)
    expected = {digest: row for row, digest in enumerate(digests)}
    wanted = [*digests, *strangers]
    assert find(index, wanted) == [expected.get(digest, -1) for digest in wanted]
    assert (np.diff(index.high.astype(object)) >= 0).all()
    assert index.carry.tolist() == index.rows.tolist()
    assert index.occurrence(0) == 0


@given(st.lists(st.none() | DIGESTS, max_size=40))
def test_every_occurrence_of_equal_content_has_a_digest_and_a_number_of_its_own(digests: list[bytes | None]) -> None:
    index = build_row_index(records(digests), count_occurrences=True)
    seen: dict[bytes, int] = {}
    marked, numbers = [], []
    for digest in digests:
        if digest is not None:
            numbers.append(seen.get(digest, 0))
            marked.append(occurrence_digest(digest, numbers[-1]))
            seen[digest] = numbers[-1] + 1
    rows = [row for row, digest in enumerate(digests) if digest is not None]
    assert find(index, marked) == rows
    assert [index.occurrence(row) for row in rows] == numbers
    assert (index.rows_total, len(index.rows)) == (len(digests), len(rows))


def test_an_empty_dataset_finds_nothing() -> None:
    index = build_row_index(bytearray(), count_occurrences=True)
    assert find(index, [bytes(16), b"x" * 16]) == [-1, -1]
    assert index.rows_total == 0


def test_the_memory_of_the_records_is_given_back() -> None:
    held = records([b"x" * 16])
    build_row_index(held, count_occurrences=False)
    assert held == b""


@given(st.lists(DIGESTS, unique=True, max_size=30), st.integers(0, 30))
def test_rows_behind_the_others_are_as_if_all_had_been_read(digests: list[bytes], cut: int) -> None:
    whole = build_row_index(records(list(digests)), count_occurrences=False)
    first = records(list(digests))[: cut * RECORD.itemsize]
    rest = records(list(digests))[cut * RECORD.itemsize :]
    assert same(extend_row_index(build_row_index(first, count_occurrences=False), rest), whole)


@pytest.mark.parametrize("count_occurrences", [True, False])
def test_rows_that_are_not_part_of_the_run_have_a_number_and_no_place(count_occurrences: bool) -> None:  # noqa: FBT001 - a case of the table
    index = build_row_index(records([None, b"a" * 16, None, b"b" * 16]), count_occurrences=count_occurrences)
    assert (index.rows_total, sorted(index.rows.tolist())) == (4, [1, 3])
    assert find(index, [bytes(16)]) == [-1]
