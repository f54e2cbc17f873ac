"""Reranking by hand-computed lists, and what must hold for any input."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recommender.candidates import Ranking
from recommender.rerank import FRESH_DAYS, Profile, freshness, rerank


def arrays(items, scores):
    return Ranking(np.array([items], np.int32), np.array([scores], np.float32))


def chosen(profile, n=3, fresh=(0, 0, 0, 0), rarity=(0, 0, 0, 0), likeness=None):
    likeness = np.eye(4, dtype=np.float32) if likeness is None else np.array(likeness, np.float32)
    weights = np.array([profile.weights()], np.float32)
    ranking = arrays([2, 0, 1, 3], [1.0, 0.9, 0.8, 0.7])
    rarity, fresh = np.array(rarity, np.float32), np.array(fresh, np.float32)
    return rerank(ranking, weights, likeness, rarity, fresh, n).items[0].tolist()


def test_the_neutral_profile_keeps_the_order():
    assert chosen(Profile(), n=4) == [2, 0, 1, 3]


def test_an_item_like_the_first_waits():
    # 0 is the twin of 2: 0.9 - 0.5 · 1 < 0.7, so 1 and 3 come before it.
    twins = [[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]]
    assert chosen(Profile(diversity=0.5), n=4, likeness=twins) == [2, 1, 3, 0]


def test_the_rare_and_the_new_rise():
    assert chosen(Profile(long_tail=0.5), rarity=(0, 0, 0, 1)) == [3, 2, 0]
    assert chosen(Profile(freshness=0.15), fresh=(0, 1, 0, 0)) == [2, 1, 0]


def test_freshness_halves():
    day = 86_400
    created = np.array([1000 * day, int((1000 - FRESH_DAYS) * day), np.iinfo(np.int64).min])
    np.testing.assert_allclose(freshness(created, 1000 * day), [1, 0.5, 0])


@given(
    st.lists(st.floats(0.0625, 8), min_size=0, max_size=30),
    st.integers(1, 40),
    st.tuples(*[st.floats(0, 2)] * 3),
)
def test_the_list_is_some_of_the_candidates_each_once(scores, n, weights):
    scores = sorted(scores, reverse=True)
    items = list(range(len(scores))) + [-1] * 3
    rng = np.random.default_rng(0)
    likeness = rng.standard_normal((33, 4)).astype(np.float32)
    out = rerank(
        arrays(items, [*scores, *[-np.inf] * 3]),
        np.array([[1.0, *weights]], np.float32),
        likeness,
        rng.random(33).astype(np.float32),
        rng.random(33).astype(np.float32),
        n,
    ).items[0]
    kept = out[out >= 0].tolist()
    assert len(kept) == len(set(kept)) == min(n, len(scores))
    assert set(kept) <= set(range(len(scores)))
