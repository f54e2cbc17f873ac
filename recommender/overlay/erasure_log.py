"""Who was erased, kept apart from the home, so that restoring an old home brings nobody back.

The file lies outside the home and its backups (setting `erasure_log`). It begins with a key; each
further line is a keyed digest of an id and the time of the erasure. The home counts the lines that
it has heard of. A home from a backup has heard of fewer: whoever the further lines stand for is
erased again, before anything is served or learned.
"""

import hashlib
import json
import secrets
from collections.abc import Callable
from pathlib import Path

from graph.durable import locked, replace_file
from graph.errors import InputError
from recommender.releases.home import Home

DIGEST_BYTES = 16


def note(home: Home, log: Path, user: str, *, now: int) -> None:
    """Write down an erasure; on the disk when this returns. `now` is in seconds since 1970."""
    with locked(home.state_lock):
        key, lines = _read(log)
        line = json.dumps({"person": _digest(key, user), "at": now})
        replace_file(log, "\n".join([json.dumps({"key": key}), *lines, line]) + "\n")
        if _heard(home) == len(lines):
            _hear(home, len(lines) + 1)


def unheard(home: Home, log: Path) -> tuple[Callable[[str], bool], int]:
    """Whether somebody was erased of whom the home has not heard, and how many lines it missed."""
    key, lines = _read(log)
    sought = {json.loads(line)["person"] for line in lines[_heard(home) :]}
    return lambda user: _digest(key, user) in sought, max(len(lines) - _heard(home), 0)


def hear_all(home: Home, log: Path) -> None:
    """Say that the home has heard of every line."""
    _hear(home, len(_read(log)[1]))


def _digest(key: str, user: str) -> str:
    key_bytes = bytes.fromhex(key)
    return hashlib.blake2b(user.encode(), key=key_bytes, digest_size=DIGEST_BYTES).hexdigest()


def _read(log: Path) -> tuple[str, list[str]]:
    """The key and the lines of a log; a new key where there is none yet."""
    try:
        first, *lines = log.read_text(encoding="utf-8").splitlines()
        return str(json.loads(first)["key"]), lines
    except FileNotFoundError:
        return secrets.token_hex(32), []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{log} cannot be read ({error}); it says who was erased (setting erasure_log): bring "
            "it back before going on"
        ) from error


def _heard(home: Home) -> int:
    try:
        return int(home.erasures_heard.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return 0
    except (OSError, ValueError) as error:
        raise InputError(f"{home.erasures_heard} cannot be read: {error}") from error


def _hear(home: Home, lines: int) -> None:
    replace_file(home.erasures_heard, f"{lines}\n")
