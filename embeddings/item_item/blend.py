"""A single item table from several item-item scores, chosen per data set on held-back parts.

`build_item_table` is the entry. It holds parts back, fits every scorer on the rest, and keeps what
raises NDCG@20 + Recall@20 on those parts. First the weights of features are chosen, then scorers
one by one (see `candidates`), then the powers of popularity, then how much the order of a history
counts. What was chosen is fitted again on all data. Only a few numbers are chosen, each from a
short list, so that a small data set is not overfitted.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy import sparse

from embeddings.hold_out import hold_back
from embeddings.item_item.candidates import Preset, Quality, Say, candidates, mean_quality
from embeddings.item_item.held_back import HeldBack, Trial, without
from embeddings.item_item.item_table import ItemTable, strongest
from embeddings.item_item.recency import DRAWS, RecencyJudge, order_tells
from embeddings.item_item.scorers import (
    QUADRATIC_ITEMS,
    RIDGE,
    Feature,
    Fitted,
    LearnedVectors,
    Pair,
    Recipe,
    Scorer,
)
from embeddings.singular import Spectral
from graph.arrays import F32


@dataclass(frozen=True)
class BlendReport:
    """The recipe, and NDCG@20 and Recall@20 on the part held back for each thing tried."""

    recipe: Recipe
    users: int
    tried: dict[str, Quality] = field(default_factory=dict)
    candidates: tuple[Scorer, ...] = ()
    """What went into the blend's choice, the best of a kind first."""

    def as_json(self) -> dict[str, Any]:
        """The report in values that JSON can hold."""
        return {
            "weights": {scorer.name: weight for scorer, weight in self.recipe.weights},
            "scorers": [scorer.as_json() for scorer, _ in self.recipe.weights],
            "candidates": [scorer.as_json() for scorer in self.candidates],
            "feature_weights": list(self.recipe.feature_weights),
            "popularity_exponent": self.recipe.popularity_exponent,
            "history_exponent": self.recipe.history_exponent,
            "recency_exponent": self.recipe.recency_exponent,
            "support_width": self.recipe.support_width,
            "table_width": self.recipe.table_width,
            "users": self.users,
            "tried": {name: list(value) for name, value in self.tried.items()},
        }


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


def build_item_table(
    user_items: sparse.csr_matrix,
    features: Sequence[Feature] = (),
    *,
    preset: Preset = "default",
    seed: int = 0,
    progress: Say | None = None,
    held: HeldBack | Sequence[HeldBack] | None = None,
    recipe: Recipe | None = None,
    threads: int = 1,
    start: F32 | None = None,
    learned: Sequence[LearnedVectors] = (),
    unseen: sparse.csr_matrix | None = None,
) -> tuple[ItemTable, Spectral, BlendReport]:
    """Fit, choose and fold item-item scores into one table; weights positive, float32.

    `user_items` (u, i) is all that may be learned from. `held` is what is held back while choosing,
    in one way or in several that are averaged (only the first where there are `learned` vectors);
    without it a fifth of each user's entries is drawn by `seed`. A `recipe` skips choosing. `start`
    (i, d) is where the search for singular vectors begins in the last fit, see `spectrum.spectrum`;
    choosing never sees it, nor the entries that `unseen` (u, i) has. `learned` vectors are further
    scorers. Memory grows with items x (support + table width) and the widest spectrum. An empty
    matrix gives a table of padding.
    Raises ValueError when shapes do not fit.
    """
    say = progress or (lambda _step: None)
    users = sparse.csr_matrix(user_items, dtype=np.float32)
    report = BlendReport(recipe, 0) if recipe else None
    if report is None:
        report = choose_recipe(
            users, features, preset=preset, seed=seed, say=say, held=held, threads=threads,
            learned=learned, unseen=unseen,
        )  # fmt: skip
    say("fitting the chosen scorers on everything")
    scorers = [scorer for scorer, _ in report.recipe.weights]
    fitted = Fitted(
        users, features, report.recipe, seed, threads, scorers, start,
        {vectors.name: vectors.of_all for vectors in learned},
    )  # fmt: skip
    blended = np.zeros(fitted.supports.shape, np.float32)
    for scorer, weight in report.recipe.weights:
        blended += np.float32(weight) * fitted.scores(scorer)
    blended = fitted.calibrated(blended, report.recipe)
    table = strongest(fitted.supports, blended, report.recipe.table_width)
    return table, fitted.settled_spectrum(), report


def choose_recipe(
    user_items: sparse.csr_matrix,
    features: Sequence[Feature] = (),
    *,
    preset: Preset = "default",
    seed: int = 0,
    say: Say = lambda _step: None,
    held: HeldBack | Sequence[HeldBack] | None = None,
    threads: int = 1,
    learned: Sequence[LearnedVectors] = (),
    unseen: sparse.csr_matrix | None = None,
) -> BlendReport:
    """Choose a recipe on what is held back; the arguments are those of `build_item_table`."""
    users = sparse.csr_matrix(user_items, dtype=np.float32)
    ways = [held] if isinstance(held, HeldBack) else list(held or ())
    ways = ways or [HeldBack(hold_back(users, seed)[1])]
    known = users if unseen is None else without(users, unseen)
    return fit_blend(
        known, ways[:1] if learned else ways, features, preset=preset, seed=seed, say=say,
        threads=threads, learned={vectors.name: vectors.without_select for vectors in learned},
    )  # fmt: skip


def fit_blend(
    users: sparse.csr_matrix,
    held: Sequence[HeldBack],
    features: Sequence[Feature] = (),
    *,
    preset: Preset = "default",
    seed: int = 0,
    say: Say = lambda _step: None,
    sample: int = 4000,
    threads: int = 1,
    learned: Mapping[str, Pair] | None = None,
) -> BlendReport:
    """Choose a recipe by NDCG@20 + Recall@20 of what is held back from `users` (u, i).

    `sample` users judge, fewer in the preset fast. `learned` vectors come from the rest alone.
    """
    models = dict(learned or {})
    recipe = _neutral(features, preset, users.shape[1])
    sample = sample if preset == "default" else sample // 2
    trials = [Trial(users, part, features, sample, seed, threads) for part in held]
    judges = sum(trial.users for trial in trials)
    if judges < FEWEST_USERS:
        return BlendReport(recipe, judges)
    tried: dict[str, Quality] = {}

    def fitted_under(recipe: Recipe) -> list[Fitted]:
        return [
            Fitted(trial.fit, trial.features, recipe, seed, threads, (), learned=models)
            for trial in trials
        ]

    def by_ridge(recipe: Recipe) -> Quality:
        tables = [model.table(RIDGE) for model in fitted_under(recipe)]
        return mean_quality(
            [
                trial.quick(table.neighbours, table.scores)
                for trial, table in zip(trials, tables, strict=True)
            ]
        )

    for number in range(len(features)):
        recipe = _with_best_weight(recipe, features[number], number, by_ridge, tried)
        say(f"{features[number].name}: weight {recipe.feature_weights[number]:g}")

    fitted = fitted_under(recipe)
    scorers = candidates(trials, fitted, preset, tried, say)
    scorers += tuple(Scorer("learned", model=name) for name in models)
    for model in fitted:
        model.settle(scorers)

    def judged(scores: Sequence[F32]) -> Quality:
        return mean_quality(
            [
                trial(model.supports, own)
                for trial, model, own in zip(trials, fitted, scores, strict=True)
            ]
        )

    parts = {scorer: [model.scores(scorer) for model in fitted] for scorer in scorers}
    weights = _take_up(parts, judged, tried, say)
    recipe = replace(recipe, weights=tuple(weights.items()))
    say("blend: " + ", ".join(f"{scorer.name} x {weight:g}" for scorer, weight in recipe.weights))

    blended = sum_scores(parts, weights)
    del parts

    def calibrated(recipe: Recipe) -> list[F32]:
        return [
            model.calibrated(scores, recipe) for model, scores in zip(fitted, blended, strict=True)
        ]

    recipe = _with_best_exponents(recipe, lambda variant: judged(calibrated(variant)), tried)
    say(f"exponents: history {recipe.history_exponent:g}, target {recipe.popularity_exponent:g}")
    if all(trial.by_order for trial in trials):
        scores = calibrated(recipe)
        recipe = _with_best_recency(
            recipe,
            lambda recipe: mean_quality(
                [
                    trial.by_order(model.supports, own, recipe.recency_exponent)
                    for trial, model, own in zip(trials, fitted, scores, strict=True)
                    if trial.by_order
                ]
            ),
            tried,
        )
        by_order = [trial.by_order for trial in trials if trial.by_order]
        exponent = recipe.recency_exponent

        def gain(judges: Sequence[RecencyJudge]) -> float:
            """How many times better histories are with the chosen exponent than without."""
            plain, weighed = (
                sum(
                    mean_quality(
                        [
                            judge(model.supports, own, e)
                            for judge, model, own in zip(judges, fitted, scores, strict=True)
                        ]
                    )
                )
                for e in (0.0, exponent)
            )
            return weighed / plain if plain else 0.0

        by_chance = [gain([trial.by_chance(draw) for trial in trials]) for draw in range(DRAWS)]
        if not order_tells(gain(by_order), by_chance):
            say("recency: the same histories shuffled do as well, so their order tells nothing")
            recipe = replace(recipe, recency_exponent=0.0)
        say(f"recency: exponent {recipe.recency_exponent:g}")
    return BlendReport(recipe, judges, tried, scorers)


def _with_best_weight(
    recipe: Recipe,
    feature: Feature,
    number: int,
    quality: Callable[[Recipe], Quality],
    tried: dict[str, Quality],
) -> Recipe:
    """The recipe with the best weight of one feature, found by climbing from 1."""

    def at(factor: float) -> tuple[Recipe, float]:
        weights = list(recipe.feature_weights)
        weights[number] = factor * feature.weight
        variant = replace(recipe, feature_weights=tuple(weights))
        result = tried[f"{feature.name} x {weights[number]:g}"] = quality(variant)
        return variant, sum(result)

    middle = FEATURE_FACTORS.index(1.0)
    start = best = at(1.0)
    for side in (FEATURE_FACTORS[middle + 1 :], FEATURE_FACTORS[:middle][::-1]):
        for factor in side:
            further = at(factor)
            if further[1] <= best[1]:
                break
            best = further
        if best is not start:
            break
    return best[0]


def _with_best_exponents(
    recipe: Recipe,
    quality: Callable[[Recipe], Quality],
    tried: dict[str, Quality],
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
    quality: Callable[[Recipe], Quality],
    tried: dict[str, Quality],
) -> Recipe:
    recent = {e: replace(recipe, recency_exponent=e) for e in RECENCY}
    return _worthiest(recent, "recency", RECENCY_COST, quality, tried, RECENCY_EXPONENT)


def _worthiest(
    variants: dict[float, Recipe],
    name: str,
    cost: float,
    quality: Callable[[Recipe], Quality],
    tried: dict[str, Quality],
    expected: float = 0.0,
) -> Recipe:
    worth = {}
    for exponent, variant in variants.items():
        tried[f"{name} {exponent:+g}"] = result = quality(variant)
        worth[exponent] = sum(result) * (1 - cost * (exponent - expected) ** 2)
    return variants[max(worth, key=lambda exponent: worth[exponent])]


def sum_scores(parts: Mapping[Scorer, Sequence[F32]], weights: Mapping[Scorer, float]) -> list[F32]:
    """For each way of holding back the weighted sum of (i, c) scores divided by their spread."""
    totals = [np.zeros_like(scores) for scores in next(iter(parts.values()))]
    for scorer, weight in weights.items():
        for way, scores in enumerate(parts[scorer]):
            totals[way] += np.float32(weight) * scores
    return totals


def _take_up(
    parts: Mapping[Scorer, Sequence[F32]],
    judged: Callable[[Sequence[F32]], Quality],
    tried: dict[str, Quality],
    say: Say,
) -> dict[Scorer, float]:
    """Start from the best scorer, then add the best of each other kind that raises quality.

    A part held back at random understates what will be popular later, which a spectrum is good at.
    So its weight is drawn towards `SPECTRUM_WEIGHT`, which is near the best value both for data
    that drifts and for data that does not.
    """
    alone = {}
    for scorer, scores in parts.items():
        tried[scorer.name] = judged(scores)
        alone[scorer] = sum(tried[scorer.name])
        say(f"{scorer.name}: NDCG@20 {tried[scorer.name][0]:.4f}")
    first = max(alone, key=lambda scorer: alone[scorer])
    chosen, best = {first: 1.0}, alone[first]
    kinds = {scorer: ("ridge" if scorer.kind == "exact" else scorer.kind, scorer.model)
             for scorer in parts}  # fmt: skip
    for kind in dict.fromkeys(kind for kind in kinds.values() if kind != kinds[first]):
        scorer = max(
            (scorer for scorer in parts if kinds[scorer] == kind), key=lambda scorer: alone[scorer]
        )
        results = {0.0: best}
        for weight in WEIGHTS:
            result = judged(sum_scores(parts, chosen | {scorer: weight}))
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


def _neutral(features: Sequence[Feature], preset: Preset, items: int) -> Recipe:
    width = 200 if preset == "fast" else 300
    if items > QUADRATIC_ITEMS:
        width = 100
    feature_weights = tuple(feature.weight for feature in features)
    return Recipe(((RIDGE, 1.0),), feature_weights, 0.0, width, width)
