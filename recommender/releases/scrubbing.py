"""Take users out of a release that is kept: their rows stay, but without ids.

Their attributes, features and friends are removed, too.
"""

import os
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path

from graph.durable import locked, sync
from graph.vocabulary import Vocabulary
from recommender.releases.graph_arrays import vocabulary_arrays
from recommender.releases.home import Home
from recommender.releases.people import without
from recommender.releases.publishing import (
    LOCK,
    MANIFEST,
    current,
    open_release,
    seal,
    staged,
    write_arrays,
)

NOBODY = "\x01"  # no id holds it: loading refuses control characters
WIDTH = 8  # digits of a count, so that names sort as they are counted


def scrub(home: Home, name: str, rows: Iterable[int]) -> bool:
    """Replace the ids at some rows of a release that is not served; whether it was done.

    The release is written aside and put in its place; killed in between, it may be gone.
    """
    release = open_release(home.releases / name, verify=False)
    rows = set(rows)
    users = Vocabulary.of(nameless(release.users.ids(range(len(release.users))), rows))
    if len(users) != len(release.users):
        raise ValueError(f"{name}: two users would get the same name")
    changed = vocabulary_arrays("users", users) | without(release.arrays, rows)
    with staged(home.releases, f"scrub-{name}") as folder:
        for path in release.folder.iterdir():
            if path.name != MANIFEST and path.name.removesuffix(".npy") not in changed:
                _link(path, folder / path.name)
        write_arrays(folder, changed)
        made = {
            key: value for key, value in release.manifest.items() if key not in ("files", "sum")
        }
        seal(folder, made)
        with locked(home.releases / LOCK):
            if current(home) == name or not release.folder.exists():
                return False
            away = folder.with_name(f"{folder.name}-old")
            release.folder.rename(away)
            folder.rename(release.folder)
            sync(home.releases)
        shutil.rmtree(away)
    return True


def nameless(ids: list[str], rows: set[int]) -> list[str]:
    """The ids, those at some rows replaced by names that tell nothing and sort at the same place.

    A name is made from the id before it. Names of earlier calls are made anew, too, because the id
    they were made from may be the one that is removed now.
    """
    names, before, count = list(ids), "", 0
    for row, name in enumerate(ids):
        if row in rows or NOBODY in name:
            names[row] = f"{before}{NOBODY}{count:0{WIDTH}d}{secrets.token_hex(4)}"
            count += 1
        else:
            before, count = name, 0
    return names


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copy2(source, target)
