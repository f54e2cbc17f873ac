"""What many chose lately: the items, and the tags that are chosen more than usual.

Nothing is shown that fewer than `FEWEST` people stand behind. Counts are those of the last whole
minute, so that an answer is the same for all who ask within it.
"""

from dataclasses import dataclass

import numpy as np

from graph.arrays import I64, Flags
from graph.errors import InputError
from graph.model import tag_parts
from recommender.overlay.trends import F64, FEWEST, REACH, SPANS, USUAL, newest_of
from recommender.ranking.request import NEUTRAL, Answer, Filter, Request
from recommender.ranking.sources import TRENDING
from recommender.serving.answers import answers
from recommender.serving.listed import Columns, Listed
from recommender.serving.recommend import Recommender
from recommender.serving.rules import Entry

DAY = "day"
CANDIDATES = 500  # tags whose people are counted


@dataclass(frozen=True)
class Rising:
    """A tag that is chosen more than usual."""

    category: str
    tag: str
    people: float  # who chose an item with it lately
    usual: float  # how many of them would be usual
    growth: float  # how many times as many it is, with `FEWEST` added to both


def trending(
    recommender: Recommender, n: int, wanted: Filter | None = None, window: str = DAY, *, now: int
) -> Answer:
    """The items that most people chose lately, on one page; each score is how many did."""
    check_window(window)
    minute = now - now % 60
    allowed = _allowed(recommender, wanted, minute)
    rows, counts = recommender.overlay.trending(window, minute)
    shown = allowed[rows]
    entries = [
        Entry(row, round(count, 1), TRENDING, {TRENDING: 1.0})
        for row, count in zip(rows[shown][:n].tolist(), counts[shown][:n].tolist(), strict=True)
    ]
    listed = Listed(
        request=Request(reasons=False),
        columns=Columns.of(entries),
        subject=None,
        served_by=TRENDING,
        fallback=None if len(entries) == n
        else f"{FEWEST} people or more chose only {len(entries)} allowed items lately",
        release=recommender.release.name,
        profile=NEUTRAL,
        segment=None,
        notes=(),
    )  # fmt: skip
    return answers(recommender.release, [listed])[0]


def rising(
    recommender: Recommender, n: int, wanted: Filter | None = None, window: str = DAY, *, now: int
) -> list[Rising]:
    """The tags whose allowed items more people chose lately than usual, most growth first.

    What is usual is what the next longer window says: the day for the hour, the week for the day,
    30 days for the week. Each person counts once per tag.
    """
    check_window(window)
    minute = now - now % 60
    trends, release = recommender.overlay.trends, recommender.release
    if trends is None:
        return []
    allowed = _allowed(recommender, wanted, minute)
    items = len(release.items)
    carries = release.item_tags.matrix.astype(bool).astype(np.float64)  # (i, t)
    by_tag = {
        span: carries.T @ np.where(allowed, trends.counts(span, minute, items), 0)
        for span in (window, USUAL[window])
    }  # at least as many as there are people
    share = SPANS[window] / SPANS[USUAL[window]]
    enough = np.flatnonzero(by_tag[window] >= FEWEST)
    growth = _growth(by_tag[window][enough], by_tag[USUAL[window]][enough] * share)
    candidates = enough[np.argsort(-growth, kind="stable")[:CANDIDATES]].tolist()
    users, rows, times = trends.pairs_since(minute - REACH * SPANS[USUAL[window]])
    kept = allowed[rows]
    users, rows, times = users[kept], rows[kept], times[kept]
    found_rising = []
    for tag in candidates:
        own = np.zeros(items, np.bool_)
        own[release.tag_items.of(tag)] = True
        with_tag = own[rows]
        _, newest = newest_of(users[with_tag], times[with_tag])
        people = _people(newest, minute, SPANS[window])
        usual = _people(newest, minute, SPANS[USUAL[window]]) * share
        times_as_many = float(_growth(np.array(people), np.array(usual)))
        if people >= FEWEST and times_as_many > 1:
            category, name = tag_parts(release.tags.id(tag))
            found_rising.append(
                Rising(category, name, round(people, 1), round(usual, 1), round(times_as_many, 2))
            )
    return sorted(found_rising, key=lambda each: -each.growth)[:n]


def check_window(window: str) -> None:
    """An `InputError` unless the window is one of those that there are."""
    if window not in USUAL:
        raise InputError(f"window {window!r} is not one of {', '.join(USUAL)}")


def _people(times: I64, now: int, span: int) -> float:
    return float(np.exp(-np.maximum(now - times, 0) / span).sum())


def _growth(now: F64, usual: F64) -> F64:
    return (now + FEWEST) / (usual + FEWEST)


def _allowed(recommender: Recommender, wanted: Filter | None, now: int) -> Flags:
    hidden = recommender.rulebook.hidden(recommender.rulebook.in_force(now, (), {}), now)
    mask: Flags = recommender.filters.mask(
        Filter(all_of=((wanted or Filter()).of({}).at(now),), none_of=hidden)
    )
    return mask
