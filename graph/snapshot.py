"""The graph at one moment, frozen into arrays: the input of a refresh.

Rows are numbered in the order of their ids, and columns are sorted by their keys. So two stores
with the same facts give the same snapshot, byte for byte, in whatever order the facts arrived.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from graph.arrays import F32, I32, I64, Flags
from graph.event_keys import event_keys
from graph.model import EVENT_TAG_CATEGORY, NO_ROW, NO_TIME, TAG_SEPARATOR, tag_key
from graph.spellings import folded
from graph.store import GraphStore
from graph.vocabulary import Vocabulary


@dataclass(frozen=True)
class EventColumns:
    """One entry per event (e of them), sorted by user, item, kind, tag, time, event id."""

    user: I32
    item: I32
    kind: I32  # place in GraphSnapshot.kinds
    value: F32  # NaN where none
    tag: I32  # NO_ROW where none
    at: I64  # seconds since 1970, NO_TIME where none
    key: I64  # see `graph.event_keys`


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
    user_consents: Flags  # (u,) may be learned from
    user_stated: Flags  # (u,) said so themselves, or said that not
    user_attributes: Any  # pyarrow string array (u,), JSON objects, "{}" where none
    item_titles: Any  # pyarrow string array (i,), "" where none
    item_created_at: I64  # (i,) NO_TIME where none
    item_hidden: Flags  # (i,)
    item_attributes: Any  # pyarrow string array (i,), JSON objects, "{}" where none
    watermark: int
    fingerprint: str  # hex SHA-256 of all of the above but the watermark


# Events are read first and names last, so that every name in a row read before is known.
_READ_AFTER_EVENTS = (
    "item_tags",
    "item_domains",
    "item_relations",
    "user_relations",
    "items",
    "users",
)


def take_snapshot(
    store: GraphStore, until: int | None = None, *, consent: bool = True
) -> GraphSnapshot:
    """Freeze a store: its events up to the watermark `until` (default: all), the rest as it is.

    `consent` says whether users who have not said may be learned from.
    The same facts give the same bytes, whatever the store and the order of arrival. Memory is
    bounded by the columns themselves. Raises `StoreError` when the store cannot answer.
    """
    snapshot = _frozen(store, store.watermark() if until is None else until, consent)
    pa.default_memory_pool().release_unused()  # Arrow would keep what the tables took
    return snapshot


def _frozen(store: GraphStore, watermark: int, consent: bool) -> GraphSnapshot:
    tables = {"events": store.read("events", until=watermark)}
    tables |= {name: store.read(name) for name in _READ_AFTER_EVENTS}
    events, item_tags = tables["events"], tables["item_tags"]
    item_domains, between = tables["item_domains"], tables["item_relations"]
    users, user_names = _vocabulary(
        [events["user"], *_ends(tables["user_relations"]), tables["users"]["id"]]
    )
    items, item_names = _vocabulary(
        [
            events["item"],
            item_tags["item"],
            item_domains["item"],
            *_ends(between),
            tables["items"]["id"],
        ]
    )
    given_tags, event_tags = folded(
        [_tag_keys(item_tags["category"], item_tags["tag"]), _event_tag_keys(events["tag"])]
    )
    tags, tag_names = _vocabulary([given_tags, event_tags])
    (given_domains,) = folded([_encoded(item_domains["domain"])])
    domains, domain_names = _vocabulary([given_domains])
    _, kind_names = _vocabulary([events["kind"]])
    known_users, known_items = tables["users"], tables["items"]
    user_rows = _rows(known_users["id"], user_names)
    item_rows = _rows(known_items["id"], item_names)
    return _with_fingerprint(
        GraphSnapshot(
            users=users,
            items=items,
            tags=tags,
            domains=domains,
            kinds=tuple(kind_names.to_pylist()),
            events=_event_columns(
                events,
                _rows(events["user"], user_names),
                _rows(events["item"], item_names),
                _rows(events["kind"], kind_names),
                _rows(event_tags, tag_names),
            ),
            item_tags=_links(
                _rows(item_tags["item"], item_names),
                _rows(given_tags, tag_names),
                item_tags["weight"],
            ),
            item_domains=_links(
                _rows(item_domains["item"], item_names),
                _rows(given_domains, domain_names),
                item_domains["weight"],
            ),
            item_relations=_relations(between, item_names),
            user_relations=_relations(tables["user_relations"], user_names),
            user_consents=_scatter(user_rows, known_users["consent"], len(users), consent),
            user_stated=_stated(user_rows, known_users["consent"], len(users)),
            user_attributes=_spread(user_rows, known_users["attributes"], len(users), "{}"),
            item_titles=_spread(item_rows, known_items["title"], len(items), ""),
            item_created_at=_scatter(item_rows, known_items["created_at"], len(items), NO_TIME),
            item_hidden=_scatter(item_rows, known_items["hidden"], len(items), False),
            item_attributes=_spread(item_rows, known_items["attributes"], len(items), "{}"),
            watermark=watermark,
            fingerprint="",
        )
    )


def drop_pairs(
    snapshot: GraphSnapshot, user_rows: npt.ArrayLike, item_rows: npt.ArrayLike
) -> GraphSnapshot:
    """The snapshot without any event of the pairs (user_rows[k], item_rows[k]).

    Vocabularies, tags, relations and the watermark stay; the fingerprint is made anew. What
    the tag events of a dropped pair gave to an item's tags is lost with them.
    """
    width = max(len(snapshot.items), 1)
    gone = np.asarray(user_rows, np.int64) * width + np.asarray(item_rows, np.int64)
    events = snapshot.events
    keep = ~np.isin(events.user.astype(np.int64) * width + events.item, gone)
    columns = {field.name: getattr(events, field.name)[keep] for field in fields(events)}
    return _with_fingerprint(replace(snapshot, events=EventColumns(**columns)))


def _with_fingerprint(snapshot: GraphSnapshot) -> GraphSnapshot:
    digest = hashlib.sha256()
    for name, value in _parts(snapshot):
        array = np.ascontiguousarray(value)
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.data if array.size else b"")
    return replace(snapshot, fingerprint=digest.hexdigest())


def _parts(snapshot: GraphSnapshot) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Everything the fingerprint covers, as named arrays in a fixed order."""
    for field in fields(snapshot):
        value = getattr(snapshot, field.name)
        if field.name in ("watermark", "fingerprint"):
            continue
        if isinstance(value, Vocabulary):
            parts: dict[str, Any] = value.arrays()
        elif isinstance(value, EventColumns | Links | Relations):
            parts = {part.name: getattr(value, part.name) for part in fields(value)}
        elif isinstance(value, pa.Array):
            parts = _text_arrays(value)
        else:
            parts = {"": value}
        for name, part in parts.items():
            if isinstance(part, tuple):
                yield from (
                    (f"{field.name}.{name}.{key}", array)
                    for key, array in Vocabulary.of(part).arrays().items()
                )
            else:
                yield f"{field.name}.{name}", np.asarray(part)


def _text_arrays(column: Any) -> dict[str, npt.NDArray[Any]]:
    """A text column without nulls as bytes (u8) and the places where texts begin (i64, n + 1)."""
    column = pa.concat_arrays([column.cast(pa.large_string())])  # drops what lies outside a slice
    if not len(column):
        return {"data": np.empty(0, np.uint8), "offsets": np.zeros(1, np.int64)}
    _, offsets, data = column.buffers()
    begins = np.frombuffer(offsets, np.int64)[column.offset : column.offset + len(column) + 1]
    text = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    return {"data": text[begins[0] : begins[-1]], "offsets": begins - begins[0]}


def _vocabulary(columns: list[Any]) -> tuple[Vocabulary, Any]:
    """All the distinct names of some columns, as a vocabulary and as a sorted Arrow array."""
    names = pa.concat_arrays([_distinct(column) for column in columns]).unique().drop_null()
    names = names.take(pc.array_sort_indices(names))
    return Vocabulary(**_text_arrays(names)), names


def _distinct(column: Any) -> Any:
    """The names in a column; from a dictionary only those that a row uses."""
    column = _joined(column)
    if isinstance(column, pa.DictionaryArray):
        column = column.dictionary.take(column.indices.unique())
    return column.unique().cast(pa.large_string())


def _rows(column: Any, names: Any) -> I32:
    """The row of each entry in the sorted `names`, NO_ROW where it is null."""
    column = _joined(column)
    if not isinstance(column, pa.DictionaryArray):
        column = column.dictionary_encode()
    known = pc.index_in(column.dictionary.cast(pa.large_string()), value_set=names)
    rows = np.append(known.fill_null(NO_ROW).to_numpy(), NO_ROW)
    return rows[column.indices.fill_null(-1).to_numpy()].astype(np.int32)


def _tag_keys(categories: Any, tags: Any) -> Any:
    """Keys of tags, dictionary-encoded, joined once per distinct pair."""
    category, tag = _encoded(categories), _encoded(tags)
    width = max(len(tag.dictionary), 1)
    pairs = category.indices.to_numpy().astype(np.int64) * width + tag.indices.to_numpy()
    distinct, places = np.unique(pairs, return_inverse=True)
    keys = pc.binary_join_element_wise(
        category.dictionary.take(pa.array(distinct // width)).cast(pa.large_string()),
        tag.dictionary.take(pa.array(distinct % width)).cast(pa.large_string()),
        pa.scalar(TAG_SEPARATOR, pa.large_string()),
    )
    return pa.DictionaryArray.from_arrays(pa.array(places.astype(np.int32)), _joined(keys))


def _event_tag_keys(tags: Any) -> Any:
    tag = _encoded(tags)
    keys = [tag_key(EVENT_TAG_CATEGORY, name or "") for name in tag.dictionary.to_pylist()]
    return pa.DictionaryArray.from_arrays(tag.indices, pa.array(keys, pa.large_string()))


def _event_columns(table: pa.Table, users: I32, items: I32, kinds: I32, tags: I32) -> EventColumns:
    at = table["at"].fill_null(NO_TIME).to_numpy()
    pairs = users.astype(np.int64) << 32 | items
    means = kinds.astype(np.int64) << 32 | (tags.astype(np.int64) + 1)
    order = np.argsort(pairs)
    ordered = pairs[order]
    tied = np.zeros(len(order) + 1, np.bool_)
    np.equal(ordered[1:], ordered[:-1], out=tied[1:-1])
    tied = tied[1:] | tied[:-1]
    several = order[tied]  # events of one user and item: all other columns order them
    later_keys = (_ranks(table["event_id"].take(pa.array(several))), at[several], means[several])
    order[tied] = several[np.lexsort((*later_keys, pairs[several]))]
    value = pc.fill_null(table["value"], float("nan")).to_numpy().astype(np.float32)
    value[np.isnan(value)] = np.nan  # one bit pattern for "none"
    return EventColumns(
        user=users[order],
        item=items[order],
        kind=kinds[order],
        value=value[order],
        tag=tags[order],
        at=at[order],
        key=event_keys(table["tag"], table["event_id"])[order],
    )


def _ranks(event_ids: Any) -> I64:
    """(e,) ranks that order events which differ only in their ids."""
    column = _joined(event_ids)
    if column.null_count == len(column):
        return np.zeros(len(column), np.int64)
    if isinstance(column, pa.DictionaryArray):
        column = column.cast(column.type.value_type)
    ranks = pc.rank(column.fill_null(""), sort_keys="ascending", tiebreaker="dense")
    return ranks.to_numpy().astype(np.int64)


def _links(source: I32, target: I32, weights: Any) -> Links:
    """Each link once; of two spellings of a tag or domain the greater weight counts."""
    weight = weights.to_numpy().astype(np.float32)
    order = np.lexsort((-weight, target, source))
    source, target, weight = source[order], target[order], weight[order]
    first = np.ones(len(source), np.bool_)
    first[1:] = (np.diff(source) != 0) | (np.diff(target) != 0)
    return Links(source[first], target[first], weight[first])


def _relations(table: pa.Table, names: Any) -> Relations:
    source, target = (_rows(column, names) for column in _ends(table))
    _, kinds = _vocabulary([table["kind"]])
    kind = _rows(table["kind"], kinds)
    order = np.lexsort((kind, target, source))
    weight = table["weight"].to_numpy().astype(np.float32)
    return Relations(
        source=source[order],
        target=target[order],
        kind=kind[order],
        weight=weight[order],
        kinds=tuple(kinds.to_pylist()),
    )


def _ends(table: pa.Table) -> tuple[Any, Any]:
    return table["source"], table["target"]


def _scatter(rows: I32, column: Any, count: int, default: Any) -> npt.NDArray[Any]:
    """The column's values at their rows, `default` elsewhere and where null: (count,)."""
    filled = _joined(column).fill_null(default)
    values = filled.to_numpy(zero_copy_only=False)
    result = np.full(count, default, np.bool_ if isinstance(default, bool) else np.int64)
    result[rows] = values
    return result


def _stated(rows: I32, column: Any, count: int) -> Flags:
    """(count,) where the column has a value."""
    stated = np.zeros(count, np.bool_)
    stated[rows] = _joined(column).is_valid().to_numpy(zero_copy_only=False)
    return stated


def _spread(rows: I32, column: Any, count: int, default: str) -> Any:
    """`_scatter` for text: an Arrow array (count,)."""
    places = np.full(count, NO_ROW, np.int32)
    places[rows] = np.arange(len(rows), dtype=np.int32)
    taken = _joined(column).cast(pa.string()).take(pa.array(places, mask=places == NO_ROW))
    return taken.fill_null(default)


def _encoded(column: Any) -> Any:
    column = _joined(column)
    return column if isinstance(column, pa.DictionaryArray) else column.dictionary_encode()


def _joined(column: Any) -> Any:
    """A column as one array."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
