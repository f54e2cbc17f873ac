"""Weights that earn their place: searched on half of the users, confirmed on the other half.

Begin with `tune_weighting`. Optuna proposes weightings, and a small item table (`weighting_trial`)
judges them on the select part of the data; the gate part and test data are never looked at. Half of
the asked users judge during the search. As that finds the luckiest of many weightings, the other
half then judges each weight: it is put back to neutral, one at a time, and stays only if the 95 %
interval of its gain lies above 0.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from embeddings.metrics import bootstrap
from graph.arrays import F64
from graph.errors import InputError
from graph.snapshot import GraphSnapshot
from graph.weighting import Weighting
from graph.weighting_file import weighting_toml
from recommender.evaluation.tuning import Gain, confirming, optuna_or_error
from recommender.evaluation.weighting_knobs import Knob, Value, Values, knobs_of, weighting_with
from recommender.evaluation.weighting_trial import Trial, trial_of

Say = Callable[[str], None]
FEWEST_USERS = 40  # users asked in all; with fewer nothing can be confirmed
KEPT, NOTHING = "kept", "brings nothing"


@dataclass(frozen=True)
class Found:
    """One weight: what was tried, what is kept, and what it is worth beside the others kept.

    The gain of a kept weight is what is lost when it alone is put back to neutral; that of another
    is what `tried` would add.
    """

    knob: Knob
    tried: Value
    value: Value
    gain: Gain
    verdict: str


@dataclass(frozen=True)
class Tuned:
    """A learned weighting and how it came about."""

    weighting: Weighting
    weights: tuple[Found, ...]
    gain: Gain  # gain of all kept weights together over the neutral weighting
    neutral_ndcg: float  # on the users that confirm
    users: tuple[int, int]  # how many searched, how many confirmed
    trials: int
    seconds: float
    stopped_by_time: bool
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The report."""
        return {
            "users": {"search": self.users[0], "confirm": self.users[1]},
            "trials": self.trials,
            "seconds": round(self.seconds, 1),
            "stopped_by_time": self.stopped_by_time,
            "neutral_ndcg@20": round(self.neutral_ndcg, 6),
            "gain": self.gain.to_json(),
            "weights": [
                {
                    "weight": weight.knob.name,
                    "neutral": weight.knob.neutral,
                    "tried": weight.tried,
                    "value": weight.value,
                    "gain": weight.gain.to_json(),
                    "verdict": weight.verdict,
                }
                for weight in self.weights
            ],
            "notes": list(self.notes),
            "weighting": self.weighting.to_json(),
        }

    def to_toml(self) -> str:
        """The file that a refresh reads; beside each weight stands what it is worth."""
        remarks = {(weight.knob.table, weight.knob.key): _remark(weight) for weight in self.weights}
        head = (
            f"Learned by `nichegraph tune weighting`: {self.trials} trials, judged by "
            f"{self.users[0]} users, confirmed by {self.users[1]} others.\n"
            f"Together: NDCG@20 {self.neutral_ndcg:.4f} {self.gain}, by a small item table.\n"
            "Beside each weight: what is lost when it alone is neutral, 95 % interval."
        )
        return weighting_toml(self.weighting, remarks, "\n".join([head, *self.notes]))


def tune_weighting(
    snapshot: GraphSnapshot,
    base: Weighting,
    *,
    now: int,
    seed: int = 0,
    trials: int = 120,
    seconds: float = 600.0,
    threads: int = 2,
    say: Say = lambda _: None,
) -> Tuned:
    """Learn the weights of a snapshot; a weight that brings nothing stays neutral.

    Args:
        snapshot: may hold everything that a refresh may learn from; its gate part is left out.
        base: gives what is not tuned: minimum, ratings, how rare tags may be.
        now: seconds since 1970, for the age of events.
        seed: of the parts, the search and the intervals. The same seed finds the same, as long
            as trials end the search and not time.
        trials: weightings tried at most while searching.
        seconds: after which the search ends, once at least one trial was made.
        threads: of each trial.
        say: called with a sentence at each step.

    Raises:
        InputError: optuna is not installed, or there are too few users to judge by.
    """
    began = time.monotonic()
    say("holding back a part of the data")
    base = _neutral(base)
    trial = trial_of(snapshot, base, now=now, seed=seed, threads=threads)
    if len(trial.users) < FEWEST_USERS:
        raise InputError(
            f"weights cannot be learned: {len(trial.users)} users have a held-back pair to judge "
            "by, "
            f"{FEWEST_USERS} are needed"
        )
    knobs, notes = knobs_of(trial.fit, trial.domains_from)
    judge = _Judge(trial, base, knobs, seed)
    best, tried, made, late = _search(judge, trials, began + seconds, say)
    best = judge.without_ballast(best)
    say("confirming on the other users")
    kept = judge.confirmed(best)
    findings = []
    for knob in knobs:
        value = kept.get(knob, best.get(knob, tried.get(knob, knob.neutral)))
        gain = judge.gain({**kept, knob: value}, {**kept, knob: knob.neutral})
        verdict = KEPT if knob in kept else NOTHING
        findings.append(
            Found(
                knob=knob,
                tried=value,
                value=kept.get(knob, knob.neutral),
                gain=gain,
                verdict=verdict,
            )
        )
    return Tuned(
        weighting=weighting_with(base, knobs, kept),
        weights=tuple(findings),
        gain=judge.gain(kept, {}),
        neutral_ndcg=float(judge.ndcg({})[judge.confirming].mean()),
        users=(int((~judge.confirming).sum()), int(judge.confirming.sum())),
        trials=made,
        seconds=time.monotonic() - began,
        stopped_by_time=late,
        notes=tuple(notes),
    )


def _search(
    judge: "_Judge", trials: int, deadline: float, say: Say
) -> tuple[dict[Knob, Value], dict[Knob, Value], int, bool]:
    """Best values found, best value of each knob alone, number of trials, whether time ran out.

    First it tries each knob alone at two values, then those that helped together, then what a
    tree-structured Parzen estimator proposes (Bergstra et al. 2011).
    """
    optuna = optuna_or_error()
    sampler = optuna.samplers.TPESampler(seed=judge.seed)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    queue = _planned(judge)
    ahead = next(queue, None)
    best: dict[Knob, Value] = {}
    made, late = 0, False
    while made < trials and not (late := time.monotonic() > deadline and made > 0):
        if ahead is not None:
            study.enqueue_trial(
                {k.name: k.ladder.index(ahead.get(k, k.neutral)) for k in judge.knobs}
            )
        trial = study.ask()
        values = {
            knob: knob.ladder[trial.suggest_int(knob.name, 0, len(knob.ladder) - 1)]
            for knob in judge.knobs
        }
        score = judge.search_score(values)
        study.tell(trial, score)
        if score > judge.search_score(best):
            best = {knob: value for knob, value in values.items() if value != knob.neutral}
        made += 1
        ahead = next(queue, None) if ahead is not None else None
        say(f"trial {made} of {trials}: NDCG@20 {score:.4f}, best {judge.search_score(best):.4f}")
    return best, judge.alone(), made, late


def _planned(judge: "_Judge") -> Iterator[Values]:
    """Neutral, each knob alone, then the helpful ones together: all, the better half, the best."""
    yield {}
    for knob in judge.knobs:
        for value in knob.probes:
            yield {knob: value}
    helping = list(judge.helping().items())
    for count in dict.fromkeys((len(helping), (len(helping) + 1) // 2, min(3, len(helping)))):
        if count > 1:
            yield dict(helping[:count])


class _Judge:
    """NDCG@20 per user of each weighting, computed once; half of the users search, half confirm."""

    def __init__(self, trial: Trial, base: Weighting, knobs: list[Knob], seed: int) -> None:
        self.knobs, self.seed = knobs, seed
        self._trial, self._base = trial, base
        self._made: dict[tuple[Value, ...], F64] = {}
        self.confirming = confirming(len(trial.users), seed)

    def ndcg(self, values: Values) -> F64:
        """(s,) of each asked user."""
        key = tuple(values.get(knob, knob.neutral) for knob in self.knobs)
        if key not in self._made:
            self._made[key] = self._trial.ndcg(weighting_with(self._base, self.knobs, values))
        return self._made[key]

    def search_score(self, values: Values) -> float:
        """The mean over the users that search."""
        return float(self.ndcg(values)[~self.confirming].mean())

    def gain(self, values: Values, over: Values) -> Gain:
        """What `values` are worth over others on the users that confirm."""
        return Gain.of((self.ndcg(values) - self.ndcg(over))[self.confirming], self.seed)

    def alone(self) -> dict[Knob, Value]:
        """The best value, other than the neutral one, of each knob that was tried alone."""
        best: dict[Knob, Value] = {}
        neutral = tuple(knob.neutral for knob in self.knobs)
        for key in self._made:
            turned = [index for index, value in enumerate(key) if value != neutral[index]]
            if len(turned) == 1:
                knob, value = self.knobs[turned[0]], key[turned[0]]
                score = self.search_score({knob: value})
                if knob not in best or score > self.search_score({knob: best[knob]}):
                    best[knob] = value
        return best

    def helping(self) -> dict[Knob, Value]:
        """Those of `alone` that help the users that search, the most helpful first."""
        alone = self.alone()
        score = {knob: self.search_score({knob: value}) for knob, value in alone.items()}
        order = sorted(alone, key=lambda knob: -score[knob])
        return {knob: alone[knob] for knob in order if score[knob] > self.search_score({})}

    def without_ballast(self, values: Values) -> dict[Knob, Value]:
        """Drops values, the least helpful first, that do not even help the users that searched."""
        left = dict(values)
        while left:
            full = self.search_score(left)
            lost = {knob: full - self.search_score(_but(left, knob)) for knob in left}
            idle = sorted((k for k in left if lost[k] <= 0), key=lambda knob: lost[knob])
            if not idle:
                break
            for knob in idle[: (len(idle) + 1) // 2]:
                del left[knob]
        return left

    def confirmed(self, values: Values) -> dict[Knob, Value]:
        """Only values that surely help users who did not search, given the other values.

        Of all that the search found, the weakest are dropped. Then values that helped alone may
        come back, the surest first, and may push others out. As many are tested at once, each is
        tested at a level divided by their number (Bonferroni).
        """
        helping = self.helping()
        comparisons = len({*values, *helping})
        left = self._without_weak(values, comparisons)
        while True:
            edges = {
                knob: self._edge({**left, knob: value}, left, comparisons)
                for knob, value in helping.items()
                if knob not in left
            }
            surest = max(edges, key=lambda knob: edges[knob], default=None)
            if surest is None or edges[surest] <= 0:
                break
            left[surest] = helping[surest]
        left = self._without_weak(left, comparisons)
        return left if self.gain(left, {}).low > 0 else {}

    def _without_weak(self, values: Values, comparisons: int) -> dict[Knob, Value]:
        left = dict(values)
        while left:
            edges = {knob: self._edge(left, _but(left, knob), comparisons) for knob in left}
            weak = sorted((k for k in left if edges[k] <= 0), key=lambda k: edges[k])
            if not weak:
                break
            for knob in weak[: max(1, len(weak) // 4)]:
                del left[knob]
        return left

    def _edge(self, values: Values, over: Values, comparisons: int) -> float:
        """The lower edge of the gain when `asked` weights are looked at."""
        difference = (self.ndcg(values) - self.ndcg(over))[self.confirming]
        level = 1 - 0.05 / max(comparisons, 1)
        return float(bootstrap(difference, seed=self.seed, rounds=4000, level=level)[0, 0])


def _neutral(base: Weighting) -> Weighting:
    """`base` with everything that can be tuned as it would be without a file."""
    default = Weighting()
    return replace(
        base,
        kinds=default.kinds,
        categories=default.categories,
        domains=default.domains,
        relations=default.relations,
        half_life_days=default.half_life_days,
        tag_rarity=default.tag_rarity,
    )


def _but(values: Values, knob: Knob) -> dict[Knob, Value]:
    return {key: value for key, value in values.items() if key is not knob}


def _remark(weight: Found) -> str:
    if weight.verdict == KEPT:
        neutral = "nothing" if weight.knob.neutral is None else f"{weight.knob.neutral:g}"
        return f"{weight.gain}; neutral is {neutral}"
    if weight.tried == weight.knob.neutral:
        return "neutral: nothing else was tried"
    return f"neutral: {weight.tried:g} brings {weight.gain}"
