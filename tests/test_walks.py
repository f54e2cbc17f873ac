"""Walks follow the distribution of node2vec, and depend on the seed alone."""

import networkx as nx
import numpy as np
import pytest
from scipy import sparse, stats

from embeddings.vectors.walks import WalkConfig, prepare, walk, walk_blocks
from graph.errors import SettingError
from tests.data import package


def small_graph(seed, nodes=9, chance=0.5):
    """A connected weighted graph of `nodes` nodes with triangles, weights 1 to 5."""
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.random((nodes, nodes)) < chance, 1)
    upper[np.arange(nodes - 1), np.arange(1, nodes)] = True
    weights = upper * rng.integers(1, 6, (nodes, nodes))
    return sparse.csr_matrix((weights + weights.T).astype(np.float32))


def bipartite_graph(seed):
    """Four users, five items, no triangles."""
    rng = np.random.default_rng(seed)
    block = rng.integers(0, 4, (4, 5)) + np.eye(4, 5, dtype=int)
    full = np.zeros((9, 9), dtype=np.float32)
    full[:4, 4:], full[4:, :4] = block, block.T
    return sparse.csr_matrix(full)


def package_probabilities(matrix, p, q):
    """{(previous, current): {next: probability}} as the node2vec package computes it."""
    node2vec = package("node2vec")
    network = nx.from_scipy_sparse_array(matrix)
    made = node2vec.Node2Vec(network, p=p, q=q, walk_length=2, num_walks=1, quiet=True)
    result = {}
    for current, entry in made.d_graph.items():
        neighbours = list(entry[made.NEIGHBORS_KEY])
        for previous, chances in entry[made.PROBABILITIES_KEY].items():
            result[int(previous), int(current)] = dict(
                zip(map(int, neighbours), map(float, chances), strict=True)
            )
    return result


def test_second_steps_follow_the_node2vec_packages_probabilities():
    """One pooled chi-squared over every (previous, current) of seven graphs: p-value > 1e-6."""
    statistic, freedom = 0.0, 0
    cases = [(1, 1), (0.25, 4), (4, 0.25), (2, 0.5), (0.5, 1), (1, 3)]
    graphs = [small_graph(n) for n in range(len(cases))] + [bipartite_graph(5)]
    for number, (matrix, (p, q)) in enumerate(zip(graphs, [*cases, (0.5, 4)], strict=True)):
        expected = package_probabilities(matrix, p, q)
        starts = np.repeat(np.arange(matrix.shape[0], dtype=np.int32), 4000)
        walks = walk(prepare(matrix), WalkConfig(1, 3, p, q), starts, seed=number)
        for (previous, current), chances in expected.items():
            chosen = walks[(walks[:, 0] == previous) & (walks[:, 1] == current), 2]
            names = np.array(list(chances))
            wanted = np.array(list(chances.values())) * len(chosen)
            if len(names) < 2 or wanted.min() < 5:
                continue
            counts = (chosen[:, None] == names).sum(0)
            assert counts.sum() == len(chosen)
            statistic += float((np.square(counts - wanted) / wanted).sum())
            freedom += len(names) - 1
    assert freedom > 300
    assert stats.chi2.sf(statistic, freedom) > 1e-6
    assert stats.chi2.cdf(statistic, freedom) > 1e-6


def test_first_steps_follow_the_weights():
    matrix = small_graph(3)
    starts = np.zeros(200_000, dtype=np.int32)
    second = walk(prepare(matrix), WalkConfig(1, 2), starts, seed=1)[:, 1]
    weights = matrix[0].toarray().ravel()
    wanted = weights / weights.sum() * len(starts)
    counts = np.bincount(second, minlength=9)
    assert counts[weights == 0].sum() == 0
    seen = weights > 0
    statistic = (np.square(counts - wanted)[seen] / wanted[seen]).sum()
    assert stats.chi2.sf(statistic, seen.sum() - 1) > 1e-6


@pytest.mark.parametrize("p_q", [(1.0, 1.0), (0.5, 2.0)])
def test_walks_do_not_depend_on_threads_or_blocks(p_q):
    graph = prepare(small_graph(1, nodes=60, chance=0.1))
    config = WalkConfig(3, 12, *p_q)
    single = np.concatenate(list(walk_blocks(graph, config, seed=5, threads=1, block=1000)))
    many = np.concatenate(list(walk_blocks(graph, config, seed=5, threads=3, block=17)))
    other = np.concatenate(list(walk_blocks(graph, config, seed=6)))
    np.testing.assert_array_equal(single, many)
    assert (single != other).any()


def test_every_step_is_an_edge_and_every_node_with_one_starts_each_round():
    matrix = small_graph(2, nodes=40, chance=0.1)
    lonely = sparse.block_diag([matrix, sparse.csr_matrix((2, 2))], format="csr")
    walks = np.concatenate(list(walk_blocks(prepare(lonely), WalkConfig(2, 8, 3, 0.3), seed=1)))
    assert (np.bincount(walks[:, 0], minlength=42) == [2] * 40 + [0] * 2).all()
    assert (np.asarray(matrix[walks[:, :-1].ravel(), walks[:, 1:].ravel()]) > 0).all()


def test_a_metapath_sets_the_type_of_every_step():
    """Three users, three items, two tags; item 5 has no tag, so walks on it end there."""
    full = np.zeros((8, 8), dtype=np.float32)
    for a, b in [(0, 3), (0, 4), (1, 4), (1, 5), (2, 5), (3, 6), (4, 6), (4, 7)]:
        full[a, b] = full[b, a] = 1
    graph = prepare(sparse.csr_matrix(full), counts=(3, 3, 2))
    walks = walk(
        graph,
        WalkConfig(1, 9, metapath=(0, 1, 2, 1)),
        np.tile(np.arange(3, dtype=np.int32), 50),
        seed=1,
    )
    kinds = np.array([0, 0, 0, 1, 1, 1, 2, 2, -1])[walks]
    wanted = np.array([0, 1, 2, 1, 0, 1, 2, 1, 0])
    assert ((kinds == wanted) | (kinds == -1)).all()
    assert (walks[walks[:, 1] == 5, 2] == -1).all()
    assert (walks[walks[:, 1] == 4] >= 0).any(axis=0)[:3].all()


def test_bad_input_names_the_remedy():
    with pytest.raises(SettingError, match="p and q"):
        WalkConfig(p=0)
    with pytest.raises(ValueError, match="positive"):
        prepare(sparse.csr_matrix(np.array([[0, -1.0], [-1.0, 0]])))
    with pytest.raises(ValueError, match="add up"):
        prepare(small_graph(0), counts=(1, 2))
    with pytest.raises(SettingError, match="metapath"):
        walk(prepare(small_graph(0)), WalkConfig(metapath=(0, 1)), np.zeros(1, np.int32), seed=0)


def test_an_empty_graph_has_no_walks():
    assert list(walk_blocks(prepare(sparse.csr_matrix((3, 3))), WalkConfig(), seed=0)) == []
