"""What a journal holds: facts, each a kind and a JSON object in the field names of `load`.

A kind named like a table of `graph.model.SCHEMAS` is one row of that table. It is upserted: fields
that the row does not name stay as they are. The other kinds:

item_put      an item as it is from now on: `id`, and where known `title`, `created_at`, `hidden`,
              `attributes` (object), `tags` (list of {category, tag, weight}), `domains` (list of
              {domain, weight}). Fields that are left out are emptied; without `hidden` it is shown
item_patch    `id` and those of the same fields that change; null removes a value, and
              `tags`, `domains` and `attributes` are replaced as a whole
item_delete   `id`: the item and all that was known of it are gone, until an `item_put`
user_put      a user as she is from now on: `id`, and where given `attributes` (object)
consent       `id` and `consent`: true or false for each of `PURPOSES` that changes
user_delete   `person`: everything said about this person before this fact is forgotten. The value
              is the person's pseudonym (`recommender.inbox.persons`), never the id
impression    an item of an answer was seen: `request` (stands for the answer's request_id), `item`,
              `position`, `source`, `release`, and where known `user`, `segment`, `rules`, `at`
click         an item of an answer was clicked; the same fields. Neither is an event of the store
alias         `id` and `anonymous`: an anonymous id that is another name of the user, from its first
              event on
load          `at`: a load wrote into the store without the journal; this fact's number tells when
event_undone  a row of `events` that no longer holds, since its load was taken back, or since its
              `event_id` came again with another user
item_undone   after a load was taken back: `id` and, if the store still has the item, `now`: the
              item in the form of an `item_put`
user_undone   the same for a user, in the form of a `user_put`. These three are for processes that
              follow the journal: the store learns of it otherwise

Fields that are null or empty are left out. Rows of `events` have `user`, `item`, `kind` and where
given `value`, `tag`, `at`, `event_id`, and `session`, which the store does not keep. An event that
has an `event_id` and no `at` happened when it was acknowledged; one that has neither is a single
event without a time, however often it is sent.
"""

import hashlib
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from graph.model import KEYS, SCHEMAS

PUT, PATCH, DELETE = "item_put", "item_patch", "item_delete"
USER_PUT, CONSENT, USER_DELETE = "user_put", "consent", "user_delete"
IMPRESSION, CLICK = "impression", "click"
FEEDBACK = (IMPRESSION, CLICK)
LOAD = "load"
ALIAS = "alias"
EVENT_UNDONE, ITEM_UNDONE, USER_UNDONE = "event_undone", "item_undone", "user_undone"
KINDS = (
    *SCHEMAS, PUT, PATCH, DELETE, USER_PUT, CONSENT, USER_DELETE, *FEEDBACK,
    LOAD, ALIAS, EVENT_UNDONE, ITEM_UNDONE, USER_UNDONE,
)  # fmt: skip

PURPOSES = ("personalise", "train", "track")  # what a user may consent to

_SEPARATOR = "\x1f"  # no id holds it: loading refuses control characters
_USERS = {"users": "id", "events": "user", "user_relations": "source", EVENT_UNDONE: "user"}
_ITEMS = {"items": "id", "item_tags": "item", "item_domains": "item", "item_relations": "source"}


@dataclass(frozen=True, slots=True)
class Fact:
    """A fact that is ready to be written; made by `fact`."""

    kind: str
    key: int | None  # 64 bits, the same for the same row of a table; None: it is no row
    subject: int  # 64 bits: stands for the user or item that it is about, see `subject_of`
    payload: bytes  # JSON


class Row(NamedTuple):
    """A fact as the journal holds it."""

    sequence: int  # from 1, in the order of acknowledgement, with gaps, never twice
    kind: str
    payload: dict[str, Any]
    acknowledged: int  # seconds since 1970, by the clock of the process that took it


def fact(kind: str, payload: dict[str, Any]) -> Fact:
    """A fact of one of `KINDS`; the payload is as described above, checked by the caller."""
    content = {name: value for name, value in payload.items() if value is not None or kind == PATCH}
    return Fact(
        kind, _key(kind, content), subject(kind, content), orjson.dumps(content, option=_SAME)
    )


def subject(kind: str, payload: dict[str, Any]) -> int:
    """The subject of a fact: the user it names, or else the item."""
    if kind in _USERS:
        return user_subject(payload[_USERS[kind]])
    if kind in _ITEMS:
        return item_subject(payload[_ITEMS[kind]])
    if kind in (PUT, PATCH, DELETE, ITEM_UNDONE):
        return item_subject(payload["id"])
    if kind in (USER_PUT, CONSENT, USER_UNDONE, ALIAS):
        return user_subject(payload["id"])
    if kind in FEEDBACK and "user" in payload:
        return user_subject(payload["user"])
    return 0


def user_subject(user: str) -> int:
    """What `Fact.subject` is for facts about a user, her events among them."""
    return _hash(f"user{_SEPARATOR}{user}")


def item_subject(item: str) -> int:
    """What `Fact.subject` is for facts about an item; an event is about its user instead."""
    return _hash(f"item{_SEPARATOR}{item}")


def row(sequence: int, kind: str, payload: bytes, acknowledged: int) -> Row:
    """A row made of its columns; the time of what happened is filled in where it is known."""
    fields = orjson.loads(payload)
    if kind in FEEDBACK or (kind == "events" and "event_id" in fields):
        fields.setdefault("at", acknowledged)
    return Row(sequence, kind, fields, acknowledged)


def _key(kind: str, payload: dict[str, Any]) -> int | None:
    if kind in FEEDBACK:
        own = [payload["request"], payload["item"], payload.get("user", "")]
        return _hash(_SEPARATOR.join([kind, *own]))
    if kind not in KEYS:
        return None
    if kind == "events" and "event_id" in payload:
        return _hash(f"event_id{_SEPARATOR}{payload['event_id']}")
    values = [str(payload.get(name, "")) for name in KEYS[kind]]
    return _hash(_SEPARATOR.join([kind, *values]))


def _hash(text: str) -> int:
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


_SAME = orjson.OPT_SORT_KEYS  # the same fields give the same bytes
