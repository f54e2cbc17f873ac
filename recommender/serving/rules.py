"""Editorial rules at work: which apply to a subject, and how they change its list.

No rule shows what a filter forbids, and none makes a list too short: a limit gives way instead.
How rules are written: `rules_file`.
"""

from collections.abc import Callable, Collection, Hashable, Sequence
from copy import copy
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from graph.arrays import F32, I32
from graph.errors import InputError
from graph.model import NO_ROW
from recommender.ranking.contexts import Features
from recommender.ranking.filters import Filters
from recommender.ranking.request import Filter
from recommender.releases.release import Release
from recommender.serving.rules_file import FACTORS, Rule

PINNED, SPONSORED = "pinned", "sponsored"
LABELS = {"pin": PINNED, "sponsor": SPONSORED}
PRODUCT = (1e-6, 1e6)  # bounds of the factor of all rules together on a score
KEPT = 16  # sets of rules whose factors are kept, four bytes an item each


class Entry(NamedTuple):
    """One place of a list: the item's row, its score and what proposed it."""

    row: int
    score: float
    source: str
    parts: dict[str, float]
    label: str | None = None
    interest: str | None = None  # the one it comes from, in words
    rule: str | None = None  # that placed it


class Rulebook:
    """Rules over one release."""

    def __init__(self, rules: Sequence[Rule], release: Release, filters: Filters) -> None:
        """Hold the rules. An `InputError` if one limits by an attribute that the release lacks."""
        self.rules = tuple(rules)
        self._release = release
        self._filters = filters
        # Of a copy: a cycle would keep the files of a dropped release open.
        self._factors = lru_cache(KEPT)(copy(self)._factors_of)  # noqa: SLF001
        for rule in self.rules:
            if rule.do == "limit" and rule.by != "domain":
                self._check_attribute(rule.by)

    def in_force(self, now: int, segments: Collection[str], context: Features) -> tuple[Rule, ...]:
        """The rules that hold for a subject, in the order of the file."""
        return tuple(rule for rule in self.rules if rule.holds(now, segments, context))

    def adjust(self, rules: Sequence[Rule], now: int) -> Callable[[I32], F32] | None:
        """A function that boosts, buries and promotes candidates' scores; None: no rule does."""
        chosen = [(_meant(rule).at(now), rule.strength) for rule in rules if rule.do in FACTORS]
        if not chosen:
            return None
        factors = self._factors(tuple(chosen))
        return lambda rows: factors[rows]

    def _factors_of(self, chosen: tuple[tuple[Filter, float], ...]) -> F32:
        """(i,) the product of the factors of each item, within `PRODUCT`."""
        product = np.ones(len(self._release.items))
        for wanted, factor in chosen:
            product[self._filters.flags(wanted)] *= factor
            np.clip(product, *PRODUCT, out=product)
        return product.astype(np.float32)

    def touched(
        self, rules: Sequence[Rule], entries: Sequence[Entry], now: int
    ) -> list[tuple[str, ...]]:
        """For each entry the names of the rules that placed it, or changed its score."""
        if not rules:
            return []
        names = [[] if entry.rule is None else [entry.rule] for entry in entries]
        rows = np.array([entry.row for entry in entries], np.int64)
        for rule in rules:
            if rule.do in FACTORS and len(rows):
                flags = self._filters.mask(_meant(rule).at(now))[rows]
                for at in np.flatnonzero(flags).tolist():
                    if entries[at].rule is None:
                        names[at].append(rule.name)
        return [tuple(own) for own in names]

    def hidden(self, rules: Sequence[Rule], now: int) -> tuple[Filter, ...]:
        """The conditions of what these rules hide, for a filter's `none_of`."""
        return tuple(_meant(rule).at(now) for rule in rules if rule.do == "hide")

    def arrange(
        self, rules: Sequence[Rule], entries: list[Entry], n: int, allowed: Callable[[int], bool]
    ) -> tuple[list[Entry], tuple[str, ...]]:
        """The n entries to show, and notes on limits that had to yield.

        Args:
            rules: in force.
            entries: the ranked list, longer than n where limits may drop some.
            n: length of the list.
            allowed: whether an item row may be shown to this subject at all.
        """
        placed = self._placed(rules, n, allowed)
        taken = {entry.row for entry in placed.values()}
        kept, dropped = self._limited(rules, [e for e in entries if e.row not in taken], taken)
        rest = iter(kept + [entry for entry, _ in dropped])
        shown: list[Entry] = []
        for rank in range(1, n + 1):
            entry = placed.pop(rank, None) or next(rest, None)
            if entry is None and placed:
                entry = placed.pop(min(placed))  # the list is short, so pinned items move up
            if entry is None:
                break
            shown.append(entry)
        yielded = {name for entry, name in dropped if entry in shown}
        return shown, tuple(
            f"the rule {name!r} is not followed in full: there are too few other items"
            for name in yielded
        )

    def _placed(
        self, rules: Sequence[Rule], n: int, allowed: Callable[[int], bool]
    ) -> dict[int, Entry]:
        placed: dict[int, Entry] = {}
        taken: set[int] = set()
        for rule in rules:
            if rule.do not in LABELS or rule.place > n or rule.place in placed:
                continue
            for row in self._release.items.rows(rule.items).tolist():
                if row != NO_ROW and row not in taken and allowed(row):
                    label = LABELS[rule.do]
                    placed[rule.place] = Entry(
                        row=row, score=0.0, source=label, parts={}, label=label, rule=rule.name
                    )
                    taken.add(row)
                    break
        return placed

    def _limited(
        self, rules: Sequence[Rule], entries: list[Entry], taken: set[int]
    ) -> tuple[list[Entry], list[tuple[Entry, str]]]:
        """The entries within every limit, and the others with the rule whose limit they exceed."""
        limits = [(rule, self._key(rule.by)) for rule in rules if rule.do == "limit"]
        counts: list[dict[Hashable, int]] = [{} for _ in limits]
        for row in taken:
            for (_, key_of), count in zip(limits, counts, strict=True):
                count[key_of(row)] = count.get(key_of(row), 0) + 1
        kept, dropped = [], []
        for entry in entries:
            keys = [key_of(entry.row) for _, key_of in limits]
            full = [
                rule.name
                for (rule, _), count, key in zip(limits, counts, keys, strict=True)
                if key is not None and count.get(key, 0) >= rule.most
            ]
            if full:
                dropped.append((entry, full[0]))
                continue
            kept.append(entry)
            for count, key in zip(counts, keys, strict=True):
                count[key] = count.get(key, 0) + 1
        return kept, dropped

    def _key(self, by: str) -> Callable[[int], Hashable]:
        """What a limit counts by: an item's strongest domain, or its value of an attribute."""
        if by == "domain":
            domains = self._release.item_domains

            def domain(row: int) -> Hashable:
                own = domains.span(row)
                if own.start == own.stop or domains.values is None:
                    return None
                return int(domains.indices[own][np.argmax(domains.values[own])])

            return domain
        self._check_attribute(by)
        values = self._release.attribute(by).values

        def value(row: int) -> Hashable:
            value = values[row].item()
            return None if value != value or value == -1 else value  # noqa: PLR0124 - NaN

        return value

    def _check_attribute(self, name: str) -> None:
        kept = self._release.attribute_names
        if name not in kept:
            there = ", ".join(["domain", *kept])
            raise InputError(f"a rule limits by {name!r}, which is not one of {there}")


def _meant(rule: Rule) -> Filter:
    """The items that a rule applies to."""
    wanted = rule.condition or Filter()
    return Filter(items=rule.items, all_of=(wanted,)) if rule.items else wanted
