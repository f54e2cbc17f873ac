import numpy as np
import pytest
import small_world

from graph.model import table
from graph.snapshot import take_snapshot
from graph.statistics import gini, statistics
from graph.stores.embedded_store import EmbeddedStore


def counted(tmp_path, batch):
    store = EmbeddedStore(tmp_path / "g.db")
    store.apply(batch)
    result = statistics(take_snapshot(store))
    store.close()
    return result


def events(*pairs, kind="like"):
    rows = [{"user": user, "item": item, "kind": kind} for user, item in pairs]
    return {"events": table("events", rows)}


def test_an_empty_graph_counts_nothing(tmp_path):
    result = counted(tmp_path, {})
    assert (result.users, result.items, result.events, result.pairs) == (0, 0, 0, 0)
    assert (result.density, result.popularity_gini, result.hubs) == (0.0, 0.0, {})
    assert set(result.events_per_user) == {0.0}


def test_counts_of_three_events_are_those_by_hand(tmp_path):
    orphans = {
        "items": table("items", [{"id": "alone"}, {"id": "tagged"}]),
        "users": table("users", [{"id": "silent"}]),
        "item_tags": table("item_tags", [{"item": "tagged", "category": "tag", "tag": "t"}]),
    }
    result = counted(tmp_path, events(("u", "i"), ("u", "j"), ("v", "i")) | orphans)
    assert (result.users, result.items, result.tags, result.events) == (3, 4, 1, 3)
    assert result.events_by_kind == {"like": 3}
    assert result.density == pytest.approx(3 / 12)
    assert result.events_per_user == pytest.approx((1, 1.25, 1.5, 1.75, 1.95, 2))
    assert (result.users_without_events, result.items_without_events) == (1, 2)
    assert result.items_without_anything == 1


def test_a_user_with_a_thousand_times_the_median_is_a_hub_and_nobody_else_is(tmp_path):
    robot = [("robot", f"i{number}") for number in range(1000)]
    people = [(f"u{number}", "i0") for number in range(9)]
    assert counted(tmp_path, events(*robot, *people)).hubs == {"robot": 1000}


def test_the_small_worlds_orphans_are_found(tmp_path):
    result = counted(tmp_path, small_world.batch())
    assert (result.users, result.items) == (small_world.USERS, small_world.ITEMS)
    assert result.items_without_events >= 2
    assert result.items_without_anything == 0, "even the orphans have tags"


@pytest.mark.parametrize("counts", [[3, 3, 3], [0, 0, 8], [1, 2, 3, 4], [5]])
def test_gini_is_half_the_mean_difference_over_the_mean(counts):
    values = np.array(counts)
    difference = np.abs(values[:, None] - values[None, :]).mean()
    assert gini(values) == pytest.approx(difference / (2 * values.mean()))
