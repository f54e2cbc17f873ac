"""What is chosen for a data set: ways to score pairs of items, and how they are mixed."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

RIDGE_WIDTH = 200
"""The usual support of each target's regression: its strongest co-occurring items. As many weights
are kept for each history item."""
WORD_WEIGHT = 0.6
"""Of words beside the 1 of tags, unless another weight is clearly better. Chosen on citeulike-a."""


@dataclass(frozen=True)
class Scorer:
    """One way to score (history item, target) pairs on X = Du^-row_exponent R Di^-item_exponent.

    ridge        a regression of each target on its strongest co-occurring items
    exact        the same on all items
    cosine       X'X: item kNN, the linear part of GF-CF where both exponents are .5
    popularity   how many users have the target
    spectral     singular vectors, of which there are `dimensions`
    learned      products of the vectors of a `model`

    `strength` is the penalty of a ridge, the sharpness of a spectrum.
    """

    kind: Literal["ridge", "exact", "cosine", "popularity", "spectral", "learned"]
    row_exponent: float = 0.0
    item_exponent: float = 0.0
    strength: float = 1.0
    dimensions: int = 0
    model: str = ""

    def as_json(self) -> dict[str, Any]:
        """The fields as JSON; `Scorer(**fields)` makes the same scorer."""
        return asdict(self)

    @property
    def name(self) -> str:
        """What a report calls it."""
        if self.kind == "learned":
            return self.model
        if self.kind == "popularity":
            return self.kind
        if self.kind == "cosine":
            return f"cosine {self.row_exponent:g}/{self.item_exponent:g}"
        fitted = f"{self.kind} {self.row_exponent:g}/{self.item_exponent:g} {self.strength:g}"
        return fitted + (f" d{self.dimensions}" if self.dimensions else "")


BY_PAIRS = ("ridge", "exact", "cosine")
"""Kinds that score the pairs of items which people have had together."""
RIDGE = Scorer("ridge", 0.2, 0.3, 10.0)
"""Used where there is too little to choose by, and to choose the weights of features."""
FEW_USERS, PENALTY_OF_FEW = 250, 30.0
"""With fewer users the usual ridge has this penalty: what few people have together is mostly
chance, and few who judge can hardly tell."""


def usual_ridge(users: int) -> Scorer:
    """The ridge that is expected to be best for so many users with a history."""
    return replace(RIDGE, strength=PENALTY_OF_FEW) if users < FEW_USERS else RIDGE


@dataclass(frozen=True)
class Recipe:
    """What was chosen: enough to fit the same table on other data."""

    weights: tuple[tuple[Scorer, float], ...]
    feature_weights: tuple[float, ...] = ()
    popularity_exponent: float = 0.0
    """Added to the exponent of the target's degree: above 0 favours the popular."""
    support_width: int = 300
    table_width: int = 300
    proposal_dimensions: int = 64
    """Of the singular vectors that propose pairs; 0: none do."""
    history_exponent: float = 0.0
    """The same for the history item: below 0, an item that few have chosen says more about them."""
    ridge_width: int = RIDGE_WIDTH
    """Support of each target's regression; never more than that of the table."""
    recency_exponent: float = 0.0
    """See `recency.weighed`; it changes histories, not the table."""
    follows_weight: float = 0.0
    """Of the table of what follows what, see `follows`; 0: it is left out."""
    follows_steepness: float = 0.0
    """How steeply the weights fall off with which a history reads it, from the newest entry on."""
    sequence_weight: float = 0.0
    """Of what a `SequenceModel` foretells, beside the table's best; 0: there is none."""
    sequence_sharpness: float = 1.0
    """Its logits are multiplied by this."""
    sequence_epochs: int = 0
    """How long it is trained."""
    few_items: int = 0
    """Histories of at most so many different items read a table of their own, see `few`; 0: none
    do."""
    few_popularity: float = 0.0
    """The power of the target's popularity in that table."""
    word_weight: float = WORD_WEIGHT
    """Of the words of items beside their tags, see `cold_items.content`; 0: they say nothing."""


def simple_scorer(recipe: Recipe) -> str | None:
    """The kind of a simple recommender if it ranks alone: "popularity", or item kNN's "cosine"."""
    kinds = {scorer.kind for scorer, _ in recipe.weights}
    only = kinds.pop() if len(kinds) == 1 else None
    return only if only in ("popularity", "cosine") else None
