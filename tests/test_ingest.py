"""A load is all or nothing per file, may be repeated or killed, and says what became of rows."""

import csv
import gzip
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import csv as arrow_csv

from graph.errors import InputError, TooManyRejects
from graph.snapshot import take_snapshot
from graph.stores.embedded_store import EmbeddedStore
from loaders import duplicates, staging
from loaders.duplicates import UserCounts, count_distinct
from loaders.format import Options
from loaders.ingest import load
from loaders.rejects import harmless
from loaders.synthetic import END, generate

ROOT = Path(__file__).resolve().parents[1]


class Home:
    """A store with its staging folder, loaded from files beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = EmbeddedStore(folder / "graph.sqlite")
        self.rejects = folder / "rejects.csv"

    def write(self, text: str | bytes, name: str = "events.csv") -> Path:
        path = self.folder / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def load(self, *paths: Path, form: str = "table", progress=None, **kwargs):
        names = (
            "max_rejects",
            "max_hidden",
            "max_rejects_kept",
            "max_unpacked_bytes",
            "replace",
            "dry_run",
        )
        named = {name: kwargs.pop(name) for name in names if name in kwargs}
        return load(
            paths,
            form,
            self.store,
            staging_folder=self.folder / "staging",
            rejects_file=self.rejects,
            now=END,
            options=Options(**kwargs),
            progress=progress,
            **named,
        )

    def fingerprint(self) -> str:
        return take_snapshot(self.store).fingerprint


@pytest.fixture
def home(tmp_path):
    made = Home(tmp_path)
    yield made
    made.store.close()


def synthetic_csv(path: Path, events: int) -> Path:
    tables = [b["events"] for b in generate(events, seed=3).batches() if "events" in b]
    columns = ["user", "item", "kind", "at"]
    arrow_csv.write_csv(pa.concat_tables(tables).select(columns), path)
    return path


def test_the_same_file_twice_is_the_same_graph_undated_rows_included(home):
    file = home.write("user,item,at\na,x,\na,x,\nb,y,1700000000\nb,y,\n")
    first = home.load(file)
    once, watermark = home.fingerprint(), home.store.watermark()
    second = home.load(file)
    assert home.fingerprint() == once
    assert home.store.watermark() == watermark
    assert first.totals["events"] == second.totals["events"] == 3
    assert first.duplicates == second.duplicates == {"events": 1}


def test_ids_of_two_spellings_are_one(home):
    home.load(home.write("user,item\ne\u0301,x\n\u00e9,x\n"))
    assert home.store.read("events").column("user").cast("string").to_pylist() == ["\u00e9"]


def test_a_corrected_value_is_the_same_event(home):
    home.load(home.write("user,item,rating\na,x,1\n"))
    home.load(home.write("user,item,rating\na,x,5\n"))
    assert home.store.read("events").column("value").to_pylist() == [5.0]


def test_event_ids_decide_and_the_last_row_of_a_file_wins(home):
    rows = [f"u{n},i{n % 7},e{n % 50}" for n in range(500)]
    home.load(home.write("user,item,event_id\n" + "\n".join(rows)))
    result = {row["event_id"]: row["user"] for row in home.store.read("events").to_pylist()}
    assert result == {f"e{n % 50}": f"u{n}" for n in range(450, 500)}


def test_rejects_are_written_with_file_line_and_reason_and_the_load_goes_on(home):
    good = "".join(f"u{n},x,\n" for n in range(100))
    file = home.write(f"user,item,rating\n{good},y,\n=1+1,\x07,\nc,z,NaN\n")
    report = home.load(file)
    assert report.totals["events"] == 100
    assert report.rejected == {"missing id": 1, "control character": 1, "NaN or infinite": 1}
    assert (report.rows, report.files[0].rejected) == (103, 3)
    with home.rejects.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [(row["file"], row["line"], row["reason"]) for row in rows] == [
        (str(file), "102", "missing id"),
        (str(file), "103", "control character"),
        (str(file), "104", "NaN or infinite"),
    ]
    assert rows[1]["row"] == "user==1+1 item=\\x07 value="
    home.load(home.write("user,item\na,b\n"))
    assert not home.rejects.exists()  # it tells of the last load


@pytest.mark.parametrize("text", ["=SUM(A1)", "+1", "-1", "@x", "\t=1"])
def test_no_cell_of_the_rejects_file_is_a_formula(text):
    assert harmless(text)[0] in "'\\"


def test_too_many_rejects_stop_the_load_and_nothing_of_the_file_is_kept(home):
    first = home.write("user,item\na,x\n", "first.csv")
    bad = "".join(f"u{n},x\n" for n in range(90)) + ",x\n" * 10
    second = home.write("user,item\n" + bad, "second.csv")
    with pytest.raises(TooManyRejects, match=r"second\.csv: 10 of the first 100 rows.*missing id"):
        home.load(first, second)
    assert home.store.counts()["events"] == 1
    assert len(home.rejects.read_text().splitlines()) == 11
    assert os.listdir(home.folder / "staging") == []
    home.load(first, second, max_rejects=0.1)
    assert home.store.counts()["events"] == 91


def test_a_hopeless_file_is_stopped_early(home):
    """Soon after 10,000 rows, not after all: the rejects file stays small."""
    home.write(gzip.compress(b"user,item\n" + b",x\n" * 1_000_000, 1), "events.csv.gz")
    with pytest.raises(TooManyRejects):
        home.load(home.folder / "events.csv.gz")
    assert len(home.rejects.read_text().splitlines()) < 50_000


def test_a_file_that_ends_early_leaves_nothing(home):
    whole = gzip.compress(b"user,item\n" + b"".join(b"u%d,x\n" % n for n in range(50_000)))
    with pytest.raises(InputError, match=r"events\.gz: the compressed file"):
        home.load(home.write(whole[:-50], "events.gz"))
    assert home.store.counts()["events"] == 0


def test_an_unknown_format_names_those_there_are(home):
    with pytest.raises(InputError, match="there is no format 'csv'; there are table, citeulike"):
        home.load(home.folder, form="csv")


def test_replacing_hides_what_is_missing_and_forgets_old_tags(home):
    listed = {"table": "items", "replace": True, "max_hidden": 1.0}
    home.load(home.write("id,title,tags\n1,one,a|b\n2,two,c\n"), table="items")
    report = home.load(home.write("id,title,tags\n1,,b\n3,three,d\n"), **listed)
    items = {row["id"]: row for row in home.store.read("items").to_pylist()}
    assert report.hidden == 1
    assert {id_: row["hidden"] for id_, row in items.items()} == {"1": False, "2": True, "3": False}
    assert items["1"]["title"] is None
    tags = {(row["item"], row["tag"]) for row in home.store.read("item_tags").to_pylist()}
    assert tags == {("1", "b"), ("2", "c"), ("3", "d")}
    again = home.load(home.write("id,title\n1,one\n2,two\n3,three\n"), **listed)
    assert again.hidden == 0
    assert not any(row["hidden"] for row in home.store.read("items").to_pylist())


def test_outliers_are_reported_and_kept(home):
    busy = "".join(f"robot,i{n}\n" for n in range(2_000))
    quiet = "".join(f"u{n},i1\nu{n},i2\n" for n in range(50))
    report = home.load(home.write("user,item\n" + busy + quiet))
    assert report.outliers == [("robot", 2_000)]
    assert report.totals["events"] == 2_100


def test_outliers_are_counted_over_chunks():
    counts = UserCounts()
    for _ in range(7):
        counts.add(pa.chunked_array([["a"] * 300 + ["b"]]))
    assert counts.outliers(300) == []  # the median of 2,100 and 7 is half of 2,107
    counts.add(pa.chunked_array([["c", "d"]]))
    assert counts.outliers() == []
    assert counts.outliers(500) == [("a", 2_100)]


def test_duplicates_are_counted_in_parts_too(tmp_path, monkeypatch):
    """Whatever fits into memory at once, the count is the same."""
    import numpy as np

    path = tmp_path / "keys"
    path.write_bytes(np.random.default_rng(0).integers(0, 500, 2_000).astype(np.uint64).tobytes())
    expected = (2_000, len(set(np.fromfile(path, np.uint64).tolist())))
    assert count_distinct(path) == expected
    monkeypatch.setattr(duplicates, "MOST_KEYS", 64)
    assert count_distinct(path) == expected


def test_leftovers_of_killed_loads_are_collected_and_running_loads_are_not(tmp_path):
    dead = tmp_path / "load-dead"
    dead.mkdir()
    (dead / "lock").touch()
    (dead / "events-0.arrows").write_bytes(b"x" * 100)
    with staging.staging(tmp_path) as mine:
        assert not dead.exists()
        assert staging.collect_leftovers(tmp_path) == 0
        assert mine.exists()
    assert list(tmp_path.iterdir()) == []


def test_progress_grows_to_the_end(home):
    files = [synthetic_csv(home.folder / f"{n}.csv", 3_000) for n in range(2)]
    messages = []
    home.load(*files, progress=lambda *state: messages.append(state))
    total = sum(file.stat().st_size for file in files)
    assert messages == sorted(messages)
    assert messages[-1] == (total, total, 6_000)
    assert {state[1] for state in messages} == {total}


def test_memory_does_not_grow_with_the_file(tmp_path):
    """Eight times the rows in the same memory, but for the noise of allocators.

    The store forgets what it gets, so that its cache does not blur the picture.
    """
    peaks = []
    for events in (500_000, 4_000_000):
        file = tmp_path / "events.csv"
        block = "".join(f"u{n % 5_000},i{n % 3_000},{n + 10**9}\n" for n in range(10_000))
        with file.open("w") as lines:
            lines.write("user,item,at\n")
            lines.writelines(block for _ in range(events // 10_000))
        done = subprocess.run(
            [sys.executable, "-c", FORGET, tmp_path], cwd=ROOT, check=True, capture_output=True
        )
        rows, peak = map(int, done.stdout.split())
        assert rows == events
        peaks.append(peak)
    assert peaks[1] - peaks[0] < 60_000  # KiB; as Arrow columns the rows more need 120,000


FORGET = """
import resource, sys
from pathlib import Path
from loaders.ingest import load
class Forgetful:
    def apply(self, batch, **_): return True
    def counts(self): return {}
    def begin_load(self, at, about): return 1
    def note_load(self, load, about): pass
home = Path(sys.argv[1])
report = load([home / "events.csv"], "table", Forgetful(), staging_folder=home / "staging",
              rejects_file=home / "rejects.csv", now=1735689600)
print(report.rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
LOAD = """
import sys
from pathlib import Path
from graph.stores.embedded_store import EmbeddedStore
from loaders.ingest import load
home = Path(sys.argv[1])
load([home / "events.csv"], "table", EmbeddedStore(home / "graph.sqlite"),
     staging_folder=home / "staging", rejects_file=home / "rejects.csv", now=1735689600)
"""


@pytest.mark.parametrize("kills", [5, pytest.param(50, marks=pytest.mark.long)])
def test_a_load_killed_at_any_moment_and_run_again_gives_the_same_graph(kills, tmp_path):
    rng = random.Random(7)
    homes = [tmp_path / "whole", tmp_path / "killed"]
    for folder in homes:
        folder.mkdir()
        synthetic_csv(folder / "events.csv", 150_000)
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", LOAD, homes[0]], cwd=ROOT, check=True)
    whole = time.monotonic() - began
    killed = 0
    while killed < kills:
        loading = subprocess.Popen([sys.executable, "-c", LOAD, homes[1]], cwd=ROOT)
        try:
            loading.wait(timeout=rng.uniform(0.1, 1.0) * whole)
        except subprocess.TimeoutExpired:
            loading.send_signal(signal.SIGKILL)
            loading.wait()
            killed += 1
        else:  # it was quicker than we: the next one begins from nothing
            for file in homes[1].glob("graph.sqlite*"):
                file.unlink()
    subprocess.run([sys.executable, "-c", LOAD, homes[1]], cwd=ROOT, check=True)
    fingerprints = []
    for folder in homes:
        store = EmbeddedStore(folder / "graph.sqlite")
        fingerprints.append(take_snapshot(store).fingerprint)
        assert store.counts()["events"] == 150_000
        store.close()
    assert fingerprints[0] == fingerprints[1]
    assert list((homes[1] / "staging").iterdir()) == []
