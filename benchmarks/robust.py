"""Whether the default is ever behind a baseline, or behind one of its own scorers alone.

Cases are the sets of ../shared/data, parts of them, and generated worlds (`_worlds`). In each case
the preset default learns from train, untouched by hand, and ranks with the code that serves. It is
compared with popularity, item kNN, EASE and GF-CF, tuned over their whole grids on train, and with
the best scorer of each kind alone, fitted as the default itself would fit it. Every item is ranked,
train is masked, and the test part is used only once. If a part has few users, several such parts
are drawn and their users put together.

With `--results FILE` what each draw found is added to a file at once, and a stopped run goes on
from there: with the same code and settings, or the table mixes two choices.

`ratios`: for each case, our NDCG@20 is divided by that of the best other; `worst` is the least of
these, and `share_ahead` the share of the cases in which it is at least 1.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse import csr_array

from benchmarks import _sets
from benchmarks._worlds import PARTS, WORLDS, world
from embeddings import metrics
from embeddings.item_item.blend import build_item_table
from embeddings.item_item.item_table import history_of, score_history
from embeddings.item_item.recency import weighed
from embeddings.item_item.recipe import Recipe, Scorer
from graph.arrays import F64, I32, I64
from graph.snapshot import GraphSnapshot
from graph.weighted import WeightedGraph
from graph.weighting import weigh
from recommender.evaluation.truth import HeldOut, cut, known_truth
from recommender.learning.baselines import FAMILIES, rank_all, tuned
from recommender.learning.build import RefreshConfig
from recommender.learning.held_parts import features_of, order_of_pairs
from recommender.learning.split import relevant_pairs
from recommender.learning.train import build_release
from recommender.releases.release import Release
from recommender.serving.recommend import Recommender

SHOWN = 20
ENOUGH_USERS, MOST_DRAWS = 3000, 25
EASE_ITEMS = 11_000  # more take minutes for each penalty
PerUser = dict[str, F64]  # name of a ranker -> NDCG@20 of each asked user
Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A snapshot to cut, or one whose test part is given."""

    name: str
    made: Callable[[int], tuple[GraphSnapshot, HeldOut | None]]  # by the number of the draw
    drawn: bool  # whether another draw is another case of the same kind


def main(arguments: list[str]) -> dict[str, Any]:
    """Measure; `--set NAME` sets or worlds (repeat), `--part NAME`, `--whole`, `--seed`."""
    parser = argparse.ArgumentParser(prog="bench robust")
    parser.add_argument("--set", action="append", dest="sets", metavar="NAME")
    parser.add_argument("--part", action="append", dest="parts", metavar="NAME")
    parser.add_argument("--whole", action="store_true", help="no parts")
    parser.add_argument("--baselines", default=",".join(FAMILIES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--results", type=Path, help="a file of what was found, to stop and go on")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    config = RefreshConfig(seed=options.seed, threads=options.threads)
    baselines = [name for name in options.baselines.split(",") if name]
    table = []
    known = draws_of(options.results)
    with tempfile.TemporaryDirectory(prefix="nichegraph-bench-") as folder:
        for case in cases(options.sets, options.parts, options.whole, config, Path(folder)):
            began = time.perf_counter()
            figures = measured(case, config, baselines, Path(folder), known, options.results)
            table.append(row_of(case.name, figures))
            table[-1]["seconds"] = round(time.perf_counter() - began)
            print(table[-1], file=sys.stderr, flush=True)
    ratios = np.array([row["ratio"] for row in table])
    return {
        "bench": "robust",
        "seed": options.seed,
        "table": table,
        "ratios": {
            "worst": float(ratios.min(initial=np.inf)),
            "share_ahead": round(float((ratios >= 1).mean()), 4) if len(ratios) else 0.0,
            "cases": len(ratios),
        },
    }


def cases(
    names: list[str] | None,
    parts: list[str] | None,
    uncut: bool,
    config: RefreshConfig,
    folder: Path,
) -> Iterator[Case]:
    """Worlds first, then each set and what is left of it when a part is taken away."""
    for name in WORLDS:
        if names is None or name in names:
            yield Case(name, lambda draw, name=name: (world(name, draw), None), name == "tiny")
    sets = [*_sets.ALL] if names is None else [name for name in names if name not in WORLDS]
    if not sets:
        return
    for name in _sets.chosen(sets):
        fit, test = _sets.parts(name, config, folder / name)
        if not parts:
            yield Case(name, lambda _, both=(fit, test): both, False)
        if uncut:
            continue
        all_of_it = _sets.all_events(name, folder / f"{name} whole")
        for part in parts or PARTS:
            if not _changes(part, all_of_it):
                continue

            made = partial(_part_of, part, all_of_it, config.seed)
            yield Case(f"{name}, {part}", made, part.startswith("a tenth"))


def _part_of(
    part: str, snapshot: GraphSnapshot, seed: int, draw: int
) -> tuple[GraphSnapshot, None]:
    return PARTS[part](snapshot, np.random.default_rng([seed, draw])), None


def _changes(part: str, snapshot: GraphSnapshot) -> bool:
    """Whether the set has what the part is without."""
    events = snapshot.events
    if part == "without times":
        return bool((events.at != events.at.min(initial=0)).any())
    if part == "without tags":
        return bool(len(snapshot.item_tags.source) or (events.tag >= 0).any())
    return True


def draws_of(file: Path | None) -> dict[str, PerUser]:
    """What an earlier run found, by case and draw."""
    if file is None or not file.exists():
        return {}
    lines = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return {
        line["draw"]: {name: np.array(values) for name, values in line["ndcg"].items()}
        for line in lines
    }


def measured(
    case: Case,
    config: RefreshConfig,
    baselines: list[str],
    folder: Path,
    known: dict[str, PerUser],
    results: Path | None,
) -> PerUser:
    """NDCG@20 of each asked user under every ranker; users of several draws one after another.

    What is `known` of a draw is not measured again, and anything else is added to `results`.
    """
    measurements: list[PerUser] = []
    for draw in range(MOST_DRAWS if case.drawn else 1):
        key = f"{case.name} {config.seed} {draw}"
        if key not in known:
            snapshot, test = case.made(draw)
            if test is None:
                snapshot, test = cut(snapshot, config, None, now=_sets.NOW)
            known[key] = of_one(snapshot, test, config, baselines, folder / "release")
            _noted(results, key, known[key])
        measurements.append(known[key])
        if sum(len(values["served"]) for values in measurements) >= ENOUGH_USERS:
            break
    shared = [name for name in measurements[0] if all(name in values for values in measurements)]
    return {name: np.concatenate([values[name] for values in measurements]) for name in shared}


def _noted(file: Path | None, draw: str, figures: PerUser) -> None:
    """Add what a draw found to the file."""
    if file is not None:
        values = {name: of_users.tolist() for name, of_users in figures.items()}
        with file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"draw": draw, "ndcg": values}) + "\n")


def of_one(
    fit: GraphSnapshot, test: HeldOut, config: RefreshConfig, baselines: list[str], folder: Path
) -> PerUser:
    """The same for one train and test part."""
    graph = weigh(fit, config.weighting, _sets.NOW)
    release = build_release(fit, graph, config, folder, now=_sets.NOW)
    truth, _ = known_truth(test, release.users, release.items, graph)
    users = np.flatnonzero(np.diff(truth.indptr)).astype(np.int64)
    wanted = truth[users]

    def quality(ranked: I32) -> F64:
        hits = metrics.hits(ranked, wanted)
        return metrics.ndcg(hits, np.diff(wanted.indptr), SHOWN)

    served = Recommender(release, threads=config.threads).rank_users(users, SHOWN)
    per_user = {"served": quality(served.items)}
    used = np.flatnonzero(np.diff(graph.user_items.T.tocsr().indptr))
    train, seen = graph.user_items[:, used], graph.user_seen[:, used]
    for name in baselines:
        if name == "ease" and len(used) > EASE_ITEMS:
            continue
        for baseline in tuned(train, seed=config.seed, names=[name], thorough=True).values():
            ranked = rank_all(baseline.score_block, users, seen, SHOWN)
            own = np.where(ranked >= 0, used[ranked], -1).astype(np.int32)
            per_user[name] = quality(own)
    for name, ranked in alone(fit, graph, release, users, config):
        per_user[name] = quality(ranked)
    return per_user


def alone(
    fit: GraphSnapshot,
    graph: WeightedGraph,
    release: Release,
    users: I64,
    config: RefreshConfig,
) -> Iterator[tuple[str, I32]]:
    """What the best scorer of each kind ranks alone, with the weights of features that were chosen.

    Histories are weighed by their order, as for what is served.
    """
    report = release.manifest["item_table"]
    user_items = sparse.csr_matrix(graph.user_items)
    user_items.sort_indices()
    order = order_of_pairs(relevant_pairs(fit, graph.user_items, config.seed), user_items)
    histories = user_items
    if order is not None:
        histories = weighed(user_items, order, report["recency_exponent"])
    rows = _masked(history_of(histories, users), graph.user_seen[users])
    kinds: set[str] = set()
    for fields in report["candidates"]:
        scorer = Scorer(**fields)
        if scorer.kind in kinds:
            continue
        kinds.add(scorer.kind)
        recipe = Recipe(
            ((scorer, 1.0),),
            tuple(report["feature_weights"]),
            0.0,
            report["support_width"],
            report["table_width"],
        )
        table, _, _ = build_item_table(
            user_items, features_of(graph), seed=config.seed, recipe=recipe, threads=config.threads
        )
        yield (
            f"{scorer.kind} alone",
            score_history(table, rows.indptr, rows.indices, rows.data, SHOWN)[0],
        )


def _masked(histories: sparse.csr_matrix, seen: csr_array) -> sparse.csr_matrix:
    """`histories` (b, i) with stored zeros for what else was seen: no effect, and not ranked."""
    both = sparse.csr_matrix(histories.sign() + sparse.csr_matrix(seen).sign())
    both.sort_indices()
    rows = np.repeat(np.arange(both.shape[0]), np.diff(both.indptr))
    if both.nnz:
        both.data = np.asarray(histories[rows, both.indices], np.float32).ravel()
    return both


def row_of(name: str, per_user: PerUser) -> Row:
    """Ours, the best other, and the interval of their difference over users."""
    means = {ranker: float(values.mean()) for ranker, values in per_user.items()}
    best = max((ranker for ranker in means if ranker != "served"), key=lambda ranker: means[ranker])
    gains = (per_user["served"] - per_user[best])[:, None]
    low, high = metrics.bootstrap(gains, seed=0)[0]
    return {
        "case": name,
        "users": len(gains),
        "served": round(means["served"], 4),
        "best other": best,
        "its": round(means[best], 4),
        "ratio": round(means["served"] / max(means[best], 1e-9), 4),
        "gain": [round(float(low), 4), round(float(high), 4)],
        **{ranker: round(value, 4) for ranker, value in means.items() if ranker != "served"},
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1:]), indent=1))
