"""Events and items of requests are checked like those of files, and every refusal names a field."""

import pytest

from loaders.entries import Refused, check_items, check_rows

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
