"""How two releases differ: counts, configuration, the gates' figures, drift, lists.

Nothing here names a person: sample users are described by how many items they chose.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from embeddings.vectors.align import neighbour_overlap
from graph.arrays import I64
from recommender.learning.stability import NEIGHBOURS, common_rows, drift_between
from recommender.overlay.overlay import Overlay
from recommender.releases.release import Release
from recommender.serving.recommend import Recommender

SHOWN = 10  # items in each list
MOST_ITEMS = 1_000  # items whose neighbours are compared: those with the most users
MOST_MOVED = 10  # items named in the report


def compare(
    new: Release, old: Release, *, users: int = 3, seed: int = 0, overlay: Overlay | None = None
) -> dict[str, Any]:
    """The differences, as values that JSON can hold.

    Args:
        new: a release.
        old: the one it is compared with.
        users: how many users' lists are compared.
        seed: of the random choice of these users.
        overlay: over `new`, so that no erased user is among them; None: `new` as it was made.
    """
    counts = [release.manifest["counts"] for release in (old, new)]
    return {
        "old": old.name,
        "new": new.name,
        "counts": {what: [part.get(what, 0) for part in counts] for what in counts[1]},
        "configuration": differences(old.manifest["config"], new.manifest["config"]),
        "few_items": [release.few_items for release in (old, new)],
        "both_items": [release.both_items for release in (old, new)],
        "gates": _gates(old, new),
        "drift": drift_between(new, old),
        "moved": moved_items(new, old),
        "lists": _lists(new, old, users, seed, overlay),
    }


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The settings that differ, with both values; nested names are joined by dots."""
    both = [_flat(old), _flat(new)]
    names = sorted(set(both[0]) | set(both[1]))
    pairs = {name: [part.get(name) for part in both] for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def moved_items(new: Release, old: Release, source: str = "spectral") -> list[dict[str, Any]]:
    """The items whose nearest items changed most: title, and how many of ten are still there."""
    own, theirs = common_rows(new.items, old.items)
    vectors = new.vectors[source], old.vectors[source]
    if vectors[0].shape[1] != vectors[1].shape[1]:
        return []
    touched = np.diff(new.item_users.indptr)[own]
    known = vectors[0][own].any(axis=1) & vectors[1][theirs].any(axis=1)
    own, theirs, touched = own[known], theirs[known], touched[known]
    if len(own) <= NEIGHBOURS:
        return []
    sample = np.sort(np.argsort(-touched, kind="stable")[:MOST_ITEMS])
    overlap = neighbour_overlap(vectors[0][own], vectors[1][theirs], count=NEIGHBOURS, rows=sample)
    kept = np.round(2 * NEIGHBOURS * overlap / (1 + overlap)).astype(int)  # of ten
    worst = np.argsort(kept, kind="stable")[:MOST_MOVED]
    return [
        {"title": title(new, int(own[sample[row]])), "kept": int(kept[row])}
        for row in worst.tolist()
        if kept[row] < NEIGHBOURS
    ]


def title(release: Release, row: int) -> str:
    """An item's title, or its id where it has none."""
    return str(release.card(row).get("title") or release.items.id(row))


def _gates(old: Release, new: Release) -> list[dict[str, Any]]:
    """NDCG@20 by part, each release on its own gate part; `old` is None where it was not judged."""
    before = {part["part"]: part for part in old.manifest.get("gates", {}).get("figures", [])}
    return [
        {
            "part": part["part"],
            "users": part["users"],
            "old": before.get(part["part"], {}).get("candidate"),
            "new": part["candidate"],
        }
        for part in new.manifest.get("gates", {}).get("figures", [])
    ]


def _lists(
    new: Release, old: Release, users: int, seed: int, overlay: Overlay | None
) -> list[dict[str, Any]]:
    """For some users whom both releases know: which items in their lists are new, gone or moved."""
    own, theirs = common_rows(new.users, old.users)
    sizes = np.diff(new.histories.indptr)[own]
    able = np.flatnonzero(sizes > 0)
    if overlay is not None:
        able = able[~overlay.gone[own[able]]]
    drawn = np.sort(np.random.default_rng(seed).permutation(able)[:users])
    if not len(drawn):
        return []
    lists = [_shown(release, rows[drawn]) for release, rows in ((old, theirs), (new, own))]
    return [
        {"history": int(sizes[at]), **_change(before, after)}
        for at, before, after in zip(drawn.tolist(), *lists, strict=True)
    ]


def _shown(release: Release, rows: I64) -> list[dict[str, str]]:
    """The list of each user: id of an item -> its title, best first."""
    ranked = Recommender(release).rank_users(rows, SHOWN, profile="default").items
    return [
        {release.items.id(item): title(release, item) for item in row if item >= 0}
        for row in ranked.tolist()
    ]


def _change(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, Any]:
    ranks = [{item: rank for rank, item in enumerate(part, 1)} for part in (before, after)]
    return {
        "stayed": sum(ranks[0].get(item) == rank for item, rank in ranks[1].items()),
        "came": [after[item] for item in after if item not in before],
        "went": [before[item] for item in before if item not in after],
        "moved": [
            {"title": after[item], "from": ranks[0][item], "to": rank}
            for item, rank in ranks[1].items()
            if item in before and ranks[0][item] != rank
        ],
    }


def _flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level; names are joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
