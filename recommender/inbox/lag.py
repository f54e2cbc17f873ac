"""How far the store is behind the journal, and why: what operators and supervisors ask."""

import contextlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from recommender.inbox.journal import Journal
from recommender.inbox.quarantine import count_aside


@dataclass(frozen=True)
class DrainState:
    """How the drain stands, as a file beside the journal tells everybody."""

    position: int  # up to which fact the store has been written
    at: int  # seconds since 1970, when it was last tried
    problem: str | None  # why the store takes nothing
    breaker_open: bool = False  # a server that fails is left alone for moments


@dataclass(frozen=True)
class Lag:
    """What waits in the journal."""

    sequence: int  # number of the newest fact
    drained: int  # up to which fact the store has been written
    waiting: int  # facts between the two, at most
    oldest_seconds: int | None  # how long the oldest of them waits
    bytes: int  # of the journal
    aside: int  # facts in the quarantine
    problem: str | None  # why the store takes nothing

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def lag(journal: Journal, *, now: int) -> Lag:
    """How the journal stands; `now` is in seconds since 1970. Asks no store."""
    state = read_state(journal.path) or DrainState(0, 0, None)
    newest = journal.last_sequence()
    waiting = max(newest - state.position, 0)
    oldest = journal.facts_after(state.position, 1) if waiting else []
    return Lag(
        sequence=newest,
        drained=state.position,
        waiting=waiting if oldest else 0,
        oldest_seconds=max(now - oldest[0].acknowledged, 0) if oldest else None,
        bytes=journal.size(),
        aside=count_aside(journal),
        problem=state.problem,
    )


def read_state(journal_file: Path) -> DrainState | None:
    """The newest state that a drainer wrote; None: none has run in this home."""
    try:
        return DrainState(**json.loads(_state_file(journal_file).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def tell_state(journal_file: Path, state: DrainState) -> None:
    """Let everybody know how the drain stands."""
    file = _state_file(journal_file)
    aside = file.with_suffix(".new")
    with contextlib.suppress(OSError):  # a full disk: the state is only for people
        aside.write_text(json.dumps(asdict(state)), encoding="utf-8")
        aside.replace(file)


def _state_file(journal_file: Path) -> Path:
    return journal_file.parent / "drained.json"
