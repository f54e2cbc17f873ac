"""A release: everything one refresh made, in one immutable folder, read by names.

`contents.py` lists what lies in it and what each array means; `publishing.py` writes it, verifies
it and says which one is served. Arrays are memory-mapped, read-only, shared between processes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embeddings.item_item.item_table import WIDER, ItemTable, table_read, table_read_by
from embeddings.vectors.sequence_model import SequenceModel
from graph.arrays import F32, F64, I32, I64, U8, Flags
from graph.ids import as_word
from graph.model import NO_ROW
from graph.numbers import NumberScale
from graph.vocabulary import Vocabulary
from recommender.releases.arrivals import Arrivals
from recommender.releases.contents import TABLES, Arrays
from recommender.releases.rows import Rows

NO_CARDS: U8 = np.frombuffer(b"", np.uint8)
EVENT_COLUMNS = ("item", "kind", "value", "at", "key")


@dataclass(frozen=True)
class Attribute:
    """One attribute of the items: numbers, or words as codes; dates are such words."""

    numeric: bool
    values: npt.NDArray[Any]  # (i,) f64, NaN where there is none; or i32 codes, -1 where none
    words: Vocabulary | None  # of the codes
    seconds: F64 | None = None  # (i,) of dates, since 1970; NaN where there is none


@dataclass(frozen=True)
class Release:
    """An opened release."""

    folder: Path
    manifest: dict[str, Any]
    arrays: Arrays

    @property
    def name(self) -> str:
        """Counter and fingerprint."""
        return self.folder.name

    @property
    def watermark(self) -> int:
        """The highest sequence number of an event that this release has learned from."""
        return int(self.manifest["watermark"])

    def heard(self, journal: str) -> int:
        """The release knows all facts of this journal up to this number; 0: it knows none."""
        return heard(self.manifest, journal)

    # ── ids ──────────────────────────────────────────────────────────────────────────────

    @cached_property
    def users(self) -> Vocabulary:
        """User ids (u)."""
        return self._vocabulary("users")

    @cached_property
    def items(self) -> Vocabulary:
        """Item ids (i)."""
        return self._vocabulary("items")

    @cached_property
    def tags(self) -> Vocabulary:
        """Tag keys (t)."""
        return self._vocabulary("tags")

    @cached_property
    def domains(self) -> Vocabulary:
        """Domain names (d), found whatever their case."""
        return self._vocabulary("domains").caseless()

    @cached_property
    def tag_names(self) -> Vocabulary:
        """Names of tags without their category, as `graph.ids.as_word` makes them."""
        return self._vocabulary("tag_names")

    def tag_name_row(self, name: str) -> int:
        """The row of a tag's name in `tag_names`, whatever its case; `NO_ROW` if it is unknown."""
        row = self.tag_names.row(name)  # of a release made when case counted
        return row if row != NO_ROW else self.tag_names.row(as_word(name))

    @cached_property
    def item_words(self) -> Vocabulary:
        """The words of titles and texts that something was learned of."""
        return self._vocabulary("fold.words")

    @cached_property
    def scales(self) -> dict[str, NumberScale]:
        """The attributes of items whose numbers count, in the order of the map's rows."""
        return {
            name: NumberScale(tuple(scale["knots"]), scale["weight"])
            for name, scale in sorted(self.manifest.get("scales", {}).items())
        }

    @property
    def texts(self) -> tuple[str, ...]:
        """Names of the attributes of items that hold text."""
        return tuple(self.manifest.get("texts", ()))

    @property
    def tag_name_rows(self) -> I32:
        """(t,) the row of each tag's name."""
        return self.arrays["tag_name_rows"]

    # ── what users did ───────────────────────────────────────────────────────────────────

    @cached_property
    def histories(self) -> Rows:
        """Users' items as they are weighed."""
        return self._rows("histories", self.items)

    @property
    def history_kinds(self) -> I32:
        """Of each entry of the histories, what was done: a place in `event_kinds`."""
        return self.arrays["histories.kinds"]

    @property
    def history_times(self) -> I64:
        """Of each entry of the histories, when it was last done; NO_TIME where unknown."""
        return self.arrays["histories.at"]

    @property
    def newest(self) -> F32 | None:
        """What each entry of the histories counts where `follows` is read; None: it is not."""
        return self.arrays.get("histories.newest")

    @property
    def event_kinds(self) -> list[str]:
        """Names of the kinds of events."""
        kinds: list[str] = self.manifest["event_kinds"]
        return kinds

    @cached_property
    def blocked(self) -> Rows:
        """Users' items that they have seen or hidden."""
        return self._rows("blocked", self.items)

    @cached_property
    def hides(self) -> Rows:
        """Users' items that they never want to see again."""
        return self._rows("hides", self.items)

    @cached_property
    def item_users(self) -> Rows:
        """Items' users, ascending."""
        return self._rows("item_users", self.users)

    @cached_property
    def friends(self) -> Rows:
        """Users' friends; both sides agree to be learned from."""
        return self._rows("friends", self.users)

    def may_learn_from(self, row: int) -> bool:
        """Whether a user agreed to be learned from when the snapshot was taken."""
        return bool(self.arrays["consents"][row])

    def agrees_to_all(self, row: int) -> bool:
        """Whether a user said so themselves, as a row of `users` in a load says it."""
        return bool(self.arrays["stated"][row]) and self.may_learn_from(row)

    @property
    def user_attribute_names(self) -> list[str]:
        """What users say of themselves."""
        names: list[str] = self.manifest["user_attributes"]
        return names

    def user_attributes(self, row: int) -> dict[str, Any]:
        """What a user says of themselves; empty where they may not be learned from."""
        offsets = self.arrays["user_attributes.offsets"]
        text = self.arrays["user_attributes.data"][offsets[row] : offsets[row + 1]].tobytes()
        attributes: dict[str, Any] = json.loads(text)
        return attributes

    def user_events(self, row: int) -> dict[str, npt.NDArray[Any]]:
        """The events of a user as columns: `item`, `kind`, `value` (NaN: none), `at`, `key`.

        `key` is left out where no event of the release has an id or a tag.
        """
        own = slice(*self.arrays["events.indptr"][row : row + 2].tolist())
        columns = {name: self.arrays.get(f"events.{name}") for name in EVENT_COLUMNS}
        return {name: column[own] for name, column in columns.items() if column is not None}

    # ── what items are ───────────────────────────────────────────────────────────────────

    @cached_property
    def item_tags(self) -> Rows:
        """Items' tags that are learned from."""
        return self._rows("item_tags", self.tags)

    @property
    def tags_given(self) -> Flags:
        """Of each entry of `item_tags`: the item carries it, people did not only write it."""
        return self.arrays["item_tags.given"]

    @cached_property
    def tag_items(self) -> Rows:
        """Tags' items that are learned from."""
        return self._rows("tag_items", self.items)

    @cached_property
    def carriers(self) -> Rows:
        """Tags' items, all of them."""
        return self._rows("carriers", self.items)

    @cached_property
    def item_domains(self) -> Rows:
        """Items' domains and shares."""
        return self._rows("item_domains", self.domains)

    @cached_property
    def domain_items(self) -> Rows:
        """Domains' items."""
        return self._rows("domain_items", self.items)

    @cached_property
    def relations(self) -> Rows:
        """Items' related items."""
        return self._rows("relations", self.items)

    def relation_kind(self, entry: int) -> str:
        """The kind of an entry of `relations`."""
        return str(self.manifest["relation_kinds"][int(self.arrays["relations.kinds"][entry])])

    @property
    def popularity(self) -> F32:
        """(i,) the summed weight of all who chose it."""
        return self.arrays["popularity"]

    @property
    def rarity(self) -> F32:
        """(i,) 0 the most popular … 1 nobody chose it."""
        return self.arrays["rarity"]

    @property
    def created_at(self) -> I64:
        """(i,) seconds since 1970; NO_TIME where unknown."""
        return self.arrays["created_at"]

    @property
    def hidden(self) -> Flags:
        """(i,) hidden when the snapshot was taken; what is hidden now, the overlay knows."""
        return self.arrays["hidden"]

    @property
    def attribute_names(self) -> list[str]:
        """The attributes that items can be filtered by."""
        return sorted(self.manifest["attributes"])

    def attribute(self, name: str) -> Attribute:
        """An attribute of `attribute_names`."""
        kept = self.manifest["attributes"][name]
        key = f"attribute{kept['place']}"
        if kept["numeric"]:
            return Attribute(True, self.arrays[f"{key}.values"], None)
        words = self._vocabulary(f"{key}.words")
        seconds = self.arrays[f"{key}.seconds"] if kept.get("dates") else None
        return Attribute(False, self.arrays[f"{key}.codes"], words, seconds)

    def card(self, row: int) -> dict[str, Any]:
        """Title (None: it has none), attributes and tags carried of an item."""
        start, stop = self.arrays["cards.offsets"][row : row + 2].tolist()
        card = json.loads(self._cards[start:stop].tobytes())
        title = card["title"] if card["named"] else None
        return {"title": title, "attributes": card["attributes"], "tags": card["carried"]}

    def cards_of(self, rows: I32) -> tuple[U8, U8, I64, I32]:
        """The cards of items (k,): bytes, (k,) where each begins, (k, 3) where its parts end.

        The bytes are two arrays: a card that begins at -1 - b begins at b of the second one.
        """
        return self._cards, NO_CARDS, self._card_starts[rows], self._card_parts[rows]

    @cached_property
    def _cards(self) -> U8:
        return self.arrays["cards.data"]

    @cached_property
    def _card_starts(self) -> I64:
        return self.arrays["cards.offsets"]

    @cached_property
    def _card_parts(self) -> I32:
        return self.arrays["cards.parts"]

    # ── what was learned ─────────────────────────────────────────────────────────────────

    @property
    def table(self) -> ItemTable:
        """The item table that ranks."""
        return self.tables[0]

    @cached_property
    def tables(self) -> tuple[ItemTable, ...]:
        """All that rank: the item table and, if there are any, those that short histories read."""
        follows = None
        if "follows.scores" in self.arrays:
            follows = ItemTable(self.arrays["follows.neighbours"], self.arrays["follows.scores"])
        return tuple(
            ItemTable(self.arrays[f"{name}.neighbours"], self.arrays[f"{name}.scores"], follows)
            for name in TABLES
            if f"{name}.scores" in self.arrays
        )

    @cached_property
    def few_items(self) -> int:
        """A history of at most so many different items reads the table for few; 0: none does."""
        return int(self.manifest["recipe"]["few_items"]) if len(self.tables) > 1 else 0

    @cached_property
    def both_items(self) -> int:
        """A history of some more items, up to so many, reads both tables added up; 0: none does."""
        return WIDER * self.few_items if len(self.tables) > 2 else 0

    def reads(self, items: I32) -> int:
        """Which of `tables` a history (h,) reads, by the number of its different items."""
        return self._there(table_read_by(items, self.few_items)) if self.few_items else 0

    def reads_by(self, different: int) -> int:
        """The same for so many different items."""
        return self._there(table_read(different, self.few_items))

    def _there(self, number: int) -> int:
        """A table's number; 0 where an older release lacks the last one."""
        return number if number < len(self.tables) else 0

    @cached_property
    def sequence(self) -> SequenceModel | None:
        """What foretells the next item of a history; None: nothing was learned for that."""
        arrays = self._named("sequence.")
        return SequenceModel.of(arrays) if arrays else None

    @cached_property
    def arrivals(self) -> tuple[Arrivals, ...]:
        """What each of `tables` would say of items that came after it."""
        return (Arrivals.none(len(self.table.neighbours)),) * len(self.tables)

    @property
    def likeness(self) -> F32:
        """(i, l) of length 1, or 0: their products tell how alike two items are."""
        return self.arrays["likeness"]

    @property
    def sources(self) -> Mapping[str, float]:
        """Each set of vectors and its weight when sources are fused."""
        weights: dict[str, float] = self.manifest["vectors"]
        return weights

    @cached_property
    def vectors(self) -> Mapping[str, F32]:
        """Source -> (i, v) what queries are compared with."""
        return self._named("vectors.")

    @cached_property
    def queries(self) -> Mapping[str, F32]:
        """Source -> (i, v) what histories are summed of."""
        return {**self.vectors, **self._named("queries.")}

    def fold_map(self, source: str) -> dict[str, npt.NDArray[Any]] | None:
        """Kind of feature -> (k, v) what each adds to a new item's vector; None: not learned."""
        kinds = ("tags", "domains", "words", "numbers")
        if f"fold.{source}.tags" not in self.arrays:
            return None
        learned = {kind: self.arrays.get(f"fold.{source}.{kind}") for kind in kinds}
        return {kind: rows for kind, rows in learned.items() if rows is not None}

    @property
    def fold_tag_rows(self) -> I32:
        """(k,) the tags of a map's rows."""
        return self.arrays["fold.tag_rows"]

    @property
    def segments(self) -> dict[str, Any] | None:
        """What was learned of segments; None: the release was made without."""
        return self.manifest.get("segments")

    @cached_property
    def segment_arrays(self) -> Mapping[str, npt.NDArray[Any]]:
        """The arrays of the segments: "assigned", "raw", "scale", "centroids" …"""
        return self._named("segments.")

    # ─────────────────────────────────────────────────────────────────────────────────────

    def _named(self, prefix: str) -> dict[str, npt.NDArray[Any]]:
        return {
            key.removeprefix(prefix): array
            for key, array in self.arrays.items()
            if key.startswith(prefix)
        }

    def _vocabulary(self, key: str) -> Vocabulary:
        return Vocabulary(self.arrays[f"{key}.data"], self.arrays[f"{key}.offsets"])

    def _rows(self, key: str, columns: Vocabulary) -> Rows:
        indptr, indices = self.arrays[f"{key}.indptr"], self.arrays[f"{key}.indices"]
        return Rows(indptr, indices, len(columns), self.arrays.get(f"{key}.values"))


def heard(manifest: Mapping[str, Any], journal: str) -> int:
    """See `Release.heard`."""
    inbox = manifest.get("inbox") or {}
    return int(inbox["upto"]) if journal and inbox.get("journal") == journal else 0
