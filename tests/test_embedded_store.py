import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest
from store_contract import StoreContract, event, events

from graph.embedded_store import MIGRATIONS, EmbeddedStore
from graph.errors import StoreAway, StoreError, StoreForeign
from graph.snapshot import take_snapshot

ROOT = Path(__file__).resolve().parents[1]
# Applies named batches of 2,000 events: arguments are the file, the first and the last batch.
WRITER = """
import sys
import pyarrow as pa
from graph.embedded_store import EmbeddedStore

def batch(number):
    places = range(number * 1000, number * 1000 + 2000)  # half of each batch is in the next too
    return {"events": pa.table({
        "user": [f"u{p % 331}" for p in places],
        "item": [f"i{p % 1009}" for p in places],
        "kind": ["like"] * 2000,
        "value": [float(p % 5) for p in places],
    })}

if __name__ == "__main__":
    store = EmbeddedStore(sys.argv[1])
    print("ready", flush=True)
    for number in range(int(sys.argv[2]), int(sys.argv[3])):
        store.apply(batch(number), name=f"batch {number}")
"""


class TestEmbeddedStore(StoreContract):
    @pytest.fixture
    def fresh(self, tmp_path):
        stores = []

        def make():
            for store in stores:
                store.close()
            stores.append(EmbeddedStore(tmp_path / f"{len(stores)}.db"))
            return stores[-1]

        yield make
        for store in stores:
            store.close()


@pytest.fixture
def writer(tmp_path):
    (tmp_path / "writer.py").write_text(WRITER)

    def start(path, first, last):
        command = [sys.executable, str(tmp_path / "writer.py"), str(path), str(first), str(last)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}
        )
        assert process.stdout.readline() == b"ready\n"
        return process

    return start


def finish(process):
    process.stdout.close()
    return process.wait()


def fingerprint(path):
    store = EmbeddedStore(path)
    try:
        return take_snapshot(store).fingerprint
    finally:
        store.close()


def test_two_processes_write_at_once_and_nothing_is_lost(writer, tmp_path):
    assert finish(writer(tmp_path / "one.db", 0, 24)) == 0
    both = [writer(tmp_path / "two.db", 0, 12), writer(tmp_path / "two.db", 12, 24)]
    assert [finish(process) for process in both] == [0, 0]
    assert fingerprint(tmp_path / "two.db") == fingerprint(tmp_path / "one.db")


def test_a_writer_killed_at_any_moment_and_run_again_gives_the_same_graph(writer, tmp_path):
    assert finish(writer(tmp_path / "calm.db", 0, 30)) == 0
    draw = random.Random(3)
    for _ in range(6):
        process = writer(tmp_path / "killed.db", 0, 30)
        time.sleep(draw.random() * 0.4)
        process.send_signal(signal.SIGKILL)
        finish(process)
    assert finish(writer(tmp_path / "killed.db", 0, 30)) == 0
    assert fingerprint(tmp_path / "killed.db") == fingerprint(tmp_path / "calm.db")


def test_a_reader_sees_no_half_of_a_batch(tmp_path):
    """What a transaction has not committed is seen by nobody else."""
    writing, reading = EmbeddedStore(tmp_path / "g.db"), EmbeddedStore(tmp_path / "g.db")
    writing.apply(events(event("u", "i")))
    with writing._transaction("IMMEDIATE") as db:
        db.execute("DELETE FROM events")
        assert reading.counts()["events"] == 1
    assert reading.counts()["events"] == 0
    writing.close()
    reading.close()


def test_what_was_written_is_there_after_opening_again(tmp_path):
    store = EmbeddedStore(tmp_path / "deep" / "g.db")
    store.apply(events(event("u", "i")), name="n")
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.ping()
    store = EmbeddedStore(tmp_path / "deep" / "g.db")
    assert store.apply(events(event("u", "j")), name="n") is False
    assert store.counts()["events"] == 1
    assert store.uri == f"embedded:{tmp_path / 'deep' / 'g.db'}"
    store.close()


def test_a_file_of_another_program_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "other.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE users (id)")
    other.commit()
    other.close()
    before = path.read_bytes()
    with pytest.raises(StoreForeign, match="another program"):
        EmbeddedStore(path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "text.db"
    path.write_text("user,item\n" * 1000)
    with pytest.raises(StoreForeign, match="move this file away"):
        EmbeddedStore(path)
    assert path.read_text() == "user,item\n" * 1000


def test_a_file_of_a_newer_version_is_refused(tmp_path):
    path = tmp_path / "g.db"
    EmbeddedStore(path).close()
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    db.close()
    with pytest.raises(StoreForeign, match="newer"):
        EmbeddedStore(path)


def test_a_folder_in_the_place_of_the_file_says_what_to_check(tmp_path):
    with pytest.raises(StoreAway, match="check"):
        EmbeddedStore(tmp_path)


def test_a_file_copied_while_closed_is_the_same_graph(tmp_path):
    store = EmbeddedStore(tmp_path / "g.db")
    store.apply(events(event("u", "i"), event("猫", "i")))
    store.close()
    shutil.copy(tmp_path / "g.db", tmp_path / "h.db")
    assert fingerprint(tmp_path / "h.db") == fingerprint(tmp_path / "g.db")


def test_an_erased_user_is_nowhere_in_the_file(tmp_path):
    store = EmbeddedStore(tmp_path / "g.db")
    store.apply(events(event("a secret name", "i", event_id="a secret event")))
    assert b"secret" in (tmp_path / "g.db").read_bytes() + (tmp_path / "g.db-wal").read_bytes()
    store.erase_user("a secret name")
    left = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"secret" not in left
    store.close()


def test_large_batches_of_integers_keep_every_digit(tmp_path):
    store = EmbeddedStore(tmp_path / "g.db")
    times = [2**53 + 1, -(2**40), 0]
    store.apply(
        {"events": pa.table({"user": ["u"] * 3, "item": ["i"] * 3, "kind": ["k"] * 3, "at": times})}
    )
    assert sorted(store.read("events")["at"].to_pylist()) == sorted(times)
    store.close()
