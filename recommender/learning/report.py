"""The report of a refresh: figures, as JSON, from which pages and tables are made.

No person is named in it. It lies in `reports/<release>.json`, not in the release, and is still
there when the release is gone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graph.arrays import I64
from recommender.learning.comparison import compare
from recommender.overlay.overlay import Overlay
from recommender.releases.release import Release

QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.95, 1.0)
CURVE = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # shares of the items, the most popular first
MOST_LOADS = 20


@dataclass(frozen=True)
class Step:
    """A step of a refresh and what it cost."""

    name: str
    seconds: float
    processor_seconds: float
    peak_bytes: int  # of the process, up to the end of the step


def report(
    release: Release,
    parent: Release | None,
    *,
    steps: Sequence[Step] = (),
    loads: Sequence[Mapping[str, Any]] = (),
    overlay: Overlay | None = None,
    retained: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """The report of a release, or of a candidate that was refused.

    Args:
        release: what was made.
        parent: what was served when it was made; None before the first.
        steps: of the refresh, in the order they ran.
        loads: reports of the loads since `parent` was made.
        overlay: over `release`, so that no erased user is drawn as a sample.
        retained: for each kind of `retention.toml`, what went before the snapshot.
    """
    manifest = release.manifest
    gates = manifest.get("gates", {})
    segments = manifest.get("segments") or {}
    return {
        "release": release.name,
        "created_at": manifest["created_at"],
        "refused": [] if gates.get("forced") else [r["text"] for r in gates.get("reasons", [])],
        "forced": [r["text"] for r in gates.get("reasons", [])] if gates.get("forced") else [],
        "notes": gates.get("notes", []),
        "checks": gates.get("checks", []),
        "ranks_by": manifest.get("ranks_by"),
        "counts": manifest["counts"],
        "configuration": manifest["config"],
        "recipe": {
            "table": manifest["item_table"].get("weights", {}),
            "scorers": manifest["item_table"].get("scorers", []),
            "few_items": release.few_items,
            "both_items": release.both_items,
            "chosen": manifest.get("chosen"),
        },
        "figures": gates.get("figures", []),
        "long_tail": _long_tail(release),
        "degrees": {
            "quantiles": list(QUANTILES),
            "user": _quantiles(np.diff(release.histories.indptr)),
            "item": _quantiles(np.diff(release.item_users.indptr)),
            "users_by_choices": _spread(np.diff(release.histories.indptr)),
            "items_by_choices": _spread(np.diff(release.item_users.indptr)),
        },
        "segments": [
            {key: segment[key] for key in ("name", "users", "persona")}
            for segment in segments.get("segments", [])
        ],
        "compared": None if parent is None else compare(release, parent, overlay=overlay),
        "loads": [dict(load) for load in loads[-MOST_LOADS:]],
        "retained": [dict(kind) for kind in retained],
        "steps": [vars(step) for step in steps],
    }


def _long_tail(release: Release) -> list[dict[str, float]]:
    """The share of all choices that fall on the most popular 1%, 2%, 5% … of the items."""
    chosen = np.sort(np.diff(release.item_users.indptr))[::-1].astype(np.float64)
    total, sums = chosen.sum(), np.cumsum(chosen)
    if not total:
        return []
    rows = [max(int(np.ceil(share * len(chosen))), 1) for share in CURVE]
    return [
        {"items": share, "choices": round(float(sums[row - 1] / total), 4)}
        for share, row in zip(CURVE, rows, strict=True)
    ]


def _quantiles(counts: I64) -> list[float]:
    if not len(counts):
        return []
    values: list[float] = np.quantile(counts, QUANTILES).round(1).tolist()
    return values


def _spread(counts: I64) -> list[dict[str, int]]:
    """How many users or items have 0, 1, 2 to 3, 4 to 7 … choices, up to the last that has any."""
    doublings = np.frexp(counts)[1]  # 0 of 0, 1 of 1, 2 of 2 and 3, 3 of 4 to 7
    return [
        {"least": 2**n // 2, "most": 2**n - 1, "count": count}
        for n, count in enumerate(np.bincount(doublings).tolist())
    ]
