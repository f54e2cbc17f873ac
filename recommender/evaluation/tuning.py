"""What every kind of tuning shares: gains with intervals, users that confirm, optuna.

Half of the users judge while something is searched. As that finds the luckiest of much that was
tried, the other half then tells what it is worth.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from embeddings.metrics import bootstrap
from graph.arrays import F64, Flags
from graph.errors import InputError


@dataclass(frozen=True)
class Gain:
    """The gain of a change, measured on the users that confirm."""

    mean: float  # of NDCG@20, user by user
    low: float  # of its 95 % interval
    high: float

    @classmethod
    def of(cls, differences: F64, seed: int) -> "Gain":
        """From the difference (s,) of each user that confirms."""
        low, high = bootstrap(differences, seed=seed)[0]
        return cls(float(differences.mean()), float(low), float(high))

    def __str__(self) -> str:
        return f"{self.mean:+.4f} ({self.low:+.4f} … {self.high:+.4f})"

    def to_json(self) -> dict[str, Any]:
        """Rounded."""
        edges = [round(self.low, 6), round(self.high, 6)]
        return {"ndcg@20": round(self.mean, 6), "interval": edges}


def confirming(users: int, seed: int) -> Flags:
    """(s,) the half of the users, drawn by the seed, that take no part in the search."""
    order = np.random.default_rng(seed).permutation(users)
    flags = np.zeros(users, np.bool_)
    flags[order[users // 2 :]] = True
    return flags


def optuna_or_error() -> Any:
    """The package that searches; an `InputError` names the extra that brings it."""
    try:
        import optuna
    except ImportError as error:
        raise InputError(
            "tuning searches with optuna, which is not installed: install nichegraph[train]"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
