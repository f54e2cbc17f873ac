"""Turns batches into grouped rows for Cypher, and grouped rows into columns; asks no server."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from graph.arrays import I32, I64, Flags
from graph.model import NO_TIME, SCHEMAS

EVENT_LISTS = {"value": "values", "tag": "tags", "at": "times", "event_id": "ids"}
FLUSH = 200_000  # so many entries are gathered as Python objects, then they become an array


def coded(column: Any) -> tuple[I64, list[str]]:
    """A column of names as places in a list of distinct names, -1 where null."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # an empty column has no chunk to combine
        column = pa.concat_arrays(column.chunks) if column.chunks else pa.array([], pa.string())
    if pa.types.is_dictionary(column.type):
        names = column.dictionary.dictionary_encode()  # two spellings may have become one name
        places = names.indices.take(column.indices)
        return places.fill_null(-1).to_numpy().astype(np.int64), names.dictionary.to_pylist()
    return coded(column.dictionary_encode())


class EventGroups:
    """The events of a batch as the store writes them: one for each key, sorted by user."""

    def __init__(self, table: pa.Table) -> None:
        """Sort the events and drop those that a later row of the same key replaces."""
        user, self.users = coded(table["user"])
        item, self.items = coded(table["item"])
        kind, self.kinds = coded(table["kind"])
        tag, self.tags = coded(table["tag"])
        event_id, self.ids = coded(table["event_id"])
        at = table["at"].fill_null(NO_TIME).to_numpy()
        keep = _last_of_each(event_id)
        columns = (user, item, kind, tag, at, event_id)
        order = np.lexsort(columns[::-1])  # stable: the later of two equal rows stays later
        order = order[keep[order]]
        ordered = [column[order] for column in columns]
        if len(order):
            same = np.logical_and.reduce([column[1:] == column[:-1] for column in ordered])
            last = np.append(~same, True)
            order, ordered = order[last], [column[last] for column in ordered]
        self.user, self.item, self.kind, self.tag, self.at, self.event_id = ordered
        self.value = pc.take(table["value"], pa.array(order))

    def __len__(self) -> int:
        return len(self.user)

    def used_columns(self) -> set[str]:
        """Which of the optional columns any event has."""
        used = {
            "value": self.value.null_count < len(self),
            "tag": bool((self.tag >= 0).any()),
            "at": bool((self.at != NO_TIME).any()),
            "event_id": bool((self.event_id >= 0).any()),
        }
        return {name for name, is_used in used.items() if is_used}

    def rows(
        self, user_nodes: I64, item_nodes: I64, first: int, size: int
    ) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        """How many events, and their rows for `CREATE_EVENTS`: about `size` events at a time.

        Args:
            user_nodes: the server's number of each of `users`.
            item_nodes: the server's number of each of `items`.
            first: the sequence number of the first event.
            size: events in one part; the events of a user with more are split, too.
        """
        used = self.used_columns()
        starts = np.flatnonzero(np.diff(self.user, prepend=-1))
        cuts = np.union1d(starts, np.arange(0, len(self), size)).tolist()
        ends = [*cuts[1:], len(self)]
        begin, rows = 0, list[dict[str, Any]]()
        lists: dict[str, list[Any]] = {}
        for start, end in zip(cuts, ends, strict=True):
            if not rows:
                begin = start
                lists = self._lists(begin, min(begin + 2 * size, len(self)), used, item_nodes)
            row: dict[str, Any] = {
                name: values[start - begin : end - begin] for name, values in lists.items()
            }
            row |= {"user": int(user_nodes[self.user[start]]), "seq": first + start}
            rows.append(row)
            if end - begin >= size:
                yield end - begin, rows
                rows = []
        if rows:
            yield len(self) - begin, rows

    def _lists(self, begin: int, end: int, used: set[str], nodes: I64) -> dict[str, list[Any]]:
        cut = slice(begin, end)
        lists: dict[str, list[Any]] = {
            "items": nodes[self.item[cut]].tolist(),
            "kinds": self.kind[cut].tolist(),
        }
        if "value" in used:
            lists["values"] = self.value.slice(begin, end - begin).to_pylist()
        if "tag" in used:
            lists["tags"] = _names(self.tags, self.tag[cut])
        if "at" in used:
            lists["times"] = [None if at == NO_TIME else at for at in self.at[cut].tolist()]
        if "event_id" in used:
            lists["ids"] = _names(self.ids, self.event_id[cut])
        return lists

    def with_ids(self, user_nodes: I64, item_nodes: I64) -> list[dict[str, Any]]:
        """Rows for `REMOVE_MOVED`: the events that have an id of their own."""
        return [
            {
                "id": self.ids[self.event_id[row]],
                "user": int(user_nodes[self.user[row]]),
                "item": int(item_nodes[self.item[row]]),
                "kind": self.kinds[self.kind[row]],
                "tag": self.tags[self.tag[row]] if self.tag[row] >= 0 else "",
                "at": int(self.at[row]),
            }
            for row in np.flatnonzero(self.event_id >= 0)
        ]


def link_rows(
    sources: I64, targets: I64, weights: Any, kinds: list[str] | None, size: int
) -> Iterator[list[dict[str, Any]]]:
    """Links grouped by source, about `size` at a time; of equal links the last row comes last."""
    order = np.argsort(sources, kind="stable")
    ordered = sources[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1)) if len(ordered) else np.array([], int)
    cuts = np.union1d(starts, np.arange(0, len(ordered), size)).tolist()
    rows, held = list[dict[str, Any]](), 0
    for start, end in zip(cuts, [*cuts[1:], len(ordered)][: len(cuts)], strict=True):
        places = order[start:end]
        row: dict[str, Any] = {
            "source": int(ordered[start]),
            "targets": targets[places].tolist(),
            "weights": weights[places].tolist(),
        }
        if kinds is not None:
            row["kinds"] = [kinds[number] for number in places]
        rows.append(row)
        held += end - start
        if held >= size:
            yield rows
            rows, held = [], 0
    if rows:
        yield rows


class Gathered:
    """Joins lists from many rows into one column, as arrays, so that Python objects stay few."""

    def __init__(self, kind: Any) -> None:
        """`kind` is the numpy type of the entries, or `str`."""
        self._kind = kind
        self._held: list[Any] = []
        self._chunks: list[Any] = []

    def extend(self, values: list[Any]) -> None:
        self._held += values
        if len(self._held) >= FLUSH:
            self._flush()

    def _flush(self) -> None:
        if self._kind is str:
            chunk = pa.array(self._held, pa.string()).dictionary_encode()
        else:
            chunk = np.array(self._held, self._kind)
        self._chunks.append(chunk)
        self._held = []

    def array(self) -> Any:
        """A numpy array, or a dictionary-encoded arrow column of text."""
        self._flush()
        if self._kind is str:
            return pa.chunked_array(self._chunks).unify_dictionaries().combine_chunks()
        joined = np.concatenate(self._chunks)
        self._chunks = [joined]
        return joined


class NamedNodes:
    """The names that the server's numbers stand for: sorted numbers (n,), names in that order."""

    def __init__(self, numbers: list[int], *names: list[str]) -> None:
        order = np.argsort(np.array(numbers, np.int64))
        self.numbers = np.array(numbers, np.int64)[order]
        self.names = [pa.array(column, pa.string()).take(pa.array(order)) for column in names]

    def places(self, numbers: I64) -> I32:
        """Places in `names`, -1 for a node that was erased meanwhile."""
        if not len(self.numbers):
            return np.full(len(numbers), -1, np.int32)
        places = np.minimum(np.searchsorted(self.numbers, numbers), len(self.numbers) - 1)
        return np.where(self.numbers[places] == numbers, places, -1).astype(np.int32)

    def column(self, places: I32, part: int = 0) -> Any:
        """Names as a dictionary-encoded column."""
        names = self.names[part].dictionary_encode()  # many tags share a category
        return pa.DictionaryArray.from_arrays(
            names.indices.take(pa.array(places)).cast(pa.int32()), names.dictionary
        )


def repeated(names: list[str], counts: list[int]) -> Any:
    """Each name as often as its count says, dictionary-encoded."""
    places = np.repeat(np.arange(len(names), dtype=np.int32), np.array(counts, np.int64))
    return pa.DictionaryArray.from_arrays(pa.array(places), pa.array(names, pa.string()))


def events_table(columns: dict[str, Any]) -> pa.Table:
    """The events table with the columns that were read; the others are all null."""
    length = len(columns["user"])
    arrays = []
    for field in SCHEMAS["events"]:
        column = columns.get(field.name)
        if column is None:
            column = pa.nulls(length, field.type)
        elif field.name == "value":
            column = pa.array(column, mask=np.isnan(column))
        elif field.name == "at":
            column = pa.array(column, mask=column == NO_TIME)
        elif field.name in {"tag", "event_id"}:
            column = _without_empty(column)
        arrays.append(column)
    return pa.Table.from_arrays(arrays, names=SCHEMAS["events"].names)


def _without_empty(column: Any) -> Any:
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks)
    empty = pc.index(column.dictionary, "").as_py()
    indices = column.indices
    if empty >= 0:
        indices = pc.if_else(pc.equal(indices, empty), None, indices)
    return pa.DictionaryArray.from_arrays(indices, column.dictionary)


def _last_of_each(event_id: I64) -> Flags:
    """True for rows to keep: those without an id, and the last row of each id."""
    _, from_the_end = np.unique(event_id[::-1], return_index=True)
    keep = event_id == -1
    keep[len(event_id) - 1 - from_the_end] = True
    return keep


def _names(names: list[str], codes: I64) -> list[str | None]:
    return [names[code] if code >= 0 else None for code in codes.tolist()]
