"""The large arrays of a refresh and how many bytes each takes, from counts alone.

The scorers are not known before: counted are a ridge beside item kNN and two spectra, and also
popularity where items are few, which is what most data ends with. Nor is known whether a release
gets what follows what and tables for few items: half of them is counted.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from embeddings.indexes.faiss_index import EXACT_PRODUCTS, LINKS
from embeddings.item_item import cold_items, few
from embeddings.item_item.blend import support_width
from embeddings.item_item.candidates import SPECTRA, Preset
from embeddings.item_item.exact_ridge import CUBES_PER_ITEM
from embeddings.item_item.follows import width_for
from embeddings.item_item.held_back import SEARCHED, SEARCHED_SHARE
from embeddings.item_item.recipe import RIDGE_WIDTH
from embeddings.item_item.scorers import POPULAR, SETTLED_DIMENSIONS, SPECTRUM_CELLS
from recommender.learning.build import LIKENESS_DIMENSIONS, VECTOR_DIMENSIONS, RefreshConfig
from recommender.learning.held_parts import MOST_JUDGES, MOST_NEWCOMERS
from recommender.learning.trial import MOST_USERS

Counts = Mapping[str, int]
Arrays = dict[str, int]  # what is held -> bytes

MB = 1_000_000
LIBRARIES = 325 * MB  # interpreter, packages, compiled code: what a refresh of 2,000 events holds
TORCH = {"graph": 780 * MB, "sequence": 700 * MB}  # with what they import to train; 2,000 events
WORD, LONG = 4, 8  # bytes of a float32 or int32, of an int64 or float64
EVENT = 5 * WORD + 2 * LONG  # user, item, kind, value, tag; time, key
ENTRY = 2 * WORD  # of a sparse matrix: column and value
PAIR = 4 * LONG  # user, item, key, time
TEXTS = 120  # id, title and attributes of a node, and where they begin
PAGE = 4096  # bytes that are read from a file at least


@dataclass(frozen=True)
class Numbers:
    """How many there are of whatever the shapes of arrays are made of."""

    users: int
    items: int
    tags: int
    events: int
    links: int  # of items with tags and with other items
    pairs: int  # of users with items
    networks: int  # that give vectors
    tables: int  # of ridges and item kNN
    scorers: int
    width: int  # targets of an item in the table
    ridge: int  # targets of an item in a ridge
    targets: int  # of an item while scores are blended
    dimensions: int  # singular vectors
    judged: int  # items in the histories of those who judge
    read: float  # share of a table's pages that the trial's lists read

    @property
    def nodes(self) -> int:
        """Nodes of the graph."""
        return self.users + self.items + self.tags

    @property
    def rows(self) -> int:
        """Entries of users' and of features' rows together."""
        return self.pairs + self.links

    @property
    def of_form(self) -> int:
        """Items whose targets are scored while the form of a scorer is chosen."""
        return min(self.items, max(SEARCHED, int(SEARCHED_SHARE * self.items)))

    @property
    def cold(self) -> int:
        """Cold items that are added to each row of a table."""
        return min(cold_items.WIDTH, self.items)

    @property
    def a_table(self) -> int:
        """Bytes of a ridge or of item kNN."""
        return self.items * self.ridge * ENTRY

    @property
    def follows(self) -> int:
        """Bytes of the table of what follows what."""
        return self.items * width_for(self.items) * ENTRY

    @property
    def few(self) -> int:
        """Entries of an item's row in each of the two tables for few items."""
        return few.width_for(self.items)


def numbers_of(counts: Counts, config: RefreshConfig) -> Numbers:
    """The numbers that follow from the counts of a store and from what is to be computed."""
    preset: Preset = "fast" if config.preset == "fast" else "default"
    users, items, tags, events = (
        counts.get(name, 0) for name in ("users", "items", "tags", "events")
    )
    width = config.table.width or support_width(preset, items)
    ridge = min(config.table.neighbours or RIDGE_WIDTH, width)
    networks = 2 if config.preset == "graph" else 0
    exact = min(users + tags, items) ** 3 <= CUBES_PER_ITEM * items
    tables = 3 if exact else 2
    popular = min(POPULAR, items) if items <= SEARCHED else 0  # of more it is not worth blending
    most = max(SETTLED_DIMENSIONS, SPECTRUM_CELLS // max(items, 1))
    wanted = config.table.dimensions or max(scorer.dimensions for scorer in SPECTRA[preset])
    return Numbers(
        users=users,
        items=items,
        tags=tags,
        events=events,
        links=counts.get("item_tags", 0) + counts.get("item_relations", 0),
        pairs=min(events, users * items),
        networks=networks,
        tables=tables,
        scorers=tables + (popular > 0) + len(SPECTRA[preset]) + networks,
        width=width,
        ridge=ridge,
        targets=2 * (width // 2) + tables * ridge + popular + networks * (width // 2),
        dimensions=min(wanted, most, users + tags, items),
        judged=judged_items(counts),
        read=read_share(counts, (width + min(cold_items.WIDTH, items)) * WORD),
    )


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


# ── what is held together ────────────────────────────────────────────────────────────────


def graph(n: Numbers, preset: str) -> Arrays:
    """What every moment holds."""
    return {
        "libraries": LIBRARIES + TORCH.get(preset, 0),
        "events": n.events * EVENT,
        "ids, titles, attributes": n.nodes * TEXTS,
        "weighted graph": (2 * n.pairs + n.links) * ENTRY,
    }


def fitting(n: Numbers) -> Arrays:
    """The rows of users and features: plain, for a spectrum, and normalised both ways."""
    learned = {"networks' vectors": 4 * n.networks * n.items * 128 * WORD} if n.networks else {}
    return {"normalised graphs": 5 * n.rows * ENTRY, **learned}


def choosing(n: Numbers) -> Arrays:
    """What is held back while the recipe is chosen."""
    return {"parts held back": 5 * n.pairs * ENTRY}


def fitted_scorers(n: Numbers) -> Arrays:
    """What scores are computed from."""
    return {
        "tables of scorers": n.tables * n.a_table,
        "spectrum": n.items * n.dimensions * WORD,
        "proposals": (2 + n.networks) * n.items * (n.width // 2) * WORD,
    }


def ordering(n: Numbers) -> Arrays:
    """What follows what: the table; users, times, moments and numbers, sorted and in order."""
    return {"what follows what": n.follows + 14 * n.pairs * LONG}


def built(n: Numbers) -> Arrays:
    """What is written into a release."""
    return laid_out(n) | {
        "vectors": n.items * (VECTOR_DIMENSIONS + LIKENESS_DIMENSIONS) * WORD,
        "histories": histories(n),
        "events": n.events * (3 * WORD + 2 * LONG),  # item, kind, value; time, key
        "tags of items": n.links * 5 * WORD,
        "ids and cards": ids_and_cards(n),
    }


def laid_out(n: Numbers) -> Arrays:
    """The tables of a release, with cold items."""
    return {
        "item table": n.items * (n.width + n.cold) * ENTRY,
        "what follows what": (n.follows + n.pairs * WORD) // 2,
        "tables for few items": n.items * (n.few + n.cold) * ENTRY,  # two, if any
    }


def histories(n: Numbers) -> int:
    """Of each pair item, weight, kind, time; its user by item; and that it was seen."""
    return n.pairs * (5 * WORD + LONG)


def ids_and_cards(n: Numbers) -> int:
    """Texts of users, and of items twice."""
    return (n.users + 2 * n.items) * TEXTS


def left_by_fit(n: Numbers) -> Arrays:
    """What the next refresh may go on from."""
    vectors = n.items * (n.dimensions + SETTLED_DIMENSIONS)
    return {"what the fit leaves for the next": vectors * WORD // 2}


def trial(n: Numbers) -> Arrays:
    """The model fitted without a part of the data."""
    indexed = n.items * VECTOR_DIMENSIONS > EXACT_PRODUCTS
    index = n.items * (VECTOR_DIMENSIONS + 2 * LINKS) * WORD if indexed else 0
    learned_from = n.events * EVENT + 2 * n.pairs * ENTRY + n.pairs * PAIR
    return {"what the trial learned from": learned_from, "index of the trial": index}


def trial_read_back(n: Numbers) -> Arrays:
    """What its lists read of its files."""
    return {
        "tables of the trial, as far as lists read them": round(n.read * sum(laid_out(n).values())),
        "histories, ids and cards of the trial": histories(n) + ids_and_cards(n),
    }
