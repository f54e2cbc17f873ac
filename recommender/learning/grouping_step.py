"""The steps of a refresh that group users and learn a profile for each group."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from graph.arrays import I16
from graph.snapshot import GraphSnapshot
from graph.weighted import WeightedGraph
from recommender.learning.build import SPECTRAL, Built, RefreshConfig
from recommender.learning.profile_learning import candidates, learn
from recommender.learning.trial import Trial
from recommender.releases.home import Home
from recommender.releases.release import Release
from recommender.segments.features import Catalogue
from recommender.segments.grouping import Found, assigned_in, find_segments
from recommender.segments.settings import SegmentSettings

REPORT = "segments.json"
FEWEST_SELECTED = 100  # users with something to find, to learn profiles by


def group_users(
    built: Built,
    snapshot: GraphSnapshot,
    graph: WeightedGraph,
    config: RefreshConfig,
    settings: SegmentSettings,
    *,
    last: Release | None,
    now: int,
) -> Found:
    """The groups of users; those like a group of the release before, `last`, take over its name."""
    return find_segments(
        snapshot,
        graph,
        built.vectors[SPECTRAL],
        built.arrays["rarity"],
        settings,
        last=last,
        seed=config.seed,
        now=now,
        meanings=config.weighting.values,
    )


def groups_in(trial: Trial, built: Built, graph: WeightedGraph, groups: Found) -> I16:
    """(u,) each user's group, found from what the trial knows, without the held-back pairs."""
    catalogue = Catalogue(
        graph.item_domains, graph.item_tags, built.arrays["rarity"], built.vectors[SPECTRAL]
    )
    return assigned_in(groups, trial.snapshot, trial.graph, catalogue)


def learn_profiles(trial: Trial, own: I16, groups: Found, *, now: int) -> dict[str, Any]:
    """The profile of each group, learned by the trial; empty when there are too few users.

    As the manifest holds it. `own` (u,) is each user's group, see `groups_in`.
    """
    users = trial.select.users
    if len(users) < FEWEST_SELECTED:
        return {}
    learned = learn(
        candidates(trial.recommender, users),
        trial.select.truth[users],
        own[users],
        trial.recommender.release,
        groups.manifest["names"],
        now=now,
        mix=trial.recommender.mixes(users),
    )
    return {name: profile.to_json() for name, profile in learned.items()}


def with_groups(
    built: Built, groups: Found, profiles: dict[str, Any] | None
) -> tuple[Built, Found]:
    """`built` with groups and profiles added, and the groups with the profiles in their report.

    `profiles` is None where none were to be learned.
    """
    manifest = dict(groups.manifest)
    if profiles is not None:
        manifest["profiles"] = profiles
    report = groups.report | {"profiles": manifest.get("profiles", {})}
    return (
        replace(
            built,
            arrays=built.arrays | groups.arrays,
            manifest=built.manifest | {"segments": manifest},
        ),
        replace(groups, manifest=manifest, report=report),
    )


def save_report(home: Home, release: Release, groups: Found) -> Path:
    """Keep the report beside those of loads; what it is, see `find_segments`."""
    home.reports.mkdir(parents=True, exist_ok=True)
    path = home.reports / REPORT
    text = json.dumps({"release": release.name, **groups.report}, indent=1)
    path.write_text(text + "\n", encoding="utf-8")
    return path
