"""Loading into the embedded store, compared with a bare `sqlite3.executemany` of the same rows.

The rows are those of a generated catalogue, written to a CSV file and loaded the way a user
would: read, checked, staged, applied. The bare side gets them as Python tuples already, and
writes them unchecked into a table of texts with the same key, in one transaction.
"""

import argparse
import json
import resource
import sqlite3
import tempfile
import time
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

from graph.stores.embedded_store import EmbeddedStore
from loaders.format import Options
from loaders.ingest import load
from loaders.synthetic import END, generate


def main(arguments: list[str]) -> dict:
    """Measure; `--events N` (default 1,000,000), `--rounds N` (the best of each side counts)."""
    parser = argparse.ArgumentParser(prog="bench load")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        events = [b["events"] for b in generate(chosen.events, seed=1).batches() if "events" in b]
        table = pa.concat_tables(events).select(["user", "item", "kind", "at"])
        file = home / "events.csv"
        csv.write_csv(table, file)
        rows = list(zip(*(column.to_pylist() for column in table.columns), strict=True))
        ours, bare = [], []
        for turn in range(chosen.rounds):
            ours.append(_ours(file, home / f"ours-{turn}"))
            bare.append(_bare(rows, home / f"bare-{turn}.sqlite"))
    (best, cpu), (plain, plain_cpu) = min(ours), min(bare)
    return {
        "bench": "load",
        "events": chosen.events,
        "table": [
            _row("nichegraph load: read, check, stage, upsert", chosen.events, best, cpu),
            _row("sqlite3.executemany of tuples, unchecked", chosen.events, plain, plain_cpu),
        ],
        "ratios": {
            "events/s over bare executemany": round(plain / best, 3),
            "events per CPU second over bare executemany": round(plain_cpu / cpu, 3),
            "events/s over the budget of 100,000": round(chosen.events / best / 1e5, 3),
        },
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def _ours(file: Path, home: Path) -> tuple[float, float]:
    store = EmbeddedStore(home / "graph.sqlite")
    began, busy = time.perf_counter(), time.process_time()
    report = load(
        [file],
        "table",
        store,
        staging_folder=home / "staging",
        rejects_file=home / "rejects.csv",
        now=END,
        options=Options(separator=","),
    )
    seconds = time.perf_counter() - began, time.process_time() - busy
    assert report.totals["events"] == report.rows
    store.close()
    return seconds


def _bare(rows: list[tuple], path: Path) -> tuple[float, float]:
    began, busy = time.perf_counter(), time.process_time()
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute(
        "CREATE TABLE events (user TEXT, item TEXT, kind TEXT, at INTEGER, "
        "PRIMARY KEY (user, item, kind, at)) WITHOUT ROWID"
    )
    with db:
        db.executemany("INSERT INTO events VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", rows)
    db.close()
    return time.perf_counter() - began, time.process_time() - busy


def _row(name: str, events: int, seconds: float, cpu: float) -> dict:
    return {
        "what": name,
        "seconds": round(seconds, 2),
        "CPU seconds": round(cpu, 2),
        "events/s": round(events / seconds),
        "events/CPU s": round(events / cpu),
    }


if __name__ == "__main__":
    import sys

    print(json.dumps(main(sys.argv[1:]), indent=1))
