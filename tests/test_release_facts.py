"""What a release holds of the graph is what happened: hides shut, rarity, likeness, rows sorted."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from graph.model import table
from graph.stores.embedded_store import EmbeddedStore
from recommender.learning.build import RefreshConfig
from recommender.learning.refresh import refresh
from recommender.ranking.request import Request
from recommender.releases.graph_arrays import attribute_columns, rarity
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


def shown(recommender, **fields):
    answer = recommender.recommend([Request(n=20, reasons=False, **fields)], now=NOW)[0]
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


@pytest.fixture(scope="module")
def tagged(tmp_path_factory):
    """Item x carries 25 tags, heavier from t00 on; ann writes `own` and t03 on it; y has t03."""
    home = Home(tmp_path_factory.mktemp("tagged")).create()
    carried = [("x", f"t{at:02}", 30.0 - at) for at in range(25)] + [("y", "t03", 1.0)]
    store = EmbeddedStore(home.store)
    store.apply(
        {
            "events": table(
                "events",
                [
                    {"user": f"user {user}", "item": item, "kind": "like"}
                    for user in range(6)
                    for item in ("x", "y", "z")
                ]
                + [
                    {"user": "ann", "item": "x", "kind": "tag", "tag": tag}
                    for tag in ("own", "t03")
                ]
                + [{"user": "ann", "item": "z", "kind": "tag", "tag": "own"}],
            ),
            "item_tags": table(
                "item_tags",
                [
                    {"item": item, "category": "tag", "tag": tag, "weight": weight}
                    for item, tag, weight in carried
                ],
            ),
        }
    )
    release = refresh(store, home, RefreshConfig(preset="fast", threads=1), now=NOW)
    store.close()
    return release


def test_a_card_shows_the_twenty_heaviest_tags_that_an_item_carries(tagged):
    shown = {item: tagged.card(tagged.items.row(item))["tags"] for item in ("x", "y", "z")}
    assert shown == {"x": [f"t{at:02}" for at in range(20)], "y": ["t03"], "z": []}


def test_carriers_are_all_that_carry_a_tag_or_were_given_it_by_people(tagged):
    def carriers(name):
        rows = np.flatnonzero(tagged.tag_name_rows == tagged.tag_names.row(name))
        result = [tagged.items.ids(tagged.carriers.of(int(row))) for row in rows]
        return sorted(item for items in result for item in items)

    assert carriers("t03") == ["x", "y"]
    assert carriers("own") == ["x", "z"]
    assert carriers("t24") == ["x"]
    assert len(tagged.carriers.indices) == 25 + 1 + 2


def test_what_is_carried_is_told_from_what_people_wrote(tagged):
    item_tags = tagged.item_tags
    given = tagged.arrays["item_tags.given"]
    marked = {
        (tagged.items.id(item), tagged.tags.id(int(tag)).split("\x1f")[-1]): bool(flag)
        for item in range(len(tagged.items))
        for tag, flag in zip(
            item_tags.of(item),
            given[item_tags.indptr[item] : item_tags.indptr[item + 1]],
            strict=True,
        )
    }
    assert all(not flag for (_, tag), flag in marked.items() if tag == "own")
    assert all(flag for (_, tag), flag in marked.items() if tag != "own")
    assert {tag for _, tag in marked} >= {"own", "t03"}


def test_attributes_that_some_items_lack_are_told_as_nothing():
    texts = pa.array(['{"year": 1990, "language": "en"}', "{}", '{"language": "fr", "year": null}'])
    arrays, kept = attribute_columns(SimpleNamespace(item_attributes=texts))
    assert kept == {
        "language": {"place": 0, "numeric": False},
        "year": {"place": 1, "numeric": True},
    }
    words = [bytes(arrays["attribute0.words.data"]).decode()[at : at + 2] for at in (0, 2)]
    codes = arrays["attribute0.codes"].tolist()
    assert [None if code < 0 else words[code] for code in codes] == ["en", None, "fr"]
    assert codes[1] == -1
    assert arrays["attribute1.values"][0] == 1990
    assert np.isnan(arrays["attribute1.values"][1:]).all()
