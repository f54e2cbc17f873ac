"""A release with newer items appended: the same names, slightly longer arrays.

It is read in the same way as a release. The item table and the vectors are not touched and have no
rows for the newer items; `arrivals.py` holds those rows.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from graph.arrays import F32, I32, I64, U8
from graph.dates import is_date, seconds_of
from graph.ids import as_word
from graph.model import NO_ROW, NO_TIME, tag_key, tag_parts
from graph.vocabulary import Vocabulary
from recommender.overlay.live_cards import LiveCards
from recommender.releases.arrivals import Arrivals
from recommender.releases.cards import Card, make_card
from recommender.releases.graph_arrays import attribute_word
from recommender.releases.release import Attribute, Release
from recommender.releases.rows import Rows

Link = tuple[Any, ...]  # of an item to a tag or a domain; the weight comes last
UNKNOWN_RARITY = 1.0  # of an item that nobody chose yet


@dataclass(frozen=True, slots=True)
class LiveItem:
    """What is known of an item that came, or changed, after the release was made."""

    id: str
    title: str | None = None
    created_at: int | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[tuple[str, str, float], ...] = ()  # category, name, weight
    domains: tuple[tuple[str, float], ...] = ()  # name, weight
    people: int = 0  # who chose it since


class Appended(Vocabulary):
    """A vocabulary with more ids after its own, in the order they came."""

    def __init__(self, base: Vocabulary, more: Sequence[str]) -> None:
        """Put `more`, names that `base` does not have, behind it."""
        encoded = [name.encode() for name in more]
        ends = np.cumsum([0, *map(len, encoded)])[1:]
        data = np.concatenate([base.data, np.frombuffer(b"".join(encoded), np.uint8)])
        last = base.offsets[-1] if len(base.offsets) else 0
        super().__init__(data, np.concatenate([base.offsets, last + ends]).astype(np.int64))
        self._base = base
        self._more = {name: len(base) + number for number, name in enumerate(more)}

    def row(self, name: str) -> int:
        """The row of an id, or `NO_ROW` when it is not here."""
        row = self._more.get(name)
        return self._base.row(name) if row is None else row

    def rows(self, names: Iterable[str]) -> I64:
        """The rows of many ids, `NO_ROW` where one is not here."""
        wanted = list(names)
        rows = self._base.rows(wanted)
        for position in np.flatnonzero(rows == NO_ROW).tolist():
            rows[position] = self._more.get(str(wanted[position]), NO_ROW)
        return rows


@dataclass(frozen=True)
class AppendedRelease(Release):
    """A release and the items that came or changed after it was made."""

    base: Release | None = None
    live: Mapping[int, LiveItem] = field(default_factory=dict)  # row -> what is known now

    def card(self, row: int) -> dict[str, Any]:
        """Title, attributes and tags of an item."""
        item = self.live.get(row)
        if item is None:
            return super().card(row)
        tags = [name for _, name, _ in item.tags]
        return {"title": item.title or "", "attributes": dict(item.attributes), "tags": tags}

    def cards_of(self, rows: I32) -> tuple[U8, U8, I64, I32]:
        """As of a release; the second array has the cards of live items."""
        return self._cards, *self._live_cards.of(rows, self._live_card)

    @cached_property
    def _live_cards(self) -> LiveCards:
        known = len(self.base.items) if self.base else 0
        starts = self._card_starts[:known]
        return LiveCards(starts, self._card_parts, len(self.items), self.live)

    def _live_card(self, row: int) -> Card:
        item = self.live[row]
        tags = [tag_parts(key)[1] for key in self.tags.ids(self.item_tags.heaviest(row))]
        domains = self.domains.ids(self.item_domains.heaviest(row))
        carried = [name for _, name, _ in item.tags]
        return make_card(item.id, item.title, tags, domains, "{}", carried)

    def attribute(self, name: str) -> Attribute:
        """An attribute of `attribute_names`, over all items."""
        made: Attribute = self._attributes[name]
        return made

    @cached_property
    def _attributes(self) -> dict[str, Attribute]:
        count = len(self.items)
        return {
            name: _longer_attribute(super(AppendedRelease, self).attribute(name), name, self.live,
                                    count)
            for name in self.attribute_names
        }  # fmt: skip


def appended(
    base: Release,
    changed: Mapping[str, LiveItem],
    arrivals: Sequence[Arrivals] = (),
    newer: F32 | None = None,
) -> Release:
    """The release with items added and changed; the release itself if there are none.

    Args:
        base: the release as it lies on the disk.
        changed: id -> all that is known of an item now.
        arrivals: the scores that each of `Release.tables` has of the new items, in the order in
            which they are named; empty: none has any.
        newer: (l, d) unit vectors of the new items, zeros where one has no place; None: none has.
    """
    if not changed:
        return base
    known = base.items.rows(list(changed))
    more = [name for name, row in zip(changed, known.tolist(), strict=True) if row == NO_ROW]
    items = Appended(base.items, more)
    known[known == NO_ROW] = np.arange(len(base.items), len(items))
    live = dict(zip(known.tolist(), changed.values(), strict=True))
    keys = {(c, n): tag_key(c, n) for item in live.values() for c, n, _ in item.tags}
    tags, tag_names, tag_name_rows = _tags(base, set(keys.values()))
    domains = _domains(base, live.values())
    count, old = len(items), len(base.items)
    tag_rows = dict(zip(keys, tags.rows(keys.values()).tolist(), strict=True))
    in_domains = {name for item in live.values() for name, _ in item.domains}
    domain_rows = dict(zip(in_domains, domains.rows(in_domains).tolist(), strict=True))
    tagged = _links(known, [each.tags for each in live.values()], lambda tag: tag_rows[tag[:2]])
    parted = [each.domains for each in live.values()]
    parts = _links(known, parted, lambda domain: domain_rows[domain[0]])
    item_tags = _changed_rows(base.item_tags, count, len(tags), known, tagged)
    item_domains = _changed_rows(base.item_domains, count, len(domains), known, parts)
    popularity = _longer(np.asarray(base.popularity), count, 0)
    people = np.array([item.people for item in live.values()])
    popularity[known[known >= old]] = people[known >= old]
    created = _longer(np.asarray(base.created_at), count, NO_TIME)
    created[known] = [
        NO_TIME if item.created_at is None else item.created_at for item in live.values()
    ]
    likeness = np.zeros((count, base.likeness.shape[1]), np.float32)
    likeness[:old] = base.likeness
    if newer is not None and len(newer):
        likeness[old:] = newer
    arrivals = tuple(arrivals) or (Arrivals.of(old, {}, count - old),) * len(base.tables)
    own = {
        "items": items,
        "arrivals": arrivals,
        "tags": tags,
        "tag_names": tag_names,
        "domains": domains,
        "item_tags": item_tags,
        "tag_items": _by_column(item_tags),
        "carriers": _carriers(base, item_tags, live, len(tags), count),
        "item_domains": item_domains,
        "domain_items": _by_column(item_domains),
        "item_users": _changed_rows(base.item_users, count, base.item_users.width),
        "relations": _changed_rows(base.relations, count, count),
        "histories": replace(base.histories, width=count),
        "blocked": replace(base.blocked, width=count),
        "hides": replace(base.hides, width=count),
    }
    arrays = {
        **base.arrays,
        "popularity": popularity,
        "rarity": _longer(np.asarray(base.rarity), count, UNKNOWN_RARITY),
        "hidden": _longer(np.asarray(base.hidden), count, False),
        "created_at": created,
        "likeness": likeness,
        "tag_name_rows": tag_name_rows,
        "item_tags.given": np.ones(len(item_tags.indices), np.bool_),
    }
    made = AppendedRelease(
        folder=base.folder, manifest=base.manifest, arrays=arrays, base=base, live=live
    )
    for name, value in own.items():
        made.__dict__[name] = value  # where `cached_property` keeps what it has made
    rows = [each for each in own.values() if isinstance(each, Rows)]
    in_rows = [(each.indptr, each.indices, each.values) for each in rows]
    for array in (*arrays.values(), *chain.from_iterable(in_rows)):
        if array is not None:  # as on the disk, so that nothing is compiled for another type
            array.flags.writeable = False
    return made


def _tags(base: Release, keys: Iterable[str]) -> tuple[Vocabulary, Vocabulary, I32]:
    """Keys of tags, names of tags, each key's name; with the tags that only live items carry."""
    new = sorted(key for key in keys if base.tags.row(key) == NO_ROW)
    if not new:
        return base.tags, base.tag_names, np.asarray(base.tag_name_rows)
    names = [tag_parts(key)[1] for key in new]
    fresh = sorted({name for name in names if base.tag_names.row(name) == NO_ROW})
    tag_names = Appended(base.tag_names, fresh) if fresh else base.tag_names
    rows = np.concatenate([base.tag_name_rows, tag_names.rows(names)]).astype(np.int32)
    return Appended(base.tags, new), tag_names, rows


def _domains(base: Release, items: Iterable[LiveItem]) -> Vocabulary:
    names = {name for item in items for name, _ in item.domains}
    new: dict[str, str] = {}
    for name in sorted(name for name in names if base.domains.row(name) == NO_ROW):
        new.setdefault(as_word(name), name)
    return Appended(base.domains, list(new.values())).caseless() if new else base.domains


def _links(
    items: I64, linked: Sequence[Sequence[Link]], row_of: Callable[[Link], int]
) -> tuple[I64, I32, F32]:
    """Item row, row of what it is linked to, weight of each link of some items; ascending.

    If an item has a name in two spellings, the greater weight counts.
    """
    counts = [len(links) for links in linked]
    owners = np.repeat(items, counts)
    rows = np.fromiter(map(row_of, chain.from_iterable(linked)), np.int64, len(owners))
    links = chain.from_iterable(linked)
    weights = np.fromiter((link[-1] for link in links), np.float32, len(owners))
    order = np.lexsort((-weights, rows, owners))
    owners, rows, weights = owners[order], rows[order], weights[order]
    differs = (rows[1:] != rows[:-1]) | (owners[1:] != owners[:-1])
    first = np.append(True, differs)[: len(rows)]
    return owners[first], rows[first].astype(np.int32), weights[first]


def _longer(array: npt.NDArray[Any], count: int, fill: object) -> npt.NDArray[Any]:
    longer = np.full(count, fill, array.dtype)
    longer[: len(array)] = array
    return longer


def _changed_rows(
    base: Rows,
    count: int,
    width: int,
    changed: I64 | None = None,
    links: tuple[I64, I32, F32] | None = None,
) -> Rows:
    """The same rows with some of them (`changed`) replaced by `_links`; `count` of them."""
    changed = np.zeros(0, np.int64) if changed is None else changed
    owners, indices, weights = links or (np.zeros(0, np.int64), np.zeros(0, np.int32), None)
    counts = np.zeros(count, np.int64)
    counts[: len(base)] = np.diff(base.indptr)
    counts[changed] = np.bincount(owners, minlength=count)[changed]
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    replaced = np.zeros(count, np.bool_)
    replaced[changed] = True
    kept = ~np.repeat(replaced[: len(base)], np.diff(base.indptr))
    new = np.repeat(replaced, counts)
    made = np.empty(indptr[-1], np.int32)
    made[~new], made[new] = base.indices[kept], indices
    if base.values is None:
        return Rows(indptr, made, width, None)
    values = np.empty(indptr[-1], np.float32)
    values[~new] = base.values[kept]
    values[new] = np.zeros(0, np.float32) if weights is None else weights
    return Rows(indptr, made, width, values)


def _by_column(rows: Rows) -> Rows:
    """The same entries by column."""
    columns = rows.matrix.T.tocsr()
    columns.sort_indices()
    values = None if rows.values is None else columns.data.astype(np.float32)
    return Rows(
        columns.indptr.astype(np.int64), columns.indices.astype(np.int32), len(rows), values
    )


def _carriers(
    base: Release, item_tags: Rows, live: Mapping[int, LiveItem], tags: int, items: int
) -> Rows:
    """The items of every tag: unchanged ones from the release, and the live ones."""
    owner = np.repeat(np.arange(len(base.carriers)), np.diff(base.carriers.indptr))
    changed = np.array(list(live), np.int64)
    kept = ~np.isin(base.carriers.indices, changed)
    starts, at = item_tags.take(changed)
    columns = np.concatenate([owner[kept], item_tags.indices[at]]).astype(np.int64)
    rows = np.concatenate([base.carriers.indices[kept], np.repeat(changed, np.diff(starts))])
    pairs = np.unique(columns * items + rows.astype(np.int64))
    indptr = np.searchsorted(pairs, np.arange(tags + 1) * items)
    return Rows(indptr.astype(np.int64), (pairs % items).astype(np.int32), items)


def _longer_attribute(
    base: Attribute, name: str, live: Mapping[int, LiveItem], count: int
) -> Attribute:
    values = _longer(base.values, count, np.nan if base.numeric else -1)
    named = {row: item.attributes.get(name) for row, item in live.items()}
    if base.words is None:
        for row, value in named.items():
            values[row] = value if isinstance(value, int | float) else np.nan
        return Attribute(True, values, None)
    texts = {row: None if value is None else attribute_word(value) for row, value in named.items()}
    new = sorted({t for t in texts.values() if t is not None and base.words.row(t) == NO_ROW})
    words = Appended(base.words, new) if new else base.words
    for row, text in texts.items():
        values[row] = NO_ROW if text is None else words.row(text)
    seconds = None
    if base.seconds is not None:
        seconds = _longer(base.seconds, count, np.nan)
        for row, text in texts.items():
            first = seconds_of(text) if text is not None and is_date(text) else None
            seconds[row] = np.nan if first is None else first
    return Attribute(False, values, words, seconds)
