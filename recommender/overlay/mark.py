"""The mark of a snapshot in the journal, from which the overlay of its release goes on."""

from contextlib import closing
from typing import Any

from graph.store import GraphStore
from recommender.inbox.drain import caught_up
from recommender.inbox.journal import Journal
from recommender.releases.home import Home
from recommender.releases.journal_key import key_of


def mark(home: Home, store: GraphStore) -> tuple[dict[str, Any], int]:
    """What the manifest notes: the journal, and up to which fact the store knows it.

    The second value is the store's watermark at that moment: a snapshot up to it and the facts
    behind the mark are everything, and nothing twice.
    """
    with closing(Journal(home.inbox, key=key_of(home))) as journal:
        upto, watermark = caught_up(journal, store)
        return {"journal": journal.identity(), "upto": upto}, watermark
