"""How a release is learned from a snapshot: everything before it is written.

choose ─▶ trial: fit on *fit* ─▶ fit on everything, place new items ─▶ group the users ─▶ profiles
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embeddings.item_item.recipe import Recipe, Scorer
from embeddings.vectors.embedder import Embeddings
from graph.arrays import I16
from graph.domains import Domains
from graph.freed import give_back_freed
from graph.snapshot import GraphSnapshot
from graph.weighted import WeightedGraph
from recommender.learning.build import Built, Choice, RefreshConfig, Say, build, choose
from recommender.learning.fold_in_arrays import with_new_items
from recommender.learning.going_on import TYPES, Fits, changes_since, learned_pairs, too_much
from recommender.learning.grouping_step import (
    group_users,
    groups_in,
    learn_profiles,
    with_groups,
)
from recommender.learning.parts import Parts, parts_of
from recommender.learning.stability import networks_of, start_of, turned
from recommender.learning.trial import Made, Trial, fit_trial
from recommender.learning.warm import Kept
from recommender.learning.writing import write
from recommender.releases.publishing import open_release
from recommender.releases.release import Release
from recommender.releases.steps import Steps
from recommender.segments.grouping import Found
from recommender.segments.settings import SegmentSettings

RESULTS = (Choice, Recipe, Scorer, Embeddings, Built, Found, *TYPES)
"""The dataclasses in the results of steps, see `Steps`."""


@dataclass(frozen=True)
class Trained:
    """What is needed to judge a release, beside the release."""

    groups: Found
    parts: Parts
    fit: GraphSnapshot  # without what is held back
    trial: Trial
    own_groups: I16  # (u,) each user's group as the trial knows it


def train(
    snapshot: GraphSnapshot,
    graph: WeightedGraph,
    domains: Domains,
    config: RefreshConfig,
    settings: SegmentSettings,
    steps: Steps,
    *,
    parent: Release | None = None,
    kept: Kept | None = None,
    fits: Fits | None = None,
    now: int,
    say: Say,
) -> tuple[Built, Trained]:
    """Learn from a whole snapshot, and again from it without the pairs held back.

    Args:
        snapshot: the data to learn from.
        graph: the same, weighted.
        domains: of its items.
        config: what to compute; the preset "fast" learns no profiles.
        settings: how users are grouped.
        steps: keeps finished steps, so that a killed refresh can go on after them.
        parent: the release before; vectors are turned onto its, and groups take over its names.
        kept: choices taken over from the last release, see `kept_from`.
        fits: those of the last release, to go on from; None: everything is fitted.
        now: seconds since 1970.
        say: called with the name of each step.
    """
    items = snapshot.items
    last = networks_of(parent, items)
    choice = (
        kept.choice
        if kept
        else steps.value(
            "choice", lambda: choose(snapshot, graph, config, say, last=last, steps=steps)
        )
    )

    def fitted() -> Built:
        start = start_of(parent, items)
        built = build(snapshot, graph, config, say, choice=choice, start=start, changes=changes)
        built = turned(built, parent, items)
        return with_new_items(built, snapshot, graph, say, config.threads)

    changes = changes_since(fits.whole, snapshot, graph) if fits else None
    if changes is not None and too_much(changes, graph, say):
        changes = fits = None
    last_trial = fits.trial if fits else None
    known = learned_pairs(last_trial.release, snapshot) if last_trial else None
    parts = parts_of(snapshot, config.seed, known)
    fit = parts.fit(snapshot)
    made = Made(choice.recipe, config.weighting, config.preset)
    trial = fit_trial(fit, parts, domains, config, made, steps, before=last_trial, now=now, say=say)
    built = steps.value("table", fitted)

    def grouped() -> Found:
        say("grouping the users")
        return group_users(built, snapshot, graph, config, settings, last=parent, now=now)

    groups = steps.value("groups", grouped)
    own_groups = groups_in(trial, built, graph, groups)
    profiles = None
    if settings.learn_profiles and config.preset != "fast":

        def learned() -> dict[str, Any]:
            say("learning a profile for each segment")
            return learn_profiles(trial, own_groups, groups, now=now)

        profiles = kept.profiles_of(groups.manifest["names"]) if kept else None
        if profiles is None:
            profiles = steps.value("profiles", learned)
    built, groups = with_groups(built, groups, profiles)
    return built, Trained(groups=groups, parts=parts, fit=fit, trial=trial, own_groups=own_groups)


def build_release(
    snapshot: GraphSnapshot,
    graph: WeightedGraph,
    config: RefreshConfig,
    folder: Path,
    *,
    now: int,
    say: Say = lambda _: None,
    settings: SegmentSettings | None = None,
    domains: Domains | None = None,
) -> Release:
    """A release for evaluation, made by the same code, but outside any home and never published.

    `settings` and `domains` are those of `train`; without them nobody is grouped.
    """
    give_back_freed()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if settings is None or domains is None:
        built = build(snapshot, graph, config, say)
        built = with_new_items(built, snapshot, graph, say, config.threads)
    else:
        steps = Steps(folder / "steps", RESULTS)
        built, _ = train(snapshot, graph, domains, config, settings, steps, now=now, say=say)
        shutil.rmtree(steps.folder)
    write(folder, built, snapshot, config, now=now)
    return open_release(folder, verify=False)
