"""A release is published whole or not at all, and nothing damaged is ever served."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from graph.errors import NotFound, ReleaseError
from recommender.releases.home import Home
from recommender.serving.live import CHECK_SECONDS, Live
from recommender.releases.release import (
    activate,
    collect_leftovers,
    current,
    list_releases,
    matrix_arrays,
    open_release,
    prune,
    publish,
    seal,
    staged,
    text_arrays,
    write_arrays,
)


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home").create()


def make(home, number):
    with staged(home.releases) as folder:
        write_arrays(folder, {"number": np.array([number]), **text_arrays("t", ["a", "", "é"])})
        seal(folder, {"number": number})
        return publish(home, folder, f"{number:064x}")


def test_publishing_numbers_and_serves(home):
    first, second = make(home, 1), make(home, 2)
    assert [first.name[:6], second.name[:6]] == ["000001", "000002"]
    assert current(home) == second.name
    assert [second.text("t", row) for row in range(3)] == ["a", "", "é"]


def test_rollback_and_prune(home):
    names = [make(home, number).name for number in range(4)]
    activate(home, "1")
    assert current(home) == names[0]
    assert prune(home, keep=1) == names[1:3]
    assert [row["name"] for row in list_releases(home)] == [names[0], names[3]]
    with pytest.raises(NotFound, match="there are: 000001"):
        activate(home, "77")


def test_matrices_come_back(home):
    from scipy.sparse import csr_array

    matrix = csr_array(np.array([[0, 2.0, 0], [0, 0, 0]]))
    with staged(home.releases) as folder:
        write_arrays(folder, matrix_arrays("m", matrix))
        seal(folder, {})
        release = publish(home, folder, "0" * 64)
    np.testing.assert_array_equal(release.matrix("m").toarray(), matrix.toarray())


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "manifest", "newer"])
def test_a_damaged_release_is_refused_and_named(home, damage):
    release = make(home, 1)
    path = release.folder / "number.npy"
    manifest = release.folder / "manifest.json"
    if damage == "flip":
        raw = bytearray(path.read_bytes())
        raw[-3] ^= 1
        path.write_bytes(raw)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    elif damage == "remove":
        path.unlink()
    elif damage == "manifest":
        manifest.write_text("{")
    else:
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"schema": 99}))
    with pytest.raises(ReleaseError, match=release.name):
        open_release(release.folder)


def test_the_old_release_is_served_while_the_new_one_is_damaged(planted_home, tmp_path):
    import shutil

    home = Home(tmp_path / "copy")
    shutil.copytree(planted_home.folder, home.folder)
    now = [0.0]
    live = Live(home, clock=lambda: now[0])
    old = live.recommender().release.name
    bad = home.releases / "000009-bad"
    shutil.copytree(home.releases / old, bad)
    (bad / "popularity.npy").write_bytes(b"rubbish")
    (home.releases / "CURRENT").write_text("000009-bad\n")
    now[0] += CHECK_SECONDS
    assert live.recommender().release.name == old
    assert "000009-bad is damaged" in live.problem
    (home.releases / "CURRENT").write_text(old + "\n")
    now[0] += CHECK_SECONDS
    assert live.recommender().release.name == old
    assert live.problem is None


def test_a_moved_current_is_swapped_in(planted_home, tmp_path):
    import shutil

    home = Home(tmp_path / "copy")
    shutil.copytree(planted_home.folder, home.folder)
    now = [0.0]
    live = Live(home, clock=lambda: now[0])
    old = live.recommender().release.name
    new = home.releases / "000002-copy"
    shutil.copytree(home.releases / old, new)
    activate(home, "2")
    assert live.recommender().release.name == old  # not looked again yet
    now[0] += CHECK_SECONDS
    assert live.recommender().release.name == "000002-copy"


def test_no_release_yet_says_what_to_do(home):
    with pytest.raises(ReleaseError, match="nichegraph refresh"):
        Live(home).recommender()


WRITER = """
import sys, numpy as np
from pathlib import Path
from recommender.releases.home import Home
from recommender.releases.release import *
home = Home(Path(sys.argv[1]))
print("ready", flush=True)
for number in range(10**6):
    with staged(home.releases) as folder:
        write_arrays(folder, {f"a{i}": np.full(2000, number) for i in range(4)})
        seal(folder, {"number": number})
        publish(home, folder, f"{number:064x}")
"""


@pytest.mark.parametrize("kills", [8, pytest.param(50, marks=pytest.mark.long)])
def test_a_kill_at_any_moment_leaves_a_whole_release(home, kills):
    draw = random.Random(3)
    make(home, 0)
    for _ in range(kills):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(home.folder)], stdout=subprocess.PIPE
        )
        process.stdout.readline()
        time.sleep(draw.random() * 0.1)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        open_release(home.releases / current(home))
    collect_leftovers(home)
    assert not [path for path in home.releases.iterdir() if path.name.startswith(".staging")]
    for row in list_releases(home):
        open_release(home.releases / row["name"])


def test_a_full_disk_leaves_the_old_release(home, monkeypatch):
    old = make(home, 1).name

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        make(home, 2)
    monkeypatch.undo()
    assert current(home) == old
    assert not list(home.releases.glob(".staging*"))
