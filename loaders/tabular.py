"""Tables of any maker: CSV, TSV, other separators, JSON Lines and Parquet; gzipped or not.

What a file is is seen from its beginning, not from its name. Columns are mapped by name, by
position from 1, or found by names in common use (`ALIASES`). Cells with several tags or domains
are split; columns of item and user files that nothing else claims become attributes.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from graph.errors import InputError
from graph.model import EVENT_TAG_CATEGORY, SCHEMAS
from graph.stores.batch import REQUIRED
from loaders.format import Format, Options, Source
from loaders.lines import blocks, first_line, opened
from loaders.records import (
    I64,
    LINE_TOO_LONG,
    NOT_JSON,
    Chunk,
    Derived,
    Rejected,
    shortened,
)
from loaders.separated import Dialect, cells, first_row

PARQUET_ROWS = 100_000
SUFFIXES = (".csv", ".tsv", ".tab", ".txt", ".dat", ".jsonl", ".ndjson", ".json", ".parquet")
SEPARATORS = ("::", "\t", ";", "|", ",")
LISTS = ("domains", "tags")
ALIASES: dict[str, tuple[str, ...]] = {
    "user": ("userid", "uid", "customer", "customerid", "account", "accountid"),
    "item": ("itemid", "iid", "movieid", "product", "productid", "articleid", "id"),
    "id": ("itemid", "movieid", "productid", "articleid", "item", "userid", "user"),
    "value": ("rating", "score", "count", "plays"),
    "kind": ("type", "event", "eventtype", "action"),
    "tag": ("tagname", "keyword"),
    "at": ("time", "timestamp", "date", "datetime", "createdat"),
    "title": ("name",),
    "created_at": ("created", "date", "published", "publishedat", "timestamp"),
    "domain": ("domainname",),
    "source": ("from",),
    "target": ("to",),
    "domains": ("domain",),
    "tags": ("keywords",),
    "tags:genre": ("genres", "genre"),
}
"""Column -> names that mean it too, in lower case without anything but letters and digits."""


@dataclass(frozen=True)
class Layout:
    """Which columns of a file say what; places count from 0."""

    table: str
    columns: Mapping[str, int]  # column of SCHEMAS -> place
    lists: Mapping[str, int]  # "domains", "tags" or "tags:CATEGORY" -> place
    attributes: Mapping[str, int]  # name -> place


def resolve(names: list[str], options: Options, file: Path, *, strict: bool = True) -> Layout:
    """Find the columns of a file by their names, or say which cannot be found.

    Without a header the names are the positions, "1", "2", …; then the required columns are
    the first ones unless some are mapped.

    Raises:
        InputError: an unknown table or column, or a required one is missing (if `strict`).
    """
    table = options.table
    if table not in SCHEMAS:
        raise InputError(f"table {table!r} is not known; there are {', '.join(SCHEMAS)}")
    known = [name for name in SCHEMAS[table].names if name != "attributes"]
    known += LISTS if table == "items" else ()
    places: dict[str, int] = {}
    for column, reference in options.columns.items():
        if column not in known and not (table == "items" and column.startswith("tags:")):
            raise InputError(f"column {column!r} is not one of {table}: {', '.join(known)}")
        place = _place(names, reference)
        if place is None and strict:
            raise InputError(
                f"{file}: there is no column {reference!r} for {column}; it has {_list(names)}"
            )
        if place is not None:
            places[column] = place
    required = [name for name in REQUIRED[table] if name not in ("kind", "category")]
    if options.header:
        plain = {_plain(name): place for place, name in reversed(list(enumerate(names)))}
        for column in (*known, *(("tags:genre",) if table == "items" else ())):
            for alias in (_plain(column), *ALIASES.get(column, ())):
                if column not in places and plain.get(alias) not in (None, *places.values()):
                    places[column] = plain[alias]
    elif not places and len(names) >= len(required):
        places = {name: place for place, name in enumerate(required)}
    for column in required:
        if column not in places and strict:
            raise InputError(
                f"{file}: no column for {column!r}; say which it is by name or position. The "
                f"file has {_list(names)}"
            )
    taken = set(places.values())
    others = {
        name: place
        for place, name in enumerate(names)
        if table in ("items", "users") and options.header and place not in taken
    }
    lists = {name: place for name, place in places.items() if name.split(":")[0] in LISTS}
    columns = {name: place for name, place in places.items() if name not in lists}
    return Layout(table, columns, lists, others)


def read(source: Source, options: Options) -> Iterator[Chunk]:
    """The chunks of one file of any of the kinds."""
    with opened(source.path) as (stream, _):
        start = stream.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"PAR1"):
        yield from _parquet(source.path, options)
    elif start.startswith(b"{") and options.separator is None:
        yield from _json_lines(source.path, options)
    else:
        yield from _separated(source.path, options)


def exploded(column: Any, separator: str) -> tuple[Any, I64]:
    """The values in cells that hold several, and the row each comes from; empty ones are left."""
    if not pa.types.is_list(column.type) and not pa.types.is_large_list(column.type):
        if not (pa.types.is_string(column.type) or pa.types.is_binary(column.type)):
            column = column.cast(pa.string())
        column = pc.split_pattern(column, separator)
    values = pc.list_flatten(column)
    parents = pc.list_parent_indices(column).cast(pa.int64())
    if pa.types.is_string(values.type) or pa.types.is_binary(values.type):
        filled = pc.invert(pc.match_substring_regex(values, r"^\s*$")).fill_null(False)
        values, parents = values.filter(filled), parents.filter(filled)
    return values, parents.to_numpy(zero_copy_only=False)


def _separated(path: Path, options: Options) -> Iterator[Chunk]:
    separator = options.separator or _guessed(first_line(path, options.encoding))
    separator = {"\\t": "\t", "tab": "\t"}.get(separator, separator)
    dialect = Dialect(separator, quotes=True, header=options.header, encoding=options.encoding)
    row = first_row(path, dialect)
    if not row:
        return
    names = row if options.header else [str(place + 1) for place in range(len(row))]
    layout = resolve(names, options, path)
    for part in cells(path, dialect, len(names)):
        yield _chunk(
            layout, part.columns, part.lines, part.done, options=options, rejected=part.rejected
        )


def _json_lines(path: Path, options: Options) -> Iterator[Chunk]:
    first = True
    for block in blocks(path, options.encoding):
        rows: list[dict[str, Any]] = []
        numbers: list[int] = []
        rejected: list[Rejected] = []
        for number, line in enumerate(block.data.split(b"\n")[:-1], block.first_line):
            if not line.strip():
                continue
            row = None if block.too_long else _object(line)
            if row is None:
                reason = LINE_TOO_LONG if block.too_long else NOT_JSON
                text = shortened(line.decode("utf-8", "backslashreplace"))
                rejected.append(Rejected(number, reason, text))
            else:
                rows.append(row)
                numbers.append(number)
        names = list(dict.fromkeys(name for row in rows for name in row))
        layout = resolve(names, options, path, strict=first and bool(rows))
        first = first and not rows
        wanted = {*layout.columns.values(), *layout.lists.values()}
        columns: list[Any] = [
            _json_column([row.get(name) for row in rows], place in layout.lists.values(), options)
            if place in wanted
            else [row.get(name) for row in rows]
            for place, name in enumerate(names)
        ]
        lines = np.array(numbers, np.int64)
        yield _chunk(layout, columns, lines, block.done, options=options, rejected=tuple(rejected))


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _json_column(values: list[Any], several: bool, options: Options) -> Any:
    if not several:
        return pa.array([_bytes(value) for value in values], pa.binary())
    cells_of = [
        [_bytes(part) for part in value]
        if isinstance(value, list)
        else []
        if value is None
        else str(value).encode().split(options.list_separator.encode())
        for value in values
    ]
    return pa.array(cells_of, pa.list_(pa.binary()))


def _bytes(value: Any) -> bytes | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode("utf-8", "surrogatepass")  # half a pair is found to be no UTF-8


def _parquet(path: Path, options: Options) -> Iterator[Chunk]:
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            layout = resolve(names, options, path)
            total, size, row = max(1, file.metadata.num_rows), path.stat().st_size, 0
            for batch in file.iter_batches(PARQUET_ROWS, use_threads=False):
                lines = np.arange(row + 1, row + 1 + batch.num_rows, dtype=np.int64)
                row += batch.num_rows
                yield _chunk(layout, batch.columns, lines, size * row // total, options=options)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: the Parquet file is damaged: {error}") from error


def _chunk(
    layout: Layout,
    columns: list[Any],
    lines: I64,
    done: int,
    *,
    options: Options,
    rejected: tuple[Rejected, ...] = (),
) -> Chunk:
    table = layout.table
    raw: dict[str, Any] = {name: columns[place] for name, place in layout.columns.items()}
    if options.kind is not None and "kind" in SCHEMAS[table].names and "kind" not in raw:
        raw["kind"] = options.kind
    if layout.attributes:
        raw["attributes"] = _attributes(layout, columns, len(lines))
    derived = tuple(
        _derived(name, raw[SCHEMAS[table].names[0]], columns[place], options)
        for name, place in layout.lists.items()
    )
    return Chunk(table, raw, lines, done, derived, rejected)


def _derived(name: str, ids: Any, column: Any, options: Options) -> Derived:
    values, parents = exploded(column, options.list_separator)
    items = ids.take(pa.array(parents))
    if name == "domains":
        return Derived("item_domains", {"item": items, "domain": values}, parents)
    category = name.partition(":")[2] or EVENT_TAG_CATEGORY
    return Derived("item_tags", {"item": items, "category": category, "tag": values}, parents)


def _attributes(layout: Layout, columns: list[Any], rows: int) -> Any:
    """What is left of each row as a JSON object; an object named `attributes` is merged in."""
    names = list(layout.attributes)
    values = [
        column if isinstance(column, list) else column.to_pylist()
        for column in (columns[place] for place in layout.attributes.values())
    ]
    objects = []
    for row in range(rows):
        found: dict[str, Any] = {}
        for name, column in zip(names, values, strict=True):
            value = column[row]
            if isinstance(value, bytes):
                value = value.decode("utf-8", "surrogateescape").strip()
            if name == "attributes" and isinstance(value, dict):
                found |= value
            elif value is not None and value != "":
                found[name] = value
        objects.append(_json(found) if found else None)
    return pa.array(objects, pa.binary())


def _json(value: dict[str, Any]) -> bytes:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a surrogate pair out of JSON: rejected as no UTF-8
        return text.encode("utf-8", "surrogatepass")


def _guessed(line: bytes) -> str:
    counts = {separator: line.count(separator.encode()) for separator in SEPARATORS}
    best = max(SEPARATORS, key=lambda separator: counts[separator])
    return best if counts[best] else ","


def _place(names: list[str], reference: str | int) -> int | None:
    if isinstance(reference, str) and reference in names:
        return names.index(reference)
    if isinstance(reference, int) or reference.isdigit():
        place = int(reference) - 1
        return place if 0 <= place < len(names) else None
    return None


def _plain(name: str) -> str:
    head, colon, tail = name.lower().partition(":")
    return "".join(filter(str.isalnum, head)) + colon + tail


def _list(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:20])
    return shown + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _sources(path: Path, options: Options) -> list[Source]:
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder")
    table = "items" if options.part == "items" and options.table == "events" else options.table
    if path.is_file():
        return [Source(path, table)]
    found = [
        file
        for file in sorted(path.iterdir())
        if file.is_file() and file.name.lower().removesuffix(".gz").endswith(SUFFIXES)
    ]
    if not found:
        raise InputError(f"{path}: no file here ends in {', '.join(SUFFIXES)}")
    return [Source(file, table) for file in found]


def _read(source: Source, options: Options) -> Iterator[Chunk]:
    yield from read(source, Options(**{**vars(options), "table": source.role}))


FORMAT = Format(
    name="table",
    about="CSV, TSV, other separators, JSON Lines or Parquet, with columns mapped by name",
    sources=_sources,
    read=_read,
    looks_like=lambda path: path.name.lower().removesuffix(".gz").endswith(SUFFIXES),
)
