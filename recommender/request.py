"""What is asked for and what is answered: the words between the doors and `recommend()`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NEUTRAL = "neutral"
DEFAULT = "default"


@dataclass(frozen=True)
class Filter:
    """Which items may be shown; every condition must hold. Hashable, so that masks are cached.

    `attributes` holds (name, low or None, high or None, allowed values or ()) per condition.
    """

    domains: tuple[str, ...] = ()  # in any of them
    tags_all: tuple[str, ...] = ()
    tags_any: tuple[str, ...] = ()
    tags_none: tuple[str, ...] = ()
    attributes: tuple[tuple[str, float | None, float | None, tuple[str, ...]], ...] = ()
    created_after: int | None = None  # seconds since 1970
    created_before: int | None = None


@dataclass(frozen=True)
class Request:
    """One subject and what it asks for.

    The subject is the sum of what is given: a known user's history, the items of a running
    session (newest last, weighted), tags. All empty: the answer is what is popular.
    """

    user: str | None = None
    items: Mapping[str, float] = field(default_factory=dict)  # item id -> weight
    tags: tuple[str, ...] = ()  # names of tags
    n: int = 20
    filter: Filter = field(default_factory=Filter)
    exclude: tuple[str, ...] = ()  # item ids
    include_seen: bool = False
    profile: str | None = None  # of reranking; None: that of the user's segment, else default
    long_tail: float | None = None  # 0 … 1 moves along the trade-off
    reasons: bool = True
    source: str | None = None  # only this source, for evaluation


@dataclass(frozen=True)
class Reason:
    """Why an item is shown: a sentence without ids, and the path it tells of."""

    text: str
    path: tuple[dict[str, str], ...]  # nodes and relationships from the subject to the item
    share: float  # of the item's score that this path explains, 0 … 1


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


@dataclass(frozen=True)
class Answer:
    """The items for one request, best first, and how they came about."""

    items: tuple[Recommended, ...]
    served_by: str  # "history", "session", "tags", "popular" or "nothing": an empty catalogue
    fallback: str | None  # a sentence when a fallback filled the list, else None
    release: str
    profile: str
    segment: str | None = None
    notes: tuple[str, ...] = ()  # e.g. ids that nobody knows

    def to_json(self) -> dict[str, Any]:
        """As the doors print it."""
        return {
            "items": [
                {
                    "item": one.item,
                    "title": one.title,
                    "score": one.score,
                    "source": one.source,
                    "parts": dict(one.parts),
                    "tags": list(one.tags),
                    "domains": list(one.domains),
                    "reasons": [
                        {"text": r.text, "path": list(r.path), "share": r.share}
                        for r in one.reasons
                    ],
                }
                for one in self.items
            ],
            "served_by": self.served_by,
            "fallback": self.fallback,
            "release": self.release,
            "profile": self.profile,
            "segment": self.segment,
            "notes": list(self.notes),
        }
