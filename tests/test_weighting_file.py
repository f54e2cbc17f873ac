"""weighting.toml: every key is read, and whatever is wrong is refused by its name."""

import json
from dataclasses import fields

import pytest

from graph.errors import SettingError
from graph.weighting import Weighting
from graph.weighting_file import load_weighting, parse_weighting

NOW = 1_700_000_000


EVERYTHING = """
[kinds]
view = 0.25
[categories]
genre = 0.5
[domains]
baroque = 1.5
[relations]
cites = 0.5
[age]
half_life_days = 365
[tags]
rarity = 1
fewest_items = 3
most_items = 30
[minimum]
user_events = 2
item_events = 4
[ratings]
kinds = ["stars", "rating"]
relevant_from = 0.75
"""


def test_a_file_says_everything(tmp_path):
    path = tmp_path / "weighting.toml"
    path.write_text(EVERYTHING)
    assert load_weighting(path) == Weighting(
        kinds={"view": 0.25},
        categories={"genre": 0.5},
        domains={"baroque": 1.5},
        relations={"cites": 0.5},
        half_life_days=365.0,
        tag_rarity=1.0,
        tag_fewest_items=3,
        tag_most_items=30,
        user_events=2,
        item_events=4,
        rating_kinds=("stars", "rating"),
        relevant_from=0.75,
    )


def test_no_file_and_an_empty_one_are_the_defaults(tmp_path):
    assert load_weighting(tmp_path / "none.toml") == parse_weighting({}) == Weighting()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[kind]\nview = 1", r"\[kind\] is not known; did you mean 'kinds'"),
        ("[tags]\nrarety = 1", r"tags\.rarety is not known; did you mean 'rarity'"),
        ("[xyzzy]", r"\[xyzzy\] is not known; choose from: against, age, attributes"),
        ("kinds = 3", r"written as \[kinds\]"),
        ("[kinds]\nview = -1", r"kinds\.view is -1.*0 or more"),
        ("[kinds]\nview = 'much'", r"kinds\.view is 'much'"),
        ("[kinds]\nview = nan", r"kinds\.view"),
        ("[kinds]\nview = inf", r"kinds\.view"),
        ("[kinds]\nview = true", r"kinds\.view is True"),
        ("[age]\nhalf_life_days = 0", r"age\.half_life_days is 0; leave it out"),
        ("[tags]\nfewest_items = 1.5", r"tags\.fewest_items is 1\.5; it must be a whole number"),
        ("[tags]\nfewest_items = 9\nmost_items = 3", r"tags\.fewest_items is larger"),
        ("[ratings]\nkinds = 'stars'", r"ratings\.kinds is 'stars'; it must be a list"),
        ("[ratings]\nkinds = [1]", r"ratings\.kinds is \[1\]; it must be a list"),
        ("[ratings]\nscale = [5, 1]", r"ratings\.scale is \[5, 1\]; it must be \[lowest"),
        ("[ratings]\nrelevant_from = 4", r"ratings\.relevant_from is 4; it is a share"),
        ("[kinds\nview = 1", "not valid TOML"),
    ],
)
def test_a_wrong_file_is_refused_by_key(tmp_path, text, says):
    path = tmp_path / "weighting.toml"
    path.write_text(text)
    with pytest.raises(SettingError, match=rf"weighting\.toml.*{says}"):
        load_weighting(path)


def test_a_file_that_is_not_utf_8_is_refused(tmp_path):
    path = tmp_path / "weighting.toml"
    path.write_bytes(b"\xff\xfe[kinds]")
    with pytest.raises(SettingError, match="not valid TOML"):
        load_weighting(path)


def test_the_example_in_the_documentation_is_valid():
    import tomllib

    from graph import weighting

    example = weighting.__doc__.split(":\n\n", 1)[1]
    parsed = parse_weighting(tomllib.loads(example))
    assert parsed.domains == {"baroque": 1.5}


def test_a_manifest_holds_every_field():
    import json

    document = json.loads(json.dumps(Weighting(rating_kinds=("a",)).to_json()))
    assert document.keys() == {field.name for field in fields(Weighting)}
    assert document["rating_kinds"] == ["a"]


def test_a_rule_is_read_back_from_what_it_told_of_itself():
    rule = Weighting(kinds={"like": 2.0}, rating_scale=(1.0, 5.0), half_life_days=30.0)
    document = json.loads(json.dumps(rule.to_json()))
    assert Weighting.from_json(document | {"of an older version": 1}) == rule


def test_what_the_file_calls_a_rating_is_one_and_what_it_calls_something_else_is_none():
    assert parse_weighting({"values": {"Stars": "rating"}}).rating_kinds == ("rating", "stars")
    assert parse_weighting({"values": {"rating": "count"}}).rating_kinds == ()


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"values": {"watch": "minutes"}}, "rating, count, seconds, money"),
        ({"values": {"stars": "count"}, "ratings": {"kinds": ["stars"]}}, "leave one of them out"),
        ({"typical": {"watch": 60}}, "seconds or money"),
        ({"values": {"watch": "seconds"}, "typical": {"watch": 0}}, "above 0"),
    ],
)
def test_meanings_that_do_not_go_together_are_refused(document, message):
    with pytest.raises(SettingError, match=message):
        parse_weighting(document)
