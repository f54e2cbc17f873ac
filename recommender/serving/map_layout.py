"""Where items are on the map: neighbours attract each other, all others keep a distance.

The start is PCA of the items' vectors. Then each item is pulled towards its strongest neighbours
of the item table and pushed from items drawn at random, as UMAP does (arXiv:1802.03426) with
a = b = 1. It runs on one thread and draws from a counter, so the same release gives the same map.
"""

from typing import Any

import numba
import numpy as np

from graph.arrays import F32, I32
from graph.mixing import GAMMA

NEIGHBOURS = 8  # neighbours that pull each item
ROUNDS = 80
PUSHES = 4  # pushes for each pull
WIDTH = 10.0  # of the start, in units of the forces' reach
BLOCK = 50_000  # items whose vectors are read at a time


def layout(vectors: F32, neighbours: I32) -> F32:
    """(i, 2) places within -1 … 1.

    Args:
        vectors: (i, l) of the items; rows of zeros have none.
        neighbours: (i or fewer, k) rows of the items nearest to each, strongest first, -1 pads;
            items without a row, such as those that came since the refresh, pull nobody.
    """
    places = _principal(vectors).astype(np.float64) * WIDTH
    if len(places) > 2:
        _settle(places, np.ascontiguousarray(neighbours[:, :NEIGHBOURS], np.int32))
    places -= np.median(places, axis=0) if len(places) else 0
    reach = np.quantile(np.abs(places), 0.995) if len(places) else 1.0
    result: F32 = np.clip(places / max(float(reach), 1e-9), -1, 1).astype(np.float32)
    return result


def _principal(vectors: F32) -> F32:
    """(i, 2) along the two directions of most variance, within -1 … 1; signs are fixed."""
    count, width = vectors.shape
    result = np.zeros((count, 2), np.float32)
    if count == 0 or width == 0:
        return result
    blocks = [slice(at, at + BLOCK) for at in range(0, count, BLOCK)]
    mean = sum(np.asarray(vectors[b], np.float64).sum(axis=0) for b in blocks) / count
    spread = np.zeros((width, width))
    for block in blocks:
        centred = np.asarray(vectors[block], np.float64) - mean  # (b, l)
        spread += centred.T @ centred
    axes = np.linalg.eigh(spread)[1][:, ::-1][:, :2]  # (l, 2)
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0)
    axes = axes * np.where(largest < 0, -1, 1)
    along = np.concatenate([(np.asarray(vectors[b], np.float64) - mean) @ axes for b in blocks])
    result[:, : axes.shape[1]] = along / max(float(np.abs(along).max()), 1e-9)
    return result


@numba.njit(cache=True, nogil=True)
def _settle(places: Any, neighbours: Any) -> None:
    count = len(places)
    state = GAMMA
    for row in range(count):  # so that twins do not start at the same point
        places[row, 0] += 1e-3 * ((row * 7919) % 1009) / 1009
        places[row, 1] += 1e-3 * ((row * 104729) % 1013) / 1013
    for number in range(ROUNDS):
        step = 1.0 - number / ROUNDS
        for row in range(min(count, len(neighbours))):
            for rank in range(neighbours.shape[1]):
                neighbour = np.int64(neighbours[row, rank])
                if neighbour < 0 or neighbour >= count or neighbour == row:
                    continue
                dx = places[row, 0] - places[neighbour, 0]
                dy = places[row, 1] - places[neighbour, 1]
                pull = -step * 2.0 / (1.0 + dx * dx + dy * dy)
                places[row, 0] += pull * dx * 0.5
                places[row, 1] += pull * dy * 0.5
                places[neighbour, 0] -= pull * dx * 0.5
                places[neighbour, 1] -= pull * dy * 0.5
                for _ in range(PUSHES):
                    state ^= state << np.uint64(13)
                    state ^= state >> np.uint64(7)
                    state ^= state << np.uint64(17)
                    random_item = np.int64(state % np.uint64(count))
                    dx = places[row, 0] - places[random_item, 0]
                    dy = places[row, 1] - places[random_item, 1]
                    far = dx * dx + dy * dy
                    push = step * 2.0 / ((0.01 + far) * (1.0 + far))
                    places[row, 0] += min(max(push * dx, -2.0), 2.0)
                    places[row, 1] += min(max(push * dy, -2.0), 2.0)
