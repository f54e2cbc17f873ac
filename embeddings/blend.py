"""One item table from several item-item scores, chosen per data set on a part held back.

`build_item_table` is the entry: cut a part off, fit every scorer on the rest, take up what raises
NDCG@20 + Recall@20 on the cut part (features' weights first, then scorers one by one, then the
popularity exponent), and fit the chosen ones again on everything. Few numbers are chosen, each
from a short list, so that a small data set is not learned by heart.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from embeddings import graph_filter as gf
from embeddings.graph_filter import Floats, NormalisedGraph, Rows, Spectral
from embeddings.item_table import (
    ItemTable,
    history_of,
    look_up,
    score_history,
    strongest,
    transpose,
    truncate,
)

Preset = Literal["fast", "default"]
Say = Callable[[str], None]
TOP = 20


@dataclass(frozen=True)
class Feature:
    """Rows (f, i) that items share, such as tags, and the weight the data's owner gives them."""

    name: str
    rows: sparse.csr_matrix
    weight: float = 1.0


@dataclass(frozen=True)
class Scorer:
    """One way to score (history item, target) pairs on X = Du^-row_exponent R Di^-item_exponent.

    `strength` is the penalty of a ridge, the sharpness of a spectrum, nothing for the
    linear filter; `dimensions` belong to spectral.
    """

    kind: Literal["linear", "ridge", "spectral"]
    row_exponent: float
    item_exponent: float
    strength: float = 1.0
    dimensions: int = 0

    @property
    def name(self) -> str:
        """What a report calls it."""
        text = f"{self.kind} {self.row_exponent:g}/{self.item_exponent:g}"
        text += "" if self.kind == "linear" else f" {self.strength:g}"
        return text + (f" d{self.dimensions}" if self.dimensions else "")


@dataclass(frozen=True)
class Recipe:
    """What was chosen: enough to fit the same table on other data."""

    weights: tuple[tuple[Scorer, float], ...]
    feature_weights: tuple[float, ...] = ()
    popularity_exponent: float = 0.0
    """Added to the exponent of the target's degree: above 0 favours the popular."""
    support_width: int = 300
    table_width: int = 300
    proposal_dimensions: int = 64


@dataclass(frozen=True)
class BlendReport:
    """The recipe, and NDCG@20 and Recall@20 on the part held back for each thing tried."""

    recipe: Recipe
    users: int
    tried: dict[str, tuple[float, float]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The report in values that JSON can hold."""
        return {
            "weights": {scorer.name: weight for scorer, weight in self.recipe.weights},
            "feature_weights": list(self.recipe.feature_weights),
            "popularity_exponent": self.recipe.popularity_exponent,
            "support_width": self.recipe.support_width,
            "table_width": self.recipe.table_width,
            "users": self.users,
            "tried": {name: list(value) for name, value in self.tried.items()},
        }


FAST = (
    Scorer("ridge", 0.4, 0.3, 10.0),
    Scorer("spectral", 0.5, 0.5, 0.5, 256),
    Scorer("linear", 0.3, 0.4),
)
DEFAULT = (
    Scorer("ridge", 0.4, 0.3, 10.0),
    Scorer("ridge", 0.4, 0.3, 30.0),  # for dense data
    Scorer("spectral", 0.5, 0.5, 0.5, 768),
    Scorer("linear", 0.3, 0.4),
)
RIDGE_WIDTH = 200
"""Support of each target's regression: its strongest co-occurring items."""
RIDGE_KEPT = 200
"""Weights of a ridge that are kept for each history item."""
FEATURE_FACTORS = (0.0, 0.1, 0.3, 0.6, 1.0)
WEIGHTS = (0.15, 0.3, 0.5, 0.75, 1.0, 1.5)
TOLERANCE = 0.012
POPULARITY = (-0.1, 0.0, 0.1)
STRONG_RIDGE_ENTRIES = 300_000
"""Up to so many pairs a second, stronger penalty is tried: dense sets are small."""
SETTLED_DIMENSIONS = 128
SETTLING_PASSES = 5
FEWEST_USERS = 50
"""Below this many users to judge by, the first scorer and neutral weights stand."""
QUADRATIC_ITEMS = 60_000
"""Above this many items spectral neighbours are not searched exactly, only as proposed."""


def build_item_table(
    user_items: sparse.csr_matrix,
    features: Sequence[Feature] = (),
    *,
    preset: Preset = "default",
    seed: int = 0,
    progress: Say | None = None,
    select: sparse.csr_matrix | None = None,
    recipe: Recipe | None = None,
    neighbour_proposals: Rows | None = None,
    threads: int = 1,
    start: Floats | None = None,
) -> tuple[ItemTable, Spectral, BlendReport]:
    """Fit, choose and fold item-item scores into one table; weights positive, float32.

    `user_items` (u, i) is all that may be learned from. `select` (u, i) names the entries of it
    that are held back while choosing; without it a fifth of each user's is drawn by `seed`. A
    `recipe` skips choosing. `neighbour_proposals` int32 (i, c), -1 padded, joins the pairs that
    are scored. `start` (i, d) is where the search for singular vectors begins in the last fit, see
    `graph_filter.spectrum`; choosing never sees it. Memory grows with items x (support + table
    width) and the widest spectrum. An empty matrix gives a table of padding. Raises ValueError
    when shapes do not fit.
    """
    say = progress or (lambda _step: None)
    users = sparse.csr_matrix(user_items, dtype=np.float32)
    if neighbour_proposals is not None and neighbour_proposals.shape[0] != users.shape[1]:
        raise ValueError(
            f"neighbour_proposals has {neighbour_proposals.shape[0]} rows, items {users.shape[1]}"
        )
    report = BlendReport(recipe, 0) if recipe else None
    if report is None:
        fit, held = hold_back(users, seed) if select is None else (without(users, select), select)
        report = fit_blend(
            fit, held, features, preset=preset, seed=seed, say=say,
            neighbour_proposals=neighbour_proposals, threads=threads,
        )  # fmt: skip
    say("fitting the chosen scorers on everything")
    scorers = [scorer for scorer, _ in report.recipe.weights]
    fitted = _Fitted(
        users, features, report.recipe, seed, neighbour_proposals, threads, scorers, start
    )
    blended = np.zeros(fitted.supports.shape, np.float32)
    for scorer, weight in report.recipe.weights:
        blended += np.float32(weight) * fitted.scores(scorer, report.recipe.popularity_exponent)
    table = strongest(fitted.supports, blended, report.recipe.table_width)
    return table, fitted.settled_spectrum(), report


def fit_blend(
    fit: sparse.csr_matrix,
    select: sparse.csr_matrix,
    features: Sequence[Feature] = (),
    *,
    preset: Preset = "default",
    seed: int = 0,
    say: Say = lambda _step: None,
    sample: int = 2000,
    neighbour_proposals: Rows | None = None,
    threads: int = 1,
) -> BlendReport:
    """Choose a recipe by NDCG@20 + Recall@20 of `select` (u, i) given `fit` (u, i).

    `sample` users judge, fewer in the preset fast.
    """
    scorers: tuple[Scorer, ...] = FAST if preset == "fast" else DEFAULT
    if fit.nnz > STRONG_RIDGE_ENTRIES:
        scorers = tuple(s for s in scorers if s.kind != "ridge" or s.strength < 30)
    recipe = _neutral(scorers, features, preset, fit.shape[1])
    judge = _Judge(fit, select, sample if preset == "default" else sample // 2, seed, threads)
    if judge.users.size < FEWEST_USERS:
        return BlendReport(recipe, int(judge.users.size))
    tried: dict[str, tuple[float, float]] = {}

    no_proposals = np.zeros((fit.shape[1], 0), np.int32)
    linear = next(scorer for scorer in scorers if scorer.kind == "linear")

    for position, feature in enumerate(features):
        results = {}
        for factor in FEATURE_FACTORS if preset == "default" else (0.0, 0.3):
            weights = list(recipe.feature_weights)
            weights[position] = factor * feature.weight
            # The linear filter judges: it is cheap, and likes the same weights as the others.
            chosen = replace(recipe, feature_weights=tuple(weights))
            cheap = _Fitted(fit, features, chosen, seed, no_proposals, threads, ())
            results[weights[position]] = judge(cheap, cheap.scores(linear))
            tried[f"{feature.name} x {weights[position]:g}"] = results[weights[position]]
        best = max(results, key=lambda weight: sum(results[weight]))
        weights = list(recipe.feature_weights)
        weights[position] = best
        recipe = replace(recipe, feature_weights=tuple(weights))
        say(f"{feature.name}: weight {best:g}")

    fitted = _Fitted(fit, features, recipe, seed, neighbour_proposals, threads, scorers)
    parts = {}
    for scorer in scorers:
        parts[scorer] = fitted.scores(scorer)
        tried[scorer.name] = judge(fitted, parts[scorer])
        say(f"{scorer.name}: NDCG@20 {tried[scorer.name][0]:.4f}")
    weights_of = _take_up(parts, lambda blended: judge(fitted, blended), tried)
    recipe = replace(recipe, weights=tuple(weights_of.items()))
    say("blend: " + ", ".join(f"{s.name} x {w:g}" for s, w in weights_of.items()))

    blended = sum_scores(parts, weights_of)
    del parts
    results = {}
    for exponent in POPULARITY:
        results[exponent] = judge(fitted, blended * fitted.popularity(exponent))
        tried[f"popularity {exponent:+g}"] = results[exponent]
    best = max(results, key=lambda exponent: sum(results[exponent]))
    if sum(results[best]) < sum(results[0.0]) * (1 + TOLERANCE):
        best = 0.0
    return BlendReport(replace(recipe, popularity_exponent=best), int(judge.users.size), tried)


def sum_scores(parts: dict[Scorer, Floats], weights: dict[Scorer, float]) -> Floats:
    """The weighted sum of (i, c) scores that are already divided by their spread."""
    total = np.zeros_like(next(iter(parts.values())))
    for scorer, weight in weights.items():
        total += np.float32(weight) * parts[scorer]
    return total


def hold_back(
    user_items: sparse.csr_matrix, seed: int, share: float = 0.2
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Split each user's entries at random: (kept, held), both (u, i); one entry always stays."""
    generator = np.random.default_rng(seed)
    counts = np.diff(user_items.indptr)
    users = np.repeat(np.arange(user_items.shape[0]), counts)
    order = np.lexsort((generator.random(user_items.nnz), users))
    place = np.arange(user_items.nnz) - np.repeat(user_items.indptr[:-1], counts)
    held = np.zeros(user_items.nnz, bool)
    held[order] = place < np.minimum(np.rint(counts * share), counts - 1)[users]
    parts = []
    for mask in (~held, held):
        part = sparse.csr_matrix(
            (user_items.data[mask], (users[mask], user_items.indices[mask])),
            shape=user_items.shape,
        )
        part.sort_indices()
        parts.append(part)
    return parts[0], parts[1]


def _take_up(
    parts: dict[Scorer, Floats],
    judge: Callable[[Floats], tuple[float, float]],
    tried: dict[str, tuple[float, float]],
) -> dict[Scorer, float]:
    """Start from the best scorer, then add the best of each other kind that raises quality.

    A spectrum gets the largest weight that keeps quality within `TOLERANCE` of the best: the part
    held back is drawn at random and understates what is popular in the future that is served,
    where a spectrum is strong; so where weights are nearly equal, the wider blend is taken.
    """
    first = max(parts, key=lambda scorer: sum(tried[scorer.name]))
    chosen = {first: 1.0}
    best = sum(tried[first.name])
    for kind in dict.fromkeys(scorer.kind for scorer in parts if scorer.kind != first.kind):
        own = [scorer for scorer in parts if scorer.kind == kind]
        scorer = max(own, key=lambda scorer: sum(tried[scorer.name]))
        base = sum_scores(parts, chosen)
        results = {0.0: best}
        for weight in WEIGHTS:
            result = judge(base + np.float32(weight) * parts[scorer])
            tried[f"+ {scorer.name} x {weight:g}"] = result
            results[weight] = sum(result)
        best = max(results.values())
        margin = TOLERANCE if kind == "spectral" else 0.0
        weight = max(w for w, value in results.items() if value >= best * (1 - margin))
        if weight:
            chosen[scorer], best = weight, results[weight]
    return chosen


def _neutral(
    scorers: Sequence[Scorer], features: Sequence[Feature], preset: Preset, items: int
) -> Recipe:
    width = 200 if preset == "fast" else 300
    if items > QUADRATIC_ITEMS:
        width = 100
    feature_weights = tuple(0.3 * feature.weight for feature in features)
    return Recipe(((scorers[0], 1.0),), feature_weights, 0.0, width, width)


def without(users: sparse.csr_matrix, select: sparse.csr_matrix) -> sparse.csr_matrix:
    """`users` (u, i) less the entries that `select` (u, i) has; ValueError when shapes differ."""
    if select.shape != users.shape:
        raise ValueError(f"select is {select.shape}, user_items {users.shape}")
    ones = np.ones(select.nnz, np.float32)
    held = sparse.csr_matrix((ones, select.indices, select.indptr), shape=users.shape)
    rest = sparse.csr_matrix(users - users.multiply(held))
    rest.eliminate_zeros()
    rest.sort_indices()
    return rest


class _Fitted:
    """Graphs, spectra and supports of one data set under one recipe, each made once when asked."""

    def __init__(
        self,
        users: sparse.csr_matrix,
        features: Sequence[Feature],
        recipe: Recipe,
        seed: int,
        proposals: Rows | None,
        threads: int,
        scorers: Sequence[Scorer],
        start: Floats | None = None,
    ) -> None:
        self._start = start
        self._rows = users
        self._scorers = scorers
        for feature, weight in zip(features, recipe.feature_weights, strict=True):
            self._rows = gf.add_feature_rows(self._rows, feature.rows, weight)
        self._seed, self._threads = seed, threads
        self._popularity = np.maximum(np.asarray(users.sum(axis=0)).ravel(), 1.0)
        self._graph: tuple[tuple[float, float], NormalisedGraph] | None = None
        self._spectra: dict[tuple[float, float], Spectral] = {}
        self._ridges: dict[Scorer, ItemTable] = {}
        self.supports = self._make_supports(recipe, proposals)

    def _make_supports(self, recipe: Recipe, proposals: Rows | None) -> Rows:
        """(i, c) the targets that each history item speaks for, proposed by every kind of scorer.

        A ridge is fitted target by target; its strongest weights, read by history item, propose.
        """
        width = recipe.support_width // 2
        graph = self.graph(0.3, 0.4)
        gains = np.asarray(graph.item_degrees**0.4, np.float32)
        supports = gf.co_occurrence_supports(graph, width, self._threads, gains)
        if proposals is None and self._rows.shape[1] <= QUADRATIC_ITEMS:
            spectral = self.spectrum(0.5, 0.5, recipe.proposal_dimensions)
            vectors = spectral.item_vectors * spectral.values**0.25
            others = vectors * np.sqrt(self.degrees(0.5, 0.5))[:, None]
            proposals = gf.vector_supports(vectors, width, others=others, threads=self._threads)
        if proposals is not None:
            supports = gf.merge_supports(supports, np.ascontiguousarray(proposals, np.int32))
        for scorer in self._scorers:
            if scorer.kind == "ridge":
                supports = gf.merge_supports(supports, self.ridge(scorer).neighbours)
        return supports

    def ridge(self, scorer: Scorer) -> ItemTable:
        """The strongest weights of a ridge by history item, normalisation undone."""
        if scorer not in self._ridges:
            a, b = scorer.row_exponent, scorer.item_exponent
            graph = self.graph(a, b)
            supports = gf.co_occurrence_supports(graph, RIDGE_WIDTH, self._threads)
            weights = gf.local_ridge(graph, supports, scorer.strength, self._threads)
            weights *= np.where(supports >= 0, graph.item_degrees[supports] ** -b, 0)
            weights *= (graph.item_degrees**b)[:, None]
            self._ridges[scorer] = truncate(transpose(supports), weights, RIDGE_KEPT)
        return self._ridges[scorer]

    def graph(self, row_exponent: float, item_exponent: float) -> NormalisedGraph:
        key = (row_exponent, item_exponent)
        if self._graph is None or self._graph[0] != key:
            self._graph = (key, gf.normalise(self._rows, *key))
        return self._graph[1]

    def degrees(self, row_exponent: float, item_exponent: float) -> Floats:
        return self.graph(row_exponent, item_exponent).item_degrees

    def spectrum(self, row_exponent: float, item_exponent: float, dimensions: int) -> Spectral:
        """The leading `dimensions`, of the widest that the scorers ask for."""
        key = (row_exponent, item_exponent)
        if key not in self._spectra:
            asked = [s.dimensions for s in self._scorers if s.kind == "spectral"
                     and (s.row_exponent, s.item_exponent) == key]  # fmt: skip
            self._spectra[key] = gf.spectrum(
                self.graph(*key),
                max([dimensions, *asked]),
                self._seed,
                threads=self._threads,
                start=self._start,
            )
        widest = self._spectra[key]
        if dimensions >= widest.values.size:
            return widest
        return Spectral(widest.item_vectors[:, :dimensions], widest.values[:dimensions])

    def settled_spectrum(self) -> Spectral:
        """The leading part of the widest spectrum, searched on until it stays where it is.

        A table sums up hundreds of vectors and does not mind how they are mixed; the few that are
        served as vectors must be the same ones at the next refresh.
        """
        key, widest = (0.5, 0.5), self.spectrum(0.5, 0.5, SETTLED_DIMENSIONS)
        for other, spectral in self._spectra.items():
            if spectral.values.size > widest.values.size:
                key, widest = other, spectral
        dimensions = min(SETTLED_DIMENSIONS, widest.values.size)
        return gf.spectrum(
            self.graph(*key),
            dimensions,
            self._seed,
            SETTLING_PASSES,
            self._threads,
            widest.item_vectors,
        )

    def popularity(self, exponent: float) -> Floats:
        """(i, c) a power of each target's popularity."""
        powers = np.asarray(self._popularity**exponent, np.float32)
        return np.asarray(np.where(self.supports >= 0, powers[self.supports], 0), np.float32)

    def scores(self, scorer: Scorer, popularity_exponent: float = 0.0) -> Floats:
        """(i, c) scores with the normalisation undone for the target, divided by their spread."""
        a, b = scorer.row_exponent, scorer.item_exponent
        if scorer.kind == "ridge":
            scores = look_up(self.ridge(scorer), self.supports)
        else:
            graph = self.graph(a, b)
            if scorer.kind == "linear":
                scores = gf.linear_scores(graph, self.supports, self._threads)
            else:
                spectral = self.spectrum(a, b, scorer.dimensions)
                scores = gf.spectral_scores(spectral, self.supports, scorer.strength, self._threads)
            scores *= np.where(self.supports >= 0, graph.item_degrees[self.supports] ** b, 0)
            scores *= (graph.item_degrees**-b)[:, None]
        spread = float(np.sqrt(np.square(scores, dtype=np.float64).mean())) if scores.size else 0.0
        scores /= np.float32(spread or 1.0)
        if popularity_exponent:
            scores *= self.popularity(popularity_exponent)
        return scores


class _Judge:
    """NDCG@20 and Recall@20 of blended scores for a fixed sample of users."""

    def __init__(
        self,
        fit: sparse.csr_matrix,
        select: sparse.csr_matrix,
        sample: int,
        seed: int,
        threads: int,
    ) -> None:
        usable = np.flatnonzero((np.diff(select.indptr) > 0) & (np.diff(fit.indptr) > 0))
        if len(usable) > sample:
            usable = np.sort(np.random.default_rng(seed).choice(usable, sample, replace=False))
        self.users = usable
        self._histories = history_of(fit, usable)
        self._wanted = history_of(select, usable)
        self._threads = threads

    def __call__(self, fitted: _Fitted, blended: Floats) -> tuple[float, float]:
        history = self._histories
        top, _ = score_history(
            ItemTable(fitted.supports, blended),
            history.indptr,
            history.indices,
            history.data,
            TOP,
            threads=self._threads,
        )
        return top_quality(top, self._wanted)


def top_quality(top: Rows, wanted: sparse.csr_matrix) -> tuple[float, float]:
    """Mean NDCG and Recall of ranked item rows (b, n) against the wanted entries (b, i)."""
    counts = np.diff(wanted.indptr)
    batch, depth = top.shape
    items = wanted.shape[1]
    keys = np.repeat(np.arange(batch), counts) * items + wanted.indices
    asked = np.arange(batch)[:, None] * items + top
    hits = np.isin(asked, keys) & (top >= 0)  # (b, n)
    discounts: NDArray[np.float64] = 1.0 / np.log2(np.arange(2, depth + 2))
    ideal = np.cumsum(discounts)[np.minimum(counts, depth) - 1]
    return float((hits @ discounts / ideal).mean()), float((hits.sum(axis=1) / counts).mean())
