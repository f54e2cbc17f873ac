"""What values of events are worth: ratings, counts, seconds and money."""

import math

import pytest

from graph.weighting import Weighting, weigh
from tests.store_contract import events
from tests.test_weighting import edge, event_of, frozen, pair_weights  # noqa: F401

NOW = 1_700_000_000


def test_a_count_counts_by_its_logarithm(frozen):
    snapshot = frozen(
        events(
            event_of(kind="play", value=7.0),
            event_of(item="y", kind="play", value=0.0),
            event_of(item="z", kind="play", value=-3.0),
            event_of(item="w", kind="play"),
        )
    )
    assert pair_weights(snapshot) == {("ann", "x"): edge(3.0), ("ann", "w"): 1.0}


def test_ratings_count_from_the_relevant_share_of_the_scale_in_the_data(frozen):
    """Scale 1 … 5: 3 is half of it, 4 three quarters."""
    values = {"a": 1.0, "b": 3.0, "c": 4.0, "d": 5.0}
    snapshot = frozen(
        events(*(event_of(item=item, kind="rating", value=value) for item, value in values.items()))
    )
    assert pair_weights(snapshot) == {("ann", "c"): edge(0.875), ("ann", "d"): 1.0}
    assert pair_weights(snapshot, relevant_from=0.5).keys() == {
        ("ann", "b"),
        ("ann", "c"),
        ("ann", "d"),
    }
    assert weigh(snapshot, Weighting(), NOW).user_seen.sum() == 4


def test_ratings_without_a_scale_are_all_relevant(frozen):
    same = frozen(
        events(event_of(kind="rating", value=3.0), event_of(item="y", kind="rating", value=3.0))
    )
    none = frozen(events(event_of(kind="rating"), event_of(item="y", kind="rating")))
    assert pair_weights(same) == pair_weights(none) == {("ann", "x"): 1.0, ("ann", "y"): 1.0}


def test_other_kinds_may_be_ratings(frozen):
    snapshot = frozen(
        events(event_of(kind="stars", value=1.0), event_of(item="y", kind="stars", value=10.0))
    )
    assert pair_weights(snapshot, rating_kinds=("stars",)) == {("ann", "y"): 1.0}


def rated(*values, **common):
    """Items i0, i1, … with these ratings of one user."""
    return events(
        *(
            event_of(item=f"i{n}", kind="rating", value=float(value)) | common
            for n, value in enumerate(values)
        )
    )


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ((1, 3, 4, 5, 55), {"i2", "i3"}),  # a slip ends nothing for the others
        ((4, 5, 4, 5), {"i0", "i1", "i2", "i3"}),  # everybody is content
        ((1, 2, 3), {"i2"}),  # three stars at most
        ((1, 2, 10), {"i2"}),
        ((0, 1), {"i1"}),
        ((2, 2), {"i0", "i1"}),  # nothing to tell good from bad by
    ],
)
def test_the_scale_of_ratings_is_found_whatever_a_few_of_them_say(frozen, values, kept):
    assert {item for _, item in pair_weights(frozen(rated(*values)))} == kept


def test_the_scale_of_ratings_can_be_given(frozen):
    snapshot = frozen(rated(1, 2, 3, 9))
    weights = pair_weights(snapshot, rating_scale=(0.0, 4.0))
    assert weights == {("ann", "i2"): edge(0.5 + 0.5 * 0.75)}


def watched(*seconds, kind="watch"):
    """Users a, b, c … watch an item for so long."""
    return events(
        *({**event_of(user=chr(97 + n), kind=kind), "value": s} for n, s in enumerate(seconds))
    )


def test_seconds_count_by_what_is_typical_and_never_more_than_two(frozen):
    """60, 120, 240 s: the median, 120 s, is worth 1, half of it 2/3, twice as much 4/3."""
    snapshot = frozen(watched(60.0, 120.0, 240.0))
    assert pair_weights(snapshot, values={"watch": "seconds"}) == {
        ("a", "x"): edge(2 / 3),
        ("b", "x"): edge(1),
        ("c", "x"): edge(4 / 3),
    }
    given = pair_weights(snapshot, values={"watch": "seconds"}, typical={"watch": 60.0})
    assert given[("a", "x")] == edge(1)
    hours = frozen(watched(60.0, 60.0, 360_000.0))
    long = pair_weights(hours, values={"watch": "seconds"})["c", "x"]
    assert long == edge(2 * 6_000 / 6_001)


def test_money_counts_in_units_of_what_is_typical_whatever_the_currency(frozen):
    """10, 20, 60: 20 is worth 1, 60 is worth log2(1 + 3)."""
    euros = frozen(watched(10.0, 20.0, 60.0, kind="order"))
    yen = frozen(watched(1_600.0, 3_200.0, 9_600.0, kind="order"))
    rule = {"values": {"order": "money"}}
    assert pair_weights(euros, **rule) == {
        ("a", "x"): edge(math.log2(1.5)),
        ("b", "x"): edge(1),
        ("c", "x"): edge(2),
    }
    assert pair_weights(yen, **rule) == pair_weights(euros, **rule)


def test_no_value_is_worth_one_and_nothing_paid_or_watched_is_worth_nothing(frozen):
    snapshot = frozen(watched(0.0, 30.0, -5.0, None))
    for meaning in ("seconds", "money", "count"):
        weights = pair_weights(snapshot, values={"watch": meaning}, typical={})
        assert {user for user, _ in weights} == {"b", "d"}
        assert weights["d", "x"] == edge(1)
