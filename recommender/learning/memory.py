"""How much memory a refresh will need: the large arrays that it holds at once, from counts alone.

Each moment that may be the peak is a sum of arrays, named, with the shapes that the code allocates:
u users, i items, t tags, p pairs, c targets of an item while scores are blended, s scorers, d
singular vectors, r items in the histories of those who judge. What a refresh of next to nothing
takes is `LIBRARIES`. A full refresh is foretold; one that keeps what was chosen needs less.

The scorers are not known before: foretold is a ridge beside item kNN and two spectra, and also
popularity where items are few, which is what most data ends with. Nor is known whether a release
gets what follows what and a table for few items: half of each is foretold. `./run bench memory`
tells how far that is off.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

from embeddings.indexes.faiss_index import EXACT_PRODUCTS, LINKS
from embeddings.item_item import cold_items, few
from embeddings.item_item.blend import support_width
from embeddings.item_item.candidates import COSINES, PENALTIES, SPECTRA, Preset
from embeddings.item_item.exact_ridge import CUBES_PER_ITEM
from embeddings.item_item.follows import width_for
from embeddings.item_item.held_back import SEARCHED, SEARCHED_SHARE
from embeddings.item_item.recipe import RIDGE_WIDTH
from embeddings.item_item.scorers import (
    POPULAR,
    QUADRATIC_ITEMS,
    SETTLED_DIMENSIONS,
    SPECTRUM_CELLS,
)
from embeddings.singular import SPARE_VECTORS
from graph.errors import InputError
from recommender.learning.baselines import BLOCK_SCORES, BLOCK_USERS
from recommender.learning.build import LIKENESS_DIMENSIONS, VECTOR_DIMENSIONS, RefreshConfig
from recommender.learning.gate_figures import KNN
from recommender.learning.held_parts import MOST_JUDGES, MOST_NEWCOMERS
from recommender.learning.profile_learning import DIVERSITIES, FRESHNESSES, LONG_TAILS, SHOWN
from recommender.learning.sequences import JUDGED_AT_ONCE, MOST_ITEMS
from recommender.learning.trial import MOST_USERS
from recommender.ranking.rerank import POOL

Counts = Mapping[str, int]

MB = 1_000_000
LIBRARIES, GROUPING = 325 * MB, 70 * MB
"""The interpreter, packages and compiled code: what a refresh of 2,000 events holds, and what it
holds besides since users were grouped."""
TORCH = 450 * MB  # imported by the presets graph and sequence, before they choose anything
WORD, LONG = 4, 8  # bytes of a float32 or int32, of an int64 or float64
EVENT = 5 * WORD + 2 * LONG  # user, item, kind, value, tag; time, key
ENTRY = 2 * WORD  # of a sparse matrix: column and value
PAIR = 4 * LONG  # user, item, key, time
TEXTS = 120  # id, title and attributes of a node, and where they begin
PROFILES = len(DIVERSITIES) * len(LONG_TAILS) * len(FRESHNESSES)
PRODUCTS = 512 * WORD  # of each item with a block of others
PAGE = 4096  # bytes that are read from a file at least
FEATURES = 50  # of a user, when users are grouped
Arrays = dict[str, int]


def moments(counts: Counts, config: RefreshConfig) -> dict[str, Arrays]:
    """The moments of a refresh that may be its peak, and the bytes of what is held in each.

    `counts` are those of a store: users, items, tags, events, item_tags, item_relations.
    """
    preset: Preset = "fast" if config.preset == "fast" else "default"
    u, i, t, e = (counts.get(name, 0) for name in ("users", "items", "tags", "events"))
    links = counts.get("item_tags", 0) + counts.get("item_relations", 0)
    p = min(e, u * i)
    rows = p + links
    width = config.table.width or support_width(preset, i)
    ridge = min(config.table.neighbours or RIDGE_WIDTH, width)
    networks = 2 if config.preset == "graph" else 0
    exact = min(u + t, i) ** 3 <= CUBES_PER_ITEM * i
    tables = 3 if exact else 2  # of ridges and item kNN
    popular = min(POPULAR, i) if i <= SEARCHED else 0  # of more items it is not worth blending
    c = 2 * (width // 2) + tables * ridge + popular + networks * (width // 2)
    s = tables + (popular > 0) + len(SPECTRA[preset]) + networks
    most = max(SETTLED_DIMENSIONS, SPECTRUM_CELLS // max(i, 1))
    wanted = config.table.dimensions or max(scorer.dimensions for scorer in SPECTRA[preset])
    d = min(wanted, most, u + t, i)
    r = judged_items(counts)
    of_form = min(i, max(SEARCHED, int(SEARCHED_SHARE * i)))  # targets while a form is chosen
    one_table = i * ridge * ENTRY

    graph = {
        "libraries": LIBRARIES + (TORCH if config.preset in ("graph", "sequence") else 0),
        "events": e * EVENT,
        "ids, titles, attributes": (u + i + t) * TEXTS,
        "weighted graph": (2 * p + links) * ENTRY,
    }
    learned = {"networks' vectors": 4 * networks * i * 128 * WORD} if networks else {}
    # The rows of users and features: plain, for a spectrum, and normalised both ways.
    fitting = {"normalised graphs": 5 * rows * ENTRY, **learned}
    choosing = {"parts held back": 5 * p * ENTRY}
    kept = {
        "tables of scorers": tables * one_table,
        "spectrum": i * d * WORD,
        "proposals": (2 + networks) * i * (width // 2) * WORD,
    }
    # What follows what: users, times, moments and their numbers, sorted and in order.
    followers, in_order = i * width_for(i) * ENTRY, 14 * p * LONG
    with_new = width + min(cold_items.WIDTH, i)  # columns of the table with cold items
    built = {
        "item table": i * with_new * ENTRY,
        "what follows what": (followers + p * WORD) // 2,
        "table for few items": i * (few.width_for(i) + min(cold_items.WIDTH, i)) * ENTRY // 2,
        "vectors": i * (VECTOR_DIMENSIONS + LIKENESS_DIMENSIONS) * WORD,
        # Of each pair item, weight, kind, time; its user by item; and that it was seen.
        "histories": p * (5 * WORD + LONG),
        "events": e * (3 * WORD + 2 * LONG),  # item, kind, value; time, key
        "tags of items": links * 5 * WORD,
        "ids and cards": (u + 2 * i) * TEXTS,
    }
    left = {"what the fit leaves for the next": i * (d + SETTLED_DIMENSIONS) * WORD // 2}
    indexed = i * VECTOR_DIMENSIONS > EXACT_PRODUCTS
    index = i * (VECTOR_DIMENSIONS + 2 * LINKS) * WORD if indexed else 0
    trial = {
        "what the trial learned from": e * EVENT + 2 * p * ENTRY + p * PAIR,
        "index of the trial": index,
    }
    laid_out = ("item table", "what follows what", "table for few items")
    read = read_share(counts, with_new * WORD) * sum(built[name] for name in laid_out)
    read_back = {
        "tables of the trial, as far as lists read them": round(read),
        "histories, ids and cards of the trial": built["histories"] + built["ids and cards"],
    }
    held = {
        "holding back": {"pairs, twice": 2 * p * PAIR, "keys of events": 4 * e * LONG},
        "fitting ridges": {
            **fitting,
            **choosing,
            "targets": of_form * ridge * WORD,
            "weights by penalty": len(PENALTIES) * of_form * ridge * WORD,
            "targets and weights by history item": of_form * ridge * (2 * WORD + LONG),
            "tables": (len(PENALTIES) if i <= SEARCHED else 2) * one_table,
        },
        "comparing tables": {
            **fitting,
            **choosing,
            "tables of scorers": (len(COSINES) + tables - 1) * one_table,
            "a table laid out": i * min(POPULAR, i) * ENTRY,
        },
        "finding the spectrum": {
            **fitting,
            **choosing,
            "tables of scorers": kept["tables of scorers"],
            "proposals": i * (width // 2) * WORD,
            "vectors, before and after a pass": (2 * i + u + t) * (d + SPARE_VECTORS) * WORD,
        },
        "finding the spectrum of everything": {
            **fitting,
            **trial,
            "proposals": i * (width // 2) * WORD,
            "vectors, before and after a pass": (2 * i + u + t) * (d + SPARE_VECTORS) * WORD,
        },
        "choosing the blend": {
            **fitting,
            **choosing,
            **kept,
            "targets of judges' items": r * c * WORD,
            "scores side by side": s * r * c * WORD,
            "blended scores": r * c * WORD,
        },
        "reading the order": {
            **fitting,
            **choosing,
            **kept,
            "targets of judges' items": r * c * WORD,
            "blended scores, plain and scaled": 2 * r * c * WORD,
            "what follows what": followers + in_order,
        },
        "fitting the item table": {
            **fitting,
            **kept,
            **trial,
            "blended scores": i * c * WORD,
            "the table": i * width * ENTRY,
            "table for few items": i * few.width_for(i) * ENTRY // 2,
        },
        "placing new items": {
            **built,
            **left,
            **trial,
            "the narrower tables": i * (width + few.width_for(i)) * ENTRY,
            "nearest new items": i * min(cold_items.WIDTH, i) * WORD,
            "products of vectors": 0 if i > QUADRATIC_ITEMS else config.threads * PRODUCTS * i,
        },
        "grouping the users": {
            "what groups users": GROUPING,
            **built,
            **left,
            **trial,
            "features of users": 6 * u * FEATURES * LONG,
            "events of the past": 2 * e * EVENT,
        },
        "judging": {
            "what groups users": GROUPING,
            **left,
            **trial,
            **read_back,
            "the release, read back from its files": sum(built.values()),
            "item kNN to compare with": i * min(round(KNN["k"]), i) * ENTRY,
            "blocks of scores": 4 * min(BLOCK_SCORES, BLOCK_USERS * i) * WORD,
        },
    }
    if preset != "fast":
        held["learning profiles"] = {
            "what groups users": GROUPING,
            **built,
            **left,
            **trial,
            **read_back,
            "lists by profile": min(MOST_USERS, u) * PROFILES * SHOWN * LONG,
            "candidates of lists": min(MOST_USERS, u) * POOL * (LIKENESS_DIMENSIONS + 10) * WORD,
        }
    if config.preset == "sequence":
        m = min(i, MOST_ITEMS)
        foretold_at_once = min(JUDGED_AT_ONCE, u) * (2 * m + i)
        held["training a sequence model"] = {
            **choosing,
            "the table": i * width * ENTRY,
            "what follows what": followers + in_order,
            "lists": 2 * p * WORD,
            "weights, their moments and the best": 6 * m * 64 * WORD,
            "a step": 2048 * (1024 + 64 * 64) * WORD,
            "what is foretold at once": foretold_at_once * WORD,
        }
    if networks:
        n = u + i + t
        held["training networks"] = {
            **choosing,
            "weights and their moments": 12 * n * 128 * WORD,
            "edges both ways": 4 * rows * (2 * LONG + WORD),
        }
    return {moment: graph | arrays for moment, arrays in held.items()}


def judged_items(counts: Counts) -> int:
    """About how many different items the histories of those who judge hold."""
    return items_of(counts, MOST_JUDGES + MOST_NEWCOMERS)


def items_of(counts: Counts, people: int) -> int:
    """About how many different items the histories of some users hold."""
    users, items = counts.get("users", 0), counts.get("items", 0)
    drawn = counts.get("events", 0) * min(users, people) / max(users, 1)
    return round(items * (1 - math.exp(-drawn / items))) if items else 0


def read_share(counts: Counts, row: int) -> float:
    """About what share of a table's pages the trial's lists read; `row` bytes belong to an item."""
    items = max(counts.get("items", 0), 1)
    unread = 1 - items_of(counts, 2 * MOST_USERS) / items  # select, then gate
    return 1 - unread ** max(PAGE / max(row, 1), 1)


def peak(counts: Counts, config: RefreshConfig) -> int:
    """The bytes that a refresh is expected to hold at most."""
    return max(sum(arrays.values()) for arrays in moments(counts, config).values())


def foretold(counts: Counts, config: RefreshConfig, allowed: int | None, free: int) -> str:
    """What a refresh is expected to need, in words.

    Args:
        counts: those of the store, see `moments`.
        config: what is to be computed.
        allowed: bytes that it may take; None: as many as are free.
        free: bytes that the machine has left for it; 0: unknown.

    Raises:
        InputError: that is more than it may take, or than is free.
    """
    needed = peak(counts, config)
    arrays = {name: sum(parts.values()) for name, parts in moments(counts, config).items()}
    when = max(arrays, key=lambda name: arrays[name])
    sentence = f"expecting to need {in_gb(needed)} of memory, most of it while {when}"
    for most, whose in ((allowed, "it may take"), (free or None, "this machine has")):
        if most is not None and needed > most:
            fast = peak(counts, replace(config, preset="fast"))
            remedy = f"; --preset fast needs {in_gb(fast)}" if fast <= most else ""
            raise InputError(
                f"this refresh needs about {in_gb(needed)} of memory, and {whose} {in_gb(most)}: "
                f"run it where there is more, or raise --memory if that is what limits it{remedy}"
            )
    return sentence + (f"; {in_gb(free)} are free" if free else "")


def in_gb(size: int) -> str:
    """Bytes as people read them."""
    return f"{size / 1e9:.1f} GB"
