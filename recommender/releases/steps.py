"""Finished steps of a refresh, kept until it is published: a killed refresh goes on after them.

unfinished/
└── 3f9c…/               digest of all that goes into the refresh
    ├── began.json       the time that this refresh treats as the present
    ├── choice/          a step's result: value.json, its arrays as .npy, sums.json
    ├── trial/           a step that made a release
    └── .aside-choice/   a step that was not finished; it is computed again

The digest covers the configuration, the release before, erasures, loads and the code itself. The
snapshot is the first step, so a refresh that goes on learns from what the killed one had read; what
events came since, the overlay adds to its release. A damaged result is computed again.
"""

import contextlib
import fcntl
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import pyarrow as pa

from graph.arrays import U8
from graph.durable import replace_file, save_array, sync
from graph.errors import ReleaseError
from graph.freed import give_back_now
from graph.vocabulary import Vocabulary
from recommender.releases.home import Home
from recommender.releases.publishing import open_release
from recommender.releases.release import Release

Say = Callable[[str], None]
T = TypeVar("T")

OLDEST = 6 * 3_600  # seconds; an older refresh begins anew, with a new present time
BEGAN, LOCK, VALUE, SUMS, ASIDE = "began.json", ".lock", "value.json", "sums.json", ".aside-"
PACKAGES = ("graph", "embeddings", "recommender")  # whose code can change a result


class Steps:
    """The steps of one refresh that are finished, in a folder of its own."""

    def __init__(
        self, folder: Path, types: Sequence[type] = (), say: Say = lambda _: None, now: int = 0
    ) -> None:
        """`types` are the dataclasses that results may hold; `now` is when the refresh began."""
        self.folder, self.now, self._say = folder, now, say
        self._types = {kind.__name__: kind for kind in types}

    def value(self, name: str, make: Callable[[], T]) -> T:
        """What `make` gives: dataclasses, arrays, ids and what JSON can hold; made once."""
        path = self.folder / name
        kept = self._read(path) if path.is_dir() else None
        if kept is not None:
            self._taken_up(name)
            return cast("T", kept[0])
        value = make()
        give_back_now()
        with self._aside(name) as folder:
            arrays: list[np.ndarray] = []
            (folder / VALUE).write_text(json.dumps(_packed(value, arrays)), encoding="utf-8")
            for number, array in enumerate(arrays):
                save_array(folder / f"{number}.npy", array)
            sums = {file.name: _sum(file) for file in folder.iterdir()}
            (folder / SUMS).write_text(json.dumps(sums), encoding="utf-8")
        return value

    def within(self, name: str) -> "Steps":
        """Steps of the same refresh beside these, under their own names."""
        return Steps(self.folder / name, tuple(self._types.values()), self._say, self.now)

    def kept(self, name: str) -> Any:
        """What `value` gave under this name; None if it is not there, or damaged."""
        kept = self._read(self.folder / name)
        return kept[0] if kept is not None else None

    def release(self, name: str, write: Callable[[Path], object]) -> Release:
        """The release that `write` puts into a folder."""
        path = self.folder / name
        if path.is_dir():
            with contextlib.suppress(ReleaseError):
                release = open_release(path)
                self._taken_up(name)
                return release
        with self._aside(name) as folder:
            write(folder)
        return open_release(path, verify=False)

    def _taken_up(self, name: str) -> None:
        self._say(f"{name}: already finished before this refresh was stopped")

    @contextlib.contextmanager
    def _aside(self, name: str) -> Iterator[Path]:
        """A folder to fill; it gets the step's name afterwards: whole or not at all."""
        path, aside = self.folder / name, self.folder / f"{ASIDE}{name}"
        for leftover in (path, aside):
            shutil.rmtree(leftover, ignore_errors=True)
        aside.mkdir(parents=True)
        yield aside
        for file in aside.iterdir():
            sync(file)
        sync(aside)
        aside.rename(path)
        sync(self.folder)

    def _read(self, path: Path) -> tuple[Any] | None:
        """A tuple with the value of a step; None if a file is missing or damaged."""
        try:
            sums = json.loads((path / SUMS).read_text(encoding="utf-8"))
            if any(_sum(path / name) != expected for name, expected in sums.items()):
                return None
            content = json.loads((path / VALUE).read_text(encoding="utf-8"))
            arrays = [
                np.load(path / f"{number}.npy", allow_pickle=False)
                for number in range(len(sums) - 1)
            ]
            return (_unpacked(content, arrays, self._types),)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None


@contextlib.contextmanager
def taken_up(
    home: Home, digest: str, types: Sequence[type], *, now: int, say: Say
) -> Iterator[Steps]:
    """The steps of the refresh with this digest: finished ones, and those still to come.

    At the beginning, what other refreshes left is removed; at the end, the steps of this one
    are removed, too, unless the block raises: then they stay. If another process still works on
    the same refresh (it was paused until its lease ran out), this one begins anew beside it.
    """
    drop_unfinished(home, but=digest)
    folder = home.unfinished / digest
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as lock:
        if not _locked(lock):
            folder = Path(tempfile.mkdtemp(prefix=f"{digest}-", dir=home.unfinished))
        yield Steps(folder, types, say, _began(folder, now))
        shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        home.unfinished.rmdir()


def drop_unfinished(home: Home, *, but: str = "") -> list[str]:
    """Remove what stopped refreshes left, but for the digest `but`; running ones keep theirs."""
    gone = []
    for folder in home.unfinished.glob("*"):
        if folder.name == but:
            continue
        try:
            with (folder / LOCK).open("a") as lock:
                if _locked(lock):
                    shutil.rmtree(folder)
                    gone.append(folder.name)
        except FileNotFoundError:
            continue
    return gone


def digest_of(facts: Any) -> str:
    """A digest of all that goes into a refresh, this code included."""
    content = json.dumps([facts, _code()], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:24]


@cache
def _code() -> str:
    """A digest of the modules that results depend on."""
    top, digest = Path(__file__).resolve().parents[2], hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((top / package).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _began(folder: Path, now: int) -> int:
    """When the refresh in a folder began; if that is long ago its steps go, and it begins now."""
    path = folder / BEGAN
    try:
        began = int(json.loads(path.read_text(encoding="utf-8"))["now"])
        if 0 <= now - began <= OLDEST:
            return began
    except (OSError, ValueError, KeyError, TypeError):
        pass
    for leftover in folder.iterdir():
        if leftover.is_dir():
            shutil.rmtree(leftover)
    replace_file(path, json.dumps({"now": now}))
    return now


def _locked(file: Any) -> bool:
    """Take the lock of a file until it is closed; False: somebody else holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _packed(value: Any, arrays: list[np.ndarray]) -> Any:
    """A value as JSON; arrays go into `arrays`, and their numbers stand in the JSON."""
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return {"array": len(arrays) - 1}
    if isinstance(value, Vocabulary):
        return {"vocabulary": _packed(value.arrays(), arrays)}
    if isinstance(value, pa.Array):
        return {"column": _packed(_as_bytes(value), arrays)}
    if isinstance(value, np.generic):
        return value.item()
    if is_dataclass(value) and not isinstance(value, type):
        content = {
            field.name: _packed(getattr(value, field.name), arrays) for field in fields(value)
        }
        return {"type": type(value).__name__, "fields": content}
    if isinstance(value, Mapping):
        return {"mapping": [[_packed(key, arrays), _packed(value[key], arrays)] for key in value]}
    if isinstance(value, tuple):
        return {"tuple": [_packed(entry, arrays) for entry in value]}
    if isinstance(value, list):
        return [_packed(entry, arrays) for entry in value]
    return value


def _as_bytes(column: Any) -> U8:
    """An Arrow array as a stream of Arrow's, which knows its type."""
    batch = pa.record_batch([column], names=["column"])
    stream = pa.BufferOutputStream()
    with pa.ipc.new_stream(stream, batch.schema) as writer:
        writer.write_batch(batch)
    return np.frombuffer(stream.getvalue(), np.uint8)


def _unpacked(content: Any, arrays: list[np.ndarray], types: Mapping[str, type]) -> Any:
    """What was packed."""

    def unpacked(entry: Any) -> Any:
        return _unpacked(entry, arrays, types)

    match content:
        case {"array": number}:
            return arrays[number]
        case {"vocabulary": parts}:
            return Vocabulary(**unpacked(parts))
        case {"column": content}:
            return pa.ipc.open_stream(unpacked(content)).read_next_batch().column(0)
        case {"type": name, "fields": inside}:
            return types[name](**{key: unpacked(entry) for key, entry in inside.items()})
        case {"mapping": pairs}:
            return {unpacked(key): unpacked(entry) for key, entry in pairs}
        case {"tuple": entries}:
            return tuple(unpacked(entry) for entry in entries)
        case list():
            return [unpacked(entry) for entry in content]
    return content
