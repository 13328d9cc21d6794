"""Pairs against a table of Python objects, whatever rows the two runs have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from runner.comparison.pairing import Identities, pair

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.comparison.pairing import Pairs, Side

# Sample, repeat, choice, content. Contents are few, so that some are the same and some are not.
Row = tuple[int, int, int, int]


def rows(samples: int, repeats: int, choices: int) -> st.SearchStrategy[list[Row]]:
    row = st.tuples(
        st.integers(-samples, samples),
        st.integers(0, repeats),
        st.integers(0, choices),
        st.sampled_from((0, 0, 0, 1)),
    )
    return st.lists(row, unique_by=lambda one: one[:3], max_size=25)


# Few samples, so that several are in both runs.
ROWS = st.one_of(rows(6, 2, 1), rows(3, 0, 0), rows(3, 1, 0))


def identities(rows: Sequence[Row]) -> Identities:
    columns = np.array(rows, dtype=np.int64).reshape(-1, 4).T
    return Identities(columns[0] * 10**12, columns[3].copy(), columns[1] * 2**31 + columns[2])


def rows_by_pair(side: Side) -> list[set[int]]:
    if side.pairs is None:
        return [{row} for row in side.rows.tolist()]
    found: list[set[int]] = [set() for _ in range(side.count)]
    for row, number in zip(side.rows.tolist(), side.pairs.tolist(), strict=True):
        found[number].add(row)
    return found


def paired(pairs: Pairs) -> set[tuple[frozenset[int], frozenset[int]]]:
    both = zip(rows_by_pair(pairs.base), rows_by_pair(pairs.run), strict=True)
    return {(frozenset(one), frozenset(other)) for one, other in both}


def shape(rows: Sequence[Row]) -> tuple[int, int]:
    return max(row[1] for row in rows), max(row[2] for row in rows)


@given(base=ROWS, run=ROWS)
def test_rows_are_paired_as_a_table_of_objects_pairs_them(base: list[Row], run: list[Row]) -> None:
    found = pair(identities(base), identities(run))
    assert found.by_means == (bool(base) and bool(run) and shape(base) != shape(run))
    length = 1 if found.by_means else 3

    def groups(rows: list[Row]) -> dict[tuple[int, ...], list[int]]:
        by_key: dict[tuple[int, ...], list[int]] = {}
        for place, row in enumerate(rows):
            by_key.setdefault(row[:length], []).append(place)
        return by_key

    ours, theirs = groups(base), groups(run)
    met = [key for key in theirs if key in ours]
    same = [key for key in met if base[ours[key][0]][3] == run[theirs[key][0]][3]]
    assert paired(found) == {(frozenset(ours[key]), frozenset(theirs[key])) for key in same}
    assert found.count == len(same)
    assert (found.only_base, found.only_run) == (len(ours) - len(met), len(theirs) - len(met))
    assert found.changed == len(met) - len(same)
    # Hashes differ from process to process; the order of pairs is that of RUN's rows.
    firsts = [min(rows) for rows in rows_by_pair(found.run)]
    assert firsts == sorted(firsts)
    samples = [run[first][0] for first in firsts]
    order = list(dict.fromkeys(samples))
    assert found.samples.tolist() == [order.index(one) for one in samples]
    assert found.sample_count == len(order)


@given(base=ROWS, run=ROWS)
def test_means_leave_out_what_has_no_value(base: list[Row], run: list[Row]) -> None:
    found = pair(identities(base), identities(run))
    values = np.array([np.nan if place % 3 == 0 else place for place in range(len(run))], dtype=np.float64)
    there = values > 4
    expected, some, firsts = [], [], []
    for rows in rows_by_pair(found.run):
        known = [values[row] for row in rows if not np.isnan(values[row])]
        expected.append(np.mean(known) if known else np.nan)
        some.append(any(there[row] for row in rows))
        firsts.append(min(rows))
    np.testing.assert_allclose(found.run.means(values), np.array(expected, dtype=np.float64))
    assert found.run.any(there).tolist() == some
    every = np.arange(found.count)
    assert found.run.first_rows(every[::-1]).tolist() == firsts[::-1]
    odd = every % 2 == 1
    assert set(found.run.rows_of(odd).tolist()) == set().union(*rows_by_pair(found.run)[1::2])


def test_rows_that_were_left_out_keep_the_places_of_the_others() -> None:
    base, run = identities([(1, 0, 0, 0), (2, 0, 0, 0), (3, 0, 0, 0)]), identities([(3, 0, 0, 0), (1, 0, 0, 0)])
    found = pair(base.at(np.array([0, 2])), run)
    assert paired(found) == {(frozenset({0}), frozenset({1})), (frozenset({2}), frozenset({0}))}
    assert (found.only_base, found.only_run) == (0, 0)
