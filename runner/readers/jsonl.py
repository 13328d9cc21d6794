"""Owns the reading of JSON Lines: parsed by orjson, and by the stdlib where orjson refuses or rounds."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
import orjson

from runner.readers.batches import BadRow, RowBatch, rows_per_batch, wanted_offsets
from runner.readers.lines import TOO_LONG, read_blocks, too_long_reason

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from runner.readers.batches import ReadLimits, ReadPlan, Row
    from runner.readers.files import DatasetFile
    from runner.readers.lines import Block

_T = TypeVar("_T")

# orjson reads an integer above 64 bits as a float; such a one has at least this many digits.
_LONG_DIGITS: Final = re.compile(rb"[0-9]{20}")
_DIGITS_TO_ZERO: Final = bytes(ord("0") if ord("0") <= code <= ord("9") else code for code in range(256))
_ZEROS: Final = b"0" * 20
_HIGH_HALVES: Final = np.uint64(0xF0F0F0F0F0F0F0F0)
_DIGITS_HIGH_HALVES: Final = np.uint64(0x3030303030303030)
_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_TYPE_NAMES: Final = {list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number"}


def read_jsonl(file: DatasetFile, plan: ReadPlan, first: int) -> Generator[RowBatch, None, int]:
    """Yield the wanted rows; the others are counted, not parsed. A line of white space only is no row.

    NaN, infinities and numbers beyond float64 become None, lone surrogates U+FFFD; integers of any size stay exact.
    Raises DatasetError where the file cannot be read to its end.
    """
    for block in read_blocks(file, plan.limits):
        lines, places = _rows_of(block)
        numbers = range(first, first + len(lines))
        parse = _parse_exactly if any(map(_has_long_digits, (block.piece, block.lines[0]))) else _parse
        step = rows_per_batch(plan, len(lines), len(block.piece))
        for start in range(0, len(lines), step):
            chosen = wanted_offsets(plan, first + start, min(step, len(lines) - start))
            if chosen:
                picked = _picked(places, start, chosen)
                rows = parse(_picked(lines, start, chosen), picked, plan.limits)
                yield RowBatch(file.name, _picked(numbers, start, chosen), picked, rows)
        first += len(lines)
        if first >= plan.end:
            break
    return first


def _rows_of(block: Block) -> tuple[Sequence[bytes], Sequence[int]]:
    lines = list(filter(bytes.strip, block.lines))
    if len(lines) == len(block.lines):
        return lines, range(block.first_line, block.first_line + len(lines))
    return lines, [line for line, text in enumerate(block.lines, block.first_line) if text.strip()]


def _picked(values: Sequence[_T], start: int, offsets: Sequence[int]) -> Sequence[_T]:
    if isinstance(offsets, range):
        return values[start : start + len(offsets)]
    return [values[start + offset] for offset in offsets]


def _has_long_digits(text: bytes) -> bool:
    # 20 digits in a row fill at least one aligned word of 8 bytes, each of them 0x3_. Looking for such a word first
    # costs a tenth of the full search.
    if len(text) < len(_ZEROS):
        return False
    words = np.frombuffer(text, np.uint64, count=len(text) // 8)
    if not ((words & _HIGH_HALVES) == _DIGITS_HIGH_HALVES).any():
        return False
    return _ZEROS in text.translate(_DIGITS_TO_ZERO)


def _parse(lines: Sequence[bytes], places: Sequence[int], limits: ReadLimits) -> list[Row]:
    try:
        rows: list[Row] = list(map(orjson.loads, lines))
    except orjson.JSONDecodeError:
        return _parse_exactly(lines, places, limits)
    if set(map(type, rows)) == {dict}:
        return rows
    return [_object(row, place) for row, place in zip(rows, places, strict=True)]


def _parse_exactly(lines: Sequence[bytes], places: Sequence[int], limits: ReadLimits) -> list[Row]:
    return [_parse_line(line, place, limits) for line, place in zip(lines, places, strict=True)]


def _parse_line(line: bytes, place: int, limits: ReadLimits) -> Row:
    if line is TOO_LONG:
        return BadRow(place, too_long_reason(limits))
    if not _LONG_DIGITS.search(line):
        try:
            return _object(orjson.loads(line), place)
        except orjson.JSONDecodeError:
            pass
    return _parse_by_stdlib(line, place)


def _parse_by_stdlib(line: bytes, place: int) -> Row:
    try:
        value = json.loads(line.decode(), parse_constant=_null, parse_float=_finite)
        return _object(_without_surrogates(value), place)
    except UnicodeDecodeError as error:
        return BadRow(place, f"invalid UTF-8 at byte {error.start + 1} of the line")
    except json.JSONDecodeError as error:
        return BadRow(place, f"not valid JSON: {error.msg} (column {error.colno})")
    except ValueError:
        return BadRow(place, "not valid JSON: an integer with too many digits")
    except RecursionError:
        return BadRow(place, "nested too deeply")


def _object(value: Any, place: int) -> Row:
    if isinstance(value, dict):
        return value
    return BadRow(place, f"row is {_TYPE_NAMES.get(type(value), 'null')}, not an object")


def _null(_constant: str) -> None:
    return None


def _finite(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isascii() else _SURROGATES.sub("\ufffd", value)
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    return value
