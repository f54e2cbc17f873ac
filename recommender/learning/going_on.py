"""What a warm refresh goes on from: the fits of the last one, kept until the next.

kept/
└── 3f9c…/       digest of the name of the release that was published
    ├── fit/     what the fit of its table left
    └── trial/   its trial: a release that has not seen the held-back part, and a `fit/` of its own

If little has changed, `relearned` learns only the items whose own history changed by `CHANGED` or
more since they were last learned. As soon as all changes since the last whole fit come to `MOVED`
of the pairs, or where the recipe has a scorer that cannot learn items one by one, everything is
fitted again. An erasure removes the folder, because a trial knows who did what.
"""

import contextlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from embeddings.item_item.fitting import Halved, Learned
from embeddings.item_item.item_table import ItemTable
from graph.arrays import I32, I64, Flags
from graph.errors import ReleaseError
from graph.snapshot import GraphSnapshot
from graph.weighted import WeightedGraph
from recommender.releases.home import Home
from recommender.releases.publishing import open_release
from recommender.releases.release import Release
from recommender.releases.steps import Steps, digest_of

MOVED = 0.03  # share of all pairs that may come or go before everything is fitted again
CHANGED = 0.05  # share of an item's pairs that came or went; below, it is left as it was learned
HARDLY_KNOWN = 0.5  # of its pairs came or went: its own row is made anew, too
FIT, TRIAL = "fit", "trial"


@dataclass(frozen=True)
class Fit:
    """A fit that can be gone on from, beside the release that it made."""

    learned: Learned
    pending: I32  # (i,) how many pairs of each item came or went since it was learned
    moved: int  # the same of all items together, since everything was fitted


@dataclass(frozen=True)
class Before:
    """A release and its fit."""

    release: Release
    fit: Fit


@dataclass(frozen=True)
class Fits:
    """The last fit of everything, and that of the trial."""

    whole: Before
    trial: Before


@dataclass(frozen=True)
class Changes:
    """What changed since a fit, in today's rows."""

    table: ItemTable
    learned: Learned
    changed: Flags  # (i,) to be learned anew
    fresh: Flags  # (i,) their rows, too
    pending: I32  # (i,) after they are learned
    moved: int


Say = Callable[[str], None]
TYPES = (Fit, Learned, Halved)


def fits_of(home: Home, parent: Release | None) -> Fits | None:
    """The fits kept with a release; None if there are none, or if they are damaged."""
    if parent is None:
        return None
    folder = _folder(home, parent.name)
    whole, of_trial = (Steps(path, TYPES).kept(FIT) for path in (folder, folder / TRIAL))
    if not (isinstance(whole, Fit) and isinstance(of_trial, Fit)):
        return None
    with contextlib.suppress(ReleaseError):
        return Fits(Before(parent, whole), Before(open_release(folder / TRIAL), of_trial))
    return None


def keep(home: Home, steps: Steps, fit: Fit | None, release: Release) -> None:
    """Keep the fits of a refresh beside the release that it published, and no older ones."""
    shutil.rmtree(home.kept, ignore_errors=True)
    if fit is not None:
        folder = _folder(home, release.name)
        folder.mkdir(parents=True)
        (steps.folder / TRIAL).rename(folder / TRIAL)
        Steps(folder, TYPES).value(FIT, lambda: fit)


def fit_after(learned: Learned, changes: Changes | None, items: int) -> Fit:
    """What to go on from after a fit: of everything, or of what had changed."""
    if changes is None:
        return Fit(learned, np.zeros(items, np.int32), 0)
    return Fit(learned, changes.pending, changes.moved)


def changes_since(before: Before, snapshot: GraphSnapshot, graph: WeightedGraph) -> Changes:
    """What pairs and tags changed since a fit, item by item."""
    release, fit = before.release, before.fit
    items = len(snapshot.items)
    old_rows = release.items.rows(snapshot.items)  # (i,) -1: new
    gone, came = _pairs_changed(release, snapshot, graph, old_rows)
    counts = np.bincount(graph.user_items.indices, minlength=items)
    pending = np.bincount(gone[gone >= 0], minlength=items) + np.bincount(came, minlength=items)
    known = np.flatnonzero(old_rows >= 0)
    pending[known] += fit.pending[old_rows[known]]
    changed = (pending > 0) & (pending >= CHANGED * counts)
    changed |= (old_rows < 0) | _retagged(release, snapshot, graph, old_rows)
    return Changes(
        table=_table_by_rows(release, old_rows),
        learned=fit.learned.by_rows(old_rows),
        changed=changed,
        fresh=changed & (pending >= HARDLY_KNOWN * np.maximum(counts, 1)) | (old_rows < 0),
        pending=np.where(changed, 0, pending).astype(np.int32),
        moved=fit.moved + len(gone) + len(came),
    )


def too_much(changes: Changes, graph: WeightedGraph, say: Say = lambda _: None) -> bool:
    """Whether everything is to be fitted again; what is done is said."""
    pairs, items = max(graph.user_items.nnz, 1), len(changes.changed)
    if changes.moved > MOVED * pairs:
        say(f"fitting everything: {changes.moved:,} pairs came or went since that was done")
    elif graph.item_items.nnz:
        say("fitting everything: relations between items cannot be learned one by one")
    else:
        say(f"going on from the last fit: {changes.changed.sum():,} of {items:,} items changed")
        return False
    return True


def _pairs_changed(
    release: Release, snapshot: GraphSnapshot, graph: WeightedGraph, old_rows: I64
) -> tuple[I64, I64]:
    """Items of the pairs that went (-1: no longer there), and of those that came."""
    before = learned_pairs(release, snapshot, old_rows)
    now = _keys(graph.user_items)
    width = max(len(snapshot.items), 1)
    went = before[before >= 0]
    lost = np.full(np.count_nonzero(before < 0), -1, np.int64)
    gone = np.setdiff1d(went, now, assume_unique=True) % width
    return np.concatenate([gone, lost]), np.setdiff1d(now, went, assume_unique=True) % width


def learned_pairs(release: Release, snapshot: GraphSnapshot, old_rows: I64 | None = None) -> I64:
    """The pairs that a release learned from, as user x items + item in today's rows.

    -1 where the user or the item is no longer there.
    """
    rows = release.items.rows(snapshot.items) if old_rows is None else old_rows
    items = _turned_round(rows, len(release.items))
    users = _turned_round(release.users.rows(snapshot.users), len(release.users))
    histories = release.histories
    owners = users[np.repeat(np.arange(len(histories)), np.diff(histories.indptr))]
    own = items[histories.indices]
    there = (owners >= 0) & (own >= 0)
    return np.where(there, owners * len(snapshot.items) + own, -1)


def _turned_round(rows: I64, count: int) -> I64:
    """Today's row of each of `count` old rows, given the old row of each of today's; -1: none."""
    today = np.full(count, -1, np.int64)
    known = np.flatnonzero(rows >= 0)
    today[rows[known]] = known
    return today


def _retagged(
    release: Release, snapshot: GraphSnapshot, graph: WeightedGraph, old_rows: I64
) -> Flags:
    """(i,) items whose tags are not those that they had."""
    width = max(len(snapshot.tags), 1)
    items = _turned_round(old_rows, len(release.items))
    tags = _turned_round(release.tags.rows(snapshot.tags), len(release.tags))
    had = release.item_tags
    owners = items[np.repeat(np.arange(len(had)), np.diff(had.indptr))]
    own = tags[had.indices]
    flags = np.zeros(len(snapshot.items), np.bool_)
    flags[owners[(owners >= 0) & (own < 0)]] = True
    there = (owners >= 0) & (own >= 0)
    differ = np.setxor1d(owners[there] * width + own[there], _keys(graph.item_tags))
    flags[differ // width] = True
    return flags


def _keys(matrix: csr_array) -> I64:
    """Each entry of a matrix as row x columns + column."""
    rows = np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr))
    return rows * max(matrix.shape[1], 1) + matrix.indices


def _table_by_rows(release: Release, old_rows: I64) -> ItemTable:
    """The release's table in today's rows; new items have an empty row."""
    neighbours, scores = release.arrays["table.neighbours"], release.arrays["table.scores"]
    today = np.append(_turned_round(old_rows, len(release.items)), -1).astype(np.int32)
    there = (old_rows >= 0)[:, None]
    if not len(neighbours):
        empty = np.full((len(old_rows), neighbours.shape[1]), -1, np.int32)
        return ItemTable(empty, np.zeros(empty.shape, np.float32))
    own = np.where(there, today[neighbours[old_rows]], np.int32(-1))
    return ItemTable(own, np.where(own >= 0, scores[old_rows], np.float32(0)))


def _folder(home: Home, name: str) -> Path:
    return home.kept / digest_of(name)
