"""One item table from several item-item scores, chosen per data set on a part held back.

`build_item_table` is the entry: cut a part off, fit every scorer on the rest, take up what raises
NDCG@20 + Recall@20 on the cut part (features' weights first, then scorers one by one, then the
powers of popularity, then what the order of a history weighs), and fit the chosen ones again on
everything. Few numbers are chosen, each from a short list, so that a small data set is not learned
by heart.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from scipy import sparse

from embeddings.item_item.graph_filter import Floats
from embeddings.item_item.item_table import ItemTable, strongest
from embeddings.item_item.judge import Judge
from embeddings.item_item.recency import recency_judge
from embeddings.item_item.scorers import (
    QUADRATIC_ITEMS,
    Feature,
    Fitted,
    LearnedVectors,
    Pair,
    Recipe,
    Scorer,
)
from embeddings.item_item.spectrum import Spectral

Preset = Literal["fast", "default"]
Say = Callable[[str], None]


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
            "history_exponent": self.recipe.history_exponent,
            "recency_exponent": self.recipe.recency_exponent,
            "support_width": self.recipe.support_width,
            "table_width": self.recipe.table_width,
            "users": self.users,
            "tried": {name: list(value) for name, value in self.tried.items()},
        }


RIDGE = Scorer("ridge", 0.2, 0.3, 10.0)
"""The scorer to begin with, unless another is 1 % better: on four of five data sets it is best."""
FAST = (RIDGE, Scorer("spectral", 0.5, 0.5, 0.5, 256))
DEFAULT = (RIDGE, Scorer("ridge", 0.2, 0.2, 30.0), Scorer("spectral", 0.5, 0.5, 0.5, 768))
FEATURE_FACTORS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Of a feature's weights: searched from 1 upwards, else downwards, as long as quality rises."""
WEIGHTS = (0.15, 0.3, 0.5, 0.75, 1.0, 1.5)
SPECTRUM_WEIGHT, SPECTRUM_COST = 0.4, 0.012
"""What a spectrum weighs beside a ridge, as far as is known beforehand; another weight w must
raise quality by cost x log(w / .4)^2, and none at all counts as .1."""
HISTORY = (-0.3, -0.2, -0.1, 0.0, 0.1)
POPULARITY = (-0.15, -0.1, -0.05, 0.0, 0.05, 0.1)
HISTORY_COST, POPULARITY_COST = 0.3, 2.0
"""An exponent e must raise quality by cost e^2: popularity is what changes with time."""
RECENCY = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0)
RECENCY_EXPONENT, RECENCY_COST = 0.3, 0.05
"""Of a history's order, see `recency.weighed`; as far as is known beforehand it is .3, and another
exponent e must raise quality by cost x (e - .3)^2."""
FEWEST_USERS = 50
"""Below this many users to judge by, the first scorer and neutral weights stand."""


@dataclass(frozen=True)
class HeldBack:
    """What a recipe is chosen by, beside what is learned from."""

    select: sparse.csr_matrix
    """(u, i) the entries of the likes that are held back and to be found."""
    seen: sparse.csr_matrix | None = None
    """(u, i) what users have seen beside what they like: masked, as it is in serving."""
    features: Sequence[Feature] | None = None
    """These stand for the others, as many and in the same order: without what select gives away."""
    order: sparse.csr_matrix | None = None
    """(u, i) when each like came, see `recency.order_of`; None: nobody knows."""


def build_item_table(
    user_items: sparse.csr_matrix,
    features: Sequence[Feature] = (),
    *,
    preset: Preset = "default",
    seed: int = 0,
    progress: Say | None = None,
    held: HeldBack | None = None,
    recipe: Recipe | None = None,
    threads: int = 1,
    start: Floats | None = None,
    learned: Sequence[LearnedVectors] = (),
) -> tuple[ItemTable, Spectral, BlendReport]:
    """Fit, choose and fold item-item scores into one table; weights positive, float32.

    `user_items` (u, i) is all that may be learned from. `held` is what is held back while choosing;
    without it a fifth of each user's entries is drawn by `seed`. A `recipe` skips choosing. `start`
    (i, d) is where the search for singular vectors begins in the last fit, see `spectrum.spectrum`;
    choosing never sees it. `learned` vectors are further scorers. Memory grows with items x
    (support + table width) and the widest spectrum. An empty matrix gives a table of padding.
    Raises ValueError when shapes do not fit.
    """
    say = progress or (lambda _step: None)
    users = sparse.csr_matrix(user_items, dtype=np.float32)
    report = BlendReport(recipe, 0) if recipe else None
    if report is None:
        held = held or HeldBack(hold_back(users, seed)[1])
        report = fit_blend(
            without(users, held.select), held, features, preset=preset, seed=seed, say=say,
            threads=threads, learned={one.name: one.without_select for one in learned},
        )  # fmt: skip
    say("fitting the chosen scorers on everything")
    scorers = [scorer for scorer, _ in report.recipe.weights]
    fitted = Fitted(
        users, features, report.recipe, seed, threads, scorers, start,
        {one.name: one.of_all for one in learned},
    )  # fmt: skip
    blended = np.zeros(fitted.supports.shape, np.float32)
    for scorer, weight in report.recipe.weights:
        blended += np.float32(weight) * fitted.scores(scorer)
    blended = fitted.calibrated(blended, report.recipe)
    table = strongest(fitted.supports, blended, report.recipe.table_width)
    return table, fitted.settled_spectrum(), report


def fit_blend(
    fit: sparse.csr_matrix,
    held: HeldBack,
    features: Sequence[Feature] = (),
    *,
    preset: Preset = "default",
    seed: int = 0,
    say: Say = lambda _step: None,
    sample: int = 4000,
    threads: int = 1,
    learned: Mapping[str, Pair] | None = None,
) -> BlendReport:
    """Choose a recipe by NDCG@20 + Recall@20 of the select part given `fit` (u, i).

    `sample` users judge, fewer in the preset fast. `learned` vectors come from `fit` alone.
    """
    if held.features is not None:
        features = held.features
    models = dict(learned or {})
    scorers: tuple[Scorer, ...] = DEFAULT if preset == "default" else FAST
    recipe = _neutral(scorers, features, preset, fit.shape[1])
    sample = sample if preset == "default" else sample // 2
    judge = Judge(fit, held.select, sample, seed, threads, held.seen)
    if judge.users.size < FEWEST_USERS:
        return BlendReport(recipe, int(judge.users.size))
    tried: dict[str, tuple[float, float]] = {}

    def by_ridge(recipe: Recipe) -> tuple[float, float]:
        alone = replace(recipe, proposal_dimensions=0)
        first = Fitted(fit, features, alone, seed, threads, (RIDGE,))
        return judge(first.supports, first.scores(RIDGE))

    for place in range(len(features)):
        recipe = _with_best_weight(recipe, features[place], place, by_ridge, tried)
        say(f"{features[place].name}: weight {recipe.feature_weights[place]:g}")

    scorers += tuple(Scorer("learned", model=name) for name in models)
    fitted = Fitted(fit, features, recipe, seed, threads, scorers, learned=models)
    parts = {}
    for scorer in scorers:
        parts[scorer] = fitted.scores(scorer)
        tried[scorer.name] = judge(fitted.supports, parts[scorer])
        say(f"{scorer.name}: NDCG@20 {tried[scorer.name][0]:.4f}")
    weights = _take_up(parts, lambda blended: judge(fitted.supports, blended), tried)
    recipe = replace(recipe, weights=tuple(weights.items()))
    say("blend: " + ", ".join(f"{scorer.name} x {weight:g}" for scorer, weight in recipe.weights))

    blended = sum_scores(parts, weights)
    del parts

    def quality(recipe: Recipe) -> tuple[float, float]:
        return judge(fitted.supports, fitted.calibrated(blended, recipe))

    recipe = _with_best_exponents(recipe, quality, tried)
    say(f"exponents: history {recipe.history_exponent:g}, target {recipe.popularity_exponent:g}")
    if held.order is not None:
        by_order = recency_judge(fit, held.select, held.order, sample, seed, threads, held.seen)
        scores = fitted.calibrated(blended, recipe)
        recipe = _with_best_recency(
            recipe, lambda one: by_order(fitted.supports, scores, one.recency_exponent), tried
        )
        say(f"recency: exponent {recipe.recency_exponent:g}")
    return BlendReport(recipe, int(judge.users.size), tried)


def _with_best_weight(
    recipe: Recipe,
    feature: Feature,
    place: int,
    quality: Callable[[Recipe], tuple[float, float]],
    tried: dict[str, tuple[float, float]],
) -> Recipe:
    """The recipe with the weight of one feature that does best, as far as one climbs from 1."""

    def at(factor: float) -> tuple[Recipe, float]:
        weights = list(recipe.feature_weights)
        weights[place] = factor * feature.weight
        variant = replace(recipe, feature_weights=tuple(weights))
        result = tried[f"{feature.name} x {weights[place]:g}"] = quality(variant)
        return variant, sum(result)

    middle = FEATURE_FACTORS.index(1.0)
    start = best = at(1.0)
    for side in (FEATURE_FACTORS[middle + 1 :], FEATURE_FACTORS[:middle][::-1]):
        for factor in side:
            found = at(factor)
            if found[1] <= best[1]:
                break
            best = found
        if best is not start:
            break
    return best[0]


def _with_best_exponents(
    recipe: Recipe,
    quality: Callable[[Recipe], tuple[float, float]],
    tried: dict[str, tuple[float, float]],
) -> Recipe:
    """The recipe with the powers of popularity that do best, first the history's, then the
    target's; dearer the farther from 0.
    """
    history = {e: replace(recipe, history_exponent=e) for e in HISTORY}
    recipe = _worthiest(history, "history", HISTORY_COST, quality, tried)
    target = {e: replace(recipe, popularity_exponent=e) for e in POPULARITY}
    return _worthiest(target, "popularity", POPULARITY_COST, quality, tried)


def _with_best_recency(
    recipe: Recipe,
    quality: Callable[[Recipe], tuple[float, float]],
    tried: dict[str, tuple[float, float]],
) -> Recipe:
    recent = {e: replace(recipe, recency_exponent=e) for e in RECENCY}
    return _worthiest(recent, "recency", RECENCY_COST, quality, tried, RECENCY_EXPONENT)


def _worthiest(
    variants: dict[float, Recipe],
    name: str,
    cost: float,
    quality: Callable[[Recipe], tuple[float, float]],
    tried: dict[str, tuple[float, float]],
    expected: float = 0.0,
) -> Recipe:
    worth = {}
    for exponent, variant in variants.items():
        tried[f"{name} {exponent:+g}"] = result = quality(variant)
        worth[exponent] = sum(result) * (1 - cost * (exponent - expected) ** 2)
    return variants[max(worth, key=lambda exponent: worth[exponent])]


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
    """Start from one scorer, then add the best of each other kind that raises quality.

    The part held back is drawn at random and understates what is popular in the future that is
    served, where a spectrum is strong: so its weight is drawn to `SPECTRUM_WEIGHT`, near which it
    does best on data that drifts and on data that does not.
    """
    first = max(parts, key=lambda one: sum(tried[one.name]) * (1.01 if one == RIDGE else 1))
    chosen = {first: 1.0}
    best = sum(tried[first.name])
    kinds = {scorer: (scorer.kind, scorer.model) for scorer in parts}
    for kind in dict.fromkeys(one for one in kinds.values() if one != kinds[first]):
        own = [scorer for scorer in parts if kinds[scorer] == kind]
        scorer = max(own, key=lambda scorer: sum(tried[scorer.name]))
        base = sum_scores(parts, chosen)
        results = {0.0: best}
        for weight in WEIGHTS:
            result = judge(base + np.float32(weight) * parts[scorer])
            tried[f"+ {scorer.name} x {weight:g}"] = result
            results[weight] = sum(result)
        cost = SPECTRUM_COST if scorer.kind == "spectral" else 0.0
        worth = {
            weight: value * (1 - cost * np.log(max(weight, 0.1) / SPECTRUM_WEIGHT) ** 2)
            for weight, value in results.items()
        }
        weight = max(worth, key=lambda weight: worth[weight])
        if weight:
            chosen[scorer], best = weight, results[weight]
    return chosen


def _neutral(
    scorers: Sequence[Scorer], features: Sequence[Feature], preset: Preset, items: int
) -> Recipe:
    width = 200 if preset == "fast" else 300
    if items > QUADRATIC_ITEMS:
        width = 100
    feature_weights = tuple(feature.weight for feature in features)
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
