"""Everything that a release contains, in words: each array's key, type, shape and meaning.

Sizes are named by letters: `u` users, `i` items, `t` tags, `d` domains, as many as their
vocabularies have ids; other letters are sizes that the arrays of one release agree on, and those
after a colon (`v:spectral`) are agreed on by the arrays of one source. `check` holds a release to
this list when it is written and when it is opened: a release of another shape is never served.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from graph.errors import ReleaseError

Arrays = Mapping[str, npt.NDArray[Any]]
TABLES = {
    "table": "the item table",
    "few": "the table for few items",
    "both": "the table for some more items, in which both are added up",
}
"""Tables that rank, in the order in which `Release.tables` has them; none without those before."""
SOURCE = "<source>"  # stands for the name of a set of vectors: spectral, node2vec, gnn
PLACE = "<place>"  # … for the place of an attribute


@dataclass(frozen=True)
class Array:
    """One array of a release."""

    key: str
    dtype: str
    shape: str  # sizes separated by blanks, such as "u+1" or "i k"
    meaning: str
    written_by: str  # the module that makes it
    rows_of: str = ""  # its values are rows of this many (-1 too where `padded`)
    padded: bool = False
    optional: bool = False
    rising: bool = False  # each value is more than the one before


def _vocabulary(
    key: str, size: str, meaning: str, by: str, *, optional: bool = False
) -> tuple[Array, ...]:
    text = f"{meaning}, as UTF-8"
    return (
        Array(f"{key}.data", "uint8", f"bytes:{key}", text, by, optional=optional),
        Array(f"{key}.offsets", "int64", f"{size}+1", "where each begins", by, optional=optional),
    )


def _lists(key: str, rows: str, columns: str, meaning: str, by: str) -> tuple[Array, ...]:
    return (
        Array(f"{key}.indptr", "int64", f"{rows}+1", f"{meaning}: where each row begins", by),
        Array(f"{key}.indices", "int32", f"n:{key}", f"rows of {columns}", by, columns),
    )


def _matrix(key: str, rows: str, columns: str, meaning: str, by: str) -> tuple[Array, ...]:
    values = Array(f"{key}.values", "float32", f"n:{key}", "the entries", by)
    return (*_lists(key, rows, columns, meaning, by), values)


GRAPH, PEOPLE, BUILD, FOLD, SEGMENTS = (
    "releases/graph_arrays.py",
    "releases/people.py",
    "learning/build.py",
    "learning/fold_in_arrays.py",
    "segments/grouping.py",
)
ARRAYS: tuple[Array, ...] = (
    *_vocabulary("users", "u", "ids of users", GRAPH),
    *_vocabulary("items", "i", "ids of items", GRAPH),
    *_vocabulary("tags", "t", "keys of tags: category and name", GRAPH),
    *_vocabulary("domains", "d", "names of domains", GRAPH),
    *_vocabulary("tag_names", "names", "names of tags without their category", GRAPH),
    Array("tag_name_rows", "int32", "t", "the name of each tag", GRAPH, "names"),
    *_vocabulary("cards", "i", "the card of each item, as JSON; see releases/cards.py", GRAPH),
    Array("cards.parts", "int32", "i 3", "where in a card the id, the title and all that answers "
          "show end", GRAPH),
    *_matrix("histories", "u", "i", "the items of each user, with their weights", GRAPH),
    Array("histories.kinds", "int32", "n:histories", "what was done: row of `event_kinds`", GRAPH),
    Array("histories.at", "int64", "n:histories", "when it was last done; NO_TIME: unknown", GRAPH),
    Array("histories.newest", "float32", "n:histories", "what each counts where `follows` is read",
          BUILD, optional=True),
    Array("events.indptr", "int64", "u+1", "where the events of each user begin", GRAPH),
    Array("events.item", "int32", "n:events", "what each event was done to", GRAPH, "i"),
    Array("events.kind", "int32", "n:events", "a row of `event_kinds`", GRAPH),
    Array("events.value", "float32", "n:events", "NaN: none", GRAPH),
    Array("events.at", "int64", "n:events", "seconds since 1970; NO_TIME: unknown", GRAPH),
    Array("events.key", "int64", "n:events", "its id or tag, see graph/event_keys.py; 0: neither",
          GRAPH, optional=True),
    *_lists("blocked", "u", "i", "what each user has seen or hidden", PEOPLE),
    *_lists("hides", "u", "i", "what each user never wants to see again", PEOPLE),
    Array("consents", "bool", "u", "agrees to be learned from", PEOPLE),
    Array("stated", "bool", "u", "has said whether they agree to that", PEOPLE),
    *_vocabulary("user_attributes", "u", "what each user who agrees says about themselves, as JSON",
                 PEOPLE),
    *_lists("friends", "u", "u", "friends of each user, all of whom agree", PEOPLE),
    *_lists("item_users", "i", "u", "who chose each item", GRAPH),
    *_lists("relations", "i", "i", "relations between items, by source", GRAPH),
    Array("relations.kinds", "int32", "n:relations", "a row of `relation_kinds`", GRAPH),
    *_matrix("item_tags", "i", "t", "weights of the tags that are learned from", GRAPH),
    Array("item_tags.given", "bool", "n:item_tags", "given, not only written by users", GRAPH),
    *_matrix("tag_items", "t", "i", "the same by tag", GRAPH),
    *_lists("carriers", "t", "i", "the items of every tag, also of rare and common ones", GRAPH),
    *_matrix("item_domains", "i", "d", "shares of domains", GRAPH),
    *_matrix("domain_items", "d", "i", "the same by domain", GRAPH),
    Array("popularity", "float32", "i", "summed weight of all who chose it", GRAPH),
    Array("rarity", "float32", "i", "0 the most popular … 1 nobody chose it", GRAPH),
    Array("created_at", "int64", "i", "seconds since 1970; NO_TIME: unknown", GRAPH),
    Array("hidden", "bool", "i", "hidden when the snapshot was taken", GRAPH),
    Array(f"attribute{PLACE}.values", "float64", "i", "of numbers; NaN: none", GRAPH,
          optional=True),
    Array(f"attribute{PLACE}.codes", "int32", "i", "of words: rows of `words`", GRAPH,
          f"words:{PLACE}", padded=True, optional=True),
    *_vocabulary(f"attribute{PLACE}.words", f"words:{PLACE}", "the words of an attribute", GRAPH,
                 optional=True),
    Array(f"attribute{PLACE}.seconds", "float64", "i", "of dates: since 1970; NaN: none", GRAPH,
          optional=True),
    Array("table.neighbours", "int32", "i k", "strongest first; -1 pads", BUILD, "i", padded=True),
    Array("table.scores", "float32", "i k", "what each adds to the score",
          BUILD),
    Array("follows.neighbours", "int32", "i a", "what people go on to after each item, strongest "
          "first; -1 pads", BUILD, "i", padded=True, optional=True),
    Array("follows.scores", "float32", "i a", "what each adds to the score", BUILD, optional=True),
    Array("few.neighbours", "int32", "i few", "the same for histories of few items, strongest "
          "first; -1 pads", BUILD, "i", padded=True, optional=True),
    Array("few.scores", "float32", "i few", "what each adds to the score", BUILD, optional=True),
    Array("both.neighbours", "int32", "i both", "the same for histories of some more items: both "
          "added up; -1 pads", BUILD, "i", padded=True, optional=True),
    Array("both.scores", "float32", "i both", "what each adds to the score", BUILD, optional=True),
    Array("sequence.rows", "int32", "known:sequence", "items that the sequence model knows", BUILD,
          "i", optional=True, rising=True),
    Array("sequence.vectors", "float32", "known:sequence width:sequence", "read and ranked by it",
          BUILD, optional=True),
    Array("sequence.attention", "float32", "blocks:sequence parts:sequence width:sequence "
          "width:sequence", "to queries, keys and values of each block, and back", BUILD,
          optional=True),
    Array("sequence.near", "float32", "blocks:sequence heads:sequence reach:sequence",
          "what a head adds for an item so many steps back", BUILD, optional=True),
    Array("sequence.inner", "float32", "blocks:sequence width:sequence inner:sequence",
          "each block's layer, in", BUILD, optional=True),
    Array("sequence.outer", "float32", "blocks:sequence inner:sequence width:sequence",
          "and out", BUILD, optional=True),
    Array("sequence.inner_shift", "float32", "blocks:sequence inner:sequence", "added in between",
          BUILD, optional=True),
    Array("sequence.outer_shift", "float32", "blocks:sequence width:sequence", "added after it",
          BUILD, optional=True),
    Array("sequence.norms", "float32", "norms:sequence pair:sequence width:sequence",
          "factors and shifts of each normalisation", BUILD, optional=True),
    Array("likeness", "float32", "i l", "of length 1, or 0; cosines: similarity", BUILD),
    Array(f"vectors.{SOURCE}", "float32", f"i v:{SOURCE}", "what queries are compared with", BUILD),
    Array(f"queries.{SOURCE}", "float32", f"i v:{SOURCE}", "what histories are summed from, "
          "if that differs", BUILD, optional=True),
    Array("fold.tag_rows", "int32", "k:tags", "tags about which something was learned", FOLD, "t",
          rising=True),
    *_vocabulary("fold.words", "k:words", "words of titles and texts about which something was "
                 "learned", FOLD),
    Array(f"fold.{SOURCE}.tags", "float16", f"k:tags v:{SOURCE}", "what each adds to a new item's "
          "vector", FOLD, optional=True),
    Array(f"fold.{SOURCE}.words", "float16", f"k:words v:{SOURCE}", "the same", FOLD,
          optional=True),
    Array(f"fold.{SOURCE}.numbers", "float16", f"knots v:{SOURCE}", "the same, of numbers at the "
          "knots of their scales", FOLD, optional=True),
    Array(f"fold.{SOURCE}.domains", "float16", f"d v:{SOURCE}", "the same", FOLD, optional=True),
    Array("segments.centroids", "float64", "g f", "the centre of each group, scaled", SEGMENTS,
          optional=True),
    Array("segments.scale", "float64", "s f", "how features become comparable", SEGMENTS,
          optional=True),
    Array("segments.raw", "float32", "u f", "features of each user", SEGMENTS, optional=True),
    Array("segments.assigned", "int16", "u", "the group of each user; -1: too few events",
          SEGMENTS, "g", padded=True, optional=True),
    Array("segments.first_seen", "int64", "u", "seconds since 1970", SEGMENTS, optional=True),
    Array("segments.last_seen", "int64", "u", "seconds since 1970", SEGMENTS, optional=True),
    Array("segments.moves", "float32", "u", "chance to move to another group", SEGMENTS,
          optional=True),
    Array("segments.returns", "float32", "u", "chance to come back", SEGMENTS, optional=True),
)  # fmt: skip

MANIFEST: dict[str, str] = {
    "schema": "version of this list",
    "files": "size and SHA-256 of every other file",
    "sum": "SHA-256 of this manifest without it",
    "fingerprint": "of all that went into the release",
    "snapshot": "fingerprint of the graph's facts",
    "watermark": "highest sequence number of an event in the snapshot",
    "inbox": "up to which fact of which journal the snapshot knows everything",
    "rating_scale": "lowest and highest rating, as weighting took them; null: no ratings",
    "typical": "kind whose values are seconds or money -> the value that counts 1",
    "created_at": "seconds since 1970",
    "config": "preset, seed, weighting, threads",
    "libraries": "versions that can change the bytes",
    "python": "version",
    "vectors": "name of each set of vectors -> its weight when sources are fused",
    "counts": "users, items, tags, domains, events, edges",
    "event_kinds": "names of kinds, by row",
    "speaking": "kinds of events that count for an item -> the smallest value that does",
    "relation_kinds": "names of relations, by row",
    "domains_from": "given, genres, tag communities or nothing",
    "attributes": "name -> number, and whether it holds numbers or dates",
    "user_attributes": "names of what users say about themselves",
    "scales": "attributes of items whose numbers count -> knots and weight",
    "texts": "attributes of items that hold text, whose words count like those of titles",
    "item_table": "how the table was chosen, for people to read",
    "chosen": "when it was chosen, on how many events and items, and what the gate found then",
    "last_load": "the number of the newest load that it knows",
    "recipe": "how the table was made, so that it can be made again",
    "embedders": "reports of trained networks",
    "segments": "names, personas, profiles; see segments/grouping.py",
    "ranks_by": "item kNN or popularity, if one of them found more than what was learned",
    "gates": "how the candidate was judged: figures, reasons, whether it was forced",
    "parent": "the release whose vectors these were turned onto, if any",
    "drift": "how far vectors moved from it, if any",
}
OPTIONAL_FACTS = {
    "parent", "drift", "segments", "embedders", "speaking", "ranks_by", "gates", "texts", "scales",
}  # fmt: skip


def _pattern(key: str) -> re.Pattern[str]:
    named = re.escape(key).replace(SOURCE, r"(?P<name>[^.]+)").replace(PLACE, r"(?P<name>\d+)")
    return re.compile(named)


_PATTERNS = [(_pattern(entry.key), entry) for entry in ARRAYS]


def described(key: str) -> tuple[Array, str] | None:
    """The entry of an array, and what stands for its source or place; None when it has none."""
    for pattern, entry in _PATTERNS:
        fits = pattern.fullmatch(key)
        if fits:
            return entry, fits.groupdict().get("name", "")
    return None


def check(arrays: Arrays, where: str) -> None:
    """Hold arrays to the list above.

    Raises:
        ReleaseError: one is missing, unknown, or of another type or shape, or holds a row that
            does not exist; the message names it.
    """
    sizes: dict[str, int] = {}
    for key in ("users", "items", "tags", "domains", "tag_names"):
        offsets = arrays.get(f"{key}.offsets")
        if offsets is None:
            raise ReleaseError(f"{where} is incomplete: {key}.offsets is missing; refresh again")
        sizes[{"tag_names": "names"}.get(key, key[0])] = len(offsets) - 1
    for entry in ARRAYS:
        if not (entry.optional or SOURCE in entry.key) and entry.key not in arrays:
            raise ReleaseError(f"{where} is incomplete: {entry.key} is missing; refresh again")
    if "both.scores" in arrays and "few.scores" not in arrays:
        raise ReleaseError(f"{where} is incomplete: few.scores is missing; refresh again")
    for key, array in arrays.items():
        known = described(key)
        if known is None:
            raise ReleaseError(f"{where} holds {key}, which no release of this version has")
        _check_shape(key, array, *known, sizes, where)
    for key, array in arrays.items():
        known = described(key)
        if known is not None and len(array):
            _check_values(key, array, *known, sizes, where)


def _check_shape(
    key: str, array: npt.NDArray[Any], entry: Array, name: str, sizes: dict[str, int], where: str
) -> None:
    wanted = entry.shape.replace(SOURCE, name).replace(PLACE, name).split()
    if str(array.dtype) != entry.dtype or array.ndim != len(wanted):
        raise ReleaseError(
            f"{where}: {key} is {array.dtype} {array.shape} and should be {entry.dtype} "
            f"({', '.join(wanted)}); refresh again"
        )
    for size, letter in zip(array.shape, wanted, strict=True):
        base, plus, _ = letter.partition("+")
        expected = sizes.setdefault(base, size - bool(plus)) + bool(plus)
        if size != expected:
            raise ReleaseError(
                f"{where}: {key} has {size:,} where {letter} is {expected:,}; refresh again"
            )


def _check_values(
    key: str, array: npt.NDArray[Any], entry: Array, name: str, sizes: dict[str, int], where: str
) -> None:
    if key.endswith((".indptr", ".offsets")):
        last = sizes[_run_of(key)]
        if array[0] != 0 or array[-1] != last or (np.diff(array) < 0).any():
            raise ReleaseError(f"{where}: {key} does not run from 0 to {last:,}; refresh again")
    if entry.rising and (np.diff(array) <= 0).any():
        raise ReleaseError(f"{where}: {key} does not rise; refresh again")
    if entry.rows_of:
        most = sizes[entry.rows_of.replace(PLACE, name)]
        least = -1 if entry.padded else 0
        if array.min(initial=0) < least or array.max(initial=-1) >= most:
            raise ReleaseError(f"{where}: {key} names rows outside 0 … {most - 1}; refresh again")


def _run_of(key: str) -> str:
    """The size that an indptr or offsets array divides into runs."""
    base, _, part = key.rpartition(".")
    return f"n:{base}" if part == "indptr" else f"bytes:{base}"
