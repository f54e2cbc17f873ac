"""Where users, items, tags and events live: the small protocol of every back end."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from graph.model import Batch


@dataclass(frozen=True)
class Load:
    """One load: its number, when it began (seconds since 1970), and what it said of itself."""

    load: int
    at: int
    about: Mapping[str, Any]
    undone: bool


class GraphStore(Protocol):
    """A durable graph; every write is an upsert, every call raises `StoreError` or returns."""

    uri: str

    @property
    def resting(self) -> bool:
        """Whether calls are refused for a moment, because the last ones were not answered."""
        ...

    def apply(
        self,
        batch: Batch,
        *,
        name: str | None = None,
        span: tuple[int, int] | None = None,
        replace: bool = False,
        clear: Mapping[str, Collection[str]] | None = None,
        load: int = 0,
    ) -> bool:
        """Write a batch (see `graph.model`) in one transaction; True when it was written.

        Args:
            batch: table name -> pyarrow table; missing tables are left as they are. Null
                titles, times, flags and attributes leave what is stored; null weights are 1.
            name: recorded in the same transaction; a batch whose name is recorded already is
                not applied again and the answer is False.
            span: the batch is what the source `name` says after number span[0] and up to span[1].
                It is written only when the source stands at span[0], and then it stands at
                span[1]: whoever counts like that writes everything once, in order, also when two
                do by mistake. The answer is False when it stands elsewhere, see `position`.
            replace: for the items listed in `items`, what is stored of title, times,
                attributes, tags and domains is replaced by what this batch says.
            clear: a name of `graph.model.PARTS` -> items, or users, of which that part is taken
                away before the batch is written.
            load: the number of the load that new and changed facts come from; 0: of none.

        An event seen before (same key) is the same event; a new value replaces the old one
        and counts as a new fact (it gets a new sequence number).
        """
        ...

    def position(self, name: str) -> int:
        """Up to which number a source that counts was written (see `apply`); 0: nothing of it."""
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

    def begin_load(self, at: int, about: Mapping[str, Any]) -> int:
        """A number for a load that begins at `at`; `about` is JSON, kept beside it."""
        ...

    def note_load(self, load: int, about: Mapping[str, Any]) -> None:
        """Say anew what a load is about."""
        ...

    def loads(self) -> list[Load]:
        """All loads, oldest first."""
        ...

    def undo_load(self, load: int) -> dict[str, int]:
        """Take away, in one transaction, the facts that come from a load; table -> how many.

        A fact comes from the load that said it first, or gave it another value: `changed` counts
        the latter, whose earlier values are gone. Titles, times and attributes that the load gave
        go, items it hid are shown, users and items of whom nothing is left go.

        Raises:
            NotFound: there is no such load, or it was undone already.
        """
        ...

    def ping(self) -> None:
        """Raise `StoreError` unless the store answers."""
        ...

    def close(self) -> None:
        """Give back connections; calling it twice is fine."""
        ...
