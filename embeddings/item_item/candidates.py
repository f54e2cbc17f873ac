"""Which scorers are tried for one data set: every baseline in its own form, and what can beat them.

Ridges on raw counts (EASE) and on the normalised graph with penalties over three powers of ten,
item kNN, the linear part of GF-CF and popularity. Each is judged by its own ranking,
penalties from coarse to fine; the best of each kind is blended, together with spectra.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from embeddings.item_item.exact_ridge import is_cheap
from embeddings.item_item.held_back import Trial
from embeddings.item_item.item_table import ItemTable
from embeddings.item_item.scorers import RIDGE, Fitted, Scorer

Preset = Literal["fast", "default"]
Say = Callable[[str], None]
Quality = tuple[float, float]  # NDCG@20 and Recall@20

FORMS = {
    "default": ((RIDGE.row_exponent, RIDGE.item_exponent), (0.2, 0.2), (0.0, 0.0)),
    "fast": ((RIDGE.row_exponent, RIDGE.item_exponent), (0.0, 0.0)),
}
"""Powers of the degrees that a ridge's rows and items are divided by; none: EASE."""
PENALTIES = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
"""All of them are tried on the first form, on the others the best one and its neighbours."""
RIDGES = {"default": 2, "fast": 1}
"""As many ridges of different forms are carried into the blend."""
COSINES = (0.0, 0.25, 0.5)
"""Powers of the degrees of users, whose squares damp what they say in X'X; items have .5."""
SPECTRA = {
    "default": (Scorer("spectral", 0.5, 0.5, 0.5, 768),),
    "fast": (Scorer("spectral", 0.5, 0.5, 0.5, 256),),
}
WORTH_BLENDING = 0.3
"""What has less than this share of the best scorer's quality is no part of a blend."""
EXACT_GAIN = 1.005
"""An exact ridge must be so much better than a local one to take its place."""


def candidates(
    trials: Sequence[Trial],
    fitted: Sequence[Fitted],
    preset: Preset,
    tried: dict[str, Quality],
    say: Say,
) -> tuple[Scorer, ...]:
    """The scorers to blend, best first within a kind, spectra last.

    `fitted` are without scorers of their own, one for each of `trials`.
    """

    def of_form(a: float, b: float, penalties: Sequence[float]) -> tuple[float, Scorer]:
        """The best ridge of one form; its table is kept when there is only one trial."""
        family = [Scorer("ridge", a, b, penalty) for penalty in penalties]
        best: tuple[float, Scorer | None] = (-1.0, None)
        made = [model.ridges(family) for model in fitted]
        for scorer, *tables in zip(family, *made, strict=True):
            quality = judged(scorer, tables)
            if quality > best[0]:
                if len(fitted) == 1:
                    fitted[0].keep(scorer, tables[0], best[1])
                best = quality, scorer
        assert best[1] is not None
        return best[0], best[1]

    def judged(scorer: Scorer, tables: Sequence[ItemTable]) -> float:
        tried[scorer.name] = mean_quality(
            [
                trial.quick(table.neighbours, table.scores)
                for trial, table in zip(trials, tables, strict=True)
            ]
        )
        return sum(tried[scorer.name])

    def alone(scorer: Scorer) -> float:
        return judged(scorer, [model.table(scorer) for model in fitted])

    ridges: dict[Scorer, float] = {}
    near: Sequence[float] = PENALTIES
    for a, b in FORMS[preset]:
        quality, best = of_form(a, b, near)
        ridges[best] = quality
        say(f"{best.name}: NDCG@20 {tried[best.name][0]:.4f}")
        if near is PENALTIES:
            step = PENALTIES.index(best.strength)
            near = PENALTIES[max(step - 1, 0) : step + 2]
    kept = sorted(ridges, key=lambda ridge: -ridges[ridge])[: RIDGES[preset]]
    best_quality = ridges[kept[0]]
    exact = _exact(kept[0], best_quality * EXACT_GAIN, alone, fitted)
    if exact:
        say(f"{exact.name}: NDCG@20 {tried[exact.name][0]:.4f}")
        kept.insert(0, exact)
    cosines = [Scorer("cosine", power, 0.5) for power in COSINES]
    simple = [max(cosines, key=alone), Scorer("popularity")]
    kept += [scorer for scorer in simple if alone(scorer) >= WORTH_BLENDING * best_quality]
    return (*kept, *SPECTRA[preset])


def mean_quality(qualities: Sequence[Quality]) -> Quality:
    """The mean over trials."""
    ndcg, recall = np.mean(qualities, axis=0)
    return float(ndcg), float(recall)


def _exact(
    local: Scorer, bar: float, alone: Callable[[Scorer], float], fitted: Sequence[Fitted]
) -> Scorer | None:
    """The best exact ridge near a local one's penalty, if it is cheap and passes the bar."""
    a, b = local.row_exponent, local.item_exponent
    if not all(is_cheap(model.graph(a, b)) for model in fitted):
        return None
    start = PENALTIES.index(local.strength)

    def at(index: int) -> tuple[float, Scorer]:
        scorer = Scorer("exact", a, b, PENALTIES[index])
        return alone(scorer), scorer

    best = at(start)
    if best[0] <= bar:  # the penalty that suits it lies near, and so does what it gains
        return None
    for step in (1, -1):
        index = start + step
        while 0 <= index < len(PENALTIES) and (further := at(index))[0] > best[0]:
            best, index = further, index + step
        if index != start + step:
            break
    return best[1]
