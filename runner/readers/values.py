"""Owns what each Arrow type becomes: JSON-compatible Python values, and the kind of the output column."""

from __future__ import annotations

import base64
import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import orjson
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from runner.readers.kinds import ColumnKind

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable


def column_values(column: pa.Array) -> list[Any]:
    """Return the values of an Arrow array as None, bool, int, finite float, str, list or dict.

    Dates and times become ISO 8601 text (to the microsecond; with a time zone, in UTC), decimals text, binary base64
    text, maps with text keys objects (others lists of pairs), NaN and infinities None. Raises ValueError,
    OverflowError or pyarrow's own error for a value that Python cannot hold.
    """
    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    elif types.is_run_end_encoded(column.type):
        column = pc.run_end_decode(column)
    convert = _converter(column.type)
    readable = _readable_type(column.type)
    if readable != column.type:
        column = column.cast(options=pc.CastOptions(target_type=readable, allow_time_truncate=True))
    return _mapped(convert, column.to_pylist())


def schema_kinds(schema: pa.Schema) -> dict[str, ColumnKind | None]:
    """Return the kind of every column by name; None for Arrow's null type."""
    return {field.name: _kind(field.type) for field in schema}


def _kind(data_type: pa.DataType) -> ColumnKind | None:
    if types.is_dictionary(data_type) or types.is_run_end_encoded(data_type):
        return _kind(data_type.value_type)
    if isinstance(data_type, pa.BaseExtensionType):
        return _kind(data_type.storage_type)
    if types.is_null(data_type):
        return None
    if types.is_timestamp(data_type):
        return ColumnKind.TIMESTAMP_UTC if data_type.tz else ColumnKind.TIMESTAMP
    return next((kind for fits, kind in _KINDS if fits(data_type)), ColumnKind.JSON)


def _readable_type(data_type: pa.DataType) -> pa.DataType:
    # Nanoseconds and time zones would make to_pylist import pandas and need a time zone database.
    if types.is_timestamp(data_type):
        return pa.timestamp("us")
    if types.is_time64(data_type):
        return pa.time64("us")
    if types.is_duration(data_type):
        return pa.duration("us")
    rebuild = next((rebuild for fits, rebuild in _REBUILT if fits(data_type)), None)
    return rebuild(data_type) if rebuild else data_type


def _readable_field(field: pa.Field) -> pa.Field:
    return field.with_type(_readable_type(field.type))


def _converter(data_type: pa.DataType) -> Callable[[Any], Any] | None:
    """Return the function from what `to_pylist` gives to what is JSON-compatible, None where they are the same."""
    if any(fits(data_type) for fits in _PLAIN):
        return None
    make = next((make for fits, make in _CONVERTERS if fits(data_type)), None)
    return make(data_type) if make else _by_value


def _mapped(convert: Callable[[Any], Any] | None, values: list[Any]) -> list[Any]:
    if convert is None or (convert is _finite and _all_finite(values)):
        return values
    return [None if value is None else convert(value) for value in values]


def _list_converter(data_type: pa.DataType) -> Callable[[list[Any]], list[Any]] | None:
    convert = _converter(data_type.value_type)
    return None if convert is None else lambda values: _mapped(convert, values)


def _struct_converter(data_type: pa.DataType) -> Callable[[dict[str, Any]], dict[str, Any]] | None:
    converters = {field.name: _converter(field.type) for field in data_type}
    if not any(converters.values()):
        return None
    return lambda struct: {name: _mapped(converters[name], [value])[0] for name, value in struct.items()}


def _map_converter(data_type: pa.DataType) -> Callable[[list[tuple[Any, Any]]], Any]:
    key, item = _converter(data_type.key_type), _converter(data_type.item_type)
    if any(is_text(data_type.key_type) for is_text in _TEXT):
        return lambda pairs: {name: _mapped(item, [value])[0] for name, value in pairs}
    return lambda pairs: [[_mapped(key, [name])[0], _mapped(item, [value])[0]] for name, value in pairs]


def _timestamp_converter(data_type: pa.DataType) -> Callable[[dt.datetime], str]:
    zone = "+00:00" if data_type.tz else ""
    return lambda moment: moment.isoformat() + zone


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _all_finite(values: list[Any]) -> bool:
    try:
        return all(map(math.isfinite, values))
    except TypeError:
        return False


def _decimal_text(number: Decimal) -> str:
    return format(number, "f")


def _base64_text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _iso_text(value: dt.date | dt.time) -> str:
    return value.isoformat()


def _duration_text(duration: dt.timedelta) -> str:
    microseconds = duration // type(duration)(microseconds=1)
    seconds, rest = divmod(abs(microseconds), 1_000_000)
    fraction = f".{rest:06d}".rstrip("0") if rest else ""
    return f"{'-' if microseconds < 0 else ''}PT{seconds}{fraction}S"


def _interval_text(interval: pa.MonthDayNano) -> str:
    months, days, nanoseconds = interval
    return f"P{months}M{days}DT{Decimal(nanoseconds).scaleb(-9):f}S"


def _by_value(value: Any) -> Any:
    return orjson.loads(orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS))


def _same(convert: Callable[[Any], Any]) -> Callable[[pa.DataType], Callable[[Any], Any]]:
    return lambda _data_type: convert


_TEXT: Final = (types.is_string, types.is_large_string, types.is_string_view)
_PLAIN: Final = (types.is_null, types.is_boolean, types.is_integer, *_TEXT)
_BINARY: Final = (types.is_binary, types.is_large_binary, types.is_fixed_size_binary, types.is_binary_view)
_LISTS: Final = (
    types.is_list,
    types.is_large_list,
    types.is_fixed_size_list,
    types.is_list_view,
    types.is_large_list_view,
)

_CONVERTERS: Final[tuple[tuple[Any, Any], ...]] = (
    (types.is_floating, _same(_finite)),
    (types.is_timestamp, _timestamp_converter),
    (types.is_date, _same(_iso_text)),
    (types.is_time, _same(_iso_text)),
    (types.is_duration, _same(_duration_text)),
    (types.is_interval, _same(_interval_text)),
    (types.is_decimal, _same(_decimal_text)),
    *((fits, _same(_base64_text)) for fits in _BINARY),
    *((fits, _list_converter) for fits in _LISTS),
    (types.is_struct, _struct_converter),
    (types.is_map, _map_converter),
    (types.is_dictionary, lambda data_type: _converter(data_type.value_type)),
)

_REBUILT: Final[tuple[tuple[Any, Any], ...]] = (
    (types.is_list, lambda old: pa.list_(_readable_field(old.value_field))),
    (types.is_large_list, lambda old: pa.large_list(_readable_field(old.value_field))),
    (types.is_fixed_size_list, lambda old: pa.list_(_readable_field(old.value_field), old.list_size)),
    (types.is_struct, lambda old: pa.struct([_readable_field(field) for field in old])),
    (types.is_map, lambda old: pa.map_(_readable_field(old.key_field), _readable_field(old.item_field))),
)

_KINDS: Final[tuple[tuple[Any, ColumnKind], ...]] = (
    (types.is_integer, ColumnKind.INT64),
    (types.is_floating, ColumnKind.DOUBLE),
    (types.is_boolean, ColumnKind.BOOL),
    (types.is_date, ColumnKind.DATE),
    *(
        (fits, ColumnKind.STRING)
        for fits in (*_TEXT, *_BINARY, types.is_decimal, types.is_time, types.is_duration, types.is_interval)
    ),
)
