"""Which items a request allows: from conditions to a flag for each item."""

from collections.abc import Callable
from copy import copy
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from graph.arrays import I32, I64, Flags
from graph.dates import last_second_of, seconds_of
from graph.errors import InputError
from graph.model import NO_ROW, NO_TIME
from recommender.ranking.request import Bound, Filter
from recommender.releases.release import Release
from recommender.releases.rows import Rows

CACHED_FILTERS = 64  # masks kept per worker: one byte an item each


class Filters:
    """Turns the filters of requests into masks over a release's items; masks are cached."""

    def __init__(self, release: Release, hidden: Flags | None = None) -> None:
        """Hold the release; masks are made when they are asked for.

        `hidden` (i,) are the items that are never shown; None: those hidden in the release.
        """
        self._release = release
        self._hidden = np.asarray(release.hidden) if hidden is None else hidden
        # Of a copy: a cycle would keep the files of a dropped release open.
        self.mask = lru_cache(CACHED_FILTERS)(copy(self).flags)

    def tag_rows(self, name: str) -> I64:
        """The tags of a name, given as `name` or `category:name`; none when nobody knows it."""
        rows = self._named(name)
        category, _, rest = name.partition(":")
        if len(rows) == 0:
            prefix = f"{category}\x1f".encode()
            same = self._named(rest)
            kept = [row for row in same if self._release.tags.id(row).encode().startswith(prefix)]
            rows = np.array(kept, np.int64)
        return rows

    def _named(self, name: str) -> I64:
        """Rows of the tags of a name, ascending, found without looking at every tag."""
        row = self._release.tag_name_row(name)
        if row == NO_ROW:
            return np.zeros(0, np.int64)
        names, order = self._by_name
        start, stop = np.searchsorted(names, [row, row + 1])
        return order[start:stop]

    @cached_property
    def _by_name(self) -> tuple[I32, I64]:
        """(t,) rows of names, ascending, and the tags that have them."""
        names = self._release.tag_name_rows
        order = np.argsort(names, kind="stable").astype(np.int64)
        return names[order], order

    def flags(self, wanted: Filter) -> Flags:
        """(i,) True where an item may be shown; unknown domains and tags allow nothing.

        Ages must have been turned into times, see `Filter.at`. `mask` gives the same, and keeps
        the last ones.
        """
        return ~self._hidden & self._holds(wanted)

    def _holds(self, wanted: Filter) -> Flags:
        """(i,) True where every condition holds, hidden items too."""
        release = self._release
        if wanted.subject:
            raise InputError("what a filter asks of the subject must be known first, see Filter.of")
        mask = np.ones(len(release.items), np.bool_)
        if wanted.domains:
            mask &= self._any_row(
                release.domain_items, [release.domains.row(d) for d in wanted.domains]
            )
        for name in wanted.tags_all:
            mask &= self._any_row(release.carriers, self.tag_rows(name).tolist())
        if wanted.tags_any:
            rows = [row for name in wanted.tags_any for row in self.tag_rows(name).tolist()]
            mask &= self._any_row(release.carriers, rows)
        for name in wanted.tags_none:
            mask &= ~self._any_row(release.carriers, self.tag_rows(name).tolist())
        for name, low, high, allowed in wanted.attributes:
            mask &= self._attribute(name, low, high, allowed)
        created = release.created_at
        if wanted.created_after is not None:
            mask &= created >= wanted.created_after
        if wanted.created_before is not None:
            mask &= (created <= wanted.created_before) & (created != NO_TIME)
        if wanted.items:
            mask &= np.isin(np.arange(len(mask)), release.items.rows(wanted.items))
        for part in wanted.all_of:
            mask &= self._holds(part)
        if wanted.any_of:
            mask &= np.logical_or.reduce([self._holds(part) for part in wanted.any_of])
        for part in wanted.none_of:
            mask &= ~self._holds(part)
        return mask

    def _any_row(self, matrix: Rows, rows: list[int]) -> Flags:
        """Items with an entry in any of the rows of a (…, i) matrix."""
        flags = np.zeros(matrix.width, np.bool_)
        for row in rows:
            if row != NO_ROW:
                flags[matrix.of(row)] = True
        return flags

    def _attribute(self, name: str, low: Bound, high: Bound, allowed: tuple[str, ...]) -> Flags:
        kept = self._release.attribute_names
        if name not in kept:
            there = ", ".join(kept) or "none"
            raise InputError(f"attribute {name!r} is not one of this catalogue's: {there}")
        attribute = self._release.attribute(name)
        values = attribute.values
        if attribute.words is None:
            for bound in (low, high):
                if isinstance(bound, str):
                    raise InputError(f"attribute {name!r} holds numbers; {bound!r} is not one")
            mask = _between(values, low, high)
            if allowed:
                mask &= np.isin(values, [_number(name, text) for text in allowed])
            return mask
        mask = np.ones(len(values), np.bool_)
        if low is not None or high is not None:
            if attribute.seconds is None:
                raise InputError(
                    f"attribute {name!r} holds words; name the allowed ones, not a range"
                )
            first, last = _second(name, low, seconds_of), _second(name, high, last_second_of)
            mask = _between(attribute.seconds, first, last)
        if allowed or (low is None and high is None):
            wanted = attribute.words.rows(allowed)
            mask &= np.isin(values, wanted[wanted != NO_ROW])
        return mask


def passes(wanted: Filter) -> int:
    """How many passes over the items a filter asks for, about: names, ranges, parts."""
    parts = (*wanted.all_of, *wanted.any_of, *wanted.none_of)
    names = (wanted.domains, wanted.tags_all, wanted.tags_any, wanted.tags_none, wanted.items)
    ranges = sum(1 + len(allowed) for *_, allowed in wanted.attributes)
    ranges += len(wanted.subject)
    return sum(map(len, names)) + ranges + sum(1 + passes(part) for part in parts)


def _between(values: npt.NDArray[Any], low: float | str | None, high: float | str | None) -> Flags:
    """(n,) True where there is a value from `low` to `high`."""
    mask = ~np.isnan(values)
    if low is not None:
        mask &= values >= low
    if high is not None:
        mask &= values <= high
    return mask


def _second(name: str, bound: Bound, meaning: Callable[[str], int | None]) -> int | None:
    """The second that a bound of dates means."""
    if bound is None:
        return None
    second = meaning(bound) if isinstance(bound, str) else None
    if second is None:
        raise InputError(f'attribute {name!r} holds dates such as "2024-01-31"; {bound!r} is none')
    return second


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise InputError(f"attribute {name!r} holds numbers; {text!r} is not one") from error
