"""A release is published whole or not at all, and nothing damaged is ever served."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tiny_release import tiny_arrays, tiny_manifest, write_tiny

from graph.durable import replace_file, sync
from graph.errors import NotFound, ReleaseError
from recommender.releases import publishing
from recommender.releases.contents import ARRAYS, MANIFEST, check, described
from recommender.releases.home import Home
from recommender.releases.publishing import (
    activate,
    collect_leftovers,
    current,
    list_refused,
    list_releases,
    oldest_watermark,
    open_release,
    prune,
    publish,
    seal,
    set_aside,
    staged,
    write_arrays,
)
from recommender.releases.release import heard
from recommender.serving.live import CHECK_SECONDS, Live

TESTS = Path(__file__).resolve().parent


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home").create()


def make(home, number, watermark=0, since=None):
    with staged(home.releases) as folder:
        write_tiny(folder, number, watermark)
        return publish(home, folder, f"{number:064x}", since)


def test_publishing_numbers_and_serves(home):
    first, second = make(home, 1), make(home, 2)
    assert [first.name[:6], second.name[:6]] == ["000001", "000002"]
    assert current(home) == second.name
    assert second.popularity.tolist() == [2, 2, 2]


def test_rollback_and_prune(home):
    names = [make(home, number).name for number in range(4)]
    activate(home, "1")
    assert current(home) == names[0]
    assert prune(home, keep=1) == names[1:3]
    assert [row["name"] for row in list_releases(home)] == [names[0], names[3]]
    with pytest.raises(NotFound, match="there are: 000001"):
        activate(home, "77")


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "manifest", "newer"])
def test_a_damaged_release_is_refused_and_named(home, damage):
    release = make(home, 1)
    path = release.folder / "popularity.npy"
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
import sys
from pathlib import Path
from recommender.releases.home import Home
from recommender.releases.publishing import publish, staged
from tiny_release import write_tiny
home = Home(Path(sys.argv[1]))
print("ready", flush=True)
for number in range(10**6):
    with staged(home.releases) as folder:
        write_tiny(folder, number, items=500)
        publish(home, folder, f"{number:064x}")
"""


@pytest.mark.parametrize("kills", [8, pytest.param(50, marks=pytest.mark.long)])
def test_a_kill_at_any_moment_leaves_a_whole_release(home, kills):
    draw = random.Random(3)
    make(home, 0)
    for _ in range(kills):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(home.folder)],
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])},
        )
        process.stdout.readline()
        time.sleep(draw.random() * 0.5)
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


# ── what lies in a release ───────────────────────────────────────────────────────────────


def test_nothing_but_what_the_list_tells_of_lies_in_a_release(planted_home):
    release = open_release(planted_home.releases / current(planted_home))
    files = {path.name for path in release.folder.iterdir()}
    arrays = {f"{key}.npy" for key in release.arrays}
    assert files == arrays | {"manifest.json"} | {f"{name}.faiss" for name in release.sources}
    assert all(described(key) is not None for key in release.arrays)
    assert set(release.manifest) <= set(MANIFEST)
    there = {described(key)[0].key for key in release.arrays}
    assert {entry.key for entry in ARRAYS if not entry.optional} <= there


def wrong(arrays, key, array):
    return dict(arrays) | {key: array}


@pytest.mark.parametrize(
    ("key", "spoil", "message"),
    [
        ("popularity", lambda a: a[:-1], "popularity has 2 where i is 3"),
        ("popularity", lambda a: a.astype(np.float64), "popularity is float64"),
        ("histories.indptr", lambda a: a + 1, "histories.indptr does not run from 0 to 0"),
        ("table.neighbours", lambda a: a + 3, "table.neighbours names rows outside 0 … 2"),
        ("tag_name_rows", lambda a: a - 1, "tag_name_rows names rows outside 0 … 0"),
        ("cards.offsets", lambda a: a[::-1].copy(), "cards.offsets does not run from 0"),
        ("likeness", lambda a: a[:, 0], "likeness is float32"),
        ("surprise", lambda _: np.zeros(1), "holds surprise, which no release"),
        ("rarity", lambda _: None, "rarity is missing"),
        ("fold.words.data", lambda _: None, "fold.words.data is missing"),
    ],
)
def test_arrays_of_another_shape_are_refused_though_their_sums_are_right(home, key, spoil, message):
    old = make(home, 1)
    arrays = tiny_arrays(2)
    spoiled = spoil(arrays.get(key))
    arrays = {k: a for k, a in arrays.items() if k != key}
    with staged(home.releases) as folder:
        write_arrays(folder, arrays if spoiled is None else arrays | {key: spoiled})
        seal(folder, tiny_manifest())
        with pytest.raises(ReleaseError, match=message):
            publish(home, folder, "2" * 64)
    assert current(home) == old.name
    assert [row["name"] for row in list_releases(home)] == [old.name]  # and nothing is left behind


def test_a_release_of_the_old_schema_is_refused_by_name(home):
    release = make(home, 1)
    manifest = release.folder / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"schema": 1}))
    with pytest.raises(ReleaseError, match=f"{release.name} has schema 1.*refresh once"):
        open_release(release.folder)
    assert "refresh once" in list_releases(home)[0]["damaged"]


# ── publishing ───────────────────────────────────────────────────────────────────────────


def test_a_damaged_release_is_never_published_and_current_never_moves_before(home, monkeypatch):
    """Verified first: at no moment does CURRENT name what was not read back whole."""
    old = make(home, 1)
    steps = []
    keep_open, keep_current = publishing.open_release, publishing._make_current
    monkeypatch.setattr(
        publishing, "open_release", lambda *a, **k: steps.append("verify") or keep_open(*a, **k)
    )
    monkeypatch.setattr(
        publishing, "_make_current", lambda *a: steps.append("current") or keep_current(*a)
    )
    make(home, 2)
    assert steps == ["verify", "current"]
    with staged(home.releases) as folder:
        write_tiny(folder, 3)
        (folder / "rarity.npy").write_bytes(b"rubbish")
        with pytest.raises(ReleaseError, match="damaged"):
            publish(home, folder, "3" * 64)
    assert current(home) == "000002-000000000000"
    assert [row["name"][:6] for row in list_releases(home)] == ["000001", "000002"]
    assert old.name != current(home)


def test_an_older_snapshot_never_comes_over_a_newer_one(home):
    """Two refreshes at once: the slower one, that saw less, publishes nothing and says so."""
    make(home, 1, watermark=10)
    newer = make(home, 2, watermark=30, since=1)
    with pytest.raises(ReleaseError, match=f"{newer.name} was made meanwhile from a newer"):
        make(home, 3, watermark=20, since=1)
    assert current(home) == newer.name
    assert len(list_releases(home)) == 2
    assert make(home, 4, watermark=30, since=1).name[:6] == "000003"  # as new: no harm
    assert make(home, 5, watermark=5, since=3).name[:6] == "000004"  # another store, alone


def test_an_older_snapshot_would_without_a_look_at_what_came_since(home):
    newer = make(home, 1, watermark=30)
    older = make(home, 2, watermark=20, since=None)
    assert current(home) == older.name != newer.name


RACER = """
import sys
from pathlib import Path
from recommender.releases.home import Home
from recommender.releases.publishing import publish, staged
from tiny_release import write_tiny
home, number = Home(Path(sys.argv[1])), int(sys.argv[2])
for _ in range(5):
    with staged(home.releases) as folder:
        write_tiny(folder, number)
        publish(home, folder, f"{number:064x}")
"""


def test_two_that_publish_at_once_get_two_numbers(home):
    path = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(home.folder), str(number)],
            env=os.environ | {"PYTHONPATH": path},
        )
        for number in range(2)
    ]
    assert [racer.wait() for racer in racers] == [0, 0]
    numbers = sorted(row["name"][:6] for row in list_releases(home))
    assert numbers == [f"{number:06d}" for number in range(1, 11)]


def test_whatever_is_published_was_synced_before_it_was_renamed(home, monkeypatch):
    """The order of system calls: each file, then its folder, then the rename, then its folder."""
    calls = []
    keep_sync, keep_replace = os.fsync, Path.replace
    keep_rename = Path.rename

    def name_of(descriptor):
        return Path(os.readlink(f"/proc/self/fd/{descriptor}")).name

    monkeypatch.setattr(os, "fsync", lambda d: calls.append(("sync", name_of(d))) or keep_sync(d))
    monkeypatch.setattr(
        Path, "rename", lambda a, b: calls.append(("rename", a.name)) or keep_rename(a, b)
    )
    monkeypatch.setattr(
        Path, "replace", lambda a, b: calls.append(("replace", Path(b).name)) or keep_replace(a, b)
    )
    release = make(home, 1)
    staging = f".staging-{os.getpid()}-release"
    renamed = calls.index(("rename", staging))
    synced = {name for call, name in calls[:renamed] if call == "sync"}
    assert {path.name for path in release.folder.iterdir() if path.suffix == ".npy"} <= synced
    assert any(name.startswith("manifest.json") for name in synced)
    assert calls[:renamed].index(("sync", staging)) > calls.index(("replace", "manifest.json"))
    served = calls.index(("replace", "CURRENT"))
    assert ("sync", "releases") in calls[renamed:served]
    assert ("sync", "releases") in calls[served:]
    assert any(n.startswith("CURRENT.") for c, n in calls[renamed:served] if c == "sync")


def test_nothing_that_was_synced_stays_open(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    for number in range(5):
        replace_file(tmp_path / "CURRENT", str(number))
        sync(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_oldest_watermark_is_that_of_what_can_be_served(home):
    assert oldest_watermark(home) is None
    make(home, 1, watermark=30)
    second = make(home, 2, watermark=20)
    assert oldest_watermark(home) == 20
    (second.folder / "manifest.json").write_text("{")
    assert oldest_watermark(home) == 30


def test_a_release_has_heard_of_its_own_journal_only():
    manifest = {"inbox": {"journal": "a", "upto": 7}}
    assert heard(manifest, "a") == 7
    assert heard(manifest, "b") == 0
    assert heard(manifest, "") == 0
    assert heard({"inbox": {"journal": "", "upto": 7}}, "") == 0
    assert heard({}, "a") == 0


def test_what_was_refused_is_kept_aside_numbered_on_and_never_the_current_one(home):
    make(home, 1)
    for number in (2, 3, 4, 5):
        with staged(home.releases) as folder:
            write_tiny(folder, number)
            set_aside(home, folder, f"{number:064x}")
    rows = list_refused(home)
    assert [row["name"][:6] for row in rows] == ["000003", "000004", "000005"]
    assert [row["current"] for row in rows] == [False] * 3
    assert current(home) == list_releases(home)[0]["name"]


def test_a_size_of_arrays_that_belong_together_is_theirs_alone():
    """Arrays with the same letter must be equally long, or a release is refused."""
    owners = {}
    for entry in ARRAYS:
        for size in entry.shape.split():
            letter = size.partition("+")[0]
            if letter not in ("u", "i", "t", "d", "names") and ":" not in letter:
                owners.setdefault(letter, set()).add(entry.key.partition(".")[0])
    assert all(len(keys) == 1 for keys in owners.values()), owners


def test_rows_that_should_rise_and_do_not_are_refused():
    arrays = tiny_arrays() | {"fold.tag_rows": np.zeros(2, np.int32)}
    with pytest.raises(ReleaseError, match=r"fold\.tag_rows does not rise"):
        check(arrays, "release tiny")
