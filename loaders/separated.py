"""Split separated text (CSV, TSV, any separator) into columns of cells, wrong rows aside.

A block goes through Arrow's parser. Where that finds a row of another width, a blank line or a
line break inside quotes, the block is split line by line instead, so that each wrong row is
rejected with its line and the others are kept.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv

from graph.errors import InputError
from loaders.lines import Block, blocks, first_line
from loaders.records import (
    I64,
    LINE_TOO_LONG,
    OPEN_QUOTE,
    TOO_LONG,
    TOO_SHORT,
    Rejected,
    shortened,
)

LONGEST_RECORD = 1 << 20  # bytes between quotes; past that a quote was not closed
MOST_LINES = 10_000  # of one record
_STAND_IN = b"\x1f"  # for separators of several characters


@dataclass(frozen=True)
class Cells:
    """Some rows, as cells."""

    columns: list[Any]  # pyarrow binary arrays (n,)
    lines: I64  # (n,)
    rejected: tuple[Rejected, ...]
    done: int  # bytes of the file read


@dataclass(frozen=True)
class Dialect:
    """How a separated file is written."""

    separator: str = ","
    quotes: bool = True
    header: bool = True
    encoding: str = "utf-8"


def first_row(path: Path, dialect: Dialect) -> list[str]:
    """The cells of the first line: the names of the columns where there is a header."""
    text = first_line(path, dialect.encoding)
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: the first line is not UTF-8; give the encoding, for instance latin-1"
        ) from error
    if not decoded:
        return []
    if not dialect.quotes or len(dialect.separator) > 1:
        return [cell.strip() for cell in decoded.split(dialect.separator)]
    return [cell.strip() for cell in next(csv.reader([decoded], delimiter=dialect.separator))]


def cells(path: Path, dialect: Dialect, width: int) -> Iterator[Cells]:
    """The rows after the header, in columns; rows that have not `width` cells are rejected.

    Blank lines are skipped. An empty file gives nothing.
    """
    separator = dialect.separator.encode()
    open_lines = b""  # lines of a record whose quote is not closed yet
    skip = 1 if dialect.header else 0
    last: Block | None = None
    for block in blocks(path, dialect.encoding):
        if block.too_long:
            text = shortened(block.data.decode("utf-8", "backslashreplace"))
            rejected = (Rejected(block.first_line, LINE_TOO_LONG, text),)
            yield Cells(_columns([], width), np.zeros(0, np.int64), rejected, block.done)
            continue
        data, start = block.data, block.first_line
        if skip:
            data, start, skip = data[data.index(b"\n") + 1 :], start + 1, 0
        start -= open_lines.count(b"\n")
        data = open_lines + data
        found, open_lines = _split(
            data, start, block.done, separator=separator, quotes=dialect.quotes, width=width
        )
        last = block
        yield found
    if open_lines and last is not None:
        start = last.first_line + last.lines - open_lines.count(b"\n")
        yield _by_line(
            open_lines, start, last.done, separator=separator, width=width, quotes=True, last=True
        )[0]


def _split(
    data: bytes, start: int, done: int, *, separator: bytes, quotes: bool, width: int
) -> tuple[Cells, bytes]:
    if len(separator) > 1 and _STAND_IN not in data:
        data, separator, quotes = data.replace(separator, _STAND_IN), _STAND_IN, False
    quotes = quotes and len(separator) == 1 and b'"' in data
    if len(separator) == 1 and not (quotes and data.count(b'"') % 2):
        fast = _by_block(data, separator, quotes, width)
        if fast is not None:
            lines = np.arange(start, start + len(fast[0]), dtype=np.int64)
            return Cells(fast, lines, (), done), b""
    return _by_line(data, start, done, separator=separator, width=width, quotes=quotes, last=False)


def _by_block(data: bytes, separator: bytes, quotes: bool, width: int) -> list[Any] | None:
    """The columns of a block without surprises, else None."""
    names = [str(place) for place in range(width)]
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(data),
            arrow_csv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=names),
            arrow_csv.ParseOptions(
                delimiter=separator.decode(),
                quote_char='"' if quotes else False,
                newlines_in_values=quotes,
            ),
            arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.binary()),
                strings_can_be_null=False,
                check_utf8=False,
            ),
        )
    except pa.ArrowInvalid:
        return None
    if table.num_rows != data.count(b"\n"):
        return None
    columns = [column.combine_chunks() for column in table.columns]
    if quotes and any(b"\n" in column[-1].as_py() for column in columns):
        return None  # the block ends inside quotes
    return columns


def _by_line(
    data: bytes,
    start: int,
    done: int,
    *,
    separator: bytes,
    width: int,
    quotes: bool,
    last: bool,
) -> tuple[Cells, bytes]:
    lines = data.split(b"\n")[:-1]
    rows: list[list[bytes]] = []
    numbers: list[int] = []
    rejected: list[Rejected] = []
    place, rest = 0, b""
    while place < len(lines):
        line, used = lines[place].removesuffix(b"\r"), 1
        row: list[bytes] | None = line.split(separator)
        if quotes and b'"' in line:
            row, used = _quoted(lines, place, separator)
            if row is None and used > 1 and not last:
                rest = b"\n".join(lines[place:]) + b"\n"
                if len(rest) <= LONGEST_RECORD and len(lines) - place <= MOST_LINES:
                    break
                rest = b""
            used = used if row is not None else 1
        if line:
            reason = _wrong(row, width)
            if row is None or reason:
                text = line.decode("utf-8", "backslashreplace").replace("\x1f", " | ")
                rejected.append(Rejected(start + place, reason, shortened(text)))
            else:
                rows.append(row)
                numbers.append(start + place)
        place += used
    columns = _columns(rows, width)
    return Cells(columns, np.array(numbers, np.int64), tuple(rejected), done), rest


def _wrong(row: list[bytes] | None, width: int) -> str:
    if row is None:
        return OPEN_QUOTE
    if len(row) == width:
        return ""
    return TOO_SHORT if len(row) < width else TOO_LONG


def _quoted(lines: list[bytes], place: int, separator: bytes) -> tuple[list[bytes] | None, int]:
    """The record that begins at a line and how many lines it takes.

    None with the lines that are left when it does not end, None with 1 when it is no record.
    """
    texts = (
        line.removesuffix(b"\r").decode("utf-8", "surrogateescape") + "\n"
        for line in islice(lines, place, place + MOST_LINES)
    )
    reader = csv.reader(texts, delimiter=separator.decode(), strict=True)
    try:
        row = next(reader)
    except csv.Error as error:
        return None, 2 if "unexpected end" in str(error) else 1
    return [cell.encode("utf-8", "surrogateescape") for cell in row], reader.line_num


def _columns(rows: list[list[bytes]], width: int) -> list[Any]:
    if not rows:
        return [pa.array([], pa.binary()) for _ in range(width)]
    return [pa.array(column, pa.binary()) for column in zip(*rows, strict=True)]
