"""New vectors stay comparable with the last release's, and a report says how much they moved.

A refresh starts its search for singular vectors from the last release's, turns what it found onto
them (`align.py`), and notes in the manifest which release that was. On one thread the same data,
seed and last release give the same bytes. Choosing on held-back data never starts from the last
release, because that has learned from all of the data.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np

from embeddings.vectors.align import neighbour_overlap, rotation
from graph.arrays import F32, I64, unit_rows
from graph.errors import ReleaseError
from graph.vocabulary import Vocabulary
from recommender.learning.build import SPECTRAL, Built
from recommender.learning.networks import Last
from recommender.releases.home import Home
from recommender.releases.publishing import current, open_release
from recommender.releases.release import Release

SAMPLE = 1000  # items whose neighbours are compared
NEIGHBOURS = 10


def parent_of(home: Home) -> Release | None:
    """The current release, checked; None before the first, or when it is damaged."""
    name = current(home)
    try:
        return open_release(home.releases / name) if name else None
    except ReleaseError:
        return None


def start_of(parent: Release | None, items: Vocabulary) -> F32 | None:
    """The parent's spectral vectors by rows of `items` (i, d), 0 for new ones; None: no parent."""
    vectors = _vectors(parent).get(SPECTRAL) if parent is not None else None
    if parent is None or vectors is None:
        return None
    rows = parent.items.rows(items)
    return np.where((rows >= 0)[:, None], vectors[np.maximum(rows, 0)], np.float32(0))


def networks_of(parent: Release | None, items: Vocabulary) -> Last:
    """The parent's network vectors, in the rows of `items`; 0 for new ones."""
    if parent is None:
        return {}
    rows = parent.items.rows(items)
    known, at = (rows >= 0)[:, None], np.maximum(rows, 0)
    networks = {}
    for name, ranked in _vectors(parent).items():
        read = parent.arrays.get(f"queries.{name}")
        if read is not None and len(parent.items):
            both = (np.where(known, part[at], np.float32(0)) for part in (read, ranked))
            networks[name] = tuple(both)
    return cast("Last", networks)


def turned(built: Built, parent: Release | None, items: Vocabulary) -> Built:
    """The same with each set of vectors turned onto the parent's; distances do not change.

    Vectors that are searched with others (`queries.…`) are turned by the same matrix, so products
    stay too. Vectors of another width than the parent's stay as they are.
    """
    if parent is None:
        return built
    own, theirs = common_rows(items, parent.items)
    vectors, arrays = dict(built.vectors), dict(built.arrays)
    for name, old in _vectors(parent).items():
        new = vectors.get(name)
        if new is None or new.shape[1] != old.shape[1]:
            continue
        turn = rotation(new[own], old[theirs])
        vectors[name] = np.ascontiguousarray(new @ turn)
        if f"queries.{name}" in arrays:
            arrays[f"queries.{name}"] = np.ascontiguousarray(arrays[f"queries.{name}"] @ turn)
    lineage = {"name": parent.name, "fingerprint": parent.manifest.get("fingerprint")}
    drift = drift_of(vectors, items, _vectors(parent), parent.items)
    manifest = built.manifest | {"parent": lineage, "drift": drift}
    return replace(built, vectors=vectors, arrays=arrays, manifest=manifest)


def drift_between(new: Release, old: Release) -> dict[str, Any]:
    """`drift_of` two releases, with their users beside their items."""
    moved = drift_of(_vectors(new), new.items, _vectors(old), old.items)
    return {"users": changes(new.users, old.users), **moved}


def drift_of(
    new: Mapping[str, F32], new_items: Vocabulary, old: Mapping[str, F32], old_items: Vocabulary
) -> dict[str, Any]:
    """How far each set of vectors moved, by name; only sets that both have with the same width.

    `jaccard@10` is the mean overlap of an item's ten nearest, by cosine, before and after: over at
    most `SAMPLE` items that have a vector in both, searched among the items that both know.
    `cosine` is the mean cosine of an item's two vectors after turning. Both are None if no item
    can be compared.
    """
    own, theirs = common_rows(new_items, old_items)
    moved: dict[str, dict[str, float | int | None]] = {}
    for name in sorted(set(new) & set(old)):
        if new[name].shape[1] != old[name].shape[1]:
            continue
        now, before = new[name][own], old[name][theirs]
        shared = np.flatnonzero(now.any(axis=1) & before.any(axis=1))
        if len(shared) <= 1:
            moved[name] = {"jaccard@10": None, "cosine": None, "sample": 0}
            continue
        now, before = now[shared], before[shared]
        sample = np.arange(len(shared))
        if len(shared) > SAMPLE:
            sample = np.sort(np.random.default_rng(0).choice(sample, SAMPLE, replace=False))
        overlap = neighbour_overlap(now, before, count=NEIGHBOURS, rows=sample)
        cosines = np.sum(unit_rows(now @ rotation(now, before)) * unit_rows(before), axis=1)
        moved[name] = {
            "jaccard@10": round(float(overlap.mean()), 4),
            "cosine": round(float(cosines.mean()), 4),
            "sample": len(sample),
        }
    return {"items": changes(new_items, old_items), "vectors": moved}


def changes(new: Vocabulary, old: Vocabulary) -> dict[str, int]:
    """How many ids are in both releases, new, and gone."""
    common = len(common_rows(new, old)[0])
    return {"common": common, "new": len(new) - common, "gone": len(old) - common}


def common_rows(new: Vocabulary, old: Vocabulary) -> tuple[I64, I64]:
    """The rows of the ids that both have, in each."""
    rows = old.rows(new)
    own = np.flatnonzero(rows >= 0)
    return own.astype(np.int64), rows[own]


def _vectors(release: Release) -> dict[str, F32]:
    return dict(release.vectors)
