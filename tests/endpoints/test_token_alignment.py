"""Which tokens are the continuation's, however a server writes them: placed right, or clearly refused."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.endpoints.alignment import MisalignedError, Portion, Tokens, find_continuation

if TYPE_CHECKING:
    from collections.abc import Sequence

TEXTS = st.text(st.sampled_from([*"ab \n", "é", "東", "🙂", "▁", "<", "\\", "\ufffd", "Ġ"]), min_size=1, max_size=14)
GENERATED = st.sampled_from([[], [b"x"], [b" a"], [b""], ["🙂".encode()[:2]]])


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    bounds = [0, *sorted(set(places)), len(data)]
    return [data[start:end] for start, end in pairwise(bounds) if start < end]


def expected(pieces: Sequence[bytes], boundary: int, length: int) -> Portion:
    ends = list(accumulate(map(len, pieces)))
    first = next(number for number, end in enumerate(ends) if end > boundary)
    end = next(number for number, place in enumerate(ends) if place == length) + 1
    return Portion(first, end, ends[first] - len(pieces[first]) < boundary)


def known(pieces: Sequence[bytes], **more: object) -> Tokens:
    texts = [piece.decode("utf-8", "replace") for piece in pieces]
    return Tokens(texts=texts, data=list(pieces), **more)  # type: ignore[arg-type] # fields of Tokens


@settings(max_examples=400)
@given(data=st.data(), text=TEXTS, generated=GENERATED)
def test_tokens_with_their_bytes_are_placed_exactly(data: st.DataObject, text: str, generated: list[bytes]) -> None:
    split = data.draw(st.integers(0, len(text) - 1))
    raw = text.encode()
    pieces = cut(raw, data.draw(st.lists(st.integers(1, len(raw)), max_size=len(raw))))
    boundary = len(text[:split].encode())
    found = find_continuation(text[:split], text[split:], known([*pieces, *generated]))
    assert found == expected(pieces, boundary, len(raw))
    with_begin = Tokens(texts=["<bos>", *known(pieces).texts], data=[b"<bos>", *pieces], unplaced=(0, 1))
    moved = find_continuation(text[:split], text[split:], with_begin)
    assert (moved.first, moved.end, moved.inexact) == (found.first + 1, found.end + 1, found.inexact)


@settings(max_examples=400)
@given(data=st.data(), text=TEXTS, generated=GENERATED)
def test_tokens_that_show_only_a_part_are_placed_right_or_refused(
    data: st.DataObject, text: str, generated: list[bytes]
) -> None:
    """Pieces of characters as U+FFFD, and all tokens without the space they begin with: never a wrong portion."""
    split = data.draw(st.integers(0, len(text) - 1))
    raw = text.encode()
    pieces = cut(raw, data.draw(st.lists(st.integers(1, len(raw)), max_size=len(raw))))
    boundary = len(text[:split].encode())
    shown = [piece.decode("utf-8", "replace") for piece in [*pieces, *generated]]
    if data.draw(st.booleans()):
        shown = [one.removeprefix(" ") for one in shown]
    tokens = Tokens(texts=shown, data=[None if "\ufffd" in one else one.encode() for one in shown])
    try:
        found = find_continuation(text[:split], text[split:], tokens)
    except MisalignedError:
        return
    right = expected(pieces, boundary, len(raw))
    # A token that shows nothing (a space alone) at the boundary may be counted to either side, and that is said.
    if (found.first, found.end) != (right.first, right.end):
        assert found.inexact
        assert "" in shown


@settings(max_examples=200)
@given(data=st.data(), text=TEXTS)
def test_with_the_first_token_hidden_the_others_say_where_it_ends(data: st.DataObject, text: str) -> None:
    split = data.draw(st.integers(0, len(text) - 1))
    raw = text.encode()
    pieces = cut(raw, data.draw(st.lists(st.integers(1, len(raw)), max_size=len(raw))))
    boundary = len(text[:split].encode())
    tokens = Tokens(texts=["", *known(pieces).texts[1:]], data=[None, *pieces[1:]], hidden=True)
    assert find_continuation(text[:split], text[split:], tokens) == expected(pieces, boundary, len(raw))


@pytest.mark.parametrize(
    ("context", "continuation", "texts", "portion"),
    [
        ("Q: a\nA:", " yes", ["Q", ":", " a", "\n", "A", ":", " yes"], Portion(6, 7, inexact=False)),
        ("Q: a\nA:", " yes", ["Q", ":", " a", "\n", "A", ": yes"], Portion(5, 6, inexact=True)),
        ("the ", "cat", ["the", " cat"], Portion(1, 2, inexact=True)),
        ("", "cat", ["ca", "t"], Portion(0, 2, inexact=False)),
        ("a b", " c", ["▁a", "▁b", "▁c"], Portion(2, 3, inexact=False)),
        ("a", "\n🙂", ["▁a", "<0x0A>", "<0xF0>", "<0x9F>", "<0x99>", "<0x82>"], Portion(1, 6, inexact=False)),
        ("a é", " ü", ["a", "ĠÃ©", "ĠÃ¼"], Portion(2, 3, inexact=False)),
        ("a b", " c d", ["a", "b", "c", "d"], Portion(2, 4, inexact=False)),
        ("a", "🙂b", ["a", "", "", "🙂", "b"], Portion(1, 5, inexact=True)),
        ("a", " é", ["a", " \ufffd", "\ufffd"], Portion(1, 3, inexact=False)),
        ("é", "b", ["\ufffd", "\ufffd", "b", "\ufffd"], Portion(2, 3, inexact=False)),
    ],
)
def test_how_servers_write_tokens(context: str, continuation: str, texts: list[str], portion: Portion) -> None:
    tokens = Tokens(texts=texts, data=[None if "\ufffd" in one else one.encode() for one in texts])
    assert find_continuation(context, continuation, tokens) == portion


@pytest.mark.parametrize(
    ("context", "continuation", "texts", "message"),
    [
        ("a b", " c", ["a", " b"], "do not join"),
        ("a b", " c", ["a", " b", " d"], "do not join"),
        ("a b", " c", [" c"], "do not join"),
        ("a b", " c", ["token_id:7", "token_id:8", "token_id:9"], "do not join"),
        ("a b", " c", ["a b c d"], "do not join"),
        ("é", "é", ["\ufffd", "\ufffd", "\ufffd"], "do not join"),
        ("東", "東", ["\ufffd"] * 5, "cannot be told"),
        ("a", "b", [], "do not join"),
    ],
)
def test_what_cannot_be_placed_is_refused(context: str, continuation: str, texts: list[str], message: str) -> None:
    tokens = Tokens(texts=texts, data=[None if "\ufffd" in one else one.encode() for one in texts])
    with pytest.raises(MisalignedError, match=message):
        find_continuation(context, continuation, tokens)


@pytest.mark.parametrize("origin", [0, 7, -2])
@pytest.mark.parametrize(
    ("offsets", "portion"),
    [
        ([0, 2, 3, 4, 5], Portion(2, 5, inexact=False)),
        ([0, 1, 2, 3, 5], Portion(3, 5, inexact=False)),
        ([0, 2, 3, 5, 6], Portion(2, 4, inexact=False)),
    ],
)
def test_offsets_settle_what_the_tokens_leave_open(offsets: list[int], portion: Portion, origin: int) -> None:
    tokens = Tokens(["\ufffd"] * 5, [None] * 5, offsets=[one + origin for one in offsets])
    assert find_continuation("東", "東", tokens) == portion


@pytest.mark.parametrize("offsets", [[-1] * 5, [0] * 5, [0, 9, 10, 11, 12], [0, 1], [0, 3, 3, 6, 6], [0, 1, 1, 2, 2]])
def test_offsets_that_do_not_fit_the_text_decide_nothing(offsets: list[int]) -> None:
    with pytest.raises(MisalignedError, match="cannot be told"):
        find_continuation("東", "東", Tokens(["\ufffd"] * 5, [None] * 5, offsets=offsets))


def test_a_long_text_of_broken_characters_is_refused_and_not_searched_for_ever() -> None:
    text = "東" * 20_000
    with pytest.raises(MisalignedError, match="too many ways"):
        find_continuation(text, "京", Tokens(["\ufffd"] * 40_000, [None] * 40_000))


def test_a_token_of_spaces_that_lost_its_first_is_no_sure_boundary() -> None:
    """Either the spaces or what follows them lack one: the token at the boundary may belong to both sides."""
    tokens = Tokens(texts=["<", "   ", "<"], data=[b"<", b"   ", b"<"])
    with pytest.raises(MisalignedError):
        find_continuation("<   ", " <", tokens)
