"""How much each scorer weighs in the sum that ranks, chosen by what mixtures find.

It begins with the usual ridge and a little spectrum, or with a scorer that is clearly better alone.
Then weights are gone through one by one.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from embeddings.item_item.candidates import Quality, Say
from embeddings.item_item.recipe import Scorer
from embeddings.item_item.worth import Findings, worthiest

WEIGHTS = (0.15, 0.3, 0.5)
"""Weights of simple scorers beside a ridge: too small to outvote the ridge where it is right."""
ANY_WEIGHTS = (0.15, 0.3, 0.5, 0.75, 1.0, 1.5)
ANOTHER_COST = 0.015
"""What any scorer but the usual spectrum must raise quality by, to stand beside a ridge."""
RIDGES = ("ridge", "exact")
ROUNDS = 2
"""Weights are gone through so often."""
SPECTRUM_COST = 0.012


class Spectrum(NamedTuple):
    """Which weight of a spectrum is usual beside a ridge.

    Any weight w must raise quality by `SPECTRUM_COST` x log(w / likely)^2.
    """

    expected: float = 0.3  # what it begins with, and stays at unless another is clearly better
    likely: float = 0.4  # what costs nothing
    least: float = 0.1  # no spectrum at all costs as much as this


ORDERED, UNORDERED = Spectrum(), Spectrum(0.15, 0.15, 0.05)
"""Where the order of things is known, what is held back tells of the future, which a spectrum is
good at; where it is not, all that is known of the future is that it may be different."""


def usual_mixture(
    ridge: Scorer, spectrum: Scorer, weight: float
) -> tuple[tuple[Scorer, float], ...]:
    """What is expected to rank best."""
    return (ridge, 1.0), (spectrum, weight)


def mixture(
    scorers: Sequence[Scorer],
    mixed: Callable[[Mapping[Scorer, float]], Findings],
    tried: dict[str, Quality],
    say: Say,
    usual: Spectrum,
    network_weight: float | None = None,
) -> dict[Scorer, float]:
    """Begin with the ridge and a little spectrum, or with what is clearly better; change weights.

    A part held back at random understates what will be popular later, which a spectrum is good at.
    So its weight is drawn towards what is `usual`, which loses little both with data that drifts
    and with data that does not.
    """
    wide = next(scorer for scorer in scorers if scorer.kind == "spectral")
    begins = {(scorer, 0.0): mixed({scorer: 1.0}) for scorer in scorers}
    for (scorer, _), findings in begins.items():
        tried[scorer.name] = findings.quality
        say(f"{scorer.name}: NDCG@20 {tried[scorer.name][0]:.4f}")
    begins |= {
        (scorer, usual.expected): mixed(dict(usual_mixture(scorer, wide, usual.expected)))
        for scorer in scorers
        if scorer.kind in RIDGES
    }

    def price(begin: tuple[Scorer, float]) -> float:
        return _price_of_spectrum(usual, begin[1]) if begin[0].kind in RIDGES else 0.0

    first, beside = worthiest(begins, (scorers[0], usual.expected), price)
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
            weight = _best_weight(scorer, chosen, mixed, tried, usual)
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
    usual: Spectrum,
) -> float:
    """The weight of a scorer beside the others: what it has, unless another one is better."""
    now = chosen.get(scorer, 0.0)
    steps = WEIGHTS if scorer.kind in ("cosine", "popularity") else ANY_WEIGHTS
    results = {weight: mixed({**chosen, scorer: weight}) for weight in (0.0, *steps)}
    tried |= {f"+ {scorer.name} x {weight:g}": model.quality for weight, model in results.items()}
    if not any(other.kind in RIDGES for other in chosen):
        return worthiest(results, now)
    wide = scorer.kind == "spectral" and scorer.strength > 0
    price = partial(_price_of_spectrum, usual) if wide else _price_of_another
    return worthiest(results, now, price)


def _price_of_another(weight: float) -> float:
    return ANOTHER_COST if weight else 0.0


def _price_of_spectrum(usual: Spectrum, weight: float) -> float:
    return SPECTRUM_COST * float(np.log(max(weight, usual.least) / usual.likely)) ** 2
