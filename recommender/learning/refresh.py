"""The nightly job: freeze the graph, weigh it, learn from it, publish what was learned."""

import hashlib
import json
import platform
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from embeddings.indexes.faiss_index import FaissIndex
from graph.findings import save_findings
from graph.snapshot import GraphSnapshot, take_snapshot
from graph.store import GraphStore
from graph.weighted import WeightedGraph
from graph.weighting import weigh
from recommender.learning.build import Built, RefreshConfig, build
from recommender.learning.fold_in_arrays import with_new_items
from recommender.learning.segment_step import add_segments, save_report
from recommender.learning.stability import parent_of, start_of, turned
from recommender.releases.findings import findings_of
from recommender.releases.home import Home
from recommender.releases.release import (
    Release,
    collect_leftovers,
    open_release,
    publish,
    seal,
    staged,
    write_arrays,
)
from recommender.segments.settings import load_segment_settings

Say = Callable[[str], None]
LIBRARIES = ("numpy", "scipy", "numba", "faiss-cpu")  # whose versions can change the bytes


def refresh(
    store: GraphStore, home: Home, config: RefreshConfig, *, now: int, say: Say = lambda _: None
) -> Release:
    """Make a release from the store and serve it; whatever fails, the old one stays.

    Args:
        store: read once, at its present watermark.
        home: where releases lie.
        config: what to compute.
        now: seconds since 1970, for the age of events and the manifest.
        say: told each step.
    """
    collect_leftovers(home)
    segments = load_segment_settings(home.segments)
    say("taking a snapshot")
    snapshot = take_snapshot(store)
    say(f"weighing {len(snapshot.events.user):,} events")
    graph = weigh(snapshot, config.weighting, now)
    parent = parent_of(home)
    built = build(snapshot, graph, config, say, start=start_of(parent, snapshot.items))
    built = with_new_items(
        turned(built, parent, snapshot.items), snapshot, graph, say, config.threads
    )
    name = fingerprint(snapshot, config, parent)
    with staged(home.releases) as folder:
        built, found = add_segments(
            built,
            snapshot,
            graph,
            config,
            segments,
            folder / "trial",
            last=parent,
            now=now,
            write=lambda path, made, seen: write(path, made, seen, config, now=now),
            say=say,
        )
        say("writing the release")
        write(folder, built, snapshot, config, now=now, parent=parent)
        release = publish(home, folder, name)
    save_report(home, release, found)
    save_findings(findings_of(release), home.explore)
    return release


def build_release(
    snapshot: GraphSnapshot,
    graph: WeightedGraph,
    config: RefreshConfig,
    folder: Path,
    *,
    now: int,
    say: Say = lambda _: None,
) -> Release:
    """A release outside of any home, for evaluation: the same code, never published."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    built = with_new_items(
        build(snapshot, graph, config, say), snapshot, graph, say, config.threads
    )
    write(folder, built, snapshot, config, now=now)
    return open_release(folder, verify=False)


def write(
    folder: Path,
    built: Built,
    snapshot: GraphSnapshot,
    config: RefreshConfig,
    *,
    now: int,
    parent: Release | None = None,
) -> None:
    """Write arrays, indexes and the manifest; `parent` is what the vectors were turned onto."""
    folder.mkdir(parents=True, exist_ok=True)
    write_arrays(folder, built.arrays)
    for name, vectors in built.vectors.items():
        write_arrays(folder, {f"vectors.{name}": vectors})
        FaissIndex.build(vectors).save(folder / f"{name}.faiss")
    manifest: dict[str, Any] = {
        "fingerprint": fingerprint(snapshot, config, parent),
        "snapshot": snapshot.fingerprint,
        "watermark": snapshot.watermark,
        "created_at": now,
        "config": config.to_json(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "python": platform.python_version(),
        "vectors": built.weights,
        **built.manifest,
    }
    seal(folder, manifest)


def fingerprint(
    snapshot: GraphSnapshot, config: RefreshConfig, parent: Release | None = None
) -> str:
    """Names what went into a release: the graph's facts, the configuration, the release before."""
    parts: list[Any] = [snapshot.fingerprint, config.to_json()]
    if parent is not None:
        parts.append(parent.manifest.get("fingerprint"))
    said = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()
