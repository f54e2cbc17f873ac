"""Groups found in users' features: how many, how stable, what marks them. Needs scikit-learn.

Only a refresh imports this module: its results are centroids and words, which need no
scikit-learn. Each method clusters a sample; the means of its groups are the centroids, and every
user belongs to the nearest one, online and offline alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from sklearn.cluster import DBSCAN, HDBSCAN, AgglomerativeClustering, KMeans, SpectralClustering
from sklearn.manifold import TSNE
from sklearn.metrics import adjusted_rand_score, davies_bouldin_score, silhouette_score
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import NearestNeighbors
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import threadpool_limits

from graph.arrays import F32, F64, I64
from recommender.segments.features import nearest

SAMPLE = {"kmeans": 20_000, "gaussian": 10_000, "hdbscan": 5_000, "dbscan": 5_000}  # users
SMALL_SAMPLE = 1_500  # spectral and agglomerative: their cost is quadratic and worse
SCORED = 2_000  # users that silhouettes are measured on
REACHES = (50, 60, 70, 80, 90, 95)  # dbscan: percent of the points that are core points
ROUNDS = 4  # half samples that must agree
STABLE = 0.6  # adjusted Rand index between half samples; below, a number is not stable
TREE_DEPTH = 3
PICTURED = 1_500  # users in the picture


@dataclass(frozen=True)
class Tried:
    """One number of groups that was tried, and its scores."""

    groups: int
    silhouette: float  # -1 … 1, higher is better
    davies_bouldin: float  # 0 …, lower is better
    stability: float  # adjusted Rand index between groupings of half samples, 1: the same


@dataclass(frozen=True)
class Clustering:
    """The centroids of the chosen number of groups, and what was tried."""

    centroids: F64  # (k, f)
    tried: tuple[Tried, ...]
    stable: bool


def cluster(points: F64, method: str, fewest: int, most: int, seed: int) -> Clustering:
    """Group points (u, f); the number of groups by silhouette, Davies–Bouldin and resampling.

    Of the numbers on which half samples agree (stability ≥ `STABLE`), the one with the best mean
    of both scores is taken, each score scaled over the candidates. If none is stable, the most
    stable one is taken, and `stable` is false. hdbscan finds its own number. So does dbscan for
    each of `REACHES`: there the reach is chosen in place of a number. Same seed, same groups.
    """
    with threadpool_limits(1):  # on a sample, threads wait for one another more than they compute
        return _best(points, method, fewest, most, seed)


def _best(points: F64, method: str, fewest: int, most: int, seed: int) -> Clustering:
    rng = np.random.default_rng(seed)
    size = min(len(points), SAMPLE.get(method, SMALL_SAMPLE))
    sample = points[np.sort(rng.permutation(len(points))[:size])]
    numbers: Sequence[int] = range(fewest, min(most, len(sample) // 4) + 1)
    numbers = {"hdbscan": (0,), "dbscan": REACHES}.get(method, numbers)
    found_centroids, tried = [], []
    for number in numbers:
        centroids = _centroids(sample, method, number, seed)
        found_centroids.append(centroids)
        tried.append(_tried(sample, centroids, method, number, seed, rng))
    good = [index for index, attempt in enumerate(tried) if attempt.stability >= STABLE]
    if good:
        score = _scaled([tried[p].silhouette for p in good])
        score = score + _scaled([-tried[p].davies_bouldin for p in good])
        best = good[int(np.argmax(score))]
    else:
        best = int(np.argmax([attempt.stability for attempt in tried]))
    return Clustering(found_centroids[best], tuple(tried), bool(good))


def _centroids(points: F64, method: str, number: int, seed: int) -> F64:
    fewest_together = max(5, len(points) // 50)
    models: dict[str, Any] = {
        "kmeans": lambda: KMeans(number, n_init=4, random_state=seed),
        "gaussian": lambda: GaussianMixture(
            number, covariance_type="diag", reg_covar=1e-4, random_state=seed
        ),
        "hdbscan": lambda: HDBSCAN(min_cluster_size=fewest_together, copy=True),
        "dbscan": lambda: DBSCAN(
            eps=_reach(points, fewest_together, number), min_samples=fewest_together
        ),
        "spectral": lambda: SpectralClustering(
            number, affinity="rbf", gamma=1.0 / points.shape[1], random_state=seed
        ),
        "agglomerative": lambda: AgglomerativeClustering(number),
    }
    labels: I64 = models[method]().fit_predict(points)
    groups = np.unique(labels[labels >= 0])  # outliers are -1
    if len(groups) == 0:
        return points.mean(axis=0, keepdims=True)
    return np.stack([points[labels == group].mean(axis=0) for group in groups])


def _reach(points: F64, neighbours: int, percent: int) -> float:
    """The distance within which `percent` of the points have so many `neighbours`."""
    near = NearestNeighbors(n_neighbors=min(neighbours, len(points) - 1)).fit(points)
    return max(float(np.percentile(near.kneighbors()[0][:, -1], percent)), 1e-9)


def _tried(
    points: F64, centroids: F64, method: str, number: int, seed: int, rng: np.random.Generator
) -> Tried:
    labels = nearest(points, centroids)
    groups = len(np.unique(labels))
    if groups < 2:
        return Tried(groups, 0.0, float("inf"), 1.0)
    scored = rng.permutation(len(points))[:SCORED]
    silhouette = 0.0
    if 2 <= len(np.unique(labels[scored])) < len(scored):
        silhouette = float(silhouette_score(points[scored], labels[scored]))
    votes = []
    for round_ in range(ROUNDS):
        half = rng.permutation(len(points))[: len(points) // 2]
        again = _centroids(points[half], method, number, seed + 1 + round_)
        votes.append(nearest(points, again))
    agreed = [adjusted_rand_score(a, b) for a, b in combinations(votes, 2)]
    return Tried(
        groups, silhouette, float(davies_bouldin_score(points, labels)), float(np.mean(agreed))
    )


def _scaled(values: list[float]) -> F64:
    """Values brought to 0 … 1 over the candidates."""
    array = np.array(values)
    span = np.ptp(array)
    return (array - array.min()) / span if span > 0 else np.zeros(len(array))


def marks(raw: F64, labels: I64, names: list[str], groups: int) -> list[dict[str, Any]]:
    """What marks each group, by a shallow decision tree over raw features for each.

    The leaf that best tells a group from the rest (by F1) gives `conditions` (feature, "above" or
    "below", threshold) on the way to it, `covers` (share of the group that lies in it) and
    `pure` (share of the leaf that belongs to the group).
    """
    filled = np.where(np.isnan(raw), np.nanmedian(np.where(np.isnan(raw), 0, raw), axis=0), raw)
    smallest = max(3, len(labels) // 100)
    found_marks = []
    for group in range(groups):
        own = labels == group
        if not own.any() or own.all():
            found_marks.append({"conditions": [], "covers": 1.0, "pure": float(own.mean())})
            continue
        tree = DecisionTreeClassifier(
            max_depth=TREE_DEPTH,
            min_samples_leaf=smallest,
            class_weight="balanced",
            random_state=0,
        ).fit(filled, own)
        leaves = tree.apply(filled)
        inside = np.bincount(leaves, weights=own)
        f1 = 2 * inside / (np.bincount(leaves) + own.sum())
        leaf = int(f1.argmax())
        found_marks.append(
            {
                "conditions": _ways(tree.tree_, names)[leaf],
                "covers": round(float(inside[leaf] / own.sum()), 3),
                "pure": round(float(inside[leaf] / (leaves == leaf).sum()), 3),
            }
        )
    return found_marks


def _ways(tree: Any, names: list[str]) -> dict[int, list[dict[str, Any]]]:
    """The conditions from the root to each leaf; per feature and side only the strictest."""
    ways: dict[int, list[dict[str, Any]]] = {}
    waiting: list[tuple[int, list[dict[str, Any]]]] = [(0, [])]
    while waiting:
        node, so_far = waiting.pop()
        if tree.children_left[node] < 0:
            ways[node] = so_far
            continue
        for side, child in (
            ("below", tree.children_left[node]),
            ("above", tree.children_right[node]),
        ):
            name = names[tree.feature[node]]
            others = [c for c in so_far if (c["feature"], c["side"]) != (name, side)]
            condition = {"feature": name, "side": side, "threshold": float(tree.threshold[node])}
            waiting.append((int(child), [*others, condition]))
    return ways


def tsne(points: F64, seed: int) -> F32:
    """(u, 2) places in a picture, neighbours close together (van der Maaten & Hinton 2008)."""
    perplexity = max(2.0, min(30.0, (len(points) - 1) / 4))
    model = TSNE(2, perplexity=perplexity, init="pca", max_iter=400, random_state=seed)
    places: F32 = model.fit_transform(points).astype(np.float32)
    return places
