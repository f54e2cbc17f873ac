"""Makes up a catalogue of any size whose right answers are known: planted niches, readable.

Each item, except those of the popular head, belongs to one niche and has its domain and tags. Each
user has a home niche and a second one, with 65 % of the events at home, 20 % in the second and 15 %
in the head, which everyone knows and which tells nothing. So a good recommender stays in the user's
niches, while one that counts clicks offers the head.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from graph.arrays import I32, I64
from graph.model import EVENT_TAG_CATEGORY, SCHEMAS

BATCH_ROWS = 100_000
END = 1_735_689_600  # 2025-01-01: the last event
SPAN = 63_072_000  # two years of events, seconds
HOME, SECOND = 0.65, 0.20  # share of a user's events; the rest goes to the head
HEAD = -1  # the niche of popular items
HEAD_DOMAIN = "evergreens"

_FIRST = (  # noqa: SIM905 - words read better than a column of strings
    "tidal glass paper copper silent northern folded salted hollow winter amber woven lunar "
    "coastal painted miniature electric wooden forgotten nocturnal alpine velvet iron floating "
    "desert baroque clockwork edible migrating subterranean bamboo crystal marble paraffin "
    "pneumatic solar tin volcanic wandering ceramic"
).split()
_SECOND = (  # noqa: SIM905
    "organs lanterns mosses atlases bridges choirs kites dialects beetles gardens looms maps "
    "puppets rivers sundials teas violins weathervanes alphabets barges bells bread cartography "
    "caves comets ferns fountains harps islands knots lichens lighthouses marionettes mushrooms "
    "observatories orchards owls pigments quilts railways shells signals stamps stones theatres "
    "tunnels wells windmills wines zithers"
).split()
_FORMS = (
    ("variations", "Variations on {} No. {}"),
    ("guide", "A field guide to {}, volume {}"),
    ("notes", "Notes on {}, part {}"),
    ("history", "A short history of {}, book {}"),
    ("studies", "Studies in {} No. {}"),
    ("letters", "Letters about {}, parcel {}"),
    ("atlas", "The atlas of {}, sheet {}"),
    ("catalogue", "A catalogue of {}, issue {}"),
)
_HEAD_TITLES = ("Everybody's favourites No. {}", "The big book of the year {}", "Hits, again: {}")


@dataclass(frozen=True)
class Answers:
    """What is right by construction, for u users, i items and n niches."""

    users: tuple[str, ...]  # ids, row order of `user_niches`
    items: tuple[str, ...]  # ids, row order of `item_niches`
    niches: tuple[str, ...]  # names, also of the domains
    item_niches: I32  # (i,) place in `niches`, HEAD for popular items
    user_niches: I32  # (u, 2) home and second niche, different where there are two


@dataclass(frozen=True)
class Synthetic:
    """A catalogue of planted niches."""

    events: int
    seed: int
    answers: Answers

    def batches(self) -> Iterator[dict[str, pa.Table]]:
        """Users and items, then events in order of time; the same whenever it is called."""
        yield from self._catalogue()
        yield from self._events()

    def _catalogue(self) -> Iterator[dict[str, pa.Table]]:
        answers = self.answers
        for start in range(0, len(answers.users), BATCH_ROWS):
            yield {"users": _table("users", id=answers.users[start : start + BATCH_ROWS])}
        numbers = _numbers_in_niche(answers.item_niches)
        for start in range(0, len(answers.items), BATCH_ROWS // 4):
            rows = range(start, min(start + BATCH_ROWS // 4, len(answers.items)))
            rng = np.random.default_rng([self.seed, 1, start])
            chosen = rng.random((len(rows), 4)) < (0.95, 0.5, 0.5, 0.6)
            titles, item_domains, item_tags = [], [], []
            for row, tagged in zip(rows, chosen, strict=True):
                niche, number = int(answers.item_niches[row]), int(numbers[row])
                if niche == HEAD:
                    titles.append(_HEAD_TITLES[number % len(_HEAD_TITLES)].format(number + 1))
                    domain, tags = HEAD_DOMAIN, ["popular"]
                else:
                    domain = answers.niches[niche]
                    form, title = _FORMS[number % len(_FORMS)]
                    titles.append(title.format(domain, number + 1))
                    names = (domain, *domain.split(" ")[:2], form)
                    tags = [name for name, on in zip(names, tagged, strict=True) if on]
                item_domains.append((answers.items[row], domain))
                item_tags += [(answers.items[row], tag) for tag in tags]
            yield {
                "items": _table("items", id=answers.items[start : rows.stop], title=titles),
                "item_domains": _pairs("item_domains", "domain", item_domains),
                "item_tags": _pairs("item_tags", "tag", item_tags),
            }

    def _events(self) -> Iterator[dict[str, pa.Table]]:
        answers = self.answers
        users, items = pa.array(answers.users), pa.array(answers.items)
        order = np.argsort(answers.item_niches, kind="stable")  # items by niche, the head first
        bounds = np.searchsorted(
            answers.item_niches[order], np.arange(HEAD, len(answers.niches) + 1)
        )
        for start in range(0, self.events, BATCH_ROWS):
            number = np.arange(start, min(start + BATCH_ROWS, self.events))
            rng = np.random.default_rng([self.seed, 2, start])
            user_rows = (len(users) * rng.random(len(number)) ** 1.5).astype(np.int64)
            part = rng.random(len(number))
            home, second = answers.user_niches[user_rows].T
            own = np.where(part < HOME, home, second)
            niche = np.where(part < HOME + SECOND, own, HEAD)
            low, high = bounds[niche - HEAD], bounds[niche - HEAD + 1]
            item_rows = order[low + ((high - low) * rng.random(len(number)) ** 2).astype(np.int64)]
            at = END - SPAN + number * SPAN // self.events
            kinds = np.where(rng.random(len(number)) < 0.2, "like", "view")
            yield {
                "events": _table(
                    "events",
                    user=users.take(pa.array(user_rows)),
                    item=items.take(pa.array(item_rows)),
                    kind=kinds,
                    at=at,
                )
            }


def generate(
    events: int, seed: int, niches: int | None = None, *, items: int | None = None
) -> Synthetic:
    """Plan a catalogue with this many events, all different; only the plan is drawn now.

    Args:
        events: 200 to 10,000,000 and more; a user has about 25.
        seed: the same seed gives the same catalogue.
        niches: how many; by default about one per 30 items, at most 2,000.
        items: how many, at least 40; by default one per 20 events.

    Raises:
        ValueError: fewer than 1 event or 40 items, or more niches than names or than items.
    """
    if events < 1:
        raise ValueError(f"events must be at least 1, not {events}")
    if items is not None and items < 40:
        raise ValueError(f"items must be at least 40, not {items}")
    item_count = max(40, events // 20) if items is None else items
    user_count = max(10, events // 25)
    head = max(2, item_count // 50)
    if niches is None:
        niches = max(2, min(len(_FIRST) * len(_SECOND), (item_count - head) // 30))
    if not 1 <= niches <= min(len(_FIRST) * len(_SECOND), item_count - head):
        raise ValueError(f"niches must be 1 to {item_count - head} for {events} events")
    rng = np.random.default_rng([seed, 0])
    combined = rng.permutation(len(_FIRST) * len(_SECOND))[:niches]
    names = tuple(f"{_FIRST[c % len(_FIRST)]} {_SECOND[c // len(_FIRST)]}" for c in combined)
    every = np.arange(niches)  # no niche stays empty; the rest are of very different sizes
    sizes = rng.dirichlet(np.full(niches, 2.0))
    more = rng.choice(niches, item_count - head - niches, p=sizes)
    item_niches = np.sort(np.concatenate([np.full(head, HEAD), every, more])).astype(np.int32)
    numbers = _numbers_in_niche(item_niches)
    slugs = [name.replace(" ", "-") for name in names] + ["evergreen"]  # HEAD is the last
    ids = tuple(
        f"{slugs[niche]}-{number + 1}"
        for niche, number in zip(item_niches.tolist(), numbers.tolist(), strict=True)
    )
    home = rng.integers(niches, size=user_count)
    second = (home + rng.integers(1, max(2, niches), size=user_count)) % niches
    users = tuple(f"reader-{row + 1}" for row in range(user_count))
    user_niches = np.stack([home, second], axis=1).astype(np.int32)
    return Synthetic(events, seed, Answers(users, ids, names, item_niches, user_niches))


def _numbers_in_niche(item_niches: I32) -> I64:
    """The place of each item among those of its niche, from 0; niches are sorted."""
    starts = np.searchsorted(item_niches, item_niches, side="left")
    return np.arange(len(item_niches)) - starts


def _table(name: str, **columns: Any) -> pa.Table:
    rows = len(columns[next(iter(columns))])
    return pa.table(
        [
            pa.array(columns[field.name], field.type)
            if field.name in columns
            else pa.nulls(rows, field.type)
            for field in SCHEMAS[name]
        ],
        schema=SCHEMAS[name],
    )


def _pairs(name: str, column: str, pairs: list[tuple[str, str]]) -> pa.Table:
    items, values = zip(*pairs, strict=True) if pairs else ((), ())
    columns = {"item": items, column: values, "weight": np.ones(len(items))}
    if name == "item_tags":
        columns["category"] = [EVENT_TAG_CATEGORY] * len(items)
    return _table(name, **columns)
