"""The trial: the model of this refresh, fitted without the part that is held back to choose by.

Profiles are learned by it, and gates judge by it: what either is told was never seen in fitting.
It is fitted once, by the recipe that was chosen, and served by the code that serves.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from embeddings.item_item.scorers import RIDGE, Recipe
from graph.domains import Domains
from graph.snapshot import GraphSnapshot, drop_pairs
from graph.weighted import WeightedGraph
from graph.weighting import weigh
from recommender.learning.build import RefreshConfig, Say, build
from recommender.learning.fold_in_arrays import with_new_items
from recommender.learning.writing import write
from recommender.measures.split import SELECT, pair_parts, relevant_pairs
from recommender.ranking.candidates import I64
from recommender.releases.publishing import open_release
from recommender.serving.recommend import Recommender

MOST_USERS = 3_000  # whose lists are looked at


@dataclass(frozen=True)
class Trial:
    """A model and what it has to find."""

    snapshot: GraphSnapshot  # without the part held back
    graph: WeightedGraph
    recommender: Recommender
    users: I64  # (b,) rows of users with something to find and something to be known by
    truth: csr_array  # (u, i) 1 for each pair held back


def fit_trial(
    snapshot: GraphSnapshot,
    graph: WeightedGraph,
    domains: Domains,
    config: RefreshConfig,
    recipe: Recipe,
    folder: Path,
    *,
    now: int,
    say: Say,
) -> Trial:
    """Fit a recipe on all but the select part.

    Args:
        snapshot: of everything.
        graph: the same, weighted.
        domains: of its items, which hold for the trial, too.
        config: of the refresh; a trial never trains networks.
        recipe: what was chosen.
        folder: where the trial's release is written; the caller removes it.
        now: seconds since 1970.
        say: hears of each step.
    """
    pairs = relevant_pairs(snapshot, graph.user_items, config.seed)
    selected = pair_parts(pairs) == SELECT
    fit = drop_pairs(snapshot, pairs.users[selected], pairs.items[selected])
    fit_graph = weigh(fit, config.weighting, now, domains)
    users = np.unique(pairs.users[selected])
    users = users[np.diff(fit_graph.user_items.indptr)[users] > 0]
    if len(users) > MOST_USERS:
        rng = np.random.default_rng(config.seed)
        users = np.sort(rng.choice(users, MOST_USERS, replace=False))
    say("fitting the trial: the same without what is held back")
    plain = replace(config, preset="default" if config.preset == "graph" else config.preset)
    made = build(fit, fit_graph, plain, _quiet, recipe=without_networks(recipe))
    made = with_new_items(made, fit, fit_graph, _quiet, config.threads)
    write(folder, made, fit, plain, now=now)
    release = open_release(folder, verify=False)
    ones = np.ones(int(selected.sum()), np.float32)
    truth = csr_array(
        (ones, (pairs.users[selected], pairs.items[selected])), shape=graph.user_items.shape
    )
    truth.sort_indices()
    return Trial(fit, fit_graph, Recommender(release, threads=config.threads), users, truth)


def without_networks(recipe: Recipe) -> Recipe:
    """A recipe without what trained networks add to it: a trial cannot pay for training."""
    kept = tuple((scorer, w) for scorer, w in recipe.weights if scorer.kind != "learned")
    return replace(recipe, weights=kept or ((RIDGE, 1.0),))


def _quiet(_: str) -> None:
    """The steps of a trial are not told of."""
