"""The moment of a request: declared in a file, switched off at will, measured."""

import numpy as np
import pytest

from graph.errors import SettingError
from recommender.ranking.contexts import Context, features, fitted
from recommender.ranking.request import Request
from recommender.ranking.rerank import Profile
from recommender.segments.settings import parse_segment_settings
from recommender.serving.recommend import Recommender
from recommender.serving.rules_check import check_rules

NOW = 1_760_000_000
PHONE = {"name": "phone", "when": {"device": ["phone"]}, "profile": {"long_tail": 4.0}}


def served(recommender, *contexts):
    settings = parse_segment_settings({"context": list(contexts)})
    return Recommender(recommender.release, settings=settings)


def rows(recommender, **fields):
    user = next(iter(recommender.release.users))
    answer = recommender.recommend([Request(user=user, reasons=False, **fields)], now=NOW)[0]
    return recommender.release.items.rows([entry.item for entry in answer.items])


def test_a_context_moves_the_profile_and_can_be_switched_off(recommender):
    first, off = served(recommender, PHONE), served(recommender, PHONE | {"enabled": False})
    rarity = recommender.release.rarity
    plain = rows(first).tolist()
    phone = rows(first, context={"device": "phone"})
    assert rarity[phone].mean() > rarity[plain].mean()
    assert rows(first, context={"device": "desk"}).tolist() == plain
    assert rows(first, context=None).tolist() == plain
    assert rows(off, context={"device": "phone"}).tolist() == plain
    fields = {"context": {"device": "phone"}, "profile": "neutral"}
    assert rows(first, **fields).tolist() == rows(recommender, profile="neutral").tolist()


def test_a_context_moves_the_weight_of_the_session(recommender, planted):
    """A first visit leans on the session alone, where it is declared so."""
    declared = {"name": "now", "when": {"device": ["phone"]}, "session_share": 1.0}
    declaring = served(recommender, declared)
    item = planted.answers.items[0]
    phone = rows(declaring, items={item: 1.0}, context={"device": "phone"}, profile="neutral")
    content = rows(declaring, items={item: 1.0}, session_share=1.0, profile="neutral")
    assert phone.tolist() == content.tolist()
    both = {"items": {item: 1.0}, "context": {"device": "phone"}, "profile": "neutral"}
    kept = rows(declaring, session_share=0.2, **both)  # what a request says stands
    assert kept.tolist() == rows(recommender, session_share=0.2, **both).tolist()


@pytest.mark.parametrize(
    ("hour", "time"),
    [(0, "night"), (5, "night"), (6, "morning"), (12, "afternoon"), (23, "evening")],
)
def test_time_and_first_visit_are_known_without_being_said(hour, time):
    now = 20_000 * 86_400 + hour * 3600
    assert features({}, now, known=False, attributes={}) == {
        "time": (time,),
        "first_visit": ("yes",),
    }
    assert features({"time": "noon"}, now, known=True, attributes={})["time"] == ("noon",)
    assert features(None, now, known=True, attributes={"plan": "free"}) == {}


def test_a_first_visit_is_one_of_a_user_whom_nobody_knows(recommender):
    first = {"name": "first", "when": {"first_visit": ["yes"]}, "profile": {"long_tail": 0.0}}
    answering = served(recommender, first)
    assert rows(answering).tolist() == rows(recommender).tolist()
    shown = [
        answer.recommend([Request(user="stranger", items={"x": 1.0})], now=NOW)[0].profile
        for answer in (answering, recommender)
    ]
    assert shown[0] == shown[1]


def test_factors_are_multiplied_and_shares_stay_shares():
    double = Context("a", {}, {"diversity": 2.0, "exploration": 5.0})
    half = Context("b", {}, {"diversity": 0.25})
    result = fitted(Profile(diversity=0.2, long_tail=0.3, exploration=0.5), [double, half])
    assert result.diversity == pytest.approx(0.1)
    assert (result.long_tail, result.exploration) == (0.3, 1.0)


def test_the_effect_is_measured(recommender):
    result = check_rules(
        served(recommender, PHONE), (), users=20, n=10, now=NOW, context={"device": "phone"}
    )
    assert result[-1]["rule"] == "contexts"
    assert result[-1]["changed"] > 0
    other = check_rules(served(recommender, PHONE), (), users=20, n=10, now=NOW)
    assert other[-1]["changed"] == other[-1]["cost"] == 0


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"when": {"device": ["phone"]}, "profile": {"diversity": 1}}, "needs a name"),
        ({"name": "a", "profile": {"diversity": 1}}, "say when"),
        ({"name": "a", "when": {"device": "phone"}}, "list of texts"),
        ({"name": "a", "when": {"x": ["y"]}, "profile": {"diversty": 1}}, "did you mean"),
        ({"name": "a", "when": {"x": ["y"]}, "session_share": 2}, "0 to 1"),
        ({"name": "a", "when": {"x": ["y"]}}, "a profile or a session_share"),
        ({"name": "a", "when": {"x": ["y"]}, "enabled": 1}, "true or false"),
    ],
)
def test_a_wrong_context_is_named(message, words):
    with pytest.raises(SettingError, match=words):
        parse_segment_settings({"context": [message]})


def test_a_context_that_nobody_declared_changes_nothing(recommender):
    np.testing.assert_array_equal(rows(recommender, context={"device": "phone"}), rows(recommender))
