"""Baselines against their formulas, written out densely."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from recommender.learning import baselines


@pytest.fixture(scope="module")
def train():
    """80 users in two halves who like 30 items in two halves, some noise, all of it binary."""
    rng = np.random.default_rng(0)
    same = (np.arange(80)[:, None] % 2) == (np.arange(30)[None] % 2)
    dense = rng.random((80, 30)) < np.where(same, 0.45, 0.03)
    dense[5] = False  # a user without anything
    dense[:, 7] = False  # an item that nobody has
    return csr_array(dense.astype(np.float32))


def scores(name, train, **parameters):
    block = baselines.FAMILIES[name].prepare(train, parameters)(parameters)
    return block(np.arange(train.shape[0]))


def test_popularity_counts_users(train):
    assert (scores("popularity", train) == train.toarray().sum(axis=0)).all()


@pytest.mark.parametrize(
    ("k", "shrink", "damping"), [(29, 0.0, 0.0), (29, 5.0, 0.0), (3, 0.0, 0.0), (3, 1.0, 0.7)]
)
def test_item_knn_is_damped_cosine_cut_to_the_k_strongest(train, k, shrink, damping):
    dense = train.toarray().astype(np.float64)
    say = np.maximum(dense.sum(axis=1), 1) ** -damping
    counts = dense.T @ (say[:, None] * dense)
    degrees = dense.sum(axis=0)
    similar = counts / np.maximum(np.sqrt(np.outer(degrees, degrees)) + shrink, 1e-9)
    np.fill_diagonal(similar, 0)
    similar = similar.astype(np.float32)  # so that ties are ties here too
    for row in similar:
        order = np.lexsort((np.arange(30), -row))
        row[order[k:]] = 0
    result = scores("item_knn", train, k=k, shrink=shrink, damping=damping)
    assert result == pytest.approx(dense @ similar, abs=1e-5)


@pytest.mark.parametrize("users", [80, 20])  # from the side of items, and from that of users
def test_ease_is_its_closed_form(train, users):
    train = train[:users]
    dense = train.toarray().astype(np.float64)
    inverse = np.linalg.inv(dense.T @ dense + 20 * np.eye(30))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    assert scores("ease", train, penalty=20.0) == pytest.approx(dense @ weights, abs=1e-4)


def test_gf_cf_is_the_linear_filter_and_the_low_pass(train):
    dense = train.toarray().astype(np.float64)
    users, items = np.maximum(dense.sum(axis=1), 1), np.maximum(dense.sum(axis=0), 1)
    normal = dense / np.sqrt(np.outer(users, items))
    vectors = np.linalg.svd(normal)[2][:22].T
    low_pass = (dense / np.sqrt(items)) @ vectors @ vectors.T * np.sqrt(items)
    expected = dense @ normal.T @ normal + 0.3 * low_pass
    result = scores("gf_cf", train, directions=22, weight=0.3)
    assert result == pytest.approx(expected, abs=1e-3)


def test_singular_vectors_of_a_matrix_smaller_than_asked():
    vectors = baselines.right_vectors(csr_array(np.diag([3.0, 2.0, 1.0]).astype(np.float32)), 256)
    assert np.abs(vectors) == pytest.approx(np.eye(3), abs=1e-3)


def test_the_best_are_unseen_in_order_and_ties_go_to_the_lower_row():
    rng = np.random.default_rng(1)
    table = rng.integers(0, 6, (40, 25)).astype(np.float32)
    seen = csr_array(rng.random((40, 25)) < 0.3)
    users = np.array([3, 0, 39, 17])
    ranked = baselines.rank_all(lambda rows: table[rows], users, seen, 6)
    for user, row in zip(users, ranked, strict=True):
        allowed = np.flatnonzero(~seen.toarray()[user])
        expected = allowed[np.lexsort((allowed, -table[user][allowed]))][:6]
        assert row.tolist() == expected.tolist()


def test_lists_end_where_nothing_is_left():
    seen = csr_array(np.array([[1, 1, 0, 1]], np.float32))
    ranked = baselines.rank_all(
        lambda rows: np.zeros((len(rows), 4), np.float32), np.array([0]), seen, 3
    )
    assert ranked.tolist() == [[2, -1, -1]]
    nobody = baselines.rank_all(lambda rows: np.zeros((0, 4), np.float32), np.arange(0), seen, 3)
    assert nobody.shape == (0, 3)


def test_every_family_is_tuned_and_finds_the_planted_halves(train):
    result = baselines.tuned(train, seed=0)
    assert list(result) == list(baselines.FAMILIES)
    users = np.flatnonzero(np.diff(train.indptr))
    for name, entry in result.items():
        assert entry.parameters in baselines.FAMILIES[name].grid
        ranked = baselines.rank_all(entry.score_block, users, train, 4)
        right = ((ranked % 2) == (users % 2)[:, None]).mean()
        assert right > 0.9 or name == "popularity"


def test_tuning_takes_the_setting_that_ranks_best():
    """Half the grid scores the wanted half, the other half the opposite."""
    train = csr_array(np.tile(np.eye(2, dtype=np.float32), (20, 10)))
    halves = np.tile(np.eye(2, dtype=np.float32), (20, 10))
    family = baselines.Family(
        ({"sign": -1.0}, {"sign": 1.0}, {"sign": 0.0}),
        lambda train, most: lambda p: lambda rows: np.float32(p["sign"]) * halves[rows],
    )
    assert baselines._tune(family, train, 0, False) == {"sign": 1.0}


def test_ease_is_left_out_where_it_would_not_fit():
    wide = csr_array((np.ones(3, np.float32), ([0, 0, 1], [0, 9, 20_000])), shape=(2, 20_001))
    assert baselines.tuned(wide, seed=0, names=["popularity", "ease"]).keys() == {"popularity"}


def test_nothing_to_learn_from_gives_no_baselines():
    assert baselines.tuned(csr_array((3, 4), dtype=np.float32), seed=0) == {}
