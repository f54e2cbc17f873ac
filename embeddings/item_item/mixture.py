"""How much each scorer weighs in the sum that ranks, chosen by what mixtures find.

It begins with the usual ridge and a little spectrum, or with a scorer that is clearly better alone.
Then weights are gone through one by one.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from embeddings.item_item.candidates import Quality, Say
from embeddings.item_item.recipe import Scorer
from embeddings.item_item.worth import Findings, worthiest

WEIGHTS = (0.15, 0.3, 0.5)
"""Weights of simple scorers beside a ridge: too small to outvote the ridge where it is right."""
ANY_WEIGHTS = (0.15, 0.3, 0.5, 0.75, 1.0, 1.5)
ANOTHER_COST = 0.015
"""What any scorer but the usual spectrum must raise quality by, to stand beside a ridge."""
ROUNDS = 2
"""Weights are gone through so often."""
SPECTRUM_EXPECTED, SPECTRUM_WEIGHT, SPECTRUM_COST = 0.3, 0.4, 0.012
"""The weight that a spectrum is expected to have beside a ridge. Another weight w must raise
quality by cost x log(w / .4)^2; no spectrum at all counts as w = .1."""


def usual_mixture(ridge: Scorer, spectrum: Scorer) -> tuple[tuple[Scorer, float], ...]:
    """What is expected to rank best."""
    return (ridge, 1.0), (spectrum, SPECTRUM_EXPECTED)


def mixture(
    scorers: Sequence[Scorer],
    mixed: Callable[[Mapping[Scorer, float]], Findings],
    tried: dict[str, Quality],
    say: Say,
    network_weight: float | None = None,
) -> dict[Scorer, float]:
    """Begin with the ridge and a little spectrum, or with what is clearly better; change weights.

    A part held back at random understates what will be popular later, which a spectrum is good at.
    So its weight is drawn towards `SPECTRUM_WEIGHT`, which is near the best value both for data
    that drifts and for data that does not.
    """
    wide = next(scorer for scorer in scorers if scorer.kind == "spectral")
    begins = {(scorer, 0.0): mixed({scorer: 1.0}) for scorer in scorers}
    for (scorer, _), findings in begins.items():
        tried[scorer.name] = findings.quality
        say(f"{scorer.name}: NDCG@20 {tried[scorer.name][0]:.4f}")
    begins |= {
        (scorer, SPECTRUM_EXPECTED): mixed(dict(usual_mixture(scorer, wide)))
        for scorer in scorers
        if scorer.kind in ("ridge", "exact")
    }
    first, beside = worthiest(begins, (scorers[0], SPECTRUM_EXPECTED))
    chosen = {first: 1.0} | ({wide: beside} if beside else {})
    others = [scorer for scorer in scorers if scorer != first]
    for scorer in others if network_weight is not None else ():
        if scorer.kind == "learned" and network_weight:
            chosen[scorer] = network_weight
    for _ in range(ROUNDS):
        before = dict(chosen)
        for scorer in others:
            if scorer.kind == "learned" and network_weight is not None:
                continue
            weight = _best_weight(scorer, chosen, mixed, tried)
            chosen = {other: w for other, w in chosen.items() if other != scorer}
            chosen |= {scorer: weight} if weight else {}
        if chosen == before:
            break
    return chosen


def _best_weight(
    scorer: Scorer,
    chosen: Mapping[Scorer, float],
    mixed: Callable[[Mapping[Scorer, float]], Findings],
    tried: dict[str, Quality],
) -> float:
    """The weight of a scorer beside the others: what it has, unless another one is better."""
    now = chosen.get(scorer, 0.0)
    steps = WEIGHTS if scorer.kind in ("cosine", "popularity") else ANY_WEIGHTS
    results = {weight: mixed({**chosen, scorer: weight}) for weight in (0.0, *steps)}
    tried |= {f"+ {scorer.name} x {weight:g}": model.quality for weight, model in results.items()}
    if not any(other.kind in ("ridge", "exact") for other in chosen):
        return worthiest(results, now)
    wide = scorer.kind == "spectral" and scorer.strength > 0
    return worthiest(results, now, _price_of_spectrum if wide else _price_of_another)


def _price_of_another(weight: float) -> float:
    return ANOTHER_COST if weight else 0.0


def _price_of_spectrum(weight: float) -> float:
    return SPECTRUM_COST * float(np.log(max(weight, 0.1) / SPECTRUM_WEIGHT)) ** 2
