"""The bench of newcomers: all rankers get the same events and never show what is shut."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from benchmarks import cold
from benchmarks._worlds import WORLDS, world
from graph.snapshot import drop_pairs
from graph.weighting import weigh
from recommender.learning.build import RefreshConfig

CONFIG = RefreshConfig(preset="fast", threads=1)


def test_what_nearest_lists_learn_from_stands_in_its_order():
    """Series are chosen one item after the other; of the first user nothing is learned."""
    everything = world("series", 1)
    chosen = WORLDS["series"](np.random.default_rng([1, list(WORLDS).index("series")]))
    out = everything.events.user == 0
    users, items = everything.events.user[out], everything.events.item[out]
    graph = weigh(drop_pairs(everything, users, items), CONFIG.weighting, 0)
    lists = cold._in_order(everything, out, graph, seed=0)
    names = [[f"i{item:05}" for item in own] for own in chosen[1:]]
    assert [list(everything.items.ids(own)) for own in lists] == names


def test_what_is_shut_leaves_its_place_to_the_next():
    shut = csr_array(np.array([[0, 1, 0, 0, 1], [0, 0, 0, 0, 0]], np.float32))
    ranked = np.array([[4, 3, 1, 2, -1], [2, 1, -1, -1, -1]], np.int32)
    best = cold._others(ranked, shut)
    assert best.shape == (2, 20)
    assert best[:, :3].tolist() == [[3, 2, -1], [2, 1, -1]]


def test_newcomers_are_served_beside_both_others(tmp_path):
    """Four of forty people of two niches are unknown: whoever is asked about has over ten items."""
    rows, gains = cold.few(world("tiny", 3), CONFIG, tmp_path)
    assert [row["name"] for row in rows] == ["served", "item kNN", "V-SKNN"] * len(cold.FIRST)
    assert {row["users"] for row in rows} == {4}
    by_name = {(row["what"], row["name"]): row["ndcg@20"] for row in rows}
    for name, ending in (("item kNN", ""), ("V-SKNN", "_v_sknn")):
        ratio = by_name["5 events", "served"] / by_name["5 events", name]
        assert gains[f"events_5{ending}"] == pytest.approx(ratio)
        assert by_name["5 events", name] > 0.3  # 15 items of the own niche are left, 35 in all
        low, high = next(row for row in rows if row["name"] == name)["served minus this"]
        assert low <= by_name["1 events", "served"] - by_name["1 events", name] <= high


def test_the_lead_of_lists_over_themselves_is_nothing_and_over_empty_ones_all():
    wanted = csr_array(np.eye(3, 5, dtype=np.float32))
    ranked = np.arange(3, dtype=np.int32)[:, None]
    assert cold._lead(ranked, ranked, wanted, 0) == [0.0, 0.0]
    assert cold._lead(ranked, np.full((3, 1), -1, np.int32), wanted, 0) == [1.0, 1.0]
