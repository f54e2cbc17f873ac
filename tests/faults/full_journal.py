"""Writes into a journal until its disk is full, in a mount namespace with a small disk in memory.

    full_journal.py FOLDER ROUNDS

mounts the disk at FOLDER. In each round a ballast leaves another room. Facts are written until the
journal refuses them, one at a time and many at a time by turns; then the ballast goes. It prints a
line of JSON for each round: how it was refused, how many facts were taken, and whether a journal
opened anew holds just the acknowledged facts: while the disk is full, when there is room, and after
the next write.
"""

import json
import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from graph.errors import InboxFull  # noqa: E402
from recommender.inbox.facts import fact  # noqa: E402
from recommender.inbox.journal import Journal, Limits  # noqa: E402

SIZE = 64_000_000
ROOM, GROWTH = 5000, 1.6  # bytes of the first round, and times as much with each; 16: 5.8 MB
NOW = 1_760_000_000
LIMITS = Limits(free_bytes=0)  # only the disk itself says no


def written(journal, name, count):
    """Write a batch; number -> user of what was acknowledged."""
    users = [f"{name}-{entry}" for entry in range(count)]
    facts = [fact("events", {"user": user, "item": "x" * 200, "kind": "view"}) for user in users]
    receipts = journal.append(facts, now=NOW)
    return {receipt.sequence: user for receipt, user in zip(receipts, users, strict=True)}


def held(path):
    """What a journal that is opened anew holds."""
    with closing(Journal(path, LIMITS)) as journal:
        rows, after = {}, 0
        while more := journal.facts_after(after):
            rows |= {row.sequence: row.payload["user"] for row in more}
            after = more[-1].sequence
        return rows


def main():
    folder, rounds = Path(sys.argv[1]), int(sys.argv[2])
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)], check=True)
    path, ballast = folder / "inbox" / "journal.sqlite", folder / "ballast"
    acknowledged, journal = {}, Journal(path, LIMITS)
    for number in range(rounds):
        count, problem, before = (1, 100)[number % 2], None, len(acknowledged)
        with ballast.open("wb") as file:
            free = shutil.disk_usage(folder).free
            os.posix_fallocate(file.fileno(), 0, free - int(ROOM * GROWTH**number))
        while problem is None:
            try:
                acknowledged |= written(journal, f"{number}-{len(acknowledged)}", count)
            except InboxFull as error:
                problem = str(error)
        while_full = not acknowledged or held(path) == acknowledged
        ballast.unlink()
        with_room = held(path) == acknowledged
        acknowledged |= written(journal, f"{number}-after", 3)
        print(json.dumps(
            {"problem": problem, "taken": len(acknowledged) - before - 3,
             "while_full": while_full, "with_room": with_room,
             "goes_on": held(path) == acknowledged, "last": max(acknowledged)}
        ), flush=True)  # fmt: skip
        if number % 3 == 2:  # some rounds begin with a journal that is opened anew
            journal.close()
            journal = Journal(path, LIMITS)
            journal.last_sequence()  # SQLite needs 32 kB of disk to open it: the server came first
    journal.close()


if __name__ == "__main__":
    main()
