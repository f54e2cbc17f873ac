"""Reranking by hand-computed lists, and what must hold for any input."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from recommender.ranking.candidates import Ranking
from recommender.ranking.rerank import (
    BLUR,
    DPP,
    FRESH_DAYS,
    METHODS,
    OWN,
    Profile,
    Traits,
    _logarithms,
    freshness,
    rerank,
    shares_of,
)


def arrays(items, scores):
    return Ranking(np.array([items], np.int32), np.array([scores], np.float32))


def chosen(profile, n=3, fresh=(0, 0, 0, 0), rarity=(0, 0, 0, 0), likeness=None):
    likeness = np.eye(4, dtype=np.float32) if likeness is None else np.array(likeness, np.float32)
    weights = np.array([profile.weights()], np.float32)
    ranking = arrays([2, 0, 1, 3], [1.0, 0.9, 0.8, 0.7])
    rarity, fresh = np.array(rarity, np.float32), np.array(fresh, np.float32)
    return rerank(ranking, weights, Traits.plain(likeness, rarity, fresh, 1), n).items[0].tolist()


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


def traits(items, subjects=1, seed=0, domains=3, mix=None):
    """Items with random vectors, rarity and age, each in one or two domains."""
    rng = np.random.default_rng(seed)
    likeness = rng.standard_normal((items, 4)).astype(np.float32)
    likeness /= np.linalg.norm(likeness, axis=1, keepdims=True)
    rarity, fresh = rng.random((2, items)).astype(np.float32)
    own = rng.random((items, domains)) * (rng.random((items, domains)) < 0.5)
    shares = shares_of(csr_array(own))
    if mix is None:
        mix = rng.dirichlet(np.ones(domains), subjects).astype(np.float32)
    plain = Traits.plain(likeness, rarity, fresh, subjects)
    return replace(plain, **shares, mix=mix, draws=np.arange(subjects, dtype=np.uint64)), own


@given(
    st.lists(st.floats(0.0625, 8), min_size=0, max_size=30),
    st.integers(1, 40),
    st.tuples(*[st.floats(0, 2)] * 4),
    st.floats(0, 1),
    st.sampled_from(METHODS),
)
def test_the_list_is_some_of_the_candidates_each_once(scores, n, weights, exploration, method):
    scores = sorted(scores, reverse=True)
    items = list(range(len(scores))) + [-1] * 3
    profile = Profile(1.0, *weights, exploration, method)
    out = rerank(
        arrays(items, [*scores, *[-np.inf] * 3]),
        np.array([profile.weights()], np.float32),
        traits(33)[0],
        n,
    ).items[0]
    kept = out[out >= 0].tolist()
    assert len(kept) == len(set(kept)) == min(n, len(scores))
    assert set(kept) <= set(range(len(scores)))
    assert Profile.of(profile.weights()) == profile


@given(st.integers(0, 2**31), st.floats(0.01, 2))
def test_balance_takes_what_brings_the_list_nearest_to_the_own_mix(seed, balance):
    """Place after place, against the divergence of Steck as it is written down."""
    item_traits, own = traits(12, seed=seed)
    sums = own.sum(axis=1, keepdims=True)
    shares = own / np.where(sums > 0, sums, 1)
    scores = np.sort(np.random.default_rng(seed).random(12))[::-1]
    ranking = arrays(list(range(12)), scores)
    profile = Profile(balance=balance)
    result = (
        rerank(ranking, np.array([profile.weights()], np.float32), item_traits, 6).items[0].tolist()
    )

    def divergence(listed):
        p = item_traits.mix[0].astype(float)
        q = (1 - BLUR) * shares[listed].sum(axis=0) / len(listed) + BLUR * p
        return (p * np.log(p / q)).sum()

    for number, item in enumerate(result):
        free = [c for c in range(12) if c not in result[:number]]
        values = {
            c: scores[c] / scores[0] - balance * divergence([*result[:number], c]) for c in free
        }
        assert values[item] >= max(values.values()) - 1e-4


@given(st.integers(0, 2**31), st.floats(0.05, 2))
def test_dpp_takes_the_item_that_adds_the_most_volume(seed, diversity):
    """Place after place, against determinants computed as they are written down."""
    item_traits, _ = traits(10, seed=seed)
    kernel = (1 - OWN) * item_traits.likeness.astype(float) @ item_traits.likeness.T + OWN * np.eye(
        10
    )
    scores = np.sort(np.random.default_rng(seed).random(10))[::-1]
    profile = Profile(diversity=diversity, method=DPP)
    weights = np.array([profile.weights()], np.float32)
    result = rerank(arrays(list(range(10)), scores), weights, item_traits, 6).items[0].tolist()

    def volume(listed):
        return np.linalg.slogdet(kernel[np.ix_(listed, listed)])[1]

    for number, item in enumerate(result):
        free = [c for c in range(10) if c not in result[:number]]
        values = {
            c: scores[c] / scores[0] + diversity * volume([*result[:number], c]) for c in free
        }
        assert values[item] >= max(values.values()) - 2e-3


def test_a_list_of_dpp_may_be_longer_than_the_vectors_are_wide():
    weights = np.array([Profile(diversity=1.0, method=DPP).weights()], np.float32)
    items = list(range(30))
    out = rerank(arrays(items, np.linspace(1, 0.5, 30)), weights, traits(30)[0], 30).items[0]
    assert sorted(out.tolist()) == items


def test_balance_mirrors_a_mix_of_two_domains():
    """Half the candidates lie in each domain, the better half in one: the list is mixed 3 to 1."""
    plain = Traits.plain(
        np.eye(40, dtype=np.float32), np.zeros(40, np.float32), np.zeros(40, np.float32), 1
    )
    own = np.zeros((40, 2))
    own[:20, 0], own[20:, 1] = 1, 1
    balanced = replace(plain, **shares_of(csr_array(own)), mix=np.array([[0.75, 0.25]], np.float32))
    weights = np.array([Profile(balance=5).weights()], np.float32)
    result = rerank(arrays(list(range(40)), np.linspace(1, 0.5, 40)), weights, balanced, 8).items[0]
    assert (result < 20).sum() == 6


def test_exploration_takes_its_share_of_the_places():
    """A quarter of 20 places is drawn from all 100 candidates; the rest are the best in order."""
    item_traits, _ = traits(100, subjects=2)
    ranking = Ranking(
        np.tile(np.arange(100, dtype=np.int32), (2, 1)),
        np.tile(np.linspace(1, 0.9, 100, dtype=np.float32), (2, 1)),
    )
    weights = np.tile(np.array(Profile(exploration=0.25).weights(), np.float32), (2, 1))
    lists = rerank(ranking, weights, item_traits, 20).items
    assert (lists >= 20).sum(axis=1).max() <= 5
    assert (lists >= 20).any(axis=1).all()
    assert (lists[0] != lists[1]).any()  # each subject has draws of its own
    np.testing.assert_array_equal(lists, rerank(ranking, weights, item_traits, 20).items)


def test_logarithms_are_right_to_a_millionth():
    """Over the numbers that arrive: chances, and what is left of an item."""
    values = np.geomspace(1e-6, 4, 5000).astype(np.float32)
    logarithms = values.copy()
    _logarithms(logarithms)
    np.testing.assert_allclose(logarithms, np.log(values.astype(np.float64)), atol=2e-6)


def test_where_candidates_end_nothing_is_left():
    out = rerank(
        arrays([3, 1, -1], [2.0, 1.0, -np.inf]),
        np.array([Profile(diversity=0.2).weights()], np.float32),
        traits(5)[0],
        5,
    )
    assert sorted(out.items[0].tolist()) == [-1, -1, -1, 1, 3]
    assert np.isneginf(out.scores[0, 2:]).all()
