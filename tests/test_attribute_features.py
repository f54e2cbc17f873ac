"""What users say of themselves as features: found where it decides, filled where it is missing."""

import json
from dataclasses import replace

import numpy as np
import pytest

from graph.arrays import unit_rows
from graph.model import table
from graph.snapshot import drop_pairs, take_snapshot
from graph.stores.embedded_store import EmbeddedStore
from graph.weighting import Weighting, weigh
from recommender.segments.attributes import Encoding
from recommender.segments.features import History, Layout, behaviour
from recommender.segments.grouping import find_segments
from recommender.segments.settings import SegmentSettings
from tests.data import package

NOW = 1_760_000_000
USERS, TOWNS = 240, 40
ONLY_ATTRIBUTES = dict.fromkeys(
    ("recency", "frequency", "value", "time", "breadth", "novelty", "visits", "money",
     "kinds", "domains", "vectors"), 0.05,
)  # fmt: skip


def says(number):
    """Even users are young and free, odd ones old and paying; towns choose by their number.

    Every tenth says nothing; the seventh of each ten leaves out the age.
    """
    if number % 10 == 9:
        return {}
    odd = number % 2 == 1
    attributes = {
        "plan": "paid" if odd else "free",
        "age": (60 if odd else 20) + number % 5,
        "town": f"town {number % TOWNS:02}",
        "likes": ["tea", "maps"] if odd else ["tea"],
        "secret": f"only {number}",
    }
    if number % 10 == 7:
        del attributes["age"]
    return attributes


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    """240 users, nothing dated; the first twenty towns choose baroque, the others noir."""
    rng = np.random.default_rng(1)
    items = [f"i{n:02}" for n in range(60)]
    events = []
    for number in range(USERS):
        noir = number % TOWNS >= TOWNS // 2
        mine = rng.choice(30, 8, replace=False) + (30 if noir else 0)
        events += [
            {"user": f"u{number:03}", "item": items[i], "kind": "like"}
            for i in mine
        ]  # fmt: skip
    domains = [
        {"item": item, "domain": "noir" if n >= 30 else "baroque", "weight": 1.0}
        for n, item in enumerate(items)
    ]
    users = [
        {"id": f"u{n:03}", "attributes": json.dumps(says(n)), "consent": n != 11}
        for n in range(USERS)
    ]
    store = EmbeddedStore(tmp_path_factory.mktemp("said") / "store.sqlite")
    store.apply(
        {
            "events": table("events", events),
            "item_domains": table("item_domains", domains),
            "users": table("users", users),
        }
    )
    snapshot = take_snapshot(store)
    store.close()
    return snapshot


def learned_from(snapshot, **settings):
    package("sklearn")
    graph = weigh(snapshot, Weighting(), NOW)
    vectors = unit_rows(np.asarray((graph.user_items.T @ graph.user_items).todense())[:, :4])
    return find_segments(
        snapshot, graph, vectors.astype(np.float32), np.linspace(0, 1, 60).astype(np.float32),
        SegmentSettings(weights=ONLY_ATTRIBUTES, **settings), last=None, seed=0, now=NOW,
    )  # fmt: skip


@pytest.fixture(scope="module")
def learned(snapshot):
    return learned_from(snapshot, most=2)


def column(learned, name):
    return learned.arrays["segments.raw"][:, learned.manifest["features"].index(name)]


def test_an_attribute_that_decides_is_found_and_named(learned):
    telling = [n for n in range(USERS) if n % 10 != 9 and n != 11]
    groups = {(n % 2, int(learned.assigned[n])) for n in telling}
    assert len(groups) == 2
    words = " ".join(learned.manifest["names"]) + " ".join(
        segment["persona"] for segment in learned.manifest["segments"]
    )
    assert "plan" in words or "age" in words or "likes" in words
    assert next(iter(learned.report["importance"])).startswith("attribute ")


def test_numbers_words_and_lists_are_columns_and_what_few_say_is_none(learned):
    names = [name for name in learned.manifest["features"] if name.startswith("attribute ")]
    assert [name for name in names if "~" not in name] == [
        "attribute age", "attribute likes = maps", "attribute likes = tea",
        "attribute plan = free", "attribute plan = paid",
    ]  # fmt: skip
    assert column(learned, "attribute age")[:3].tolist() == [20, 61, 22]
    assert column(learned, "attribute plan = paid")[:3].tolist() == [0, 1, 0]
    assert column(learned, "attribute likes = maps")[:3].tolist() == [0, 1, 0]
    assert "only 4" not in json.dumps(learned.manifest)  # one user's word


def test_what_is_not_said_is_the_median_and_the_most_frequent_word(learned):
    """Of those who say it, the old are fewer by those who leave it out, so the median is young."""
    ages = [says(n)["age"] for n in range(USERS) if n != 11 and "age" in says(n)]
    assert column(learned, "attribute age")[[7, 9]].tolist() == [np.median(ages)] * 2
    free = sum(says(n).get("plan") == "free" for n in range(USERS) if n != 11)
    paid = sum(says(n).get("plan") == "paid" for n in range(USERS) if n != 11)
    assert column(learned, "attribute plan = free")[9] == (free > paid)
    assert column(learned, "attribute plan = paid")[9] == (free < paid)


def test_what_is_not_said_may_be_that_of_the_nearest(snapshot):
    """Who pays and does not tell the age is as old as those who pay."""
    ages = column(learned_from(snapshot, most=2, missing="nearest"), "attribute age")
    quiet = [n for n in range(USERS) if n % 10 == 7]
    assert (ages[quiet] > 55).all()


def test_many_words_are_told_by_what_others_choose_who_say_them(learned):
    """Forty towns: those of the first twenty choose baroque, told by others' histories alone."""
    name = next(n for n in learned.manifest["features"] if n.startswith("attribute town ~ "))
    noir = column(learned, name) if name.endswith("noir") else 1 - column(learned, name)
    telling = np.array([n for n in range(USERS) if n % 10 != 9 and n != 11])
    likes_noir = telling % TOWNS >= TOWNS // 2
    assert noir[telling][likes_noir].min() > 0.5 > noir[telling][~likes_noir].max()


def test_ones_own_history_does_not_tell_what_ones_word_means(snapshot):
    """Towns by lot, five users each: a user's own choice must not stand in the town's number."""
    rng = np.random.default_rng(3)
    towns = rng.permutation(USERS) % (USERS // 6)
    attributes = [json.dumps({"town": f"town {town}"}) for town in towns]
    import pyarrow as pa

    drawn = replace(
        snapshot, user_attributes=pa.array(attributes), user_consents=np.ones(USERS, bool)
    )
    learned = learned_from(drawn, most=2)
    name = next(n for n in learned.manifest["features"] if n.startswith("attribute town ~ "))
    value = column(learned, name)
    noir = np.arange(USERS) % TOWNS >= TOWNS // 2
    own = np.corrcoef(value, noir if name.endswith("noir") else ~noir)[0, 1]
    assert own < 0.1  # told in fold it is .4


def test_who_may_not_be_learned_from_teaches_nothing(snapshot, learned):
    """With user 11 saying anything at all, the same is learned."""
    import pyarrow as pa

    attributes = snapshot.user_attributes.to_pylist()
    attributes[11] = json.dumps({"age": 10**6, "plan": "spy", "hat": "red"})
    again = learned_from(replace(snapshot, user_attributes=pa.array(attributes)), most=2)
    assert again.manifest == learned.manifest
    for name, array in learned.arrays.items():
        np.testing.assert_array_equal(again.arrays[name], array)


def test_nothing_that_is_left_out_reaches_the_features(snapshot):
    """Two data sets that differ in what is held back alone have the same features."""
    events = snapshot.events
    held = np.flatnonzero(np.arange(len(events.user)) % 8 == 0)
    part = drop_pairs(snapshot, events.user[held], events.item[held])
    moved = replace(events, item=events.item.copy())
    moved.item[held] = (moved.item[held] + 30) % 60  # the other domain
    other = drop_pairs(replace(snapshot, events=moved), moved.user[held], moved.item[held])
    first, second = learned_from(part, most=2), learned_from(other, most=2)
    assert first.manifest == second.manifest
    np.testing.assert_array_equal(first.arrays["segments.raw"], second.arrays["segments.raw"])


def test_a_worker_reads_new_users_as_the_refresh_read_the_others(learned):
    """Read back from the manifest; an unknown word says nothing, what is missing is typical."""
    encoding = Encoding.from_json(json.loads(json.dumps(learned.manifest["attributes"])))
    start = learned.manifest["features"].index(encoding.columns[0])
    raw = learned.arrays["segments.raw"][:, start:]
    numbers = [p for p, name in enumerate(encoding.columns) if "~" not in name]
    for n in (0, 1, 2, 9, 14):
        np.testing.assert_allclose(encoding([says(n)])[0][numbers], raw[n][numbers])
    assert encoding([{"plan": "gold"}])[0][numbers[3:]].tolist() == [0, 0]


# ── visits and money ─────────────────────────────────────────────────────────────────────


def test_visits_their_length_and_what_an_order_comes_to():
    """By hand: three visits, one long ago, of 10, 0 and 20 minutes; orders of 30 and 50."""
    from scipy.sparse import csr_array

    from recommender.segments.features import Catalogue

    day = 86_400
    at = [0, 600, 50 * day, 51 * day, 51 * day + 600, 51 * day + 1200]
    history = History(
        user_items=csr_array((1, 2), dtype=np.float32),
        user=np.zeros(6, np.int32),
        kind=np.array([0, 0, 1, 1, 1, 0], np.int32),
        value=np.array([np.nan, np.nan, 30, 20, 30, 7], np.float32),
        at=np.array([*at[:4], at[3], at[5]], np.int64),
        meanings=("count", "money"),
    )
    empty = csr_array((2, 0), dtype=np.float32)
    things = Catalogue(empty, empty, np.zeros(2, np.float32), np.zeros((2, 0), np.float32))
    wanted = Layout((), (), ("see", "pay"), 0)
    row = dict(zip(wanted.names, behaviour(history, things, wanted, 60 * day)[0], strict=True))
    assert np.expm1(row["visits in 30 days"]) == pytest.approx(2)
    assert np.expm1(row["session length"]) == pytest.approx((10 + 0 + 20) / 3)
    assert np.expm1(row["order value"]) == pytest.approx((30 + 50) / 2)
    assert row["mean value"] == pytest.approx(7)  # money is no rating
