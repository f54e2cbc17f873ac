"""Several subjects as arrays, as rankers take them."""

from collections.abc import Sequence, Sized
from itertools import accumulate
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from embeddings.vectors.sequence_model import REACH
from graph.arrays import F32, I32, I64
from graph.model import NO_ROW
from recommender.ranking.sources import FRIENDS, SEQUENCE, TRENDING
from recommender.serving.subject import Subject


def asked_friends(known: Sequence[Subject]) -> dict[str, npt.NDArray[Any]]:
    """(b, m) rows of the friends who are asked, -1 pads; nothing where nobody's are."""
    most = max(len(subject.friends) for subject in known)
    if most == 0:
        return {}
    rows = np.full((len(known), most), NO_ROW, np.int32)
    for number, subject in enumerate(known):
        rows[number, : len(subject.friends)] = subject.friends
    return {FRIENDS: rows}


def chosen_lately(known: Sequence[Subject]) -> dict[str, npt.NDArray[Any]]:
    """(b, 2, m) rows that are trending and who chose each, 0 pads; nothing where nobody asks."""
    most = max(subject.trending.shape[1] for subject in known)
    if most == 0:
        return {}
    lately = np.zeros((len(known), 2, most))
    for number, subject in enumerate(known):
        lately[number, :, : subject.trending.shape[1]] = subject.trending
    return {TRENDING: lately}


def in_order_of(known: Sequence[I32]) -> dict[str, npt.NDArray[Any]]:
    """(b, l) the newest of each history, -1 pads at the beginning; nothing if all are empty."""
    most = min(max(map(len, known), default=0), REACH)
    if most == 0:
        return {}
    rows = np.full((len(known), most), NO_ROW, np.int32)
    for own, items in zip(rows, known, strict=True):
        newest = items[-most:]
        own[most - len(newest) :] = newest
    return {SEQUENCE: rows}


def interests_of(known: Sequence[Subject]) -> I32 | None:
    """The interest of each history entry; None where nobody has more than one."""
    if all(subject.interests is None for subject in known):
        return None
    none = [np.zeros(len(subject.items), np.int32) for subject in known]
    several = [subject.interests for subject in known]
    return np.concatenate([n if s is None else s for n, s in zip(none, several, strict=True)])


def reads_of(known: Sequence[Subject]) -> I32 | None:
    """(b,) which of the release's tables each reads; None: all read the first."""
    numbers = [subject.reads for subject in known]
    return np.array(numbers, np.int32) if any(numbers) else None


class Newest(Protocol):
    """Whose newest entries may read what follows what; see `Subject`."""

    @property
    def newest(self) -> F32 | None:
        """(h,) the weights of the history's entries for that; None: there is no order."""


def newest_of(known: Sequence[Newest]) -> F32 | None:
    """The weight of each history entry where `follows` is read; None where nobody has one."""
    parts = [subject.newest for subject in known]
    some = [part for part in parts if part is not None]
    return joined(some) if len(some) == len(parts) else None


def joined(parts: list[Any]) -> Any:
    """Arrays joined; read-only, so that compiled code always gets the same type."""
    together = parts[0] if len(parts) == 1 else np.concatenate(parts)
    together.flags.writeable = False
    return together


def starts_of(lists: Sequence[Sized]) -> I64:
    return np.array([0, *accumulate(map(len, lists))], np.int64)
