"""Everything that a release is learned from a snapshot by, up to where it is written.

choose and fit the table ─▶ trial ─▶ place new items ─▶ group the users ─▶ profiles
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from graph.domains import Domains
from graph.snapshot import GraphSnapshot
from graph.weighted import WeightedGraph
from recommender.learning.build import Built, RefreshConfig, Say, build
from recommender.learning.fold_in_arrays import with_new_items
from recommender.learning.grouping_step import (
    group_users,
    groups_in,
    learn_profiles,
    with_groups,
)
from recommender.learning.parts import Parts, parts_of
from recommender.learning.stability import networks_of, start_of, turned
from recommender.learning.trial import Made, Trial, fit_trial
from recommender.learning.writing import write
from recommender.releases.publishing import open_release
from recommender.releases.release import Release
from recommender.segments.grouping import Found
from recommender.segments.settings import SegmentSettings


@dataclass(frozen=True)
class Trained:
    """What a release holds, and what judging it needs."""

    built: Built
    groups: Found
    parts: Parts
    fit: GraphSnapshot  # without what is held back
    trial: Trial
    own_groups: npt.NDArray[np.int16]  # (u,) each user's group as the trial knows it


def train(
    snapshot: GraphSnapshot,
    graph: WeightedGraph,
    domains: Domains,
    config: RefreshConfig,
    settings: SegmentSettings,
    aside: Path,
    *,
    parent: Release | None = None,
    training: Path | None = None,
    now: int,
    say: Say,
) -> Trained:
    """Learn from a snapshot, and once more from the part that is not held back.

    Args:
        snapshot: what is learned from.
        graph: the same, weighted.
        domains: of its items.
        config: what to compute; the preset "fast" learns no profiles.
        settings: how users are grouped.
        aside: an empty folder for the trial.
        parent: the release before, onto which vectors are turned and whose groups pass on names.
        training: a folder in which a killed training of networks goes on.
        now: seconds since 1970.
        say: hears of each step.
    """
    items = snapshot.items
    built = build(
        snapshot, graph, config, say,
        start=start_of(parent, items), last=networks_of(parent, items), training=training,
    )  # fmt: skip
    built = turned(built, parent, snapshot.items)
    parts = parts_of(snapshot, config.seed)
    fit = parts.fit(snapshot)
    made = Made(built.recipe, config.weighting, config.preset)
    trial = fit_trial(fit, parts, domains, config, made, aside, now=now, say=say)
    built = with_new_items(built, snapshot, graph, say, config.threads)
    say("grouping the users")
    groups = group_users(built, snapshot, graph, config, settings, last=parent, now=now)
    own_groups = groups_in(trial, built, graph, groups)
    profiles = None
    if settings.learn_profiles and config.preset != "fast":
        say("learning what each segment's lists are made for")
        profiles = learn_profiles(trial, own_groups, groups, now=now)
    built, groups = with_groups(built, groups, profiles)
    return Trained(
        built=built, groups=groups, parts=parts, fit=fit, trial=trial, own_groups=own_groups
    )


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
    """A release outside of any home, for evaluation: the same code, never published.

    `settings` and `domains` are those of `train`; without them nobody is grouped.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if settings is None or domains is None:
        built = build(snapshot, graph, config, say)
        built = with_new_items(built, snapshot, graph, say, config.threads)
    else:
        aside = folder / "trial"
        built = train(snapshot, graph, domains, config, settings, aside, now=now, say=say).built
        shutil.rmtree(aside, ignore_errors=True)
    write(folder, built, snapshot, config, now=now)
    return open_release(folder, verify=False)
