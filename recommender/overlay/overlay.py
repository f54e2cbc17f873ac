"""What holds over a release now: one immutable value, replaced by a newer one.

The ranker asks it beside the release: who is gone, what is hidden. Rows are the release's.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from graph.model import NO_ROW
from recommender.overlay.state import State
from recommender.releases.release import Release

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Overlay:
    """What stands over one release."""

    release: Release
    state: State
    hidden: Flags  # (i,) items that no list shows

    @classmethod
    def over(
        cls, release: Release, state: State | None = None, last: "Overlay | None" = None
    ) -> "Overlay":
        """The overlay of a release in a state; `last` lends its flags when they are the same."""
        state = state or State()
        if last is not None and last.release is release and last.state.hidden == state.hidden:
            return cls(release, state, last.hidden)
        if state.hidden is None:
            return cls(release, state, np.asarray(release.hidden))
        hidden = np.zeros(len(release.items), np.bool_)
        rows = release.items.rows(state.hidden)
        hidden[rows[rows != NO_ROW]] = True
        return cls(release, state, hidden)

    @classmethod
    def without(cls, release: Release, users: Iterable[str]) -> "Overlay":
        """The overlay of a release from which some users are erased; nothing is written."""
        from recommender.overlay.state import Erasure

        state = State(salt="00")
        erased = tuple(Erasure(state.digest(user), None) for user in users)
        return cls.over(release, State("00", erased))

    def user_row(self, user: str) -> int:
        """The row of a user, `NO_ROW` when nobody knows them, or when they are erased."""
        row = int(self.release.users.row(user))
        if row != NO_ROW and self._gone and self.state.digest(user) in self._gone:
            return NO_ROW
        return row

    @cached_property
    def gone(self) -> Flags:
        """(u,) who is erased."""
        users = self.release.users
        flags = np.zeros(len(users), np.bool_)
        if self._gone:
            digests = map(self.state.digest, users)
            flags[:] = [digest in self._gone for digest in digests]
        return flags

    @cached_property
    def _gone(self) -> frozenset[str]:
        return self.state.gone(int(self.release.manifest.get("watermark", 0)))
