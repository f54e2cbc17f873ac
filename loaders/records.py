"""Decides which rows of a file become facts, whole columns at a time.

`validate` looks at columns, never at single rows, so 100,000 rows cost a few milliseconds. Only
rejected rows are looked at again, to say why. The values of a row must be:

ids         text or numbers, not empty, at most 512 characters, no control characters, UTF-8;
            `graph.ids` makes them. They stay text: `0104257` keeps its zero
numbers     finite; weights above 0; ratings on their scale, where it is known
times       as `loaders.times` reads them. Events lie between 1990 and one day after `now`; items
            may be older (`created_at` down to the year 1000)
yes or no   true, false, yes, no, 1, 0
"""

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from graph.arrays import F64, I8, I64, Flags
from graph.ids import as_ids, as_kinds
from graph.model import EVENT_TAG_CATEGORY, SCHEMAS
from loaders import times
from loaders.reasons import OBJECT, REASONS
from loaders.understood import Understood

LONGEST_ID = 512  # characters
EARLIEST_EVENT = 631_152_000  # 1990-01-01; older events come from wrong clocks
RATING = "rating"  # the kind of event whose value lies on a scale


@dataclass(frozen=True)
class Rejected:
    """One row that was rejected: where it stands, why, and its text (shortened)."""

    line: int
    reason: str
    row: str


@dataclass(frozen=True)
class Derived:
    """Rows of another table that a chunk's rows imply, such as the tags in an item's list."""

    table: str
    columns: Mapping[str, Any]  # raw columns of r rows, as in `Chunk.columns`
    parents: I64  # (r,) position of the row in the chunk it comes from


@dataclass(frozen=True)
class Chunk:
    """Some rows of one file, as read: columns of a table in `graph.model.SCHEMAS`, unchecked."""

    table: str
    columns: Mapping[str, Any]  # column -> pyarrow array (n,), or a str for all rows
    lines: I64  # (n,) line of each row in its file, from 1
    done: int  # bytes of the file consumed so far
    derived: tuple[Derived, ...] = ()
    rejected: tuple[Rejected, ...] = ()  # rows that could not be split into columns
    forms: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # see `validate`
    understood: Understood | None = None  # how the file was understood; only in its first chunk
    warnings: tuple[str, ...] = ()  # about rows that may not be as they were meant


@dataclass(frozen=True)
class Checked:
    """What `validate` found in n rows."""

    good: Any  # pyarrow.Table in the schema of its table: the rows that are kept, in order
    kept: Flags  # (n,)
    codes: I8  # (n,) place in REASONS; 0 where nothing is wrong
    fields: I8  # (n,) place of the wrong column in the schema of the table
    loops: int  # relations of an item or user with itself: dropped, not rejected


def validate(
    table: str,
    columns: Mapping[str, Any],
    rows: int,
    now: int,
    forms: Mapping[str, Any] | None = None,
) -> Checked:
    """Check n = `rows` rows by column; good rows come back typed, with ids in NFC.

    Missing columns are null. `now` is in seconds since 1970. `forms` tells what is known about
    whole columns: for a time its name in `times.FORMS`; for ids that lost their type and gained a
    `.0`, `WHOLE`; for `value`, the scale of ratings (lowest, highest).
    """
    forms = forms or {}
    codes: I8 = np.zeros(rows, np.int8)
    fields: I8 = np.zeros(rows, np.int8)
    typed: dict[str, Any] = {}
    for number, field in enumerate(SCHEMAS[table]):
        raw = columns.get(field.name)
        if raw is None:
            raw = pa.nulls(rows, pa.string())
        elif isinstance(raw, str):
            raw = pa.repeat(pa.scalar(raw), rows)
        elif isinstance(raw, pa.ChunkedArray):
            raw = raw.combine_chunks()
        values, own_codes = _RULES[table, field.name](raw, now, forms.get(field.name))
        typed[field.name] = values.cast(field.type)
        if own_codes is not None:
            fields[(codes == 0) & (own_codes != 0)] = number
            codes = np.where(codes == 0, own_codes, codes).astype(np.int8)
    if "value" in forms and table == "events":
        off = (codes == 0) & _off_scale(typed, *forms["value"])
        codes[off] = _code("rating off the scale")
        fields[off] = SCHEMAS[table].names.index("value")
    kept = codes == 0
    loops = 0
    if "source" in typed:
        same = pc.equal(typed["source"], typed["target"]).fill_null(False).to_numpy(False)
        loops = int((same & kept).sum())
        kept &= ~same
    good = pa.table(typed, schema=SCHEMAS[table])
    if not kept.all():
        good = good.filter(pa.array(kept))
    return Checked(good, kept, codes, fields, loops)


def explain(chunk: Chunk, codes: I8) -> list[Rejected]:
    """For each row with a code: where it stands, why it was rejected, and its text."""
    return [
        Rejected(int(chunk.lines[row]), REASONS[codes[row]], row_text(chunk.columns, int(row)))
        for row in np.flatnonzero(codes)
    ]


def row_text(columns: Mapping[str, Any], row: int) -> str:
    """The cells of one row as `name=value`, for people; wrong bytes become hex escapes."""
    cells = []
    for name, column in columns.items():
        if isinstance(column, str):  # not from the file
            continue
        value = column[row].as_py()
        if isinstance(value, bytes):
            value = value.decode("utf-8", "backslashreplace")
        cells.append(f"{name}={'' if value is None else value}")
    return shortened(" ".join(cells))


def shortened(text: str) -> str:
    """At most 200 characters of a row."""
    return text if len(text) <= 200 else text[:199] + "…"


def as_text(column: Any) -> tuple[Any, I8 | None]:
    """A column of any type as strings; wrong UTF-8 becomes null and gets a code."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    if pa.types.is_null(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        column = column.cast(pa.binary())  # Parquet does not promise that its text is UTF-8
        kind = column.type
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        try:
            return column.cast(pa.string()), None
        except pa.ArrowInvalid:
            return _decoded(column)
    if pa.types.is_floating(kind):  # ids that went through pandas: 12.0 means 12
        is_integer = pc.and_(pc.equal(pc.floor(column), column), pc.less(pc.abs(column), 2.0**53))
        as_integers = column.cast(pa.int64(), safe=False).cast(pa.string())
        return pc.if_else(is_integer, as_integers, column.cast(pa.string())), None
    if pa.types.is_nested(kind):
        values = [None if v is None else json.dumps(v, default=str) for v in column.to_pylist()]
        return pa.array(values, pa.string()), None
    return column.cast(pa.string()), None


def _decoded(column: Any) -> tuple[Any, I8]:
    texts: list[str | None] = []
    codes: I8 = np.zeros(len(column), np.int8)
    for row, value in enumerate(column.to_pylist()):
        try:
            texts.append(None if value is None else value.decode("utf-8"))
        except UnicodeDecodeError:
            texts.append(None)
            codes[row] = _code("not UTF-8")
    return pa.array(texts, pa.string()), codes


def _code(reason: str) -> int:
    return REASONS.index(reason)


_Rule = Callable[[Any, int, Any], tuple[Any, I8 | None]]
WHOLE = "whole"  # the form of ids that all end in `.0`


def _name(required: bool, default: str | None = None, make: Callable[[Any], Any] = as_ids) -> _Rule:
    """A rule for ids and other names: checked once per distinct value."""

    def rule(raw: Any, _now: int, form: Any) -> tuple[Any, I8 | None]:
        if pa.types.is_nested(raw.type):
            wrong: I8 = raw.is_valid().to_numpy(False).astype(np.int8) * _code(OBJECT)
            return pa.repeat(pa.scalar("", pa.string()), len(raw)), wrong
        text, codes = as_text(raw)
        encoded = text.dictionary_encode()
        names = make(encoded.dictionary)
        if form == WHOLE:
            names = pc.replace_substring_regex(names, r"^(-?[0-9]+)\.0+$", r"\1")
        lengths = pc.utf8_length(names)
        wrong = np.zeros(len(names) + 1, np.int8)  # the last place is for null
        wrong[:-1][pc.greater(lengths, LONGEST_ID).to_numpy(False)] = _code("id too long")
        control = pc.match_substring_regex(encoded.dictionary, r"\p{Cc}")
        wrong[:-1][control.to_numpy(False)] = _code("control character")
        empty = pc.equal(lengths, 0).to_numpy(False)
        if required:
            wrong[:-1][empty & (wrong[:-1] == 0)] = _code("missing id")
            wrong[-1] = _code("missing id")
        elif empty.any():
            names = pc.if_else(pc.equal(lengths, 0), pa.scalar(None, pa.string()), names)
        values = names.take(encoded.indices)
        if default is not None:
            values = values.fill_null(default)
        if wrong.any():
            places = encoded.indices.fill_null(len(names)).to_numpy(False)
            own_codes = wrong[places]
            codes = own_codes if codes is None else np.where(codes == 0, own_codes, codes)
        return values, codes

    return rule


def _free_text(raw: Any, _now: int, _form: Any) -> tuple[Any, I8 | None]:
    """Titles: line breaks and other control characters become blanks."""
    text, codes = as_text(raw)
    if pc.any(pc.match_substring_regex(text, r"\p{Cc}")).as_py():
        text = pc.replace_substring_regex(text, r"\p{Cc}+", " ")
    text = as_ids(text)
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text), codes


def _json_text(raw: Any, _now: int, _form: Any) -> tuple[Any, I8 | None]:
    return as_text(raw)


def numbers_of(raw: Any) -> tuple[F64, Flags, I8, Any]:
    """Values (NaN if none), which rows have one, codes, and the text of values that were text."""
    if pa.types.is_integer(raw.type) or pa.types.is_floating(raw.type):
        values = raw.cast(pa.float64(), safe=False)
        present = raw.is_valid().to_numpy(False)
        return values.fill_null(np.nan).to_numpy(False), present, np.zeros(len(raw), np.int8), None
    text, wrong = as_text(raw)
    codes = np.zeros(len(raw), np.int8) if wrong is None else wrong
    text = pc.utf8_trim_whitespace(text)
    text = pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
    present = text.is_valid().to_numpy(False)
    try:
        values = text.cast(pa.float64()).fill_null(np.nan).to_numpy(False)
    except pa.ArrowInvalid:
        parsed = [_number(value) for value in text.to_pylist()]
        bad = np.array([value is None for value in parsed]) & present
        codes = np.where((codes == 0) & bad, _code("not a number"), codes).astype(np.int8)
        values = np.array([np.nan if value is None else value for value in parsed], np.float64)
    return values, present, codes, text


def _number(text: str | None) -> float | None:
    try:
        return None if text is None or "_" in text else float(text)
    except ValueError:
        return None


def _value(raw: Any, _now: int, _form: Any) -> tuple[Any, I8 | None]:
    values, present, codes, _ = numbers_of(raw)
    codes[present & ~np.isfinite(values) & (codes == 0)] = _code("NaN or infinite")
    return pa.array(values, mask=~present), codes


def _weight(raw: Any, _now: int, _form: Any) -> tuple[Any, I8 | None]:
    values, present, codes, _ = numbers_of(raw)
    codes[present & ~np.isfinite(values) & (codes == 0)] = _code("NaN or infinite")
    codes[present & (codes == 0) & (values <= 0)] = _code("weight not above 0")
    return pa.array(np.where(present, values, 1.0)), codes


def _time(earliest: int, too_early: str) -> _Rule:
    def rule(raw: Any, now: int, form: Any) -> tuple[Any, I8 | None]:
        seconds, present, codes, numbers = _seconds(raw, form)
        fine = present & (codes == 0)
        codes[fine & np.isnan(seconds)] = _code("time out of range")
        if earliest >= 0:
            codes[fine & (seconds < 0)] = _code("negative time")
        codes[fine & (codes == 0) & (seconds < earliest)] = _code(too_early)
        if form not in ("years", "dates as yyyymmdd"):
            early = numbers & times.around_1970(seconds)
            codes[fine & (codes == 0) & early] = _code("time in 1970")
        codes[fine & (codes == 0) & (seconds > now + times.DAY)] = _code("time in the future")
        seconds = np.where(present & (codes == 0), seconds, 0)
        return pa.array(np.floor(seconds).astype(np.int64), mask=~present), codes

    return rule


def _seconds(raw: Any, form: str | None) -> tuple[F64, Flags, I8, Flags]:
    """Seconds since 1970, which rows have a time, codes, and which times were numbers."""
    if pa.types.is_timestamp(raw.type) or pa.types.is_date(raw.type):
        microseconds = raw.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
        present = raw.is_valid().to_numpy(False)
        seconds = microseconds.fill_null(0).to_numpy(False) / 1e6
        return seconds, present, np.zeros(len(raw), np.int8), np.zeros(len(raw), np.bool_)
    values, present, codes, text = numbers_of(raw)
    unread = codes == _code("not a number")
    endless = present & (codes == 0) & ~np.isfinite(values)
    read = times.by_size if form is None else times.FORMS[form]
    seconds = read(values)
    if text is not None and unread.any():
        seconds[unread], dated = times.dates(text.filter(pa.array(unread)).to_pylist())
        codes[unread] = np.where(dated, 0, _code("not a time"))
    codes[endless] = _code("NaN or infinite")
    return seconds, present, codes, present & ~unread


def _off_scale(typed: Mapping[str, Any], low: float, high: float) -> Flags:
    """(n,) which rows are ratings off the scale."""
    values = typed["value"].fill_null(low).to_numpy(False)
    ratings = pc.equal(pc.utf8_lower(typed["kind"]), RATING).fill_null(False).to_numpy(False)
    return ratings & ((values < low) | (values > high))


def _flag(raw: Any, _now: int, _form: Any) -> tuple[Any, I8 | None]:
    if pa.types.is_boolean(raw.type):
        return raw, None
    text, codes = as_text(raw)
    text = pc.utf8_lower(pc.utf8_trim_whitespace(text))
    yes = pc.is_in(text, pa.array(["true", "yes", "1"]))
    no = pc.is_in(text, pa.array(["false", "no", "0"]))
    none = pc.or_(pc.is_null(text), pc.equal(text, "").fill_null(True))
    wrong = ~(pc.or_(pc.or_(yes, no), none).to_numpy(False))
    own_codes = np.where(wrong, _code("not yes or no"), 0).astype(np.int8)
    codes = own_codes if codes is None else np.where(codes == 0, own_codes, codes)
    return pc.if_else(none, pa.scalar(None, pa.bool_()), yes), codes


_id, _optional = _name(required=True), _name(required=False)
_RULES: dict[tuple[str, str], _Rule] = {
    ("users", "id"): _id,
    ("users", "consent"): _flag,
    ("users", "attributes"): _json_text,
    ("items", "id"): _id,
    ("items", "title"): _free_text,
    ("items", "created_at"): _time(times.EARLIEST, "time out of range"),
    ("items", "hidden"): _flag,
    ("items", "attributes"): _json_text,
    ("item_tags", "item"): _id,
    ("item_tags", "category"): _name(required=False, default=EVENT_TAG_CATEGORY),
    ("item_tags", "tag"): _id,
    ("item_tags", "weight"): _weight,
    ("item_domains", "item"): _id,
    ("item_domains", "domain"): _id,
    ("item_domains", "weight"): _weight,
    ("events", "user"): _id,
    ("events", "item"): _id,
    ("events", "kind"): _name(required=False, default="view", make=as_kinds),
    ("events", "value"): _value,
    ("events", "tag"): _optional,
    ("events", "at"): _time(EARLIEST_EVENT, "time before 1990"),
    ("events", "event_id"): _optional,
    ("item_relations", "source"): _id,
    ("item_relations", "target"): _id,
    ("item_relations", "kind"): _name(required=False, default="related", make=as_kinds),
    ("item_relations", "weight"): _weight,
    ("user_relations", "source"): _id,
    ("user_relations", "target"): _id,
    ("user_relations", "kind"): _name(required=False, default="knows", make=as_kinds),
    ("user_relations", "weight"): _weight,
}
