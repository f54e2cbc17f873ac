"""What running sessions did so far, by the ids that events name; immutable, as the overlay is.

A session ends some time after its last event. An event that comes later under the same id begins a
new session. A session in which nobody was named belongs to the visitor whom its id names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

SECONDS = 1_800  # after its last event a session ends
MOST = 100  # entries of a session that are kept; older ones hardly weigh anything

ENTRY = np.dtype(
    [
        ("item", np.int32),  # row
        ("kind", np.int32),  # number of the overlay's kinds of events
        ("liked", np.bool_),  # whether it speaks for its item; a hide does not
        ("heard", np.int64),  # number of its fact
    ]
)
Entries = npt.NDArray[np.void]  # of dtype ENTRY, oldest first


@dataclass(frozen=True)
class Session:
    """One session."""

    user: str  # who did it, by the newest event
    entries: Entries
    last: int  # seconds since 1970 of its newest event

    def and_then(self, newer: "Session") -> "Session":
        """The session after newer entries."""
        entries = np.concatenate([self.entries, newer.entries])[-MOST:]
        return Session(newer.user, entries, max(self.last, newer.last))


@dataclass(frozen=True)
class Sessions:
    """The sessions that may still run."""

    of: Mapping[str, Session] = field(default_factory=dict)
    seconds: int = SECONDS

    def running(self, name: str, now: int) -> Session | None:
        """The session with this id; None: it has not begun, or it has ended."""
        session = self.of.get(name)
        return None if session is None or now - session.last > self.seconds else session

    def version(self, names: Sequence[str], now: int) -> str:
        """A text that changes whenever one of these sessions does, or ends."""
        running = [self.running(name, now) for name in names]
        return " ".join("-" if each is None else str(each.entries["heard"][-1]) for each in running)


class Happened(NamedTuple):
    """One event of a session, as it is heard."""

    session: str
    user: str
    at: int  # seconds since 1970
    entry: tuple[int, int, bool, int]  # as in ENTRY


def taken_up(
    sessions: Mapping[str, Session], events: Sequence[Happened], seconds: int
) -> dict[str, Session]:
    """The sessions that some events change, after them; the events are in the order of facts."""
    by_session: dict[str, list[Happened]] = {}
    for event in events:
        by_session.setdefault(event.session, []).append(event)
    changed = {}
    for name, own in by_session.items():
        session = sessions.get(name)
        last = own[0].at if session is None else session.last
        since, last = _since_the_pause(own, last, seconds)
        entries = np.array([event.entry for event in own[since:][-MOST:]], ENTRY)
        newer = Session(own[-1].user, entries, last)
        changed[name] = newer if session is None or since is not None else session.and_then(newer)
    return changed


def together(sessions: Sequence[Session]) -> Entries:
    """The entries of several sessions as those of one, in the order in which they were heard."""
    entries = np.concatenate([np.zeros(0, ENTRY), *(session.entries for session in sessions)])
    return entries[np.argsort(entries["heard"], kind="stable")]


def _since_the_pause(events: list[Happened], last: int, seconds: int) -> tuple[int | None, int]:
    """Where the last session of these events begins, None: before them; and when it was last seen.

    `last` is when the session was seen before these events.
    """
    begins = None
    for number, event in enumerate(events):
        begins, last = (
            (number, event.at) if event.at - last > seconds else (begins, max(last, event.at))
        )
    return begins, last
