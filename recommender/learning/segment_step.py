"""The part of a refresh that groups users and learns what each group's lists are made for."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from embeddings.item_item.blend import DEFAULT as DEFAULT_SCORERS
from embeddings.item_item.blend import FAST
from embeddings.item_item.scorers import Recipe
from graph.snapshot import GraphSnapshot, drop_pairs
from graph.weighted import WeightedGraph
from graph.weighting import weigh
from recommender.learning.build import SPECTRAL, Built, RefreshConfig, build
from recommender.learning.fold_in_arrays import with_new_items
from recommender.learning.profile_learning import MOST_USERS, Learned, candidates, learn
from recommender.measures.split import SELECT, pair_parts, relevant_pairs
from recommender.releases.home import Home
from recommender.releases.release import Release, open_release
from recommender.segments.features import Catalogue
from recommender.segments.grouping import Found, assigned_in, find_segments
from recommender.segments.settings import SegmentSettings
from recommender.serving.recommend import Recommender

Say = Callable[[str], None]
Write = Callable[[Path, Built, GraphSnapshot], None]
REPORT = "segments.json"
FEWEST_SELECTED = 100  # users with something to find, to learn profiles by


def add_segments(
    built: Built,
    snapshot: GraphSnapshot,
    graph: WeightedGraph,
    config: RefreshConfig,
    settings: SegmentSettings,
    aside: Path,
    *,
    last: Release | None,
    now: int,
    write: Write,
    say: Say,
) -> tuple[Built, Found]:
    """What was built with segments and profiles added, and what was found for the report.

    Args:
        built: of the whole snapshot.
        snapshot: what it was built from.
        graph: the same, weighted.
        config: of the refresh; the preset "fast" learns no profiles.
        settings: of the segments.
        aside: a folder for the release that profiles are tried on; gone afterwards.
        last: the release before, whose segments pass their names on.
        now: seconds since 1970.
        write: writes a release that was built.
        say: told what is being done.
    """
    say("grouping the users")
    found = find_segments(
        snapshot,
        graph,
        built.vectors[SPECTRAL],
        built.arrays["rarity"],
        settings,
        last=last,
        seed=config.seed,
        now=now,
    )
    manifest = dict(found.manifest)
    if settings.learn_profiles and config.preset != "fast":
        try:
            profiles = _profiles(built, snapshot, graph, config, found, aside, now, write, say)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        manifest["profiles"] = {name: one.to_json() for name, one in profiles.items()}
    report = found.report | {"profiles": manifest.get("profiles", {})}
    found = replace(found, manifest=manifest, report=report)
    return (
        replace(
            built,
            arrays=built.arrays | found.arrays,
            manifest=built.manifest | {"segments": manifest},
        ),
        found,
    )


def _profiles(
    built: Built, snapshot: GraphSnapshot, graph: WeightedGraph, config: RefreshConfig,
    found: Found, aside: Path, now: int, write: Write, say: Say,
) -> dict[str, Learned]:  # fmt: skip
    """Profiles chosen on the select part, by a model that has not seen it."""
    pairs = relevant_pairs(snapshot, graph.user_items, config.seed)
    parts = pair_parts(pairs)
    selected = parts == SELECT
    fit = drop_pairs(snapshot, pairs.users[selected], pairs.items[selected])
    fit_graph = weigh(fit, config.weighting, now)
    asked = np.unique(pairs.users[selected])
    asked = asked[np.diff(fit_graph.user_items.indptr)[asked] > 0]
    if len(asked) < FEWEST_SELECTED:
        return {}
    say("learning what each segment's lists are made for")
    if len(asked) > MOST_USERS:
        rng = np.random.default_rng(config.seed)
        asked = np.sort(rng.choice(asked, MOST_USERS, replace=False))
    plain = replace(config, preset="default" if config.preset == "graph" else config.preset)
    recipe = recipe_of(built.manifest["item_table"])
    made = build(fit, fit_graph, plain, _quiet, recipe=recipe)
    write(aside, with_new_items(made, fit, fit_graph, _quiet, config.threads), fit)
    trial = Recommender(open_release(aside, verify=False), threads=config.threads)
    truth = csr_array(
        (
            np.ones(int(selected.sum()), np.float32),
            (pairs.users[selected], pairs.items[selected]),
        ),
        shape=graph.user_items.shape,
    )
    truth.sort_indices()
    catalogue = Catalogue(
        graph.item_domains, graph.item_tags, built.arrays["rarity"], built.vectors[SPECTRAL]
    )
    own = assigned_in(found, fit, fit_graph, catalogue)
    return learn(
        candidates(trial, asked),
        truth[asked],
        own[asked],
        trial.release.arrays,
        found.manifest["names"],
        now=now,
        mix=trial.mixes(asked),
    )


def _quiet(_: str) -> None:
    """A trial is not told of."""


def recipe_of(report: Mapping[str, Any]) -> Recipe:
    """The recipe that a report of the item table tells of, without what trained networks add."""
    scorers = {scorer.name: scorer for scorer in (*FAST, *DEFAULT_SCORERS)}
    kept = [(scorers[name], w) for name, w in report["weights"].items() if name in scorers]
    return Recipe(
        tuple(kept or [(DEFAULT_SCORERS[0], 1.0)]),
        tuple(report["feature_weights"]),
        report["popularity_exponent"],
        report["support_width"],
        report["table_width"],
        history_exponent=report["history_exponent"],
        recency_exponent=report["recency_exponent"],
    )


def save_report(home: Home, release: Release, found: Found) -> Path:
    """Keep the report beside those of loads; what it is, see `find_segments`."""
    home.reports.mkdir(parents=True, exist_ok=True)
    path = home.reports / REPORT
    text = json.dumps({"release": release.name, **found.report}, indent=1)
    path.write_text(text + "\n", encoding="utf-8")
    return path
