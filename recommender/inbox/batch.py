"""Turns facts into a batch for the store: the state that they lead to together.

A batch writes all its tables at once. So the facts about an item are applied in order first, and
the batch contains only the result.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from graph.model import ITEM_PARTS, SCHEMAS
from recommender.inbox.facts import CONSENT, DELETE, PATCH, PUT, USER_PUT, Row

_VALUES = ("title", "created_at", "attributes", "hidden")
_LISTS = {"tags": ("item_tags", ("category", "tag")), "domains": ("item_domains", ("domain",))}


@dataclass
class Folded:
    """The result of applying facts in order."""

    batch: dict[str, pa.Table]
    clear: dict[str, list[str]]  # a name of `graph.model.ITEM_PARTS` -> items, see `GraphStore`


@dataclass
class _Item:
    """The result for one item: parts to be removed, and what is written after that."""

    gone: set[str] = field(default_factory=set)
    values: dict[str, Any] = field(default_factory=dict)
    links: dict[str, dict[tuple[str, ...], dict[str, Any]]] = field(default_factory=dict)

    def clear(self, part: str) -> None:
        self.gone.add(part)
        self.values.pop(part, None)
        self.links.pop(part, None)

    def link(self, part: str, entry: dict[str, Any]) -> None:
        key = tuple(entry[name] for name in _LISTS[part][1])
        self.links.setdefault(part, {})[key] = entry


def fold(facts: Sequence[Row]) -> Folded:
    """Apply facts in order; erasures and loads are left out."""
    rows: dict[str, list[dict[str, Any]]] = {}
    items: dict[str, _Item] = {}
    users: dict[str, dict[str, Any]] = {}
    for fact in facts:
        kind, payload = fact.kind, fact.payload
        if kind in (PUT, PATCH, DELETE):
            _change(items.setdefault(payload["id"], _Item()), kind, payload)
        elif kind == "items":
            item = items.setdefault(payload["id"], _Item())
            item.values |= {name: payload[name] for name in _VALUES if name in payload}
        elif kind in ("item_tags", "item_domains"):
            part = kind.removeprefix("item_")
            items.setdefault(payload["item"], _Item()).link(part, payload)
        elif kind in (USER_PUT, CONSENT, "users"):
            users[payload["id"]] = users.get(payload["id"], {}) | _user(kind, payload)
        elif kind in SCHEMAS:
            rows.setdefault(kind, []).append(payload)
    for name, item in items.items():
        rows.setdefault("items", []).append({"id": name} | _texts(item.values))
        for part, entries in item.links.items():
            table = _LISTS[part][0]
            rows.setdefault(table, []).extend({**entry, "item": name} for entry in entries.values())
    if users:
        rows["users"] = [{"id": name} | _texts(values) for name, values in users.items()]
    clear = {
        part: [name for name, item in items.items() if part in item.gone] for part in ITEM_PARTS
    }
    return Folded(
        {
            table: pa.Table.from_pylist(entries, schema=SCHEMAS[table])
            for table, entries in rows.items()
        },
        {part: names for part, names in clear.items() if names},
    )


def _change(item: _Item, kind: str, payload: dict[str, Any]) -> None:
    for part in ITEM_PARTS if kind != PATCH else [name for name in payload if name in ITEM_PARTS]:
        item.clear(part)
    if kind == DELETE:
        item.values["hidden"] = True
        return
    if kind == PUT or "hidden" in payload:
        item.values["hidden"] = bool(payload.get("hidden"))
    for name in ("title", "created_at", "attributes"):
        if payload.get(name) is not None:
            item.values[name] = payload[name]
    for part in _LISTS:
        for entry in payload.get(part) or ():
            item.link(part, entry)


def _user(kind: str, payload: dict[str, Any]) -> dict[str, Any]:
    if kind == USER_PUT:
        return {"attributes": payload.get("attributes", {})}
    if kind == CONSENT:
        return {"consent": payload["consent"]["train"]} if "train" in payload["consent"] else {}
    return {name: payload[name] for name in ("consent", "attributes") if name in payload}


def _texts(values: dict[str, Any]) -> dict[str, Any]:
    """Attributes as the text that a store holds, like those of files."""
    if not isinstance(values.get("attributes"), dict):
        return values
    text = json.dumps(values["attributes"], ensure_ascii=False, sort_keys=True)
    return values | {"attributes": text}
