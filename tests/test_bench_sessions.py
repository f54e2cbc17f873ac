"""The bench of sequences: lists are cut fairly, and simple recommenders rank as they should."""

import numpy as np
import pytest

from benchmarks._sequences import figures, markov, nearest_lists, rules
from benchmarks.sessions import cut

LISTS = [[0, 1, 2], [0, 2], [3, 1, 4]]


def test_everything_is_learned_from_and_only_drawn_lists_are_asked_about():
    rng = np.random.default_rng(1)
    lists = [rng.permutation(50)[: rng.integers(2, 9)].tolist() for _ in range(60)]
    long = [own for own in lists if len(own) >= 3]
    names = sorted({item for own in lists for item in own})
    for strict, fewer in ((False, 1), (True, 2)):
        parts = cut(lists, strict, 10, seed=4)
        assert [[names[item] for item in own] for own in parts.learned] == [
            own[:-fewer] for own in long
        ]
        assert len(parts.users) == 10 and (np.diff(parts.users) > 0).all()
        for row, known, wanted in zip(parts.users, parts.known, parts.wanted, strict=True):
            assert [names[item] for item in [*known, wanted]] == long[row]
    assert (cut(lists, False, 10, seed=4).users == parts.users).all()
    assert len(cut(lists, False, 0, seed=4).users) == len(long)


def test_what_came_next_ranks_by_shares_and_by_steps():
    assert markov(LISTS, 5)([[0]], 3).tolist() == [[1, 2, -1]]  # once each; the first item first
    assert rules(LISTS, 5, reach=2, normed=0)([[0], [3], [1, 2]], 2).tolist() == [
        [2, 1],  # 1/2 + 1, and 1
        [1, 4],  # 1, and 1/2
        [-1, -1],  # nothing came after 2
    ]


@pytest.mark.parametrize("spread", [0, 1])
def test_items_of_the_most_alike_lists_rank_first(spread):
    ranked = nearest_lists(LISTS, 5, neighbours=2, decay=1, spread=spread)([[3, 1]], 4)[0].tolist()
    # [3, 1, 4] shares both, [0, 1, 2] one of them; 4 and 0 are as rare as each other, 2 is not.
    assert ranked[0] == 4
    assert set(ranked[1:]) == {0, 2, -1}


def test_figures_count_the_place_of_the_only_item_that_is_wanted():
    ranked = np.array([[7, 8, 9], [1, 2, 3], [4, -1, -1]], np.int32)
    quality = figures(ranked, np.array([8, 5, 4], np.int32))
    assert quality["recall@10"] == pytest.approx(2 / 3)
    assert quality["ndcg@10"] == pytest.approx((1 / np.log2(3) + 1) / 3)
