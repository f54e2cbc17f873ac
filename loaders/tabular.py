"""Reads tables of any kind: CSV, TSV, other separators, JSON and Parquet; gzipped or not.

The beginning of a file shows its kind, not its name. `loaders.columns` finds out what each column
means, and `loaders.survey` what it holds. Cells with several tags or domains are split, and columns
that are asked for become attributes.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from graph.arrays import I64
from graph.errors import InputError
from graph.model import EVENT_TAG_CATEGORY, SCHEMAS
from loaders.attributes import attributes_of
from loaders.columns import Layout, resolve
from loaders.format import Format, Options, Source
from loaders.json_lines import decoded_lines, json_object
from loaders.lines import first_lines, opened, too_large
from loaders.lists import ListForm, exploded
from loaders.order import check_order
from loaders.parquet_file import batches
from loaders.reasons import NOT_JSON, OBJECT
from loaders.records import EARLIEST_EVENT, RATING, Chunk, Derived, Rejected, shortened
from loaders.separated import Dialect, cells, first_row
from loaders.survey import IDS, SURVEYED_ROWS, Survey, with_kind
from loaders.understood import Understood

MOST_ARRAY = 1 << 28  # bytes of a JSON array, as it is read in one piece
SUFFIXES = (".csv", ".tsv", ".tab", ".txt", ".dat", ".jsonl", ".ndjson", ".json", ".parquet")
SEPARATORS = ("::", "\t", ";", "|", ",")
SNIFFED_LINES = 20


@dataclass(frozen=True)
class Part:
    """Some rows of a file as columns of cells."""

    names: list[str]  # of the columns
    columns: list[Any]  # pyarrow arrays (n,), or lists if only attributes need them
    lines: I64  # (n,)
    done: int  # bytes of the file read
    rejected: tuple[Rejected, ...] = ()
    swallowed: tuple[tuple[int, int], ...] = ()  # see `separated.Cells`


@dataclass(frozen=True)
class File:
    """A file of a known kind."""

    about: str  # how it was understood, in words
    parts: Callable[[], Iterator[Part]]


def read(source: Source, options: Options) -> Iterator[Chunk]:
    """The chunks of one file of any of the kinds; the first one tells what was understood.

    Raises:
        InputError: the file is damaged, of no known kind, or its columns cannot be recognised.
    """
    file = _file(source, options)
    layouts: dict[tuple[str, ...], Layout] = {}

    def layout_of(part: Part) -> Layout:
        names = tuple(part.names)
        if names not in layouts:
            layouts[names] = resolve(part.names, options, source.path, strict=not layouts)
        return layouts[names]

    survey, first_part = Survey(options), None
    for part in file.parts():
        if not part.names:  # only blank or wrong lines so far
            continue
        layout = layout_of(part)
        kind = with_kind(options, layout, part.names)
        if first_part is None:
            survey = Survey(replace(options, kind=kind))
        survey.add(layout, part.columns, len(part.lines))
        first_part = first_part or (layout, part.names, kind)
        rated = "value" in layout.columns and RATING in ((kind or "").lower(), "")
        to_the_end = options.table in ("items", "users") or (rated and layout.table == "events")
        to_the_end = to_the_end or (
            layout.table == "events" and "kind" in layout.columns and "value" in layout.columns
        )
        if not to_the_end and survey.rows >= SURVEYED_ROWS:
            break
    if first_part is None:
        understood = Understood(taken={"file": file.about})
    else:
        understood = _understood(
            survey, *first_part, file=file.about, path=source.path, options=options
        )
    forms, lists = survey.forms(), survey.lists()
    kind = None if first_part is None else first_part[2]
    first: Understood | None = understood
    for part in file.parts():
        if not part.names:
            yield Chunk(options.table, {}, part.lines, part.done, rejected=part.rejected)
            continue
        layout = layout_of(part)
        chunk = _chunk(
            layout, part, lists, survey.types(layout), replace(options, kind=kind), source.path
        )
        yield replace(chunk, forms=forms, understood=first)
        first = None
    if first is not None:
        yield Chunk(options.table, {}, np.zeros(0, np.int64), 0, understood=first)


def _understood(
    survey: Survey,
    layout: Layout,
    names: list[str],
    kind: str | None,
    *,
    file: str,
    path: Path,
    options: Options,
) -> Understood:
    """What the survey found, in words; a numbering of rows beside a real id is refused."""
    if layout.numbering is not None and "id" not in options.columns and survey.numbers_rows():
        raise InputError(
            f"{path}: the column 'id' only numbers the rows, and {layout.numbering!r} may be the "
            f"real id; say which one is: --column id=id or --column id={layout.numbering}"
        )
    understood = survey.understood(layout, names)
    understood.taken = {"file": file, **understood.taken}
    if layout.table == "events" and "kind" not in layout.columns:
        value = layout.columns.get("value")
        why = f", by the column {names[value]!r}" if value is not None and not options.kind else ""
        understood.taken["kind"] = (kind or "view") + (why if kind else "")
    if layout.table == "events" and "at" not in layout.columns:
        understood.taken["time"] = "the order of rows" if options.ordered else "none"
    return understood


def _file(source: Source, options: Options) -> File:
    path = source.path
    with opened(path) as (stream, _):
        start = stream.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"PAR1"):
        nested = [str(name) for name in options.columns.values() if "." in str(name)]
        return File(
            "Parquet", lambda: (Part(*batch) for batch in batches(path, nested, source.most_bytes))
        )
    if options.separator is None and start.startswith(b"{"):
        return File("JSON Lines", lambda: _json_lines(source, options))
    if (
        options.separator is None
        and start.startswith(b"[")
        and start[1:].lstrip().startswith((b"{", b"]"))
    ):
        return File("a JSON array", lambda: _json_array(source, options))
    return _separated(source, options)


def _separated(source: Source, options: Options) -> File:
    path = source.path
    separator = options.separator or _guessed(
        first_lines(path, options.encoding, SNIFFED_LINES, source.most_bytes)
    )
    separator = {"\\t": "\t", "tab": "\t"}.get(separator, separator)
    dialect = Dialect(separator, options.quotes, options.header, options.encoding)
    row = first_row(path, dialect, source.most_bytes)
    names = row if options.header else [str(number + 1) for number in range(len(row))]

    def parts() -> Iterator[Part]:
        for block in cells(path, dialect, len(names), source.most_bytes) if row else ():
            yield Part(
                names, block.columns, block.lines, block.done, block.rejected, block.swallowed
            )

    named = {"\t": "tabs", " ": "blanks"}.get(separator, repr(separator))
    quotes = "quotes around cells" if options.quotes else "quotes are text"
    if options.quotes and separator == "\t":
        quotes = "quotes are text unless around a whole cell"
    return File(f"a table with {named} between cells, {options.encoding}; {quotes}", parts)


def _json_lines(source: Source, options: Options) -> Iterator[Part]:
    for rows, rejected, done in decoded_lines(source, options, json_object):
        yield _json_part(rows, done, rejected, source.path, options)


def _json_array(source: Source, options: Options) -> Iterator[Part]:
    path = source.path
    with opened(path) as (stream, _):
        data = stream.read(min(MOST_ARRAY, source.most_bytes) + 1)
    if len(data) > source.most_bytes:
        raise too_large(path, source.most_bytes)
    if len(data) > MOST_ARRAY:
        raise InputError(
            f"{path}: this is one JSON array of more than {MOST_ARRAY:,} bytes, which must be "
            "read in one piece; write one object a line (jq -c '.[]')"
        )
    try:
        document = json.loads(data.decode(options.encoding.replace("utf-8", "utf-8-sig")))
    except (ValueError, RecursionError, LookupError) as error:
        raise InputError(f"{path}: this is not a JSON array of objects: {error}") from error
    objects = [(n, row) for n, row in enumerate(document, 1) if isinstance(row, dict)]
    rejected = [
        Rejected(n, NOT_JSON, shortened(json.dumps(row)))
        for n, row in enumerate(document, 1)
        if not isinstance(row, dict)
    ]
    yield _json_part(objects, path.stat().st_size, rejected, path, options)


def _json_part(
    rows: list[tuple[int, dict[str, Any]]],
    done: int,
    rejected: list[Rejected],
    path: Path,
    options: Options,
) -> Part:
    nested = [str(name) for name in options.columns.values() if "." in str(name)]
    flat = [(number, _flat(row, nested)) for number, row in rows] if nested else rows
    names = list(dict.fromkeys(name for _, row in flat for name in row))
    layout = resolve(names, options, path, strict=False)
    plain = [
        names[position] for column, position in layout.columns.items() if column in (*IDS, "title")
    ]
    kept = []
    for number, row in flat:
        if any(isinstance(row.get(name), dict | list) for name in plain):
            rejected.append(Rejected(number, OBJECT, shortened(json.dumps(row))))
        else:
            kept.append((number, row))
    wanted = {*layout.columns.values()}
    columns = [
        _json_column([row.get(name) for _, row in kept], position, layout, wanted)
        for position, name in enumerate(names)
    ]
    lines = np.array([number for number, _ in kept], np.int64)
    return Part(names, columns, lines, done, tuple(rejected))


def _flat(row: dict[str, Any], paths: list[str]) -> dict[str, Any]:
    """The row, with the values at paths such as `user.id` under these names."""
    flat = dict(row)
    for path in paths:
        value: Any = row
        for step in path.split("."):
            value = value.get(step) if isinstance(value, dict) else None
        if path not in row and value is not None:
            flat[path] = value
    return {name: value for name, value in flat.items() if not _parent(name, paths, value)}


def _parent(name: str, paths: list[str], value: Any) -> bool:
    return isinstance(value, dict) and any(path.startswith(f"{name}.") for path in paths)


def _json_column(values: list[Any], position: int, layout: Layout, wanted: set[int]) -> Any:
    if position in layout.lists.values() and any(isinstance(value, list) for value in values):
        lists = [
            value if isinstance(value, list) else [] if value is None else [value]
            for value in values
        ]
        return pa.array(
            [[_bytes(part) for part in texts] for texts in lists], pa.list_(pa.binary())
        )
    if position in wanted or position in layout.lists.values():
        return pa.array([_bytes(value) for value in values], pa.binary())
    return values


def _bytes(value: Any) -> bytes | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value)
    # Half a surrogate pair is rejected later, as it is not UTF-8.
    return text.encode("utf-8", "surrogatepass")


def _chunk(
    layout: Layout,
    part: Part,
    lists: dict[str, ListForm],
    types: dict[str, str],
    options: Options,
    path: Path,
) -> Chunk:
    table, rows = layout.table, len(part.lines)
    raw: dict[str, Any] = {
        name: part.columns[position] for name, position in layout.columns.items()
    }
    if options.kind is not None and "kind" in SCHEMAS[table].names and "kind" not in raw:
        raw["kind"] = options.kind
    if options.ordered and table == "events" and "at" not in raw:
        check_order(path, raw["user"], raw["item"])
        raw["at"] = pa.array(EARLIEST_EVENT + part.lines, pa.int64())
    if layout.attributes:
        columns = {name: part.columns[position] for name, position in layout.attributes.items()}
        raw["attributes"] = pa.array(attributes_of(columns, types, rows), pa.binary())
    derived = tuple(
        _derived(name, raw[SCHEMAS[table].names[0]], part.columns[position], lists[name])
        for name, position in layout.lists.items()
    )
    warnings = tuple(
        f"a quote joined the lines {first:,} to {last:,} into one row; if they are "
        "separate rows, say --quote none"
        for first, last in part.swallowed
    )
    return Chunk(table, raw, part.lines, part.done, derived, part.rejected, warnings=warnings)


def _derived(name: str, ids: Any, column: Any, form: ListForm) -> Derived:
    values, parents = exploded(column, form)
    items = ids.take(pa.array(parents))
    if name == "domains":
        return Derived("item_domains", {"item": items, "domain": values}, parents)
    category = name.partition(":")[2] or EVENT_TAG_CATEGORY
    return Derived("item_tags", {"item": items, "category": category, "tag": values}, parents)


def _guessed(lines: list[bytes]) -> str:
    """The separator that most lines have the same number of; of equals, that with more cells."""

    def fit(separator: str) -> tuple[int, int]:
        counts = Counter(line.count(separator.encode()) for line in lines)
        counts.pop(0, None)
        if not counts:
            return 0, 0
        most, often = max(counts.items(), key=lambda pair: (pair[1], pair[0]))
        return often, most

    best = max(SEPARATORS, key=fit)
    return best if fit(best)[0] else ","


def _sources(path: Path, options: Options) -> list[Source]:
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder")
    table = "items" if options.part == "items" and options.table == "events" else options.table
    if path.is_file():
        return [Source(path, table)]
    files = [
        file
        for file in sorted(path.iterdir())
        if file.is_file() and file.name.lower().removesuffix(".gz").endswith(SUFFIXES)
    ]
    if not files:
        raise InputError(f"{path}: no file here ends in {', '.join(SUFFIXES)}")
    return [Source(file, table) for file in files]


def _read(source: Source, options: Options) -> Iterator[Chunk]:
    yield from read(source, Options(**{**vars(options), "table": source.role}))


FORMAT = Format(
    name="table",
    about="CSV, TSV, other separators, JSON Lines or Parquet, with columns mapped by name",
    sources=_sources,
    read=_read,
    looks_like=lambda path: path.name.lower().removesuffix(".gz").endswith(SUFFIXES),
)
