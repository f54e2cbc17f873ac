"""Metrics against values worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from embeddings import metrics

RANKED = np.array([[0, 1, 2, 3], [4, 3, 2, -1], [1, -1, -1, -1]], np.int32)
WANTED = {0: {0, 2}, 1: {3, 0, 1}, 2: {5}}  # user -> items


def truth(wanted=WANTED, users=3, items=6):
    rows = [u for u, some in wanted.items() for _ in some]
    columns = [i for some in wanted.values() for i in some]
    return csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=(users, items))


FOUND = metrics.hits(RANKED, truth())
RELEVANT = np.array([2, 3, 1])


def test_hits_are_the_wanted_items_and_never_a_pad():
    assert FOUND.tolist() == [
        [True, False, True, False],
        [False, True, False, False],
        [False] * 4,
    ]


def test_hits_without_any_truth():
    assert not metrics.hits(RANKED, csr_array((3, 6), dtype=np.float32)).any()


def test_recall_divides_by_all_there_was_to_find():
    assert metrics.recall(FOUND, RELEVANT, 2).tolist() == [1 / 2, 1 / 3, 0]
    assert metrics.recall(FOUND, RELEVANT, 4).tolist() == [1, 1 / 3, 0]


def test_ndcg_has_an_ideal_list_as_long_as_there_are_relevant_items():
    first = (1 + 1 / math.log2(4)) / (1 + 1 / math.log2(3))
    second = (1 / math.log2(3)) / (1 + 1 / math.log2(3) + 1 / math.log2(4))
    assert metrics.ndcg(FOUND, RELEVANT, 4) == pytest.approx([first, second, 0])
    second_at_2 = (1 / math.log2(3)) / (1 + 1 / math.log2(3))  # min(k, 3) = 2 ideal hits
    assert metrics.ndcg(FOUND, RELEVANT, 2)[1] == pytest.approx(second_at_2)


def test_ndcg_of_a_perfect_list_is_one_even_when_fewer_are_relevant_than_shown():
    assert metrics.ndcg(np.array([[True, True, False]]), np.array([2]), 3) == pytest.approx([1])


def test_average_precision():
    assert metrics.average_precision(FOUND, RELEVANT, 4) == pytest.approx(
        [(1 / 1 + 2 / 3) / 2, (1 / 2) / 3, 0]
    )
    assert metrics.average_precision(FOUND, RELEVANT, 1) == pytest.approx([1, 0, 0])


def test_hit_rate():
    assert metrics.hit_rate(FOUND, 1).tolist() == [1, 0, 0]
    assert metrics.hit_rate(FOUND, 2).tolist() == [1, 1, 0]


def test_k_beyond_the_list_changes_no_ratio_but_the_ideal():
    assert metrics.recall(FOUND, RELEVANT, 50).tolist() == [1, 1 / 3, 0]
    assert metrics.ndcg(FOUND, RELEVANT, 50) == pytest.approx(metrics.ndcg(FOUND, RELEVANT, 4))


def test_rmse_and_mae():
    assert metrics.rmse(np.array([1.0, 5.0]), np.array([4.0, 1.0])) == pytest.approx(
        math.sqrt((9 + 16) / 2)
    )
    assert metrics.mae(np.array([1.0, 5.0]), np.array([4.0, 1.0])) == pytest.approx(3.5)
    assert math.isnan(metrics.rmse(np.zeros(0), np.zeros(0)))


def test_coverage_counts_each_item_once():
    assert metrics.coverage(RANKED, 6) == 5 / 6
    assert metrics.coverage(RANKED[:0], 6) == 0


def test_gini_of_equal_exposure_is_zero_and_of_one_item_is_nearly_one():
    assert metrics.gini(np.array([[0, 1], [2, 3]], np.int32), 4) == pytest.approx(0)
    assert metrics.gini(np.array([[0], [0]], np.int32), 4) == pytest.approx(3 / 4)
    # exposures 0, 1, 3: ((-2)·0 + 0·1 + 2·3) / (3·4)
    assert metrics.gini(np.array([[0, 1], [0, -1], [0, -1]], np.int32), 3) == pytest.approx(1 / 2)
    assert metrics.gini(np.full((2, 2), -1, np.int32), 4) == 0


def test_novelty_is_in_bits():
    popularity = np.array([8, 4, 1, 0])
    ranked = np.array([[0, 1], [2, 3], [0, -1]], np.int32)
    assert metrics.novelty(ranked, popularity, 8) == pytest.approx((0 + 1 + 3 + 3 + 0) / 5)


def test_the_head_is_the_smallest_set_that_holds_half_of_the_interactions():
    assert metrics.tail(np.array([1, 5, 2, 2, 0])).tolist() == [True, False, True, True, True]
    assert metrics.tail(np.array([3, 4, 3])).tolist() == [False, False, True]
    assert metrics.tail(np.array([1, 1, 1, 1])).tolist() == [False, False, True, True]
    assert metrics.tail(np.zeros(2)).all()


def test_long_tail_share():
    in_tail = np.array([False, True, True, False, True, True])
    assert metrics.long_tail_share(RANKED, in_tail) == (2 + 2 + 1) / 8


def test_diversity_of_alike_unlike_and_mixed_lists():
    features = csr_array(np.array([[1.0, 0], [3, 0], [0, 2], [1, 1], [0, 0]]))
    diversity = lambda *items: metrics.intra_list_diversity(np.array([items], np.int32), features)  # noqa: E731
    assert diversity(0, 1) == pytest.approx(0)
    assert diversity(0, 2) == pytest.approx(1)
    assert diversity(0, 3) == pytest.approx(1 - math.sqrt(0.5))
    assert diversity(0, 4) == pytest.approx(1)  # an item nothing is known about
    assert diversity(0, 1, 2) == pytest.approx(2 / 3)
    assert diversity(0, -1, -1) == 0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_diversity_is_the_mean_over_all_pairs(seed):
    rng = np.random.default_rng(seed)
    dense = rng.random((7, 4)) * (rng.random((7, 4)) < 0.6)
    ranked = np.array([rng.permutation(7)[:4] for _ in range(3)], np.int32)
    expected = []
    for row in ranked:
        for a in range(4):
            for b in range(a):
                x, y = dense[row[a]], dense[row[b]]
                norm = np.linalg.norm(x) * np.linalg.norm(y)
                expected.append(1 - (x @ y / norm if norm else 0))
    result = metrics.intra_list_diversity(ranked, csr_array(dense))
    assert result == pytest.approx(np.mean(expected))


def test_intervals_are_seeded_hold_the_mean_and_are_as_wide_as_theory_says():
    values = np.random.default_rng(0).normal(5, 2, 400)
    low, high = metrics.bootstrap(values, seed=1)[0]
    assert low < values.mean() < high
    # mean ± 1.96 s/sqrt(n); 1000 rounds place each edge within a tenth of that
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    assert metrics.bootstrap(values, seed=1).tolist() == [[low, high]]


def test_intervals_of_columns_share_their_draws():
    values = np.random.default_rng(0).random((50, 2))
    both = metrics.bootstrap(values, seed=3)
    assert both[1] == pytest.approx(metrics.bootstrap(values[:, 1], seed=3)[0])
    assert np.isnan(metrics.bootstrap(np.zeros((0, 2)), seed=0)).all()


def test_a_wrong_number_of_rankings_is_refused():
    with pytest.raises(ValueError, match="2 rankings for 3 rows"):
        metrics.hits(RANKED[:2], truth())
