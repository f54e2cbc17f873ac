"""A catalogue too large for exact search gets nearly the same table; and what a size costs."""

import numpy as np
import pytest
from scipy import sparse

from benchmarks import scale
from embeddings.hold_out import hold_back
from embeddings.indexes.faiss_index import likely_neighbours
from embeddings.item_item import blend, scorers
from embeddings.item_item.blend import build_item_table
from embeddings.item_item.graph_filter import vector_supports
from embeddings.item_item.judge import Judge
from graph.snapshot import take_snapshot
from graph.weighting import weigh
from loaders.synthetic import END, generate
from recommender.learning.build import RefreshConfig


@pytest.fixture(scope="module")
def planted() -> sparse.csr_matrix:
    """1,200 readers of 1,500 items in niches of about 30."""
    made = scale.Made(generate(30_000, seed=4, items=1500))
    graph = weigh(take_snapshot(made), RefreshConfig().weighting, END)
    return sparse.csr_matrix(graph.user_items)


def quality(users: sparse.csr_matrix) -> tuple[float, int]:
    """NDCG@20 of the table on what it has not seen, and its width."""
    fit, held = hold_back(users, seed=9)
    table, _, _ = build_item_table(fit, preset="fast", seed=0)
    judge = Judge(fit, held, 2000, 0, 1)
    return judge(table.neighbours, table.scores)[0], table.neighbours.shape[1]


def test_proposals_of_faiss_give_nearly_the_table_of_exact_search(planted, monkeypatch) -> None:
    exact, _ = quality(planted)
    for module in (scorers, blend):
        monkeypatch.setattr(module, "QUADRATIC_ITEMS", 1000)
    monkeypatch.setattr(scorers, "SPECTRUM_CELLS", 1500 * 128)
    monkeypatch.setattr(
        scorers.gf, "vector_supports", lambda *_a, **_k: pytest.fail("an exact search")
    )
    large, width = quality(planted)
    assert width == 100
    assert large >= 0.95 * exact
    popular = np.asarray(planted.sum(axis=0)).ravel().astype(np.float32)
    fit, held = hold_back(planted, seed=9)
    everyone = np.tile(np.argsort(-popular)[:100].astype(np.int32), (1500, 1))
    counted = Judge(fit, held, 2000, 0, 1)(everyone, popular[everyone])[0]
    assert large >= 1.5 * counted


def test_likely_neighbours_are_nine_tenths_of_the_exact_ones() -> None:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((50, 16))
    vectors = (centres[rng.integers(50, size=4000)] + rng.standard_normal((4000, 16))) / 4
    others = vectors * rng.uniform(0.5, 1.5, (4000, 1))
    vectors, others = vectors.astype(np.float32), others.astype(np.float32)
    result = likely_neighbours(vectors, others, 20)
    exact = vector_supports(vectors, 20, targets=others)
    own = np.arange(4000)[:, None]
    assert not (result == own).any()
    shared = [len(np.intersect1d(a, b)) for a, b in zip(result, exact, strict=True)]
    assert np.mean(shared) >= 0.9 * 20
    products = np.where(result >= 0, np.einsum("id,ikd->ik", vectors, others[result]), 0)
    assert (np.diff(products, axis=1) <= 1e-5).all()
    assert result.tobytes() == likely_neighbours(vectors, others, 20).tobytes()


def test_a_catalogue_without_vectors_has_no_neighbours() -> None:
    assert (likely_neighbours(*[np.zeros((5, 3), np.float32)] * 2, 2) == -1).all()


def test_the_bench_tells_cost_and_quality_of_each_preset(capsys) -> None:
    result = scale.main(["--seconds", "0", "--sizes", "300", "--presets", "fast", "--json"])
    ours, als = result["table"]
    assert (ours["items"], ours["events"]) == (300, 3000)
    assert min(ours["CPU µs/item"], ours["peak MB"], ours["release KB/item"], ours["p50 ms"]) > 0
    assert 0 < ours["p50 ms"] <= ours["p99 ms"]
    assert ours["niche"] > 0.5
    assert als["what"].startswith("ALS")
    assert result["ratios"]["preset fast: niche over ALS, 300 items"] > 0
