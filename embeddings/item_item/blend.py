"""A single item table from several item-item scores, chosen per data set on held-back parts.

`build_item_table` is the entry. It holds parts back, fits every scorer on the rest, and keeps what
raises NDCG@20 + Recall@20 on those parts. First the weights of features are chosen, then scorers
one by one (see `candidates`), then the powers of popularity, then how the order of a history is
read (see `by_order`). What was chosen is fitted again on all data. Only a few numbers are chosen,
each from a short list, so that a small data set is not overfitted.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy import sparse

from embeddings.hold_out import hold_back
from embeddings.item_item.by_order import way_of_order
from embeddings.item_item.candidates import USUAL, Preset, Quality, Say, candidates, wide_spectrum
from embeddings.item_item.few import way_of_few
from embeddings.item_item.fitting import fit_table
from embeddings.item_item.follows import with_follows
from embeddings.item_item.held_back import HeldBack, Trial, features_among, without
from embeddings.item_item.item_table import ItemTable
from embeddings.item_item.mixture import ORDERED, UNORDERED, mixture, usual_mixture
from embeddings.item_item.recipe import (
    BY_PAIRS,
    RIDGE_WIDTH,
    Recipe,
    Scorer,
    simple_scorer,
    usual_ridge,
)
from embeddings.item_item.scorers import (
    QUADRATIC_ITEMS,
    Feature,
    Fitted,
    LearnedVectors,
    Pair,
    scaled,
)
from embeddings.item_item.side_by_side import Targets, summed
from embeddings.item_item.table_settings import TableSettings
from embeddings.item_item.worth import Findings, clearly_better, together, worthiest
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
            "follows_weight": self.recipe.follows_weight,
            "follows_steepness": self.recipe.follows_steepness,
            "few_items": self.recipe.few_items,
            "few_popularity": self.recipe.few_popularity,
            "word_weight": self.recipe.word_weight,
            "support_width": self.recipe.support_width,
            "table_width": self.recipe.table_width,
            "users": self.users,
            "tried": {name: list(value) for name, value in self.tried.items()},
        }


FEATURE_FACTORS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Factors of a feature's weight: tried from 1 upwards, else downwards, while quality rises."""
HISTORY = (-0.3, -0.2, -0.1, 0.0, 0.1)
POPULARITY = (-0.15, -0.1, -0.05, 0.0, 0.05, 0.1)
HISTORY_COST, POPULARITY_COST = 0.3, 2.0
"""An exponent e must raise quality by cost x e^2, because popularity changes with time."""
HISTORY_EXPECTED = -0.1
"""Expected of a table that begins with a ridge or item kNN; of others 0. Another exponent e must
raise quality by cost x (e + .1)^2."""
FEWEST_USERS = 50
"""With fewer users to judge by, however often parts are drawn, what is usual is kept."""


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
    order: sparse.csr_matrix | None = None,
) -> tuple[ItemTable, Spectral, BlendReport]:
    """Fit, choose and fold item-item scores into one table; weights positive, float32.

    `user_items` (u, i) is all that may be learned from. `held` is what is held back while choosing,
    in one way, or in several that are averaged (if there are `learned` vectors only the first is
    used); without it a fifth of each user's entries is drawn by `seed`. A `recipe` skips choosing.
    `start` (i, d) is where the search for singular vectors begins in the last fit, see
    `spectrum.spectrum`; choosing never sees it, nor the entries that `unseen` (u, i) has. `learned`
    vectors are further scorers. `order` (u, i) says when each entry came, see `recency.order_of`;
    of it the table of what follows what is made, if the recipe gives that a weight. Memory grows
    with items x (support + table width) and the widest spectrum. An empty matrix gives a table of
    padding. Raises ValueError when shapes do not fit.
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
    table, settled, _ = fit_table(
        users, features, report.recipe, seed=seed, threads=threads, start=start, learned=learned
    )
    return with_follows(table, users, order, report.recipe, threads), settled, report


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
    settings: TableSettings = USUAL,
) -> BlendReport:
    """Choose a recipe on what is held back; the arguments are those of `build_item_table`.

    What `settings` set is not chosen.
    """
    users = sparse.csr_matrix(user_items, dtype=np.float32)
    ways = [held] if isinstance(held, HeldBack) else list(held or ())
    ways = ways or [HeldBack(hold_back(users, seed)[1])]
    known = users if unseen is None else without(users, unseen)
    return fit_blend(
        known, ways[:1] if learned else ways, features, preset=preset, seed=seed, say=say,
        threads=threads, learned={vectors.name: vectors.without_select for vectors in learned},
        settings=settings,
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
    settings: TableSettings = USUAL,
) -> BlendReport:
    """Choose a recipe by NDCG@20 + Recall@20 of what is held back from `users` (u, i).

    `sample` users judge, fewer in the preset fast. `learned` vectors come from the rest alone.
    """
    recipe = _neutral(features, preset, users, settings)
    ((ridge, _),) = recipe.weights
    users, held, features, models = _in_use(users, held, features, learned or {})
    sample = sample if preset == "default" else sample // 2
    trials = [Trial(users, part, features, sample, seed, threads) for part in held]
    judges = sum(trial.users for trial in trials)
    usual = ORDERED if all(trial.by_order for trial in trials) else UNORDERED
    if max(trial.users for trial in trials) < FEWEST_USERS:
        both = usual_mixture(ridge, wide_spectrum(preset, settings), usual.expected)
        return BlendReport(replace(recipe, weights=both), judges, candidates=tuple(dict(both)))
    tried: dict[str, Quality] = {}

    def fitted_under(recipe: Recipe) -> list[Fitted]:
        return [
            Fitted(trial.fit, trial.features, recipe, seed, threads, (), learned=models)
            for trial in trials
        ]

    def by_ridge(recipe: Recipe) -> Findings:
        findings = []
        for trial, model in zip(trials, fitted_under(recipe), strict=True):
            (table,) = model.ridges([ridge], trial.searched)
            findings.append(trial.quick(table.neighbours, table.scores))
        return together(findings)

    for number in range(len(features)):
        recipe = _with_best_weight(recipe, features[number], number, by_ridge, tried)
        say(f"{features[number].name}: weight {recipe.feature_weights[number]:g}")

    fitted = fitted_under(recipe)
    scorers = candidates(trials, fitted, preset, tried, say, ridge, settings)
    scorers += tuple(Scorer("learned", model=name) for name in models)
    for model in fitted:
        model.settle(scorers)

    parts = [
        model.side_by_side(scorers, trial.item_rows)
        for trial, model in zip(trials, fitted, strict=True)
    ]
    mixed = _mixed(scorers, trials, fitted, parts)
    weights = mixture(scorers, mixed, tried, say, usual, settings.network_weight)
    recipe = replace(recipe, weights=tuple(weights.items()))
    say("blend: " + ", ".join(f"{scorer.name} x {weight:g}" for scorer, weight in recipe.weights))
    amounts = [weights.get(scorer, 0.0) for scorer in scorers]
    targets = [own for own, _ in parts]
    blended = [summed(scores, amounts) for _, scores in parts]
    del parts

    of_popularity = {e: mixed(weights, e) for e in POPULARITY}
    recipe = _with_powers(recipe, of_popularity, trials, fitted, targets, blended, tried, say)
    scores = [_calibrated(*each, recipe) for each in zip(fitted, targets, blended, strict=True)]
    recipe = _with_readings(recipe, trials, fitted, targets, scores, tried, say, threads)
    return BlendReport(recipe, judges, tried, scorers)


def _mixed(
    scorers: Sequence[Scorer],
    trials: Sequence[Trial],
    fitted: Sequence[Fitted],
    parts: Sequence[tuple[Targets, F32]],
) -> Callable[..., Findings]:
    """What mixtures of scorers find, by their weights and a power of targets' popularity."""
    mixtures = [trial.mixtures(*part) for trial, part in zip(trials, parts, strict=True)]

    def mixed(weights: Mapping[Scorer, float], exponent: float = 0.0) -> Findings:
        amounts = np.array([weights.get(scorer, 0.0) for scorer in scorers], np.float32)
        return together(
            [
                of_way(amounts, (model.popularity**exponent).astype(np.float32))
                for of_way, model in zip(mixtures, fitted, strict=True)
            ]
        )

    return mixed


def _with_powers(
    recipe: Recipe,
    of_popularity: Mapping[float, Findings],
    trials: Sequence[Trial],
    fitted: Sequence[Fitted],
    targets: Sequence[Targets],
    blended: Sequence[F32],
    tried: dict[str, Quality],
    say: Say,
) -> Recipe:
    """The recipe with powers of popularity: first of targets, then of history items."""
    exponent = _noted("popularity", of_popularity, 0.0, POPULARITY_COST, tried)
    recipe = replace(recipe, popularity_exponent=exponent)
    scores = [_calibrated(*each, recipe) for each in zip(fitted, targets, blended, strict=True)]
    histories = [
        trial.by_popularity(own, values, model.popularity, HISTORY)
        for trial, model, own, values in zip(trials, fitted, targets, scores, strict=True)
    ]
    of_history = dict(zip(HISTORY, map(together, zip(*histories, strict=True)), strict=True))
    likely = HISTORY_EXPECTED if recipe.weights[0][0].kind in BY_PAIRS else 0.0
    exponent = _noted("history", of_history, likely, HISTORY_COST, tried)
    say(f"exponents: history {exponent:g}, target {recipe.popularity_exponent:g}")
    return replace(recipe, history_exponent=exponent)


def _with_readings(
    recipe: Recipe,
    trials: Sequence[Trial],
    fitted: Sequence[Fitted],
    targets: Sequence[Targets],
    scores: Sequence[F32],
    tried: dict[str, Quality],
    say: Say,
    threads: int,
) -> Recipe:
    """The recipe with how histories are read: by their order, and those of few items."""
    if all(trial.by_order for trial in trials):
        way = way_of_order(trials, targets, scores, tried, say)
        recipe = replace(
            recipe, recency_exponent=way.recency, follows_weight=way.weight,
            follows_steepness=way.steepness,
        )  # fmt: skip
    if simple_scorer(recipe):  # that is what lists say they were made by
        return recipe
    few = way_of_few(trials, fitted, targets, scores, recipe, tried, say, threads)
    return replace(recipe, few_items=few.items, few_popularity=few.popularity)


def _calibrated(model: Fitted, targets: Targets, blended: F32, recipe: Recipe) -> F32:
    """(r, c) scores times the recipe's powers of both items' popularity."""
    of_target, of_history = model.powers(recipe)
    return scaled(blended.copy(), targets.supports, of_target, of_history[targets.items])


def _in_use(
    users: sparse.csr_matrix,
    held: Sequence[HeldBack],
    features: Sequence[Feature],
    learned: Mapping[str, Pair],
) -> tuple[sparse.csr_matrix, list[HeldBack], list[Feature], dict[str, Pair]]:
    """All of it for the items that somebody has: no other item is asked for while choosing."""
    items = np.flatnonzero(users.getnnz(axis=0))
    if len(items) == users.shape[1]:
        return users, list(held), list(features), dict(learned)
    models = {name: Pair(pair.inputs[items], pair.outputs[items]) for name, pair in learned.items()}
    ways = [way.among(items) for way in held]
    return sparse.csr_matrix(users[:, items]), ways, features_among(features, items), models


def _with_best_weight(
    recipe: Recipe,
    feature: Feature,
    number: int,
    judged: Callable[[Recipe], Findings],
    tried: dict[str, Quality],
) -> Recipe:
    """The recipe with the best weight of a feature, found by climbing from 1."""

    def at(factor: float) -> tuple[Recipe, Findings]:
        weights = list(recipe.feature_weights)
        weights[number] = factor * feature.weight
        variant = replace(recipe, feature_weights=tuple(weights))
        findings = judged(variant)
        tried[f"{feature.name} x {weights[number]:g}"] = findings.quality
        return variant, findings

    middle = FEATURE_FACTORS.index(1.0)
    start = best = at(1.0)
    for side in (FEATURE_FACTORS[middle + 1 :], FEATURE_FACTORS[:middle][::-1]):
        for factor in side:
            further = at(factor)
            if not clearly_better(further[1], best[1]):
                break
            best = further
        if best is not start:
            break
    return best[0]


def _noted(
    name: str,
    findings: Mapping[float, Findings],
    expected: float,
    cost: float,
    tried: dict[str, Quality],
) -> float:
    """The worthiest exponent; the farther from the expected one, the more it must gain."""
    tried |= {f"{name} {exponent:+g}": model.quality for exponent, model in findings.items()}
    return worthiest(findings, expected, lambda exponent: cost * (exponent - expected) ** 2)


def support_width(preset: Preset, items: int) -> int:
    """How many targets each item has in a table, unless scorers add theirs."""
    if items > QUADRATIC_ITEMS:
        return 100
    return 200 if preset == "fast" else 300


def _neutral(
    features: Sequence[Feature], preset: Preset, users: sparse.csr_matrix, settings: TableSettings
) -> Recipe:
    width = settings.width or support_width(preset, users.shape[1])
    ridge = usual_ridge(int(np.count_nonzero(np.diff(users.indptr))))
    if settings.penalty is not None:
        ridge = replace(ridge, strength=settings.penalty)
    return Recipe(
        ((ridge, 1.0),),
        tuple(feature.weight for feature in features),
        support_width=width,
        table_width=width,
        ridge_width=settings.neighbours or RIDGE_WIDTH,
    )
