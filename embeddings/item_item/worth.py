"""How everything is chosen: what is expected stays unless something else is clearly better.

The best of many things tried is partly the luckiest. So another one must be better by its
price, and on top of that by more than the standard error of the difference over the users who
judge.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from embeddings.item_item.judge import PerUser

Key = TypeVar("Key")
CAUTION = 1.0
"""By so many standard errors another one must be better."""


@dataclass(frozen=True)
class Findings:
    """What a ranker found of each part: the part's weight (sum 1), each user's figures (b, 2)."""

    parts: tuple[tuple[float, PerUser], ...]
    longer: "Findings | None" = None
    """The same for longer lists, where only a part of the items is ranked: what is clearly better
    is so there, too."""

    @property
    def quality(self) -> tuple[float, float]:
        """The weighted mean of NDCG@20 and of Recall@20."""
        if not self.parts:
            return 0.0, 0.0
        ndcg, recall = np.sum(
            [weight * figures.mean(axis=0) for weight, figures in self.parts], axis=0
        )
        return float(ndcg), float(recall)

    def error(self, other: "Findings") -> float:
        """The standard error of the difference from another ranker's figures for the same users."""
        square = 0.0
        for (weight, own), (_, its) in zip(self.parts, other.parts, strict=True):
            differences = (own - its).sum(axis=1)
            square += weight**2 * float(differences.var()) / len(differences)
        return float(np.sqrt(square))


def together(findings: Sequence[Findings]) -> Findings:
    """What was found of all parts, over all ways to hold back."""
    longer = [way.longer for way in findings if way.longer is not None]
    return Findings(
        tuple(
            (weight / len(findings), figures) for way in findings for weight, figures in way.parts
        ),
        together(longer) if longer else None,
    )


def worthiest(
    findings: Mapping[Key, Findings], expected: Key, price: Callable[[Key], float] = lambda _: 0.0
) -> Key:
    """The one of the highest quality after its price, a share of quality, is taken off."""
    prices = {key: 1 - price(key) for key in findings}
    best = max(findings, key=lambda key: sum(findings[key].quality) * prices[key])
    own, other = findings[best], findings[expected]
    clear = _ahead(own, prices[best], other, prices[expected])
    if clear and own.longer is not None and other.longer is not None:
        clear = _ahead(own.longer, prices[best], other.longer, prices[expected])
    return best if clear else expected


def _ahead(own: Findings, share: float, other: Findings, its: float) -> bool:
    ahead = sum(own.quality) * share - sum(other.quality) * its
    return ahead > CAUTION * own.error(other)


def clearly_better(findings: Findings, than: Findings) -> bool:
    """Whether one is better than another by more than the standard error."""
    return worthiest({True: findings, False: than}, expected=False)
