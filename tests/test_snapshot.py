"""A snapshot is the same facts as sorted arrays, the same bytes whatever the order of arrival."""

from contextlib import closing
from dataclasses import fields, replace

import numpy as np
import pytest

from graph.model import NO_ROW, NO_TIME, table, tag_key
from graph.snapshot import EventColumns, drop_pairs, take_snapshot
from graph.stores.embedded_store import EmbeddedStore
from graph.vocabulary import Vocabulary
from graph.weighting import Weighting, domain_factors
from recommender.learning.build import RefreshConfig
from recommender.learning.refresh import refresh
from recommender.overlay.appended import LiveItem, appended
from recommender.ranking.filters import Filters
from recommender.ranking.request import Filter
from recommender.ranking.unknown_names import notes_on
from recommender.releases.home import Home
from tests.store_contract import batch_of_everything, events


@pytest.fixture
def store(tmp_path):
    made = EmbeddedStore(tmp_path / "graph.sqlite")
    yield made
    made.close()


def columns(snapshot):
    """The events as (user, item, kind, tag, at) in words."""
    e = snapshot.events
    return [
        (
            snapshot.users.id(e.user[k]),
            snapshot.items.id(e.item[k]),
            snapshot.kinds[e.kind[k]],
            None if e.tag[k] == NO_ROW else snapshot.tags.id(e.tag[k]),
            None if e.at[k] == NO_TIME else int(e.at[k]),
        )
        for k in range(len(e.user))
    ]


def test_every_fact_is_in_its_column(store):
    store.apply(batch_of_everything())
    snapshot = take_snapshot(store)
    assert list(snapshot.users) == ["ann", "bob", "cem"]
    assert list(snapshot.items) == ["w", "x", "y", "z"]
    assert list(snapshot.tags) == [tag_key("genre", "noir"), tag_key("tag", "noir")]
    assert list(snapshot.domains) == ["jazz"]
    assert snapshot.kinds == ("rating", "tag")
    assert columns(snapshot) == [
        ("ann", "x", "rating", None, 1),
        ("bob", "z", "tag", tag_key("tag", "noir"), None),
    ]
    assert snapshot.events.value[0] == 4.5
    assert np.isnan(snapshot.events.value[1])
    assert snapshot.item_tags.source.tolist() == [1, 1]
    assert snapshot.item_tags.target.tolist() == [0, 1]
    assert snapshot.item_tags.weight.tolist() == [0.5, 1.0]
    assert snapshot.item_domains.source.tolist() == [2]
    assert snapshot.item_domains.weight.tolist() == [2.0]
    assert snapshot.item_relations.kinds == ("cites",)
    assert (snapshot.item_relations.source[0], snapshot.item_relations.target[0]) == (1, 0)
    assert snapshot.item_relations.weight.tolist() == [3.0]
    assert snapshot.user_relations.kinds == ("friend",)
    assert (snapshot.user_relations.source[0], snapshot.user_relations.target[0]) == (0, 2)
    assert snapshot.user_consents.tolist() == [False, True, True]
    assert snapshot.item_titles.to_pylist() == ["", "X", "", ""]
    assert snapshot.item_created_at.tolist() == [NO_TIME, -5, NO_TIME, NO_TIME]
    assert snapshot.item_hidden.tolist() == [False, True, False, False]
    assert snapshot.item_attributes.to_pylist() == ["{}"] * 4
    assert snapshot.watermark == store.watermark()
    assert len(snapshot.fingerprint) == 64


def test_types_are_those_promised(store):
    for full in (False, True):
        if full:
            store.apply(batch_of_everything())
        snapshot = take_snapshot(store)
        kinds = [getattr(snapshot.events, f.name).dtype for f in fields(EventColumns)]
        assert kinds == [np.int32, np.int32, np.int32, np.float32, np.int32, np.int64, np.int64]
        for links in (snapshot.item_tags, snapshot.item_domains, snapshot.item_relations):
            assert (links.source.dtype, links.target.dtype) == (np.int32, np.int32)
            assert links.weight.dtype == np.float32
        assert (snapshot.user_consents.dtype, snapshot.item_hidden.dtype) == (np.bool_, np.bool_)
        assert snapshot.item_created_at.dtype == np.int64


def test_events_are_sorted_by_user_item_kind_tag_and_time(store):
    rows = [
        {"user": u, "item": i, "kind": k, "tag": t, "at": at}
        for at in (None, 5, -3)
        for t in ("b", None, "a")
        for k in ("play", "like")
        for i in ("y", "x")
        for u in ("bob", "ann")
    ]
    store.apply(events(*rows))
    result = columns(take_snapshot(store))
    assert len(result) == len(rows)

    def none_first(row):
        return [(value is not None, value if value is not None else 0) for value in row]

    assert result == sorted(result, key=none_first)


def test_rows_follow_the_bytes_of_the_ids(store):
    names = ["é", "z", "a", "Z", "日本", "a/b", "a b", "🎻"]
    store.apply(events(*((name, name) for name in names)))
    by_bytes = sorted(names, key=str.encode)
    assert list(take_snapshot(store).users) == list(take_snapshot(store).items) == by_bytes


def test_until_leaves_out_what_was_learned_later(store):
    store.apply(events(("ann", "x"), at=9))
    before = take_snapshot(store)
    store.apply(events(("ann", "y"), at=1))
    past = take_snapshot(store, until=before.watermark)
    assert columns(past) == columns(before)
    assert past.watermark == before.watermark
    assert past.fingerprint != take_snapshot(store).fingerprint


@pytest.mark.parametrize(
    "change",
    [
        events(("ann", "w")),
        {
            "events": table(
                "events", [{"user": "ann", "item": "x", "kind": "rating", "value": 1.0, "at": 1}]
            )
        },
        {"items": table("items", [{"id": "x", "title": "Y"}])},
        {"items": table("items", [{"id": "y", "hidden": True}])},
        {"items": table("items", [{"id": "y", "created_at": 0}])},
        {"items": table("items", [{"id": "y", "attributes": '{"a": 1}'}])},
        {"users": table("users", [{"id": "bob", "consent": False}])},
        {"users": table("users", [{"id": "new"}])},
        {
            "item_tags": table(
                "item_tags", [{"item": "x", "category": "genre", "tag": "noir", "weight": 2.0}]
            )
        },
        {"item_domains": table("item_domains", [{"item": "y", "domain": "folk"}])},
        {
            "item_relations": table(
                "item_relations", [{"source": "x", "target": "w", "kind": "quotes"}]
            )
        },
        {
            "user_relations": table(
                "user_relations", [{"source": "cem", "target": "ann", "kind": "friend"}]
            )
        },
    ],
)
def test_any_change_of_facts_changes_the_fingerprint(store, change):
    store.apply(batch_of_everything())
    before = take_snapshot(store)
    store.apply(change)
    assert take_snapshot(store).fingerprint != before.fingerprint


def test_a_title_is_not_mistaken_for_its_neighbours(store, tmp_path):
    """Where one text ends and the next begins is part of the fingerprint."""
    other = EmbeddedStore(tmp_path / "other.sqlite")
    for store_of_titles, titles in ((store, ("ab", "c")), (other, ("a", "bc"))):
        rows = [{"id": name, "title": title} for name, title in zip("xy", titles, strict=True)]
        store_of_titles.apply({"items": table("items", rows)})
    assert take_snapshot(store).fingerprint != take_snapshot(other).fingerprint
    other.close()


def test_the_fingerprint_does_not_depend_on_the_watermark(store, tmp_path):
    other = EmbeddedStore(tmp_path / "other.sqlite")
    store.apply(events(("ann", "x"), ("bob", "y")))
    for row in (("bob", "y"), ("gone", "x"), ("ann", "x")):
        other.apply(events(row))
    other.erase_user("gone")
    first, two = take_snapshot(store), take_snapshot(other)
    assert first.watermark != two.watermark
    assert first.fingerprint == two.fingerprint
    other.close()


def test_dropped_pairs_lose_all_their_events_and_nothing_else(store):
    rows = [("ann", "x"), ("ann", "y"), ("bob", "x"), ("bob", "y")]
    store.apply(events(*rows) | {"users": table("users", [{"id": "zoe"}])})
    store.apply(events(("ann", "x"), kind="tag", tag="t", at=3))
    snapshot = take_snapshot(store)
    rest = drop_pairs(snapshot, [0, 1], [0, 1])  # ann x, bob y
    assert [row[:2] for row in columns(rest)] == [("ann", "y"), ("bob", "x")]
    assert list(rest.users) == ["ann", "bob", "zoe"]
    assert list(rest.tags) == [tag_key("tag", "t")]
    assert rest.watermark == snapshot.watermark
    assert rest.fingerprint != snapshot.fingerprint
    assert drop_pairs(snapshot, [], []).fingerprint == snapshot.fingerprint
    assert drop_pairs(snapshot, [2], [0]).fingerprint == snapshot.fingerprint


def test_pairs_of_large_catalogues_are_not_mixed_up(store):
    """The pair numbers of 80,000 users and items do not fit 32 bits."""
    count, step = 80_000, 2**32 // 80_000  # pairs that are 2^32 apart, nearly
    store.apply(events(("ann", "x")))
    small = take_snapshot(store)
    users, items = np.array([0, step]), np.array([0, 2**32 - step * count])
    many = Vocabulary.of(f"{k:06}" for k in range(count))

    def both(value, kind):
        return np.full(2, value, kind)

    snapshot = replace(
        small,
        users=many,
        items=many,
        events=EventColumns(
            users.astype(np.int32),
            items.astype(np.int32),
            both(0, np.int32),
            both(1, np.float32),
            both(NO_ROW, np.int32),
            both(NO_TIME, np.int64),
            both(0, np.int64),
        ),
    )
    assert drop_pairs(snapshot, users[:1], items[:1]).events.user.tolist() == [step]
    assert drop_pairs(snapshot, users[1:], items[1:]).events.user.tolist() == [0]


class TestVocabulary:
    def test_ids_and_rows_are_inverse(self):
        names = ["b", "a", "ä", "a", "日", "", "a/b"]
        vocabulary = Vocabulary.of(names)
        assert len(vocabulary) == 6
        assert [vocabulary.row(name) for name in vocabulary] == list(range(6))
        assert vocabulary.ids(vocabulary.rows(names)) == names
        assert "a" in vocabulary
        assert "aa" not in vocabulary
        assert vocabulary.row("zz") == NO_ROW
        assert vocabulary.row("\ud800") == NO_ROW
        assert 7 not in vocabulary

    def test_an_empty_vocabulary_has_nothing(self):
        empty = Vocabulary.of([])
        assert len(empty) == 0
        assert list(empty) == []
        assert empty.row("") == NO_ROW
        for row in (-1, 0):
            with pytest.raises(IndexError):
                empty.id(row)

    def test_it_is_its_two_arrays(self):
        made = Vocabulary.of(["x", "yy", "zzz"])
        assert list(Vocabulary(**made.arrays())) == ["x", "yy", "zzz"]


def test_tags_are_compared_without_case_and_keep_the_spelling_most_used(tmp_path):
    given = [("a", "Rock", 1.0), ("b", "Rock", 1.0), ("b", "rock", 3.0), ("c", "ROCK", 2.0)]
    rows = [
        {"item": item, "category": "tag", "tag": tag, "weight": weight}
        for item, tag, weight in given
    ]
    rows.append({"item": "a", "category": "genre", "tag": "rock", "weight": 1.0})
    content = [
        {"user": "u", "item": "a", "kind": "tag", "tag": "rOCK"},
        {"user": "v", "item": "d", "kind": "tag", "tag": "Jazz"},
    ]
    with closing(EmbeddedStore(tmp_path / "store.sqlite")) as store:
        store.apply({"item_tags": table("item_tags", rows), "events": table("events", content)})
        snapshot = take_snapshot(store)
    assert list(snapshot.tags) == ["genre\x1frock", "tag\x1fJazz", "tag\x1fRock"]
    links = snapshot.item_tags
    names = zip(snapshot.items.ids(links.source), snapshot.tags.ids(links.target), strict=True)
    assert dict(zip(names, links.weight.tolist(), strict=True)) == {
        ("a", "genre\x1frock"): 1.0,
        ("a", "tag\x1fRock"): 1.0,
        ("b", "tag\x1fRock"): 3.0,
        ("c", "tag\x1fRock"): 2.0,
    }
    assert sorted(snapshot.tags.ids(snapshot.events.tag)) == ["tag\x1fJazz", "tag\x1fRock"]


def test_so_are_domains_at_every_door(tmp_path):
    """Loaded, asked for, weighed, and said of an item that comes later."""
    given = [("a", "Jazz", 1.0), ("b", "Jazz", 1.0), ("b", "jazz", 0.5), ("c", "JAZZ", 1.0),
             ("c", "Film", 1.0), ("d", "film", 1.0)]  # fmt: skip
    rows = [{"item": item, "domain": name, "weight": weight} for item, name, weight in given]
    events = [{"user": f"u{n}", "item": item, "kind": "like"} for n in range(3) for item in "abc"]
    home = Home(tmp_path).create()
    with closing(EmbeddedStore(home.store)) as store:
        store.apply(
            {"item_domains": table("item_domains", rows), "events": table("events", events)}
        )
        snapshot = take_snapshot(store)
        weighting = Weighting(domains={"jazz": 3.0})
        config = RefreshConfig(preset="fast", weighting=weighting)
        release = refresh(store, home, config, now=1_760_000_000, force=True)
    assert list(snapshot.domains) == ["Film", "Jazz"]
    links = snapshot.item_domains
    names = zip(snapshot.items.ids(links.source), snapshot.domains.ids(links.target), strict=True)
    assert dict(zip(names, links.weight.tolist(), strict=True)) == {
        ("a", "Jazz"): 1.0, ("b", "Jazz"): 1.0, ("c", "Jazz"): 1.0,
        ("c", "Film"): 1.0, ("d", "Film"): 1.0,
    }  # fmt: skip
    assert domain_factors(release.item_domains.matrix, ["Film", "Jazz"], weighting)[0] == 3.0
    wanted = Filter(domains=("JAZZ",))
    assert Filters(release).flags(wanted).tolist() == [True, True, True, False]
    assert notes_on(wanted, release, Filters(release)) == []
    new = LiveItem("e", domains=(("jAZZ", 0.5), ("jazz", 1.0), ("Opera", 1.0), ("opera", 1.0)))
    longer = appended(release, {"e": new})
    assert list(longer.domains) == ["Film", "Jazz", "Opera"]
    own = longer.item_domains.span(4)
    assert longer.domains.ids(longer.item_domains.indices[own]) == ["Jazz", "Opera"]
    assert longer.item_domains.values[own].tolist() == [1.0, 1.0]
    assert Filters(longer).flags(wanted).tolist() == [True, True, True, False, True]
    assert Filters(longer).flags(Filter(domains=("OPERA",))).tolist() == [False] * 4 + [True]
