"""How often what was shown was clicked: by source, place, segment, release and rule.

A group of fewer than 20 people is not told, so no rate says anything about somebody in particular.
Whoever was not named counts as a person of their own for each answer.
"""

import json
import math
from collections import defaultdict
from typing import Any

import numpy as np

from graph.arrays import I64
from recommender.inbox.feedback import SECONDS_A_DAY, opened
from recommender.inbox.journal import Journal

FEWEST_PEOPLE = 20
Z = 1.959963984540054  # of a 95% interval
BY = ("source", "position", "segment", "release", "rule")
CHUNK = 50_000  # rows read at a time
MOST_PLACES = 50  # further places of a list are one group


def click_rates(journal: Journal, *, since: int | None = None) -> dict[str, Any]:
    """Click rates as JSON values.

    `shown` and `clicked` count items of answers, of what was shown from `since` on (seconds since
    1970; None: all), `by` has for each of `BY` the groups with a rate and its 95% interval, the
    largest first, and `left_out` says how many groups had too few people. An item that was clicked
    was shown, whether or not an impression came.
    """
    rows, reduced, shapes = _read(journal, since or 0)
    groups = _Groups()
    rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
    ends = np.flatnonzero(np.any(rows[1:, :2] != rows[:-1, :2], axis=1)) + 1
    for own in np.split(rows, ends) if len(rows) else ():
        shape, position = own[0, :2].tolist()
        clicked = int(np.count_nonzero(own[:, 3]))
        groups.add(shapes[shape], position, len(own), clicked, np.unique(own[:, 2]), 0)
    for shape, position, shown, clicked, people in reduced:
        nobody = np.zeros(0, np.int64)
        groups.add(shapes[shape], position, shown, clicked, nobody, people)
    return groups.rates(since)


def wilson(clicked: int, shown: int) -> tuple[float, float]:
    """The 95% interval of a rate (Wilson 1927, DOI 10.1080/01621459.1927.10502953); (0, 1) of 0."""
    if not shown:
        return 0.0, 1.0
    rate, square = clicked / shown, Z * Z / shown
    middle = rate + square / 2
    half = Z * math.sqrt((rate * (1 - rate) + square / 4) / shown)
    low, high = (middle - half) / (1 + square), (middle + half) / (1 + square)
    return (0.0 if clicked == 0 else low), (1.0 if clicked == shown else high)


class _Groups:
    """Sums by group, with the people they are of."""

    def __init__(self) -> None:
        self.sums: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
        self.people: dict[tuple[str, str], list[I64]] = defaultdict(list)

    def add(
        self, names: dict[str, list[str]], position: int, shown: int, clicked: int,
        people: I64, at_least: int,
    ) -> None:  # fmt: skip
        """Add items at one place; `people` by number, `at_least` where only a count is left."""
        rank = str(position) if position <= MOST_PLACES else f"{MOST_PLACES + 1} and later"
        for by, own in ({"": [""]} | names | {"position": [rank]}).items():
            for name in own:
                sums = self.sums[by, name]
                sums[0] += shown
                sums[1] += clicked
                sums[2] = max(sums[2], at_least)
                self.people[by, name].append(people)

    def rates(self, since: int | None) -> dict[str, Any]:
        """The rates of the groups that are large enough."""
        by: dict[str, list[dict[str, Any]]] = {name: [] for name in BY}
        all_of: dict[str, Any] = {"shown": 0, "clicked": 0}
        left_out = 0
        for (name, value), (shown, clicked, at_least) in self.sums.items():
            people = len(np.unique(np.concatenate(self.people[name, value])))
            if max(people, at_least) < FEWEST_PEOPLE:
                left_out += name != ""
                continue
            low, high = wilson(clicked, shown)
            group = {"shown": shown, "clicked": clicked, "rate": clicked / shown,
                     "low": low, "high": high}  # fmt: skip
            if name:
                by[name].append({"name": value, **group})
            else:
                all_of = group
        for listed in by.values():
            listed.sort(key=lambda group: (-group["shown"], group["name"]))
        by["position"].sort(key=lambda group: int(group["name"].split()[0]))
        return {"since": since, **all_of, "by": by, "left_out": left_out}


def _read(
    journal: Journal, since: int
) -> tuple[I64, list[tuple[int, ...]], dict[int, dict[str, list[str]]]]:
    """(r, 4) shape, position, person, clicked of each row; reduced sums; the names of shapes."""
    with opened(journal) as db:
        if db is None:
            return np.zeros((0, 4), np.int64), [], {}
        rows = db.execute(
            "SELECT shape, position, person, clicked_at IS NOT NULL FROM shown WHERE shown_at >= ?",
            (since,),
        )
        chunks = [np.zeros((0, 4), np.int64)]
        while some := rows.fetchmany(CHUNK):
            chunks.append(np.array(some, np.int64))
        reduced = db.execute(
            "SELECT shape, position, sum(shown), sum(clicked), max(people) FROM counts "
            "WHERE day >= ? GROUP BY shape, position",
            (-(-since // SECONDS_A_DAY),),
        ).fetchall()
        named = db.execute("SELECT shape, release, segment, source, rules FROM shapes").fetchall()
    shapes = {
        shape: {
            "release": [release],
            "segment": [segment or "none"],
            "source": [source],
            "rule": json.loads(rules),
        }
        for shape, release, segment, source, rules in named
    }
    return np.concatenate(chunks), reduced, shapes
