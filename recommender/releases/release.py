"""A release: everything one refresh made, in one immutable folder, verified before it is served.

releases/
├── CURRENT                      the name of the release that is served, replaced atomically
├── .staging-…/                  a release being written; leftovers are collected
└── 000007-3f9c…/                counter and fingerprint
    ├── manifest.json            counts, configuration, report; size and SHA-256 of each file
    ├── users.data.npy …         vocabularies and plain arrays, memory-mapped
    └── spectral.faiss           indexes

A refresh writes aside, syncs, renames, then replaces CURRENT: a kill or a full disk at any
moment leaves the old release in place. A reader checks sizes and sums before it maps anything.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from graph.errors import NotFound, ReleaseError
from graph.explore.copies import is_running
from graph.vocabulary import Vocabulary
from recommender.releases.home import Home

SCHEMA_VERSION = 1
CURRENT = "CURRENT"
MANIFEST = "manifest.json"
STAGING_PREFIX = ".staging-"

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Release:
    """An opened release; arrays are read-only and shared between processes."""

    folder: Path
    manifest: dict[str, Any]
    arrays: Arrays

    @property
    def name(self) -> str:
        """Counter and fingerprint."""
        return self.folder.name

    def vocabulary(self, name: str) -> Vocabulary:
        """The vocabulary saved under a name ("users", "items", "tags", "domains", "cards")."""
        return Vocabulary(self.arrays[f"{name}.data"], self.arrays[f"{name}.offsets"])

    @cached_property
    def users(self) -> Vocabulary:
        """User ids (u)."""
        return self.vocabulary("users")

    @cached_property
    def items(self) -> Vocabulary:
        """Item ids (i)."""
        return self.vocabulary("items")

    @cached_property
    def tags(self) -> Vocabulary:
        """Tag keys (t)."""
        return self.vocabulary("tags")

    @cached_property
    def domains(self) -> Vocabulary:
        """Domain names (d)."""
        return self.vocabulary("domains")

    def matrix(self, name: str) -> csr_array:
        """The sparse matrix saved under a name, over the mapped arrays."""
        rows, columns = self.arrays[f"{name}.shape"].tolist()
        parts = (self.arrays[f"{name}.{part}"] for part in ("values", "indices", "indptr"))
        return csr_array(tuple(parts), shape=(rows, columns), copy=False)

    def text(self, name: str, row: int) -> str:
        """The text of a row in a text column (see `text_arrays`)."""
        offsets = self.arrays[f"{name}.offsets"]
        return bytes(self.arrays[f"{name}.data"][offsets[row] : offsets[row + 1]]).decode()

    def card(self, row: int) -> dict[str, Any]:
        """Title and attributes of an item."""
        card: dict[str, Any] = json.loads(self.text("cards", row))
        return card


def matrix_arrays(name: str, matrix: csr_array) -> dict[str, npt.NDArray[Any]]:
    """The arrays that `Release.matrix(name)` reads back."""
    return {
        f"{name}.values": matrix.data.astype(np.float32),
        f"{name}.indices": matrix.indices.astype(np.int32),
        f"{name}.indptr": matrix.indptr.astype(np.int64),
        f"{name}.shape": np.array(matrix.shape, np.int64),
    }


def text_arrays(name: str, texts: list[str]) -> dict[str, npt.NDArray[Any]]:
    """The arrays that `Release.text(name, row)` reads back."""
    encoded = [text.encode() for text in texts]
    offsets = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(text) for text in encoded], out=offsets[1:])
    return {f"{name}.data": np.frombuffer(b"".join(encoded), np.uint8), f"{name}.offsets": offsets}


def vocabulary_arrays(name: str, vocabulary: Vocabulary) -> dict[str, npt.NDArray[Any]]:
    """The arrays that `Release.vocabulary(name)` reads back."""
    return {f"{name}.{part}": array for part, array in vocabulary.arrays().items()}


# ── writing ──────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def staged(releases: Path) -> Iterator[Path]:
    """A folder to write a release into; removed when the block fails."""
    releases.mkdir(parents=True, exist_ok=True)
    folder = releases / f"{STAGING_PREFIX}{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def write_arrays(folder: Path, arrays: Arrays) -> None:
    """Save arrays as `.npy`, synced."""
    for name, array in arrays.items():
        with (folder / f"{name}.npy").open("wb") as file:
            np.save(file, np.ascontiguousarray(array), allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())


def seal(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest with size and SHA-256 of every file that lies in the folder."""
    files = {}
    for path in sorted(folder.iterdir()):
        _sync(path)
        files[path.name] = {"bytes": path.stat().st_size, "sha256": _sha256(path)}
    text = json.dumps({**manifest, "schema": SCHEMA_VERSION, "files": files}, indent=1)
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    _sync(folder / MANIFEST)
    _sync(folder)


def publish(home: Home, folder: Path, fingerprint: str) -> Release:
    """Give a sealed folder the next number and make it current; the old one stays."""
    counters = [int(name.split("-")[0]) for name in _names(home)]
    name = f"{max(counters, default=0) + 1:06d}-{fingerprint[:12]}"
    folder.rename(home.releases / name)
    _sync(home.releases)
    release = open_release(home.releases / name)
    _make_current(home, name)
    return release


def activate(home: Home, name: str) -> Release:
    """Serve another release that lies in the home: a rollback, or forward again."""
    release = open_release(home.releases / known(home, name))
    _make_current(home, release.name)
    return release


def prune(home: Home, keep: int) -> list[str]:
    """Remove all but the newest `keep` releases and the current one; what was removed."""
    collect_leftovers(home)
    served = current(home)
    gone = [name for name in sorted(_names(home))[: -keep or None] if name != served]
    for name in gone:
        shutil.rmtree(home.releases / name)
    return gone


def collect_leftovers(home: Home) -> list[str]:
    """Remove what killed refreshes left behind; a refresh that still runs is left alone."""
    gone = []
    for path in home.releases.glob(f"{STAGING_PREFIX}*"):
        pid = path.name.removeprefix(STAGING_PREFIX)
        if not pid.isdigit() or int(pid) == os.getpid() or not is_running(int(pid)):
            shutil.rmtree(path, ignore_errors=True)
            gone.append(path.name)
    return gone


# ── reading ──────────────────────────────────────────────────────────────────────────────


def current(home: Home) -> str | None:
    """The name of the release that is served, or None before the first refresh."""
    try:
        return (home.releases / CURRENT).read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None


def known(home: Home, name: str) -> str:
    """The full name of a release given by name or number; `NotFound` lists what is there."""
    names = _names(home)
    for candidate in names:
        number = candidate.split("-")[0]
        if name == candidate or (name.isdigit() and int(name) == int(number)):
            return candidate
    there = ", ".join(sorted(names)) or "none yet; run `nichegraph refresh`"
    raise NotFound(f"there is no release {name!r}; there are: {there}")


def list_releases(home: Home) -> list[dict[str, Any]]:
    """One manifest per release, oldest first, with `name` and `current`; unreadable ones say so."""
    served = current(home)
    rows = []
    for name in sorted(_names(home)):
        try:
            manifest = _manifest(home.releases / name)
        except ReleaseError as error:
            manifest = {"damaged": str(error)}
        rows.append({"name": name, "current": name == served, **manifest})
    return rows


def open_release(folder: Path, *, verify: bool = True) -> Release:
    """Open a release; `ReleaseError` when a file is missing, cut, altered or of a newer version."""
    manifest = _manifest(folder)
    arrays = {}
    for name, facts in manifest["files"].items():
        path = folder / name
        try:
            size = path.stat().st_size
            if size != facts["bytes"] or (verify and _sha256(path) != facts["sha256"]):
                raise ReleaseError(
                    f"release {folder.name} is damaged: {name} is not as it was written; "
                    "go back with `nichegraph releases rollback` or refresh again"
                )
            if name.endswith(".npy"):
                # A plain view of the map: `np.memmap` itself is slow to take parts of.
                arrays[name.removesuffix(".npy")] = np.load(path, mmap_mode="r").view(np.ndarray)
        except (OSError, ValueError) as error:
            raise ReleaseError(
                f"release {folder.name} cannot be read: {name}: {error}; "
                "go back with `nichegraph releases rollback` or refresh again"
            ) from error
    return Release(folder, manifest, arrays)


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        schema, files = manifest["schema"], manifest["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReleaseError(
            f"release {folder.name} has no readable {MANIFEST}; refresh again"
        ) from error
    if schema != SCHEMA_VERSION or not isinstance(files, dict):
        raise ReleaseError(
            f"release {folder.name} has schema {schema}, this version reads {SCHEMA_VERSION}; "
            "refresh again with this version"
        )
    return manifest


def _names(home: Home) -> list[str]:
    if not home.releases.is_dir():
        return []
    return [path.name for path in home.releases.iterdir() if path.name[:6].isdigit()]


def _make_current(home: Home, name: str) -> None:
    aside = home.releases / f"{CURRENT}.{os.getpid()}"
    aside.write_text(name + "\n", encoding="utf-8")
    _sync(aside)
    aside.replace(home.releases / CURRENT)
    _sync(home.releases)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
