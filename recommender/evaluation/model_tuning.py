"""What a refresh leaves to its presets, searched: width of the table, ridges, spectrum, networks.

Begin with `tune_model`. A refresh chooses a recipe from short lists; here optuna looks further,
with the recipe that would be chosen as its start. Half of the users judge what is tried, on pairs
that are held back; the gate's pairs are never looked at. The best of all that was tried is then
compared with the start on the other half, and counts only if the 95 % interval of its gain lies
above 0.

    tuning/3f9c…/           digest of the data, the configuration and the code
    ├── choice/             the recipe that a refresh would choose
    └── tried.json          each trial with its score: a search that was stopped goes on after them
"""

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from embeddings.item_item.recipe import Recipe
from embeddings.item_item.table_settings import TableSettings
from graph.arrays import F64
from graph.durable import replace_file
from graph.errors import InputError
from graph.snapshot import GraphSnapshot
from graph.weighting import weigh
from recommender.evaluation.model_trial import (
    MOST_FOLDS,
    ModelTrial,
    Split,
    recipe_with,
    trial_of,
)
from recommender.evaluation.tuning import Gain, confirming, optuna_or_error
from recommender.learning.build import RefreshConfig, choose
from recommender.learning.train import RESULTS
from recommender.releases.steps import Steps, digest_of

Say = Callable[[str], None]
Value = float  # whole where the setting is
Values = Mapping[str, Value]  # field of `TableSettings` -> value
FEWEST_USERS = 40
TRIED = "tried.json"
HELD: Mapping[Split, str] = {"time": "their last pairs", "folds": "pairs drawn at random"}
LADDERS: Mapping[str, tuple[Value, ...]] = {
    "width": (100, 150, 200, 300, 400, 600),
    "neighbours": (50, 100, 150, 200, 300, 400),
    "penalty": (0.3, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 50.0, 100.0, 300.0),
    "dimensions": (64, 128, 256, 384, 512, 768, 1024, 1536),
    "network_weight": (0.0, 0.15, 0.3, 0.5, 0.75, 1.0, 1.5),
}


@dataclass(frozen=True)
class TunedModel:
    """What was searched and what it is worth."""

    settings: TableSettings  # the best that was tried; empty: nothing is better than the start
    start: dict[str, Value]
    best: dict[str, Value]
    gain: Gain  # of the best over the start, on the users that confirm
    default_ndcg: float  # of the start, on the same users
    tried: tuple[tuple[dict[str, Value], float], ...]  # and its NDCG@20 of the users that search
    importance: dict[str, float]  # share of the differences that a setting explains
    users: tuple[int, int]  # how many searched, how many confirmed
    split: Split
    folds: int
    seconds: float
    stopped_by_time: bool

    @property
    def holds(self) -> bool:
        """Whether the gain is sure on the users that took no part in the search."""
        return bool(self.settings.to_json()) and self.gain.low > 0

    def to_json(self) -> dict[str, Any]:
        """The report."""
        return {
            "settings": self.settings.to_json() if self.holds else {},
            "start": self.start,
            "best": self.best,
            "gain": self.gain.to_json(),
            "holds": self.holds,
            "default_ndcg@20": round(self.default_ndcg, 6),
            "importance": {name: round(share, 4) for name, share in self.importance.items()},
            "users": {"search": self.users[0], "confirm": self.users[1]},
            "split": self.split,
            "folds": self.folds,
            "seconds": round(self.seconds, 1),
            "stopped_by_time": self.stopped_by_time,
            "trials": [{"values": values, "ndcg@20": score} for values, score in self.tried],
        }

    def head(self) -> str:
        """What stands above the settings in their file."""
        return (
            f"Learned by `nichegraph tune model`: {len(self.tried)} trials, judged by "
            f"{self.users[0]} users on {HELD[self.split]}, confirmed by {self.users[1]} others.\n"
            f"Together: NDCG@20 {self.default_ndcg:.4f} {self.gain}, 95 % interval."
        )


def tune_model(
    snapshot: GraphSnapshot,
    config: RefreshConfig,
    folder: Path,
    *,
    now: int,
    split: Split | None = None,
    folds: int = 2,
    trials: int = 100,
    seconds: float = 3600.0,
    say: Say = lambda _: None,
) -> TunedModel:
    """Search the settings of the item table.

    Args:
        snapshot: all that a refresh may learn from.
        config: of the refresh; what it sets of the table is not the start, the usual is.
        folder: where trials are kept; what other data left there is removed.
        now: seconds since 1970, for the age of events.
        split: see `trial_of`; None: what suits the data.
        folds: 1 to 5; by time there is one.
        trials: how many in all, those of a search that was stopped included.
        seconds: after which the search ends, once the start and one trial were made.
        say: called with a sentence at each step.

    Raises:
        InputError: optuna is not installed, there are too few users to judge by, or too few times
            to split by.
    """
    began = time.monotonic()
    optuna = optuna_or_error()
    if not 1 <= folds <= MOST_FOLDS:
        raise InputError(f"--folds: {folds} is not 1 to {MOST_FOLDS}")
    usual = replace(config, table=TableSettings())
    own = _only_folder(
        folder, digest_of(["tune model", snapshot.fingerprint, usual.to_json(), split, folds])
    )
    graph = weigh(snapshot, usual.weighting, now)
    steps = Steps(own, RESULTS, say, now)
    choice = steps.value("choice", lambda: choose(snapshot, graph, usual, say))
    trial = trial_of(snapshot, graph, choice, usual, split=split, folds=folds)
    if len(trial.users) < FEWEST_USERS:
        raise InputError(
            f"a model cannot be tuned: {len(trial.users)} users have a held-back pair to judge by, "
            f"{FEWEST_USERS} are needed"
        )
    judge = _Judge(trial, choice.recipe, usual.seed, own / TRIED)
    late = _search(optuna, judge, trials, began + seconds, say)
    say("confirming on the other users")
    return _tuned(optuna, judge, trial, began, late)


def _only_folder(folder: Path, name: str) -> Path:
    """The folder of that name, which is made; its siblings are removed."""
    for other in folder.glob("*"):
        if other.name != name:
            shutil.rmtree(other)
    own = folder / name
    own.mkdir(parents=True, exist_ok=True)
    return own


def _tuned(optuna: Any, judge: "_Judge", trial: ModelTrial, began: float, late: bool) -> TunedModel:
    """What the search was worth, on the users that confirm."""
    best = judge.best()
    settings = TableSettings.of(
        {name: _typed(name, value) for name, value in best.items() if value != judge.start[name]}
    )
    return TunedModel(
        settings=settings,
        start=judge.start,
        best=best,
        gain=judge.gain(best),
        default_ndcg=float(judge.ndcg(judge.start)[judge.confirming].mean()),
        tried=tuple(judge.tried),
        importance=_importance(optuna, judge),
        users=(int((~judge.confirming).sum()), int(judge.confirming.sum())),
        split=trial.split,
        folds=len(trial.folds),
        seconds=time.monotonic() - began,
        stopped_by_time=late,
    )


def _search(optuna: Any, judge: "_Judge", trials: int, deadline: float, say: Say) -> bool:
    """Try until there are enough trials or time is over; whether it was time.

    A tree-structured Parzen estimator proposes (Bergstra et al. 2011), after the start and what an
    earlier search has tried.
    """
    study = _study(optuna, judge)
    while len(judge.tried) < trials:
        if len(judge.tried) > 1 and time.monotonic() > deadline:
            return True
        if not judge.tried:
            study.enqueue_trial(judge.places(judge.start))
        trial = study.ask()
        values = {
            name: ladder[trial.suggest_int(name, 0, len(ladder) - 1)]
            for name, ladder in judge.ladders.items()
        }
        score = judge.score(values)
        study.tell(trial, score)
        best = max(score for _, score in judge.tried)
        say(f"trial {len(judge.tried)} of {trials}: NDCG@20 {score:.4f}, best {best:.4f}")
    return False


def _study(optuna: Any, judge: "_Judge") -> Any:
    """A study that knows what was tried."""
    sampler = optuna.samplers.TPESampler(seed=judge.seed + len(judge.tried))
    study = optuna.create_study(direction="maximize", sampler=sampler)
    kinds = {
        name: optuna.distributions.IntDistribution(0, len(ladder) - 1)
        for name, ladder in judge.ladders.items()
    }
    for values, score in judge.tried:
        study.add_trial(
            optuna.trial.create_trial(params=judge.places(values), distributions=kinds, value=score)
        )
    return study


def _importance(optuna: Any, judge: "_Judge") -> dict[str, float]:
    """How much of the differences between trials each setting explains (Hutter et al. 2014)."""
    if len({score for _, score in judge.tried}) < 2:
        return dict.fromkeys(judge.ladders, 0.0)
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=judge.seed)
    shares = optuna.importance.get_param_importances(_study(optuna, judge), evaluator=evaluator)
    return {name: float(share) for name, share in shares.items()}


class _Judge:
    """Scores of what is tried, each computed once and kept in a file."""

    def __init__(self, trial: ModelTrial, base: Recipe, seed: int, file: Path) -> None:
        self.seed, self._trial, self._base, self._file = seed, trial, base, file
        self.confirming = confirming(len(trial.users), seed)
        self.start = start_of(base)
        self.ladders = {
            name: tuple(sorted({*LADDERS[name], value})) for name, value in self.start.items()
        }
        self.tried: list[tuple[dict[str, Value], float]] = _read(file)
        self._made: dict[Recipe, F64] = {}

    def places(self, values: Values) -> dict[str, int]:
        """The place of each value on its ladder."""
        return {name: self.ladders[name].index(value) for name, value in values.items()}

    def ndcg(self, values: Values) -> F64:
        """(s,) of each user that is asked."""
        changed = {
            name: _typed(name, value) for name, value in values.items() if value != self.start[name]
        }
        recipe = recipe_with(self._base, TableSettings.of(changed))
        if recipe not in self._made:
            self._made[recipe] = self._trial.ndcg(recipe)
        return self._made[recipe]

    def score(self, values: Values) -> float:
        """The mean over the users that search; it is kept."""
        score = float(self.ndcg(values)[~self.confirming].mean())
        self.tried.append((dict(values), score))
        replace_file(self._file, json.dumps(self.tried))
        return score

    def best(self) -> dict[str, Value]:
        """The best that was tried; of equals the first, which is the start where it is one."""
        return max(self.tried, key=lambda entry: entry[1])[0]

    def gain(self, values: Values) -> Gain:
        """What `values` are worth over the start on the users that confirm."""
        return Gain.of((self.ndcg(values) - self.ndcg(self.start))[self.confirming], self.seed)


def start_of(recipe: Recipe) -> dict[str, Value]:
    """The values of what can be searched in a recipe."""
    kinds = {scorer.kind: (scorer, weight) for scorer, weight in recipe.weights}
    start: dict[str, Value] = {"width": recipe.table_width}
    ridges = [kinds[kind][0] for kind in ("ridge", "exact") if kind in kinds]
    if "ridge" in kinds:
        start["neighbours"] = recipe.ridge_width
    if ridges:
        start["penalty"] = ridges[0].strength
    if "spectral" in kinds:
        start["dimensions"] = kinds["spectral"][0].dimensions
    if "learned" in kinds:
        start["network_weight"] = kinds["learned"][1]
    return start


def _read(file: Path) -> list[tuple[dict[str, Value], float]]:
    """What an earlier search tried; nothing where there was none or its file is damaged."""
    try:
        rows: Sequence[Any] = json.loads(file.read_text(encoding="utf-8"))
        return [({str(name): values[name] for name in values}, float(score))
                for values, score in rows]  # fmt: skip
    except (OSError, ValueError, TypeError):
        return []


def _typed(name: str, value: Value) -> Any:
    return value if name in ("penalty", "network_weight") else int(value)
