"""What a warm refresh saves and loses, compared with a full one from the same events.

A release is made from all of a set's events but a hundredth, drawn at random. Then the rest is
loaded, and a refresh is done twice from there: once by default, which keeps what was chosen before,
and once with `full`. Both are judged on the same pairs, those of the gate, and also on the set's
test part if it has one. With `--steps N`, N such hundredths come one after the other, each followed
by a warm refresh; the last step is what is compared.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from api.recording import Recording
from benchmarks import _sets
from graph.stores.embedded_store import EmbeddedStore
from graph.weighting import weigh
from recommender.evaluation.evaluate import evaluate
from recommender.evaluation.steps import Steps
from recommender.evaluation.truth import known_truth
from recommender.learning.build import RefreshConfig
from recommender.learning.refresh import refresh
from recommender.learning.warm import found_by
from recommender.releases.home import Home
from recommender.releases.release import Release
from recommender.serving.recommend import Recommender

GATES = ("fitting the trial", "judging")


def main(arguments: list[str]) -> dict[str, Any]:
    """Measure; `--set NAME` (repeat), `--preset`, `--share` of new events, `--steps`, `--seed`."""
    parser = argparse.ArgumentParser(prog="bench refresh")
    parser.add_argument("--set", action="append", dest="sets", metavar="NAME")
    parser.add_argument("--preset", default="default")
    parser.add_argument("--share", type=float, default=0.01)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    config = RefreshConfig(preset=options.preset, seed=options.seed, threads=options.threads)
    table: list[dict[str, Any]] = []
    ratios: dict[str, float] = {}
    for name in _sets.chosen(options.sets or ["gowalla"]):
        with tempfile.TemporaryDirectory(prefix="nichegraph-bench-") as folder:
            rows = measured(name, config, options.share, options.steps, Path(folder))
        table += [{"set": name, "refresh": which, **row} for which, row in rows.items()]
        ratios |= {f"{name}/{what}": value for what, value in compared(rows).items()}
    new = {"share": options.share, "steps": options.steps}
    return {"bench": "refresh", **new, "table": table, "ratios": ratios}


@dataclass(frozen=True)
class Refreshed:
    """A refresh and what it cost."""

    release: Release
    seconds: float
    processor_seconds: float
    gates: float  # share of the processor time that judging took


def measured(
    name: str, config: RefreshConfig, share: float, steps: int, folder: Path
) -> dict[str, dict[str, Any]]:
    """A row for the warm refresh and one for the full one."""
    train, test = _sets.parts(name, config, folder / "set")
    with closing(EmbeddedStore(folder / "set" / "train" / "store.sqlite")) as whole:
        tables = {table: whole.read(table) for table in whole.counts() if table != "tags"}
    known = set(zip(_ids(train.users, train.events.user), _ids(train.items, train.events.item),
                    strict=True))  # fmt: skip
    events = tables["events"]
    pairs = zip(events["user"].to_pylist(), events["item"].to_pylist(), strict=True)
    events = events.filter(np.array([pair in known for pair in pairs]))
    step = np.random.default_rng(config.seed).random(len(events)) // share  # from `steps` on: known
    home = Home(folder / "home").create()
    with closing(EmbeddedStore(home.store)) as store:
        store.apply({**tables, "events": events.filter(step >= steps)})
    refreshed(home, config, full=True)  # also compiles
    for number in range(steps):
        if number:
            refreshed(home, config, full=False)
        with closing(EmbeddedStore(home.store)) as store:
            store.apply({"events": events.filter(step == number)})
    rows = {}
    for which in ("full", "warm"):
        own = Home(shutil.copytree(home.folder, folder / which))
        result = refreshed(own, config, full=which == "full")
        rows[which] = {
            "processor s": round(result.processor_seconds, 1),
            "s": round(result.seconds, 1),
            "gates' share": round(result.gates, 3),
            "NDCG@20, gate": found_by(result.release.manifest["gates"]),
            "NDCG@20, test": on_test(result.release, train, test, config),
        }
        shutil.rmtree(own.folder)
    return rows


def refreshed(home: Home, config: RefreshConfig, *, full: bool) -> Refreshed:
    """Refresh a home, whatever its gates say."""
    recording = Recording(lambda text: print(text, flush=True))
    began = time.perf_counter(), time.process_time()
    with closing(EmbeddedStore(home.store)) as store:
        release = refresh(store, home, config, now=_sets.NOW, say=recording, force=True, full=full)
    wall, processor = time.perf_counter() - began[0], time.process_time() - began[1]
    judging = sum(s.processor_seconds for s in recording.steps() if s.name in GATES)
    return Refreshed(release, wall, processor, judging / processor)


def on_test(release: Release, train: Any, test: Any, config: RefreshConfig) -> float:
    """NDCG@20 of a release on the set's test part."""
    graph = weigh(train, config.weighting, _sets.NOW)
    truth, _ = known_truth(test, release.users, release.items, graph)
    result = evaluate(
        _Alone(Recommender(release)), truth, graph, baselines={}, seed=config.seed,
        sampled_users=None, steps=Steps(),
    )  # fmt: skip
    return float(result["served"]["ndcg@20"])


def compared(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """The warm refresh over the full one."""
    warm, full = rows["warm"], rows["full"]
    ratios = {
        "warm_over_full_processor": warm["processor s"] / full["processor s"],
        "warm_over_full_ndcg_test": warm["NDCG@20, test"] / full["NDCG@20, test"],
        "gates_share_of_full": full["gates' share"],
        "gates_share_of_warm": warm["gates' share"],
    }
    if full["NDCG@20, gate"]:
        ratios["warm_over_full_ndcg_gate"] = warm["NDCG@20, gate"] / full["NDCG@20, gate"]
    return {name: round(value, 4) for name, value in ratios.items()}


class _Alone:
    """What is served, without its sources one by one."""

    sources: tuple[str, ...] = ()

    def __init__(self, recommender: Recommender) -> None:
        self.rank_users = recommender.rank_users


def _ids(vocabulary: Any, rows: Any) -> list[str]:
    return [vocabulary.id(row) for row in rows.tolist()]
