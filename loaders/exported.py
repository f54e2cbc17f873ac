"""Reads what other trackers exported: one message a line, each about one item, several, or none.

A message becomes an event for each item that it is about. Messages about no item, such as a page
view, are left out and counted; they are not wrong. A wrong one is rejected with its line, and the
reason names the field. Sites that name their items elsewhere say where: `--column
item=properties.sku` takes every message that has something there.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from graph.errors import InputError
from loaders.format import Options, Source
from loaders.json_lines import decoded_lines, json_object
from loaders.lines import opened
from loaders.parquet_file import batches
from loaders.reasons import OBJECT
from loaders.records import Chunk, Rejected, shortened
from loaders.understood import Understood

Message = Mapping[str, Any]
Decode = Callable[[bytes], Message | None]  # of a line; None: it is no message
FIELDS = ("user", "item", "kind", "value", "at", "event_id")
SUFFIXES = (".json", ".jsonl", ".ndjson", ".tsv", ".txt", ".parquet", ".gz")
LEFT_OUT_NAMED = 5
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d|\d{9,19}$")


@dataclass(frozen=True)
class Tracker:
    """How the messages of one maker are read."""

    about: str
    name: Callable[[Message], str | None]  # of what happened
    kinds: Mapping[str, str]  # that name in lower case -> the kind of event
    users: tuple[str, ...]  # fields that say who it was; the first one that is there counts
    times: tuple[str, ...]
    ids: tuple[str, ...]  # fields that hold an id of the message
    products: Callable[[Message], list[tuple[str, Message]]]  # what it is about, and its field
    items: tuple[str, ...]  # fields of a product that hold its id


class Wrong(ValueError):  # noqa: N818 - it tells what is wrong with a field
    """A field of a message that cannot be used."""

    def __init__(self, field: str, problem: str) -> None:
        """The reason names both."""
        super().__init__(f"{field}: {problem}")


class AboutNoItem(ValueError):  # noqa: N818 - nothing is wrong with it
    """A message that is left out; its text is what happened."""


def read(
    source: Source,
    options: Options,
    tracker: Tracker,
    decode: Decode | None = None,
    change: Callable[[Message], Message] = dict,
) -> Iterator[Chunk]:
    """The events of a file, chunk by chunk; the last one says what was left out.

    `decode` makes a message of a line that is no JSON; `change` brings one into the form in which
    `tracker` reads it.

    Raises:
        InputError: a field in `options.columns` is not one of `FIELDS`.
    """
    for field in options.columns:
        if field not in FIELDS:
            raise InputError(f"--column: {field!r} is not one of {', '.join(FIELDS)}")
    understood: Understood | None = Understood(
        columns={field: str(path) for field, path in options.columns.items()},
        taken={"file": tracker.about},
    )
    left_out: Counter[str] = Counter()
    done = 0
    for messages, rejected, read_bytes in messages_of(source, options, decode or json_object):
        done = read_bytes
        rows: list[dict[str, Any]] = []
        lines: list[int] = []
        for line, message in messages:
            try:
                made = events(change(message), options, tracker)
            except AboutNoItem as error:
                left_out[str(error)] += 1
            except Wrong as error:
                rejected.append(
                    Rejected(line, str(error), shortened(json.dumps(message, default=str)))
                )
            else:
                rows += made
                lines += [line] * len(made)
        columns = {
            field: pa.array([_bytes(row.get(field)) for row in rows], pa.binary())
            for field in FIELDS
        }
        yield Chunk(
            "events", columns, np.array(lines, np.int64), done,
            rejected=tuple(rejected), understood=understood,
        )  # fmt: skip
        understood = None
    yield Chunk(
        "events",
        {},
        np.zeros(0, np.int64),
        done,
        understood=understood,
        warnings=_left_out_in_words(left_out),
    )


def events(message: Message, options: Options, tracker: Tracker) -> list[dict[str, Any]]:
    """The events of one message.

    Raises:
        AboutNoItem: there is none.
        Wrong: a field that they need is missing, or cannot be used.
    """
    own = options.columns
    products: list[tuple[str, Message]]
    name = (tracker.name(message) or "").strip()
    kind = tracker.kinds.get(name.lower())
    if "item" in own:
        products = [(str(own["item"]), {"": value}) for value in at(message, str(own["item"]))]
    else:
        products = tracker.products(message) if kind else []
        if kind and not products:
            raise Wrong(tracker.items[0], f"missing, though {name!r} is about an item")
    if not products:
        raise AboutNoItem(name or "without a name")
    kind = options.kind or kind or re.sub(r"\W+", "_", name).strip("_").lower() or "view"
    about = {
        "user": _first(message, own, "user", tracker.users),
        "at": _time(*_named(message, own, "at", tracker.times)),
        "kind": _first(message, own, "kind", ()) if "kind" in own else kind,
    }
    number = next(iter(_values(message, own, "event_id", tracker.ids)), None)
    made = []
    for position, (field, product) in enumerate(products, 1):
        item = product.get("") if "item" in own else _item(field, product, tracker.items)
        if isinstance(item, dict | list):
            raise Wrong(field, OBJECT)
        event = {**about, "item": item, "value": _value(message, own, kind, field, product)}
        if number is not None:
            event["event_id"] = number if len(products) == 1 else f"{number}/{position}"
        made.append(event)
    return made


def at(message: Any, path: str) -> list[Any]:
    """What stands at a path such as `properties.sku`; several values where lists lie on the way."""
    values = [message]
    for step in path.split("."):
        inside = [value.get(step) for value in values if isinstance(value, Mapping)]
        values = [
            part for value in inside for part in (value if isinstance(value, list) else [value])
        ]
    return [value for value in values if value not in (None, "")]


def files(path: Path, options: Options) -> list[Source]:
    """The file, or the files of a folder."""
    if options.part == "items":
        raise InputError(f"{path}: exported events say nothing about items; leave --part away")
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder")
    if path.is_file():
        return [Source(path, "events")]
    inside = [
        file for file in sorted(path.rglob("*")) if file.is_file() and file.suffix in SUFFIXES
    ]
    if not inside:
        raise InputError(f"{path}: no file here ends in {', '.join(SUFFIXES)}")
    return [Source(file, "events") for file in inside]


def begins_with(path: Path, *fields: bytes) -> bool:
    """Whether the beginning of a file names all of these fields; no, if it cannot be read."""
    try:
        with opened(path) as (stream, _):
            start = stream.read(8192)
    except InputError:
        return False
    return all(b'"' + field + b'"' in start for field in fields)


def messages_of(
    source: Source, options: Options, decode: Decode
) -> Iterator[tuple[Iterable[tuple[int, Message]], list[Rejected], int]]:
    """Numbered messages, rejected lines, and bytes of the file so far."""
    with opened(source.path) as (stream, _):
        parquet = stream.read(4) == b"PAR1"
    if parquet:
        for names, columns, lines, done in batches(source.path, (), source.most_bytes):
            rows = zip(*(column.to_pylist() for column in columns), strict=True)
            messages = [dict(zip(names, row, strict=True)) for row in rows]
            yield zip(lines.tolist(), messages, strict=True), [], done
        return
    yield from decoded_lines(source, options, decode)


def _values(
    message: Message, own: Mapping[str, Any], field: str, paths: Iterable[str]
) -> list[Any]:
    """What is in the field that the caller names, or else in the first of the usual ones."""
    for path in [str(own[field])] if field in own else paths:
        if values := at(message, path):
            return values
    return []


def _named(
    message: Message, own: Mapping[str, Any], field: str, paths: tuple[str, ...]
) -> tuple[str, Any]:
    """The same, with the name of the field; `Wrong` where nothing is there."""
    names = str(own[field]) if field in own else " or ".join(paths)
    values = _values(message, own, field, paths)
    if not values:
        raise Wrong(names, "missing")
    if isinstance(values[0], dict):
        raise Wrong(names, OBJECT)
    return names, values[0]


def _first(message: Message, own: Mapping[str, Any], field: str, paths: tuple[str, ...]) -> Any:
    return _named(message, own, field, paths)[1]


def _time(names: str, value: Any) -> str:
    """A time as text; microseconds, as GA4 has them, as seconds."""
    text = str(value)
    if not _TIME.match(text):
        raise Wrong(names, "not a time")
    return str(int(text) // 1_000_000) if text.isdigit() and len(text) > 14 else text


def _item(field: str, product: Message, names: tuple[str, ...]) -> Any:
    for name in names:
        if product.get(name) not in (None, "", "(not set)"):
            return product[name]
    raise Wrong(f"{field}.{names[0]}".lstrip("."), "missing")


def _value(
    message: Message, own: Mapping[str, Any], kind: str, field: str, product: Message
) -> float | None:
    """What counts besides the kind: how many were bought, the rating, or what the caller names."""
    if "value" in own:
        values = at(message, str(own["value"]))
        return _number(str(own["value"]), values[0]) if values else None
    name = {"purchase": "quantity", "rating": "rating"}.get(kind)
    if name is None or product.get(name) is None:
        return None
    return _number(f"{field}.{name}".lstrip("."), product[name])


def _number(field: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise Wrong(field, "not a number") from None
    if not math.isfinite(number):
        raise Wrong(field, "not a number")
    return number


def _bytes(value: Any) -> bytes | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode("utf-8", "surrogatepass")


def _left_out_in_words(left_out: Counter[str]) -> tuple[str, ...]:
    if not left_out:
        return ()
    names = ", ".join(f"{name} ({count:,})" for name, count in left_out.most_common(LEFT_OUT_NAMED))
    more = ", …" if len(left_out) > LEFT_OUT_NAMED else ""
    text = (
        f"{left_out.total():,} messages are not about an item, and were left out: {names}{more}; "
        "if they are, say which field names it, such as --column item=properties.sku"
    )
    return (text,)
