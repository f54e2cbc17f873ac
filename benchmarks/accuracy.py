"""How well we rank, with the code that serves, against baselines tuned just as fairly.

On every set in ../shared/data: our presets, untouched by hand, beside popularity, item kNN, EASE
(up to 20,000 items), GF-CF, and implicit's ALS and BPR. Every baseline chooses from its grid by
NDCG@20 on a fifth of each user's train pairs and is then fitted to all of train; ours chooses on
its own part of train. Every item is ranked, train is masked, and the test part is used only once.
Seconds include choosing, fitting and ranking.

`--left-out` shows instead what each constant of the choice would be if it were settled without the
set it is measured on (`_left_out`).
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from implicit.als import AlternatingLeastSquares
from implicit.bpr import BayesianPersonalizedRanking
from scipy.sparse import csr_array, csr_matrix
from threadpoolctl import threadpool_limits

from benchmarks import _sets
from benchmarks._left_out import left_out
from graph.weighting import weigh
from recommender.evaluation.evaluate import evaluate
from recommender.evaluation.steps import Steps
from recommender.evaluation.truth import known_truth
from recommender.learning.baselines import FAMILIES, Baseline, Family, Maker, Parameters, tuned
from recommender.learning.build import RefreshConfig
from recommender.learning.train import build_release
from recommender.serving.recommend import Recommender

METRICS = ("recall@20", "ndcg@20")
SHOWN = ("tail_ndcg@20", "coverage")
Say = Callable[[str], None]


def main(arguments: list[str]) -> dict[str, Any]:
    """Measure; `--set NAME` may be repeated, `--presets fast,default`, `--baselines a,b`."""
    parser = argparse.ArgumentParser(prog="bench accuracy")
    parser.add_argument("--set", action="append", dest="sets", metavar="NAME")
    parser.add_argument("--presets", default="fast,default")
    parser.add_argument("--baselines", default=",".join(families(0)), help="or nothing")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--left-out", action="store_true", help="constants, set by set")
    parser.add_argument("--results", type=Path, help="a file, to stop --left-out and go on")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    presets = [name for name in options.presets.split(",") if name]
    against = [name for name in options.baselines.split(",") if name]
    if options.left_out:
        return _without_each(options)
    table: list[dict[str, Any]] = []
    ratios: dict[str, float] = {}
    for name in _sets.chosen(options.sets):
        config = RefreshConfig(seed=options.seed)
        rows = measure(name, presets, against, config, lambda text: print(text, file=sys.stderr))
        table += rows
        ratios |= compared(name, rows, presets)
    return {"bench": "accuracy", "seed": options.seed, "table": table, "ratios": ratios}


def _without_each(options: argparse.Namespace) -> dict[str, Any]:
    """The table of constants; as a ratio what all others would make of a set, the worst case."""
    names, config = _sets.chosen(options.sets), RefreshConfig(seed=options.seed)
    with tempfile.TemporaryDirectory(prefix="nichegraph-bench-") as folder:
        table = left_out(
            names, config, Path(folder), options.results, lambda text: print(text, file=sys.stderr)
        )
    worst = min(1 + row["change"] for row in table)
    return {"bench": "accuracy", "seed": options.seed, "table": table, "ratios": {"worst": worst}}


def measure(
    name: str, presets: list[str], against: list[str], config: RefreshConfig, say: Say
) -> list[dict[str, Any]]:
    """A row for each preset and each baseline on one set."""
    rows, fitted, spent = [], {}, {}
    with tempfile.TemporaryDirectory(prefix="nichegraph-bench-") as folder:
        fit, test = _sets.parts(name, config, Path(folder))
        graph = weigh(fit, config.weighting, _sets.NOW)
        for other in against:
            say(f"{name}: tuning {other}")
            began = time.perf_counter()
            fitted |= tuned(
                graph.user_items,
                seed=config.seed,
                names=[other],
                thorough=True,
                families=families(config.seed),
            )
            spent[other] = time.perf_counter() - began
        for preset in presets:
            say(f"{name}: preset {preset}")
            began = time.perf_counter()
            release = build_release(
                fit,
                graph,
                replace(config, preset=preset),
                Path(folder) / preset,
                now=_sets.NOW,
            )
            took = time.perf_counter() - began
            truth, _ = known_truth(test, release.users, release.items, graph)
            ranker = _Alone(Recommender(release))
            # Baselines rank once, beside the last preset; both are asked about the same users.
            last = fitted if preset == presets[-1] else {}
            result, steps = _figures(ranker, truth, graph, last, config.seed)
            rows.append(_row(name, f"served {preset}", result["served"], took + steps["served"]))
            for other, figures in result["baselines"].items():
                seconds = spent[other] + steps[f"baseline {other}"]
                row = _row(name, other, figures, seconds)
                gain = result["served_minus_baseline"][other]["ndcg@20"]["interval"]
                rows.append(row | {"gain": gain, "parameters": figures["parameters"]})
    return rows


def compared(name: str, rows: list[dict[str, Any]], presets: list[str]) -> dict[str, float]:
    """Ours over the best baseline, by NDCG@20 and Recall@20; the preset default is `served`."""
    others = [row for row in rows if not row["name"].startswith("served ")]
    if not others:
        return {}
    ratios = {}
    for preset in presets:
        ours = next(row for row in rows if row["name"] == f"served {preset}")
        label = "served" if preset == "default" else f"served_{preset}"
        for metric, ending in (("ndcg@20", ""), ("recall@20", "_recall")):
            best = max(row[metric] for row in others)
            ratios[f"{name}/{label}_over_best{ending}"] = round(ours[metric] / best, 4)
    return ratios


def families(seed: int) -> dict[str, Family]:
    """Our own baselines and implicit's, with their grids."""
    als_grid = tuple(
        {"factors": factors, "alpha": alpha, "regularization": 0.05}
        for factors in (64.0, 256.0)
        for alpha in (1.0, 5.0, 20.0)
    )
    bpr_grid = tuple(
        {"factors": 64.0, "learning_rate": rate, "regularization": penalty}
        for rate in (0.02, 0.1)
        for penalty in (0.002, 0.01, 0.05)
    )

    def als(parameters: Parameters) -> Any:
        return AlternatingLeastSquares(
            factors=int(parameters["factors"]),
            alpha=parameters["alpha"],
            regularization=parameters["regularization"],
            iterations=15,
            random_state=seed,
        )

    def bpr(parameters: Parameters) -> Any:
        return BayesianPersonalizedRanking(
            factors=int(parameters["factors"]),
            learning_rate=parameters["learning_rate"],
            regularization=parameters["regularization"],
            iterations=150,
            random_state=seed,
        )

    return FAMILIES | {
        "als": Family(als_grid, _factors(als)),
        "bpr": Family(bpr_grid, _factors(bpr)),
    }


def _factors(model: Callable[[Parameters], Any]) -> Callable[[csr_array, Parameters], Maker]:
    """A family of implicit's models: scores are products of user and item factors."""

    def prepare(train: csr_array, _most: Parameters) -> Maker:
        def make(parameters: Parameters) -> Callable[[np.ndarray], np.ndarray]:
            fitted = model(parameters)
            with threadpool_limits(1, "blas"):  # implicit runs its own threads
                fitted.fit(csr_matrix(train), show_progress=False)
            users = np.asarray(fitted.user_factors, np.float32)
            items = np.ascontiguousarray(np.asarray(fitted.item_factors, np.float32).T)
            return lambda rows: users[rows] @ items

        return make

    return prepare


class _Alone:
    """What is served as a whole; the sources are not ranked one by one."""

    sources: tuple[str, ...] = ()

    def __init__(self, recommender: Recommender) -> None:
        self.rank_users = recommender.rank_users


def _figures(
    ranker: _Alone, truth: csr_array, graph: Any, baselines: dict[str, Baseline], seed: int
) -> tuple[dict[str, Any], dict[str, float]]:
    steps = Steps()
    result = evaluate(
        ranker, truth, graph, baselines=baselines, seed=seed, sampled_users=None, steps=steps
    )
    return result, {name: step["seconds"] for name, step in steps.taken.items()}


def _row(name: str, ranker: str, figures: dict[str, Any], seconds: float) -> dict[str, Any]:
    row: dict[str, Any] = {"set": name, "name": ranker}
    row |= {metric: round(figures[metric], 4) for metric in METRICS}
    row["interval"] = [round(edge, 4) for edge in figures["intervals"]["ndcg@20"]]
    row |= {metric: round(figures[metric], 4) for metric in SHOWN}
    return row | {"seconds": round(seconds, 1)}


if __name__ == "__main__":
    import json

    print(json.dumps(main(sys.argv[1:]), indent=1))
