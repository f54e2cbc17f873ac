"""Everything that is known about a person as a JSON value, for the person on request."""

import json
from collections.abc import Collection
from typing import Any

from graph.store import GraphStore
from recommender.inbox.erased import NAMES
from recommender.inbox.facts import (
    CONSENT,
    PURPOSES,
    USER_PUT,
    USER_UNDONE,
    Row,
    user_subject,
)
from recommender.inbox.feedback import about_user
from recommender.inbox.joining import names_of, own_name
from recommender.inbox.journal import Journal
from recommender.inbox.known import user_after
from recommender.inbox.quarantine import aside

_EVENT = ("item", "kind", "value", "tag", "at", "event_id")


def personal_data(
    store: GraphStore, journal: Journal, user: str, agreed: Collection[str] = PURPOSES
) -> dict[str, Any]:
    """What the store and the inbox hold of a user.

    `events` and `relations` are those of the store, `feedback` what was shown to them (see
    `recommender.inbox.feedback`), `inbox` the facts that wait or are kept, `quarantine` those that
    the store refused, `consent` what holds now (who has not said agrees to the purposes of
    `agreed`), `aliases` the anonymous ids that were joined to them. A user whom nobody knows gets
    empty lists, `known` false.
    """
    user = own_name(journal, user)
    names = [user, *names_of(journal, user)]
    users = store.read("users")
    ids = users.column("id").to_pylist()
    row = users.slice(ids.index(user), 1).to_pylist()[0] if user in ids else None
    held = None
    if row is not None:
        attributes = json.loads(row["attributes"] or "{}")
        stated = row["consent"] is not None
        consent = dict.fromkeys(PURPOSES, bool(row["consent"])) if stated else {}
        held = {"id": user, "attributes": attributes, "consent": consent}
    facts = [
        fact
        for name in names
        for fact in journal.facts_about(user_subject(name))
        if name in fact.payload.values()
    ]
    refused = [entry for entry in aside(journal) if set(names) & set(map(str, _named(entry.fact)))]
    newer = [fact for fact in facts if fact.kind in (CONSENT, USER_PUT, USER_UNDONE)]
    content = user_after(held, newer, user)
    relations = [
        relation
        for relation in store.read("user_relations").to_pylist()
        if user in (relation["source"], relation["target"])
    ]
    events = [
        {name: event[name] for name in _EVENT if event[name] is not None}
        for name in names
        for event in store.user_events(name).to_pylist()
    ]
    known = content or {}
    return {
        "user": user,
        "aliases": names[1:],
        "known": bool(content or events or facts or refused),
        "attributes": known.get("attributes", {}),
        "consent": {purpose: purpose in agreed for purpose in PURPOSES} | known.get("consent", {}),
        "events": sorted(events, key=lambda event: (event.get("at") or 0, event["item"])),
        "relations": relations,
        "feedback": [row for name in names for row in about_user(journal, name)],
        "quarantine": [entry.as_dict() for entry in refused],
        "inbox": [
            {"number": fact.sequence, "kind": fact.kind, "at": fact.acknowledged, **fact.payload}
            for fact in facts
        ],
    }


def _named(refused: Row) -> list[Any]:
    """The ids of users that a fact names."""
    return [refused.payload.get(field) for field in NAMES.get(refused.kind, ())]
