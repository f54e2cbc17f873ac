"""Splits separated text (CSV, TSV, any separator) into columns of cells, wrong rows set aside.

A block goes through Arrow's parser. If that finds a row of another width, a blank line or a line
break inside quotes, the block is split line by line instead, so that each wrong row is rejected
with its line and the others are kept.

In text separated by tabs, quotes are part of the text (`12" Vinyl`, `"Heroes`), unless they stand
around a whole cell, or a row has the right number of cells only if they are real quotes.
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

from graph.arrays import I64
from graph.errors import InputError
from loaders.lines import MOST_UNPACKED, Block, blocks, first_line
from loaders.reasons import LINE_TOO_LONG, OPEN_QUOTE, TOO_LONG, TOO_SHORT
from loaders.records import Rejected, shortened

LONGEST_RECORD = 1 << 20  # bytes between quotes; beyond that, the quote was not closed
csv.field_size_limit(1 << 24)  # characters of a cell; the default of 131,072 ends a load
MOST_LINES = 10_000  # of one record
_STAND_IN = b"\x1f"  # for separators of several characters


@dataclass(frozen=True)
class Cells:
    """Some rows, as cells."""

    columns: list[Any]  # pyarrow binary arrays (n,)
    lines: I64  # (n,)
    rejected: tuple[Rejected, ...]
    done: int  # bytes of the file read
    swallowed: tuple[tuple[int, int], ...] = ()  # first and last lines of rows joined by quotes


@dataclass(frozen=True)
class Dialect:
    """How a separated file is written."""

    separator: str = ","
    quotes: bool = True  # hold cells together; between tabs: see above
    header: bool = True
    encoding: str = "utf-8"


def first_row(path: Path, dialect: Dialect, most: int = MOST_UNPACKED) -> list[str]:
    """The cells of the first line: the names of the columns where there is a header."""
    text = first_line(path, dialect.encoding, most)
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
    try:
        return [cell.strip() for cell in next(csv.reader([decoded], delimiter=dialect.separator))]
    except csv.Error as error:
        raise InputError(
            f"{path}: the first line cannot be split ({error}); are its quotes only text? "
            "--quote none"
        ) from error


def cells(path: Path, dialect: Dialect, width: int, most: int = MOST_UNPACKED) -> Iterator[Cells]:
    """The rows after the header, in columns; rows without `width` cells are rejected.

    Blank lines are skipped. An empty file gives nothing. More than `most` bytes are refused.
    """
    separator = dialect.separator.encode()
    open_lines = b""  # lines of a record whose quote is not closed yet
    skip = dialect.header
    last: Block | None = None
    for block in blocks(path, dialect.encoding, most=most):
        if block.too_long:
            text = shortened(block.data.decode("utf-8", "backslashreplace"))
            rejected = (Rejected(block.first_line, LINE_TOO_LONG, text),)
            yield Cells(_columns([], width), np.zeros(0, np.int64), rejected, block.done)
            continue
        data, start = block.data, block.first_line
        if skip:
            blank = len(data) - len(data.lstrip(b" \t\r\n"))
            end = data.find(b"\n", blank) + 1 or len(data)
            start += data.count(b"\n", 0, end)
            data, skip = data[end:], blank == len(data)
        start -= open_lines.count(b"\n")
        data = open_lines + data
        block_cells, open_lines = _split(
            data, start, block.done, separator=separator, quotes=dialect.quotes, width=width
        )
        last = block
        yield block_cells
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
    lone = quotes and separator == b"\t"
    if len(separator) == 1 and (lone or not (quotes and data.count(b'"') % 2)):
        fast = _by_block(data, separator, quotes and not lone, width)
        if fast is not None and lone:
            fast = [_unwrapped(column) for column in fast]
        if fast is not None:
            lines = np.arange(start, start + len(fast[0]), dtype=np.int64)
            return Cells(fast, lines, (), done), b""
    return _by_line(data, start, done, separator=separator, width=width, quotes=quotes, last=False)


def _by_block(data: bytes, separator: bytes, quotes: bool, width: int) -> list[Any] | None:
    """The columns of a block, or None if it needs to be split line by line."""
    names = [str(number) for number in range(width)]
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
    swallowed: list[tuple[int, int]] = []
    number, left_over = 0, b""
    while number < len(lines):
        line, used = lines[number].removesuffix(b"\r"), 1
        row: list[bytes] | None = line.split(separator)
        if quotes and b'"' in line and separator == b"\t" and len(row or ()) == width:
            row = [_bare(cell) for cell in row or ()]
        elif quotes and b'"' in line:
            row, used = _quoted(lines, number, separator)
            if row is None and used > 1 and not last:
                left_over = b"\n".join(lines[number:]) + b"\n"
                if len(left_over) <= LONGEST_RECORD and len(lines) - number <= MOST_LINES:
                    break
                left_over = b""
            used = used if row is not None else 1
        if line.strip(b" "):
            reason = _wrong(row, width)
            if row is None or reason:
                text = line.decode("utf-8", "backslashreplace").replace("\x1f", " | ")
                rejected.append(Rejected(start + number, reason, shortened(text)))
            else:
                rows.append(row)
                numbers.append(start + number)
                inner = lines[number + 1 : number + used]
                if width > 1 and any(text.count(separator) == width - 1 for text in inner):
                    swallowed.append((start + number, start + number + used - 1))
        number += used
    columns = _columns(rows, width)
    lines_of_rows = np.array(numbers, np.int64)
    return Cells(columns, lines_of_rows, tuple(rejected), done, tuple(swallowed)), left_over


def _bare(cell: bytes) -> bytes:
    """A cell between tabs, without quotes around the whole of it."""
    if len(cell) > 1 and cell.startswith(b'"') and cell.endswith(b'"'):
        return cell[1:-1].replace(b'""', b'"')
    return cell


def _unwrapped(column: Any) -> Any:
    return pa.array([_bare(cell) for cell in column.to_pylist()], pa.binary())


def _wrong(row: list[bytes] | None, width: int) -> str:
    if row is None:
        return OPEN_QUOTE
    if len(row) == width:
        return ""
    return TOO_SHORT if len(row) < width else TOO_LONG


def _quoted(lines: list[bytes], number: int, separator: bytes) -> tuple[list[bytes] | None, int]:
    """The record that begins at a line, and how many lines it takes.

    None and 2 if its quotes are never closed; None and 1 if it is not a valid record.
    """
    texts = (
        line.removesuffix(b"\r").decode("utf-8", "surrogateescape") + "\n"
        for line in islice(lines, number, number + MOST_LINES)
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
