"""An item table fitted by a recipe, and what its fit leaves so that the next can go on from it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from embeddings.item_item.item_table import ItemTable
from embeddings.item_item.recipe import Recipe
from embeddings.item_item.scorers import (
    SETTLED_DIMENSIONS,
    Feature,
    Fitted,
    LearnedVectors,
)
from embeddings.singular import Spectral
from graph.arrays import F32, I64

REGRESSIONS = ("ridge", "cosine")
TARGET_BY_TARGET = (*REGRESSIONS, "popularity", "spectral")
"""Kinds of scorers that can learn one target without all others; the first propose what for."""


@dataclass(frozen=True)
class Halved:
    """Singular vectors in half precision, as they are kept on disk."""

    vectors: npt.NDArray[np.float16]  # (i, d), times `scale`
    values: F32  # (d,)
    scale: float

    @staticmethod
    def of(spectral: Spectral) -> "Halved":
        """In half precision, scaled so that nothing is lost near 0."""
        scale = float(np.sqrt(max(len(spectral.item_vectors), 1)))
        halved = np.empty(spectral.item_vectors.shape, np.float16)
        np.multiply(spectral.item_vectors, np.float32(scale), out=halved, casting="same_kind")
        return Halved(halved, spectral.values, scale)

    def whole(self) -> Spectral:
        """In single precision."""
        return Spectral(self.vectors.astype(np.float32) / np.float32(self.scale), self.values)


@dataclass(frozen=True)
class Learned:
    """What a fit leaves for the next one, beside its table."""

    exponents: tuple[tuple[float, float], ...]  # of each spectrum
    spectra: tuple[Halved, ...]
    settled: Halved  # the leading vectors, which are served
    spreads: tuple[float, ...]  # by which the scores of each scorer of the recipe are divided

    def by_rows(self, rows: I64) -> "Learned":
        """The same for other items: of each its row here, -1 for a new one (its vectors are 0)."""

        def moved(spectrum: Halved) -> Halved:
            vectors = np.where((rows >= 0)[:, None], spectrum.vectors[rows], np.float16(0))
            return Halved(vectors, spectrum.values, spectrum.scale)

        return Learned(
            self.exponents, tuple(map(moved, self.spectra)), moved(self.settled), self.spreads
        )


def fit_table(
    user_items: sparse.csr_matrix,
    features: Sequence[Feature],
    recipe: Recipe,
    *,
    seed: int,
    threads: int,
    start: F32 | None = None,
    learned: Sequence[LearnedVectors] = (),
    beside: Learned | None = None,
) -> tuple[ItemTable, Spectral, Learned | None]:
    """The table of a recipe, its leading singular vectors, and what to go on from.

    The arguments are those of `blend.build_item_table`; `beside` is what another fit of the same
    data left whose recipe has the `same_spectra`: they are not found again.
    """
    scorers = [scorer for scorer, _ in recipe.weights]
    models = {vectors.name: vectors.of_all for vectors in learned}
    known = {}
    if beside is not None:
        whole = (spectrum.whole() for spectrum in beside.spectra)
        known = dict(zip(beside.exponents, whole, strict=True))
    fitted = Fitted(user_items, features, recipe, seed, threads, scorers, start, models, known)
    table = fitted.blended(recipe)
    fitted.drop_tables()
    settled = fitted.settled_spectrum() if beside is None else beside.settled.whole()
    return table, settled, learned_by(fitted, recipe, settled)


def same_spectra(recipe: Recipe, other: Recipe) -> bool:
    """Whether two recipes ask for the same singular vectors of the same data.

    Narrow ones are not looked at: a fit leaves fewer of them than it proposes pairs by.
    """
    widths = _widths(recipe)
    of_features = [[weight > 0 for weight in each.feature_weights] for each in (recipe, other)]
    wide = bool(widths) and min(widths.values()) >= SETTLED_DIMENSIONS
    return wide and widths == _widths(other) and of_features[0] == of_features[1]


def _widths(recipe: Recipe) -> dict[tuple[float, float], int]:
    """The dimensions of each spectrum by its exponents: the widest that a scorer asks for."""
    return {
        (scorer.row_exponent, scorer.item_exponent): scorer.dimensions
        for scorer, _ in sorted(recipe.weights, key=lambda both: both[0].dimensions)
        if scorer.kind == "spectral"
    }


def learned_by(fitted: Fitted, recipe: Recipe, settled: Spectral) -> Learned | None:
    """What is needed to go on from a finished fit; None if it cannot be brought up to date."""
    kinds = {scorer.kind for scorer, _ in recipe.weights}
    if kinds.isdisjoint(REGRESSIONS) or not kinds.issubset(TARGET_BY_TARGET):
        return None
    wanted = _widths(recipe)
    return Learned(
        exponents=tuple(wanted),
        spectra=tuple(Halved.of(fitted.spectrum(*key, wanted[key])) for key in wanted),
        settled=Halved.of(settled),
        spreads=tuple(fitted.spreads[scorer] for scorer, _ in recipe.weights),
    )
