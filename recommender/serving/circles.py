"""The users most similar to a user; only what many of them share is shown.

Nearness is the cosine of the users' vectors: their histories times the items' spectral vectors.
Nothing is shown that fewer than `FEWEST` members of a circle share, and nothing at all when the
circle itself is smaller than that.
"""

from dataclasses import replace
from functools import cached_property

import numpy as np

from graph.arrays import F32, I64, Flags, unit_rows
from graph.errors import InputError, NotFound
from graph.model import NO_ROW
from recommender.overlay.overlay import Overlay
from recommender.releases.release import Release

FEWEST = 20  # users who must share whatever is told
CIRCLE = 200  # nearest users that are looked at
SPECTRAL = "spectral"


class Circles:
    """Finds the users of a release who are most like a given user."""

    def __init__(self, release: Release) -> None:
        """Hold the release; the vectors of the users are made when first asked for."""
        self._release = release

    def of(self, user: str, overlay: Overlay) -> I64:
        """Rows of at most `CIRCLE` users who are most like the user, nearest first.

        Who opted out of anything since the release is none of them.

        Raises:
            NotFound: nobody knows the user, or the user is erased.
            InputError: fewer than `FEWEST` other users have a history.
        """
        release = self._release
        row = overlay.user_row(user)
        if row == NO_ROW:
            raise NotFound(f"there is no user {user!r} in release {release.name}")
        likeness = self._vectors @ self._vectors[row]  # (u, d) @ (d,) -> (u,)
        likeness[self._silent] = -np.inf
        likeness[overlay.gone] = -np.inf
        likeness[overlay.uncounted] = -np.inf
        likeness[row] = -np.inf
        order = np.argsort(-likeness, kind="stable")[:CIRCLE]
        circle = order[np.isfinite(likeness[order])]
        if len(circle) < FEWEST:
            raise InputError(
                f"only {len(circle)} other users have a history; {FEWEST} are needed for an answer"
            )
        return circle

    def shared(self, circle: I64, allowed: Flags) -> I64:
        """(i,) how many of a circle chose each item; 0 where fewer than `FEWEST`, or forbidden."""
        chosen = self._release.histories.matrix[circle]
        counts = np.bincount(chosen.indices, minlength=len(self._release.items))
        counts[(counts < FEWEST) | ~allowed] = 0
        return counts

    @cached_property
    def _vectors(self) -> F32:
        """(u, d) of length 1, or 0 for users without a history."""
        items = self._release.vectors[SPECTRAL]  # those of the release: newer ones have none
        histories = replace(self._release.histories, width=len(items)).matrix
        return unit_rows(np.asarray(histories @ items, np.float32))

    @cached_property
    def _silent(self) -> Flags:
        result: Flags = ~self._vectors.any(axis=1)
        return result
