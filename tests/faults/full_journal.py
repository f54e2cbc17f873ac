"""Writes into a journal until its disk is full, in a mount namespace with a small disk in memory.

    full_journal.py FOLDER ROUNDS [KEY]

mounts the disk at FOLDER. In each round a ballast leaves another room. Facts are written until the
journal refuses them, one at a time and many at a time by turns; then the ballast goes. It prints a
line of JSON for each round: how it was refused, how many facts were taken, and whether a journal
opened anew holds just the acknowledged facts: while the disk is full, when there is room, after the
next write, and in some rounds when everybody let go of it and nothing at all is free.
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
from recommender.inbox.facts import Row, fact  # noqa: E402
from recommender.inbox.feedback import not_clicked, take  # noqa: E402
from recommender.inbox.journal import Journal, Limits  # noqa: E402

SIZE = 64_000_000
ROOM, GROWTH = 5000, 1.6  # bytes of the first round, and times as much with each; 16: 5.8 MB
NOW = 1_760_000_000
SHOWN = {"request": "r", "item": "x", "position": 1, "source": "items", "release": "1", "user": "u",
         "at": NOW}  # fmt: skip
LIMITS = Limits(free_bytes=0)  # only the disk itself says no
KEY = sys.argv[3] if len(sys.argv) > 3 else None


def written(journal, name, count):
    """Write a batch; number -> user of what was acknowledged."""
    users = [f"{name}-{entry}" for entry in range(count)]
    facts = [fact("events", {"user": user, "item": "x" * 200, "kind": "view"}) for user in users]
    receipts = journal.append(facts, now=NOW)
    return {receipt.sequence: user for receipt, user in zip(receipts, users, strict=True)}


def held(path):
    """What a journal that is opened anew holds."""
    with closing(Journal(path, LIMITS, KEY)) as journal:
        rows, after = {}, 0
        while more := journal.facts_after(after):
            rows |= {row.sequence: row.payload["user"] for row in more}
            after = more[-1].sequence
        return rows


def main():
    folder, rounds = Path(sys.argv[1]), int(sys.argv[2])
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)], check=True)
    path, ballast = folder / "inbox" / "journal.sqlite", folder / "ballast"
    acknowledged, journal = {}, Journal(path, LIMITS, KEY)
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
        take(journal, [Row(1, "impression", SHOWN, NOW)])
        opened_full = None
        if number % 3 == 2:  # the server ends, and starts again where nothing at all is free
            journal.close()
            with ballast.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(folder).free)
            opened_full = held(path) == acknowledged and len(not_clicked(journal, 99, NOW, 9)) == 1
            journal = Journal(path, LIMITS, KEY)
            journal.last_sequence()
            try:
                written(journal, "none", 1)
                opened_full = False
            except InboxFull:
                ballast.unlink()
        print(json.dumps(
            {"problem": problem, "opened_full": opened_full,
             "taken": len(acknowledged) - before - 3,
             "while_full": while_full, "with_room": with_room,
             "goes_on": held(path) == acknowledged, "last": max(acknowledged)}
        ), flush=True)  # fmt: skip
    journal.close()


if __name__ == "__main__":
    main()
