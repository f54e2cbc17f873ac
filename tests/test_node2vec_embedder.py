"""node2vec finds planted niches with either engine."""

import numpy as np
import pytest

from embeddings.vectors.node2vec_embedder import Node2VecConfig, Node2VecEmbedder
from graph.errors import SettingError
from tests.data import package
from tests.planted import neighbours_in_niche, niches

SMALL = {"dimensions": 16, "walks": 10, "length": 12}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("engine", ["fast", "package"])
@pytest.mark.parametrize("p_q", [(1.0, 1.0), (0.5, 2.0)])
def test_both_engines_find_planted_niches(engine, p_q):
    if engine == "package":
        package("node2vec")
    graph, niche = niches()
    config = Node2VecConfig(
        **SMALL, p=p_q[0], q=p_q[1], engine=engine, contexts="all", negative_exponent=0.75
    )
    made = Node2VecEmbedder(config).embed(graph, seed=1)
    assert made.items.shape == (90, 16)
    assert neighbours_in_niche(made.items, niche) >= 0.9
    scores = made.items @ made.item_outputs.T
    np.fill_diagonal(scores, -np.inf)
    best = np.argsort(-scores, axis=1)[:, :10]
    assert (niche[best] == niche[:, None]).mean() >= 0.9


def test_users_times_item_outputs_rank_the_users_niche_first():
    graph, niche = niches()
    made = Node2VecEmbedder(Node2VecConfig(**SMALL)).embed(graph, seed=1)
    best = np.argsort(-(made.users @ made.item_outputs.T), axis=1)[:, :10]
    assert (niche[best] == np.repeat(np.arange(6), 20)[:, None]).mean() >= 0.9


def test_metapaths_through_tags_find_niches():
    graph, niche = niches()
    config = Node2VecConfig(**SMALL, metapath=(1, 2, 1, 0), contexts="all")
    made = Node2VecEmbedder(config).embed(graph, seed=1)
    assert neighbours_in_niche(made.items, niche) >= 0.9


def test_one_thread_gives_the_same_bytes_and_progress_ends_at_one():
    graph, _ = niches()
    seen = []
    config = Node2VecConfig(**SMALL)
    single = Node2VecEmbedder(config).embed(
        graph, seed=1, progress=lambda _, part: seen.append(part)
    )
    two = Node2VecEmbedder(config).embed(graph, seed=1)
    assert single.items.tobytes() == two.items.tobytes()
    assert single.item_outputs.tobytes() == two.item_outputs.tobytes()
    assert seen[-1] == 1.0
    assert seen == sorted(seen)


def test_the_package_engine_refuses_large_graphs_and_names_the_remedy():
    graph, _ = niches(groups=1, users=400, items=400)
    with pytest.raises(SettingError, match='engine = "fast"'):
        Node2VecEmbedder(Node2VecConfig(engine="package")).embed(graph, seed=1)


def test_settings_that_cannot_work_are_refused():
    with pytest.raises(SettingError, match="engine"):
        Node2VecConfig(engine="slow")
    with pytest.raises(SettingError, match="metapath"):
        Node2VecConfig(engine="package", metapath=(0, 1))
