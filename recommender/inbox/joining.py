"""Reading which anonymous ids are other names of a user, and joining both in a store."""

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from graph.model import Batch
from graph.store import GraphStore
from recommender.inbox.aliases import own_name_in
from recommender.inbox.journal import Journal


def own_name(journal: Journal, user: str) -> str:
    """The id of a user who may be named by an anonymous one; any other id as it is."""
    with journal.reading() as db:
        return user if db is None else own_name_in(db, user)


def names_of(journal: Journal, user: str) -> list[str]:
    """The anonymous ids that were joined to a user."""
    with journal.reading() as db:
        if db is None:
            return []
        rows = db.execute("SELECT anonymous FROM aliases WHERE user = ? ORDER BY seq", (user,))
        return [anonymous for (anonymous,) in rows]


def all_names(journal: Journal) -> dict[str, str]:
    """Every anonymous id that was joined to a user -> that user."""
    with journal.reading() as db:
        if db is None:
            return {}
        return dict(db.execute("SELECT anonymous, user FROM aliases").fetchall())


def join(store: GraphStore, anonymous: str, user: str) -> None:
    """Give a user in a store the events of an anonymous id, which it forgets.

    If it is killed at any point, a second call completes it; a call too many changes nothing.
    """
    events = store.user_events(anonymous)
    if len(events):
        names = pa.array([user] * len(events), pa.string())
        store.apply({"events": events.set_column(0, "user", names)})
    store.erase_user(anonymous)


def renamed_batch(batch: Batch, names: Mapping[str, str]) -> Batch:
    """A batch for a store in which anonymous ids are those of their users."""
    if not names:
        return batch
    known, users = pa.array(list(names), pa.string()), pa.array(list(names.values()), pa.string())
    result = dict(batch)
    for table, field in (("users", "id"), ("events", "user")):
        if table in result:
            column = result[table].column(field).cast(pa.string())
            own = pc.take(users, pc.index_in(column, value_set=known))
            at = result[table].schema.get_field_index(field)
            result[table] = result[table].set_column(at, field, pc.coalesce(own, column))
    return result
