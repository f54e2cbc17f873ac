"""A list for several people, fair to whoever it has pleased least so far.

The list is filled place by place. Each place goes to the item that the member who is least
satisfied so far likes best; what the other members think of it counts less (the turn-taking of
Masthoff 2011, doi:10.1007/978-0-387-85820-3_21, with satisfaction in place of turns).
"""

from dataclasses import replace

import numpy as np

from graph.arrays import F32, I32, I64
from recommender.overlay.overlay import Overlay
from recommender.ranking.request import Request

OTHERS = 0.5  # weight of the members' mean beside the least satisfied member


def members(request: Request, overlay: Overlay, now: int) -> list[Request]:
    """What each member of a household asks for alone, with the sessions that they are in.

    A session in which no member was named is one more member: somebody who is not known by name.
    """
    own: dict[str, list[str]] = {user: [] for user in request.household}
    others: list[str] = []
    for name in request.sessions:
        session = overlay.sessions.running(name, now)
        user = "" if session is None else overlay.own_name(session.user)
        own.get(user, others).append(name)
    alone = replace(request, household=(), sessions=(), cursor=None)
    known = [replace(alone, user=user, sessions=tuple(names)) for user, names in own.items()]
    return [*known, *(replace(alone, sessions=(name,)) for name in others)]


def relevance(items: I32, scores: F32) -> tuple[I32, F32]:
    """What each member thinks of every candidate.

    Args:
        items: (m, c) each member's candidates, -1 where there are fewer.
        scores: (m, c) their scores.

    Returns:
        the candidates of all members (k,), ascending; (m, k) 1 for a member's best, 0 for what
        the member was not proposed.
    """
    rows = np.unique(items[items >= 0])
    liked = np.zeros((len(items), len(rows)), np.float32)
    for member in range(len(items)):
        there = items[member] >= 0
        if there.any():
            own = scores[member, there]
            liked[member, np.searchsorted(rows, items[member, there])] = own / max(own[0], 1e-12)
    return rows, liked


def fair_order(liked: F32, n: int) -> I64:
    """Places of at most n candidates in the order they are shown.

    Args:
        liked: (m, k) how relevant each candidate is to each member, 0 … 1.
        n: length of the list.
    """
    satisfied = np.zeros(len(liked), np.float32)
    voice = OTHERS * liked.mean(axis=0)
    free = np.ones(liked.shape[1], np.bool_)
    order = []
    for _ in range(min(n, liked.shape[1])):
        gain = np.where(free, liked[np.argmin(satisfied)] + voice, -1)
        chosen = int(np.argmax(gain))  # ties go to the lower row
        order.append(chosen)
        free[chosen] = False
        satisfied += liked[:, chosen]
    return np.array(order, np.int64)
