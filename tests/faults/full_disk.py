"""Refreshes on a disk that is full, in a mount namespace with a small disk in memory of its own.

    full_disk.py HOME FOLDER PLACES

mounts the disk at FOLDER, copies HOME onto it, and refreshes as often as PLACES says with less and
less room. It prints a line of JSON for each: exit code, message, whether the old release is whole,
and whether all heals when there is room again.
"""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from api.cli.main import run  # noqa: E402
from recommender.releases.home import Home  # noqa: E402
from recommender.releases.publishing import current, open_release  # noqa: E402

SIZE = 64_000_000
INDEX = 20_000  # not even the index of a write-ahead log fits


def refreshed(home):
    output = io.StringIO()
    with contextlib.redirect_stderr(output), contextlib.redirect_stdout(io.StringIO()):
        code = run(["--home", str(home), "refresh", "--preset", "fast", "--threads", "1", "--full"])
    return code, output.getvalue().splitlines()[-1]


def left(folder):
    return shutil.disk_usage(folder).free


def main():
    source, folder, places = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)], check=True)
    home = Home(shutil.copytree(source, folder / "home"))
    before, free = current(home), left(folder)
    refreshed(home.folder)
    assert current(home) != before
    needed = free - left(folder)
    before = current(home)
    ballast = folder / "ballast"
    little = [0, INDEX]
    for room in [
        *little,
        *(needed * step // places for step in range(1, places - len(little) + 1)),
    ]:
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(left(folder) - room, 1))
        code, message = refreshed(home.folder)
        whole = current(home) == before and open_release(home.releases / before) is not None
        ballast.unlink()
        again, healing = refreshed(home.folder)
        healed = again == 0 and current(home) != before
        open_release(home.releases / current(home))
        before = current(home)
        print(json.dumps(
            {"room": room, "code": code, "message": message, "whole": whole, "healed": healed,
             "healing": healing,
             "leftovers": [path.name for path in home.releases.glob(".staging*")]}
        ), flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
