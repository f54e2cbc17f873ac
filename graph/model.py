"""The tables of the graph as columns: what a store takes in and returns.

Everything that enters or leaves a store is a *batch*: a mapping from table name to a
`pyarrow.Table` with the columns below. String columns may be dictionary-encoded.
Writing is always an upsert. If a row names a user, item or tag that the store does not know yet,
it is created with nothing but its id or name.

users           id · consent (null: has not said) · attributes (JSON object as text)
items           id · title · created_at · hidden (default false) · attributes (JSON object as text)
item_tags       item · category · tag · weight > 0        key: item, category, tag
item_domains    item · domain · weight > 0                key: item, domain
events          user · item · kind · value · tag · at · event_id
                key: event_id if given, else user, item, kind, and tag and at if any
item_relations  source · target · kind · weight > 0       directed; key: source, target, kind
user_relations  source · target · kind · weight > 0       directed; key: source, target, kind

Ids are NFC strings. Times are whole seconds since 1970 (UTC). Category and name together identify
a tag; the tag of an event has the category `tag`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

EVENT_TAG_CATEGORY = "tag"
GENRE_CATEGORY = "genre"
SESSION = "session"  # the field of an event that names its session; no store keeps it
NO_TIME = np.iinfo(np.int64).min  # an event or item without a time, in int64 columns
NO_ROW = -1  # no tag, no item, no user, in columns of rows
KEYS: dict[str, tuple[str, ...]] = {
    "users": ("id",),
    "items": ("id",),
    "item_tags": ("item", "category", "tag"),
    "item_domains": ("item", "domain"),
    "events": ("user", "item", "kind", "tag", "at"),
    "item_relations": ("source", "target", "kind"),
    "user_relations": ("source", "target", "kind"),
}
"""The columns that identify a row of each table; an event's own id takes precedence."""

TAG_SEPARATOR = "\x1f"  # between category and name in the key of a tag's vocabulary

Batch = Mapping[str, Any]  # table name -> pyarrow.Table

_TEXT, _REAL, _TIME = pa.string(), pa.float64(), pa.int64()

SCHEMAS: dict[str, pa.Schema] = {
    "users": pa.schema([("id", _TEXT), ("consent", pa.bool_()), ("attributes", _TEXT)]),
    "items": pa.schema(
        [
            ("id", _TEXT),
            ("title", _TEXT),
            ("created_at", _TIME),
            ("hidden", pa.bool_()),
            ("attributes", _TEXT),
        ]
    ),
    "item_tags": pa.schema(
        [("item", _TEXT), ("category", _TEXT), ("tag", _TEXT), ("weight", _REAL)]
    ),
    "item_domains": pa.schema([("item", _TEXT), ("domain", _TEXT), ("weight", _REAL)]),
    "events": pa.schema(
        [
            ("user", _TEXT),
            ("item", _TEXT),
            ("kind", _TEXT),
            ("value", _REAL),
            ("tag", _TEXT),
            ("at", _TIME),
            ("event_id", _TEXT),
        ]
    ),
    "item_relations": pa.schema(
        [("source", _TEXT), ("target", _TEXT), ("kind", _TEXT), ("weight", _REAL)]
    ),
    "user_relations": pa.schema(
        [("source", _TEXT), ("target", _TEXT), ("kind", _TEXT), ("weight", _REAL)]
    ),
}
"""Table name -> columns, in the order in which tables are written."""


ITEM_PARTS = ("title", "created_at", "attributes", "tags", "domains")
"""The parts of an item that can be taken away; hiding it is a separate matter."""
PARTS = (*ITEM_PARTS, "relations", "user_attributes", "user_relations")
"""All parts that can be taken away: these, relations that begin at an item, and those of users."""


def table(name: str, rows: list[dict[str, Any]]) -> pa.Table:
    """Make a table of `SCHEMAS[name]` from dictionaries; missing keys are null."""
    return pa.Table.from_pylist(rows, schema=SCHEMAS[name])


def owners_of(part: str) -> str:
    """Whether a part of `PARTS` belongs to `items` or `users`."""
    return "users" if part.startswith("user_") else "items"


def tag_key(category: str, name: str) -> str:
    """The key of a tag in the snapshot's tag vocabulary."""
    return f"{category}{TAG_SEPARATOR}{name}"


def tag_parts(key: str) -> tuple[str, str]:
    """The category and the name in a tag's key."""
    category, _, name = key.partition(TAG_SEPARATOR)
    return category, name
