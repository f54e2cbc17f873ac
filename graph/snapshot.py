"""The graph frozen into arrays at one moment: the input of a refresh.

Rows are numbered by the sorted ids, columns are sorted by their keys: two stores with the same
facts give the same snapshot, byte for byte, whatever the order in which they learned them.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from graph.model import EVENT_TAG_CATEGORY, NO_ROW, NO_TIME, TAG_SEPARATOR, tag_key
from graph.store import GraphStore
from graph.vocabulary import Vocabulary

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class EventColumns:
    """One entry per event (e of them), sorted by user, item, kind, tag, time, event id."""

    user: I32
    item: I32
    kind: I32  # place in GraphSnapshot.kinds
    value: F32  # NaN where none
    tag: I32  # NO_ROW where none
    at: I64  # seconds since 1970, NO_TIME where none


@dataclass(frozen=True)
class Links:
    """Weighted links between two kinds of rows, sorted by source, target."""

    source: I32
    target: I32
    weight: F32


@dataclass(frozen=True)
class Relations:
    """Weighted links of several kinds, sorted by source, target, kind."""

    source: I32
    target: I32
    kind: I32  # place in `kinds`
    weight: F32
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class GraphSnapshot:
    """Users (u), items (i), tags (t), domains (d) and everything between them, frozen."""

    users: Vocabulary
    items: Vocabulary
    tags: Vocabulary  # keys of `graph.model.tag_key`
    domains: Vocabulary  # as given by the data; may be empty
    kinds: tuple[str, ...]  # of events, sorted
    events: EventColumns
    item_tags: Links  # item row -> tag row: given tags, not those of tag events
    item_domains: Links  # item row -> domain row
    item_relations: Relations
    user_relations: Relations
    user_consents: Flags  # (u,)
    item_titles: Any  # pyarrow string array (i,), "" where none
    item_created_at: I64  # (i,) NO_TIME where none
    item_hidden: Flags  # (i,)
    item_attributes: Any  # pyarrow string array (i,), JSON objects, "{}" where none
    watermark: int
    fingerprint: str  # hex SHA-256 of all of the above but the watermark


def take_snapshot(store: GraphStore, until: int | None = None) -> GraphSnapshot:
    """Freeze what a store holds; `until` keeps the events up to that watermark.

    The same facts give the same bytes, whatever the store and the order of arrival. Memory is
    bounded by the columns themselves. Raises `StoreError` when the store cannot answer.
    """
    watermark = store.watermark() if until is None else until
    users, items = store.read("users"), store.read("items")
    tags_of_items, domains_of_items = store.read("item_tags"), store.read("item_domains")
    event_rows = store.read("events", until=watermark)
    user_ids, user_order = _sorted_ids(users["id"])
    item_ids, item_order = _sorted_ids(items["id"])
    pair_keys = pc.binary_join_element_wise(
        pc.cast(tags_of_items["category"], pa.string()),
        pc.cast(tags_of_items["tag"], pa.string()),
        TAG_SEPARATOR,
    )
    event_keys = [
        tag_key(EVENT_TAG_CATEGORY, name)
        for name in _one(event_rows["tag"]).dictionary_encode().dictionary.to_pylist()
    ]
    tags = Vocabulary.of([*pair_keys.unique().to_pylist(), *event_keys])
    domains = Vocabulary.of(_one(domains_of_items["domain"]).unique().to_pylist())
    kinds = tuple(sorted(_one(event_rows["kind"]).unique().to_pylist()))
    links = _Rows(user_ids, item_ids)
    parts: dict[str, Any] = {
        "users": user_ids,
        "items": item_ids,
        "tags": tags,
        "domains": domains,
        "kinds": kinds,
        "events": links.events(event_rows, kinds, tags),
        "item_tags": links.weighted(tags_of_items["item"], pair_keys, tags, tags_of_items),
        "item_domains": links.weighted(
            domains_of_items["item"], domains_of_items["domain"], domains, domains_of_items
        ),
        "item_relations": links.relations(store.read("item_relations"), item_ids),
        "user_relations": links.relations(store.read("user_relations"), user_ids),
        "user_consents": _filled(users["consent"], True).take(user_order).to_numpy(False),
        "item_titles": _filled(items["title"], "").take(item_order),
        "item_created_at": _filled(items["created_at"], NO_TIME).take(item_order).to_numpy(),
        "item_hidden": _filled(items["hidden"], False).take(item_order).to_numpy(False),
        "item_attributes": _filled(items["attributes"], "{}").take(item_order),
    }
    return GraphSnapshot(**parts, watermark=watermark, fingerprint=fingerprint(parts))


def drop_pairs(snapshot: GraphSnapshot, user_rows: I64, item_rows: I64) -> GraphSnapshot:
    """The same graph without any event between these pairs (p,): rows keep their numbers."""
    count = len(snapshot.items)
    events = snapshot.events
    pairs = events.user.astype(np.int64) * count + events.item
    kept = ~np.isin(pairs, user_rows.astype(np.int64) * count + item_rows)
    left = EventColumns(*(getattr(events, field.name)[kept] for field in fields(events)))
    parts = {field.name: getattr(snapshot, field.name) for field in fields(snapshot)}
    parts = {name: part for name, part in parts.items() if name not in _NOT_IN_FINGERPRINT}
    return replace(snapshot, events=left, fingerprint=fingerprint(parts | {"events": left}))


_NOT_IN_FINGERPRINT = ("watermark", "fingerprint")


def fingerprint(parts: Mapping[str, Any]) -> str:
    """Hex SHA-256 over names, shapes and little-endian bytes of all parts, in order of name."""
    digest = hashlib.sha256()
    for name in sorted(parts):
        for label, value in _flat(name, parts[name]):
            digest.update(f"{label}:{len(value)};".encode())
            digest.update(value)
    return digest.hexdigest()


def _flat(name: str, part: Any) -> list[tuple[str, Any]]:
    """A part as labelled runs of bytes."""
    if isinstance(part, Vocabulary):
        return [(f"{name}.{key}", _bytes(array)) for key, array in part.arrays().items()]
    if is_dataclass(part):
        own = [(f"{name}.{field.name}", getattr(part, field.name)) for field in fields(part)]
        return [run for label, value in own for run in _flat(label, value)]
    if isinstance(part, tuple):
        return [(name, "\x1f".join(part).encode())]
    if isinstance(part, pa.Array):
        lengths = pc.binary_length(part).to_numpy().astype("<i8")
        text = "".join(part.to_pylist()).encode()
        return [(f"{name}.lengths", _bytes(lengths)), (f"{name}.text", text)]
    return [(name, _bytes(part))]


def _bytes(array: npt.NDArray[Any]) -> Any:
    array = np.ascontiguousarray(array)
    return array.astype(array.dtype.newbyteorder("<"), copy=False).data.cast("B")


# ── from columns of ids to columns of rows ───────────────────────────────────────────────


@dataclass(frozen=True)
class _Rows:
    """Turns the id columns of a store's tables into rows of users and items."""

    users: Vocabulary
    items: Vocabulary

    def events(self, table: pa.Table, kinds: tuple[str, ...], tags: Vocabulary) -> EventColumns:
        user, item = _coded(table["user"], self.users), _coded(table["item"], self.items)
        kind = _coded(table["kind"], Vocabulary.of(kinds))
        tag = _coded(table["tag"], tags, prefix=tag_key(EVENT_TAG_CATEGORY, ""))
        at = _filled(table["at"], NO_TIME).to_numpy()
        value = _filled(table["value"], float("nan")).to_numpy().astype(np.float32)
        keys = [at, tag, kind, item, user]
        ids = _one(table["event_id"])
        if ids.null_count < len(ids):  # only ids tell apart events that are else the same
            ids = pc.fill_null(ids, "").dictionary_encode()
            ranks = pc.rank(ids.dictionary, sort_keys="ascending").to_numpy()
            keys = [ranks[ids.indices.to_numpy()], *keys]
        order = np.lexsort(keys)
        return EventColumns(*(c[order] for c in (user, item, kind, value, tag, at)))

    def weighted(self, items: Any, targets: Any, vocabulary: Vocabulary, table: pa.Table) -> Links:
        source, target = _coded(items, self.items), _coded(targets, vocabulary)
        weight = _filled(table["weight"], 1.0).to_numpy().astype(np.float32)
        order = np.lexsort([target, source])
        return Links(source[order], target[order], weight[order])

    def relations(self, table: pa.Table, ends: Vocabulary) -> Relations:
        source, target = _coded(table["source"], ends), _coded(table["target"], ends)
        kinds = tuple(sorted(_one(table["kind"]).unique().to_pylist()))
        kind = _coded(table["kind"], Vocabulary.of(kinds))
        weight = _filled(table["weight"], 1.0).to_numpy().astype(np.float32)
        order = np.lexsort([kind, target, source])
        return Relations(source[order], target[order], kind[order], weight[order], kinds)


def _sorted_ids(column: Any) -> tuple[Vocabulary, npt.NDArray[np.int64]]:
    """The vocabulary of a column of distinct ids, and the order that sorts the column by it."""
    names = pc.cast(_one(column), pa.binary())  # UTF-8 order is the order of a vocabulary
    order = pc.sort_indices(names).to_numpy().astype(np.int64)
    return Vocabulary.of(_one(column).to_pylist()), order


def _coded(column: Any, vocabulary: Vocabulary, prefix: str = "") -> I32:
    """Ids as rows, `NO_ROW` where null: one look-up per distinct id."""
    column = _one(column).dictionary_encode()
    if isinstance(column.dictionary, pa.DictionaryArray):
        column = column.dictionary_decode().dictionary_encode()
    names = column.dictionary.to_pylist()
    places = {name: row for row, name in enumerate(vocabulary)}
    rows = np.array([places.get(prefix + name, NO_ROW) for name in names] + [NO_ROW], np.int32)
    codes = pc.fill_null(column.indices, len(names)).to_numpy()
    result: I32 = rows[codes]
    return result


def _filled(column: Any, value: Any) -> Any:
    """A column as one array without nulls."""
    return pc.fill_null(_one(column), value)


def _one(column: Any) -> Any:
    """A column as one array."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
