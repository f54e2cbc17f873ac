"""What can be tuned in a weighting on a snapshot: a knob for each weight with some effect.

A knob has a short list of values and a neutral one: the value that a weighting without a file has.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from graph.model import NO_TIME, tag_parts
from graph.numbers import number_of
from graph.snapshot import GraphSnapshot
from graph.weighting import HIDE, Weighting

FACTORS = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
HALF_LIVES = (None, 3650.0, 1825.0, 730.0, 365.0, 180.0, 90.0, 30.0)  # days; None: age is nothing
RARITIES = (0.0, 0.25, 0.5, 0.75, 1.0)
MOST_OF_A_TABLE = 20  # only the most used kinds, categories, domains and relations get a knob
FEWEST_USES = 20  # uses that a kind, category, domain or relation needs for a knob
STABLE_DOMAINS = ("given", "genres")  # other names change with the data

Value = float | None


@dataclass(frozen=True)
class Knob:
    """One weight: its place in the file, its neutral value, and the values that are tried."""

    table: str
    key: str
    neutral: Value
    ladder: tuple[Value, ...]  # in rising strength, the neutral value among them
    probes: tuple[Value, ...]  # tried first, alone

    @property
    def name(self) -> str:
        """As a report calls it."""
        return f"{self.table}.{self.key}"


Values = Mapping[Knob, Value]  # what is not named is neutral


def knobs_of(snapshot: GraphSnapshot, domains_from: str) -> tuple[list[Knob], list[str]]:
    """The knobs of a snapshot, and notes on weights without one, and why.

    `domains_from` tells where the snapshot's domains come from, see `derive_domains`.
    """
    notes: list[str] = []
    default = Weighting()
    events = snapshot.events
    kinds = _used(snapshot.kinds, events.kind[snapshot.user_consents[events.user]])
    kinds = [kind for kind in kinds if kind not in (HIDE, *default.against_kinds)]
    if len(kinds) == 1:
        notes.append(f"kinds.{kinds[0]}: the only kind of event; its weight would change nothing")
        kinds = []
    knobs = [_factor("kinds", kind, default.kinds.get(kind, 1.0)) for kind in kinds]

    tagged = np.concatenate([snapshot.item_tags.target, events.tag[events.tag >= 0]])
    categories = [tag_parts(key)[0] for key in snapshot.tags]
    names = sorted(set(categories))
    index = np.array([names.index(name) for name in categories], np.int64)
    used = _used(names, index[tagged] if len(tagged) else tagged)
    if len(used) == 1:  # how much all tags weigh a refresh finds by itself
        knobs.append(Knob("categories", used[0], 1.0, (0.0, 1.0), (0.0,)))
    else:
        knobs += [_factor("categories", name, 1.0) for name in used]
    if used:
        probes = (RARITIES[0], RARITIES[-1])
        knobs.append(Knob("tags", "rarity", default.tag_rarity, RARITIES, probes))

    if domains_from in STABLE_DOMAINS:
        used = _used(list(snapshot.domains), snapshot.item_domains.target)
        knobs += [_factor("domains", name, 1.0) for name in used]
    elif len(snapshot.domains):
        notes.append(
            f"domains: they come from {domains_from}, whose names change with the data; not tuned"
        )
    relations = snapshot.item_relations
    knobs += [_factor("relations", name, 0.0) for name in _used(relations.kinds, relations.kind)]
    knobs += [_factor("attributes", name, 0.0) for name in _numbers(snapshot)]
    dated = events.at[events.at != NO_TIME]
    if len(dated) and dated.min() < dated.max():
        knobs.append(Knob("age", "half_life_days", None, HALF_LIVES, (730.0, 180.0)))
    else:
        notes.append("age: no two events of different times; not tuned")
    return knobs, notes


def weighting_with(base: Weighting, knobs: list[Knob], values: Values) -> Weighting:
    """`base` with every knob at its value, or neutral where none is given.

    Weights that have no knob stay as in `base`.
    """
    at = {knob: values.get(knob, knob.neutral) for knob in knobs}
    changed: dict[str, Any] = {}
    for table in ("kinds", "categories", "domains", "relations", "attributes"):
        own = {knob.key: value for knob, value in at.items() if knob.table == table}
        changed[table] = dict(getattr(base, table)) | own
    single = {knob.name: value for knob, value in at.items() if knob.table in ("tags", "age")}
    rarity = single.get("tags.rarity")
    return replace(
        base,
        **changed,
        half_life_days=single.get("age.half_life_days"),
        tag_rarity=base.tag_rarity if rarity is None else rarity,
    )


def _factor(table: str, key: str, neutral: float) -> Knob:
    probes: tuple[float, ...] = (0.5, 2.0) if neutral == 0 else (neutral / 4, neutral * 2)
    if neutral and table != "domains":
        probes = (0.0, *probes)  # 0 is not the limit of small weights: it proposes nothing at all
    ladder = tuple(sorted({*FACTORS, neutral, *probes}))
    return Knob(table, key, neutral, ladder, probes)


def _numbers(snapshot: GraphSnapshot) -> list[str]:
    """The attributes of items that are always numbers, if used often enough."""
    names: dict[str, int] = {}
    places: list[int] = []
    words: set[str] = set()
    for text in snapshot.item_attributes.to_pylist():
        if text == "{}":
            continue
        for name, value in json.loads(text).items():
            if number_of(value) is not None:
                places.append(names.setdefault(name, len(names)))
            elif value is not None:
                words.add(name)
    used = _used(list(names), np.array(places, np.int64))
    return sorted(name for name in used if name not in words)


def _used(names: Any, places: Any) -> list[str]:
    """The names that are used often enough, at most `MOST_OF_A_TABLE`, in the order of names."""
    counts = np.bincount(places[places >= 0], minlength=len(names))
    most = np.argsort(-counts, kind="stable")[:MOST_OF_A_TABLE]
    return [names[row] for row in sorted(most.tolist()) if counts[row] >= FEWEST_USES]
