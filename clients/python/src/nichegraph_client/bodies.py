"""What is sent, as typed dictionaries in the names of the OpenAPI document.

None of the fields is needed unless it says so; a list is best given as a list of texts.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Required, TypedDict

Filter = Mapping[str, Any]  # see docs/requests.md


class Choice(TypedDict, total=False):
    """Which items a list may hold, and how many."""

    n: int
    domain: Sequence[str]
    tag: Sequence[str]
    without_tag: Sequence[str]


class Paged(Choice, total=False):
    """The same, page by page."""

    cursor: str  # the `next` of the previous page


class Trending(Choice, total=False):
    """The same, and what lately means."""

    window: str  # hour, day or week


class UserChoice(Paged, total=False):
    """How a user's list is to be made."""

    filter: Filter
    session: str
    exclude: Sequence[str]
    include_seen: bool
    reasons: bool
    profile: str
    long_tail: float
    interests: bool


class PartBody(TypedDict, total=False):
    """A part of a mix."""

    kind: Required[str]  # user, item or tag
    name: Required[str]
    weight: float


class Subject(TypedDict, total=False):
    """Whom or what a list is for: a user, items, tags, a mix, a household."""

    user: str
    items: Sequence[str]
    tags: Sequence[str]
    n: int
    mix: Sequence[PartBody]
    household: Sequence[str]
    similar_to: str
    session: str | Sequence[str]
    session_share: float
    filter: Filter
    exclude: Sequence[str]
    include_seen: bool
    reasons: bool
    profile: str
    long_tail: float
    diversity: float
    freshness: float
    context: Mapping[str, str]
    shown: Mapping[str, int]
    seed: int
    interests: bool
    cursor: str


class NewItem(TypedDict, total=False):
    """What is known about an item that the catalogue does not have yet."""

    title: str
    tags: Sequence[str]
    domains: Sequence[str]
    related: Sequence[str]
    attributes: Mapping[str, Any]
    n: int
    filter: Filter
    cursor: str


class Event(TypedDict, total=False):
    """One thing that somebody did to an item: `user` or `session` says who."""

    user: str
    item: Required[str]
    kind: str
    value: float
    tag: str
    at: float | str
    event_id: str
    session: str
    request_id: str  # of an impression or a click: the list that showed the item
    position: int  # there, from 1


class ItemFields(TypedDict, total=False):
    """What is known about an item. Tags of a category may also stand in a field `tags:CATEGORY`."""

    title: str
    created_at: float | str
    hidden: bool
    attributes: Mapping[str, Any]
    tags: Sequence[str | Mapping[str, Any]]
    domains: Sequence[str | Mapping[str, Any]]


class Consent(TypedDict, total=False):
    """What a user agrees to; what is left out stays as it was."""

    personalise: bool
    train: bool
    track: bool
