"""Events that have been kept long enough are dropped, or reduced to counts, wherever they are.

That is the store, the facts of the journal that the store has, the quarantine, and what was shown.
Releases that were made before keep them until they are removed; the next one does not hold them.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from graph.explore.copies import forget
from graph.ids import as_word
from graph.store import GraphStore
from recommender.inbox import feedback, keeping
from recommender.inbox.drain import caught_up
from recommender.inbox.facts import FEEDBACK
from recommender.inbox.journal import Journal
from recommender.overlay import reduced
from recommender.overlay.retention_file import Keep
from recommender.releases.home import Home

SECONDS_A_DAY = 86_400


@dataclass(frozen=True)
class Retained:
    """What was done with the events of a kind."""

    kind: str
    days: int
    then: str  # "drop" or "count"
    before: int  # what happened before this time, in seconds since 1970, went
    store: int  # events that went from the store
    inbox: int  # facts that went from the journal and the quarantine
    shown: int  # items shown that went

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def retain(
    store: GraphStore,
    journal: Journal,
    home: Home,
    rules: Sequence[Keep],
    *,
    now: int,
    dry_run: bool = False,
) -> list[Retained]:
    """Drop or reduce what is older than the rules say; what went, or with `dry_run` would go.

    If it is killed at any moment, calling it again completes it, and nothing is counted twice.

    Args:
        store: where the events lie.
        journal: of the home; a fact that the store does not have yet is left alone.
        home: for the sums, and copies for exploring, which are made anew.
        rules: see `load_retention`.
        now: seconds since 1970.
        dry_run: only count.
    """
    position = caught_up(journal, store)[0] if journal.last_sequence() else 0
    done = []
    for rule in rules:
        before = now - rule.days * SECONDS_A_DAY
        in_store = shown = 0
        if rule.kind in FEEDBACK:
            shown = feedback.drop_before(journal, before, reduce=rule.count, dry_run=dry_run)
        elif dry_run:
            in_store = _old(store, rule.kind, before).num_rows
        else:
            in_store = _drop(store, home, rule, before)
        kinds = FEEDBACK if rule.kind in FEEDBACK else ("events",)
        own = None if rule.kind in FEEDBACK else rule.kind
        facts = keeping.drop_before(journal, kinds, own, before, position, dry_run=dry_run)
        then = "count" if rule.count else "drop"
        done.append(Retained(rule.kind, rule.days, then, before, in_store, facts, shown))
    if not dry_run and any(entry.store for entry in done):
        forget(home.explore)
    return done


def _drop(store: GraphStore, home: Home, rule: Keep, before: int) -> int:
    """Drop events from the store; their sums are written before and hold from then on."""
    pending = reduced.pending(home.reduced, rule.kind)
    if pending is not None:  # a call before was killed: its sums are those of all that it dropped
        store.drop_events(rule.kind, pending)
        reduced.finish(home.reduced, rule.kind)
    if rule.count:
        old = _old(store, rule.kind, before)
        if not old.num_rows:
            return 0
        reduced.begin(home.reduced, rule.kind, before, _sums(old))
    gone = store.drop_events(rule.kind, before)
    if rule.count:
        reduced.finish(home.reduced, rule.kind)
    return gone


def _old(store: GraphStore, kind: str, before: int) -> pa.Table:
    """User, item and time of the events of a kind that happened before a time."""
    events = store.read("events").select(["user", "item", "kind", "at"])
    names = [name for name in pc.unique(events["kind"]).to_pylist() if as_word(name) == kind]
    of_kind = pc.is_in(events["kind"].cast(pa.string()), value_set=pa.array(names, pa.string()))
    return events.filter(pc.and_(of_kind, pc.fill_null(pc.less(events["at"], before), False)))


def _sums(events: pa.Table) -> list[tuple[str, str, int, int]]:
    """Item, month (2026-01), how many events, of how many people."""
    months = np.datetime_as_string(
        events["at"].to_numpy().astype("datetime64[s]").astype("datetime64[M]")
    )
    table = pa.table(
        {
            "item": events["item"].cast(pa.string()),
            "month": pa.array(months.tolist(), pa.string()),
            "user": events["user"].cast(pa.string()),
        }
    )
    summed = table.group_by(["item", "month"]).aggregate(
        [("user", "count"), ("user", "count_distinct")]
    )
    columns = ("item", "month", "user_count", "user_count_distinct")
    return list(zip(*(summed[name].to_pylist() for name in columns), strict=True))
