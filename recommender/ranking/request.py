"""What a request asks for and what is answered: the types that `recommend()` takes and returns."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Any, TypeVar

from graph.dates import seconds_of
from recommender.ranking.attributes import as_number

V = TypeVar("V")

NEUTRAL = "neutral"
DEFAULT = "default"
SECONDS_A_DAY = 86_400
SESSION_SHARE = 0.7  # share of a subject's weight on the running session, if there is one
SESSION_DECAY = 0.9  # weight of a session's item, as a share of the next one's weight


def session(items: Sequence[str]) -> dict[str, float]:
    """Weights of a running session's items, oldest first: the newest counts 1."""
    newest_first = list(dict.fromkeys(reversed(items)))
    return {item: SESSION_DECAY**age for age, item in enumerate(newest_first)}


Bound = float | str | None  # of a range: a number, or a date as text
Bounds = tuple[str, Bound, Bound, tuple[str, ...]]  # name, lowest, highest, allowed values or ()


@dataclass(frozen=True)
class Own:
    """A condition that compares an item's attribute with one of the subject's."""

    name: str  # of the items' attribute
    how: str  # "from", "to" or "in"
    of: str  # what the subject says of themselves

    def bounds(self, value: object) -> Bounds | None:
        """The condition where the subject says this; None where nothing fitting is known."""
        if self.how == "in":
            allowed = tuple(map(str, value if isinstance(value, list) else [value]))
            return None if value in (None, "", []) else (self.name, None, None, allowed)
        number = as_number(value)
        bound: Bound = value if isinstance(value, str) and seconds_of(value) else number
        if isinstance(bound, float) and bound != bound:  # noqa: PLR0124 - NaN
            return None
        return (self.name, bound, None, ()) if self.how == "from" else (self.name, None, bound, ())


@dataclass(frozen=True)
class Filter:
    """Which items may be shown; every condition must hold. Hashable, so that masks are cached.

    `attributes` holds (name, low or None, high or None, allowed values or ()) per condition; the
    bounds are both numbers or both dates as texts.
    `recommender.ranking.filter_language` reads one from JSON or TOML.
    """

    domains: tuple[str, ...] = ()  # in any of them
    tags_all: tuple[str, ...] = ()
    tags_any: tuple[str, ...] = ()
    tags_none: tuple[str, ...] = ()
    attributes: tuple[Bounds, ...] = ()
    created_after: int | None = None  # seconds since 1970
    created_before: int | None = None
    newer_than_days: float | None = None  # counted back from the time of the request
    older_than_days: float | None = None
    items: tuple[str, ...] = ()  # one of these ids
    subject: tuple[Own, ...] = ()  # until `of` tells what the subject says
    all_of: tuple["Filter", ...] = ()
    any_of: tuple["Filter", ...] = ()
    none_of: tuple["Filter", ...] = ()

    @cached_property
    def allows_all(self) -> bool:
        """Whether there is no condition at all."""
        return self == EVERYTHING

    def of(self, attributes: Mapping[str, Any]) -> "Filter":
        """The filter with the subject's attributes filled in; if one is missing, no item passes."""
        parts = (self.all_of, self.any_of, self.none_of)
        if not self.subject and not any(parts):
            return self
        all_of, any_of, none_of = (tuple(each.of(attributes) for each in part) for part in parts)
        bounds = [own.bounds(attributes.get(own.of)) for own in self.subject]
        if None in bounds:
            all_of = (*all_of, NOTHING)
        known = tuple(bound for bound in bounds if bound is not None)
        return replace(
            self, attributes=(*self.attributes, *known), subject=(), all_of=all_of,
            any_of=any_of, none_of=none_of,
        )  # fmt: skip

    @property
    def asks_for(self) -> frozenset[str]:
        """The attributes of the subject that it asks for."""
        parts = (*self.all_of, *self.any_of, *self.none_of)
        return frozenset(own.of for own in self.subject).union(*(part.asks_for for part in parts))

    def at(self, now: int) -> "Filter":
        """The same filter with ages turned into times; `now` counts in whole minutes."""
        minute = now - now % 60
        bounds = [self.created_after], [self.created_before]
        if self.newer_than_days is not None:
            bounds[0].append(minute - round(self.newer_than_days * SECONDS_A_DAY))
        if self.older_than_days is not None:
            bounds[1].append(minute - round(self.older_than_days * SECONDS_A_DAY))
        after = max((b for b in bounds[0] if b is not None), default=None)
        before = min((b for b in bounds[1] if b is not None), default=None)
        parts = (self.all_of, self.any_of, self.none_of)
        if not any(parts) and (after, before) == (self.created_after, self.created_before):
            return self
        all_of, any_of, none_of = (tuple(condition.at(now) for condition in part) for part in parts)
        return replace(
            self, created_after=after, created_before=before, newer_than_days=None,
            older_than_days=None, all_of=all_of, any_of=any_of, none_of=none_of,
        )  # fmt: skip


EVERYTHING = Filter()
NOTHING = Filter(items=("\x01",))  # holds for no item: loading refuses such an id


@dataclass(frozen=True)
class Part:
    """One part of a mixed subject; the shares of the parts are their weights over the sum."""

    kind: str  # "user", "item" or "tag"
    name: str  # an id, or a tag's name
    weight: float = 1.0


@dataclass(frozen=True)
class NewItem:
    """An item that the catalogue does not have, by what is known of it.

    The answer are items near it: `served_by` is "new item", and the items' `source` says whose
    vectors were compared. Unknown tags and items are left out and noted. If nothing about the item
    is known, the answer is what is popular, in the item's domains if these are known.
    """

    title: str = ""
    tags: tuple[str, ...] = ()  # names of tags
    domains: tuple[str, ...] = ()
    related: tuple[str, ...] = ()  # ids of items of the catalogue
    attributes: Mapping[str, Any] = field(default_factory=dict)  # texts and numbers of these count


@dataclass(frozen=True)
class Request:
    """One subject and what it asks for.

    The subject is the sum of what is given: a known user's history, the items of running
    sessions (see `session`), tags; or else a mix of these with weights, or else a household,
    whose list is fair to its least satisfied member, or else what users like one share, or else
    a new item, for what is near it. All empty: the answer is what is popular.
    """

    user: str | None = None
    items: Mapping[str, float] = field(default_factory=dict)  # item id -> weight
    tags: tuple[str, ...] = ()  # names of tags
    sessions: tuple[str, ...] = ()  # ids of running sessions: what was done in them so far
    n: int = 20
    filter: Filter = EVERYTHING
    exclude: tuple[str, ...] = ()  # item ids
    include_seen: bool = False
    profile: str | None = None  # of reranking; None: that of the user's segment, else default
    long_tail: float | None = None  # 0 … 1 moves along the trade-off
    diversity: float | None = None  # 0 … 1, the weight itself, over the profile's own
    freshness: float | None = None
    reasons: bool = True
    source: str | None = None  # only this source, for evaluation
    mix: tuple[Part, ...] = ()
    household: tuple[str, ...] = ()  # user ids; a session is of the member who is in it
    similar_to: str | None = None  # a user; of those most like them, 20 together at least
    session_share: float | None = None  # share of the weight on sessions; None: SESSION_SHARE
    only_seen: bool = False  # only items that the user knows
    # What rules and contexts may use: device=phone; None: nothing at all.
    context: Mapping[str, str] | None = field(default_factory=dict)
    rules: bool = True  # whether editorial rules hold
    shown: Mapping[str, int] = field(default_factory=dict)  # item id -> times shown, not clicked
    seed: int | None = None  # varies the order a little, the same way for the same seed
    cursor: str | None = None  # `Answer.next` of the page before
    interests: bool = False  # every interest in proportion, and named
    new_item: NewItem | None = None
    similar: bool = False  # items like those given are wanted, not what somebody might choose next

    def by(self, user: str) -> "Request":
        """The same for a user."""
        return changed(self, user=user)

    def under(self, own_name: Callable[[str], str]) -> "Request":
        """The same with each user under their own id."""
        return replace(
            self,
            user=None if self.user is None else own_name(self.user),
            household=tuple(dict.fromkeys(map(own_name, self.household))),
            similar_to=None if self.similar_to is None else own_name(self.similar_to),
            mix=tuple(
                replace(part, name=own_name(part.name)) if part.kind == "user" else part
                for part in self.mix
            ),
        )

    def differing(self, without: Collection[str] = ()) -> str:
        """All fields that differ from their defaults, as text, but for those in `without`."""
        mine, defaults = vars(self), _defaults()
        return "\x1f".join(
            [
                f"{name}={mine[name]!r}"
                for name, default in defaults.items()
                if mine[name] is not default and mine[name] != default and name not in without
            ]
        )


@cache
def _defaults() -> dict[str, Any]:
    return dict(vars(Request()))


def changed(value: V, **fields: Any) -> V:
    """`value`, a dataclass without cached properties, with some fields replaced.

    As `dataclasses.replace`, which takes ten times as long where there are many fields.
    """
    made: V = object.__new__(type(value))
    vars(made).update(vars(value), **fields)
    return made


@dataclass(frozen=True)
class Reason:
    """Why an item is shown: a sentence without ids, and the path it describes."""

    text: str
    path: tuple[dict[str, str], ...]  # nodes and relationships from the subject to the item
    share: float  # of the item's score that this path explains, 0 … 1
    because: str | None = None  # id of the history's item that the path starts from
    through: str = ""  # "tag", "written tag", "relation", "people" … : how it goes on
    tag: str | None = None  # name of the tag that both items carry


@dataclass(frozen=True)
class Recommended:
    """One item of an answer."""

    item: str
    title: str
    score: float
    source: str  # the source that proposed it
    parts: Mapping[str, float]  # what the score is made of
    tags: tuple[str, ...]
    domains: tuple[str, ...]
    reasons: tuple[Reason, ...]
    label: str | None = None  # "sponsored" or "pinned" where a rule placed it
    interest: str | None = None  # which of several it comes from, when that was asked


@dataclass(frozen=True)
class Answer:
    """The items for one request, best first, and how they came about."""

    items: tuple[Recommended, ...]
    # "history", "session", "tags", "new item", "popular" … or "nothing": an empty catalogue
    served_by: str
    fallback: str | None  # a sentence when a fallback filled the list, else None
    release: str
    profile: str
    segment: str | None = None
    notes: tuple[str, ...] = ()  # e.g. ids that nobody knows
    next: str | None = None  # `Request.cursor` of the page that follows; None: there is none
    request_id: str = ""  # what impressions and clicks name, see `recommender.serving.answered`

    def to_json(self) -> dict[str, Any]:
        """As the doors print it."""
        return {
            "items": [
                {
                    "item": entry.item,
                    "title": entry.title,
                    "score": entry.score,
                    "source": entry.source,
                    "parts": dict(entry.parts),
                    "tags": list(entry.tags),
                    "domains": list(entry.domains),
                    "reasons": [
                        {"text": r.text, "path": list(r.path), "share": r.share}
                        for r in entry.reasons
                    ],
                    "label": entry.label,
                    "interest": entry.interest,
                }
                for entry in self.items
            ],
            "served_by": self.served_by,
            "fallback": self.fallback,
            "release": self.release,
            "profile": self.profile,
            "segment": self.segment,
            "notes": list(self.notes),
            "next": self.next,
            "request_id": self.request_id,
        }
