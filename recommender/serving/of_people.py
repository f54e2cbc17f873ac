"""What facts say of people beside what they did: what they agree to, and their attributes."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from recommender.inbox.facts import CONSENT, PURPOSES, USER_PUT, USER_UNDONE, Row

Consents = Mapping[str, bool]  # purpose -> whether they agree


def consents_in(facts: Sequence[Row], before: Mapping[str, Consents]) -> dict[str, Consents]:
    """What the users of some facts agree to after them, of all that was said since the release.

    A row of `users` that was loaded says it of every purpose.
    """
    newer: dict[str, Consents] = {}
    for fact in facts:
        consents = fact.payload.get("consent") if fact.kind in (CONSENT, "users") else None
        if consents is None:
            continue
        if fact.kind != CONSENT:
            consents = dict.fromkeys(PURPOSES, bool(consents))
        user = str(fact.payload["id"])
        newer[user] = {**newer.get(user, before.get(user, {})), **consents}
    return newer


def attributes_in(facts: Sequence[Row]) -> dict[str, Mapping[str, Any]]:
    """The attributes of users after some facts; a row that was loaded changes only named ones."""
    newer: dict[str, Mapping[str, Any]] = {}
    for fact in facts:
        attributes = fact.payload.get("now", fact.payload).get("attributes")
        if fact.kind in (USER_PUT, USER_UNDONE):
            attributes = attributes or {}
        if attributes is not None and fact.kind != CONSENT:
            read = json.loads(attributes) if isinstance(attributes, str) else attributes
            newer[str(fact.payload["id"])] = read
    return newer
