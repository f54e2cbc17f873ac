"""Where users, items, tags and events live: the small protocol every back end fulfils."""

from typing import Protocol

import pyarrow as pa

from graph.model import Batch


class GraphStore(Protocol):
    """A durable graph; every write is an upsert, every call raises `StoreError` or returns."""

    uri: str

    def apply(self, batch: Batch, *, name: str | None = None, replace: bool = False) -> bool:
        """Write a batch (see `graph.model`) in one transaction; True when it was written.

        Args:
            batch: table name -> pyarrow table; missing tables are left as they are. Null
                titles, times, flags and attributes leave what is stored; null weights are 1.
            name: recorded in the same transaction; a batch whose name is recorded already is
                not applied again and the answer is False.
            replace: for the items listed in `items`, what is stored of title, times,
                attributes, tags and domains is replaced by what this batch says.

        An event seen before (same key) is the same event; a new value replaces the old one
        and counts as a new fact (it gets a new sequence number).
        """
        ...

    def read(self, table: str, *, until: int | None = None) -> pa.Table:
        """All rows of a table in the columns of `graph.model.SCHEMAS`, in no special order.

        Id columns may be dictionary-encoded. `until` keeps the events whose sequence number is
        at most that watermark; other tables are as they are now.
        """
        ...

    def user_events(self, user: str) -> pa.Table:
        """The events of one user, empty when the user is unknown."""
        ...

    def counts(self) -> dict[str, int]:
        """Rows of each table of `SCHEMAS`, and of `tags`."""
        ...

    def watermark(self) -> int:
        """The highest sequence number given to an event; 0 when there is none."""
        ...

    def erase_user(self, user: str) -> int:
        """Remove a user with all events and relations; how many events went. Unknown: 0."""
        ...

    def ping(self) -> None:
        """Raise `StoreError` unless the store answers."""
        ...

    def close(self) -> None:
        """Give back connections; calling it twice is fine."""
        ...
