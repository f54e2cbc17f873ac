"""The trial: a model of this refresh, fitted without the parts that are held back.

It has seen neither the *select* part nor the *gate* part. Profiles are learned by how well it finds
the first, and gates judge by how well it finds the second. It is fitted once, with the recipe that
was chosen, and ranks with the same code as a release.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from scipy.sparse import csr_array

from embeddings.item_item.fitting import Learned, same_spectra
from embeddings.item_item.recipe import RIDGE, Recipe, Scorer
from graph.arrays import I64
from graph.domains import Domains
from graph.snapshot import GraphSnapshot
from graph.weighted import WeightedGraph
from graph.weighting import Weighting, weigh
from recommender.learning.build import Choice, Preset, RefreshConfig, Say, build
from recommender.learning.fold_in_arrays import with_new_items
from recommender.learning.going_on import FIT, TRIAL, TYPES, Before, Fit, changes_since
from recommender.learning.held_parts import features_of
from recommender.learning.parts import Parts
from recommender.learning.split import GATE, SELECT
from recommender.learning.writing import write
from recommender.releases.steps import Steps
from recommender.serving.recommend import Recommender

MOST_USERS = 3_000  # users whose lists are judged


@dataclass(frozen=True)
class Made:
    """How a release ranks: all that is needed to fit the same model to other data."""

    recipe: Recipe
    weighting: Weighting
    preset: Preset


@dataclass(frozen=True)
class Wanted:
    """The pairs of one part, which the model has to find."""

    users: I64  # (b,) rows of users with a pair to find and with a history to rank by
    truth: csr_array  # (u, i) 1 for each pair held back


@dataclass(frozen=True)
class Trial:
    """A model and the held-back pairs that it has to find."""

    made: Made
    snapshot: GraphSnapshot  # without the parts held back
    graph: WeightedGraph
    recommender: Recommender
    select: Wanted
    gate: Wanted


def fit_trial(
    fit: GraphSnapshot,
    parts: Parts,
    domains: Domains,
    config: RefreshConfig,
    made: Made,
    steps: Steps,
    name: str = TRIAL,
    before: Before | None = None,
    beside: Trial | None = None,
    *,
    now: int,
    say: Say,
) -> Trial:
    """Fit the recipe that was chosen for all of the data to the fit part alone.

    Args:
        fit: what may be learned from, see `Parts.fit`.
        parts: those of the whole snapshot.
        domains: those of the whole snapshot; the trial uses them, too.
        config: of the refresh; a trial never trains networks.
        made: the recipe and the weighting.
        steps: of the refresh, where the trial's release is kept.
        name: of this step.
        before: the last trial, to go on from; None: everything is fitted.
        beside: another trial of this refresh. What both find in the same way is taken from it.
        now: seconds since 1970.
        say: called with the name of each step.
    """
    graph = weigh(fit, made.weighting, now, domains)
    say("fitting the trial: the same model without the held-back part")
    preset: Preset = "fast" if made.preset == "fast" else "default"
    plain = replace(config, preset=preset, weighting=made.weighting)
    recipe = _fitting(without_networks(made.recipe), len(features_of(graph)))

    def written(folder: Path) -> None:
        changes = changes_since(before, fit, graph) if before else None
        learned = _learned(beside, recipe, made.weighting) if beside else None
        built = build(
            fit, graph, plain, _quiet, choice=Choice(recipe), changes=changes, beside=learned
        )
        built = with_new_items(built, fit, graph, _quiet, config.threads)
        write(folder, built, fit, plain, now=now)
        if built.fit is not None and name == TRIAL:
            Steps(folder, TYPES).value(FIT, lambda: built.fit)

    release = steps.release(name, written)
    known = np.diff(graph.user_items.indptr) > 0
    select, gate = (
        _wanted(parts.of(part, graph.user_items.shape), known, config.seed)
        for part in (SELECT, GATE)
    )
    recommender = Recommender(release, threads=config.threads)
    return Trial(
        made=made, snapshot=fit, graph=graph, recommender=recommender, select=select, gate=gate
    )


def _learned(beside: Trial, recipe: Recipe, weighting: Weighting) -> Learned | None:
    """What the fit of another trial left, if its singular vectors are those of this recipe."""
    its = made_of(beside.recommender.release.manifest)
    if its is None or its.weighting != weighting or not same_spectra(its.recipe, recipe):
        return None
    fit = Steps(beside.recommender.release.folder, TYPES).kept(FIT)
    return fit.learned if isinstance(fit, Fit) else None


def made_of(manifest: Mapping[str, Any]) -> Made | None:
    """The recipe of a published release; None when this version cannot fit it again."""
    try:
        stored = manifest["recipe"]
        weights = tuple((Scorer(**scorer), float(weight)) for scorer, weight in stored["weights"])
        recipe = Recipe(
            **{**stored, "weights": weights, "feature_weights": tuple(stored["feature_weights"])}
        )
        weighting = Weighting.from_json(manifest["config"]["weighting"])
        preset = cast("Preset", manifest["config"]["preset"])
        return Made(recipe, weighting, preset)
    except (KeyError, TypeError, ValueError):
        return None


def without_networks(recipe: Recipe) -> Recipe:
    """The recipe without trained networks: training them again would cost a trial too much."""
    kept = tuple((scorer, w) for scorer, w in recipe.weights if scorer.kind != "learned")
    return replace(recipe, weights=kept or ((RIDGE, 1.0),), sequence_weight=0.0)


def _fitting(recipe: Recipe, features: int) -> Recipe:
    """The recipe with a weight for each of today's features; a new feature gets the weight 1.

    The last release may have been made before the catalogue had tags.
    """
    weights = (*recipe.feature_weights, *[1.0] * features)[:features]
    return replace(recipe, feature_weights=weights)


def _wanted(truth: csr_array, known: Any, seed: int) -> Wanted:
    users = np.flatnonzero((np.diff(truth.indptr) > 0) & known).astype(np.int64)
    if len(users) > MOST_USERS:
        rng = np.random.default_rng(seed)
        users = np.sort(rng.choice(users, MOST_USERS, replace=False))
    return Wanted(users, truth)


def _quiet(_: str) -> None:
    """Show nothing: the steps of a trial are not reported."""
