"""Puts copies for exploring into their folder, and deletes them all after an erasure.

Nothing erased may come back through a copy, not even through one that is being made during an
erasure. So whoever makes a copy notes the mark of the last erasure before reading the store, and
the copy is put in its place only if the mark is still the same. Both sides hold a lock for this
moment.
"""

import contextlib
import hashlib
import hmac
import os
import secrets
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

from graph.durable import locked

_ASIDE = ".making-"
LOCK = ".lock"


class ErasedMeanwhile(Exception):  # noqa: N818 - not a failure: make the copy again
    """A user was erased while this copy was made from an earlier state of the store."""


def mark_of_erasure(folder: Path) -> str:
    """The mark of the last erasure; each erasure leaves a different one."""
    try:
        return (folder / "erasure").read_text()
    except FileNotFoundError:
        return ""


@contextlib.contextmanager
def made_aside(path: Path, mark: str) -> Iterator[Path]:
    """A path to write a copy to, which is moved to `path` at the end; a failure leaves nothing.

    Args:
        path: `<folder>/<name>/<file>`.
        mark: `mark_of_erasure(folder)` as it was before the store was read.

    Raises:
        ErasedMeanwhile: the mark has changed; the copy is deleted.
    """
    folder = path.parent.parent
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f"{_ASIDE}{os.getpid()}-{secrets.token_hex(4)}-{path.name}"
    try:
        try:
            yield aside
        except BaseException as error:  # the copy may have been deleted while it was written
            if isinstance(error, Exception) and mark_of_erasure(folder) != mark:
                raise ErasedMeanwhile from error
            raise
        with locked(folder / LOCK):
            if mark_of_erasure(folder) != mark:
                raise ErasedMeanwhile
            path.parent.mkdir(exist_ok=True)
            aside.replace(path)
    finally:
        for leftover in folder.glob(f"{aside.name}*"):
            leftover.unlink(missing_ok=True)


def keep_only(folder: Path, name: str) -> None:
    """Delete the copies of other snapshots, and leftovers of processes killed while copying."""
    with locked(folder / LOCK):
        _delete(folder, {name, "findings"})
        for aside in folder.glob(f"{_ASIDE}*"):
            if not is_running(int(aside.name.removeprefix(_ASIDE).split("-")[0])):
                aside.unlink(missing_ok=True)


def forget(folder: Path) -> None:
    """After an erasure: delete all copies and findings, also those just being made."""
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / LOCK):
        (folder / "erasure").write_text(secrets.token_hex(16))
        _delete(folder, set())
        for aside in folder.glob(f"{_ASIDE}*"):
            aside.unlink(missing_ok=True)


def _delete(folder: Path, keep: set[str]) -> None:
    for old in folder.iterdir():
        if old.is_dir() and old.name not in keep:
            shutil.rmtree(old)


def is_running(pid: int) -> bool:
    """Whether a process with that number is running, whoever owns it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def local_secret(folder: Path) -> bytes:
    """The secret that keys the pseudonyms of this home; made at the first call."""
    path = folder / "secret"
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        aside = path.with_name(f".secret.{os.getpid()}.{threading.get_ident()}")
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(32))
        try:
            os.link(aside, path)  # fails when another process was first
        finally:
            aside.unlink()
    return path.read_bytes()


def pseudonym(secret: bytes, user: str) -> str:
    """What others see instead of a user's id; the same for the same secret."""
    return "user-" + hmac.new(secret, user.encode(), hashlib.sha256).hexdigest()[:20]
