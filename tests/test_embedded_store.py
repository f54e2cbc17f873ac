"""The embedded store: the contract, several processes, kills, foreign and newer files."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from graph.errors import StoreAway, StoreError, StoreForeign
from graph.model import table
from graph.snapshot import take_snapshot
from graph.stores import embedded_store
from graph.stores.embedded_store import APPLICATION_ID, MIGRATIONS, EmbeddedStore
from tests.store_contract import StoreContract, batch_of_everything, events

ROOT = Path(__file__).resolve().parents[1]

# Applies the batches of its part one by one, in an order of its own, and says each that is done.
WRITER = """
import sys
from graph.stores.embedded_store import EmbeddedStore
from graph.model import table
path, part, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = EmbeddedStore(path)
for number in range(count):
    rows = [
        {"user": f"{part} {user}", "item": f"item {item}", "kind": "like", "tag": f"t{number}"}
        for user in range(20) for item in range(40)
    ]
    store.apply({"events": table("events", rows)}, name=f"{part} {number}")
    print(number, flush=True)
"""


def writer(path, part, count):
    command = [sys.executable, "-c", WRITER, str(path), part, str(count)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


class TestEmbeddedStore(StoreContract):
    @pytest.fixture
    def fresh(self, tmp_path):
        made = []

        def fresh():
            made.append(EmbeddedStore(tmp_path / f"{len(made)}" / "graph.sqlite"))
            return made[-1]

        yield fresh
        for store in made:
            store.close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "graph.sqlite"


def test_what_is_written_is_there_after_reopening(path):
    with closing(EmbeddedStore(path)) as store:
        store.apply(batch_of_everything(), name="b")
        before, watermark = take_snapshot(store), store.watermark()
    with closing(EmbeddedStore(path)) as store:
        assert take_snapshot(store).fingerprint == before.fingerprint
        assert store.watermark() == watermark
        assert not store.apply(batch_of_everything(), name="b")


def test_two_processes_open_a_new_file_and_write_at_once(path):
    writers = [writer(path, part, 3) for part in ("one", "two")]
    assert [process.wait(120) for process in writers] == [0, 0]
    for process in writers:
        process.stdout.close()
    with closing(EmbeddedStore(path)) as store:
        assert store.counts()["events"] == 2 * 3 * 20 * 40
        assert store.counts()["users"] == 40


def test_a_reader_sees_whole_batches_while_another_writes(path):
    rows = 500
    with closing(EmbeddedStore(path)) as store, closing(EmbeddedStore(path)) as reader:

        def write():
            for number in range(10):
                store.apply(events(*((f"u{i}", f"i{number}") for i in range(rows))))

        thread = threading.Thread(target=write)
        thread.start()
        while thread.is_alive():
            assert reader.read("events").num_rows % rows == 0
        thread.join()
        assert reader.read("events").num_rows == 10 * rows


def test_a_writer_killed_at_any_moment_leaves_whole_batches_and_goes_on(path, tmp_path):
    """Five kills, each at a random moment of a write; then the same work is done to the end."""
    draw = random.Random(3)
    done = -1
    for _ in range(5):
        process = writer(path, "part", 12)
        for line in process.stdout:
            if int(line) > done:
                break
        time.sleep(draw.random() * 0.05)
        os.kill(process.pid, signal.SIGKILL)
        content = [int(line) for line in process.stdout.read().split()]
        process.wait()
        process.stdout.close()
        done = max([int(line), done, *content])
        with closing(EmbeddedStore(path)) as store:
            counted = store.counts()["events"]
            assert counted % 800 == 0
            assert counted >= 800 * (done + 1)  # what was acknowledged is there
    with writer(path, "part", 12) as process:
        process.communicate(timeout=120)
    with writer(tmp_path / "other.sqlite", "part", 12) as process:
        process.communicate(timeout=120)
    with (
        closing(EmbeddedStore(path)) as store,
        closing(EmbeddedStore(tmp_path / "other.sqlite")) as whole,
    ):
        assert take_snapshot(store).fingerprint == take_snapshot(whole).fingerprint


def test_a_file_of_another_program_is_refused_and_not_touched(path):
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE theirs (a)")
        db.commit()
    before = path.read_bytes()
    with pytest.raises(StoreForeign, match="another program"):
        EmbeddedStore(path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused(path):
    path.write_bytes(b"user,item\n" * 1000)
    with pytest.raises(StoreForeign, match="move this file away"):
        EmbeddedStore(path)


def test_a_newer_file_is_refused_with_the_remedy(path):
    EmbeddedStore(path).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(StoreForeign, match="install the newer"):
        EmbeddedStore(path)


def test_a_damaged_file_is_said_to_be_so(path):
    with closing(EmbeddedStore(path)) as store:
        store.apply(events(*((f"user {i}", f"item {i}") for i in range(5000))))
    data = bytearray(path.read_bytes())
    data[4096:] = random.Random(1).randbytes(len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(StoreError, match="graph.sqlite"):
        EmbeddedStore(path).read("events")


def test_an_older_file_is_brought_forward_with_its_facts(path, monkeypatch):
    with closing(EmbeddedStore(path)) as store:
        store.apply(batch_of_everything())
        before = take_snapshot(store).fingerprint
    newer = "CREATE TABLE more (a INTEGER); INSERT INTO more VALUES (7);"
    monkeypatch.setattr(embedded_store, "MIGRATIONS", [*MIGRATIONS, newer])
    for _ in range(2):  # the second time there is nothing left to do
        with closing(EmbeddedStore(path)) as store:
            assert take_snapshot(store).fingerprint == before
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT a FROM more").fetchall() == [(7,)]
        assert db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS) + 1,)
        assert db.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)


def test_a_migration_that_fails_changes_nothing(path, monkeypatch):
    EmbeddedStore(path).close()
    broken = "CREATE TABLE more (a INTEGER); INSERT INTO nowhere VALUES (7);"
    monkeypatch.setattr(embedded_store, "MIGRATIONS", [*MIGRATIONS, broken])
    with pytest.raises(StoreError):
        EmbeddedStore(path)
    monkeypatch.undo()
    EmbeddedStore(path).close()
    with closing(sqlite3.connect(path)) as db:
        assert not db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'more'").fetchall()


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreAway, match="file"):
        EmbeddedStore(tmp_path / "file" / "graph.sqlite")


def test_a_closed_store_says_so_and_closing_twice_is_fine(path):
    store = EmbeddedStore(path)
    store.close()
    store.close()
    for ask in (store.ping, store.counts, lambda: store.apply(events(("a", "b")))):
        with pytest.raises(StoreError, match="closed"):
            ask()


def test_threads_share_one_store(path):
    with closing(EmbeddedStore(path)) as store:
        work = [
            threading.Thread(
                target=lambda part=part: [
                    store.apply(events((f"{part}", f"{item}"))) for item in range(10)
                ]
            )
            for part in range(4)
        ]
        for thread in work:
            thread.start()
        for thread in work:
            thread.join()
        assert store.counts()["events"] == 40


def test_nothing_of_an_erased_user_stays_on_the_disk(path):
    secret, tag = "margarethe-secret", "tag-only-she-used"
    with closing(EmbeddedStore(path)) as store:
        store.apply(batch_of_everything())
        store.apply(
            events((secret, "x"), {"user": secret, "item": "x", "kind": "tag", "tag": tag})
            | {
                "users": table("users", [{"id": secret, "attributes": f'{{"mail": "{secret}@"}}'}]),
                "user_relations": table(
                    "user_relations", [{"source": "bob", "target": secret, "kind": "friend"}]
                ),
            }
        )
        store.erase_user(secret)
        for file in path.parent.iterdir():
            assert secret.encode() not in file.read_bytes()
            assert tag.encode() not in file.read_bytes()
        assert store.counts()["tags"] == 2  # a tag that others use stays
