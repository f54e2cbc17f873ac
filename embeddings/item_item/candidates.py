"""Which scorers are tried for one data set: every baseline in its own form, and what can beat them.

Ridges on raw counts (EASE) and on the normalised graph with penalties over three powers of ten,
item kNN, the linear part of GF-CF and popularity. Each is judged by its own ranking,
penalties from coarse to fine; the best of each kind is blended, together with spectra.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from embeddings.item_item.exact_ridge import is_cheap
from embeddings.item_item.held_back import Trial
from embeddings.item_item.item_table import ItemTable
from embeddings.item_item.recipe import RIDGE, Scorer
from embeddings.item_item.scorers import Fitted
from embeddings.item_item.table_settings import TableSettings
from embeddings.item_item.worth import Findings, together, worthiest

Preset = Literal["fast", "default"]
Say = Callable[[str], None]
USUAL = TableSettings()
Quality = tuple[float, float]  # NDCG@20 and Recall@20

FORMS = {
    "default": ((RIDGE.row_exponent, RIDGE.item_exponent), (0.2, 0.2), (0.0, 0.0)),
    "fast": ((RIDGE.row_exponent, RIDGE.item_exponent), (0.0, 0.0)),
}
"""A ridge's rows and items are divided by these powers of their degrees; 0 and 0: EASE."""
PENALTIES = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
"""All are tried on the first form; on the others only the best of them and its neighbours."""
PENALTY_COST = 0.02
"""A penalty p must raise quality by cost x log10(p / usual)^2: the more is held back, the more
what is left prefers a stronger penalty than all of the data would."""
COSINES = (0.0, 0.25, 0.5)
"""Exponents of users' degrees; doubled, they damp what users add to X'X. Items have .5."""
LOW_PASS = Scorer("spectral", 0.5, 0.5, 0.0, 64)
"""The low-pass of GF-CF: its few directions all count alike."""
SPECTRA = {
    "default": (Scorer("spectral", 0.5, 0.5, 0.5, 768), LOW_PASS),
    "fast": (Scorer("spectral", 0.5, 0.5, 0.5, 256), LOW_PASS),
}
WORTH_BLENDING = 0.3
"""A scorer with less than this share of the best one's quality is not blended."""


def candidates(
    trials: Sequence[Trial],
    fitted: Sequence[Fitted],
    preset: Preset,
    tried: dict[str, Quality],
    say: Say,
    usual: Scorer = RIDGE,
    settings: TableSettings = USUAL,
) -> tuple[Scorer, ...]:
    """The scorers to blend: first the ridge that mixtures begin with, last spectra by width.

    `fitted` holds one for each of `trials`, each without any scorer yet. The `usual` ridge is
    taken unless another one is clearly better.
    """

    def price(ridge: Scorer) -> float:
        return PENALTY_COST * math.log10(ridge.strength / usual.strength) ** 2

    def judged(scorer: Scorer, tables: Sequence[ItemTable]) -> Findings:
        findings = together(
            [
                trial.quick(table.neighbours, table.scores)
                for trial, table in zip(trials, tables, strict=True)
            ]
        )
        tried[scorer.name] = findings.quality
        return findings

    def alone(scorer: Scorer) -> Findings:
        return judged(scorer, [model.table(scorer) for model in fitted])

    everything = all(trial.searched.all() for trial in trials)
    ridges: dict[Scorer, Findings] = {}
    penalties = PENALTIES if settings.penalty is None else (settings.penalty,)
    best = usual
    near: Sequence[float] = penalties
    for a, b in FORMS[preset]:
        family = [Scorer("ridge", a, b, penalty) for penalty in near]
        made = [
            model.ridges(family, trial.searched)
            for model, trial in zip(fitted, trials, strict=True)
        ]
        for scorer, *tables in zip(family, *made, strict=True):
            ridges[scorer] = judged(scorer, tables)
            if everything:
                for model, table in zip(fitted, tables, strict=True):
                    model.keep(scorer, table)
        best = worthiest(ridges, best, price)
        say(f"{best.name}: NDCG@20 {tried[best.name][0]:.4f}")
        if near is penalties:
            index = penalties.index(best.strength)
            near = penalties[max(index - 1, 0) : index + 2]
        for model in fitted:
            model.settle([best])
    kept = [best]
    exact = _exact(best, ridges[best], alone, fitted, penalties)
    if exact:
        say(f"{exact.name}: NDCG@20 {tried[exact.name][0]:.4f}")
        kept.insert(0, exact)
    cosines = [Scorer("cosine", power, 0.5) for power in COSINES]
    least = WORTH_BLENDING * sum(ridges[best].quality)
    for others in (cosines, [Scorer("popularity")]):
        findings = {scorer: sum(alone(scorer).quality) for scorer in others}
        kept += [
            scorer for scorer in others if findings[scorer] == max(findings.values()) >= least
        ][:1]
    return (*kept, wide_spectrum(preset, settings), LOW_PASS)


def wide_spectrum(preset: Preset, settings: TableSettings = USUAL) -> Scorer:
    """The spectrum that usually stands beside a ridge."""
    if settings.dimensions is None:
        return SPECTRA[preset][0]
    return replace(SPECTRA[preset][0], dimensions=settings.dimensions)


def _exact(
    local: Scorer, findings: Findings, alone: Callable[[Scorer], Findings],
    fitted: Sequence[Fitted], penalties: Sequence[float],
) -> Scorer | None:  # fmt: skip
    """The best exact ridge near a local one's penalty, if it is cheap and clearly better."""
    a, b = local.row_exponent, local.item_exponent
    if not all(is_cheap(model.graph(a, b)) for model in fitted):
        return None
    start = penalties.index(local.strength)
    tried = {local: findings}

    def at(index: int) -> float:
        scorer = Scorer("exact", a, b, penalties[index])
        tried[scorer] = alone(scorer)
        return sum(tried[scorer].quality)

    best = at(start)
    if worthiest(tried, local) == local:  # its best penalty is near, and so is its gain
        return None
    for step in (1, -1):
        index = start + step
        while 0 <= index < len(penalties) and (quality := at(index)) > best:
            best, index = quality, index + step
        if index != start + step:
            break
    return worthiest(tried, local)
