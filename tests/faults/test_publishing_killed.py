"""Publishing, killed at every point: what is served is always whole, and never a mixture.

Each point is a call that changes what lies on the disk. A variant without care fails the same test,
so that it is seen to look.
"""

import contextlib
import itertools
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from graph.errors import ReleaseError
from recommender.releases import publishing
from recommender.releases.home import Home
from recommender.releases.publishing import (
    CURRENT,
    collect_leftovers,
    current,
    names,
    open_release,
    publish,
    staged,
)
from tests.data import no_fault
from tests.tiny_release import write_tiny

POINTS = ("fsync", "rename", "replace", "mkdir", "unlink", "rmdir")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path / "home").create()
    carefully(home, 1)
    return home


def carefully(home, number):
    with staged(home.releases) as folder:
        write_tiny(folder, number)
        publish(home, folder, f"{number:064x}")


def carelessly(home, number):
    """CURRENT first, then the release, where it will be served."""
    folder = home.releases / f"{number:06d}-{'c' * 12}"
    (home.releases / CURRENT).write_text(folder.name + "\n")
    folder.mkdir()
    write_tiny(folder, number)


def killed(work, at=None, after=None):
    """Do the work in a fork that is killed at the n-th point, or after so many seconds.

    Gives the number of points that it passed, if it came to its end.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        count = itertools.count()

        def dying(call):
            def point(*arguments, **options):
                if next(count) == at:
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*arguments, **options)

            return point

        for name in POINTS:
            setattr(os, name, dying(getattr(os, name)))
        work()
        os.write(writer, str(next(count)).encode())
        os._exit(0)
    os.close(writer)
    if after is not None:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(reader, "rb") as pipe:
        return int(pipe.read() or -1)


def whole(home):
    """Number of the release that is served; `ReleaseError` where it, or any other, is not whole."""
    for name in names(home):
        release = open_release(home.releases / name)
        # One number stands in every item: a mixture of two releases would show.
        assert len(set(release.popularity.tolist())) == 1
        assert int(name[:6]) == int(release.popularity[0])
    return int(open_release(home.releases / current(home)).popularity[0])


def test_killed_at_every_point_the_old_or_the_new_one_is_served(
    home, tmp_path, pytestconfig, record_property
):
    """At every point with --long, at 24 in CI."""
    other = Home(shutil.copytree(home.folder, tmp_path / "other"))
    count = killed(lambda: carefully(other, 2))
    assert count > 50
    served = set()
    points = range(count)
    if not pytestconfig.getoption("--long"):  # those at the end are where it is made current
        points = [*random.Random(1).sample(range(count - 14), 10), *range(count - 14, count)]
    for at in points:
        copy = Home(shutil.copytree(home.folder, tmp_path / f"{at}"))
        assert killed(lambda copy=copy: carefully(copy, 2), at=at) == -1
        served.add(whole(copy))
        collect_leftovers(copy)
        assert not list(copy.releases.glob(".staging*"))
        carefully(copy, 3 if len(names(copy)) == 2 else 2)  # and all goes on
        shutil.rmtree(copy.folder)
    assert served == {1, 2}
    record_property("counted", f"publishing killed at {len(points)} of {count} calls: all whole")


def test_without_care_the_same_test_fails(home, tmp_path):
    with pytest.raises((ReleaseError, AssertionError)):
        for at in range(60):
            copy = Home(shutil.copytree(home.folder, tmp_path / f"{at}"))
            killed(lambda copy=copy: carelessly(copy, 2), at=at)
            whole(copy)


@pytest.mark.parametrize("kills", [200, pytest.param(1000, marks=pytest.mark.long)])
def test_killed_at_random_moments(home, kills, record_property):
    draws = random.Random(5)

    def for_ever():
        for number in itertools.count(int(names(home)[-1][:6]) + 1):
            carefully(home, number)

    before = 1
    for _ in range(kills):
        killed(for_ever, after=draws.random() * 0.05)
        now = whole(home)
        assert now >= before
        before = now
        for name in names(home)[: names(home).index(current(home))]:
            shutil.rmtree(home.releases / name)
    collect_leftovers(home)
    left = [path.name for path in home.releases.iterdir() if path.name.startswith(".staging")]
    assert left == []
    record_property(
        "counted", f"publishing killed at {kills} random moments: {before} releases came of it, "
        "0 unreadable, 0 mixed",
    )  # fmt: skip


# ── the order of the system calls ────────────────────────────────────────────────────────

TRACED = """
import sys
from pathlib import Path
sys.path[:0] = [{root!r}, {tests!r}]
from graph import durable
from recommender.releases import publishing
from recommender.releases.home import Home
from tests.faults.test_publishing_killed import carefully
{variant}
carefully(Home(Path(sys.argv[1])), 2)
"""
FORGETFUL = """
durable.sync = publishing.sync = lambda path: None
"""
CALL = re.compile(r"^(?:\d+ +)?(\w+)\((.*)\) += (-?\d+)")


def traced(home, tmp_path, variant=""):
    """The system calls of publishing one release: name, arguments, result."""
    if shutil.which("strace") is None:
        no_fault("there is no strace here")
    code = TRACED.format(root=str(ROOT), tests=str(ROOT / "tests"), variant=variant)
    log = tmp_path / "trace"
    calls = "trace=openat,write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,close"
    done = subprocess.run(
        ["strace", "-f", "-qq", "-e", calls, "-o", str(log), sys.executable, "-c", code,
         str(home.folder)],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    if "ptrace" in done.stderr and not log.read_text():
        no_fault("nothing can be traced here")
    assert done.returncode == 0, done.stderr
    lines = (CALL.match(line) for line in log.read_text(errors="replace").splitlines())
    return [line.groups() for line in lines if line]


def lost_syncs(calls, releases):
    """What was renamed before it was synced, and folders not synced after a rename."""
    files, unsynced, lost, waiting = {}, set(), [], {}
    for name, arguments, result in calls:
        if name == "openat":
            path = re.search(r'"([^"]*)"', arguments).group(1)
            if int(result) >= 0:
                files[result] = path
                if "O_WRONLY" in arguments or "O_RDWR" in arguments or "O_APPEND" in arguments:
                    unsynced.add(path)
        elif name in ("fsync", "fdatasync"):
            path = files.get(arguments.split(",")[0])
            unsynced.discard(path)
            waiting.pop(path, None)
        elif name.startswith("rename"):
            source, target = re.findall(r'"([^"]*)"', arguments)
            if not source.startswith(str(releases)):
                continue
            lost += [path for path in unsynced if path == source or path.startswith(source + "/")]
            waiting[str(Path(target).parent)] = target
    return lost, [target for folder, target in waiting.items() if folder.startswith(str(releases))]


def test_all_is_on_the_disk_before_it_is_renamed_and_every_rename_is_synced(home, tmp_path):
    calls = traced(home, tmp_path)
    renames = [arguments for name, arguments, _ in calls if name.startswith("rename")]
    assert any("000002-" in arguments for arguments in renames)
    assert any(CURRENT in arguments for arguments in renames)
    assert lost_syncs(calls, home.releases) == ([], [])


def test_a_lost_fsync_is_seen(home, tmp_path):
    lost, unsynced = lost_syncs(traced(home, tmp_path, FORGETFUL), home.releases)
    assert lost
    assert unsynced


# ── artefacts that are not as they were written ──────────────────────────────────────────


def flipped(folder, draws):
    path = draws.choice(sorted(folder.iterdir()))
    content = bytearray(path.read_bytes())
    if not content:
        return cut_or_grown(folder, draws)
    content[draws.randrange(len(content))] ^= 1 << draws.randrange(8)
    return {path: bytes(content)}


def cut_or_grown(folder, draws):
    path = draws.choice(sorted(folder.iterdir()))
    content = path.read_bytes()
    if content and draws.random() < 0.7:
        return {path: content[: draws.randrange(len(content))]}
    return {path: content + bytes([draws.randrange(256)])}


def swapped(folder, draws):
    first, second = draws.sample(sorted(folder.glob("*.npy")), 2)
    contents = first.read_bytes(), second.read_bytes()
    return {} if contents[0] == contents[1] else {first: contents[1], second: contents[0]}


def missing(folder, draws):
    return {draws.choice(sorted(folder.iterdir())): None}


def stale_manifest(folder, draws):
    path = folder / publishing.MANIFEST
    number = 2 + draws.randrange(100)
    other = folder.parent / f".other-{number}"
    other.mkdir()
    write_tiny(other, number)
    content = (other / path.name).read_bytes()
    shutil.rmtree(other)
    return {path: content}


def another_shape(folder, draws):
    """An array of another shape or type, and a manifest whose sums are right."""
    path = draws.choice(sorted(folder.glob("*.npy")))
    array = np.load(path)
    kinds = [
        lambda a: np.concatenate([a, a]) if len(a) else np.zeros((3, *a.shape[1:]), a.dtype),
        lambda a: a[None],
        lambda a: a.astype(np.int16 if a.dtype != np.int16 else np.float64),
        lambda a: np.zeros((0, 7), a.dtype),
        lambda a: np.asfortranarray(np.zeros((2, 2, 2), a.dtype)),
    ]
    changed = draws.choice(kinds)(array)
    before = {path: path.read_bytes(), folder / publishing.MANIFEST: None}
    before[folder / publishing.MANIFEST] = (folder / publishing.MANIFEST).read_bytes()
    np.save(path, changed)
    manifest = publishing._manifest(folder)
    manifest["files"][path.name] = {
        "bytes": path.stat().st_size,
        "sha256": publishing._sha256(path),
    }
    publishing.write_manifest(folder, manifest)
    after = {file: file.read_bytes() for file in before}
    for file, content in before.items():
        file.write_bytes(content)
    return after


MUTATIONS = (flipped, cut_or_grown, swapped, missing, stale_manifest, another_shape)


def opened_although_mutated(home, count, verify=True):
    """Which mutations go unnoticed when a release is opened: names of kinds and of files."""
    folder = home.releases / current(home)
    draws = random.Random(11)
    opened = []
    for number in range(count):
        mutate = MUTATIONS[number % len(MUTATIONS)]
        changes = mutate(folder, draws)
        before = {path: path.read_bytes() for path in changes}
        for path, content in changes.items():
            path.unlink()
            if content is not None:
                path.write_bytes(content)
        if changes and changes != before:
            with contextlib.suppress(ReleaseError):
                open_release(folder, verify=verify)
                opened.append((mutate.__name__, sorted(path.name for path in changes)))
        for path, content in before.items():
            path.write_bytes(content)
    return opened


@pytest.mark.parametrize("count", [120, pytest.param(10_000, marks=pytest.mark.long)])
def test_no_mutated_release_is_opened(home, count, record_property):
    assert opened_although_mutated(home, count) == []
    assert whole(home) == 1
    record_property("counted", f"{count} mutated releases: 0 opened")


def test_without_sums_and_shapes_mutated_releases_are_opened(home):
    opened = {mutation for mutation, _ in opened_although_mutated(home, 60, verify=False)}
    assert opened >= {"swapped", "another_shape"}


def test_a_manifest_with_any_letter_changed_is_refused(home):
    """A hundred of its letters, each changed a little: keys, figures, sums, signs."""
    path = home.releases / current(home) / publishing.MANIFEST
    content = path.read_bytes()
    for at in range(0, len(content), len(content) // 100):
        for bit in (1, 4):
            changed = bytearray(content)
            changed[at] ^= bit
            with contextlib.suppress(ValueError):
                if publishing.json.loads(changed) == publishing.json.loads(content):
                    continue  # a space
            path.write_bytes(changed)
            with pytest.raises(ReleaseError):
                open_release(path.parent)


def test_one_of_a_newer_schema_is_refused_by_name(home):
    manifest = home.releases / current(home) / publishing.MANIFEST
    content = manifest.read_text().replace(
        f'"schema": {publishing.SCHEMA_VERSION}', f'"schema": {publishing.SCHEMA_VERSION + 1}'
    )
    manifest.write_text(content)
    with pytest.raises(ReleaseError, match=f"has schema {publishing.SCHEMA_VERSION + 1}"):
        open_release(manifest.parent)
