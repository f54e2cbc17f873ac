"""What a release holds of the graph is what happened: hides shut, rarity, likeness, rows sorted."""

import numpy as np
import pytest

from graph.model import table
from graph.stores.embedded_store import EmbeddedStore
from recommender.learning.build import RefreshConfig
from recommender.learning.refresh import refresh
from recommender.ranking.request import Request
from recommender.releases.graph_arrays import rarity
from recommender.releases.home import Home
from recommender.serving.recommend import Recommender

NOW = 1_760_000_000


@pytest.fixture(scope="module")
def hiding(tmp_path_factory):
    """Eight users like items 0 … 5 among them; ann hides item 5 without having chosen it."""
    home = Home(tmp_path_factory.mktemp("hiding")).create()
    rows = [
        {"user": f"user {user}", "item": f"item {(user + step) % 6}", "kind": "like"}
        for user in range(8)
        for step in range(4)
    ]
    rows += [{"user": "ann", "item": f"item {item}", "kind": "like"} for item in range(2)]
    rows.append({"user": "ann", "item": "item 5", "kind": "hide"})
    store = EmbeddedStore(home.store)
    store.apply({"events": table("events", rows)})
    release = refresh(store, home, RefreshConfig(preset="fast", threads=1), now=NOW)
    store.close()
    return Recommender(release)


def shown(recommender, **asked):
    answer = recommender.recommend([Request(n=20, reasons=False, **asked)], now=NOW)[0]
    return {item.item for item in answer.items}


def test_what_a_user_hid_is_never_shown_to_them_and_to_others_it_is(hiding):
    assert shown(hiding, user="ann") == {"item 2", "item 3", "item 4"}
    assert shown(hiding, user="ann", include_seen=True) == {f"item {i}" for i in range(5)}
    assert "item 5" in shown(hiding, user="user 0")  # who chose 0 … 3
    release, row = hiding.release, hiding.release.users.row("ann")
    assert release.items.ids(release.blocked.of(row)) == ["item 0", "item 1", "item 5"]
    assert release.items.ids(release.hides.of(row)) == ["item 5"]
    assert release.items.ids(release.histories.of(row)) == ["item 0", "item 1"]


def test_rarity_runs_from_the_most_popular_to_what_nobody_chose():
    """log(1 + 3) is half of log(1 + 15)."""
    assert rarity(np.array([15, 3, 0], np.float32)).tolist() == [0.0, 0.5, 1.0]
    assert rarity(np.zeros(2, np.float32)).tolist() == [1.0, 1.0]
    assert rarity(np.zeros(0, np.float32)).shape == (0,)


def test_likeness_is_a_cosine(recommender):
    """Rows of length one, or of nothing: the product of two is between -1 and 1."""
    likeness = recommender.release.likeness
    lengths = np.linalg.norm(likeness, axis=1)
    chosen = np.asarray(recommender.release.popularity) > 0
    assert chosen.sum() > 100
    np.testing.assert_allclose(lengths[chosen], 1, atol=1e-5)
    assert set(np.round(lengths, 3).tolist()) <= {0.0, 1.0}


def test_the_popularity_of_a_release_is_what_its_histories_sum_to(recommender):
    release = recommender.release
    sums = np.zeros(len(release.items))
    np.add.at(sums, release.histories.indices, release.histories.values)
    np.testing.assert_allclose(release.popularity, sums, rtol=1e-4)
    assert np.argmin(release.rarity) == np.argmax(release.popularity)
