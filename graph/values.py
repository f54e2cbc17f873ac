"""What an event's value means (a rating, a count, seconds or money) and what it is worth.

A rating counts by its place on the scale, see `graph.weighting`. Any other value v is worth

    count      log2(1 + v): the first counts 1, the hundredth little more
    seconds    2 v / (v + t): 1 at the typical t, and never more than 2, however long
    money      log2(1 + v / t): 1 at the typical t, whatever the currency

where the typical value t is given, or else the median of the kind's values above 0. An event
without a value is worth 1; a value of 0 or less is worth nothing.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from graph.arrays import F32, F64, I32

RATING, COUNT, SECONDS, MONEY = "rating", "count", "seconds", "money"
MEANINGS = (RATING, COUNT, SECONDS, MONEY)


def value_worth(values: F32, meaning: str, typical: float | None = None) -> F64:
    """(e,) what values are worth; `typical` is needed for seconds and money only."""
    known = np.maximum(np.nan_to_num(values.astype(np.float64), nan=0.0), 0)
    if meaning == SECONDS:
        worth = 2 * known / (known + (typical or 1.0))
    elif meaning == MONEY:
        worth = np.log2(1 + known / (typical or 1.0))
    else:
        worth = np.log2(1 + known)
    return np.where(np.isnan(values), 1.0, worth)


def typical_values(
    kinds: Sequence[str], kind: I32, value: F32, meanings: Mapping[str, str],
    named: Mapping[str, float],
) -> dict[str, float]:  # fmt: skip
    """Each kind with values in seconds or money -> its typical value: given, or the median."""
    typical = dict(named)
    for number, name in enumerate(kinds):
        if meanings.get(name.lower()) in (SECONDS, MONEY) and name.lower() not in typical:
            own = value[kind == number]
            own = own[own > 0]
            if len(own):
                typical[name.lower()] = float(np.median(own))
    return typical
