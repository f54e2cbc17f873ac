"""What went from a store when a load was taken back, as facts for those who follow the journal."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from recommender.inbox.facts import EVENT_UNDONE, ITEM_UNDONE, USER_UNDONE, Fact, fact

ITEM_TABLES = ("items", "item_tags", "item_domains")
TABLES = ("events", *ITEM_TABLES, "users")
MOST_ANNOUNCED = 1_000_000  # events that an overlay can hold; with more, servers wait for a refresh
NOTHING = -(2**53)  # no time and no weight
_EVENT = ("user", "item", "kind", "tag", "at", "event_id")


def facts(before: Mapping[str, pa.Table], after: Mapping[str, pa.Table]) -> Iterator[Fact]:
    """The differences between two states of a store, of which the later one holds less.

    `before` and `after` hold each of TABLES as `GraphStore.read` gives them. Items come first:
    when an item is gone, so are its events. Relations are left out: one that comes or goes
    counts only from the next refresh on.
    """
    touched = {
        str(row["id" if name == "items" else "item"])
        for name in ITEM_TABLES
        for rows in (_without(before[name], after[name]), _without(after[name], before[name]))
        for row in rows.to_pylist()
    }
    items = {row["id"]: row for row in _of(after["items"], "id", touched)}
    links: dict[str, dict[str, list[dict[str, Any]]]] = {"tags": {}, "domains": {}}
    for part, own in links.items():
        for row in _of(after[f"item_{part}"], "item", touched):
            own.setdefault(row.pop("item"), []).append(row)
    for name in sorted(touched):
        if name not in items:
            yield fact(ITEM_UNDONE, {"id": name})
            continue
        now = _values(items[name])
        now |= {part: own[name] for part, own in links.items() if name in own}
        yield fact(ITEM_UNDONE, {"id": name, "now": now})
    for row in _without(before["events"], after["events"], _EVENT)[:MOST_ANNOUNCED].to_pylist():
        yield fact(EVENT_UNDONE, {name: row[name] for name in _EVENT})
    left = _without(before["users"], after["users"], ("id", "attributes"))["id"].to_pylist()
    users = {row["id"]: row for row in _of(after["users"], "id", set(left))}
    for name in left[:MOST_ANNOUNCED]:
        about = {"now": _values(users[name], "id", "attributes")} if name in users else {}
        yield fact(USER_UNDONE, {"id": name, **about})


def _values(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The values of a row in some columns, or in all; attributes as an object."""
    values = {name: row[name] for name in names or row if row[name] is not None}
    if "attributes" in values:
        values["attributes"] = json.loads(values["attributes"])
    return values


def _without(rows: pa.Table, others: pa.Table, names: tuple[str, ...] | None = None) -> pa.Table:
    """The rows that are not among the others; compared by some columns, or by all."""
    if not rows.num_rows or not others.num_rows:
        return rows
    keys = list(names or rows.column_names)
    numbered = _plain(rows, keys).append_column("number", pa.array(range(rows.num_rows)))
    left = numbered.join(_plain(others, keys), keys=keys, join_type="left anti")
    return rows.take(left["number"])


def _plain(rows: pa.Table, keys: list[str]) -> pa.Table:
    """The key columns, each null as a value that no row has: a join never takes nulls for equal."""
    columns = {}
    for name in keys:
        column = rows[name].combine_chunks()
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if pa.types.is_boolean(column.type):
            column = pc.cast(column, pa.string())
        number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
        columns[name] = pc.fill_null(column, NOTHING if number else "\x1f")
    return pa.table(columns)


def _of(rows: pa.Table, column: str, names: set[str]) -> list[dict[str, Any]]:
    kept: list[dict[str, Any]] = rows.filter(
        pc.is_in(rows[column], value_set=pa.array(sorted(names), pa.string()))
    ).to_pylist()
    return kept
