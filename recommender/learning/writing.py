"""Writing what was built into a folder: arrays, indexes and the manifest."""

import hashlib
import json
import platform
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from embeddings.indexes.faiss_index import FaissIndex
from embeddings.item_item.recipe import Recipe, simple_scorer
from graph.snapshot import GraphSnapshot
from graph.weighting import scale_of, typical_of
from recommender.learning.build import Built, RefreshConfig
from recommender.releases.publishing import seal, write_arrays
from recommender.releases.release import Release

LIBRARIES = ("numpy", "scipy", "numba", "faiss-cpu")  # whose versions can change the bytes


def write(
    folder: Path,
    built: Built,
    snapshot: GraphSnapshot,
    config: RefreshConfig,
    *,
    now: int,
    parent: Release | None = None,
    inbox: dict[str, Any] | None = None,
) -> None:
    """Write arrays, indexes and the manifest.

    `parent` is the release onto which the vectors were turned; `inbox` says which facts of the
    journal the snapshot contains.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_arrays(folder, built.arrays)
    for name, vectors in built.vectors.items():
        write_arrays(folder, {f"vectors.{name}": vectors})
        FaissIndex.build(vectors).save(folder / f"{name}.faiss")
    manifest: dict[str, Any] = {
        "fingerprint": fingerprint(snapshot, config, parent),
        "snapshot": snapshot.fingerprint,
        "watermark": snapshot.watermark,
        "inbox": inbox or {"journal": "", "upto": 0},
        "rating_scale": scale_of(snapshot, config.weighting),
        "typical": typical_of(snapshot, config.weighting),
        "created_at": now,
        "config": config.to_json(),
        "recipe": asdict(built.recipe),
        "libraries": {name: version(name) for name in LIBRARIES},
        "python": platform.python_version(),
        "vectors": built.weights,
        **built.manifest,
        **_simple(built.recipe),
    }
    seal(folder, manifest)


def fingerprint(
    snapshot: GraphSnapshot, config: RefreshConfig, parent: Release | None = None
) -> str:
    """A digest of what went into a release: graph's facts, configuration, the release before."""
    parts: list[Any] = [snapshot.fingerprint, config.to_json()]
    if parent is not None:
        parts.append(parent.manifest.get("fingerprint"))
    content = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _simple(recipe: Recipe) -> dict[str, str]:
    """The name of a simple recommender if the release ranks by it alone."""
    only = simple_scorer(recipe)
    named = {"popularity": "popularity", "cosine": "item kNN"}
    return {"ranks_by": named[only]} if only else {}
