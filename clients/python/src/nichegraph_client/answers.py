"""What the service answers, named as in its OpenAPI document; `docs/api.md` explains the fields.

A field with the default None may be missing from an answer.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ReasonAnswer:
    """Why an item is shown."""

    text: str
    path: list[dict[str, str]]
    share: float  # of the item's score


@dataclass(frozen=True)
class ItemAnswer:
    """One item of a list."""

    item: str
    title: str
    score: float
    source: str
    parts: dict[str, float]
    tags: list[str]
    domains: list[str]
    reasons: list[ReasonAnswer]
    label: str | None
    interest: str | None


@dataclass(frozen=True)
class ListAnswer:
    """A list, and what it was made with."""

    items: list[ItemAnswer]
    served_by: str
    fallback: str | None
    release: str
    profile: str
    segment: str | None
    notes: list[str]
    next: str | None  # the cursor of the next page
    request_id: str  # what impressions and clicks of this list name


@dataclass(frozen=True)
class ManyAnswer:
    """Lists for many subjects, in order."""

    answers: list[ListAnswer]


@dataclass(frozen=True)
class CypherAnswer:
    """A query that shows something, and its parameters."""

    query: str
    parameters: dict[str, Any]


@dataclass(frozen=True)
class WhyReason:
    """A reason, with the Cypher that shows its path."""

    text: str
    path: list[dict[str, str]]
    share: float
    cypher: CypherAnswer


@dataclass(frozen=True)
class WhyAnswer:
    """Why an item is, or would be, shown to a user."""

    user: str
    item: str
    title: str
    score: float
    source: str
    parts: dict[str, float]
    tags: list[str]
    domains: list[str]
    reasons: list[WhyReason]
    label: str | None
    interest: str | None
    drawing: list[str]
    cypher: CypherAnswer | None
    served_by: str
    release: str
    notes: list[str]


@dataclass(frozen=True)
class HitAnswer:
    """An item, user or tag that fits what was typed."""

    kind: str
    id: str
    title: str
    note: str
    score: float


@dataclass(frozen=True)
class SearchAnswer:
    """What fits, best first."""

    hits: list[HitAnswer]
    release: str
    notes: list[str]


@dataclass(frozen=True)
class FieldError:
    """Which field is wrong, and why."""

    field: str
    message: str


@dataclass(frozen=True)
class EntryResult:
    """What became of one entry: taken, repeated or refused."""

    status: str
    sequence: int | None = None
    errors: list[FieldError] | None = None


@dataclass(frozen=True)
class WriteAnswer:
    """What became of a write; everything up to `sequence` is on the disk."""

    sequence: int
    taken: int
    repeated: int
    refused: int
    results: list[EntryResult]


@dataclass(frozen=True)
class TagAnswer:
    """A tag of an item."""

    category: str
    tag: str
    weight: float | None = None


@dataclass(frozen=True)
class DomainAnswer:
    """A domain of an item."""

    domain: str
    weight: float | None = None


@dataclass(frozen=True)
class KnownItemAnswer:
    """What is known about an item."""

    id: str
    hidden: bool
    title: str | None = None
    created_at: int | None = None
    attributes: dict[str, Any] | None = None
    tags: list[TagAnswer] | None = None
    domains: list[DomainAnswer] | None = None
    sequence: int | None = None


@dataclass(frozen=True)
class ConsentAnswer:
    """What a user agrees to."""

    personalise: bool
    train: bool
    track: bool


@dataclass(frozen=True)
class KnownUserAnswer:
    """What is known about a user."""

    id: str
    consent: ConsentAnswer
    attributes: dict[str, Any] | None = None
    sequence: int | None = None


@dataclass(frozen=True)
class DataAnswer:
    """Everything that is known about a person."""

    user: str
    known: bool
    attributes: dict[str, Any]
    consent: ConsentAnswer
    events: list[dict[str, Any]]
    relations: list[dict[str, Any]]
    feedback: list[dict[str, Any]]  # what they were shown, and clicked
    aliases: list[str]  # anonymous ids that were joined to them
    inbox: list[dict[str, Any]]
    shown: dict[str, Any] | None


@dataclass(frozen=True)
class PlaceAnswer:
    """A place that an erasure has reached."""

    place: str
    at: int
    count: int


@dataclass(frozen=True)
class ErasureAnswer:
    """The receipt of an erasure."""

    sequence: int
    asked: int
    done: bool
    places: list[PlaceAnswer]


@dataclass(frozen=True)
class SegmentAnswer:
    """A group of users."""

    name: str
    users: int | None
    persona: str
    profile: str
    weights: dict[str, float | str]


@dataclass(frozen=True)
class SegmentsAnswer:
    """How users are grouped; the last four fields are about the user that was asked for."""

    release: str
    method: str
    note: str | None
    segments: list[SegmentAnswer]
    user: str | None = None
    profile: str | None = None
    moves: float | None = None
    returns: float | None = None


@dataclass(frozen=True)
class SimilarUsersAnswer:
    """What the most similar users have in common."""

    users: int
    segments: list[dict[str, Any]]
    domains: list[dict[str, Any]]
    items: list[dict[str, Any]]
    release: str


@dataclass(frozen=True)
class RisingTag:
    """A tag whose items more people choose lately than before."""

    category: str
    tag: str
    people: float
    usual: float
    growth: float


@dataclass(frozen=True)
class RisingAnswer:
    """Such tags, most growth first."""

    tags: list[RisingTag]
    window: str
    release: str


@dataclass(frozen=True)
class RowsAnswer:
    """The rows of a Cypher query."""

    columns: list[str]
    rows: list[list[Any]]
    truncated: bool
    ms: float
    times: list[bool]


@dataclass(frozen=True)
class ReleasesAnswer:
    """The published releases, and the candidates that were refused."""

    releases: list[dict[str, Any]]
    refused: list[dict[str, Any]]


@dataclass(frozen=True)
class LiveAnswer:
    """The process runs."""

    status: str


@dataclass(frozen=True)
class InboxAnswer:
    """How far the store is behind what was acknowledged."""

    closed: str | None
    sequence: int | None = None
    drained: int | None = None
    waiting: int | None = None
    oldest_seconds: int | None = None
    bytes: int | None = None
    aside: int | None = None
    problem: str | None = None


@dataclass(frozen=True)
class ReadyAnswer:
    """A release is served."""

    status: str
    release: str
    problem: str | None
    notes: list[str]
    writes: str
    inbox: InboxAnswer
