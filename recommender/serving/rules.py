"""Editorial rules: what an editor wants to be seen, declared in `rules.toml`.

    [[rule]]
    name = "spring"
    do = "boost"                      # multiply scores among the best candidates, before reranking
    where = { domains = ["baroque"] } # conditions of the filter language; or items = ["bwv-988"]
    factor = 1.5
    from = 2026-03-01                 # a day or a time; left out: always
    until = 2026-06-01
    segments = ["night owls"]         # left out: everyone
    when = { device = ["phone"] }     # of the context, or the user: "attribute plan" = ["free"]
    enabled = true

`do` is one of
    pin       the first of `items` that is allowed stands at `place`, labelled "pinned"
    sponsor   the same, labelled "sponsored"
    boost     scores × `factor`, above 1
    bury      scores × `factor`, below 1
    promote   boost what is younger than `newer_than_days`
    limit     at most `most` items of one `by`: "domain" or the name of an attribute
    hide      never shown, on no list, while the rule holds

No rule shows what a filter forbids, and none leaves a list short: a limit that would, yields.
"""

import datetime as dt
import difflib
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from graph.arrays import F32, I32
from graph.errors import InputError, SettingError
from graph.model import NO_ROW
from graph.toml_file import read_toml
from recommender.ranking.contexts import Features, holds
from recommender.ranking.filter_language import parse_filter
from recommender.ranking.filters import Filters
from recommender.ranking.request import Filter
from recommender.releases.release import Release

PINNED, SPONSORED = "pinned", "sponsored"
LABELS = {"pin": PINNED, "sponsor": SPONSORED}
NEEDED = {  # keys of each kind of rule: needed, and allowed beside them
    "pin": ({"items"}, {"place"}),
    "sponsor": ({"items"}, {"place"}),
    "boost": (set(), {"where", "items", "factor"}),
    "bury": (set(), {"where", "items", "factor"}),
    "promote": ({"newer_than_days"}, {"where", "factor"}),
    "limit": ({"by", "most"}, set()),
    "hide": (set(), {"where", "items"}),
}
COMMON = {"name", "do", "from", "until", "segments", "when", "enabled"}
FACTORS = {"boost": 1.5, "promote": 1.5, "bury": 0.5}
MOST_FACTOR = 100.0
PRODUCT = (1e-6, 1e6)  # bounds of what all rules together make of a score
MOST_RULES = 200  # in one file: each costs a pass over the items
KEPT = 16  # sets of rules whose factors are kept, four bytes an item each


@dataclass(frozen=True)
class Rule:
    """One rule; see the module for what its fields mean."""

    name: str
    do: str
    where: Filter | None = None
    items: tuple[str, ...] = ()
    place: int = 1
    factor: float = 1.0
    by: str = ""
    most: int = 0
    start: int | None = None  # seconds since 1970
    until: int | None = None
    segments: tuple[str, ...] = ()
    when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def holds(self, now: int, segments: Collection[str], context: Features) -> bool:
        """Whether the rule is in force at this time for this subject."""
        return (
            (self.start is None or now >= self.start)
            and (self.until is None or now < self.until)
            and (not self.segments or any(segment in self.segments for segment in segments))
            and holds(self.when, context)
        )


@dataclass(frozen=True)
class Entry:
    """One place of a list: an item row and how it came there."""

    row: int
    score: float
    source: str
    parts: dict[str, float]
    label: str | None = None
    interest: str | None = None  # the one it comes from, in words


class Rulebook:
    """Rules over one release."""

    def __init__(self, rules: Sequence[Rule], release: Release, filters: Filters) -> None:
        """Hold the rules; a limit by an attribute the release lacks is an `InputError`."""
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
        """What boost, bury and promote make of candidates' scores; None when they say nothing."""
        chosen = [(_meant(rule).at(now), rule.factor) for rule in rules if rule.do in FACTORS]
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

    def hidden(self, rules: Sequence[Rule], now: int) -> tuple[Filter, ...]:
        """What must not be shown while these rules hold, as parts of a filter's `none_of`."""
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
        for place in range(1, n + 1):
            entry = placed.pop(place, None) or next(rest, None)
            if entry is None and placed:
                entry = placed.pop(min(placed))  # a short list: the pinned move up
            if entry is None:
                break
            shown.append(entry)
        yielded = {name for entry, name in dropped if entry in shown}
        return shown, tuple(f"the rule {name!r} yields: too few other items" for name in yielded)

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
                        row=row, score=0.0, source=label, parts={}, label=label
                    )
                    taken.add(row)
                    break
        return placed

    def _limited(
        self, rules: Sequence[Rule], entries: list[Entry], taken: set[int]
    ) -> tuple[list[Entry], list[tuple[Entry, str]]]:
        """Entries within every limit, and those beyond with the name of the rule."""
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
    """The items that a rule speaks of."""
    wanted = rule.where or Filter()
    return Filter(items=rule.items, all_of=(wanted,)) if rule.items else wanted


# ── reading the file ─────────────────────────────────────────────────────────────────────


def load_rules(path: Path) -> tuple[Rule, ...]:
    """Read `rules.toml`; a missing file holds no rules, a wrong key is a `SettingError`."""
    return parse_rules(read_toml(path), path.name)


def parse_rules(said: Mapping[str, Any], where: str = "rules") -> tuple[Rule, ...]:
    """Rules from a parsed document; those that are not enabled are checked and left out."""
    for key in said:
        if key != "rule":
            raise SettingError(f"{where}: {key!r} is not known; write each rule as [[rule]]")
    many = said.get("rule", [])
    if not isinstance(many, list):
        raise SettingError(f"{where}: write each rule as [[rule]], with two brackets")
    if len(many) > MOST_RULES:
        raise SettingError(f"{where}: {len(many):,} rules; there can be at most {MOST_RULES}")
    rules = [_rule(table, f"{where}: rule {number}") for number, table in enumerate(many, 1)]
    known: set[str] = set()
    for rule, _ in rules:
        if rule.name in known:
            raise SettingError(f"{where}: two rules are named {rule.name!r}")
        known.add(rule.name)
    return tuple(rule for rule, enabled in rules if enabled)


def _rule(said: Mapping[str, Any], where: str) -> tuple[Rule, bool]:
    name, do = said.get("name"), said.get("do")
    if not isinstance(name, str) or not name:
        raise SettingError(f"{where}: needs a name")
    where = f"{where} ({name})"
    if do not in NEEDED:
        raise SettingError(f"{where}: do = {do!r} is not one of {', '.join(NEEDED)}")
    needed, more = NEEDED[do]
    for key in needed - set(said):
        raise SettingError(f"{where}: {do} needs {key}")
    for key in set(said) - needed - more - COMMON:
        near = difflib.get_close_matches(key, needed | more | COMMON, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"{do} takes {_listed(needed | more)}"
        raise SettingError(f"{where}: {key!r} is not known; {hint}")
    if do in ("boost", "bury", "hide") and not {"where", "items"} & set(said):
        raise SettingError(f"{where}: {do} needs where or items")
    wanted = _where(said, where)
    factor = _number(said.get("factor", FACTORS.get(do, 1.0)), f"{where}: factor")
    if not (0 < factor <= MOST_FACTOR) or (do == "bury" and factor >= 1):
        raise SettingError(
            f"{where}: factor {factor:g}: above 0, below 1 to bury, at most {MOST_FACTOR:g}"
        )
    if do in ("boost", "promote") and factor <= 1:
        raise SettingError(f'{where}: factor {factor:g} must be above 1; to bury, say do = "bury"')
    rule = Rule(
        name=name,
        do=do,
        where=wanted,
        items=_texts(said.get("items", []), f"{where}: items"),
        place=_whole(said.get("place", 1), f"{where}: place"),
        factor=factor,
        by=str(said.get("by", "")),
        most=_whole(said.get("most", 1), f"{where}: most"),
        start=_time(said.get("from"), f"{where}: from"),
        until=_time(said.get("until"), f"{where}: until"),
        segments=_texts(said.get("segments", []), f"{where}: segments"),
        when=_when(said.get("when", {}), f"{where}: when"),
    )
    if rule.start is not None and rule.until is not None and rule.start >= rule.until:
        raise SettingError(f"{where}: from is not before until")
    enabled = said.get("enabled", True)
    if not isinstance(enabled, bool):
        raise SettingError(f"{where}: enabled must be true or false")
    return rule, enabled


def _where(said: Mapping[str, Any], where: str) -> Filter | None:
    try:
        wanted = parse_filter(said["where"], f"{where}: where") if "where" in said else None
        if "newer_than_days" in said:
            newer = {"newer_than_days": said["newer_than_days"]}
            fresh = parse_filter(newer, where)
            return fresh if wanted is None else Filter(all_of=(fresh, wanted))
    except InputError as error:
        raise SettingError(str(error)) from error
    return wanted


def _texts(said: object, where: str) -> tuple[str, ...]:
    if not isinstance(said, list) or not all(isinstance(text, str) for text in said):
        raise SettingError(f"{where} must be a list of texts")
    return tuple(said)


def _when(said: object, where: str) -> dict[str, tuple[str, ...]]:
    if not isinstance(said, Mapping):
        raise SettingError(f'{where} must be a table such as {{ device = ["phone"] }}')
    return {key: _texts(values, f"{where}.{key}") for key, values in said.items()}


def _number(said: object, where: str) -> float:
    if isinstance(said, bool) or not isinstance(said, int | float):
        raise SettingError(f"{where} is {said!r}; it must be a number")
    return float(said)


def _whole(said: object, where: str) -> int:
    if isinstance(said, bool) or not isinstance(said, int) or said < 1:
        raise SettingError(f"{where} is {said!r}; it must be a whole number, 1 or more")
    return said


def _time(said: object, where: str) -> int | None:
    """Seconds since 1970 of a TOML day or time; without a zone it is UTC."""
    if said is None:
        return None
    if isinstance(said, dt.datetime):
        zoned = said if said.tzinfo else said.replace(tzinfo=dt.UTC)
        return int(zoned.timestamp())
    if isinstance(said, dt.date):
        midnight = dt.time(tzinfo=dt.UTC)
        return int(dt.datetime.combine(said, midnight).timestamp())
    raise SettingError(f"{where} is {said!r}; write a day such as 2026-03-01, without quotes")


def _listed(keys: set[str]) -> str:
    return ", ".join(sorted(keys))
