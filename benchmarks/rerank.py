"""Reranking 300 candidates to 20 against plain numpy: same lists, processor time per list."""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from threadpoolctl import threadpool_limits

from recommender.ranking.candidates import Ranking
from recommender.ranking.rerank import (
    BLUR,
    DEFAULT_PROFILE,
    DPP,
    OWN,
    Profile,
    Traits,
    rerank,
    shares_of,
)

ITEMS, WIDTH, POOL, SHOWN, DOMAINS = 20_000, 32, 300, 20, 20
PROFILES = {
    "long tail only": Profile(long_tail=0.3),
    "default": DEFAULT_PROFILE,
    "mmr": Profile(diversity=0.3, long_tail=0.3, freshness=0.1),
    "dpp": Profile(diversity=0.3, long_tail=0.3, freshness=0.1, method=DPP),
    "balance": Profile(long_tail=0.3, balance=0.3),
    "everything": Profile(
        diversity=0.3, long_tail=0.3, freshness=0.1, balance=0.3, exploration=0.1, method=DPP
    ),
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
    own = np.zeros((ITEMS, DOMAINS))  # two of twenty domains each
    own[np.arange(ITEMS), rng.integers(DOMAINS, size=ITEMS)] += rng.random(ITEMS)
    own[np.arange(ITEMS), rng.integers(DOMAINS, size=ITEMS)] += rng.random(ITEMS)
    shares = own / own.sum(axis=1, keepdims=True)
    traits = replace(
        Traits.plain(likeness, rarity, fresh, 256),
        **shares_of(csr_array(own)),
        mix=rng.dirichlet(np.full(DOMAINS, 0.3), 256).astype(np.float32),
    )
    rows, ratios = [], {}
    for name, profile in PROFILES.items():
        weights = np.tile(np.array(profile.weights(), np.float32), (256, 1))

        def ours(count: int, weights: Any = weights) -> Any:
            pool = Ranking(items[:count], scores[:count])
            return rerank(pool, weights[:count], traits.part(np.arange(count)), SHOWN).items

        def theirs(count: int, profile: Profile = profile) -> Any:
            return np.stack(
                [plain(items[s], scores[s], profile, traits, shares, s) for s in range(count)]
            )

        same = float((ours(64) == theirs(64)).mean())
        with threadpool_limits(1):  # a second thread that waits costs processor time, too
            single = _best(lambda: ours(1), options.rounds * 20)
            batched = _best(lambda: ours(256), options.rounds) / 256
            numpy = _best(lambda: theirs(16), options.rounds) / 16
        rows.append(
            {
                "profile": name,
                "ms, one list": round(single, 4),
                "ms, of 256": round(batched, 4),
                "numpy ms": round(numpy, 4),
                "same places": round(same, 4),
                "within 0.1 ms": batched <= 0.1,
            }
        )
        ratios[f"{name}: time over plain numpy"] = batched / numpy
    return {"bench": "rerank", "data": "drawn", "table": rows, "ratios": ratios}


def plain(items: Any, scores: Any, profile: Profile, traits: Traits, shares: Any, s: int) -> Any:
    """Greedy choice as it is written down, in float32; exploration is left out."""
    relevance, diversity, tail, newness, balance, _, _ = np.array(profile.weights(), np.float32)
    gains = relevance * scores / scores[0] + tail * traits.rarity[items]
    gains = gains + newness * traits.fresh[items]
    vectors, own = traits.likeness[items], shares[items]
    nearest = np.zeros(len(items), np.float32)
    left, steps = np.ones(len(items), np.float32), np.zeros((0, len(items)), np.float32)
    free, shown = np.ones(len(items), bool), np.zeros(own.shape[1])
    chosen: list[int] = []
    p = traits.mix[s]
    for position in range(SHOWN):
        values = gains - diversity * nearest
        if balance > 0:
            q = (1 - BLUR) * (shown + own) / (position + 1) + BLUR * p
            values = values + balance * (p * np.log(q / np.maximum(p, 1e-30))).sum(axis=1)
        best = int(np.where(free, values, -np.inf).argmax())
        free[best] = False
        chosen.append(items[best])
        shown = shown + own[best]
        like = vectors @ vectors[best]
        if profile.method == DPP:
            step = ((1 - OWN) * like - steps[:, best] @ steps) / np.sqrt(left[best])
            steps = np.vstack([steps, step])
            left = np.maximum(left - step**2, np.float32(1e-6))
            nearest = -np.log(left)
        elif diversity > 0:
            nearest = np.maximum(nearest, like)
    return np.array(chosen)


def _best(work: Callable[[], object], rounds: int) -> float:
    work()
    taken = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return 1_000 * min(taken)
