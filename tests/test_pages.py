"""Cursors, rotation and variety by hand: bounds, what is compared, a published mixer."""

import base64
import zlib
from dataclasses import replace

import numpy as np
import pytest

from graph.errors import InputError
from graph.model import NO_ROW
from graph.vocabulary import Vocabulary
from recommender.ranking.pages import (
    MOST_PAGED,
    VARIETY,
    item_sums,
    next_cursor,
    rotation,
    shown_before,
    sums_of,
    variety,
)
from recommender.ranking.request import Filter, Request

IDS = [f"item {number}" for number in range(2500)]
ITEMS = Vocabulary.of(IDS)
SUMS = item_sums(ITEMS)
NOTHING = SUMS[:0]
ASKED = Request(user="ann", n=5)


def sums(*ids):
    return sums_of(ITEMS, ITEMS.rows(ids))


def after(cursor, **fields):
    return replace(ASKED, cursor=cursor, **fields)


def packed(content):
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def sum_of(request):
    return base64.urlsafe_b64decode(next_cursor(request, NOTHING) + "==")[:4]


def test_a_cursor_brings_back_what_the_pages_before_showed():
    first = next_cursor(ASKED, sums("item 3", "item 1"))
    assert ITEMS.ids(shown_before(after(first), SUMS)) == ["item 1", "item 3"]
    second = next_cursor(after(first), sums("item 2"))
    assert ITEMS.ids(shown_before(after(second), SUMS)) == ["item 1", "item 2", "item 3"]
    assert shown_before(ASKED, SUMS) == []


def test_pages_end_at_a_thousand_items_and_not_before():
    assert MOST_PAGED == 1000
    almost = next_cursor(ASKED, SUMS[:999])
    assert len(shown_before(after(almost), SUMS)) == 999
    assert next_cursor(ASKED, SUMS[:1000]) is None
    assert next_cursor(after(almost), SUMS[999:1000]) is None
    assert next_cursor(after(almost), NOTHING) == almost


@pytest.mark.parametrize("count", [0, 1, 2000])
def test_a_cursor_of_any_length_that_can_arise_is_read(count):
    content = sum_of(ASKED) + SUMS[:count].astype("<u4").tobytes()
    assert len(shown_before(after(packed(content)), SUMS)) == count


@pytest.mark.parametrize(
    "content",
    [b"", b"abc", b"abcde", b"abcdef", SUMS[:2002].astype("<u4").tobytes()],
    ids=["empty", "short", "odd", "half", "long"],
)
def test_what_no_cursor_can_be_is_refused(content):
    with pytest.raises(InputError, match="did not come from here"):
        shown_before(after(packed(content)), SUMS)


@pytest.mark.parametrize("text", ["!!!!!!!!", "äöüä", "A", "A" * 9])
def test_what_is_no_base64_is_refused(text):
    with pytest.raises(InputError, match="did not come from here"):
        shown_before(after(text), SUMS)


@pytest.mark.parametrize(
    "other",
    [
        {"user": "bob"},
        {"filter": Filter(domains=("noir",))},
        {"exclude": ("x",)},
        {"include_seen": True},
        {"profile": "neutral"},
        {"seed": 1},
        {"shown": {"x": 1}},
        {"context": {"device": "phone"}},
    ],
    ids=lambda other: next(iter(other)),
)
def test_a_cursor_is_of_one_request(other):
    cursor = next_cursor(ASKED, sums("item 1"))
    with pytest.raises(InputError, match="another request"):
        shown_before(after(cursor, **other), SUMS)


def test_length_and_reasons_may_change_from_page_to_page():
    cursor = next_cursor(ASKED, sums("item 1"))
    assert shown_before(after(cursor, n=50, reasons=False), SUMS) == [ITEMS.row("item 1")]


def test_a_sum_is_the_crc_of_an_id():
    ids = Vocabulary.of(["a", "läß", "读者"])
    assert item_sums(ids).tolist() == [zlib.crc32(name.encode()) for name in ids]
    assert sums_of(ids, np.array([2, 0])).tolist() == item_sums(ids)[[2, 0]].tolist()


def test_each_time_shown_costs_three_tenths():
    rows = np.array([ITEMS.row(name) for name in ("item 1", "item 2", "item 3")], np.int32)
    times = {ITEMS.row(name): count for name, count in (("item 3", 2), ("item 1", 1))}
    np.testing.assert_allclose(rotation(times | {NO_ROW: 9}, rows), [0.7, 1, 0.49], rtol=1e-6)


def mixed(number):
    """SplitMix64's finaliser, in whole numbers (Steele, Lea and Flood 2014)."""
    z = number % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


@pytest.mark.parametrize("seed", [0, 1, 7, -3, 2**62])
def test_variety_is_drawn_by_seed_and_item(seed):
    rows = np.array([0, 1, 2, 5000, 2**31 - 1], np.int32)
    step = seed % 2**63 * 0x9E3779B97F4A7C15
    expected = [1 + 0.1 * (2 * mixed(int(row) + step) / 2**64 - 1) for row in rows]
    np.testing.assert_allclose(variety(seed, rows), expected, rtol=1e-6)


def test_variety_goes_both_ways_and_not_too_far():
    factors = variety(5, np.arange(4000, dtype=np.int32))
    assert VARIETY == 0.1
    assert 0.9 <= factors.min() < 0.901
    assert 1.099 < factors.max() <= 1.1
    assert abs(float(factors.mean()) - 1) < 0.005
