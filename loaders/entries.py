"""Checks events and items in requests, entry by entry, by the same rules as files.

The fields are those of `load`: the columns of `graph.model.SCHEMAS`, and for items also `tags`,
`tags:CATEGORY` and `domains`, which are lists of names, or of objects that also hold a weight. If
anything in an entry is wrong, the whole entry is refused.
"""

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from graph.model import EVENT_TAG_CATEGORY, SCHEMAS, SESSION
from loaders.plain import plain_event
from loaders.reasons import REASONS
from loaders.records import validate

LISTS = {"tags": ("item_tags", "tag"), "domains": ("item_domains", "domain")}
NOT_AN_OBJECT = "not an object"
NOT_A_LIST = "not a list"
NOT_PLAIN = "neither text nor a number"

Entry = dict[str, Any]


@dataclass(frozen=True)
class Refused:
    """An entry that was not taken: the first field that is wrong, and why."""

    field: str  # as written, with places: `tags[2].weight`; "": the entry itself
    reason: str


def check_rows(table: str, entries: Sequence[Any], now: int) -> list[Entry | Refused]:
    """Each entry as a typed row of a table without its null fields, or why it is refused.

    `now` is in seconds since 1970.
    """
    known = SCHEMAS[table].names
    results: list[Entry | Refused] = [_shape(entry, known) for entry in entries]
    _check_columns(table, results, now)
    return results


def check_events(entries: Sequence[Any], now: int) -> list[Entry | Refused]:
    """Each entry as a row of `events`, with its `session` if it names one, or why it is refused.

    An event that names a session and no user was done by the visitor whom the session's id names.
    """
    results: list[Entry | Refused | None] = [plain_event(entry, now) for entry in entries]
    rest = iter(
        _events_by_column([e for e, r in zip(entries, results, strict=True) if r is None], now)
    )
    return [next(rest) if result is None else result for result in results]


def _events_by_column(entries: Sequence[Any], now: int) -> list[Entry | Refused]:
    """What `check_events` promises, for entries of any form."""
    if not entries:
        return []
    known = [*SCHEMAS["events"].names, SESSION]
    results: list[Entry | Refused] = [_shape(entry, known) for entry in entries]
    named = {
        number: result.pop(SESSION)
        for number, result in enumerate(results)
        if isinstance(result, dict) and SESSION in result
    }
    named = {number: session for number, session in named.items() if session is not None}
    ids = check_rows("users", [{"id": session} for session in named.values()], now)
    for number, session in zip(named, ids, strict=True):
        entry = results[number]
        if isinstance(session, Refused):
            results[number] = Refused(SESSION, session.reason)
        elif isinstance(entry, dict):
            named[number] = session["id"]
            if entry.get("user") is None:
                entry["user"] = session["id"]
    _check_columns("events", results, now)
    for number, name in named.items():
        row = results[number]
        if isinstance(row, dict):
            row[SESSION] = name
    return results


def check_items(entries: Sequence[Any], now: int) -> list[Entry | Refused]:
    """Each entry as an item, `tags` and `domains` as lists of objects; or why it is refused.

    The result has just the fields that the entry names, also if they are null or empty lists. All
    lists of tags become `tags`, each tag with its category.
    """
    known = [*SCHEMAS["items"].names, *LISTS]
    results: list[Entry | Refused] = [_shape(entry, known, lists=True) for entry in entries]
    named = [dict(result) if isinstance(result, dict) else {} for result in results]
    _check_columns("items", results, now)
    for name, (table, _) in LISTS.items():
        _check_lists(name, table, named, results, now)
    for entry, result in zip(named, results, strict=True):
        if isinstance(result, dict):
            for field in entry:
                result.setdefault("tags" if field.startswith("tags:") else field, None)
    return results


def _shape(entry: Any, known: Iterable[str], *, lists: bool = False) -> Entry | Refused:
    """A copy of an entry if its fields are known and their values of a possible type."""
    if not isinstance(entry, Mapping):
        return Refused("", NOT_AN_OBJECT)
    for field, value in entry.items():
        name = "tags" if lists and field.startswith("tags:") else field
        if name not in known:
            near = difflib.get_close_matches(field, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            return Refused(field[:80], f"no such field; {hint}")
        if field == "attributes":
            if not (value is None or isinstance(value, dict)):
                return Refused(field, NOT_AN_OBJECT)
        elif lists and name in LISTS:
            if not (value is None or isinstance(value, list)):
                return Refused(field, NOT_A_LIST)
        elif isinstance(value, dict | list):
            return Refused(field, NOT_PLAIN)
    return dict(entry)


def _check_columns(table: str, results: list[Any], now: int) -> None:
    """Validate the entries of the right shape, and put the results in their place."""
    places = [number for number, result in enumerate(results) if isinstance(result, dict)]
    if not places:
        return
    rows = [results[number] for number in places]
    columns = {
        field: _text(rows, field)
        for field in SCHEMAS[table].names
        if any(row.get(field) is not None for row in rows)
    }
    valid = validate(table, columns, len(rows), now)
    good = iter(valid.good.to_pylist())
    for number, kept, code, field in zip(
        places, valid.kept.tolist(), valid.codes.tolist(), valid.fields.tolist(), strict=True
    ):
        if kept:
            row = {name: value for name, value in next(good).items() if value is not None}
            if "attributes" in row:
                row["attributes"] = json.loads(row["attributes"])
            results[number] = row
        elif code:
            results[number] = Refused(SCHEMAS[table].names[field], REASONS[code])
        else:
            results[number] = Refused("target", "the same as the source")


def _check_lists(name: str, table: str, named: list[Entry], results: list[Any], now: int) -> None:
    """Check the tags or domains of all entries at once, and put them into the results."""
    column = LISTS[name][1]
    rows: list[Any] = []
    written: list[tuple[int, str]] = []  # for each row: the entry, and the field as it was written
    for number, entry in enumerate(named):
        if not isinstance(results[number], dict):
            continue
        for field, values in entry.items():
            if field.partition(":")[0] != name or values is None:
                continue
            results[number].setdefault(name, [])
            category = field.partition(":")[2] or EVENT_TAG_CATEGORY
            for position, value in enumerate(values):
                row = value if isinstance(value, dict) else {column: value}
                if name == "tags":
                    row = {"category": category, **row}
                shaped = _shape(row, SCHEMAS[table].names[1:])
                rows.append(shaped if isinstance(shaped, Refused) else {"item": "x", **shaped})
                written.append((number, f"{field}[{position}]"))
    _check_columns(table, rows, now)
    for (number, field), row in zip(written, rows, strict=True):
        if not isinstance(results[number], dict):
            continue
        if isinstance(row, Refused):
            results[number] = Refused(f"{field}.{row.field}".rstrip("."), row.reason)
        else:
            results[number][name].append({key: row[key] for key in row if key != "item"})


def _text(rows: list[Entry], field: str) -> Any:
    """A field of every row as a column of text, as files have it."""
    values = [row.get(field) for row in rows]
    return pa.array([_bytes(value) for value in values], pa.binary())


def _bytes(value: Any) -> bytes | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    # Half a surrogate pair is rejected later, as it is not UTF-8.
    return text.encode("utf-8", "surrogatepass")
