"""The contract of `VectorIndex`, run over the exact index and over FAISS."""

from pathlib import Path

import numpy as np
import pytest

from embeddings.indexes.faiss_index import FaissIndex
from embeddings.indexes.index import ExactIndex, recall_by_distance
from graph.errors import ReleaseError

MAPS = Path("/proc/self/maps")


def unit_vectors(count: int, dimensions: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, dimensions)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def vectors():
    return unit_vectors(3000, 16, 0)


class VectorIndexContract:
    """What every index keeps, whatever its size."""

    def build(self, vectors):
        raise NotImplementedError

    @pytest.fixture
    def index(self, vectors):
        return self.build(vectors)

    def test_finds_what_the_oracle_finds(self, index, vectors):
        queries = unit_vectors(50, 16, 1)
        _, scores = index.search(queries, 10)
        oracle = np.sort(queries @ vectors.T, axis=1)[:, ::-1][:, :10]
        assert recall_by_distance(scores, oracle) >= 0.97

    def test_scores_are_the_products_of_the_rows(self, index, vectors):
        queries = unit_vectors(5, 16, 2)
        rows, scores = index.search(queries, 7)
        expected = np.einsum("bd,bkd->bk", queries, vectors[rows])
        np.testing.assert_allclose(scores, expected, atol=1e-5)
        assert (np.diff(scores, axis=1) <= 1e-6).all()

    @pytest.mark.parametrize("share", [0.5, 0.05, 0.002])
    def test_a_filter_is_never_broken_and_never_starves(self, index, vectors, share):
        allowed = np.random.default_rng(3).random(3000) < share
        queries = unit_vectors(20, 16, 4)
        rows, scores = index.search(queries, 5, allowed)
        assert allowed[rows].all()
        oracle = np.sort(np.where(allowed, queries @ vectors.T, -np.inf), axis=1)[:, ::-1][:, :5]
        assert recall_by_distance(scores, oracle) >= 0.97

    def test_too_few_allowed_rows_leave_the_rest_empty(self, index):
        allowed = np.zeros(3000, bool)
        allowed[[5, 9]] = True
        rows, scores = index.search(unit_vectors(1, 16, 5), 4, allowed)
        assert set(rows[0, :2]) == {5, 9}
        assert (rows[0, 2:] == -1).all()
        assert np.isneginf(scores[0, 2:]).all()

    @pytest.mark.parametrize(
        "queries", [np.zeros((1, 3), np.float32), np.full((1, 16), np.nan, np.float32)]
    )
    def test_queries_that_do_not_fit_are_refused(self, index, queries):
        with pytest.raises(ValueError, match=r"dimensions|finite"):
            index.search(queries, 1)

    def test_nothing_asked_is_nothing_found(self, index):
        rows, scores = index.search(np.zeros((0, 16), np.float32), 3)
        assert rows.shape == scores.shape == (0, 3)


class TestExactIndex(VectorIndexContract):
    def build(self, vectors):
        return ExactIndex(vectors)


class TestSmallFaissIndex(VectorIndexContract):
    def build(self, vectors):
        return FaissIndex.build(vectors)


class TestApproximateFaissIndex(VectorIndexContract):
    @pytest.fixture(autouse=True)
    def always_approximate(self, monkeypatch):
        monkeypatch.setattr("embeddings.indexes.faiss_index.EXACT_PRODUCTS", 0)

    def build(self, vectors):
        index = FaissIndex.build(vectors, exact_products=0)
        assert index.approximate
        return index

    def test_survives_saving(self, index, vectors, tmp_path):
        index.save(tmp_path / "i.faiss")
        again = FaissIndex.load(tmp_path / "i.faiss", vectors)
        queries = unit_vectors(5, 16, 6)
        np.testing.assert_array_equal(index.search(queries, 5)[0], again.search(queries, 5)[0])

    @pytest.mark.skipif(not MAPS.exists(), reason="only Linux tells what a process has mapped")
    def test_is_mapped_so_that_workers_share_it(self, index, vectors, tmp_path):
        index.save(tmp_path / "i.faiss")
        loaded = FaissIndex.load(tmp_path / "i.faiss", vectors)
        assert str(tmp_path / "i.faiss") in MAPS.read_text()
        assert loaded.approximate

    def test_is_the_same_each_time_it_is_built(self, vectors, tmp_path):
        for name in ("a", "b"):
            FaissIndex.build(vectors, exact_products=0).save(tmp_path / name)
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()

    def test_refuses_an_index_of_other_vectors(self, index, vectors, tmp_path):
        index.save(tmp_path / "i.faiss")
        with pytest.raises(ReleaseError, match="holds 3000"):
            FaissIndex.load(tmp_path / "i.faiss", vectors[:10])


def test_no_vectors_find_nothing():
    rows, _ = FaissIndex.build(np.zeros((0, 4), np.float32)).search(np.ones((1, 4), np.float32), 3)
    assert rows.tolist() == [[-1, -1, -1]]
