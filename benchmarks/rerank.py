"""Reranking 300 candidates to 20 against plain numpy MMR: same lists, milliseconds per list."""

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from recommender.candidates import Ranking
from recommender.rerank import DEFAULT_PROFILE, Profile, rerank

ITEMS, WIDTH, POOL, SHOWN = 20_000, 32, 300, 20
PROFILES = {
    "long tail only": Profile(long_tail=0.3),
    "default": DEFAULT_PROFILE,
    "all four": Profile(diversity=0.3, long_tail=0.3, freshness=0.1),
}


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Time one list at a time and batches of 256, on one thread; best of some rounds."""
    parser = argparse.ArgumentParser(prog="bench rerank")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments or [])
    rng = np.random.default_rng(0)
    likeness = rng.standard_normal((ITEMS, WIDTH)).astype(np.float32)
    likeness /= np.linalg.norm(likeness, axis=1, keepdims=True)
    rarity, fresh = rng.random((2, ITEMS)).astype(np.float32)
    items = np.stack([rng.permutation(ITEMS)[:POOL] for _ in range(256)]).astype(np.int32)
    scores = np.sort(rng.random((256, POOL)).astype(np.float32))[:, ::-1].copy()
    rows, ratios = [], {}
    for name, profile in PROFILES.items():
        weights = np.tile(np.array(profile.weights(), np.float32), (256, 1))

        def ours(count: int, weights: Any = weights) -> Any:
            pool = Ranking(items[:count], scores[:count])
            return rerank(pool, weights[:count], likeness, rarity, fresh, SHOWN).items

        def theirs(count: int, profile: Profile = profile) -> Any:
            return np.stack(
                [plain(items[s], scores[s], profile, likeness, rarity, fresh) for s in range(count)]
            )

        same = float((ours(64) == theirs(64)).mean())
        one = _best(lambda: ours(1), options.rounds * 20)
        many = _best(lambda: ours(256), options.rounds) / 256
        numpy = _best(lambda: theirs(16), options.rounds) / 16
        rows.append(
            {
                "profile": name,
                "ms, one list": round(one, 4),
                "ms, of 256": round(many, 4),
                "numpy ms": round(numpy, 4),
                "same places": round(same, 4),
                "within 0.1 ms": many <= 0.1,
            }
        )
        ratios[f"{name}: time over plain numpy"] = many / numpy
    return {"bench": "rerank", "data": "drawn", "table": rows, "ratios": ratios}


def plain(items: Any, scores: Any, profile: Profile, likeness: Any, rarity: Any, fresh: Any) -> Any:
    """Greedy maximal marginal relevance as it is written down, in float32."""
    relevance, diversity, tail, newness = np.array(profile.weights(), np.float32)
    gains = relevance * scores / scores[0] + tail * rarity[items] + newness * fresh[items]
    vectors = likeness[items]
    nearest = np.zeros(len(items), np.float32)
    free = np.ones(len(items), bool)
    chosen = []
    for _ in range(SHOWN):
        best = int(np.where(free, gains - diversity * nearest, -np.inf).argmax())
        free[best] = False
        chosen.append(items[best])
        if diversity > 0:
            nearest = np.maximum(nearest, vectors @ vectors[best])
    return np.array(chosen)


def _best(work: Callable[[], object], rounds: int) -> float:
    work()
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return 1_000 * min(taken)
