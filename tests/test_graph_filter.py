"""Every graph filter equals its dense formula on small matrices."""

import numpy as np
import pytest
from scipy import sparse

from embeddings.item_item import graph_filter as gf
from embeddings.item_item.spectrum import spectral_scores, spectrum


def ratings(users: int = 40, items: int = 25, seed: int = 0) -> sparse.csr_matrix:
    """Random positive weights on a fifth of the cells; user 3 and item 4 have none."""
    generator = np.random.default_rng(seed)
    dense = (generator.random((users, items)) < 0.2) * generator.random((users, items))
    dense[3], dense[:, 4] = 0, 0
    return sparse.csr_matrix(dense.astype(np.float32))


def dense_normalised(dense: np.ndarray, a: float, b: float) -> np.ndarray:
    rows = np.maximum(dense.sum(axis=1), 1.0)
    columns = np.maximum(dense.sum(axis=0), 1.0)
    return rows[:, None] ** -a * dense * columns[None, :] ** -b


def at_supports(dense: np.ndarray, supports: np.ndarray) -> np.ndarray:
    """dense[support, target] in the layout of the supports, 0 at padding."""
    targets = np.arange(len(supports))[:, None]
    return np.where(supports >= 0, dense[supports, targets], 0)


def test_normalising_divides_by_powers_of_degrees() -> None:
    graph = gf.normalise(ratings(), 0.3, 0.6)
    expected = dense_normalised(ratings().toarray(), 0.3, 0.6)
    np.testing.assert_allclose(graph.rows.toarray(), expected, rtol=1e-5)
    np.testing.assert_allclose(graph.columns.toarray(), expected.T, rtol=1e-5)


def test_features_on_one_item_or_on_too_many_are_left_out() -> None:
    features = sparse.csr_matrix(np.array([[1, 0, 0], [1, 1, 0]], np.float32))
    users = sparse.csr_matrix(np.ones((1, 3), np.float32))
    assert gf.add_feature_rows(users, features, 0.5).toarray().tolist() == [
        [1, 1, 1],
        [0.5, 0.5, 0],
    ]
    assert gf.add_feature_rows(users, features, 0.0).shape == (1, 3)
    with pytest.raises(ValueError, match="features have 2 items"):
        gf.add_feature_rows(users, sparse.csr_matrix((1, 2), dtype=np.float32))


def test_the_spectrum_is_that_of_a_dense_decomposition() -> None:
    matrix = dense_normalised(ratings().toarray(), 0.5, 0.5)
    _, values, vectors = np.linalg.svd(matrix)
    spectral = spectrum(gf.normalise(ratings()), 5, seed=1)
    np.testing.assert_allclose(spectral.values, values[:5], rtol=1e-4)
    low_rank = spectral.item_vectors * spectral.values @ spectral.item_vectors.T
    np.testing.assert_allclose(low_rank, vectors[:5].T * values[:5] @ vectors[:5], atol=1e-4)


def test_the_spectrum_is_deterministic_and_bounded_by_the_rank() -> None:
    first, second = (spectrum(gf.normalise(ratings()), 100, seed=4) for _ in range(2))
    assert first.item_vectors.shape == (25, 25)
    assert first.item_vectors.tobytes() == second.item_vectors.tobytes()
    for shape in [(0, 0), (0, 5), (5, 0), (3, 3)]:
        empty = spectrum(gf.normalise(sparse.csr_matrix(shape, dtype=np.float32)), 4, seed=0)
        assert empty.item_vectors.shape == (shape[1], 0)


def test_supports_are_the_strongest_co_occurrences() -> None:
    graph = gf.normalise(ratings(), 0.3, 0.4)
    gram = (graph.columns @ graph.rows).toarray()
    np.fill_diagonal(gram, 0)
    supports = gf.co_occurrence_supports(graph, 6, threads=2)
    for target in range(25):
        expected = np.argsort(-gram[:, target], kind="stable")[:6]
        expected = expected[gram[expected, target] > 0]
        result = supports[target][supports[target] >= 0]
        np.testing.assert_allclose(gram[result, target], gram[expected, target], rtol=1e-5)


def test_vector_supports_are_exact_over_blocks() -> None:
    vectors = np.random.default_rng(0).standard_normal((25, 4)).astype(np.float32)
    gram = vectors @ vectors.T
    np.fill_diagonal(gram, -1)
    supports = gf.vector_supports(vectors, 3, block_size=7)
    expected = np.argsort(-gram, axis=1)[:, :3]
    assert (supports == np.where(np.take_along_axis(gram, expected, 1) > 0, expected, -1)).all()


def test_merging_keeps_order_and_drops_repeats_and_the_target() -> None:
    first = np.array([[1, -1], [0, 2], [0, -1]], np.int32)
    second = np.array([[2, 1], [2, 1], [-1, -1]], np.int32)
    merged = gf.merge_supports(first, second)
    assert merged.tolist() == [[1, 2, -1, -1], [0, 2, -1, -1], [0, -1, -1, -1]]


def test_spectral_scores_are_the_sharpened_low_rank_matrix() -> None:
    graph = gf.normalise(ratings(), 0.5, 0.5)
    spectral = spectrum(graph, 6, seed=0)
    supports = gf.co_occurrence_supports(graph, 5)
    dense = spectral.item_vectors * spectral.values**0.5 @ spectral.item_vectors.T
    np.testing.assert_allclose(
        spectral_scores(spectral, supports, 0.5), at_supports(dense, supports), atol=1e-5
    )
