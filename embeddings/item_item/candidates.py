"""Which scorers are tried for one data set: every baseline in its own form, and what beats them.

Ridges on raw counts (EASE) and on the normalised graph with penalties over three powers of ten,
item kNN, the linear part of GF-CF and popularity. Each is judged alone by what it ranks, a
penalty from coarse to fine; the best of each kind goes on into the blend, beside spectra.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

import numpy as np

from embeddings.item_item.exact_ridge import is_cheap
from embeddings.item_item.held_back import Trial
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

    def judged(scorers: Sequence[Scorer], made: Sequence[Iterator]) -> Mapping[Scorer, float]:
        found = {}
        for scorer, *tables in zip(scorers, *made, strict=True):
            qualities = [
                trial(table.neighbours, table.scores)
                for trial, table in zip(trials, tables, strict=True)
            ]
            tried[scorer.name] = mean_quality(qualities)
            found[scorer] = sum(tried[scorer.name])
        return found

    def alone(scorer: Scorer) -> float:
        return judged([scorer], [iter([one.table(scorer)]) for one in fitted])[scorer]

    ridges: dict[Scorer, float] = {}
    for a, b in FORMS[preset]:
        family = [Scorer("ridge", a, b, penalty) for penalty in PENALTIES]
        of_form = judged(family, [one.ridges(family) for one in fitted])
        best = max(of_form, key=lambda one: of_form[one])
        ridges[best] = of_form[best]
        say(f"{best.name}: NDCG@20 {tried[best.name][0]:.4f}")
    kept = sorted(ridges, key=lambda one: -ridges[one])[: RIDGES[preset]]
    best_quality = ridges[kept[0]]
    exact = _exact(kept[0], best_quality * EXACT_GAIN, alone, fitted)
    if exact:
        say(f"{exact.name}: NDCG@20 {tried[exact.name][0]:.4f}")
        kept.insert(0, exact)
    cosines = [Scorer("cosine", power, 0.5) for power in COSINES]
    others = [max(cosines, key=alone), Scorer("popularity")]
    kept += [one for one in others if alone(one) >= WORTH_BLENDING * best_quality]
    return (*kept, *SPECTRA[preset])


def mean_quality(qualities: Sequence[Quality]) -> Quality:
    """The mean over trials."""
    ndcg, recall = np.mean(qualities, axis=0)
    return float(ndcg), float(recall)


def _exact(
    local: Scorer, bar: float, alone: Callable[[Scorer], float], fitted: Sequence[Fitted]
) -> Scorer | None:
    """The best exact ridge near a local one's penalty, where it is cheap and passes the bar."""
    a, b = local.row_exponent, local.item_exponent
    if not all(is_cheap(one.graph(a, b)) for one in fitted):
        return None
    start = PENALTIES.index(local.strength)

    def at(place: int) -> tuple[float, Scorer]:
        scorer = Scorer("exact", a, b, PENALTIES[place])
        return alone(scorer), scorer

    best = at(start)
    for step in (1, -1):
        place = start + step
        while 0 <= place < len(PENALTIES) and (found := at(place))[0] > best[0]:
            best, place = found, place + step
        if place != start + step:
            break
    return best[1] if best[0] > bar else None
