"""Everything that a release is learned from a snapshot by, up to where it is written.

weigh ─▶ choose and fit the table ─▶ place new items ─▶ group the users ─▶ trial ─▶ profiles
"""

import shutil
from pathlib import Path

from graph.domains import Domains
from graph.snapshot import GraphSnapshot
from graph.weighted import WeightedGraph
from recommender.learning.build import Built, RefreshConfig, Say, build
from recommender.learning.fold_in_arrays import with_new_items
from recommender.learning.grouping_step import group_users, learn_profiles, with_groups
from recommender.learning.stability import networks_of, start_of, turned
from recommender.learning.trial import fit_trial
from recommender.learning.writing import write
from recommender.releases.publishing import open_release
from recommender.releases.release import Release
from recommender.segments.grouping import Found
from recommender.segments.settings import SegmentSettings


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
) -> tuple[Built, Found]:
    """What a release holds, and what was found of its groups for the report.

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
    built = with_new_items(built, snapshot, graph, say, config.threads)
    say("grouping the users")
    groups = group_users(built, snapshot, graph, config, settings, last=parent, now=now)
    profiles = None
    if settings.learn_profiles and config.preset != "fast":
        trial = fit_trial(snapshot, graph, domains, config, built.recipe, aside, now=now, say=say)
        say("learning what each segment's lists are made for")
        profiles = learn_profiles(trial, built, graph, groups, now=now)
    return with_groups(built, groups, profiles)


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
        built, _ = train(snapshot, graph, domains, config, settings, aside, now=now, say=say)
        shutil.rmtree(aside, ignore_errors=True)
    write(folder, built, snapshot, config, now=now)
    return open_release(folder, verify=False)
