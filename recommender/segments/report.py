"""Pictures of segments: users in two dimensions, and what the long tail costs each segment."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from graph.arrays import F64
from graph.errors import InputError
from recommender.releases.release import Release
from recommender.segments.features import Scale

MOST_USERS = 1_500  # in the picture of users
ENDINGS = (".svg", ".png")


def draw_users(release: Release, path: Path, *, seed: int = 0) -> int:
    """Draw users by PCA and by t-SNE, coloured by segment, into `path`; how many were drawn.

    The same release and seed give the same picture. `InputError` when the release has no learned
    segments, the ending is not one of .svg and .png, or matplotlib or scikit-learn is missing.
    """
    learned = release.segments
    if learned is None or learned["method"] == "none":
        note = (learned or {}).get("note") or "it was made without"
        raise InputError(f"release {release.name} has no learned segments to draw: {note}")
    plt = _pyplot(path)
    try:
        from recommender.segments.clusters import tsne
    except ImportError as error:
        raise InputError("t-SNE needs scikit-learn: install nichegraph[segments]") from error
    scale = Scale.read(release.segment_arrays["scale"])
    assigned = np.asarray(release.segment_arrays["assigned"])
    grouped = np.flatnonzero(assigned >= 0)
    rng = np.random.default_rng(seed)
    shown = np.sort(rng.permutation(grouped)[:MOST_USERS])
    points = scale(release.segment_arrays["raw"][shown].astype(np.float64))
    figure, axes = plt.subplots(1, 2, figsize=(11, 5), layout="constrained")
    for axis, title, places in (
        (axes[0], "PCA", pca(points)),
        (axes[1], "t-SNE", tsne(points, seed)),
    ):
        for segment, name in enumerate(learned["names"]):
            own = assigned[shown] == segment
            axis.scatter(*places[own].T, s=8, label=f"{name} ({int(own.sum())})", linewidths=0)
        axis.set(title=title, xticks=[], yticks=[])
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    _save(plt, figure, path)
    return len(shown)


def pca(points: F64) -> F64:
    """(u, 2) places along the two directions of most variance; signs are fixed."""
    centred = points - points.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    axes = np.zeros((2, points.shape[1]))
    axes[: min(2, len(directions))] = directions[:2]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)
    places: F64 = centred @ (axes * np.where(largest < 0, -1, 1)).T
    return places


def curves(release: Release, segment: str | None = None) -> dict[str, Any]:
    """The trade-off curves of a release by segment, `default` for all users.

    `InputError` when there are none, or not of this segment.
    """
    profiles: Mapping[str, Any] = (release.segments or {}).get("profiles") or {}
    if not profiles:
        raise InputError(
            f"release {release.name} has learned no profiles: refresh with the default preset "
            "and at least 100 users with 5 items or more"
        )
    if segment is None:
        return dict(profiles)
    if segment not in profiles:
        raise InputError(f"segment {segment!r} has no curve; there are {', '.join(profiles)}")
    return {segment: profiles[segment]}


def draw_curves(profiles: Mapping[str, Any], path: Path) -> None:
    """Draw NDCG@20, coverage and diversity over the long-tail share, the chosen points marked."""
    plt = _pyplot(path)
    panels = (
        ("shown_ndcg", "NDCG@20"),
        ("shown_coverage", "coverage"),
        ("shown_diversity", "diversity"),
    )
    figure, axes = plt.subplots(1, len(panels), figsize=(13, 4.5), layout="constrained")
    for axis, (key, title) in zip(axes, panels, strict=True):
        for name, profile in profiles.items():
            tail = [point["shown_long_tail_share"] for point in profile["curve"]]
            values = [point[key] for point in profile["curve"]]
            (line,) = axis.plot(
                tail, values, marker=".", label=f"{name} ({profile['users']} users)"
            )
            at = profile["chosen"]
            axis.plot(tail[at], values[at], "o", ms=10, mfc="none", mec=line.get_color())
        axis.set(xlabel="long-tail share", title=title)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    _save(plt, figure, path)


def _pyplot(path: Path) -> Any:
    if path.suffix.lower() not in ENDINGS:
        raise InputError(f"{path.name}: a picture ends in .svg or .png")
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise InputError("pictures need matplotlib: install nichegraph[explore]") from error
    mpl.use("agg")
    mpl.rcParams["svg.hashsalt"] = "nichegraph"  # the same picture, the same bytes
    mpl.rcParams["text.parse_math"] = False  # a name may hold a dollar
    import matplotlib.pyplot as plt

    return plt


def _save(plt: Any, figure: Any, path: Path) -> None:
    metadata = {"Date": None} if path.suffix.lower() == ".svg" else {}
    try:
        figure.savefig(path, metadata=metadata)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        plt.close(figure)
