"""The users most like one, told of many together and never of one.

Nearness is the cosine of the users' vectors: their histories times the items' spectral vectors.
Nothing is told that fewer than `FEWEST` of a circle share, and nothing at all of a smaller circle.
"""

from functools import cached_property

import numpy as np
import numpy.typing as npt

from graph.errors import InputError, NotFound
from recommender.ranking.candidates import F32, I64
from recommender.ranking.filters import Filters
from recommender.ranking.request import Filter
from recommender.releases.release import Release

FEWEST = 20  # users behind everything that is told
CIRCLE = 200  # nearest users that are looked at
SPECTRAL = "vectors.spectral"


class Circles:
    """Finds the users like one in a release."""

    def __init__(self, release: Release, filters: Filters) -> None:
        """Hold the release; the vectors of the users are made when first asked for."""
        self._release = release
        self._filters = filters

    def of(self, user: str, erased: frozenset[str]) -> I64:
        """Rows of the up to `CIRCLE` users most like one, the nearest first.

        Raises:
            NotFound: nobody knows the user, or the user is erased.
            InputError: fewer than `FEWEST` other users have a history.
        """
        release = self._release
        row = release.users.row(user)
        if row < 0 or user in erased:
            raise NotFound(f"there is no user {user!r} in release {release.name}")
        gone = release.users.rows(sorted(erased))
        likeness = self._vectors @ self._vectors[row]  # (u, d) @ (d,) -> (u,)
        likeness[self._silent] = -np.inf
        likeness[gone[gone >= 0]] = -np.inf
        likeness[row] = -np.inf
        order = np.argsort(-likeness, kind="stable")[:CIRCLE]
        circle = order[np.isfinite(likeness[order])]
        if len(circle) < FEWEST:
            raise InputError(
                f"only {len(circle)} other users have a history; "
                f"{FEWEST} must stand behind an answer"
            )
        return circle

    def shared(self, circle: I64) -> I64:
        """(i,) how many of a circle chose each item; 0 where fewer than `FEWEST`, or hidden."""
        chosen = self._release.matrix("histories")[circle]
        counts = np.bincount(chosen.indices, minlength=len(self._release.items))
        counts[(counts < FEWEST) | ~self._filters.mask(Filter())] = 0
        return counts

    @cached_property
    def _vectors(self) -> F32:
        """(u, d) of length 1, or 0 for users without a history."""
        histories = self._release.matrix("histories")
        vectors = np.asarray(histories @ self._release.arrays[SPECTRAL], np.float32)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        result: F32 = vectors / np.where(norms > 0, norms, 1)
        return result

    @cached_property
    def _silent(self) -> npt.NDArray[np.bool_]:
        result: npt.NDArray[np.bool_] = ~self._vectors.any(axis=1)
        return result
