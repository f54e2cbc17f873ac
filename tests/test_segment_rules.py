"""Rules of segments: the condition language, the older text form, and what is wrong in either."""

import contextlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph.errors import SettingError
from recommender.segments.rule_text import as_object
from recommender.segments.rules import parse_rule

NOW = 1_760_000_000


NOW_BAROQUE = {
    "and": [{"domain_share": {"baroque": {"above": 0.3}}}, {"last_seen_days": {"below": 7.0}}]
}


BUSY = {
    "or": [
        {"events": {"from": 5.0}},
        {"not": {"and": [{"novelty": {"below": 0.5}}, {"last_seen_days": {"above": 14.0}}]}},
    ]
}


@pytest.mark.parametrize(
    ("text", "conditions"),
    [
        ("domain share of baroque > 30 % and last seen < 7 days", NOW_BAROQUE),
        ("events >= 5 or not (novelty < 0.5 and last seen > 2 weeks)", BUSY),
        (
            'tag share of "rock and roll" > 10%',
            {"tag_share": {"rock and roll": {"above": 0.1}}},
        ),
        (
            "domain share of graph theory <= 0.5",
            {"domain_share": {"graph theory": {"to": 0.5}}},
        ),
        ("first seen = 1 year", {"first_seen_days": {"from": 365.25, "to": 365.25}}),
        ("NIGHT SHARE > 50 %", {"night_share": {"above": 0.5}}),
        ("kind share of play >= 1", {"kind_share": {"play": {"from": 1.0}}}),
    ],
)
def test_the_older_form_of_a_rule_is_translated(text, conditions):
    assert as_object(text) == conditions
    assert parse_rule(text) == parse_rule(conditions)


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        ([], r"rule: must be an object such as"),
        ({}, "rule: this holds for everyone"),
        ({"event": {"from": 5}}, r"rule.event: 'event' is not a condition; did you mean 'events'"),
        ({"events": 5}, "rule.events: must be an object"),
        ({"events": {"is": 5}}, "rule.events: say from, to, above or below"),
        ({"events": {"in": ["5"]}}, "rule.events: say from, to, above or below"),
        ({"events": {"from": "5"}}, "rule.events.from: must be a number"),
        ({"events": {"from": 5, "above": 4}}, "rule.events: say from or above, not both"),
        ({"events": {"from": 5, "to": 4}}, "rule.events: from 5 is above to 4"),
        ({"events": {"above": 5, "below": 5}}, "rule.events: no number is above 5 and below 5"),
        ({"novelty": {"from": 30}}, "rule.novelty: is a share, between 0 and 1"),
        ({"tag_share": {}}, "rule.tag_share: give at least one"),
        ({"tag_share": {"a": {"below": -1}}}, "rule.tag_share.a: is a share"),
        ({"tag_share": {"a": {"in": [1]}}}, "rule.tag_share.a: say from, to, above or below"),
        ({"or": [{}, {"not": {"items": {"to": None}}}]}, "rule.or.1.not.items.to: must be a num"),
        ({"or": [{"items": {"to": 1}} for _ in range(400)]}, "a rule holds at most 1000 cond"),
    ],
)
def test_a_wrong_rule_names_the_condition_and_the_remedy(conditions, words):
    with pytest.raises(SettingError, match=words):
        parse_rule(conditions)


def test_bounds_are_reached_or_not_as_they_say():
    """At a half, just below and just above it."""
    values = (math.nextafter(0.5, 0), 0.5, math.nextafter(0.5, 1))
    for bound, holds in (
        ({"from": 0.5}, (False, True, True)),
        ({"above": 0.5}, (False, False, True)),
        ({"to": 0.5}, (True, True, False)),
        ({"below": 0.5}, (True, False, False)),
        ({"from": 0.5, "to": 0.5}, (False, True, False)),
    ):
        rule = parse_rule({"novelty": bound})
        assert tuple(rule.holds(lambda *_, v=value: v) for value in values) == holds


@pytest.mark.parametrize(
    ("text", "location", "words"),
    [
        ("", 1, "expected a measure"),
        ("noise > 3", 1, "expected a measure"),
        ("last seen 7 days", 11, "expected >"),
        ("last seen < soon", 13, "expected a number"),
        ("events > 3 %", 12, "not a share"),
        ("novelty > 30", 11, "forget the %"),
        ("events > 3 and", 15, "expected a measure"),
        ("(events > 3", 12, "closing"),
        ("events > 3) or items > 2", 11, "expected `and`"),
        ("events > 3 days", 12, "not a time"),
        ("domain share > 3 %", 14, "expected `of`"),
        ("__import__('os')", 1, "expected a measure"),
        ("events > " + "9" * 400, 10, "too large"),
    ],
)
def test_errors_name_the_place(text, location, words):
    with pytest.raises(SettingError, match=f"character {location}: ") as error:
        parse_rule(text)
    assert words in str(error.value)


def test_deep_and_long_rules_are_refused():
    with pytest.raises(SettingError, match="nested"):
        parse_rule("not " * 200 + "events > 1")
    with pytest.raises(SettingError, match="longer"):
        parse_rule("events > 1 or " * 500 + "events > 1")


@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from(["events", ">", "3", "and", "or", "not", "(", ")", "%", "of"])).map(
        " ".join
    )
)
def test_any_text_is_a_rule_or_a_setting_error(text):
    with contextlib.suppress(SettingError):
        parse_rule(text)
        return
    with pytest.raises(SettingError, match="character"):
        parse_rule(text)


LEAVES = st.sampled_from(["events > 2", "items < 3", "domains = 1", "novelty >= 50 %"])


TREES = st.recursive(
    LEAVES.map(lambda text: (text, text)),
    lambda inner: st.one_of(
        inner.map(lambda a: (f"not ({a[0]})", f"(not ({a[1]}))")),
        st.tuples(inner, inner, st.sampled_from(["and", "or"])).map(
            lambda t: (f"({t[0][0]}) {t[2]} ({t[1][0]})", f"(({t[0][1]}) {t[2]} ({t[1][1]}))")
        ),
    ),
    max_leaves=6,
)


@given(TREES, st.tuples(*[st.integers(0, 4)] * 3, st.floats(0, 1)))
def test_rules_mean_what_python_would_say(pair, values):
    text, python = pair
    names = dict(zip(("events", "items", "domains", "novelty"), values, strict=True))
    expected = eval(python.replace("50 %", "0.5").replace(" = ", " == "), {}, dict(names))
    assert parse_rule(text).holds(lambda name, _: float(names[name])) == bool(expected)


def test_what_is_not_known_fulfils_no_condition():
    for unknown in (np.nan, None):
        assert not parse_rule("last seen < 7 days").holds(lambda *_, u=unknown: u)
        assert not parse_rule("last seen > 7 days").holds(lambda *_, u=unknown: u)
        assert parse_rule("not last seen < 7 days").holds(lambda *_, u=unknown: u)
