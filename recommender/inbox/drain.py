"""Carry facts from the journal into the store, each exactly once, in order.

The store keeps the number of the last fact written into it, and changes it in the same transaction
as the facts. So nothing is lost or repeated if a drain is killed at any moment, or paused while
another one goes on: the next one begins after that number. A fact that the store refuses even when
it is written alone goes into quarantine, and those after it are written.
"""

import contextlib
import fcntl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from graph.errors import InputError
from graph.store import GraphStore
from recommender.inbox import erasing, feedback
from recommender.inbox.batch import fold
from recommender.inbox.facts import ALIAS, USER_DELETE, Row
from recommender.inbox.joining import join
from recommender.inbox.journal import Journal
from recommender.inbox.quarantine import put_aside

Carry = Callable[[int, str], None]  # the number of an erasure, and whom it is about

BATCH_FACTS = 10_000  # facts in one transaction


@dataclass(frozen=True)
class Drained:
    """What one call of `drain` did."""

    facts: int  # facts that are done with; 0: none was waiting
    refused: int  # of these, how many are now in quarantine
    position: int  # the store has the facts up to this number


def source(journal: Journal) -> str:
    """The name under which a store counts what a journal wrote into it."""
    return f"inbox {journal.identity()}"


def drain(
    journal: Journal,
    store: GraphStore,
    *,
    now: Callable[[], int],
    limit: int = BATCH_FACTS,
    carry: Carry | None = None,
) -> Drained:
    """Write the next facts into the store, at most `limit`.

    `carry` takes an erasure to the store and wherever else the person is known, and closes it.
    If it is killed, it is called again. Default: the store alone.

    Raises:
        StoreError: the store or the journal does not answer; nothing is lost, call it again.
    """
    name = source(journal)
    begin = store.position(name)
    if renamed_if_older(journal, begin):
        return Drained(0, 0, begin)
    facts = journal.facts_after(begin, limit)
    if not facts:
        return Drained(0, 0, begin)
    alone = [index for index, row in enumerate(facts) if row.kind in (USER_DELETE, ALIAS)]
    if alone[:1] == [0]:
        sequence, payload = facts[0].sequence, facts[0].payload
        if facts[0].kind == ALIAS:
            join(store, payload["anonymous"], payload["id"])
            feedback.join(journal, payload["anonymous"], payload["id"])
        elif (user := erasing.user_of(journal, sequence)) is not None:
            (carry or _carry(journal, store, now))(sequence, user)
        done = store.apply({}, name=name, span=(begin, sequence))
        return Drained(1 if done else 0, 0, sequence if done else begin)
    facts = facts[: alone[0]] if alone else facts
    feedback.take(journal, facts)
    work = _Work(journal, store, name, now)
    done = work.write(begin, facts)
    return Drained(len(facts) if done else 0, work.refused, facts[-1].sequence if done else begin)


def renamed_if_older(journal: Journal, position: int) -> bool:
    """Rename a journal from a backup that is older than the store, which has more of its facts.

    It would give their numbers out again. Under a new name the store takes all facts; those that it
    has already change nothing. `position` is the store's, see `GraphStore.position`.
    """
    if position <= journal.last_sequence():
        return False
    journal.rename(position)
    return True


def _carry(journal: Journal, store: GraphStore, now: Callable[[], int]) -> Carry:
    def carry(sequence: int, user: str) -> None:
        gone = store.erase_user(user)
        erasing.reached(journal, sequence, "store", at=now(), count=gone)
        shown = feedback.forget(journal, user)
        erasing.reached(journal, sequence, "feedback", at=now(), count=shown)
        erasing.close(journal, sequence)

    return carry


def caught_up(journal: Journal, store: GraphStore) -> tuple[int, int]:
    """Number of the last fact written into the store, and its watermark at that moment."""
    name = source(journal)
    while True:
        position, watermark = store.position(name), store.watermark()
        if store.position(name) == position:
            return position, watermark


@contextlib.contextmanager
def lease(journal_file: Path) -> Iterator[bool]:
    """True if this process is now the only one that may write the journal's facts into the store.

    The lease ends when the block or the process ends, in whatever way.
    """
    journal_file.parent.mkdir(parents=True, exist_ok=True)
    with (journal_file.parent / "drainer.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


@dataclass
class _Work:
    journal: Journal
    store: GraphStore
    name: str
    now: Callable[[], int]
    refused: int = 0

    def write(self, begin: int, facts: Sequence[Row]) -> bool:
        """Write facts that come after number `begin`; False: another drain was faster."""
        end = facts[-1].sequence
        try:
            folded = fold(facts)
            return self.store.apply(
                folded.batch, name=self.name, span=(begin, end), clear=folded.clear
            )
        except (InputError, ValueError, TypeError, OverflowError) as error:
            if len(facts) > 1:
                middle = len(facts) // 2
                return self.write(begin, facts[:middle]) and self.write(
                    facts[middle - 1].sequence, facts[middle:]
                )
            put_aside(self.journal, facts[0], str(error), now=self.now())
            self.refused += 1
            return self.store.apply({}, name=self.name, span=(begin, end))
