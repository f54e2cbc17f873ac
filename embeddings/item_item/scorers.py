"""Ways to score pairs of items, each fitted once to a data set and then asked for scores."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from embeddings.indexes.faiss_index import likely_neighbours
from embeddings.item_item import graph_filter as gf
from embeddings.item_item.exact_ridge import exact_ridge
from embeddings.item_item.graph_filter import NormalisedGraph
from embeddings.item_item.item_table import (
    ROWS_AT_ONCE,
    ItemTable,
    look_up,
    strongest,
    transpose,
    truncate,
)
from embeddings.item_item.local_ridge import local_ridge
from embeddings.item_item.recipe import BY_PAIRS, Recipe, Scorer
from embeddings.item_item.side_by_side import Targets
from embeddings.item_item.spectrum import spectral_scores, spectrum
from embeddings.singular import Spectral
from graph.arrays import F32, I32, I64, Flags

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
LOOKED_UP = (*BY_PAIRS, "popularity")
"""Scorers with a table: what they give a pair is read from there."""
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
        spectra: Mapping[tuple[float, float], Spectral] | None = None,
    ) -> None:
        """`spectra` of this data by their exponents are at hand, as wide as any scorer asks for."""
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
        self.counts = np.bincount(users.indices, minlength=users.shape[1]).astype(np.float32)
        self.spreads: dict[Scorer, float] = {}  # by which scores are divided
        self._graph: tuple[tuple[float, float, bool], NormalisedGraph] | None = None
        self._spectra = dict(spectra or {})
        self._tables: dict[Scorer, ItemTable] = {}
        self._recipe = recipe
        self._proposals: list[I32] | None = None

    def settle(self, scorers: Sequence[Scorer]) -> None:
        """Use these scorers from now on; drop what was computed only for others."""
        self._scorers = scorers
        self._tables = {scorer: made for scorer, made in self._tables.items() if scorer in scorers}
        self._proposals = None

    def drop_tables(self) -> None:
        """Free all but the spectra, when scores are asked for no longer; spreads stay."""
        self._tables, self._proposals = {}, None

    def keep(self, scorer: Scorer, table: ItemTable) -> None:
        """Hold a table of `ridges` ready."""
        self._tables[scorer] = table

    @property
    def proposals(self) -> list[I32]:
        """The targets that each history item speaks for, as each scorer proposes them: (i, k)."""
        if self._proposals is None:
            self._proposals = self._proposed(self._recipe)
        return self._proposals

    @property
    def width(self) -> int:
        """c, the number of columns of `blocks`."""
        return sum(proposed.shape[1] for proposed in self.proposals)

    def blocks(self) -> Iterator[tuple[slice, I32]]:
        """Block after block of items, and the targets of each, without repetitions: (b, c)."""
        first, *others = self.proposals
        for begin in range(0, len(first), ROWS_AT_ONCE):
            rows = slice(begin, min(begin + ROWS_AT_ONCE, len(first)))
            supports = first[rows]
            for proposed in others:
                more = np.ascontiguousarray(proposed[rows])
                supports = gf.merge_supports(supports, more, begin, len(first))
            yield rows, supports

    def _proposed(self, recipe: Recipe) -> list[I32]:
        width = recipe.support_width // 2
        graph = self.graph(0.3, 0.4)
        gains = np.asarray(graph.item_degrees**0.4, np.float32)
        proposals = [gf.co_occurrence_supports(graph, width, self._threads, gains)]
        if recipe.proposal_dimensions:
            spectral = self.spectrum(0.5, 0.5, recipe.proposal_dimensions)
            vectors = spectral.item_vectors * spectral.values**0.25
            degrees = self.graph(0.5, 0.5, spectral=True).item_degrees
            targets = vectors * np.sqrt(degrees)[:, None]
            proposals.append(nearest(vectors, targets, width, self._threads))
        for scorer in self._scorers:
            if scorer.kind in LOOKED_UP:
                proposals.append(self.table(scorer).neighbours)
            if scorer.kind == "learned":
                pair = self._learned[scorer.model]
                proposals.append(nearest(pair.inputs, pair.outputs, width, self._threads))
        return proposals

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
        items = graph.rows.shape[1]
        targets = np.arange(items) if among is None else np.flatnonzero(among)
        item_rows = targets.astype(np.int32)
        supports = gf.co_occurrence_supports(
            graph, self._ridge_width, self._threads, items=item_rows
        )
        turned = transpose(supports, item_rows, items)
        powers = graph.item_degrees**b
        strengths = [scorer.strength for scorer in scorers]
        made = local_ridge(graph, supports, strengths, self._threads, targets=item_rows)
        for weights in made:
            for begin in range(0, len(item_rows), ROWS_AT_ONCE):
                rows = slice(begin, begin + ROWS_AT_ONCE)
                weights[rows] *= (
                    powers[item_rows[rows], None] / powers[supports[rows]]
                )  # 0 at padding
            yield truncate(turned, weights, self._ridge_width)

    def _popular(self) -> ItemTable:
        items = len(self.counts)
        best = np.argsort(-self.counts, kind="stable")[: min(POPULAR, items)].astype(np.int32)
        best = best[self.counts[best] > 0]
        shape = items, len(best)  # every row is the same one, and is held once
        counts = np.broadcast_to(self.counts[best], shape)
        return ItemTable(np.broadcast_to(best, shape), counts)

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

    def powers(self, recipe: Recipe) -> tuple[F32, F32]:
        """(i,) and (i,): what scores are multiplied with for their target and history item."""
        of_target, of_history = (
            np.asarray(self.popularity**exponent, np.float32)
            for exponent in (recipe.popularity_exponent, recipe.history_exponent)
        )
        return of_target, of_history

    def side_by_side(self, scorers: Sequence[Scorer], item_rows: I32) -> tuple[Targets, F32]:
        """The targets of some items (r,), and (r, c, s) the scores of all these scorers there.

        They are divided by their spread over all items, as in `scores`.
        """
        shape = len(item_rows), self.width
        supports = np.empty(shape, np.int32)
        scores = np.empty((*shape, len(scorers)), np.float32)
        squares = np.zeros(len(scorers))
        scoring = [self._scoring(scorer) for scorer in scorers]
        for rows, block in self.blocks():
            low, high = np.searchsorted(item_rows, (rows.start, rows.stop))
            own = item_rows[low:high] - rows.start
            supports[low:high] = block[own]
            for number, score in enumerate(scoring):
                values = score(rows, block)
                squares[number] += sum_of_squares(values)
                scores[low:high, :, number] = values[own]
        for number, total in enumerate(squares):
            scores[..., number] /= self._spread(total)
        return Targets.of(item_rows, supports, len(self.counts)), scores

    def scores(self, scorer: Scorer) -> F32:
        """(i, c) scores with the normalisation undone for the target, divided by their spread."""
        scores = np.empty((len(self.counts), self.width), np.float32)
        score, squares = self._scoring(scorer), 0.0
        for rows, block in self.blocks():
            scores[rows] = score(rows, block)
            squares += sum_of_squares(scores[rows])
        spread = self._spread(squares)
        scores /= spread
        self.spreads[scorer] = float(spread)
        return scores

    def blended(self, recipe: Recipe) -> ItemTable:
        """The strongest targets of each item by the recipe's mixture of scores.

        An array of all scores is large, and there is one, their sum. What the others give is
        computed twice, block by block, first for its spread; so what costs most comes first.
        """
        items, width = len(self.counts), recipe.table_width
        first, *others = sorted(recipe.weights, key=lambda entry: entry[0].kind in LOOKED_UP)
        mixed = self.scores(first[0])
        mixed *= np.float32(first[1])
        for scorer, weight in others:
            score = self._scoring(scorer)
            squares = sum(sum_of_squares(score(rows, block)) for rows, block in self.blocks())
            spread = self._spread(squares)
            self.spreads[scorer] = float(spread)
            for rows, block in self.blocks():
                mixed[rows] += score(rows, block) / spread * np.float32(weight)
        powers = self.powers(recipe)
        neighbours, kept = np.empty((items, width), np.int32), np.empty((items, width), np.float32)
        for rows, block in self.blocks():
            made = strongest(block, scaled(mixed[rows], block, powers[0], powers[1][rows]), width)
            neighbours[rows], kept[rows] = made.neighbours, made.scores
        return ItemTable(neighbours, kept)

    def _spread(self, squares: float) -> np.float32:
        """The root of the mean square of scores (i, c), given the sum of their squares; never 0."""
        cells = len(self.counts) * self.width
        return np.float32(np.sqrt(squares / cells) if cells and squares else 1.0)

    def _scoring(self, scorer: Scorer) -> Callable[[slice, I32], F32]:
        """Scores (b, c) of some rows at their supports (b, c), not yet divided by their spread."""
        a, b = scorer.row_exponent, scorer.item_exponent
        if scorer.kind == "popularity":
            return lambda _, supports: np.where(supports < 0, np.float32(0), self.counts[supports])
        if scorer.kind in BY_PAIRS:
            table = self.table(scorer)
            return lambda rows, supports: look_up(table, supports, rows.start)
        if scorer.kind == "learned":
            pair = self._learned[scorer.model]
            return lambda rows, supports: gf.vector_scores(
                pair.inputs[rows], pair.outputs, supports, self._threads
            )
        degrees = self.graph(a, b, spectral=True).item_degrees
        of_target, of_history = degrees**b, degrees**-b
        spectral = self.spectrum(a, b, scorer.dimensions)

        def by_spectrum(rows: slice, supports: I32) -> F32:
            scores = spectral_scores(spectral, supports, scorer.strength, self._threads, rows.start)
            return scaled(scores, supports, of_target, of_history[rows])  # they are 0 at padding

        return by_spectrum


def scaled(scores: F32, supports: I32, of_target: F32, of_history: F32) -> F32:
    """The scores (r, c), changed in place: times (i,) of their targets and (r,) of their rows."""
    for begin in range(0, len(scores), ROWS_AT_ONCE):
        rows = slice(begin, begin + ROWS_AT_ONCE)
        scores[rows] *= of_target[supports[rows]]
        scores[rows] *= of_history[rows, None]
    return scores


def sum_of_squares(scores: F32) -> float:
    """The sum of the squares of scores (b, c)."""
    return float(np.square(scores, dtype=np.float64).sum())


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
