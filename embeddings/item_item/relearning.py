"""An item table brought up to date: only the items whose own history changed are learned anew.

An entry (history item h, target t) of the table belongs to its target. For targets that changed
all entries are learned again by the scorers of the recipe, from all of today's data; the others
stay as they are. A row is made anew only for an item that was hardly known: from the same
regressions, read in the other direction; the singular vectors of such an item are found from those
of all others (folding in), while known items keep theirs. How far scores spread is taken over, so
that old and new entries are on the same scale.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from embeddings.item_item import graph_filter as gf
from embeddings.item_item.fitting import REGRESSIONS, Halved, Learned
from embeddings.item_item.graph_filter import NormalisedGraph, pair_products
from embeddings.item_item.item_table import ItemTable, replaced
from embeddings.item_item.local_ridge import local_ridge
from embeddings.item_item.recipe import Recipe, Scorer
from embeddings.item_item.scorers import Fitted
from embeddings.singular import Spectral, product
from graph.arrays import F32, I64, Flags


def relearned(
    table: ItemTable,
    last: Learned,
    fitted: Fitted,
    recipe: Recipe,
    changed: Flags,
    fresh: Flags,
    threads: int,
) -> tuple[ItemTable, Spectral, Learned]:
    """The table with the targets that `changed` learned anew, and the leading singular vectors.

    Args:
        table: the last one, in today's rows (i, w).
        last: what its fit left, in today's rows.
        fitted: today's data; nothing is fitted yet.
        recipe: the same as the last one's.
        changed: (i,) the targets to learn again; those that nobody has are, too.
        fresh: (i,) those of them whose own rows are made anew, too.
        threads: how many work at once.
    """
    changed = changed | (fitted.counts == 0)  # of the latter the table has what was placed
    targets, new = np.flatnonzero(changed), np.flatnonzero(fresh)
    spectra = {
        key: folded(fitted.graph(*key, spectral=True), old.whole(), new, threads)
        for key, old in zip(last.exponents, last.spectra, strict=True)
    }
    settled = _settled(fitted, last, new, threads)
    regressions = {
        scorer: _regressed(fitted, scorer, recipe, targets, threads)
        for scorer, _ in recipe.weights
        if scorer.kind in REGRESSIONS
    }
    pairs = _proposed(table, list(regressions.values()), targets)
    there = np.zeros(len(pairs.keys), np.float32)  # how much the history item speaks for the target
    back = np.zeros(len(pairs.keys), np.float32)  # the other way round
    for (scorer, weight), spread in zip(recipe.weights, last.spreads, strict=True):
        both = _scores(fitted, scorer, regressions.get(scorer), spectra, pairs, threads)
        there += both[0] * np.float32(weight / (spread or 1.0))
        back += both[1] * np.float32(weight / (spread or 1.0))
    there *= _calibration(fitted, recipe, pairs.targets, pairs.histories)
    back *= _calibration(fitted, recipe, pairs.histories, pairs.targets)
    turned = fresh[pairs.targets] & ~changed[pairs.histories]  # the others have their own entry
    rows = np.concatenate([pairs.histories, pairs.targets[turned]])
    columns = np.concatenate([pairs.targets, pairs.histories[turned]])
    entries = np.concatenate([there, back[turned]])
    learned = sparse.csr_matrix((entries, (rows, columns)), shape=(len(changed), len(changed)))
    kept = (table.neighbours >= 0) & ~changed[table.neighbours] & ~fresh[:, None]
    left = Learned(
        exponents=last.exponents,
        spectra=tuple(Halved.of(spectra[key]) for key in last.exponents),
        settled=Halved.of(settled),
        spreads=last.spreads,
    )
    return replaced(table, kept, learned, recipe.table_width), settled, left


@dataclass(frozen=True)
class Pairs:
    """Targets and the history items that may speak for them, each pair once."""

    keys: I64  # (p,) ascending: place of the target x items + history item
    targets: I64  # (p,)
    histories: I64  # (p,)


def folded(graph: NormalisedGraph, spectral: Spectral, fresh: I64, threads: int) -> Spectral:
    """The spectrum with the vectors of the `fresh` items found from those of all others.

    For singular vectors X'XV = V s^2. Of the row of item j, x its column of X, this leaves
    v = x'XW / (s^2 - x'x), where W is V without the fresh items. So a vector never feeds on what
    was found for it before: over several refreshes that would grow without bounds. Directions that
    are too weak beside the item's own part (s^2 < 2 x'x) are 0.
    """
    if not spectral.values.size or not len(fresh):
        return spectral
    vectors = spectral.item_vectors.copy()
    vectors[fresh] = 0
    columns = graph.columns[fresh]
    image = product(graph.rows, vectors, threads)  # (r, i) @ (i, d) -> (r, d)
    own = np.asarray(columns.multiply(columns).sum(axis=1), np.float32).reshape(-1, 1)
    squares = spectral.values**2
    strong = squares >= 2 * own  # (f, d)
    rest = np.where(strong, squares - own, np.float32(1))
    vectors[fresh] = np.where(strong, product(columns, image, threads) / rest, np.float32(0))
    return Spectral(vectors, spectral.values)


def _settled(fitted: Fitted, last: Learned, fresh: I64, threads: int) -> Spectral:
    """The served vectors: on the graph of the widest spectrum, as in `Fitted.settled_spectrum`."""
    key = (0.5, 0.5)
    widest = 0
    for exponents, spectrum in zip(last.exponents, last.spectra, strict=True):
        if spectrum.values.size > widest:
            key, widest = exponents, spectrum.values.size
    return folded(fitted.graph(*key, spectral=True), last.settled.whole(), fresh, threads)


def _regressed(
    fitted: Fitted, scorer: Scorer, recipe: Recipe, targets: I64, threads: int
) -> ItemTable:
    """(t, w) by target: its history items, and their weights or co-occurrences."""
    width, rows = min(recipe.ridge_width, recipe.support_width), targets.astype(np.int32)
    graph = fitted.graph(scorer.row_exponent, scorer.item_exponent)
    supports, together = gf.co_occurrence(graph, width, threads, items=rows)
    if scorer.kind == "cosine":
        return ItemTable(supports, together)
    (weights,) = local_ridge(graph, supports, [scorer.strength], threads, targets=rows)
    return ItemTable(supports, weights)


def _proposed(table: ItemTable, regressions: Sequence[ItemTable], targets: I64) -> Pairs:
    """What the regressions know, and whatever spoke for the targets before."""
    items = len(table.neighbours)
    places = np.full(items, -1, np.int64)
    places[targets] = np.arange(len(targets))
    before = np.where(table.neighbours >= 0, places[table.neighbours], -1)
    rows, columns = np.nonzero(before >= 0)
    keys = [before[rows, columns] * items + rows]
    for own in regressions:
        rows, columns = np.nonzero(own.neighbours >= 0)
        keys.append(rows * items + own.neighbours[rows, columns])
    each = np.unique(np.concatenate(keys)).astype(np.int64)
    of_target, histories = targets[each // items], each % items
    others = of_target != histories
    return Pairs(each[others], of_target[others], histories[others])


def _scores(
    fitted: Fitted,
    scorer: Scorer,
    regression: ItemTable | None,
    spectra: Mapping[tuple[float, float], Spectral],
    pairs: Pairs,
    threads: int,
) -> tuple[F32, F32]:
    """What a scorer gives each pair, both ways (p,): for the target, and for the history item.

    Both come from one symmetric score and the powers of the degrees that undo the normalisation.
    """
    if scorer.kind == "popularity":
        return fitted.counts[pairs.targets], fitted.counts[pairs.histories]
    key = scorer.row_exponent, scorer.item_exponent
    degrees = fitted.graph(*key, spectral=scorer.kind == "spectral").item_degrees
    scores = np.zeros(len(pairs.keys), np.float32)
    if regression is not None:
        rows, columns = np.nonzero(regression.neighbours >= 0)
        known = rows * len(degrees) + regression.neighbours[rows, columns]
        scores[np.searchsorted(pairs.keys, known)] = regression.scores[rows, columns]
        if scorer.kind == "cosine":
            return scores, scores
    else:
        spectral = spectra[key]
        vectors = spectral.item_vectors[:, : scorer.dimensions]
        weighed = vectors * spectral.values[: scorer.dimensions] ** scorer.strength
        scores = pair_products(vectors, weighed, pairs.targets, pairs.histories, threads)
    powers = degrees ** key[1]
    ratios = powers[pairs.targets] / powers[pairs.histories]
    return scores * ratios, scores / ratios


def _calibration(fitted: Fitted, recipe: Recipe, targets: I64, histories: I64) -> F32:
    of_target = (fitted.popularity**recipe.popularity_exponent).astype(np.float32)
    of_history = (fitted.popularity**recipe.history_exponent).astype(np.float32)
    factors: F32 = of_target[targets] * of_history[histories]
    return factors
