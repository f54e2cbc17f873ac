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
    return [
        Happened(
            session=str(events[number].payload[SESSION]),
            user=user,
            at=min(events[number].payload.get("at", when), when),
            entry=(*entries[["item", "kind"]][number], likes, events[number].sequence),
        )
        for number, user, likes in zip(own, users, liked, strict=True)
        for when in (events[number].acknowledged,)
    ]
