r"""Owns where the tokens that a server names lie in a known text: the text decides, what is unclear is refused.

Servers write tokens in many ways: as their text, their bytes (`bytes:\xe2`), with SentencePiece's mark or without the
space that it stands for, in the alphabet of byte-level BPE, and a piece of a character as U+FFFD or as nothing at all.
Each spelling is tried, and only one whose tokens join to the text counts. `text_offset` begins at 0, at the prompt's
length, behind a token that the text does not hold, or is -1 throughout: it only settles what the tokens leave open.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import TYPE_CHECKING, TypeAlias

from runner.records import value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Part: TypeAlias = "bytes | None"  # null: a piece of a character
Span: TypeAlias = "tuple[int, int]"

_MOST_PLACES = 4096
_MOST_PIECE_BYTES = 3
_ASCII, _CONTINUES, _THREE_BYTES, _FOUR_BYTES = 0x80, 0xC0, 0xE0, 0xF0  # where the kinds of UTF-8 bytes begin
_REPLACEMENT = "\ufffd".encode()
_SPACE = 0x20
_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class MisalignedError(ValueError):
    """The tokens cannot be placed in the text; the message says why."""


@value
class Tokens:
    """What an answer says of the tokens of a text, by position.

    `data` has null where the bytes are not known. `offsets` may be empty. `unplaced` is how many tokens at the start
    may be none of the text's own: the mark for its beginning. `hidden` says that nothing is known of the first token.
    """

    texts: Sequence[str]
    data: Sequence[bytes | None]
    offsets: Sequence[int] = ()
    unplaced: Sequence[int] = (0,)
    hidden: bool = False


@value
class Portion:
    """The tokens `first` to before `end` belong to what follows the boundary; `inexact`: one of them begins before."""

    first: int
    end: int
    inexact: bool


def find_continuation(context: str, continuation: str, tokens: Tokens) -> Portion:
    """Return which tokens make up the continuation; one that straddles the boundary is wholly among them.

    Tokens beyond the text, which the server has generated, are left out. Raises MisalignedError.
    """
    before = context.encode("utf-8", "replace")
    text = before + continuation.encode("utf-8", "replace")
    for spell in _SPELLINGS:
        spelt = spell(tokens)
        spans = None if spelt is None else _join(text, spelt, tokens)
        if spans is not None:
            return _portion(len(before), len(text), spans)
    return _search(text, len(before), tokens)


# ---------------------------------------------------------------- tokens whose bytes are known


def _join(text: bytes, spelt: Sequence[bytes], tokens: Tokens) -> list[Span] | None:
    """Return the tokens' places where they join to the text, or to a space and the text; else null."""
    ends = list(accumulate(map(len, spelt)))
    if tokens.hidden:
        return _join_end(text, spelt, ends)
    for skipped in tokens.unplaced:
        joined = b"".join(spelt[skipped:])
        begin = ends[skipped - 1] if skipped else 0
        for added in (0, 1):  # SentencePiece puts a space before a text
            whole = b" " + text if added else text
            if joined.startswith(whole) and (begin + len(whole) in ends):
                return _spans(ends, -begin - added, first=skipped)
    return None


def _join_end(text: bytes, spelt: Sequence[bytes], ends: Sequence[int]) -> list[Span] | None:
    """Return the places of tokens the first of which is hidden: the others are the text's end."""
    rest = b"".join(spelt[1:])
    left = len(text) - len(rest)
    if not (text.endswith(rest) or rest == b" " + text):
        return None
    first = (0, left) if left > 0 else (-1, -1)
    return [first, *_spans(ends, left, first=0)[1:]]


def _spans(ends: Sequence[int], shift: int, first: int) -> list[Span]:
    """Return (start, end) in the text; a token that is none of the text's has neither width nor place (-1)."""
    starts = [0, *ends[:-1]]
    return [
        (-1, -1) if number < first else (max(0, start + shift), max(0, end + shift))
        for number, (start, end) in enumerate(zip(starts, ends, strict=True))
    ]


def _portion(boundary: int, length: int, spans: Sequence[Span]) -> Portion:
    labels = [_label(span, boundary, length) for span in spans]
    first = next((number for number, label in enumerate(labels) if label in _AFTER), len(labels))
    end = next((number for number in range(first, len(labels)) if labels[number] == _BEYOND), len(labels))
    if first == end:
        raise MisalignedError("none of the answer's tokens lies in the continuation")
    return Portion(first, end, _UNSURE in labels[first:end])


_BEFORE, _WITHIN, _UNSURE, _BEYOND = "before", "within", "unsure", "beyond"
_AFTER = frozenset({_WITHIN, _UNSURE})


def _label(span: Span, boundary: int, length: int) -> str:
    start, end = span
    if start >= length:
        return _BEYOND
    if start >= boundary:
        # A token without text shows nothing of where it belongs: it may be a piece of the character that follows.
        return _UNSURE if start == end == boundary > 0 else _WITHIN
    return _BEFORE if end <= boundary else _UNSURE


# ---------------------------------------------------------------- spellings


def _as_bytes(tokens: Tokens) -> list[bytes] | None:
    known = [one for one in tokens.data if one is not None]
    if tokens.hidden:
        return [b"", *known] if len(known) == len(tokens.data) - 1 else None
    return known if len(known) == len(tokens.data) else None


def _as_texts(tokens: Tokens) -> list[bytes] | None:
    if any("\ufffd" in text for text in tokens.texts):  # the text's own character, or a piece of another
        return None
    return [text.encode("utf-8", "replace") for text in tokens.texts]


def _as_sentencepiece(tokens: Tokens) -> list[bytes] | None:
    if not any("\u2581" in text or _BYTE_TOKEN.fullmatch(text) for text in tokens.texts):
        return None
    return [
        bytes.fromhex(found[1]) if (found := _BYTE_TOKEN.fullmatch(text)) else text.replace("\u2581", " ").encode()
        for text in tokens.texts
    ]


def _as_byte_alphabet(tokens: Tokens) -> list[bytes] | None:
    try:
        return [bytes(map(_BYTE_OF.__getitem__, text)) for text in tokens.texts]
    except KeyError:
        return None


def _byte_alphabet() -> dict[str, int]:
    """Return GPT-2's alphabet: printable bytes stand for themselves, the others for characters from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + n): byte for n, byte in enumerate(others)}


_BYTE_OF = _byte_alphabet()
_SPELLINGS: tuple[Callable[[Tokens], list[bytes] | None], ...] = (
    _as_bytes,
    _as_texts,
    _as_sentencepiece,
    _as_byte_alphabet,
)


# ---------------------------------------------------------------- tokens that show only a part of themselves


def _search(text: bytes, boundary: int, tokens: Tokens) -> Portion:
    """Place tokens of which some are pieces of characters, or lack the space before them, wherever they fit.

    All places are followed at once. Where they differ on what belongs to the continuation, `text_offset` may decide,
    if it fits the text itself; otherwise the answer is refused.
    """
    pieces = [_parts(text_of, data) for text_of, data in zip(tokens.texts, tokens.data, strict=True)]
    for skipped in tokens.unplaced:
        places = _places(text, pieces, skipped, hidden=tokens.hidden)
        if places is None:
            continue
        for chosen in (places, _by_offset(text, places, tokens.offsets, skipped)):
            portion = chosen and _agreed(text, boundary, pieces, chosen, skipped)
            if portion:
                return portion
        raise MisalignedError("which of the answer's tokens are the continuation's cannot be told: they show no text")
    raise MisalignedError("the answer's tokens do not join to the context and continuation that were sent")


def _parts(text: str, data: bytes | None) -> tuple[Part, ...]:
    if data is not None:
        return (data,)
    parts: list[Part] = []
    for number, plain in enumerate(text.split("\ufffd")):
        parts += [None] * (number > 0) + [plain.encode("utf-8", "replace")]
    return tuple(part for part in parts if part != b"")


def _places(text: bytes, pieces: Sequence[tuple[Part, ...]], skipped: int, *, hidden: bool) -> list[set[int]] | None:
    """Return where each token may begin, and behind them where the last may end; null where there is no way."""
    count, length = len(pieces), len(text)
    if hidden:
        reached = [set(range(length + 1)) if number > 0 else {0} for number in range(count + 1)]
    else:
        reached = [set() if number != skipped else {0} for number in range(count + 1)]
        for number in range(skipped, count):
            reached[number + 1] = _forward(text, pieces[number], reached[number])
    left: list[set[int]] = [set() for _ in range(count + 1)]
    left[count] = {length} & reached[count]
    for number in range(count - 1, skipped - 1, -1):
        if hidden and number == 0:
            left[0] = {0} if left[1] else set()
            continue
        left[number] = _backward(text, pieces[number], left[number + 1]) & reached[number]
        if number == count - 1 and not hidden:  # the last token may be what the server generated
            left[number] |= {length} & reached[number]
    return left if left[skipped] else None


def _forward(text: bytes, parts: Sequence[Part], places: set[int]) -> set[int]:
    if parts and parts[0] is not None:
        places = places | {place + 1 for place in places if text[place : place + 1] == b" "}
    for part in parts:
        if part is None:
            places = {place + size for place in places for size in _piece_sizes(text, place)}
        else:
            places = {place + len(part) for place in places if text.startswith(part, place)}
    return _bounded(places)


def _backward(text: bytes, parts: Sequence[Part], places: set[int]) -> set[int]:
    for part in reversed(parts):
        if part is None:
            places = {
                place - size
                for place in places
                for size in range(1, min(place, _MOST_PIECE_BYTES) + 1)
                if size in _piece_sizes(text, place - size)
            }
        else:
            places = {place - len(part) for place in places if text.endswith(part, 0, place)}
    if parts and parts[0] is not None:
        places = places | {place - 1 for place in places if place and text[place - 1] == _SPACE}
    return _bounded(places)


def _piece_sizes(text: bytes, place: int) -> range:
    """Return how many bytes from a place one U+FFFD may stand for: a character's beginning, or a byte further within.

    Decoders put one for each such piece (Unicode, "U+FFFD Substitution of Maximal Subparts"); and a text may hold it.
    """
    first = text[place] if place < len(text) else 0
    if first < _CONTINUES:
        return range(0) if first < _ASCII else range(1, 2)
    length = 2 if first < _THREE_BYTES else 3 if first < _FOUR_BYTES else 4
    return range(1, length + text.startswith(_REPLACEMENT, place))


def _bounded(places: set[int]) -> set[int]:
    if len(places) > _MOST_PLACES:
        raise MisalignedError("the answer's tokens fit the text in too many ways: they show too little of it")
    return places


def _by_offset(text: bytes, places: Sequence[set[int]], offsets: Sequence[int], skipped: int) -> list[set[int]] | None:
    """Return the places that the offsets name, in characters or in bytes; null where they do not fit the text."""
    if len(offsets) != len(places) - 1 or not text:
        return None
    moved = [offset - offsets[skipped] for offset in offsets]
    by_character = [0, *accumulate(len(character.encode()) for character in text.decode("utf-8", "replace"))]
    in_bytes = [by_character[one] if 0 <= one < len(by_character) else -1 for one in moved]
    for named in (in_bytes, moved):
        chosen = [
            places[number] & {named[number]} if skipped <= number < len(named) else places[number]
            for number in range(len(places))
        ]
        if all(chosen[skipped:-1]):
            return chosen
    return None


def _agreed(
    text: bytes, boundary: int, pieces: Sequence[tuple[Part, ...]], places: Sequence[set[int]], skipped: int
) -> Portion | None:
    """Return the portion that all ways to place the tokens have in common; null where they differ."""
    labels = []
    for number in range(skipped, len(pieces)):
        ends = places[number + 1]
        spans = {
            (start, end)
            for start in places[number]
            for end in (_forward(text, pieces[number], {start}) if pieces[number] else ends) & ends
        }
        if number == len(pieces) - 1 and len(text) in places[number]:
            spans.add((len(text), len(text)))
        found = {_label(span, boundary, len(text)) for span in spans}
        if len(found) > 1 and found != _AFTER:
            return None
        labels.append(_UNSURE if _UNSURE in found else next(iter(found), _BEYOND))
    return _from_labels([_BEFORE] * skipped + labels)


def _from_labels(labels: Sequence[str]) -> Portion | None:
    after = [number for number, label in enumerate(labels) if label in _AFTER]
    if not after:
        return None
    first, last = after[0], after[-1]
    if any(label not in _AFTER for label in labels[first:last]) or _BEFORE in labels[last:]:
        return None
    return Portion(first, last + 1, _UNSURE in labels[first : last + 1])
