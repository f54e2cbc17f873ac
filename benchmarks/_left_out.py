"""Constants of the choice, each settled without the set on which it is then measured.

A part is cut out of each set's train part, as a test part would be. The default learns from the
rest and is asked for that part: with all constants as they are, and with each other value of one of
them. Which value a set gets is settled by all others: the one of the highest mean NDCG@20, each
set's divided by what it has now. Test parts are not looked at.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from benchmarks import _sets
from embeddings import metrics
from embeddings.item_item import blend, by_order, candidates, held_back, mixture, worth
from graph.snapshot import GraphSnapshot
from graph.weighting import weigh
from recommender.evaluation.truth import HeldOut, cut, known_truth
from recommender.learning.build import RefreshConfig
from recommender.learning.train import build_release
from recommender.serving.recommend import Recommender

SHOWN = 20


class Constant(NamedTuple):
    """A number of the choice that was settled by looking at sets, and what else it could be."""

    module: ModuleType
    name: str
    values: tuple[float, ...]

    @property
    def now(self) -> float:
        """As the program has it."""
        return float(getattr(self.module, self.name))


CONSTANTS = (
    Constant(worth, "CAUTION", (0.0, 1.0, 2.0)),
    Constant(held_back, "LATER", (1.0, 2.0, 4.0)),
    Constant(candidates, "PENALTY_COST", (0.0, 0.02, 0.05)),
    Constant(mixture, "ANOTHER_COST", (0.0, 0.015, 0.03)),
    Constant(mixture, "SPECTRUM_COST", (0.0, 0.012, 0.03)),
    Constant(blend, "HISTORY_EXPECTED", (0.0, -0.1, -0.2)),
    Constant(blend, "POPULARITY_COST", (1.0, 2.0, 4.0)),
    Constant(by_order, "RECENCY_EXPONENT", (0.0, 0.3, 0.5)),
)
Figures = Mapping[str, Mapping[float, float]]  # set -> value of one constant -> NDCG@20
Row = dict[str, Any]


def left_out(
    names: Sequence[str],
    config: RefreshConfig,
    folder: Path,
    results: Path | None,
    say: Callable[[str], None],
) -> list[Row]:
    """The table, over the named sets; with `results`, a file, a stopped run goes on from there."""
    known = _known(results)
    for name in names:
        parts = None
        for constant, value in [(None, 0.0), *_others()]:
            key = _key(name, constant, value)
            if key in known:
                continue
            if parts is None:
                parts = cut(
                    _sets.parts(name, config, folder / name)[0], config, None, now=_sets.NOW
                )
            with changed(constant, value):
                known[key] = quality(*parts, config, folder / "release")
            say(f"{key}: {known[key]:.4f}")
            if results is not None:
                with results.open("a", encoding="utf-8") as lines:
                    lines.write(json.dumps({"with": key, "ndcg@20": known[key]}) + "\n")
    table = []
    for constant in CONSTANTS:
        figures = {
            name: {
                value: known[_key(name, None if value == constant.now else constant, value)]
                for value in constant.values
            }
            for name in names
        }
        table += rows_of(constant.name, constant.now, figures)
    return table


def rows_of(name: str, now: float, figures: Figures) -> list[Row]:
    """For each set the value that all others settle on, and what it changes there."""
    rows = []
    for left, own in figures.items():
        gains = {
            value: np.mean(
                [its[value] / its[now] for other, its in figures.items() if other != left]
            )
            for value in own
        }
        best = max(gains, key=lambda value: (gains[value], value == now))
        rows.append(
            {
                "constant": name,
                "set": left,
                "now": now,
                "others settle on": best,
                "ndcg@20": round(own[now], 4),
                "with theirs": round(own[best], 4),
                "change": round(own[best] / own[now] - 1, 4),
            }
        )
    return rows


def quality(fit: GraphSnapshot, test: HeldOut, config: RefreshConfig, folder: Path) -> float:
    """NDCG@20 of what the default serves, learned from `fit`, on the `test` part."""
    graph = weigh(fit, config.weighting, _sets.NOW)
    release = build_release(fit, graph, config, folder, now=_sets.NOW)
    truth, _ = known_truth(test, release.users, release.items, graph)
    users = np.flatnonzero(np.diff(truth.indptr)).astype(np.int64)
    wanted = truth[users]
    ranked = Recommender(release, threads=config.threads).rank_users(users, SHOWN).items
    hits = metrics.hits(ranked, wanted)
    return float(metrics.ndcg(hits, np.diff(wanted.indptr), SHOWN).mean())


@contextmanager
def changed(constant: Constant | None, value: float) -> Iterator[None]:
    """The program with another value of a constant, or as it is."""
    if constant is None:
        yield
        return
    now = getattr(constant.module, constant.name)
    setattr(constant.module, constant.name, value)
    try:
        yield
    finally:
        setattr(constant.module, constant.name, now)


def _others() -> Iterator[tuple[Constant, float]]:
    for constant in CONSTANTS:
        yield from ((constant, value) for value in constant.values if value != constant.now)


def _key(name: str, constant: Constant | None, value: float) -> str:
    return f"{name} as it is" if constant is None else f"{name} {constant.name} {value:g}"


def _known(results: Path | None) -> dict[str, float]:
    if results is None or not results.exists():
        return {}
    lines = map(json.loads, results.read_text(encoding="utf-8").splitlines())
    return {line["with"]: line["ndcg@20"] for line in lines}
