"""An inbox with 150 facts and something shown, left by a process that was killed; keys for it."""

import shutil
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from recommender.inbox import feedback
from recommender.inbox.journal import Journal
from recommender.releases.home import Home
from tests.data import package

package("sqlcipher3")
ROOT = Path(__file__).resolve().parents[1]
NOW = 1_760_000_000
KEY, OTHER = "5a" * 32, "c3" * 32
CANARY = "canary-reader-81c4"
TITLE = "Canary Title 5e02"
PLAIN = b"SQLite format 3"
SHOWN = {"request": "r", "item": "x", "position": 1, "source": "items", "release": "1",
         "user": CANARY, "at": NOW}  # fmt: skip


@pytest.fixture
def key_file(tmp_path):
    return write_key(tmp_path / "journal.key", KEY)


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home").create()


@pytest.fixture
def filled(home):
    """A journal and a feedback file, not encrypted, of a process that was killed."""
    fill(home, None)
    return home


def without_inbox(home, folder):
    """A copy of a home, less its inbox: a server of another test may have made it one."""
    return Home(shutil.copytree(home.folder, folder, ignore=shutil.ignore_patterns("inbox")))


def write_key(file, key):
    file.write_text(f"{key}\n")
    file.chmod(0o600)
    return file


FILL = """
import os, sys
from pathlib import Path
from recommender.inbox import feedback
from recommender.inbox.facts import Row, fact
from recommender.inbox.journal import Journal
journal = Journal(Path(sys.argv[1]), key=sys.argv[2] or None)
events = [{"user": sys.argv[3], "item": f"item {i}", "kind": "view"} for i in range(200)]
journal.append([fact("events", event) for event in events], now=1_760_000_000)
journal.trim(50)
shown = {"request": "r", "item": "x", "position": 1, "source": "items", "release": "1",
         "user": sys.argv[3], "at": 1_760_000_000}
feedback.take(journal, [Row(7, "impression", shown, 1_760_000_000)])
os.kill(os.getpid(), 9)  # what it wrote is in the write-ahead file
"""


def fill(home, key):
    words = [sys.executable, "-c", FILL, home.inbox, key or "", CANARY]
    assert subprocess.run(words, cwd=ROOT).returncode == -signal.SIGKILL
    assert home.inbox.with_name("journal.sqlite-wal").stat().st_size


def content(home, key):
    """What the inbox holds, by its key."""
    with closing(Journal(home.inbox, key=key)) as journal:
        return journal.identity(), journal.facts_after(0), feedback.about_user(journal, CANARY)


def written(home):
    """The bytes of all that is in the folder of the inbox."""
    return b"".join(path.read_bytes() for path in home.inbox.parent.iterdir() if path.is_file())


def keyed(home, file):
    return Home(home.folder, journal_key_file=file)
