"""The folder of copies for exploring: how a copy gets into it, and how all copies are forgotten.

Nothing erased may come back through a copy, also when one is being made while somebody erases:
whoever makes a copy notes the mark of the last erasure before reading the store, and the copy is
put in its place only if that mark still stands. Both sides hold a lock for the moment it takes.
"""

import contextlib
import fcntl
import hashlib
import hmac
import os
import secrets
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

_ASIDE = ".making-"


class ErasedMeanwhile(Exception):  # noqa: N818 - not a failure: make the copy again
    """Somebody was erased while this copy was made from what the store held before."""


def mark_of_erasure(folder: Path) -> str:
    """What the last erasure left behind; another one each time."""
    try:
        return (folder / "erasure").read_text()
    except FileNotFoundError:
        return ""


@contextlib.contextmanager
def made_aside(path: Path, mark: str) -> Iterator[Path]:
    """A path to write a copy to, which is put at `path` in the end; nothing is left of a failure.

    Args:
        path: `<folder>/<name>/<file>`.
        mark: `mark_of_erasure(folder)` as it was before the store was read.

    Raises:
        ErasedMeanwhile: the mark is another one now; the copy is gone.
    """
    folder = path.parent.parent
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f"{_ASIDE}{os.getpid()}-{secrets.token_hex(4)}-{path.name}"
    try:
        try:
            yield aside
        except BaseException as error:  # what is written to may have been deleted meanwhile
            if isinstance(error, Exception) and mark_of_erasure(folder) != mark:
                raise ErasedMeanwhile from error
            raise
        with _alone(folder):
            if mark_of_erasure(folder) != mark:
                raise ErasedMeanwhile
            path.parent.mkdir(exist_ok=True)
            aside.replace(path)
    finally:
        for leftover in folder.glob(f"{aside.name}*"):
            leftover.unlink(missing_ok=True)


def keep_only(folder: Path, name: str) -> None:
    """Delete the copies of other snapshots, and what killed makers of copies left."""
    with _alone(folder):
        _delete(folder, {name, "findings"})
        for aside in folder.glob(f"{_ASIDE}*"):
            if not is_running(int(aside.name.removeprefix(_ASIDE).split("-")[0])):
                aside.unlink(missing_ok=True)


def forget(folder: Path) -> None:
    """After an erasure: delete all copies and findings, those in the making too."""
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        (folder / "erasure").write_text(secrets.token_hex(16))
        _delete(folder, set())
        for aside in folder.glob(f"{_ASIDE}*"):
            aside.unlink(missing_ok=True)


def _delete(folder: Path, keep: set[str]) -> None:
    for old in folder.iterdir():
        if old.is_dir() and old.name not in keep:
            shutil.rmtree(old)


def is_running(pid: int) -> bool:
    """Whether there is a process of that number, whoever owns it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


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
    """What strangers see in place of a user's id: the same for the same secret."""
    return "user-" + hmac.new(secret, user.encode(), hashlib.sha256).hexdigest()[:20]
