"""A table of its own for histories of few items: how often pairs of items are chosen together.

A ridge learns each weight beside all other items of a history. Where few of them are known, counts
of pairs tell more, leaning towards what is popular. Whether there is such a table, how it is made,
and up to how many items it is read is chosen on histories that are cut, see `short`. Histories of
up to twice as many items read a third table, in which both have a say.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from embeddings.item_item import graph_filter as gf
from embeddings.item_item.candidates import Quality, Say
from embeddings.item_item.held_back import Trial
from embeddings.item_item.item_table import ItemTable, added, table_read
from embeddings.item_item.judge import PerUser
from embeddings.item_item.recipe import Recipe
from embeddings.item_item.scorers import QUADRATIC_ITEMS, Fitted
from embeddings.item_item.short import FIRST, Reading, readings, spoken_of
from embeddings.item_item.side_by_side import Targets
from embeddings.item_item.worth import Findings, worthiest
from graph.arrays import F32, I32

ROW_EXPONENT, ITEM_EXPONENT = 0.25, 0.5
"""Counts are damped by users' activity, and divided by this power of how many people have either
item, as in item kNN; a power of the target's popularity takes a part of that back."""
WIDTH, WIDTH_OF_MANY = 200, 50
"""So many items are kept of each; the second above `QUADRATIC_ITEMS` items."""
LIMITS = (3, 5)
"""With 10, people who have few items for good lost more than newcomers gained, see decision 16."""
SHARE = 2.0
"""Histories of some more items read counts plus so many times the item table, see decision 16."""
POPULARITY = (0.0, 0.1, 0.2)
COST, POPULARITY_COST = 0.03, 0.5
"""What a second table must raise quality by, over histories of all the lengths in `FIRST`; a power
p of popularity by `POPULARITY_COST` x p^2 more. What is popular is among whatever is to be found,
and it is not what a catalogue of niches is for."""


class Few(NamedTuple):
    """Up to how many different items a history reads counts alone, and how they are made."""

    items: int = 0
    popularity: float = 0.0


NONE = Few()


def few_of(recipe: Recipe) -> Few:
    """What a recipe says of short histories."""
    return Few(recipe.few_items, recipe.few_popularity)


def width_for(items: int) -> int:
    """How many items are kept of each."""
    return WIDTH_OF_MANY if items > QUADRATIC_ITEMS else WIDTH


def few_table(
    model: Fitted, way: Few, like: F32, threads: int = 1, items: I32 | None = None
) -> ItemTable:
    """(r, k) counts of pairs, damped, times a power of the target's popularity.

    score(h, t) = sum over users u with both of n_u^-.5, divided by (n_h n_t)^.5, times
    popularity_t^popularity; features count as users, as in any scorer. Scores are as large
    as `like` (l, c), the item table's: the strongest of each row are, on average. So what is added
    beside them weighs the same. `items` (r,) are those whose rows are made, or all.
    """
    graph = model.graph(ROW_EXPONENT, ITEM_EXPONENT)
    gains = np.asarray(model.popularity**way.popularity, np.float32)
    width = width_for(graph.rows.shape[1])
    neighbours, scores = gf.co_occurrence(graph, width, threads, gains, items)
    own, wanted = _strength(scores), _strength(like)
    if own and wanted:
        scores *= np.float32(wanted / own)
    return ItemTable(neighbours, scores)


def both_tables(few: ItemTable, table: ItemTable) -> ItemTable:
    """What histories read that are a little longer: counts, and `SHARE` times the item table."""
    return added(few, table, SHARE, few.neighbours.shape[1])


def _strength(scores: F32) -> float:
    """The mean of the largest score of each row that has any."""
    largest = np.abs(scores).max(axis=1, initial=0)
    return float(largest[largest > 0].mean(dtype=np.float64)) if largest.any() else 0.0


def way_of_few(
    trials: Sequence[Trial],
    fitted: Sequence[Fitted],
    targets: Sequence[Targets],
    scores: Sequence[F32],
    recipe: Recipe,
    tried: dict[str, Quality],
    say: Say,
    threads: int = 1,
) -> Few:
    """How short histories are read; the scores (r, c) of each trial are calibrated."""
    judged = [_Judged(trial, recipe) for trial in trials]
    plain = [
        judge.figures(own, values)
        for judge, own, values in zip(judged, targets, scores, strict=True)
    ]
    ways = {NONE: _findings(judged, [plain], 0)}
    for power in POPULARITY:
        both = [
            judge.with_few(model, Few(max(FIRST), power), own, values, threads)
            for judge, model, own, values in zip(judged, fitted, targets, scores, strict=True)
        ]
        for limit in LIMITS:
            ways[Few(limit, power)] = _findings(judged, [plain, *zip(*both, strict=True)], limit)
    for way, (findings, _) in ways.items():
        tried[f"few {way.items} x {way.popularity:g}"] = findings.quality
    best = chosen(ways)
    if best.items:
        say(
            f"histories of at most {best.items} items have a table of their own: popularity "
            f"{best.popularity:+g}"
        )
    else:
        say("short histories are read like all others")
    return best


def chosen(ways: Mapping[Few, tuple[Findings, Findings]]) -> Few:
    """The way to read short histories: `NONE`, or one that is clearly better.

    Of each way, what it finds in all cut histories, and in those cut to the oldest entries, where
    it must not find less than `NONE`.
    """
    worth = {way: findings for way, (findings, _) in ways.items()}
    best = worthiest(
        worth, NONE, lambda way: COST + POPULARITY_COST * way.popularity**2 if way.items else 0.0
    )
    before, after = (sum(ways[way][1].quality) for way in (NONE, best))
    return best if after >= before else NONE


Figures = list[list[PerUser]]  # of each reading, for each of `FIRST`


class _Judged:
    """The cut histories of one trial, and what tables find for them."""

    def __init__(self, trial: Trial, recipe: Recipe) -> None:
        self.readings: list[Reading] = readings(trial.short, trial.order, recipe, trial.seed)
        self._follows = trial.followers() if recipe.follows_weight else None
        self._catalogue = trial.fit.shape[1]
        self._items = spoken_of(self.readings, self._catalogue)

    def figures(self, targets: Targets, scores: F32) -> Figures:
        """NDCG@20 and Recall@20 of each user (b, 2)."""
        return [each.per_user(targets, scores, self._follows) for each in self.readings]

    def with_few(
        self, model: Fitted, way: Few, targets: Targets, like: F32, threads: int
    ) -> tuple[Figures, Figures]:
        """The same with a table for few items, and with both; `like` is as in `figures`."""
        few = few_table(model, way, like, threads, self._items)
        rows = targets.row_of[self._items]
        both = both_tables(few, ItemTable(targets.supports[rows], like[rows]))
        return self._with_table(few), self._with_table(both)

    def _with_table(self, table: ItemTable) -> Figures:
        """What is found with a table (r, k) that has the rows of `_items` alone."""
        blank = len(self._items)  # the row of all items that nobody's cut history holds
        supports = np.concatenate([table.neighbours, np.full_like(table.neighbours[:1], -1)])
        scores = np.concatenate([table.scores, np.zeros_like(table.scores[:1])])
        own = Targets.of(self._items, supports, self._catalogue)
        own.row_of[own.row_of < 0] = blank
        return self.figures(own, scores)


def _findings(
    judged: Sequence[_Judged], by_table: Sequence[Sequence[Figures]], limit: int
) -> tuple[Findings, Findings]:
    """What is found where each history reads the table of its length, see `table_read`: by all
    readings, and by those of the oldest entries alone. `by_table` has each table's figures.
    """
    parts: list[PerUser] = []
    oldest: list[PerUser] = []
    for number, judge in enumerate(judged):
        for at, reading in enumerate(judge.readings):
            of_tables = np.array([figures[number][at] for figures in by_table])  # (t, k, b, 2)
            sizes = reading.sizes.T.tolist()
            reads = np.array([[table_read(size, limit) for size in of] for of in sizes])  # (k, b)
            lengths, users = np.indices(reads.shape)
            parts.append(of_tables[reads, lengths, users].mean(axis=0))
            oldest += [parts[-1]] if reading.oldest else []
    return _even(parts), _even(oldest)


def _even(parts: Sequence[PerUser]) -> Findings:
    return Findings(tuple((1 / len(parts), figures) for figures in parts))
