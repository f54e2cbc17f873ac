"""What every store promises.

A subclass provides the fixture `fresh`: a function that gives an empty store (the same one,
emptied, or a new one) and is called once or more in a test.
"""

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graph.errors import InputError, NotFound
from graph.model import SCHEMAS, table
from graph.snapshot import take_snapshot
from recommender.inbox.joining import join

STRANGE_IDS = [
    "a/b",
    "with space",
    "日本語",
    "Ελένη",
    "50%",
    "'; DROP TABLE users",
    "🎻",
    "\u200fעברית",
]
PROPERTY = settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def events(*rows, **common):
    """A batch of events; a row is (user, item) or a dictionary."""
    filled = [
        row if isinstance(row, dict) else dict(zip(("user", "item"), row, strict=True))
        for row in rows
    ]
    return {"events": table("events", [{"kind": "like"} | common | row for row in filled])}


def facts(store, name, **kwargs):
    """A table as sorted dictionaries."""
    rows = store.read(name, **kwargs).to_pylist()
    return sorted(rows, key=lambda row: [str(value) for value in row.values()])


def batch_of_everything():
    """One row or two of each table."""
    return {
        "users": table("users", [{"id": "ann", "consent": False, "attributes": '{"age": 7}'}]),
        "items": table(
            "items",
            [{"id": "x", "title": "X", "created_at": -5, "hidden": True, "attributes": "{}"}],
        ),
        "item_tags": table(
            "item_tags",
            [
                {"item": "x", "category": "genre", "tag": "noir", "weight": 0.5},
                {"item": "x", "category": "tag", "tag": "noir"},
            ],
        ),
        "item_domains": table("item_domains", [{"item": "y", "domain": "jazz", "weight": 2.0}]),
        "events": table(
            "events",
            [
                {"user": "ann", "item": "x", "kind": "rating", "value": 4.5, "at": 1},
                {"user": "bob", "item": "z", "kind": "tag", "tag": "noir", "event_id": "e1"},
            ],
        ),
        "item_relations": table(
            "item_relations", [{"source": "x", "target": "w", "kind": "cites", "weight": 3.0}]
        ),
        "user_relations": table(
            "user_relations", [{"source": "ann", "target": "cem", "kind": "friend"}]
        ),
    }


class StoreContract:
    """Run over every implementation of `GraphStore`."""

    @pytest.fixture
    def store(self, fresh):
        return fresh()

    def test_what_is_written_is_read_in_the_columns_of_the_model(self, store):
        assert store.apply(batch_of_everything())
        assert facts(store, "users") == [
            {"id": "ann", "consent": False, "attributes": '{"age": 7}'},
            {"id": "bob", "consent": None, "attributes": None},
            {"id": "cem", "consent": None, "attributes": None},
        ]
        bare = {"title": None, "created_at": None, "hidden": False, "attributes": None}
        assert facts(store, "items") == [
            {"id": "w"} | bare,
            {"id": "x", "title": "X", "created_at": -5, "hidden": True, "attributes": "{}"},
            {"id": "y"} | bare,
            {"id": "z"} | bare,
        ]
        assert facts(store, "item_tags") == [
            {"item": "x", "category": "genre", "tag": "noir", "weight": 0.5},
            {"item": "x", "category": "tag", "tag": "noir", "weight": 1.0},
        ]
        assert facts(store, "item_domains") == [{"item": "y", "domain": "jazz", "weight": 2.0}]
        nothing = {"value": None, "tag": None, "at": None, "event_id": None}
        assert facts(store, "events") == [
            nothing | {"user": "ann", "item": "x", "kind": "rating", "value": 4.5, "at": 1},
            nothing | {"user": "bob", "item": "z", "kind": "tag", "tag": "noir", "event_id": "e1"},
        ]
        assert facts(store, "item_relations") == [
            {"source": "x", "target": "w", "kind": "cites", "weight": 3.0}
        ]
        assert facts(store, "user_relations") == [
            {"source": "ann", "target": "cem", "kind": "friend", "weight": 1.0}
        ]
        assert store.counts() == {
            "users": 3,
            "items": 4,
            "item_tags": 2,
            "item_domains": 1,
            "events": 2,
            "item_relations": 1,
            "user_relations": 1,
            "tags": 2,
        }
        for name, schema in SCHEMAS.items():
            assert store.read(name).column_names == schema.names

    def test_an_empty_store_answers_with_empty_tables(self, store):
        store.ping()
        assert store.watermark() == 0
        assert set(store.counts().values()) == {0}
        for name, schema in SCHEMAS.items():
            read = store.read(name)
            assert (read.num_rows, read.column_names) == (0, schema.names)
        assert store.user_events("nobody").num_rows == 0
        assert store.erase_user("nobody") == 0
        assert len(take_snapshot(store).items) == 0

    def test_the_same_batch_twice_is_the_same_graph(self, store):
        store.apply(batch_of_everything())
        once, watermark = take_snapshot(store), store.watermark()
        assert store.apply(batch_of_everything())
        assert take_snapshot(store).fingerprint == once.fingerprint
        assert store.watermark() == watermark

    def test_a_named_batch_is_applied_once(self, store):
        assert store.apply(events(("ann", "x")), name="b1")
        assert not store.apply(events(("ann", "y")), name="b1")
        assert [row["item"] for row in facts(store, "events")] == ["x"]
        assert store.apply(events(("ann", "y")), name="b2")

    def test_a_batch_that_fails_leaves_nothing_not_even_its_name(self, store):
        bad = events(("ann", "x")) | {
            "item_tags": table(
                "item_tags", [{"item": "x", "category": "c", "tag": "t", "weight": -1.0}]
            )
        }
        with pytest.raises(InputError, match="weight"):
            store.apply(bad, name="b1")
        assert store.counts()["events"] == 0
        assert store.apply(events(("ann", "x")), name="b1")

    def test_until_hides_what_came_later(self, store):
        store.apply(events(("ann", "x"), ("bob", "x"), at=100))
        first = store.watermark()
        store.apply(events(("ann", "y"), at=1))  # an older event that is learned later
        assert store.watermark() > first > 0
        assert {row["item"] for row in facts(store, "events", until=first)} == {"x"}
        assert len(facts(store, "events")) == len(facts(store, "events", until=store.watermark()))
        assert store.read("events", until=0).num_rows == 0

    def test_a_new_value_of_an_event_is_a_new_fact(self, store):
        rating = {"user": "ann", "item": "x", "kind": "rating", "at": 5}
        store.apply(events(rating | {"value": 1.0}))
        first = store.watermark()
        store.apply(events(rating | {"value": 2.0}))
        assert [row["value"] for row in facts(store, "events")] == [2.0]
        assert store.watermark() > first
        assert store.read("events", until=first).num_rows == 0

    def test_of_two_values_in_one_batch_the_later_row_stands(self, store):
        rating = {"user": "ann", "item": "x", "kind": "rating"}
        store.apply(events(*(rating | {"value": value} for value in (3.0, 1.0, 2.0))))
        assert [row["value"] for row in facts(store, "events")] == [2.0]

    def test_events_that_differ_in_kind_tag_time_or_none_are_different(self, store):
        bare = {"user": "ann", "item": "x"}
        rows = [
            bare,
            bare | {"kind": "view"},
            bare | {"tag": "t"},
            bare | {"at": 0},
            bare | {"at": 1},
            bare | {"event_id": "e"},
        ]
        store.apply(events(*rows, *rows))
        assert store.counts()["events"] == len(rows)

    def test_an_event_id_is_the_identity_whatever_else_the_event_says(self, store):
        store.apply(events({"user": "ann", "item": "x", "at": 1, "event_id": "e1"}))
        first = store.watermark()
        store.apply(events({"user": "ann", "item": "x", "at": 1, "event_id": "e1"}))
        assert store.watermark() == first
        moved = {"user": "bob", "item": "y", "kind": "play", "value": 2.0, "event_id": "e1"}
        store.apply(events(moved))
        assert facts(store, "events") == [moved | {"tag": None, "at": None}]
        assert store.watermark() > first

    def test_the_last_of_an_event_id_in_one_batch_stands(self, store):
        store.apply(
            events(
                {"user": "zoe", "item": "x", "event_id": "e1"},
                {"user": "ann", "item": "y", "event_id": "e1"},
                ("ann", "y"),
            )
        )
        result = [(row["user"], row["item"], row["event_id"]) for row in facts(store, "events")]
        assert sorted(result, key=str) == [("ann", "y", "e1"), ("ann", "y", None)]

    def test_nulls_leave_what_is_stored(self, store):
        store.apply(batch_of_everything())
        store.apply(
            {"items": table("items", [{"id": "x"}]), "users": table("users", [{"id": "ann"}])}
        )
        assert facts(store, "items")[1]["title"] == "X"
        assert facts(store, "items")[1]["hidden"] is True
        assert facts(store, "users")[0]["consent"] is False

    def test_replace_forgets_what_the_batch_does_not_say_of_its_items(self, store):
        store.apply(
            batch_of_everything()
            | {
                "item_domains": table(
                    "item_domains",
                    [{"item": "x", "domain": "jazz"}, {"item": "y", "domain": "jazz"}],
                )
            }
        )
        store.apply(
            {
                "items": table("items", [{"id": "x", "title": "New"}]),
                "item_tags": table("item_tags", [{"item": "x", "category": "tag", "tag": "new"}]),
            },
            replace=True,
        )
        assert facts(store, "items")[1] == {
            "id": "x",
            "title": "New",
            "created_at": None,
            "hidden": True,  # not replaced: hiding is a decision of its own
            "attributes": None,
        }
        assert [row["tag"] for row in facts(store, "item_tags")] == ["new"]
        assert [row["item"] for row in facts(store, "item_domains")] == ["y"]
        assert store.counts()["events"] == 2
        assert store.counts()["item_relations"] == 1

    def test_a_source_that_counts_is_written_once_and_in_order(self, store):
        assert store.position("inbox") == 0
        assert store.apply(events(("ann", "x")), name="inbox", span=(0, 5))
        assert store.position("inbox") == 5
        assert not store.apply(events(("bob", "y")), name="inbox", span=(0, 5))
        assert not store.apply(events(("bob", "y")), name="inbox", span=(4, 9))
        assert not store.apply(events(("bob", "y")), name="inbox", span=(6, 9))
        assert {row["item"] for row in facts(store, "events")} == {"x"}
        assert store.apply(events(("bob", "z")), name="inbox", span=(5, 9))
        assert (store.position("inbox"), store.position("other")) == (9, 0)
        assert store.apply({}, name="other", span=(0, 3))  # nothing to write counts, too
        assert store.position("other") == 3

    def test_parts_of_items_are_taken_away_before_the_batch_is_written(self, store):
        store.apply(batch_of_everything())
        store.apply(
            {
                "items": table("items", [{"id": "x", "hidden": False}]),
                "item_tags": table("item_tags", [{"item": "x", "category": "tag", "tag": "new"}]),
            },
            clear={"title": ["x"], "tags": ["x", "x", "unknown"]},
        )
        assert facts(store, "items")[2] == {
            "id": "x",
            "title": None,
            "created_at": -5,
            "hidden": False,
            "attributes": "{}",
        }
        assert [row["tag"] for row in facts(store, "item_tags")] == ["new"]
        store.apply({}, clear={"domains": ["y"], "created_at": ["x"], "attributes": ["x"]})
        assert store.read("item_domains").num_rows == 0
        left = facts(store, "items")[2]
        assert (left["created_at"], left["attributes"]) == (None, None)
        with pytest.raises(InputError, match="colour"):
            store.apply({}, clear={"colour": ["x"]})

    def test_what_is_named_is_taken_away_and_nothing_else(self, store):
        store.apply(batch_of_everything())
        bare = {"items": table("items", [{"id": "x"}]), "users": table("users", [{"id": "ann"}])}
        store.apply(bare, clear={"tags": ["x"]})
        assert facts(store, "item_tags") == []
        assert store.counts()["item_domains"] == store.counts()["item_relations"] == 1
        assert facts(store, "items")[1]["title"] == "X"
        users = {"user_attributes": ["ann"], "user_relations": ["ann"]}
        store.apply({}, clear=users | {"relations": ["x"]})
        assert facts(store, "users")[0]["attributes"] is None
        assert store.counts()["user_relations"] == store.counts()["item_relations"] == 0

    def test_a_load_is_taken_back_with_all_that_it_brought(self, store):
        def everything():
            return {name: facts(store, name) for name in SCHEMAS}

        first = store.begin_load(10, {"files": ["a.csv"]})
        store.apply(batch_of_everything(), load=first)
        before = everything()
        second = store.begin_load(20, {"files": []})
        store.apply(batch_of_everything(), load=second)  # says nothing new
        store.apply(
            {
                **events(("ann", "n"), ("new", "x"), ("new", "n")),
                "users": table("users", [{"id": "eve", "attributes": "{}"}]),
                "items": table("items", [{"id": "n", "title": "N"}, {"id": "y", "title": "Y"}]),
                "item_tags": table("item_tags", [{"item": "y", "category": "tag", "tag": "t"}]),
                "item_domains": table("item_domains", [{"item": "y", "domain": "bop"}]),
                "item_relations": table(
                    "item_relations", [{"source": "n", "target": "m", "kind": "cites"}]
                ),
            },
            load=second,
        )
        store.apply({"items": table("items", [{"id": "y", "hidden": True}])}, load=second)
        store.note_load(second, {"files": ["b.csv"]})
        assert [(load.load, load.at, load.about, load.undone) for load in store.loads()] == [
            (first, 10, {"files": ["a.csv"]}, False),
            (second, 20, {"files": ["b.csv"]}, False),
        ]
        gone = store.undo_load(second)
        assert everything() == before
        assert gone == {
            "events": 3, "item_tags": 1, "item_domains": 1, "item_relations": 1,
            "user_relations": 0, "shown": 1, "items": 2, "users": 2, "changed": 0,
        }  # fmt: skip
        assert [load.undone for load in store.loads()] == [False, True]
        with pytest.raises(NotFound, match="undone already"):
            store.undo_load(second)
        with pytest.raises(NotFound, match="there is no load 99"):
            store.undo_load(99)

    def test_taking_back_tells_of_facts_that_had_been_said_otherwise(self, store):
        first, second = (store.begin_load(n, {}) for n in range(2))
        rated = {"user": "ann", "item": "x", "kind": "rating"}
        store.apply(events(rated | {"value": 5.0}, ("ann", "y")), load=first)
        store.apply({"items": table("items", [{"id": "x", "title": "old"}])}, load=first)
        store.apply(events(rated | {"value": 1.0}, ("ann", "y")), load=second)
        store.apply({"items": table("items", [{"id": "x", "title": "new"}])}, load=second)
        assert store.undo_load(second)["changed"] == 2
        assert [row["item"] for row in facts(store, "events")] == ["y"]
        assert [row["title"] for row in facts(store, "items")] == [None, None]

    def test_an_erased_user_is_gone_with_events_and_relations(self, store):
        store.apply(batch_of_everything())
        store.apply(events(("ann", "y"), ("ann", "w")))
        assert store.erase_user("ann") == 3
        assert [row["id"] for row in facts(store, "users")] == ["bob", "cem"]
        assert store.user_events("ann").num_rows == 0
        assert store.counts()["user_relations"] == 0
        assert {row["user"] for row in facts(store, "events")} == {"bob"}
        assert store.erase_user("ann") == 0
        watermark = store.watermark()
        store.apply(events(("ann", "x")))  # comes back as somebody new
        assert store.watermark() > watermark
        assert facts(store, "users")[0] == {"id": "ann", "consent": None, "attributes": None}

    def test_consent_is_what_was_said_last_or_nothing(self, store):
        store.apply(events(("ann", "x"), ("bob", "x")))
        assert [row["consent"] for row in facts(store, "users")] == [None, None]
        for consent, holds in (
            (True, True),
            (None, True),
            (False, False),
            (None, False),
            (True, True),
        ):
            store.apply({"users": table("users", [{"id": "ann", "consent": consent}])})
            assert [row["consent"] for row in facts(store, "users")] == [holds, None]

    def test_an_anonymous_id_that_is_joined_to_a_user_leaves_them_each_event_once(self, store):
        rows = [
            {"user": user, "item": item, "kind": "tag", "tag": "noir", "at": 5, "event_id": name}
            for user, item, name in (("v1", "x", "e1"), ("v1", "y", None), ("ann", "y", None))
        ]
        store.apply({"events": table("events", rows)})
        watermark = store.watermark()
        for _ in range(2):  # as a drain that was killed in between would do
            join(store, "v1", "ann")
        left = facts(store, "events")
        assert sorted((row["user"], row["item"], row["event_id"] or "") for row in left) == [
            ("ann", "x", "e1"),
            ("ann", "y", ""),
        ]
        assert [row["id"] for row in facts(store, "users")] == ["ann"]
        assert store.watermark() > watermark  # a snapshot taken before does not change

    def test_old_events_of_a_kind_go_with_their_tags_and_nothing_else(self, store):
        rows = [("like", at, None) for at in (1, 50, None)] + [
            ("tag", at, "noir") for at in (1, 99)
        ]
        store.apply(
            {
                "events": table(
                    "events",
                    [{"user": "ann", "item": "x", "kind": kind, "at": at, "tag": tag}
                     for kind, at, tag in rows],
                )
            }
        )  # fmt: skip
        assert store.drop_events("Like", 50) == 1
        assert store.drop_events("like", 50) == 0
        assert store.drop_events("nothing", 50) == 0
        assert sorted(str(row["at"]) for row in facts(store, "events")) == ["1", "50", "99", "None"]
        assert store.counts()["tags"] == 1
        assert store.drop_events("tag", 100) == 2
        assert store.counts()["tags"] == 0
        assert [row["id"] for row in facts(store, "users")] == ["ann"]

    def test_one_users_events_have_everything(self, store):
        store.apply(batch_of_everything())
        assert store.user_events("bob").to_pylist() == [
            {
                "user": "bob",
                "item": "z",
                "kind": "tag",
                "value": None,
                "tag": "noir",
                "at": None,
                "event_id": "e1",
            }
        ]
        assert store.user_events("bob").column_names == SCHEMAS["events"].names

    @pytest.mark.parametrize("name", STRANGE_IDS)
    def test_ids_may_be_anything_printable(self, store, name):
        store.apply(events({"user": name, "item": name, "kind": name, "tag": name, "at": 1}))
        (event,) = facts(store, "events")
        assert [event[key] for key in ("user", "item", "tag")] == [name] * 3
        assert event["kind"] == name.lower()  # kinds are compared without case
        assert store.user_events(name).num_rows == 1
        assert store.erase_user(name) == 1

    def test_two_spellings_of_one_letter_are_one_id(self, store):
        store.apply(events(("Ange\u0301lique", "x"), ("Ang\u00e9lique", "x")))
        assert store.counts()["users"] == store.counts()["events"] == 1
        assert store.user_events("Ange\u0301lique").num_rows == 1

    def test_ids_that_differ_in_case_are_different_and_blanks_around_are_nothing(self, store):
        store.apply(events(("ann", "x"), ("Ann", "x"), (" ann ", "x")))
        assert store.counts()["users"] == 2
        assert store.user_events("ann ").num_rows == 1
        assert store.erase_user(" Ann") == 1

    def test_columns_may_be_dictionaries_large_strings_or_missing(self, store):
        users = pa.array(["ann", "bob", "ann"]).dictionary_encode()
        items = pa.array(["x", "x", "y"], pa.large_string())
        kinds = pa.chunked_array([["like"], ["like", "like"]])
        store.apply({"events": pa.table({"user": users, "item": items, "kind": kinds})})
        assert store.counts()["events"] == 3

    @pytest.mark.parametrize(
        ("batch", "says"),
        [
            ({"movies": table("items", [{"id": "x"}])}, "movies"),
            ({"items": table("items", [{"title": "none"}])}, "items.id"),
            ({"items": table("items", [{"id": ""}])}, "items.id"),
            (events(("", "x")), "events.user"),
            ({"item_tags": table("item_tags", [{"item": "x", "category": "c", "tag": ""}])}, "tag"),
            (
                {"item_tags": table("item_tags", [{"item": "x", "category": "a\x1f", "tag": "b"}])},
                "category",
            ),
            (
                {"events": pa.table({"user": ["a"], "item": ["b"], "kind": ["c"], "at": ["x"]})},
                "at",
            ),
        ],
    )
    def test_a_batch_that_is_wrong_is_refused_by_name(self, store, batch, says):
        with pytest.raises(InputError, match=says):
            store.apply(batch)
        assert set(store.counts().values()) == {0}

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
    def test_values_that_are_not_finite_are_none(self, store, value):
        store.apply(events({"user": "a", "item": "b", "value": value}))
        assert facts(store, "events")[0]["value"] is None

    def test_extreme_values_and_times_come_back_as_they_were(self, store):
        rows = [{"value": v, "at": t} for v, t in ((1e308, 2**62), (-1e-308, -(2**62)), (0.0, 0))]
        store.apply(events(*({"user": "a", "item": "b"} | row for row in rows)))
        result = {(row["value"], row["at"]) for row in facts(store, "events")}
        assert result == {(row["value"], row["at"]) for row in rows}

    @PROPERTY
    @given(data=st.data())
    def test_the_order_of_batches_does_not_change_the_snapshot(self, fresh, data):
        names = st.sampled_from(["a", "b", "ç", "d/e"])
        times = st.none() | st.integers(0, 3)
        row = st.tuples(names, names, names, st.none() | names, times, times)
        rows = data.draw(st.lists(row, max_size=12))
        batches = [_batch_of_row(*row) for row in rows]
        store = fresh()
        for batch in batches:
            store.apply(batch)
        one_way = take_snapshot(store).fingerprint
        store = fresh()
        for batch in data.draw(st.permutations(batches)):
            store.apply(batch)
        assert take_snapshot(store).fingerprint == one_way


def _batch_of_row(user, item, kind, tag, at, event_id):
    """Facts of one row that contradict no other row's: values follow from the keys."""
    event = {"user": user, "item": item, "kind": kind, "tag": tag, "at": at}
    if event_id is not None:  # an identity of its own: the id says everything else too
        event["event_id"] = f"{event_id} {user} {item} {kind} {tag} {at}"
    weight = float(len(user) + len(item))
    return events(event | {"value": weight}) | {
        "items": table("items", [{"id": item, "title": item.upper()}]),
        "item_tags": table(
            "item_tags", [{"item": item, "category": kind, "tag": user, "weight": weight}]
        ),
        "item_domains": table("item_domains", [{"item": user, "domain": kind, "weight": 2.0}]),
        "item_relations": table("item_relations", [{"source": item, "target": user, "kind": kind}]),
        "user_relations": table("user_relations", [{"source": item, "target": user, "kind": kind}]),
    }
