"""How many people chose each item lately: counts that fade, by the hour, the day and the week.

Who chose an item some time ago counts e^(-age / span): at a constant rate the count is that of a
plain window of this length. Each person counts once per item, by the newest choice, so nobody can
push an item alone. Sums are kept as they were at `origin` and are faded when they are read, so a
newer event changes but one number for each span (Cormode and others 2009,
doi:10.1109/ICDE.2009.65, "forward decay").
"""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from graph.arrays import I64, Flags
from graph.model import NO_TIME
from recommender.overlay.histories import EVENT, Events, Weigher
from recommender.releases.release import Release

F64 = npt.NDArray[np.float64]

SPANS = {"hour": 3_600, "day": 86_400, "week": 604_800, "month": 2_592_000}  # seconds
USUAL = {"hour": "day", "day": "week", "week": "month"}  # what a window is compared with
FEWEST = 20  # people; smaller counts are not shown
REACH = 5  # spans after which a choice counts for next to nothing
AHEAD = 60  # seconds that a choice may seem to lie ahead: readers count in whole minutes
REBASE = 20 * 86_400  # seconds after `origin` at which sums get a newer one, before they overflow
LEAST, SHARE = 1_000, 64  # when newer pairs are merged with the older ones

_SECONDS = np.array(list(SPANS.values()), np.float64)[:, None]


@dataclass(frozen=True)
class Newest:
    """When pairs were chosen last: numbers of users and items as one key each; two layers."""

    keys: I64  # ascending
    times: I64
    newer_keys: I64  # ascending; these hold over the others
    newer_times: I64

    def times_of(self, keys: I64, default: I64) -> I64:
        """The time of each of some keys, or the default where it is not here."""
        times = default
        for own, known in ((self.keys, self.times), (self.newer_keys, self.newer_times)):
            at = np.minimum(np.searchsorted(own, keys), max(len(own) - 1, 0))
            if len(own):
                times = np.where(own[at] == keys, known[at], times)
        return times

    def with_(self, keys: I64, times: I64) -> "Newest":
        """The same with other times for some keys, which ascend."""
        newer = _merged(self.newer_keys, self.newer_times, keys, times)
        if len(newer[0]) < max(LEAST, len(self.keys) // SHARE):
            return replace(self, newer_keys=newer[0], newer_times=newer[1])
        return Newest(*_merged(self.keys, self.times, *newer), *_none())

    def all(self) -> tuple[I64, I64]:
        """All keys and their times, ascending."""
        return _merged(self.keys, self.times, self.newer_keys, self.newer_times)


@dataclass(frozen=True)
class Released:
    """What a release holds of choices; its sums are made when they are first asked for."""

    release: Release
    weigher: Weigher
    silent: frozenset[int] = frozenset()  # users (rows) who are in none of the sums

    @property
    def made(self) -> int:
        """When the release was made; the sums are as they were then."""
        return int(self.release.manifest["created_at"])

    @cached_property
    def sums(self) -> F64:
        """(4, i) how many people chose each item, for each of SPANS."""
        keys, times = self.chosen_since(self.made - REACH * SPANS["month"])
        if self.silent:
            users = (keys >> _BITS).tolist()
            counted = np.array([user not in self.silent for user in users], np.bool_)
            keys, times = keys[counted], times[counted]
        items, count = _items(keys), len(self.release.items)
        sums = [np.bincount(items, faded, count) for faded in _faded(times, self.made)]
        return np.stack(sums).astype(np.float64)

    def chosen_since(self, since: int) -> tuple[I64, I64]:
        """Pairs chosen after a time, and when last."""
        return self._chosen(np.flatnonzero(self.release.arrays["events.at"] > since))

    def chosen_by(self, users: I64) -> tuple[I64, I64]:
        """Pairs of some users; those whom the release lacks have none."""
        starts = self.release.arrays["events.indptr"].astype(np.int64)
        users = users[users < len(starts) - 1]
        lengths = starts[users + 1] - starts[users]
        ahead = np.cumsum(lengths) - lengths
        at = np.repeat(starts[users] - ahead, lengths) + np.arange(lengths.sum())
        return self._chosen(at.astype(np.int64))

    def _chosen(self, places: I64) -> tuple[I64, I64]:
        """The pairs of the events at some places that speak for their items."""
        release = self.release
        users = np.searchsorted(release.arrays["events.indptr"], places, side="right") - 1
        events: Events = np.zeros(len(places), EVENT)
        for name in ("item", "kind", "value", "at"):
            events[name] = release.arrays[f"events.{name}"][places]
        events["at"] = np.minimum(events["at"], self.made)  # a clock was ahead
        liked = self.weigher.liked(events, users.astype(np.int32), release.event_kinds)
        liked &= events["at"] > self.made - REACH * SPANS["month"]
        return newest_of(key_of(users[liked], events["item"][liked]), events["at"][liked])


@dataclass(frozen=True)
class Trends:
    """How many people chose each item lately; an immutable value, replaced by a newer one."""

    released: Released
    origin: int  # seconds since 1970
    rows: I64  # (k,) items whose counts have changed since the release, ascending
    added: F64  # (4, k) by how much, as it was at `origin`
    newest: Newest  # pairs chosen since; NO_TIME: taken back
    silent: frozenset[int] = frozenset()  # numbers of users who are in no count
    stamp: int = 0  # the last fact that changed a count
    last: int = NO_TIME  # of the times in `newest`
    led: dict[tuple[str, int, int], tuple[I64, F64]] = field(default_factory=dict)  # kept a while

    @classmethod
    def over(
        cls, release: Release, weigher: Weigher, silent: frozenset[int] = frozenset()
    ) -> "Trends":
        """Count what the release holds, but for users (rows) who are in no count."""
        released = Released(release, weigher, silent)
        nothing, newest = np.zeros((len(SPANS), 0)), Newest(*_none(), *_none())
        return cls(released, released.made, _none()[0], nothing, newest, silent)

    def counts(self, span: str, now: int, items: int) -> F64:
        """(i,) how many people chose each of the first `items` items lately, faded up to `now`.

        If a clock was ahead when something was chosen, this counts as chosen now.
        """
        if max(self.released.made, self.last) > now + AHEAD:
            _, rows, times = self.pairs_since(now - REACH * SPANS[span])
            fades: F64 = np.exp(-np.maximum(now - times, 0) / SPANS[span])
            return np.bincount(rows, fades, items).astype(np.float64)
        number, seconds = list(SPANS).index(span), SPANS[span]
        known = self.released.sums[number]
        counts = np.zeros(items)
        counts[: len(known)] = known * np.exp((self.released.made - now) / seconds)
        counts[self.rows] += self.added[number] * np.exp((self.origin - now) / seconds)
        return np.maximum(counts, 0)

    def leading(self, span: str, now: int, items: int) -> tuple[I64, F64]:
        """Rows of the items that `FEWEST` people or more chose lately, most first; how many did."""
        kept = self.led.get((span, now, items))
        if kept is None:
            counts = self.counts(span, now, items)
            rows = np.flatnonzero(counts >= FEWEST)
            rows = rows[np.argsort(-counts[rows], kind="stable")]
            if len(self.led) > len(SPANS):
                self.led.clear()
            kept = self.led[span, now, items] = rows, counts[rows]
        return kept

    def with_events(self, keys: I64, times: I64, stamp: int) -> "Trends":
        """The same after pairs were chosen (again) at some times; see `key_of`."""
        keys, times = newest_of(keys, times)
        before = self._times_of(keys)
        return self._with(keys, before, np.maximum(before, times), stamp)

    def with_only(self, user: int, keys: I64, times: I64, stamp: int) -> "Trends":
        """The same where a user chose nothing but these pairs, as after an undone load."""
        own, _ = self._pairs_of(user)
        all_keys = np.union1d(own, keys)
        after = Newest(*newest_of(keys, times), *_none())
        times = after.times_of(all_keys, np.full(len(all_keys), NO_TIME))
        return self._with(all_keys, self._times_of(all_keys), times, stamp)

    def silenced(self, user: int, stamp: int) -> "Trends":
        """The same without a user in any count."""
        if user in self.silent:
            return self
        keys, times = self._pairs_of(user)
        made = self.with_change(keys, -_faded(times, self.origin), stamp)
        return replace(made, led={}, silent=self.silent | {user})

    def heard_again(self, user: int, stamp: int) -> "Trends":
        """The same with a user in the counts who was silenced."""
        if user not in self.silent:
            return self
        keys, times = self._pairs_of(user)
        made = self.with_change(keys, _faded(times, self.origin), stamp)
        return replace(made, led={}, silent=self.silent - {user})

    def moved(self, before: int, user: int, stamp: int) -> "Trends":
        """The same where one user is another."""
        keys, times = self._pairs_of(before)
        there = times != NO_TIME
        made = self.silenced(before, stamp)
        return made.with_events(key_of(np.full(there.sum(), user), _items(keys[there])),
                                times[there], stamp)  # fmt: skip

    def pairs_since(self, since: int) -> tuple[I64, I64, I64]:
        """Every pair that was chosen after a time, and counts: users, items, newest times."""
        keys, times = _merged(*self.released.chosen_since(since), *self.newest.all())
        users = keys >> _BITS
        there = (times > since) & ~self._silent(users)
        return users[there], _items(keys[there]), times[there]

    def _silent(self, users: I64) -> Flags:
        return np.array([user in self.silent for user in users.tolist()], np.bool_)

    def _pairs_of(self, user: int) -> tuple[I64, I64]:
        """What a user chose."""
        keys, times = self.newest.all()
        own = slice(*np.searchsorted(keys, [user << _BITS, (user + 1) << _BITS]).tolist())
        return _merged(*self.released.chosen_by(np.array([user])), keys[own], times[own])

    def _times_of(self, keys: I64) -> I64:
        """When pairs were chosen last; NO_TIME: never."""
        released = Newest(*self.released.chosen_by(np.unique(keys >> _BITS)), *_none())
        return self.newest.times_of(
            keys, released.times_of(keys, np.full(len(keys), NO_TIME, np.int64))
        )

    def _with(self, keys: I64, before: I64, after: I64, stamp: int) -> "Trends":
        """The same where some pairs were chosen at other times than before."""
        last = int(after.max(initial=NO_TIME))
        made = self._rebased(last)
        change = _faded(after, made.origin) - _faded(before, made.origin)
        if self.silent:
            change[:, self._silent(keys >> _BITS)] = 0
        return replace(
            made.with_change(keys, change, stamp),
            led={},
            newest=made.newest.with_(keys, after),
            last=max(made.last, last),
        )

    def with_change(self, keys: I64, change: F64, stamp: int) -> "Trends":
        """The same after the sums of some pairs changed, (4, n)."""
        rows = np.concatenate([self.rows, _items(keys)])
        distinct, position = np.unique(rows, return_inverse=True)
        both = np.concatenate([self.added, change], axis=1)
        added = np.stack([np.bincount(position, part, len(distinct)) for part in both]).astype(
            float
        )
        return replace(self, rows=distinct, added=added, stamp=stamp, led={})

    def _rebased(self, newest: int) -> "Trends":
        if newest - self.origin <= REBASE:
            return self
        faded = np.exp((self.origin - newest) / _SECONDS)
        return replace(self, led={}, origin=newest, added=self.added * faded)


_BITS = 32


def key_of(users: npt.NDArray[np.integer], items: npt.NDArray[np.integer]) -> I64:
    """One number for each pair of a user's number and an item's row."""
    keys: I64 = (users.astype(np.int64) << _BITS) | items.astype(np.int64)
    return keys


def newest_of(keys: I64, times: I64) -> tuple[I64, I64]:
    """Each key once, ascending, with its latest time."""
    order = np.lexsort((times, keys))
    keys, times = keys[order], times[order]
    last = np.append(keys[1:] != keys[:-1], np.ones(min(len(keys), 1), np.bool_))
    return keys[last], times[last]


def _items(keys: I64) -> I64:
    return keys & ((1 << _BITS) - 1)


def _none() -> tuple[I64, I64]:
    return np.zeros(0, np.int64), np.zeros(0, np.int64)


def _merged(keys: I64, times: I64, newer_keys: I64, newer_times: I64) -> tuple[I64, I64]:
    """Two maps as one, in which the newer holds."""
    kept: Flags = ~np.isin(keys, newer_keys)
    all_keys = np.concatenate([keys[kept], newer_keys])
    order = np.argsort(all_keys, kind="stable")
    return all_keys[order], np.concatenate([times[kept], newer_times])[order]


def _faded(times: I64, origin: int) -> F64:
    """(4, n) what each time counts at `origin`; NO_TIME counts nothing."""
    ages = np.where(times == NO_TIME, -np.inf, times - float(origin))
    faded: F64 = np.exp(ages / _SECONDS)
    return faded
