"""Forgetting a person: what serves first, then the store, then every copy."""

from graph.explore.copies import forget
from graph.store import GraphStore
from recommender.overlay.state import begin_erasure, end_erasure
from recommender.releases.home import Home


def erase(store: GraphStore, home: Home, user: str) -> int:
    """Forget a user; how many events went.

    The running servers come first, then the store: a kill in between leaves nothing served, and
    saying it again completes it.
    """
    begin_erasure(home, user)
    events = store.erase_user(user)
    end_erasure(home, user, store.watermark())
    forget(home.explore)
    return events
