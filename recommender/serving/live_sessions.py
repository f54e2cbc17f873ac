"""Facts of the journal as what happened in sessions."""

from collections.abc import Sequence

import numpy as np

from graph.model import SESSION
from recommender.inbox.facts import Row
from recommender.overlay.histories import Events, Weigher
from recommender.overlay.sessions import Happened


def in_sessions(
    events: Sequence[Row], entries: Events, weigher: Weigher, kinds: Sequence[str]
) -> list[Happened]:
    """Those of some events that name a session; `entries` are all the events as columns."""
    own = [number for number, fact in enumerate(events) if SESSION in fact.payload]
    if not own:
        return []
    users = [str(events[number].payload["user"]) for number in own]
    numbers = {user: number for number, user in enumerate(dict.fromkeys(users))}
    codes = np.array([numbers[user] for user in users], np.int32)
    liked = weigher.liked(entries[own], codes, kinds).tolist()
    items, of_kind = entries["item"][own].tolist(), entries["kind"][own].tolist()
    happened = []
    for number, user, item, kind, likes in zip(own, users, items, of_kind, liked, strict=True):
        fact = events[number]
        at = min(fact.payload.get("at", fact.acknowledged), fact.acknowledged)
        entry = (item, kind, likes, fact.sequence)
        happened.append(Happened(str(fact.payload[SESSION]), user, at, entry))
    return happened
