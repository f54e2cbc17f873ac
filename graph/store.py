"""Where users, items, tags and events live: the protocol that every back end follows."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from graph.model import Batch


@dataclass(frozen=True)
class Load:
    """One load: its number, when it began (seconds since 1970), and what was noted about it."""

    load: int
    at: int
    about: Mapping[str, Any]
    undone: bool


class GraphStore(Protocol):
    """A durable graph; every write is an upsert, every call raises `StoreError` or returns."""

    uri: str

    @property
    def resting(self) -> bool:
        """Whether calls are refused for a moment, because the latest ones got no answer."""
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
            name: recorded in the same transaction; a batch whose name is already recorded is
                not applied again, and the answer is False.
            span: the batch holds what the source `name` wrote after number span[0] and up to
                span[1]. It is written only if the source's `position` is span[0], which then
                becomes span[1]; otherwise the answer is False. So everything is written once and
                in order, even when two processes write for one source by mistake.
            replace: for the items listed in `items`, this batch replaces the stored title, times,
                attributes, tags and domains.
            clear: a name of `graph.model.PARTS` -> the items, or users, that lose this part
                before the batch is written.
            load: the number of the load that new and changed facts come from; 0: of no load.

        An event seen before (same key) is the same event; a new value replaces the old one
        and counts as a new fact (it gets a new sequence number).
        """
        ...

    def position(self, name: str) -> int:
        """The number up to which a source was written (see `span` in `apply`); 0: not at all."""
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
        """Remove a user with all events and relations; gives the number of events, 0 if unknown."""
        ...

    def drop_events(self, kind: str, before: int) -> int:
        """Remove the events of a kind (in any case) that happened before a time; how many.

        Events without a time stay, and so do users and items that are left without events.
        `before` is in seconds since 1970.
        """
        ...

    def begin_load(self, at: int, about: Mapping[str, Any]) -> int:
        """A number for a load that begins at `at`; `about`, plain JSON values, is kept with it."""
        ...

    def note_load(self, load: int, about: Mapping[str, Any]) -> None:
        """Replace what is noted about a load."""
        ...

    def loads(self) -> list[Load]:
        """All loads, oldest first."""
        ...

    def undo_load(self, load: int) -> dict[str, int]:
        """Take away, in one transaction, the facts that come from a load; table -> how many.

        A fact comes from the load that said it first, or gave it another value: `changed` counts
        the latter, whose earlier values are lost. Titles, times and attributes that the load gave
        are removed, items that it hid are shown, and users and items with nothing left go.

        Raises:
            NotFound: there is no such load, or it was undone already.
        """
        ...

    def ping(self) -> None:
        """Raise `StoreError` unless the store answers."""
        ...

    def close(self) -> None:
        """Close all connections; calling it twice is fine."""
        ...
