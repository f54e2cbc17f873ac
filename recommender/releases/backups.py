"""A copy of a whole home in one file, taken while servers run, and the way back.

The file is a compressed tar archive; its first member says what follows, with sizes and SHA-256.
With a recipient it is encrypted by age (https://age-encryption.org), so `age` itself opens it, too.
What is encrypted in the home, the journal, is so in the copy, by the same key, which is not in it.
Releases, store and journal belong together: while they are copied the lock of publishing is held,
so nothing is published or pruned, and the journal loses nothing that the copies need.
"""

import contextlib
import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from graph.durable import locked, sync
from graph.errors import InputError
from graph.sqlite_file import connect, opening
from recommender.releases.age import encrypting, recipient_of
from recommender.releases.home import Home
from recommender.releases.journal_key import key_of
from recommender.releases.publishing import LOCK

CONTENTS = "backup.json"
VERSION = 1
LEFT_OUT = ("explore", "kept", "staging", "tuning", "unfinished")  # folders that are made again
SQLITE = ".sqlite"
HEADER = b"age-encryption.org/"
T = TypeVar("T")


@dataclass(frozen=True)
class Backup:
    """What a backup holds."""

    created_at: int  # seconds since 1970
    files: dict[str, dict[str, Any]]  # path in the home -> bytes, sha256

    @property
    def bytes(self) -> int:
        """Size of all files, not compressed."""
        return sum(file["bytes"] for file in self.files.values())


def save(home: Home, path: Path, *, now: int, recipient: str | None = None) -> Backup:
    """Write a backup of a home to a new file, which is on the disk when this returns.

    Raises:
        InputError: the file exists, or `recipient` is no public key of age.
    """
    key = None if recipient is None else recipient_of(recipient)
    if path.exists():
        raise InputError(f"{path} exists; name a new file, or remove it")
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with _copied(home) as folder, aside.open("xb") as file:
            aside.chmod(0o600)
            backup = Backup(now, dict(_sums(folder)))
            _write(folder, backup, file, key)
        sync(aside)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    sync(path.resolve().parent)
    return backup


def unpack(path: Path, folder: Path, *, identity: Path | None = None) -> Backup:
    """Write the files of a backup into a new folder, each checked.

    Args:
        path: the backup.
        folder: must not exist.
        identity: the file with the private key of age, if the backup is encrypted.

    Raises:
        InputError: this is no backup, it is damaged, cut off or encrypted for another key.
    """
    with path.open("rb") as file:
        encrypted = file.read(len(HEADER)) == HEADER
    if encrypted and identity is None:
        raise InputError(f"{path} is encrypted; name the file with the key with --identity")
    keys = _identities(identity) if encrypted and identity is not None else None
    try:
        folder.mkdir(parents=True)
        with path.open("rb") as file:
            backup = _read(folder, file, keys)
        _check(folder, backup)
    except (tarfile.TarError, EOFError, ValueError, KeyError, OSError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, InputError | FileExistsError):
            raise
        raise InputError(f"{path} is no backup, or is damaged ({error}); take another") from error
    return backup


# ── what is copied ───────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def _copied(home: Home) -> Iterator[Path]:
    """A folder beside the originals with everything as it was at one moment."""
    folder = home.folder / f".backup-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    key = key_of(home)
    try:
        with locked(home.releases / LOCK):
            for path in _files(home.folder):
                target = folder / path.relative_to(home.folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                _copy(path, target, key if path.parent == home.inbox.parent else None)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _files(folder: Path) -> list[Path]:
    """The store first and the journal later: so the journal lacks nothing that the store has."""
    paths = []
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        hidden = any(part.startswith(".") for part in parts)
        left_out = any(part in LEFT_OUT for part in parts[:2])
        beside = path.name.endswith((f"{SQLITE}-wal", f"{SQLITE}-shm", ".lock"))
        if path.is_file() and not (hidden or left_out or beside):
            paths.append(path)
    return sorted(paths, key=lambda path: (path.suffix != SQLITE, path.parent != folder, path))


def _copy(path: Path, target: Path, key: str | None) -> None:
    if path.suffix == SQLITE:
        with contextlib.ExitStack() as both:
            both.enter_context(opening(path))
            source, copy = (
                both.enter_context(contextlib.closing(connect(file, key)))
                for file in (path, target)
            )
            source.backup(copy)
        return
    with contextlib.suppress(FileNotFoundError):  # a report or a reject that went meanwhile
        shutil.copyfile(path, target)


def _sums(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), _sum(path)


def _sum(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def _check(folder: Path, backup: Backup) -> None:
    for name, facts in backup.files.items():
        path = folder / name
        if not path.is_file() or _sum(path) != facts:
            raise InputError(f"{name} in the backup is missing or damaged; take another backup")


# ── the archive ──────────────────────────────────────────────────────────────────────────


def _write(folder: Path, backup: Backup, file: IO[bytes], key: Any) -> None:
    about = {"version": VERSION, "created_at": backup.created_at, "files": backup.files}
    content = json.dumps(about).encode()

    def archive(target: IO[bytes]) -> None:
        packed = gzip.GzipFile("", "wb", compresslevel=1, fileobj=target, mtime=0)
        with packed, tarfile.open(fileobj=packed, mode="w|") as tar:
            first = tarfile.TarInfo(CONTENTS)
            first.size, first.mode, first.mtime = len(content), 0o600, backup.created_at
            tar.addfile(first, io.BytesIO(content))
            for name in backup.files:
                tar.add(folder / name, name, recursive=False)

    if key is None:
        archive(file)
        return
    with encrypting(file, key) as target:
        archive(target)


def _read(folder: Path, file: IO[bytes], keys: list[Any] | None) -> Backup:
    def extract(source: IO[bytes]) -> Backup:
        packed = gzip.GzipFile(fileobj=source, mode="rb")
        with packed, tarfile.open(fileobj=packed, mode="r|") as tar:
            first = tar.next()
            opened = first and first.name == CONTENTS and tar.extractfile(first)
            if not opened:
                raise InputError(f"{file.name} is no backup: it does not begin with {CONTENTS}")
            about = json.load(opened)
            if about["version"] != VERSION:
                raise InputError(f"{file.name} was written by another version; use that one")
            while (member := tar.next()) is not None:
                _put(folder, member, tar.extractfile(member))
            while packed.read(1 << 20):
                pass  # to the end, where it says whether all of it is there
        return Backup(about["created_at"], about["files"])

    if keys is None:
        return extract(file)
    import pyrage

    def decrypt(target: IO[bytes]) -> None:
        try:
            pyrage.decrypt_io(file, target, keys)
        except pyrage.DecryptError as error:
            raise InputError(f"{file.name} is encrypted for another key, or is damaged") from error

    return _through(decrypt, extract)


def _put(folder: Path, member: tarfile.TarInfo, content: IO[bytes] | None) -> None:
    """Write a member of an archive into a folder; one that is no file, or leads out, is refused.

    `TarFile.extract` looks after that only since Python 3.11.4.
    """
    target = folder / member.name
    if content is None or not target.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"the backup holds {member.name!r}, which is no file of a home")
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as file:
        shutil.copyfileobj(content, file)
    target.chmod(member.mode & 0o755)
    os.utime(target, (member.mtime, member.mtime))


def _through(write: Callable[[IO[bytes]], None], read: Callable[[IO[bytes]], T]) -> T:
    """What `read` makes of what `write` writes, without a file in between."""
    source, target = os.pipe()

    def feed() -> None:
        with contextlib.suppress(BrokenPipeError), os.fdopen(target, "wb") as pipe:
            write(pipe)

    with ThreadPoolExecutor(1) as pool:
        fed = pool.submit(feed)
        try:
            with os.fdopen(source, "rb") as pipe:
                result = read(pipe)
        except Exception:
            fed.result()  # says better what was wrong
            raise
        fed.result()
    return result


# ── keys ─────────────────────────────────────────────────────────────────────────────────


def _identities(path: Path) -> list[Any]:
    import pyrage

    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        made = [pyrage.x25519.Identity.from_str(key) for key in keys]
    except (OSError, UnicodeDecodeError, pyrage.IdentityError) as error:
        raise InputError(f"{path} holds no private key of age ({error})") from error
    if not made:
        raise InputError(f"{path} holds no private key of age")
    return made
