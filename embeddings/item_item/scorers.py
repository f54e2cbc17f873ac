"""Ways to score pairs of items, each fitted once to a data set and then asked for scores."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from scipy import sparse

from embeddings.indexes.faiss_index import likely_neighbours
from embeddings.item_item import graph_filter as gf
from embeddings.item_item.exact_ridge import exact_ridge
from embeddings.item_item.graph_filter import NormalisedGraph
from embeddings.item_item.item_table import ItemTable, look_up, transpose, truncate
from embeddings.item_item.local_ridge import local_ridge
from embeddings.item_item.spectrum import spectral_scores, spectrum
from embeddings.singular import Spectral
from graph.arrays import F32, I32, I64, Flags

RIDGE_WIDTH = 200
"""The usual support of each target's regression: its strongest co-occurring items. As many weights
are kept for each history item."""
SPECTRUM_FEATURES = 0.3
"""Factor on the features' weights in a spectrum, unless a weight is 0. A ridge likes tags at
several times that; singular vectors that must describe tags as well have less room for what people
chose, and would turn whenever a refresh chose another weight."""
POPULAR = 100
"""If popularity is among the scorers, every history item proposes this many of the most popular
items: a list of 20 needs 20 that the user does not have yet."""
SETTLED_DIMENSIONS = 128
SETTLING_PASSES = 5
QUADRATIC_ITEMS = 60_000
"""Above this many items nearest vectors are not searched exactly, but proposed by FAISS."""
ROWS_AT_ONCE = 4_096
"""Rows of scores that are worked on at once, so that no second array as large is made."""
SPECTRUM_CELLS = 128_000_000
"""Most items x singular vectors; beyond, a scorer gets fewer vectors: 128 for a million items."""


@dataclass(frozen=True)
class Feature:
    """I32 (f, i) that items share, such as tags, and the weight the data's owner gives them."""

    name: str
    rows: sparse.csr_matrix
    weight: float = 1.0


@dataclass(frozen=True)
class Pair:
    """What a model learned of items: `inputs` of a history item times `outputs` of a target."""

    inputs: F32  # (i, d)
    outputs: F32  # (i, d)


@dataclass(frozen=True)
class LearnedVectors:
    """One model, learned twice: without the part held back, for choosing; and from everything."""

    name: str
    without_select: Pair
    of_all: Pair


@dataclass(frozen=True)
class Scorer:
    """One way to score (history item, target) pairs on X = Du^-row_exponent R Di^-item_exponent.

    ridge        a regression of each target on its strongest co-occurring items
    exact        the same on all items
    cosine       X'X: item kNN, the linear part of GF-CF where both exponents are .5
    popularity   how many users have the target
    spectral     singular vectors, of which there are `dimensions`
    learned      products of the vectors of a `model`

    `strength` is the penalty of a ridge, the sharpness of a spectrum.
    """

    kind: Literal["ridge", "exact", "cosine", "popularity", "spectral", "learned"]
    row_exponent: float = 0.0
    item_exponent: float = 0.0
    strength: float = 1.0
    dimensions: int = 0
    model: str = ""

    def as_json(self) -> dict[str, Any]:
        """The fields as JSON; `Scorer(**fields)` makes the same scorer."""
        return asdict(self)

    @property
    def name(self) -> str:
        """What a report calls it."""
        if self.kind == "learned":
            return self.model
        if self.kind == "popularity":
            return self.kind
        if self.kind == "cosine":
            return f"cosine {self.row_exponent:g}/{self.item_exponent:g}"
        fitted = f"{self.kind} {self.row_exponent:g}/{self.item_exponent:g} {self.strength:g}"
        return fitted + (f" d{self.dimensions}" if self.dimensions else "")


RIDGE = Scorer("ridge", 0.2, 0.3, 10.0)
"""Used where there is too little to choose by, and to choose the weights of features."""


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
    """Of the singular vectors that propose pairs; 0: none do."""
    history_exponent: float = 0.0
    """The same for the history item: below 0, an item that few have chosen says more about them."""
    ridge_width: int = RIDGE_WIDTH
    """Support of each target's regression; never more than that of the table."""
    recency_exponent: float = 0.0
    """See `recency.weighed`; it changes histories, not the table."""


class Fitted:
    """Graphs, spectra and supports of a data set under a recipe; each is made once, on demand."""

    def __init__(
        self,
        users: sparse.csr_matrix,
        features: Sequence[Feature],
        recipe: Recipe,
        seed: int,
        threads: int,
        scorers: Sequence[Scorer],
        start: F32 | None = None,
        learned: Mapping[str, Pair] | None = None,
    ) -> None:
        self._start = start
        self._learned = dict(learned or {})
        self._rows = self._spectral_rows = users
        self._scorers = scorers
        for feature, weight in zip(features, recipe.feature_weights, strict=True):
            self._rows = gf.add_feature_rows(self._rows, feature.rows, weight)
            least = SPECTRUM_FEATURES * feature.weight if weight else 0.0
            self._spectral_rows = gf.add_feature_rows(self._spectral_rows, feature.rows, least)
        self._seed, self._threads = seed, threads
        self._ridge_width = min(recipe.ridge_width, recipe.support_width)
        self.popularity = np.maximum(np.asarray(users.sum(axis=0)).ravel(), 1.0)
        self._counts = np.bincount(users.indices, minlength=users.shape[1]).astype(np.float32)
        self._graph: tuple[tuple[float, float, bool], NormalisedGraph] | None = None
        self._spectra: dict[tuple[float, float], Spectral] = {}
        self._tables: dict[Scorer, ItemTable] = {}
        self._recipe = recipe
        self._supports: I32 | None = None

    @property
    def supports(self) -> I32:
        """(i, c) the targets that each history item speaks for, as every scorer proposes them."""
        if self._supports is None:
            self._supports = self._make_supports(self._recipe)
        return self._supports

    def settle(self, scorers: Sequence[Scorer]) -> None:
        """Use these scorers from now on; drop what was computed only for others."""
        self._scorers = scorers
        self._tables = {scorer: made for scorer, made in self._tables.items() if scorer in scorers}
        self._supports = None

    def keep(self, scorer: Scorer, table: ItemTable) -> None:
        """Hold a table of `ridges` ready."""
        self._tables[scorer] = table

    def _make_supports(self, recipe: Recipe) -> I32:
        width = recipe.support_width // 2
        graph = self.graph(0.3, 0.4)
        gains = np.asarray(graph.item_degrees**0.4, np.float32)
        supports = gf.co_occurrence_supports(graph, width, self._threads, gains)
        if recipe.proposal_dimensions:
            spectral = self.spectrum(0.5, 0.5, recipe.proposal_dimensions)
            vectors = spectral.item_vectors * spectral.values**0.25
            degrees = self.graph(0.5, 0.5, spectral=True).item_degrees
            targets = vectors * np.sqrt(degrees)[:, None]
            supports = gf.merge_supports(supports, nearest(vectors, targets, width, self._threads))
        for scorer in self._scorers:
            if scorer.kind in ("ridge", "exact", "cosine", "popularity"):
                supports = gf.merge_supports(supports, self.table(scorer).neighbours)
            if scorer.kind == "learned":
                pair = self._learned[scorer.model]
                near = nearest(pair.inputs, pair.outputs, width, self._threads)
                supports = gf.merge_supports(supports, near)
        return supports

    def table(self, scorer: Scorer) -> ItemTable:
        """The table of one scorer alone, by history item, normalisation undone."""
        if scorer not in self._tables:
            if scorer.kind == "ridge":
                made = next(self.ridges([scorer]))
            elif scorer.kind == "popularity":
                made = self._popular()
            else:
                graph = self.graph(scorer.row_exponent, scorer.item_exponent)
                width = self._ridge_width
                if scorer.kind == "cosine":
                    made = ItemTable(*gf.co_occurrence(graph, width, self._threads))
                else:
                    made = exact_ridge(graph, scorer.strength, width, scorer.item_exponent)
            self._tables[scorer] = made
        return self._tables[scorer]

    def ridges(self, scorers: Sequence[Scorer], among: Flags | None = None) -> Iterator[ItemTable]:
        """The tables of ridges on one graph that differ in strength: one pass over the data.

        A ridge is fitted target by target, only those `among` (i,) where it is given; its strongest
        weights are kept by history item.
        """
        a, b = scorers[0].row_exponent, scorers[0].item_exponent
        graph = self.graph(a, b)
        supports = gf.co_occurrence_supports(graph, self._ridge_width, self._threads)
        if among is not None:
            supports[~among] = -1
        turned = transpose(supports)
        powers = graph.item_degrees**b
        strengths = [scorer.strength for scorer in scorers]
        undone = np.where(supports >= 0, powers[:, None] / powers[supports], np.float32(0))
        for weights in local_ridge(graph, supports, strengths, self._threads):
            yield truncate(turned, weights * undone, self._ridge_width)

    def _popular(self) -> ItemTable:
        items = len(self._counts)
        best = np.argsort(-self._counts, kind="stable")[: min(POPULAR, items)].astype(np.int32)
        best = best[self._counts[best] > 0]
        return ItemTable(np.tile(best, (items, 1)), np.tile(self._counts[best], (items, 1)))

    def graph(
        self, row_exponent: float, item_exponent: float, *, spectral: bool = False
    ) -> NormalisedGraph:
        """The normalised graph; features weigh less when a spectrum is made of it."""
        key = (row_exponent, item_exponent, spectral)
        if self._graph is None or self._graph[0] != key:
            rows = self._spectral_rows if spectral else self._rows
            self._graph = (key, gf.normalise(rows, row_exponent, item_exponent))
        return self._graph[1]

    def spectrum(self, row_exponent: float, item_exponent: float, dimensions: int) -> Spectral:
        """The leading `dimensions` of the widest spectrum that a scorer asks for."""
        key = (row_exponent, item_exponent)
        if key not in self._spectra:
            wanted = [s.dimensions for s in self._scorers if s.kind == "spectral"
                     and (s.row_exponent, s.item_exponent) == key]  # fmt: skip
            most = max(SETTLED_DIMENSIONS, SPECTRUM_CELLS // max(self._rows.shape[1], 1))
            self._spectra[key] = spectrum(
                self.graph(*key, spectral=True),
                min(max([dimensions, *wanted]), most),
                self._seed,
                threads=self._threads,
                start=self._start,
            )
        widest = self._spectra[key]
        if dimensions >= widest.values.size:
            return widest
        return Spectral(widest.item_vectors[:, :dimensions], widest.values[:dimensions])

    def settled_spectrum(self) -> Spectral:
        """The leading part of the widest spectrum, iterated until it no longer changes.

        For a table of hundreds of vectors it does not matter how they are mixed. The few that are
        served as vectors must be the same again at the next refresh.
        """
        key, widest = (0.5, 0.5), self.spectrum(0.5, 0.5, SETTLED_DIMENSIONS)
        for exponents, spectral in self._spectra.items():
            if spectral.values.size > widest.values.size:
                key, widest = exponents, spectral
        dimensions = min(SETTLED_DIMENSIONS, widest.values.size)
        return spectrum(
            self.graph(*key, spectral=True),
            dimensions,
            self._seed,
            SETTLING_PASSES,
            self._threads,
            widest.item_vectors,
        )

    def calibrated(self, blended: F32, recipe: Recipe) -> F32:
        """(i, c) scores times the recipe's powers of both items' popularity."""
        of_target, of_history = (
            np.asarray(self.popularity**exponent, np.float32)
            for exponent in (recipe.popularity_exponent, recipe.history_exponent)
        )
        return scaled(blended.copy(), self.supports, of_target, of_history)  # 0 at padding

    def side_by_side(self, scorers: Sequence[Scorer]) -> F32:
        """(i, c, s) the scores of all these scorers at the same pairs."""
        scores = np.empty((*self.supports.shape, len(scorers)), np.float32)
        for number, scorer in enumerate(scorers):
            scores[..., number] = self.scores(scorer)
        return scores

    def scores(self, scorer: Scorer) -> F32:
        """(i, c) scores with the normalisation undone for the target, divided by their spread."""
        a, b = scorer.row_exponent, scorer.item_exponent
        if scorer.kind == "popularity":
            scores = self._counts[self.supports]
            scores[self.supports < 0] = 0
        elif scorer.kind in ("ridge", "exact", "cosine"):
            scores = look_up(self.table(scorer), self.supports)
        elif scorer.kind == "learned":
            pair = self._learned[scorer.model]
            scores = gf.vector_scores(pair.inputs, pair.outputs, self.supports, self._threads)
        else:
            graph = self.graph(a, b, spectral=True)
            spectral = self.spectrum(a, b, scorer.dimensions)
            scores = spectral_scores(spectral, self.supports, scorer.strength, self._threads)
            degrees = graph.item_degrees
            scaled(scores, self.supports, degrees**b, degrees**-b)  # they are 0 at padding
        scores /= np.float32(spread_of(scores) or 1.0)
        return scores


def scaled(scores: F32, supports: I32, of_target: F32, of_history: F32) -> F32:
    """The scores (i, c), changed in place: times (i,) of their targets and (i,) of their rows."""
    for begin in range(0, len(scores), ROWS_AT_ONCE):
        rows = slice(begin, begin + ROWS_AT_ONCE)
        scores[rows] *= of_target[supports[rows]]
        scores[rows] *= of_history[rows, None]
    return scores


def spread_of(scores: F32) -> float:
    """The root of the mean square of scores (i, c); 0 where there are none."""
    total = sum(
        float(np.square(scores[begin : begin + ROWS_AT_ONCE], dtype=np.float64).sum())
        for begin in range(0, len(scores), ROWS_AT_ONCE)
    )
    return float(np.sqrt(total / scores.size)) if scores.size else 0.0


def nearest(
    vectors: F32,
    targets: F32,
    width: int,
    threads: int,
    among: I64 | None = None,
) -> I32:
    """(i, width) the largest products with others, by FAISS where the catalogue is large.

    `among` are the rows of the others that may be neighbours; None: all of them.
    """
    if len(vectors) > QUADRATIC_ITEMS:
        return likely_neighbours(vectors, targets, width, threads, among)
    return gf.vector_supports(vectors, width, targets=targets, threads=threads)
