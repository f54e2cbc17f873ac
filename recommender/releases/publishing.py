"""How releases are published: written aside, verified, named, made current; and the way back.

releases/
├── CURRENT                      the name of the release that is served, replaced atomically
├── PINNED                       names of releases that are never pruned
├── lease.json                   who refreshes now, see `lease.py`
├── .lease.free                  what takes its place at the end
├── .lock                        held by who publishes, activates or prunes
├── .staging-…/                  a release being written; leftovers are collected
├── refused/                     candidates that gates refused, the last few, never served
└── 000007-3f9c…/                counter and fingerprint
    ├── manifest.json            counts, configuration, report; size and SHA-256 of each file
    ├── users.data.npy …         plain arrays, see `contents.py`
    └── spectral.faiss           indexes

A refresh writes aside, syncs, verifies, renames, then replaces CURRENT: a kill or a full disk at
any moment leaves the old release in place. A reader checks sizes and sums before it maps anything.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from graph.durable import locked, replace_file, save_array, sync
from graph.errors import NotFound, ReleaseError
from graph.explore.copies import is_running
from graph.whole import whole_number
from recommender.releases.contents import MANIFEST as FACTS
from recommender.releases.contents import Arrays, check
from recommender.releases.home import Home
from recommender.releases.lease import Fence
from recommender.releases.release import Release, heard

SCHEMA_VERSION = 6
CURRENT = "CURRENT"
LOCK = ".lock"
PINNED = "PINNED"
MANIFEST = "manifest.json"
SUM = "sum"  # where a manifest holds its own SHA-256
STAGING_PREFIX = ".staging-"
REFUSED = "refused"
MOST_REFUSED = 3  # kept aside


# ── writing ──────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def staged(releases: Path, kind: str = "release") -> Iterator[Path]:
    """A folder to write into; what was not published is removed at the end."""
    releases.mkdir(parents=True, exist_ok=True)
    folder = releases / f"{STAGING_PREFIX}{os.getpid()}-{kind}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_arrays(folder: Path, arrays: Arrays) -> None:
    """Save arrays as `.npy`, synced."""
    for name, array in arrays.items():
        save_array(folder / f"{name}.npy", array)


def seal(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest with size and SHA-256 of every file that lies in the folder."""
    files = {}
    for path in sorted(folder.iterdir()):
        sync(path)
        files[path.name] = {"bytes": path.stat().st_size, "sha256": _sha256(path)}
    facts = {**manifest, "schema": SCHEMA_VERSION, "files": files}
    unknown = sorted(set(facts) - set(FACTS))
    if unknown:
        raise ValueError(f"contents.py does not describe {', '.join(unknown)} of a manifest")
    write_manifest(folder, facts)


def write_manifest(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write a manifest and, within it, its own SHA-256."""
    stored = json.loads(json.dumps({key: facts[key] for key in facts if key != SUM}))
    replace_file(folder / MANIFEST, json.dumps({**stored, SUM: _sum_of(stored)}, indent=1))


def note(folder: Path, facts: Mapping[str, Any]) -> None:
    """Add facts to the manifest of a sealed folder that is not published yet."""
    write_manifest(folder, _manifest(folder) | dict(facts))


def set_aside(home: Home, folder: Path, fingerprint: str) -> str:
    """Keep a refused candidate for inspection, never to be served; its name."""
    with locked(home.releases / LOCK):
        aside = home.releases / REFUSED
        aside.mkdir(exist_ok=True)
        numbers = [_counter(path.name) for path in _numbered(aside)]
        name = f"{max([newest(home), *numbers]) + 1:06d}-{fingerprint[:12]}"
        folder.rename(aside / name)
        sync(aside)
        for path in _numbered(aside)[:-MOST_REFUSED]:
            shutil.rmtree(path)
    return name


def drop_refused(home: Home, name: str) -> None:
    """Remove a candidate that was refused."""
    shutil.rmtree(home.releases / REFUSED / name, ignore_errors=True)


def newest(home: Home) -> int:
    """The counter of the newest release; 0 before the first."""
    return max((int(name.split("-")[0]) for name in names(home)), default=0)


def publish(
    home: Home,
    folder: Path,
    fingerprint: str,
    since: int | None = None,
    fence: Fence | None = None,
    before: Callable[[], object] = lambda: None,
) -> Release:
    """Verify a sealed folder, give it the next number and make it current; the old one stays.

    Args:
        home: of the catalogue.
        folder: sealed; it is renamed.
        fingerprint: the second half of the name.
        since: the newest counter when this refresh took its snapshot; None: do not look.
        fence: raises when another refresh has taken over, see `lease.leased`.
        before: called when nothing speaks against publishing, before anybody serves the release.

    Raises:
        ReleaseError: it is not as it was written, or another refresh has meanwhile published what
            it learned from a newer snapshot. Nothing is changed.
    """
    with locked(home.releases / LOCK):
        if fence is not None:
            fence()
        release = open_release(folder)
        later = [name for name in names(home) if since is not None and _counter(name) > since]
        for name in later:
            if _manifest(home.releases / name)["watermark"] > release.watermark:
                raise ReleaseError(
                    f"release {name} was made meanwhile from a newer snapshot and is served; "
                    "this refresh publishes nothing"
                )
        name = f"{newest(home) + 1:06d}-{fingerprint[:12]}"
        folder.rename(home.releases / name)
        sync(home.releases)
        before()
        _make_current(home, name)
    return replace(release, folder=home.releases / name)


def activate(home: Home, name: str) -> Release:
    """Serve another release that lies in the home: a rollback, or forward again."""
    with locked(home.releases / LOCK):
        release = open_release(home.releases / known(home, name))
        _make_current(home, release.name)
    return release


def prune(home: Home, keep: int) -> list[str]:
    """Remove all but the newest `keep` releases, the current and pinned ones; what was removed."""
    with locked(home.releases / LOCK):
        collect_leftovers(home)
        stay = {current(home), *_pinned(home)}
        gone = [name for name in names(home)[: -keep or None] if name not in stay]
        for name in gone:
            shutil.rmtree(home.releases / name)
    return gone


def pin(home: Home, name: str, *, on: bool = True) -> str:
    """Keep a release from being pruned, or no longer; its full name."""
    with locked(home.releases / LOCK):
        full = known(home, name)
        pinned = (_pinned(home) | {full}) if on else (_pinned(home) - {full})
        replace_file(home.releases / PINNED, "".join(f"{name}\n" for name in sorted(pinned)))
    return full


def _pinned(home: Home) -> set[str]:
    try:
        return set((home.releases / PINNED).read_text(encoding="utf-8").split())
    except FileNotFoundError:
        return set()


def collect_leftovers(home: Home) -> list[str]:
    """Remove what killed refreshes left behind; a refresh that still runs is left alone."""
    gone = []
    for path in home.releases.glob(f"{STAGING_PREFIX}*"):
        pid = path.name.removeprefix(STAGING_PREFIX).split("-")[0]
        if not pid.isdecimal() or int(pid) == os.getpid() or not is_running(int(pid)):
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
    full = _named(name, names(home))
    if full is not None:
        return full
    there = ", ".join(sorted(names(home))) or "none yet; run `nichegraph refresh`"
    raise NotFound(f"there is no release {name!r}; there are: {there}")


def find(home: Home, name: str) -> Path:
    """The folder of a release, or else of a refused candidate, given by name or number."""
    aside = home.releases / REFUSED
    refused = _named(name, [path.name for path in _numbered(aside)])
    if refused is not None and _named(name, names(home)) is None:
        return aside / refused
    return home.releases / known(home, name)


def _named(name: str, among: Iterable[str]) -> str | None:
    """Which of full names is meant by one of them, or by its number."""
    number = whole_number(name)
    for full in among:
        if name == full or number == _counter(full):
            return full
    return None


def list_releases(home: Home) -> list[dict[str, Any]]:
    """One manifest per release, oldest first, with `name` and `current`; unreadable ones say so."""
    served, pinned = current(home), _pinned(home)
    rows = []
    for name in names(home):
        try:
            manifest = _manifest(home.releases / name)
        except ReleaseError as error:
            manifest = {"damaged": str(error)}
        state = {"current": name == served, "pinned": name in pinned}
        rows.append({"name": name, **state, **manifest})
    return rows


def list_refused(home: Home) -> list[dict[str, Any]]:
    """One manifest per candidate that gates refused, oldest first, with `name` and `refused`."""
    rows = []
    for path in _numbered(home.releases / REFUSED):
        try:
            manifest = _manifest(path)
        except ReleaseError as error:
            manifest = {"damaged": str(error)}
        reasons = manifest.get("gates", {}).get("reasons", [])
        text = "; ".join(reason["text"] for reason in reasons)
        rows.append({"name": path.name, "current": False, "refused": text, **manifest})
    return rows


def oldest_watermark(home: Home) -> int | None:
    """The lowest watermark among the releases that can be served; None where there is none."""
    marks = [row["watermark"] for row in list_releases(home) if "watermark" in row]
    return min(marks, default=None)


def oldest_heard(home: Home, journal: str) -> int:
    """Every release knows all facts of a journal up to this number; 0 if there is no release."""
    return min((heard(row, journal) for row in list_releases(home)), default=0)


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
                array = np.load(path, mmap_mode="r", allow_pickle=False)
                arrays[name.removesuffix(".npy")] = array.view(np.ndarray)
        except (OSError, ValueError) as error:
            raise ReleaseError(
                f"release {folder.name} cannot be read: {name}: {error}; "
                "go back with `nichegraph releases rollback` or refresh again"
            ) from error
    if verify:
        check(arrays, f"release {folder.name}")
    return Release(folder, manifest, arrays)


def names(home: Home) -> list[str]:
    """The folders of releases, by number."""
    return [path.name for path in _numbered(home.releases)]


def _numbered(folder: Path) -> list[Path]:
    """The folders of releases in a folder, by number."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.name[:6].isdecimal())


def _counter(name: str) -> int:
    return int(name.split("-", maxsplit=1)[0])


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
            f"release {folder.name} has schema {schema}, this version reads {SCHEMA_VERSION}: "
            "refresh once with this version"
        )
    if manifest.get(SUM) != _sum_of({key: manifest[key] for key in manifest if key != SUM}):
        raise ReleaseError(
            f"release {folder.name} is damaged: {MANIFEST} is not as it was written; "
            "go back with `nichegraph releases rollback` or refresh again"
        )
    return manifest


def _sum_of(facts: Mapping[str, Any]) -> str:
    """SHA-256 of a manifest as JSON, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _make_current(home: Home, name: str) -> None:
    replace_file(home.releases / CURRENT, name + "\n")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
