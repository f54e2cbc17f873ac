"""Events and items of requests are checked like those of files, and every refusal names a field."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loaders.entries import Refused, _events_by_column, check_events, check_items, check_rows
from loaders.plain import plain_event

NOW = 1_760_000_000


def test_an_event_comes_back_typed_and_normalised():
    entry = {
        "user": " ann ",
        "item": 104257,
        "value": "4.5",
        "at": 1_759_999_999_000,
        "tag": None,
        "event_id": "e\u0301",
    }
    assert check_rows("events", [entry], NOW) == [
        {
            "user": "ann",
            "item": "104257",
            "kind": "view",
            "value": 4.5,
            "at": 1_759_999_999,
            "event_id": "é",
        }
    ]


@pytest.mark.parametrize(
    ("wrong", "field", "reason"),
    [
        ({"user": None}, "user", "missing id"),
        ({"item": "  "}, "item", "missing id"),
        ({"item": "x" * 513}, "item", "id too long"),
        ({"kind": "a\x00b"}, "kind", "control character"),
        ({"user": "\ud800"}, "user", "not UTF-8"),
        ({"value": "much"}, "value", "not a number"),
        ({"at": "soon"}, "at", "not a time"),
        ({"at": NOW + 2 * 86_400}, "at", "time in the future"),
        ({"at": 5}, "at", "time before 1990"),
        ({"item": {"id": "x"}}, "item", "neither text nor a number"),
        ({"usr": "ann"}, "usr", "no such field; did you mean 'user'?"),
    ],
)
def test_a_refusal_names_the_field_and_leaves_its_neighbours_alone(wrong, field, reason):
    good = {"user": "ann", "item": "x"}
    taken = {"user": "ann", "item": "x", "kind": "view"}
    results = check_rows("events", [good, good | wrong, good], NOW)
    assert results == [taken, Refused(field, reason), taken]


TEXTS = st.one_of(
    st.text("abZ 0~\x1f\x7f\u00e9\u0301\u2003", max_size=4),
    st.sampled_from(["x" * 512, "x" * 513, "\ud800", "Play", "4.5", "NaN"]),
    st.integers(-5, 5) | st.floats() | st.booleans() | st.none(),
)
AROUND = (0, 631_152_000, NOW, NOW + 86_400, 10**11, 10**14, 10**17)
TIMES = st.one_of(
    st.sampled_from(AROUND).flatmap(lambda time: st.integers(time - 1001, time + 1001)),
    st.sampled_from(AROUND).map(lambda time: 1000 * time + 1),
    st.sampled_from([NOW + 0.5, "2020-01-31", True, None]),
)
VALUES = st.floats() | st.integers(-(10**40), 10**40) | TEXTS
EVENTS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("user", "item", "kind", "tag", "event_id", "session"), TEXTS),
        "at": TIMES,
        "value": VALUES,
        "usr": TEXTS,
    },
)


@settings(max_examples=400, deadline=None)
@given(st.lists(EVENTS | st.none(), max_size=3))
@example([{"user": "ann", "item": "x", "at": 1000 * (NOW + 86_400) + 1}])  # a millisecond too late
@example([{"user": "0", "item": "0", "usr": None}])
def test_events_that_are_plainly_good_are_what_their_columns_make_of_them(entries):
    """The short way gives, for whatever it takes, what the rules for files give."""
    assert check_events(entries, NOW) == _events_by_column(entries, NOW)


def test_most_events_need_no_columns():
    plain = {"user": "ann", "item": 7, "kind": "Play", "value": 0.1, "event_id": "e-1"}
    for entry in (
        plain,
        plain | {"at": NOW},
        plain | {"at": NOW * 1000, "session": "s", "tag": "x"},
    ):
        assert plain_event(entry, NOW) is not None


def test_what_is_no_object_is_refused():
    assert check_rows("events", ["ann", None, []], NOW) == [Refused("", "not an object")] * 3
    assert check_rows("events", [], NOW) == []


def test_an_item_comes_back_with_its_lists_as_objects_and_only_what_it_names():
    entry = {
        "id": "suites",
        "title": "Cello\nsuites",
        "attributes": {"year": 1720, "opus": None},
        "tags": ["baroque", {"tag": "slow", "weight": 2}],
        "tags:genre": ["solo"],
        "domains": [{"domain": "strings"}],
    }
    assert check_items([entry, {"id": "bare"}, {"id": "x", "title": None, "tags": []}], NOW) == [
        {
            "id": "suites",
            "title": "Cello suites",
            "attributes": {"year": 1720, "opus": None},
            "tags": [
                {"category": "tag", "tag": "baroque", "weight": 1.0},
                {"category": "tag", "tag": "slow", "weight": 2.0},
                {"category": "genre", "tag": "solo", "weight": 1.0},
            ],
            "domains": [{"domain": "strings", "weight": 1.0}],
        },
        {"id": "bare"},
        {"id": "x", "title": None, "tags": []},
    ]


@pytest.mark.parametrize(
    ("wrong", "field", "reason"),
    [
        ({"id": ""}, "id", "missing id"),
        ({"hidden": "perhaps"}, "hidden", "not yes or no"),
        ({"created_at": "soon"}, "created_at", "not a time"),
        ({"attributes": "{}"}, "attributes", "not an object"),
        ({"tags": "slow"}, "tags", "not a list"),
        ({"tags": ["slow", ""]}, "tags[1].tag", "missing id"),
        ({"tags": ["slow", {"tag": "a", "weight": 0}]}, "tags[1].weight", "weight not above 0"),
        ({"tags": [{"tga": "a"}]}, "tags[0].tga", "no such field; did you mean 'tag'?"),
        ({"tags:genre": [["a"]]}, "tags:genre[0].tag", "neither text nor a number"),
        ({"domains": [{"domain": "d", "weight": "x"}]}, "domains[0].weight", "not a number"),
        ({"colour": "red"}, "colour", None),
    ],
)
def test_nothing_is_taken_of_an_item_in_which_anything_is_wrong(wrong, field, reason):
    results = check_items([{"id": "a"}, {"id": "b", "tags": ["fast"]} | wrong, {"id": "c"}], NOW)
    assert results[0] == {"id": "a"}
    assert results[2] == {"id": "c"}
    assert results[1].field == field
    assert reason in (None, results[1].reason)
