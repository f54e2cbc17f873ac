"""Ridges between items: local ones and exact ones solve what they say, on either side."""

import numpy as np
import pytest
from scipy import sparse

from embeddings.item_item import graph_filter as gf
from embeddings.item_item.exact_ridge import exact_ridge, is_cheap, sides
from embeddings.item_item.item_table import strongest
from embeddings.item_item.local_ridge import local_ridge, mean_square

PENALTIES = (5.0, 0.2, 2.0)


def drawn(users: int, items: int, seed: int = 4) -> sparse.csr_matrix:
    """Of every user a third of the items, weighing 1 or 2; the last user and item have nothing."""
    rng = np.random.default_rng(seed)
    dense = (rng.random((users, items)) < 0.3) * rng.integers(1, 3, (users, items))
    dense[-1] = dense[:, -1] = 0
    return sparse.csr_matrix(dense.astype(np.float32))


def ease(gram: np.ndarray, ridge: float) -> np.ndarray:
    """Weights source by target (Steck 2019): -P / diag(P) by column, zero diagonal."""
    inverse = np.linalg.inv(gram + ridge * np.eye(len(gram)))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return weights


def dense_of(table, items: int) -> np.ndarray:
    dense = np.zeros((items, items))
    for item in range(items):
        there = table.neighbours[item] >= 0
        dense[item, table.neighbours[item][there]] = table.scores[item][there]
    return dense


def test_a_penalty_of_one_is_the_mean_square_of_the_items_in_use():
    graph = gf.normalise(drawn(40, 25), 0, 0)
    squares = np.square(drawn(40, 25).toarray()).sum(axis=0)
    assert mean_square(graph) == pytest.approx(squares[squares > 0].mean())


def test_local_ridges_of_many_penalties_solve_each_support():
    graph = gf.normalise(drawn(40, 25), 0.3, 0.3)
    dense = graph.rows.toarray().astype(np.float64)
    gram = dense.T @ dense
    supports = gf.co_occurrence_supports(graph, 8)
    weights = local_ridge(graph, supports, PENALTIES, threads=2, steps=40)
    for penalty, of_penalty in zip(PENALTIES, weights, strict=True):
        for target in range(25):
            inside = supports[target][supports[target] >= 0]
            matrix = gram[np.ix_(inside, inside)]
            matrix += penalty * mean_square(graph) * np.eye(len(inside))
            expected = np.linalg.solve(matrix, gram[inside, target])
            np.testing.assert_allclose(of_penalty[target, : len(inside)], expected, atol=1e-3)
            assert (of_penalty[target, len(inside) :] == 0).all()


@pytest.mark.parametrize("shape", [(60, 25), (15, 40)])  # more users than items, and fewer
@pytest.mark.parametrize("exponents", [(0.0, 0.0), (0.2, 0.3)])
def test_the_exact_ridge_is_ease_from_either_side(shape, exponents):
    users, items = shape
    graph = gf.normalise(drawn(users, items), *exponents)
    dense = graph.rows.toarray().astype(np.float64)
    scale = graph.item_degrees.astype(np.float64) ** exponents[1]
    for penalty in PENALTIES:
        expected = ease(dense.T @ dense, penalty * mean_square(graph)) * scale / scale[:, None]
        result = dense_of(exact_ridge(graph, penalty, items, exponents[1]), items)
        np.testing.assert_allclose(result, expected, atol=1e-4)


def test_a_narrow_exact_ridge_keeps_the_largest_weights_of_each_source():
    graph = gf.normalise(drawn(60, 25), 0, 0)
    whole = exact_ridge(graph, 1.0, 25, 0.0)
    narrow = exact_ridge(graph, 1.0, 4, 0.0)
    assert (whole.scores < 0).any()  # by size, whatever their sign
    expected = strongest(whole.neighbours, whole.scores, 4)
    np.testing.assert_allclose(np.abs(narrow.scores), np.abs(expected.scores), atol=1e-6)


def test_a_local_ridge_on_all_items_is_the_exact_one():
    graph = gf.normalise(drawn(200, 20), 0, 0)
    supports = np.array([[j for j in range(20) if j != i] for i in range(20)], np.int32)
    local = local_ridge(graph, supports, [0.5], steps=40)[0]
    exact = dense_of(exact_ridge(graph, 0.5, 20, 0.0), 20)
    for target in range(19):
        np.testing.assert_allclose(local[target], exact[supports[target], target], atol=1e-3)


def test_the_smaller_side_decides_whether_the_exact_form_is_cheap():
    def graph(users: int, items: int) -> gf.NormalisedGraph:
        rows, columns = np.arange(max(users, items)) % users, np.arange(max(users, items)) % items
        ones = np.ones(len(rows), np.float32)
        return gf.normalise(sparse.csr_matrix((ones, (rows, columns)), shape=(users, items)))

    assert is_cheap(graph(5_000, 15_000))
    assert is_cheap(graph(30_000, 3_000))
    assert not is_cheap(graph(15_000, 15_000))


def test_nothing_to_learn_from_gives_padding():
    table = exact_ridge(gf.normalise(sparse.csr_matrix((3, 4), dtype=np.float32)), 1.0, 2, 0.0)
    assert (table.neighbours == -1).all()
    assert (table.scores == 0).all()
    assert sides(gf.normalise(drawn(60, 25))) == (59, 24)  # without what has nothing
