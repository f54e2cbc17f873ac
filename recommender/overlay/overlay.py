"""What applies on top of a release: an immutable value, replaced by a newer one.

It knows what a release cannot: who was erased, what is hidden, what users did since, and which
items came since. Rows are those of `release`, where newer items are appended to the older ones.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from graph.arrays import I32, I64, Flags
from graph.model import NO_ROW
from recommender.inbox.facts import PURPOSES
from recommender.overlay.appended import AppendedRelease
from recommender.overlay.histories import History, LiveUser, Weigher
from recommender.overlay.sessions import Sessions
from recommender.overlay.shown import ShownItems, counts_at
from recommender.overlay.state import Erasure, State
from recommender.overlay.trends import F64, Trends
from recommender.releases.release import Release


@dataclass(frozen=True)
class Overlay:
    """What applies on top of one release."""

    release: Release  # with the items that came since
    state: State
    hidden: Flags  # (i,) items that no list shows
    weigher: Weigher
    users: Mapping[str, LiveUser] = field(default_factory=dict)  # who did something since
    kinds: tuple[str, ...] = ()  # of events: those of the release first
    consent: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)  # said since
    # Users of the release (rows, ascending) who opted out of anything since: in no count of people.
    uncounted: I32 = field(default_factory=lambda: np.zeros(0, np.int32))
    agreed: frozenset[str] = frozenset(PURPOSES)  # to what whoever has not said agrees
    attributes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # said since
    sessions: Sessions = field(default_factory=Sessions)  # those that may still run
    shown: Mapping[str, ShownItems] = field(default_factory=dict)  # and not clicked
    trends: Trends | None = None  # what is chosen lately; None: nobody counts
    aliases: Mapping[str, str] = field(default_factory=dict)  # anonymous id -> whose it is
    sequence: int = 0  # number of the last fact of the journal that it contains
    journal: str = ""  # the journal's identity
    changed: int = 0  # the last fact that changed more than one user's history
    touched: Mapping[str, int] = field(default_factory=dict)  # user -> the last fact about them

    @classmethod
    def over(
        cls,
        release: Release,
        state: State | None = None,
        last: "Overlay | None" = None,
        agreed: frozenset[str] = frozenset(PURPOSES),
    ) -> "Overlay":
        """A release's overlay without live facts; flags of `last` are reused if they still hold."""
        state = state or State()
        if last is not None and last.release is release and last.state.hidden == state.hidden:
            hidden = last.hidden
        else:
            hidden = hidden_items(release, state)
        return cls(
            release=release,
            state=state,
            hidden=hidden,
            weigher=last.weigher if last is not None and last.release is release
            else Weigher(release),
            kinds=tuple(release.event_kinds),
            agreed=agreed,
        )  # fmt: skip

    @classmethod
    def without(cls, release: Release, users: Iterable[str]) -> "Overlay":
        """The overlay of a release from which some users are erased; nothing is written."""
        state = State(salt="00")
        erased = tuple(Erasure(state.digest(user), None) for user in users)
        return cls.over(release, State("00", erased))

    def under(self, state: State) -> "Overlay":
        """The same with another state."""
        if state.hidden == self.state.hidden:
            return replace(self, state=state)
        return replace(self, state=state, hidden=hidden_items(self.release, state), sequence=-1)

    def version(self, users: Iterable[str]) -> str:
        """A text that changes whenever anything changes that applies to these users.

        Two workers that know the same facts of the catalogue and these users give the same text.
        """
        heard = [str(self.touched.get(user, 0)) for user in users]
        agreed = ",".join(sorted(self.agreed))
        of_all = (self.release.name, self.state.name, self.journal, str(self.changed), agreed)
        return " ".join((*of_all, *heard))

    def trending(self, window: str, now: int) -> tuple[I64, F64]:
        """Rows of the items that enough people chose lately, most first; how many did."""
        if self.trends is None:
            return np.zeros(0, np.int64), np.zeros(0)
        return self.trends.leading(window, now - now % 60, len(self.release.items))

    def has_history(self, user: str) -> bool:
        """Whether anything that a user did speaks for an item, by the release or since."""
        row = self.user_row(user)
        starts = self.release.histories.indptr
        if row != NO_ROW and starts[row] < starts[row + 1]:
            return True
        live = self.history(user)
        return live is not None and len(live.items) > 0

    def own_name(self, user: str) -> str:
        """The id of a user who may be named by an anonymous id; any other id as it is."""
        while user in self.aliases:
            user = self.aliases[user]
        return user

    def user_row(self, user: str) -> int:
        """The row of a user; `NO_ROW` if the user is unknown or erased."""
        row = int(self.release.users.row(user))
        if row != NO_ROW and self._gone and self.state.digest(user) in self._gone:
            return NO_ROW
        return row

    def knows(self, user: str) -> bool:
        """Whether anything is known of a user."""
        return user in self.users or self.user_row(user) != NO_ROW

    def history(self, user: str) -> History | None:
        """What a user did, newer events included; None where the release's own history holds."""
        live = self.users.get(user)
        if live is None:
            return None
        return self.weigher.history(self.user_row(user), live, self.kinds)

    def shown_to(self, user: str, now: int) -> dict[int, int]:
        """How often items (rows) were shown to a user lately and not clicked; empty: not known."""
        shown = self.shown.get(user)
        if shown is None or self.why_impersonal(user) is not None:
            return {}
        if self._gone and self.state.digest(user) in self._gone:
            return {}
        return counts_at(shown, now)

    def why_impersonal(self, user: str) -> str | None:
        """Why a user's history and attributes may not be used for lists; None: they may."""
        if not self.agrees(user, "personalise"):
            return f"the user {user!r} does not agree to personal lists"
        row, now_agrees = self.user_row(user), self.consent.get(user, {}).get("train", False)
        if row == NO_ROW or self.release.may_learn_from(row) or now_agrees:
            return None
        return (
            f"the user {user!r} does not agree to be learned from, so the list is not personal; "
            "what they hid stays hidden"
        )

    def said_since(self, user: str) -> Mapping[str, Any] | None:
        """Attributes that a user gave since the release; None: none, or they may not be used."""
        attributes = self.attributes.get(user)
        return attributes if attributes is None or self.why_impersonal(user) is None else None

    def attributes_of(self, user: str) -> Mapping[str, Any]:
        """The attributes of a user, as far as they may be used for lists."""
        if self.why_impersonal(user) is not None:
            return {}
        since = self.said_since(user)
        if since is not None:
            return since
        row = self.user_row(user)
        return {} if row == NO_ROW else self.release.user_attributes(row)

    def agrees(self, user: str, purpose: str) -> bool:
        """Whether a user agrees to a purpose: as they said, or as holds for who has not said."""
        since = self.consent.get(user)
        if since is not None and purpose in since:
            return since[purpose]
        if purpose in self.agreed:
            return True
        row = int(self.release.users.row(user)) if since is None else NO_ROW
        return row != NO_ROW and self.release.agrees_to_all(row)

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
        return self.state.gone(self.release.watermark)


def base_of(release: Release) -> Release:
    """The release as it was written, without the items that came since."""
    return release.base if isinstance(release, AppendedRelease) and release.base else release


def hidden_items(release: Release, state: State) -> Flags:
    """(i,) the items that no list shows: by the newest snapshot, else by the release's own."""
    if state.hidden is None:
        return np.asarray(release.hidden)
    hidden = np.zeros(len(release.items), np.bool_)
    rows = release.items.rows(state.hidden)
    hidden[rows[rows != NO_ROW]] = True
    return hidden
