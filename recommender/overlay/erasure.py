"""Forget a person: first in what is served, then in the journal, the store, and every copy."""

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np

from graph.durable import replace_file
from graph.errors import ReleaseError
from graph.explore.copies import forget
from graph.ids import as_id
from graph.store import GraphStore
from recommender.inbox import erasing, feedback
from recommender.inbox.drain import Carry, renamed_if_older, source
from recommender.inbox.erased import NAMES
from recommender.inbox.joining import names_of, own_name
from recommender.inbox.journal import Journal
from recommender.overlay import erasure_log
from recommender.overlay.overlay import Overlay
from recommender.overlay.spellings import spellings
from recommender.overlay.state import begin_erasure, end_erasure, read_state
from recommender.releases import audit
from recommender.releases.home import Home
from recommender.releases.journal_key import key_of
from recommender.releases.publishing import (
    current,
    drop_refused,
    list_refused,
    names,
    open_release,
)
from recommender.releases.scrubbing import scrub
from recommender.releases.steps import drop_unfinished


def erase(store: GraphStore, home: Home, user: str) -> int:
    """Forget a user of a home without a journal; how many events were removed.

    Running servers forget first, then the store. If it is killed in between, the user is no longer
    served, and a second call completes the erasure.
    """
    begin_erasure(home, user)
    events = store.erase_user(user)
    with closing(Journal(home.inbox, key=key_of(home))) as journal:
        feedback.forget(journal, user)
    end_erasure(home, user, store.watermark())
    forget(home.explore)
    drop_unfinished(home)
    for folder in (home.tuning, home.kept):
        shutil.rmtree(folder, ignore_errors=True)
    return events


def ask(journal: Journal, home: Home, user: str, *, now: int) -> int:
    """Ask for an erasure, and return its number; the user is not served from now on.

    What the journal holds is gone when this returns. The drain carries it into the store and the
    copies; `erasing.receipt` tells how far it has come. The anonymous ids that are other names of
    the user are erased before, each by an erasure of its own.
    """
    user = own_name(journal, as_id(user))
    for name in names_of(journal, user):  # what they did before they were known is theirs, too
        _ask(journal, home, name, now)
    return _ask(journal, home, user, now)


def _ask(journal: Journal, home: Home, user: str, now: int) -> int:
    if home.erasure_log is not None:
        erasure_log.note(home, home.erasure_log, user, now=now)
    begin_erasure(home, user)
    person = read_state(home).digest(user)
    sequence = erasing.ask(journal, user, person, now=now)
    audit.note(
        home.audit, "erasure asked", now=now, elsewhere=home.audit_head,
        person=person, erasure=sequence,
    )  # fmt: skip
    erasing.reached(journal, sequence, "serving", at=now)
    journal.shorten()
    return sequence


def erase_again(store: GraphStore, journal: Journal, home: Home, *, now: int) -> list[int]:
    """Erase again whom a home from a backup does not know to be erased; the erasures' numbers.

    To be called before anything is drained, served or learned. Nothing without an erasure log. If
    the store does not answer, nothing is taken for done.
    """
    if home.erasure_log is None or not home.erasure_log.exists():
        return []
    was_erased, missed = erasure_log.unheard(home, home.erasure_log)
    if not missed:
        return []
    if journal.last_sequence():
        renamed_if_older(journal, store.position(source(journal)))
    users = dict.fromkeys(filter(was_erased, everybody(store, journal, home)))
    numbers = [ask(journal, home, user, now=now) for user in users]
    erasure_log.hear_all(home, home.erasure_log)
    return numbers


def everybody(store: GraphStore, journal: Journal, home: Home) -> list[str]:
    """Every user whom the home or its store knows, some of them several times."""
    users: list[str] = store.read("users").column("id").to_pylist()
    for name in names(home):
        try:
            users += open_release(home.releases / name, verify=False).users
        except ReleaseError:  # of another version, or damaged: nobody serves it
            continue
    after = 0
    while facts := journal.facts_after(after):
        after = facts[-1].sequence
        for fact in facts:
            fields = (fact.payload.get(field) for field in NAMES.get(fact.kind, ()))
            users += [str(user) for user in fields if user is not None]
    return users


def carrier(
    journal: Journal,
    store: GraphStore,
    home: Home,
    now: Callable[[], int],
    forget_answers: Callable[[str], int | None] = lambda _: 0,
) -> Carry:
    """A function that takes an erasure from the journal to every other place, see `drain`.

    `forget_answers` removes the answers that workers share and that were made under another state
    than the one of this name. It gives how many it removed; None: they cannot be reached.
    """

    def carry(sequence: int, user: str) -> None:
        gone = store.erase_user(user)
        erasing.reached(journal, sequence, "store", at=now(), count=gone)
        shown = feedback.forget(journal, user)
        erasing.reached(journal, sequence, "feedback", at=now(), count=shown)
        end_erasure(home, user, store.watermark())
        answers = forget_answers(read_state(home).name)
        if answers is not None:
            erasing.reached(journal, sequence, "caches", at=now(), count=answers)
        forget(home.explore)
        erasing.reached(journal, sequence, "copies for exploring", at=now())
        unfinished = len(drop_unfinished(home))
        for folder in (home.tuning, home.kept):
            shutil.rmtree(folder, ignore_errors=True)
        erasing.reached(journal, sequence, "unfinished refreshes", at=now(), count=unfinished)
        for location, folder in (("rejects", home.rejects), ("reports", home.reports)):
            erasing.reached(journal, sequence, location, at=now(), count=_scrub(folder, user))
        erasing.reached(journal, sequence, "logs", at=now(), count=_scrub(home.explore, user))
        erasing.close(journal, sequence)
        person = read_state(home).digest(user)
        audit.note(
            home.audit, "erasure done", now=now(), elsewhere=home.audit_head,
            person=person, erasure=sequence, events=gone,
        )  # fmt: skip

    return carry


def scrub_releases(home: Home) -> list[str]:
    """Take erased persons out of the releases kept beside the served one; the releases' names.

    To be called after a refresh, whose release does not know them. Candidates that gates refused
    are removed as a whole, since nobody serves them.
    """
    state, served, done = read_state(home), current(home), []
    for refused in list_refused(home):
        if state.gone(refused.get("watermark", 0)):
            drop_refused(home, refused["name"])
    for name in names(home):
        if name == served:
            continue
        try:
            release = open_release(home.releases / name, verify=False)
        except ReleaseError:
            continue
        if not state.gone(release.watermark):
            continue
        rows = np.flatnonzero(Overlay.over(release, state).gone).tolist()
        if rows and scrub(home, name, rows):
            done.append(name)
    return done


def _scrub(folder: Path, user: str) -> int:
    """Remove the lines that hold an id, in any spelling, from the files of a folder; how many."""
    sought, gone = spellings(user), 0
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        if not sought.search(content):
            continue
        lines = content.splitlines(keepends=True)
        kept = [line for line in lines if not sought.search(line)]
        gone += len(lines) - len(kept)
        try:
            replace_file(path, b"".join(kept).decode("utf-8"))
        except UnicodeDecodeError:  # not text: the whole file goes, as no line can be told apart
            path.unlink()
    return gone
