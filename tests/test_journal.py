"""The journal: what it acknowledged is there, once, in order, whatever dies."""

import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from graph.errors import InboxFull, StoreAway, StoreForeign
from graph.sqlite_file import connect
from recommender.inbox.facts import fact, item_subject, user_subject
from recommender.inbox.journal import Journal, Limits

ROOT = Path(__file__).resolve().parents[1]
NOW = 1_760_000_000
KEY = "5a" * 32


def event(user="ann", item="goldberg", kind="play", **more):
    return fact("events", {"user": user, "item": item, "kind": kind, **more})


@pytest.fixture(params=[None, KEY], ids=["plain", "encrypted"])
def journal(tmp_path, request):
    journal = Journal(tmp_path / "inbox" / "journal.sqlite", key=request.param)
    yield journal
    journal.close()


def append(journal, *facts, now=NOW):
    return [(it.sequence, it.repeated) for it in journal.append(facts, now=now)]


def test_a_journal_that_nobody_wrote_is_empty_and_makes_no_file(journal):
    assert (journal.last_sequence(), journal.facts_after(0), journal.size()) == (0, [], 0)
    assert not journal.path.exists()


def test_facts_come_back_in_order_with_number_time_and_fields(journal):
    append(journal, event(at=5), event(item="partitas", value=4.5, at=6))
    append(journal, fact("item_put", {"id": "suites", "title": None, "tags": []}), now=NOW + 1)
    assert journal.facts_after(0) == [
        (1, "events", {"user": "ann", "item": "goldberg", "kind": "play", "at": 5}, NOW),
        (
            2,
            "events",
            {"user": "ann", "item": "partitas", "kind": "play", "value": 4.5, "at": 6},
            NOW,
        ),
        (3, "item_put", {"id": "suites", "tags": []}, NOW + 1),
    ]
    assert [row.sequence for row in journal.facts_after(1, limit=1)] == [2]
    assert journal.last_sequence() == 3


def test_what_one_process_wrote_another_reads(journal):
    append(journal, event())
    other = Journal(journal.path, key=journal.key)
    assert other.last_sequence() == 1
    append(journal, event("bob"))
    assert [row.payload["user"] for row in other.facts_after(1)] == ["bob"]
    append(other, event("cleo"))
    assert journal.last_sequence() == 3
    other.close()


@pytest.mark.parametrize(
    ("first", "second", "repeated"),
    [
        (event(at=5), event(at=5), True),
        (event(at=5), event(at=6), False),
        (event(), event(), True),
        (event(at=5, value=1.0), event(at=5, value=2.0), False),
        (event(tag="slow"), event(tag="fast"), False),
        (event(event_id="e1"), event(event_id="e1"), True),
        (event(event_id="e1"), event(event_id="e2"), False),
        (event("a", "bc"), event("ab", "c"), False),
        (fact("item_put", {"id": "x"}), fact("item_put", {"id": "x"}), True),
        (fact("item_put", {"id": "x"}), fact("item_put", {"id": "x", "title": "X"}), False),
        (fact("item_put", {"id": "x"}), fact("item_delete", {"id": "x"}), False),
        (fact("items", {"id": "x"}), fact("users", {"id": "x"}), False),
        (fact("user_delete", {"person": "p"}), fact("user_delete", {"person": "p"}), False),
    ],
)
def test_saying_the_same_again_gives_the_first_number(journal, first, second, repeated):
    append(journal, first)
    assert append(journal, second, now=NOW + 60) == [(1, True) if repeated else (2, False)]
    assert append(journal, second, now=NOW + 90)[0][1] or second.kind == "user_delete"


def test_within_one_request_too(journal):
    assert append(journal, event(), event("bob"), event()) == [(1, False), (2, False), (1, True)]


def test_what_was_said_before_something_else_came_is_said_anew(journal):
    put = fact("item_put", {"id": "x", "title": "X"})
    append(journal, put, fact("item_patch", {"id": "x", "title": "Y"}))
    assert append(journal, put) == [(3, False)]
    append(journal, fact("item_tags", {"item": "x", "category": "tag", "tag": "new"}))
    assert append(journal, put) == [(5, False)]
    append(journal, fact("load", {"files": ["items.csv"]}))  # it may have changed anything
    assert append(journal, put) == [(7, False)]
    assert append(journal, put) == [(7, True)]


def test_an_event_with_an_id_and_no_time_happened_when_it_was_acknowledged(journal):
    append(journal, event(event_id="e1"), event(), event(event_id="e2", at=7))
    assert [row.payload.get("at") for row in journal.facts_after(0)] == [NOW, None, 7]


def test_facts_of_one_user_or_item_are_found_by_their_subject(journal):
    append(journal, event(), event("bob"), fact("consent", {"id": "ann", "consent": {"train": 0}}))
    append(journal, fact("item_put", {"id": "ann"}))

    def kinds(subject):
        return [row.kind for row in journal.facts_about(subject)]

    assert kinds(user_subject("ann")) == ["events", "consent"]
    assert kinds(item_subject("ann")) == ["item_put"]
    assert kinds(user_subject("nobody")) == []


def counted(journal, monkeypatch):
    """The number of requests in each commit from now on."""
    commits, taken = [], journal._taken

    def count():
        together = taken()
        commits.append(len(together))
        return together

    monkeypatch.setattr(journal, "_taken", count)
    return commits


def test_requests_of_the_same_moment_share_a_commit(journal, monkeypatch):
    append(journal, event("first"))
    commits = counted(journal, monkeypatch)
    blocker = connect(journal.path, journal.key, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    took = [None] * 8

    def write(number):
        took[number] = append(journal, event(f"user {number}"))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    while len(journal._waiting) < 8:  # the first one waits for the file, the others for it
        assert all(thread.is_alive() for thread in threads)
    blocker.execute("COMMIT")
    blocker.close()
    for thread in threads:
        thread.join()
    assert commits == [8]
    assert sorted(sequence for [(sequence, _)] in took) == list(range(2, 10))


def test_those_who_wait_do_not_wait_for_each_other(journal, monkeypatch):
    """On a slow disk, requests that come while a commit is written all go into the next one."""
    append(journal, event("first"))
    commits, written = counted(journal, monkeypatch), journal._written

    @contextmanager
    def slow():
        with written() as db:
            yield db
            time.sleep(0.005)

    monkeypatch.setattr(journal, "_written", slow)

    def write(number):
        for turn in range(10):
            append(journal, event(f"user {number} {turn}"))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(commits) == 80
    assert len(commits) <= 40  # some twelve; each thread for itself would take 57 or more


WRITER = """
import sys
from pathlib import Path
from recommender.inbox.facts import fact
from recommender.inbox.journal import Journal
journal, name = Journal(Path(sys.argv[1]), key=sys.argv[3] or None), sys.argv[2]
for place in range(100_000):
    facts = [fact("events", {"user": name, "item": f"{place}/{i}", "kind": "view"}) for i in (0, 1)]
    numbers = [str(receipt.sequence) for receipt in journal.append(facts, now=1)]
    print(" ".join(numbers), flush=True)  # at once, even where output is not buffered
"""


def test_no_acknowledged_fact_is_lost_when_writers_are_killed(journal):
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, journal.path, name, journal.key or ""],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("ann", "bob")
    ]
    numbers = []
    for writer in writers:
        lines = [writer.stdout.readline() for _ in range(20)]  # both write at the same time
        writer.kill()
        lines += writer.communicate()[0].splitlines()
        numbers.append([int(number) for line in lines for number in line.split()])
    rows = journal.facts_after(0)
    for name, acknowledged in zip(("ann", "bob"), numbers, strict=True):
        written = [row.sequence for row in rows if row.payload["user"] == name]
        assert acknowledged == written[: len(acknowledged)]
        assert len(written) - len(acknowledged) in (0, 2)  # what was not said may be there, whole
    assert append(journal, event("after")) == [(len(rows) + 1, False)]


def test_a_torn_end_of_the_write_ahead_file_takes_only_what_was_not_acknowledged(journal, tmp_path):
    append(journal, *[event(f"user {number}") for number in range(50)])
    whole = Path(f"{journal.path}-wal").stat().st_size
    append(journal, event("torn"))
    for cut in (whole, whole + 1, whole + 2000, Path(f"{journal.path}-wal").stat().st_size - 1):
        copy = tmp_path / f"cut at {cut}" / "journal.sqlite"
        copy.parent.mkdir()
        shutil.copy(journal.path, copy)
        Path(f"{copy}-wal").write_bytes(Path(f"{journal.path}-wal").read_bytes()[:cut])
        torn = Journal(copy, key=journal.key)
        assert [row.sequence for row in torn.facts_after(0)] == list(range(1, 51))
        assert append(torn, event("next")) == [(51, False)]
        torn.close()


def test_a_file_of_another_program_or_a_newer_version_is_left_alone(tmp_path):
    foreign = tmp_path / "foreign.sqlite"
    with sqlite3.connect(foreign) as db:
        db.execute("CREATE TABLE theirs (x)")
    db.close()
    before = foreign.read_bytes()
    with pytest.raises(StoreForeign, match="another program"):
        Journal(foreign).append([event()], now=NOW)
    assert foreign.read_bytes() == before
    journal = Journal(tmp_path / "journal.sqlite")
    append(journal, event())
    journal.close()
    with sqlite3.connect(journal.path) as db:
        db.execute("PRAGMA user_version = 1000")
    db.close()
    newer = Journal(journal.path)
    for use in (newer.last_sequence, lambda: append(newer, event("bob"))):
        with pytest.raises(StoreForeign, match="newer version"):
            use()
    with sqlite3.connect(journal.path) as db:
        assert db.execute("SELECT count(*) FROM facts").fetchone() == (1,)
    db.close()


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(free_bytes=10**18), "inbox_free_bytes"),
        (Limits(most_bytes=10_000), "inbox_bytes"),
    ],
)
def test_at_a_limit_writes_wait_and_nothing_is_dropped(tmp_path, limits, words):
    wide = Journal(tmp_path / "journal.sqlite")
    append(wide, event())
    narrow = Journal(wide.path, limits)
    with pytest.raises(InboxFull, match=words):
        append(narrow, event("bob"))
    assert [row.payload["user"] for row in narrow.facts_after(0)] == ["ann"]
    narrow.close()
    wide.close()


def test_a_full_disk_refuses_the_request_and_keeps_the_rest(journal):
    append(journal, event())
    pages = journal._writer.execute("PRAGMA page_count").fetchone()[0]
    journal._writer.execute(f"PRAGMA max_page_count = {pages}")  # what SQLite does on a full disk
    with pytest.raises(InboxFull, match="full"):
        append(journal, *[event(f"user {number}" * 50) for number in range(100)])
    assert journal.last_sequence() == 1
    journal._writer.execute("PRAGMA max_page_count = 1000000")
    assert append(journal, event("bob")) == [(2, False)]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "inbox").write_text("a file")
    journal = Journal(tmp_path / "inbox" / "journal.sqlite")
    with pytest.raises(StoreAway, match="inbox"):
        append(journal, event())
