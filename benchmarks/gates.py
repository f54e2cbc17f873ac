"""Whether the gates stop what is spoiled and let through what is honest, on real sets.

From each set a release is made. Then refreshes are done from there, each in a home of its own.
Spoiled ones read tables that were changed as something that goes wrong at night would (`_spoiled`),
have a wrong weighting or one that negates, learn from the pairs they are judged by, or have a
spectrum that did not converge. Honest ones have another seed, events that the release had not
seen, or a few items less.

Hundreds of whole refreshes take days of a processor on whole sets. So they are of `--users` users
of each set (`USERS`), drawn once, with their whole histories and the items in these; and
`model.toml` has a narrow table (`NARROW`), so that a refresh takes a few seconds. Nothing else
differs from a refresh at night. `--users 0` takes the whole sets and the usual table. With
`--results FILE` each verdict is added to a file at once, and a stopped run goes on from there.

`ratios`: the share that is refused, of the spoiled refreshes (asked: 0.99) and of the honest ones
(asked: at most 0.05).
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks import _sets
from benchmarks._spoiled import SPOILS, Change, Tables, before, forgotten, unchanged
from embeddings.item_item.table_settings import TableSettings
from embeddings.singular import Spectral
from graph.errors import GateRefused
from graph.stores.embedded_store import EmbeddedStore
from graph.weighting import Weighting
from recommender.learning import parts
from recommender.learning.build import RefreshConfig
from recommender.learning.refresh import refresh
from recommender.releases.home import Home
from recommender.releases.publishing import list_refused

SETS = ["movielens", "lastfm", "movietweetings"]
USERS = {"movielens": 100, "lastfm": 100, "movietweetings": 500}  # of these most have few events
NARROW = TableSettings(width=60, neighbours=40, dimensions=32)
SEEDS = (0, 0, 0, 1)  # 0 is that of the served release: such a refresh keeps what was chosen
HONEST_SEEDS = 10


def main(arguments: list[str]) -> dict[str, Any]:
    """Count; `--set NAME` (repeat), `--spoiled` and `--honest` refreshes in all, `--preset`."""
    parser = argparse.ArgumentParser(prog="bench gates")
    parser.add_argument("--set", action="append", dest="sets", metavar="NAME")
    parser.add_argument("--spoiled", type=int, default=300)
    parser.add_argument("--honest", type=int, default=100)
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--users", type=int, help="of each set; 0: all of them")
    parser.add_argument("--results", type=Path, help="a file of verdicts, to stop and go on")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    usual = RefreshConfig(preset=options.preset, threads=options.threads)
    config = usual if options.users == 0 else replace(usual, table=NARROW)
    known = verdicts(options.results)
    sets = _sets.chosen(options.sets or SETS)
    results = []
    for at, name in enumerate(sets):
        with tempfile.TemporaryDirectory(prefix="nichegraph-bench-") as folder:
            users = USERS.get(name, 100) if options.users is None else options.users
            served = Served(name, config, Path(folder), users or None)
            for kinds, count in (
                (list(spoiled(served)), options.spoiled),
                (list(honest(served)), options.honest),
            ):
                for number in range(count // len(sets) + (at < count % len(sets))):
                    kind, draw = kinds[number % len(kinds)], number // len(kinds)
                    key = f"{name} {users} {kind.name} {number}"
                    if key not in known:
                        known[key] = served.tried(kind, number if kind.spoiled else draw)
                        noted(options.results, key, known[key])
                    results.append(Result(name, kind, known[key]))
    return {"bench": "gates", "sets": sets, "table": rows_of(results), "ratios": shares_of(results)}


def verdicts(file: Path | None) -> dict[str, list[str]]:
    """The gates that refused each refresh of an earlier run."""
    if file is None or not file.exists():
        return {}
    lines = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return {line["refresh"]: line["gates"] for line in lines}


def noted(file: Path | None, refreshed: str, gates: list[str]) -> None:
    """Add a verdict to the file."""
    if file is not None:
        with file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"refresh": refreshed, "gates": gates}) + "\n")


@dataclass(frozen=True)
class Kind:
    """A kind of refresh to try."""

    name: str
    spoiled: bool
    config: RefreshConfig
    change: Change = unchanged  # of the tables that it reads
    served: Change = unchanged  # of the tables that the served release was made from
    broken: Callable[[], AbstractContextManager[Any]] = (
        nullcontext  # what is wrong with the program
    )
    full: bool = False  # fit everything, where nothing new would be learned otherwise


@dataclass(frozen=True)
class Result:
    """What the gates said to one refresh."""

    set: str
    kind: Kind
    gates: list[str]  # that refuse it

    @property
    def right(self) -> bool:
        """Whether it is refused as it should be, or published as it should be."""
        return bool(self.gates) == self.kind.spoiled


class Served:
    """A set in a store, and homes that serve a release of it."""

    def __init__(
        self, name: str, config: RefreshConfig, folder: Path, users: int | None = None
    ) -> None:
        self.name, self.config, self._folder, self._users = name, config, folder, users
        snapshot = _sets.all_events(name, folder)
        counts = np.bincount(snapshot.events.kind, minlength=len(snapshot.kinds))
        self.kinds = [snapshot.kinds[row] for row in np.argsort(-counts)]  # busiest first
        self._store = folder / "train" / "store.sqlite"
        self._homes: dict[Change, Home] = {}

    def tried(self, kind: Kind, draw: int) -> list[str]:
        """Do a refresh on a copy of the home; the gates that refuse it."""
        home = Home(shutil.copytree(self._home(kind.served).folder, self._folder / "tried"))
        gates = []
        try:
            with kind.broken():
                self._refreshed(home, kind.config, kind.change, draw, full=kind.full)
        except GateRefused:
            gates = [reason["gate"] for reason in list_refused(home)[-1]["gates"]["reasons"]]
        shutil.rmtree(home.folder)
        verdict = f"refused by {', '.join(gates)}" if gates else "published"
        print(f"{self.name}, {kind.name}, draw {draw}: {verdict}", file=sys.stderr, flush=True)
        return gates

    def _home(self, change: Change) -> Home:
        if change not in self._homes:
            home = Home(self._folder / f"served-{len(self._homes)}").create()
            self._refreshed(home, self.config, change, draw=0)
            self._homes[change] = home
        return self._homes[change]

    def _refreshed(
        self, home: Home, config: RefreshConfig, change: Change, draw: int, *, full: bool = False
    ) -> None:
        with closing(EmbeddedStore(self._store)) as store:
            tables = Tables(store, change, np.random.default_rng(draw), self._users)
            refresh(tables, home, config, now=_sets.NOW, full=full)


def spoiled(served: Served) -> Iterator[Kind]:
    """The kinds of spoiled refreshes that a set can have, by each seed."""
    for seed in SEEDS:
        config = replace(served.config, seed=seed)
        for name, change in SPOILS.items():
            if name != "a kind lost" or len(served.kinds) > 1:
                yield Kind(name, True, config, change)
        yield Kind("a wrong weighting", True, replace(config, weighting=wrong_for(served)))
        negated = Weighting(against_kinds=(served.kinds[0],))
        yield Kind("negated weights", True, replace(config, weighting=negated))
        yield Kind("learned from the gate", True, config, broken=leaking)
        yield Kind("an unconverged spectrum", True, config, broken=unconverged, full=True)


def honest(served: Served) -> Iterator[Kind]:
    """Refreshes that nothing is wrong with."""
    for seed in range(1, HONEST_SEEDS + 1):
        yield Kind("another seed", False, replace(served.config, seed=seed))
    for change in LATER:
        for seed in SEEDS[1:]:
            yield Kind("new events", False, replace(served.config, seed=seed), served=change)
    for change in FORGOTTEN:
        yield Kind("items deleted", False, served.config, change)


LATER = [before(share) for share in (0.01, 0.05, 0.1, 0.2)]
FORGOTTEN = [forgotten(count) for count in (1, 3, 5, 10)]


def wrong_for(served: Served) -> Weighting:
    """The busiest kind counts nothing; where there is only one, events count for an hour."""
    if len(served.kinds) > 1:
        return Weighting(kinds={served.kinds[0]: 0.0})
    return Weighting(half_life_days=1 / 24)


def leaking() -> AbstractContextManager[Any]:
    """What is judged was fitted on everything, the held-back pairs included."""
    return patch.object(parts.Parts, "fit", lambda _self, snapshot: snapshot)


def unconverged() -> AbstractContextManager[Any]:
    """The spectrum is where its search began: anywhere."""

    def anywhere(rows, _columns, dimensions, seed, *_, **__):
        count, items = rows.shape
        kept = min(dimensions, count, items)
        drawn = np.random.default_rng(seed).standard_normal((items, kept), dtype=np.float32)
        return Spectral(drawn / np.float32(items**0.5), np.ones(kept, np.float32))

    return patch("embeddings.item_item.spectrum.leading", anywhere)


def rows_of(results: list[Result]) -> list[dict[str, Any]]:
    """For each kind: how often it was refused, by which gates, and on which sets wrongly judged."""
    rows = []
    for name in dict.fromkeys(result.kind.name for result in results):
        own = [result for result in results if result.kind.name == name]
        gates = Counter(gate for result in own for gate in result.gates)
        wrong = Counter(result.set for result in own if not result.right)
        rows.append(
            {
                "refresh": name,
                "runs": len(own),
                "refused": sum(bool(result.gates) for result in own),
                "most often by": ", ".join(gate for gate, _ in gates.most_common(3)),
                "wrongly judged on": ", ".join(f"{name} {n}" for name, n in wrong.items()),
            }
        )
    return rows


def shares_of(results: list[Result]) -> dict[str, float]:
    """The share that was refused, of the spoiled refreshes and of the honest ones."""
    shares = {}
    for name, is_spoiled in (("spoiled_refused", True), ("honest_refused", False)):
        own = [bool(result.gates) for result in results if result.kind.spoiled == is_spoiled]
        if own:
            shares[name] = sum(own) / len(own)
    return shares
