"""What holds for every release, in one file of the home: hidden items and erased persons.

A release holds the flags of its own snapshot. Going back to an older one must not bring back what
was hidden or erased since, so the newest state of both is here, and every worker reads it.

Erased ids are kept as keyed digests. An erasure covers only what was there: it holds for
releases whose snapshot is not younger, so that a person who comes back later is a new person.
"""

import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from graph.durable import locked, replace_file
from graph.errors import InputError
from recommender.releases.home import Home

DIGEST_BYTES = 16


@dataclass(frozen=True)
class Erasure:
    """One erased person."""

    digest: str
    until: int | None  # the store's watermark when it was done; None: it is under way


@dataclass(frozen=True)
class State:
    """The newest state: items that no list may show, and users who were erased."""

    salt: str = ""
    erased: tuple[Erasure, ...] = ()
    hidden: tuple[str, ...] | None = None  # item ids; None: each release's own flags hold

    def digest(self, user: str) -> str:
        """The keyed digest under which an id is kept."""
        key = bytes.fromhex(self.salt)
        return hashlib.blake2b(user.encode(), key=key, digest_size=DIGEST_BYTES).hexdigest()

    @cached_property
    def name(self) -> str:
        """A text that differs when the state differs."""
        return hashlib.blake2b(repr(self).encode(), digest_size=DIGEST_BYTES).hexdigest()

    def gone(self, watermark: int) -> frozenset[str]:
        """Digests of who is erased from a release whose snapshot has this watermark."""
        return frozenset(
            erasure.digest
            for erasure in self.erased
            if erasure.until is None or erasure.until >= watermark
        )


def read_state(home: Home) -> State:
    """The state of a home; empty if nothing was hidden or erased yet.

    Raises:
        InputError: the file is damaged; rather than guess, nothing is served.
    """
    try:
        content: dict[str, Any] = json.loads(home.state.read_text(encoding="utf-8"))
        erased = tuple(Erasure(**entry) for entry in content["erased"])
        hidden = content["hidden"]
        return State(content["salt"], erased, None if hidden is None else tuple(hidden))
    except FileNotFoundError:
        return State()
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{home.state} cannot be read ({error}); it holds who was erased and what is hidden: "
            "restore it from a backup of the home"
        ) from error


def was_erased(home: Home, user: str) -> bool:
    """Whether a person was erased, and a release may still know of them."""
    state = read_state(home)
    return bool(state.salt) and state.digest(user) in {erasure.digest for erasure in state.erased}


def pseudonym(home: Home, user: str) -> str:
    """The keyed digest of a user, for logs; a home without a key gets one."""
    state = read_state(home)
    if not state.salt:
        with locked(home.state_lock):
            state = _salted(read_state(home))
            _write(home, state)
    return state.digest(user)


def begin_erasure(home: Home, user: str) -> None:
    """Erase a person from everything that is served, before the store forgets them."""
    with locked(home.state_lock):
        state = _salted(read_state(home))
        digest = state.digest(user)
        kept = tuple(erasure for erasure in state.erased if erasure.digest != digest)
        _write(home, replace(state, erased=(*kept, Erasure(digest, None))))


def end_erasure(home: Home, user: str, watermark: int) -> None:
    """The store has forgotten the person; releases of later snapshots know nothing of them."""
    with locked(home.state_lock):
        state = read_state(home)
        digest = state.digest(user)
        done = Erasure(digest, watermark)
        erased = tuple(done if erasure.digest == digest else erasure for erasure in state.erased)
        _write(home, replace(state, erased=erased))


def note_hidden(home: Home, items: Sequence[str], oldest: int | None) -> None:
    """Say which items are hidden by the newest snapshot, and drop erasures that are over.

    Args:
        home: of the catalogue.
        items: ids of all hidden items.
        oldest: the lowest watermark among the releases that can still be served; None: keep all.
    """
    with locked(home.state_lock):
        state = read_state(home)
        erased = tuple(
            erasure
            for erasure in state.erased
            if oldest is None or erasure.until is None or erasure.until >= oldest
        )
        _write(home, replace(state, hidden=tuple(items), erased=erased))


def _salted(state: State) -> State:
    return state if state.salt else replace(state, salt=secrets.token_hex(DIGEST_BYTES))


def _write(home: Home, state: State) -> None:
    replace_file(home.state, json.dumps(asdict(state)) + "\n")
