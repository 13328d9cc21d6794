from __future__ import annotations

import random as rnd
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.pipeline.requests.fingerprint import (
    RequestBuilder,
    Row,
    RowReader,
    UnusableRowError,
    sample_id,
    target_text,
)
from tests.support.plans import digests_of, plan_of

if TYPE_CHECKING:
    from runner.records import Request

ROW = {"id": "q1", "question": "What?", "answer": "42", "level": 3, "note": None}


def changed(**values: Any) -> dict[str, Any]:
    return ROW | values


def requests_of(plan: Any, row: dict[str, Any], occurrence: int = 0) -> list[Request]:
    content, carry = RowReader(plan).read(row)
    return RequestBuilder(plan).build(Row(row, content, carry, occurrence))


# ---------------------------------------------------------------- digest and carry


@pytest.mark.parametrize("kept", [None, ("level",), (), ("question", "level")])
@pytest.mark.parametrize("change", [{"question": "Who?"}, {"id": "q2"}])
def test_what_the_request_is_made_of_changes_the_digest_and_not_the_carry(kept: Any, change: dict[str, Any]) -> None:
    plan = plan_of(kept=kept)
    before, after = digests_of(plan, ROW), digests_of(plan, changed(**change))
    assert before[0] != after[0]
    assert before[1] == after[1]


@pytest.mark.parametrize(
    ("kept", "change", "rides_along"),
    [
        (None, {"answer": "43"}, True),
        (None, {"level": 4}, True),
        (None, {"note": ""}, True),
        (None, {"new": None}, True),
        (("level",), {"level": 4}, True),
        (("level",), {"answer": "43"}, True),
        (("level",), {"note": "x"}, False),
        (("level",), {"new": 1}, False),
        ((), {"level": 4}, False),
        ((), {"answer": "43"}, True),
    ],
)
def test_carry_changes_only_for_what_rides_along(kept: Any, change: dict[str, Any], rides_along: bool) -> None:  # noqa: FBT001 - a column of the table
    plan = plan_of(kept=kept)
    before, after = digests_of(plan, ROW), digests_of(plan, changed(**change))
    assert before[0] == after[0]
    assert (before[1] != after[1]) is rides_along


def test_a_value_that_moves_to_another_column_is_a_change() -> None:
    plan = plan_of()
    one, other = {"id": "a", "question": "q", "x": 1}, {"id": "a", "question": "q", "y": 1}
    assert digests_of(plan, one)[1] != digests_of(plan, other)[1]
    assert digests_of(plan, changed(answer="3", level=42))[1] != digests_of(plan, changed(answer="42", level=3))[1]


@given(st.permutations(list(ROW)))
def test_the_order_of_columns_does_not_matter(names: list[str]) -> None:
    for kept in (None, ("level", "note")):
        plan = plan_of("{{ question }} {{ level }}", kept=kept)
        assert digests_of(plan, {name: ROW[name] for name in names}) == digests_of(plan, ROW)


def test_one_reader_reads_rows_of_many_shapes_as_a_fresh_one_does() -> None:
    plan = plan_of()
    reader = RowReader(plan)
    random = rnd.Random(7)  # noqa: S311 - any order will do
    for number in range(6000):
        row = {**ROW, f"extra{number}": number}
        names = random.sample(list(row), len(row))
        shuffled = {name: row[name] for name in names}
        assert reader.read(shuffled) == RowReader(plan).read(row)


@pytest.mark.parametrize(
    "changes",
    [{"model": "other"}, {"path": "/other"}, {"id_column": None}],
)
def test_the_plan_is_part_of_the_digest(changes: dict[str, Any]) -> None:
    assert digests_of(plan_of(**changes), ROW)[0] != digests_of(plan_of(), ROW)[0]
    assert digests_of(plan_of("{{ question }}!"), ROW)[0] != digests_of(plan_of(), ROW)[0]


@pytest.mark.parametrize("changes", [{"target_column": None}, {"kept": ()}, {"repeats": 3}])
def test_what_is_not_asked_of_the_model_is_not(changes: dict[str, Any]) -> None:
    assert digests_of(plan_of(**changes), ROW)[0] == digests_of(plan_of(), ROW)[0]


# ---------------------------------------------------------------- rows that cannot be used


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"question": "q"}, "no 'id'"),
        ({"id": "a"}, "question"),
        ({"id": "a", "question": None}, "question"),
    ],
)
def test_a_row_without_what_it_needs_is_refused(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnusableRowError, match=reason):
        RowReader(plan_of("Q: {{ question }}")).read(row)


@pytest.mark.parametrize("template", ["{{ hint or '' }}x", "{% if hint is defined %}{{ hint or '' }}{% endif %}x"])
def test_a_template_may_do_without_a_value(template: str) -> None:
    reader = RowReader(plan_of(template))
    assert reader.read({"id": "a", "hint": None}) != reader.read({"id": "a", "hint": "h"})


def test_missing_and_null_are_two_things() -> None:
    plan = plan_of("{% if hint is defined %}{{ hint or '' }}{% endif %}x")
    assert digests_of(plan, {"id": "a"})[0] != digests_of(plan, {"id": "a", "hint": None})[0]


@pytest.mark.parametrize("value", [None, "", True, 1.5, [], {}])
def test_an_id_is_a_text_or_a_whole_number(value: Any) -> None:
    row = changed(id=value)
    with pytest.raises(UnusableRowError, match="id"):
        sample_id(plan_of(), row, b"", 0)


def test_ids_are_texts() -> None:
    assert sample_id(plan_of(), changed(id=7), b"", 0) == "7"
    assert sample_id(plan_of(), changed(id="q 7"), b"", 0) == "q 7"
    own = sample_id(plan_of(id_column=None), ROW, b"content", 0)
    assert sample_id(plan_of(id_column=None), ROW, b"content", 2) == f"{own}-3"


@pytest.mark.parametrize(
    ("value", "text"), [("a", "a"), (None, None), (7, "7"), (True, "true"), ([1, "x"], '[1,"x"]'), ("", "")]
)
def test_a_target_is_text_and_anything_else_json(value: Any, text: str | None) -> None:
    assert target_text(plan_of(), {"answer": value}) == text
    assert target_text(plan_of(target_column=None), {"answer": value}) is None


# ---------------------------------------------------------------- keys


def test_a_key_depends_on_id_repeat_and_body_and_on_nothing_else() -> None:
    (base,) = requests_of(plan_of(), ROW)
    assert requests_of(plan_of(), changed(answer="43", level=9))[0].key == base.key
    assert requests_of(plan_of(target_column=None, kept=()), ROW)[0].key == base.key
    assert requests_of(plan_of(path="/other"), ROW)[0].key == base.key
    assert requests_of(plan_of(), changed(id="q2"))[0].key != base.key
    assert requests_of(plan_of(), changed(question="Who?"))[0].key != base.key
    assert requests_of(plan_of(model="other"), ROW)[0].key != base.key
    assert len(base.key) == 16


def test_repeats_are_cases_of_their_own_with_the_seed_counted_up() -> None:
    plan = plan_of(repeats=3)
    requests = requests_of(plan, ROW)
    assert [request.cases[0].repeat for request in requests] == [0, 1, 2]
    assert len({request.key for request in requests}) == 3
    assert len({request.body for request in requests}) == 1
    assert len({request.cases[0].row_digest for request in requests}) == 1


def test_equal_rows_without_ids_are_cases_of_their_own() -> None:
    plan = plan_of(id_column=None)
    first, second = (requests_of(plan, ROW, occurrence)[0] for occurrence in (0, 1))
    assert first.key != second.key
    assert first.cases[0].row_digest != second.cases[0].row_digest
    assert first.body == second.body


def test_a_case_carries_target_and_kept_columns() -> None:
    (request,) = requests_of(plan_of(kept=("note", "level", "gone")), ROW)
    case = request.cases[0]
    assert (case.sample_id, case.target) == ("q1", "42")
    assert orjson.loads(case.columns) == {"note": None, "level": 3}
    assert orjson.loads(request.body)["messages"] == [{"role": "user", "content": "What?"}]


# ---------------------------------------------------------------- many rows at once


ROWS = st.lists(
    st.fixed_dictionaries(
        {"id": st.text(max_size=4), "question": st.one_of(st.text(max_size=9), st.none(), st.integers())},
        optional={"answer": st.one_of(st.text(max_size=4), st.integers(-(2**70), 2**70)), "x": st.booleans()},
    ),
    min_size=1,
    max_size=8,
)


@pytest.mark.parametrize("changes", [{}, {"kept": ("answer",)}, {"kept": ()}, {"id_column": None}])
@given(rows=ROWS)
def test_rows_read_at_once_are_read_as_one_by_one(rows: list[dict[str, Any]], changes: dict[str, Any]) -> None:
    plan = plan_of(**changes)
    together = RowReader(plan).read_all(rows)
    if together is not None:
        assert list(zip(*together, strict=True)) == [RowReader(plan).read(row) for row in rows]


def test_most_rows_are_read_at_once() -> None:
    rows = [{"id": f"r{n}", "question": f"q{n}", "answer": "a", "x": n} for n in range(5)]
    for kept in (None, ("answer",), ()):
        assert RowReader(plan_of(kept=kept)).read_all(rows) is not None
        assert RowReader(plan_of(kept=kept)).read_all([*rows, {**rows[0], "question": None}]) is None
        other = {"id": "r", "question": "q", "answer": "a", "y": 1}
        assert RowReader(plan_of(kept=kept)).read_all([*rows, other]) is None
    assert RowReader(plan_of(ready_made=True)).read_all(rows) is None
