"""The memory that a refresh is foretold to need, beside what it then takes at most.

Each size is a generated catalogue of planted niches in an embedded store, twenty events to an item
and twenty-five to a user, refreshed for the first time in a process of its own. `measured MB` is
the most that this process held from the beginning of the refresh, `imported MB` what it held
before; `foretold MB` is from the store's counts alone. `own MB` is the most without the pages of
files that the refresh read back, which the system can take back; it is not what is foretold.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.scale import OwnPeak, memory, number
from graph.stores.embedded_store import EmbeddedStore
from loaders.synthetic import END, generate
from recommender.learning.build import RefreshConfig
from recommender.learning.memory import peak
from recommender.learning.refresh import refresh
from recommender.releases.home import Home

MB = 1e6
Row = dict[str, Any]


def main(arguments: list[str]) -> dict[str, Any]:
    """Measure; `--sizes 100k,1M` events (`1M,3M,10M` takes an hour), `--presets default`."""
    parser = argparse.ArgumentParser(prog="bench memory")
    parser.add_argument("--sizes", default="100k,1M", help="events, as 3000, 100k or 1M")
    parser.add_argument("--presets", default="default")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    table = []
    for preset in options.presets.split(","):
        with tempfile.TemporaryDirectory(prefix="nichegraph-bench-") as folder:
            apart(filled, 2000, options.seed, folder)
            apart(refreshed, folder, preset, options.threads)  # whatever is not yet compiled
        for size in map(number, options.sizes.split(",")):
            with tempfile.TemporaryDirectory(prefix="nichegraph-bench-") as folder:
                counts = apart(filled, size, options.seed, folder)
                row = {"events": size, **{name: counts[name] for name in ("users", "items")}}
                expected = peak(counts, RefreshConfig(preset=preset, threads=options.threads))
                row |= {"preset": preset, "foretold MB": round(expected / MB)}
                table.append(row | apart(refreshed, folder, preset, options.threads))
    return {"bench": "memory", "seed": options.seed, "table": table, "ratios": ratios(table)}


def apart(work: Callable[..., Row], *arguments: Any) -> Row:
    """What `work` gives in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def filled(size: int, seed: int, folder: str) -> Row:
    """Put a generated catalogue into a home's store; its counts."""
    home = Home(Path(folder)).create()
    with closing(EmbeddedStore(home.store)) as store:
        for batch in generate(size, seed).batches():
            store.apply(batch)
        return dict(store.counts())


def refreshed(folder: str, preset: Any, threads: int) -> Row:
    """Refresh a home; megabytes of this process, and the step that took most of them."""
    imported, own = memory("VmRSS"), OwnPeak()
    peaks: dict[str, float] = {}
    step = "reading"

    def say(text: str) -> None:
        nonlocal step
        peaks[step] = max(peaks.get(step, 0.0), memory("VmHWM"))
        print(f"{peaks[step]:6.0f} MB: {step}", file=sys.stderr)
        step = text
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew

    config = RefreshConfig(preset=preset, threads=threads)
    with closing(EmbeddedStore(Home(Path(folder)).store)) as store:
        refresh(store, Home(Path(folder)), config, now=END, say=say, force=True)
    say("done")
    when = max(peaks, key=lambda name: peaks[name])
    return {
        "imported MB": round(imported),
        "measured MB": round(peaks[when]),
        "own MB": round(own.stop()),
        "in": when[:40],
    }


def ratios(table: list[Row]) -> dict[str, float]:
    """Foretold over measured, for the whole process and for what was added to the imports."""
    result: dict[str, float] = {}
    for row in table:
        name = f"{row['preset']}, {row['events']:,} events: foretold over measured"
        foretold, measured, before = (
            row[f"{what} MB"] for what in ("foretold", "measured", "imported")
        )
        result[name] = round(foretold / measured, 3)
        result[f"{name}, without imports"] = round((foretold - before) / (measured - before), 3)
    return result


if __name__ == "__main__":
    import json

    print(json.dumps(main(sys.argv[1:]), indent=1))
