"""What commands print: tables for people, one JSON object for machines, and progress.

Results go to standard output. Progress goes to standard error: a bar on a terminal, else one
line per step. Outside text is escaped: titles may hold markup and control characters.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

Encrypt = Annotated[
    str | None,
    typer.Option(metavar="RECIPIENT", help="Public key of age; only its owner can read this."),
]
JOINERS = "\u200c\u200d\u200e\u200f"  # used in Persian and emojis; marks of direction
LOG_SECONDS = 5.0  # between two lines of progress if there is no terminal


def plain(value: Any) -> str:
    """Text that cannot steer a terminal: control characters are shown as `\\xNN`.

    So are characters that turn the direction of the text after them. Marks that only join or
    separate letters stay.
    """
    text = "" if value is None else str(value)
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in JOINERS else c.encode("unicode_escape").decode() for c in text
    )


def show_json(data: Any) -> None:
    """Print one JSON document on standard output."""
    sys.stdout.write(json_bytes(data).decode())


def json_bytes(data: Any) -> bytes:
    """One JSON document, as it is printed."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
    return orjson.dumps(data, default=str, option=options | orjson.OPT_APPEND_NEWLINE)


def show_text(text: str) -> None:
    """Print a text as it is; whoever made it has escaped what came from outside."""
    sys.stdout.write(text)


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table; cells that are numbers are right-aligned."""
    table = Table(title=escape(plain(title)), title_justify="left", box=None, pad_edge=False)
    for index, name in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[index], int | float) for row in rows)
        table.add_column(
            escape(plain(name)), justify="right" if numeric else "left", overflow="fold"
        )
    for row in rows:
        table.add_row(*(escape(_cell(value)) for value in row))
    Console(soft_wrap=False, highlight=False).print(table)


def say(text: str) -> None:
    """Print a sentence on standard output."""
    sys.stdout.write(plain(text) + "\n")


def step(text: str) -> None:
    """Say on standard error what is being done."""
    sys.stderr.write(time.strftime("%Y-%m-%dT%H:%M:%SZ ", time.gmtime()) + plain(text) + "\n")
    sys.stderr.flush()


@contextmanager
def progress(title: str) -> Iterator[Callable[[int, int, int], None]]:
    """A callable that shows how far a load is: called with bytes done, bytes in all, rows done."""
    if sys.stderr.isatty():
        with _bar(title) as tell:
            yield tell
    else:
        yield _lines(title)


@contextmanager
def _bar(title: str) -> Iterator[Callable[[int, int, int], None]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[rows]:,} rows"),
        TextColumn("{task.fields[rate]:,.0f}/s"),
        TimeRemainingColumn(),
    )
    began = time.monotonic()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(escape(title), rows=0, rate=0.0)

        def tell(done: int, total: int, rows: int) -> None:
            rate = rows / max(time.monotonic() - began, 1e-9)
            bar.update(task, completed=done, total=total, rows=rows, rate=rate)

        yield tell


def _lines(title: str) -> Callable[[int, int, int], None]:
    began = last = time.monotonic()

    def tell(done: int, total: int, rows: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < LOG_SECONDS or not done:
            return
        last = now
        seconds = now - began
        left = seconds * (total - done) / done
        step(f"{title}: {rows:,} rows, {rows / seconds:,.0f}/s, about {left:.0f} s left")

    return tell


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return plain(value)
