"""Will a user move to another segment, or come back? Gradient boosting over what they did.

Only a refresh imports this module. The data is cut at a moment of its own past: features are what
users had done until then, the answers what they did after. Chances are predicted out of fold,
each by a model calibrated on other users, and kept only when they are surely better than the base
rate (Brier 1950, doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from graph.arrays import F64, Flags

FOLDS = 5
FEWEST_USERS = 200  # to learn from
FEWEST_OF_A_KIND = 30  # users who did, and who did not
SURE = 2.0  # standard errors by which the Brier score must be better
BINS = 10
MOST_USERS = 20_000


@dataclass(frozen=True)
class Forecast:
    """Chances for the users of today, or None, and how good they were on the past."""

    chances: F64 | None  # (u,)
    report: dict[str, Any]


def forecast(past: F64, happened: Flags, today: F64, *, seed: int) -> Forecast:
    """The chance that users of today will do what some users of the past did.

    Args:
        past: (p, f) features of users at a moment of the past, NaN where unknown.
        happened: (p,) whether it has happened to them since.
        today: (u, f) the same features now.
        seed: same data, same seed, same chances.
    """
    rng = np.random.default_rng(seed)
    drawn = np.sort(rng.permutation(len(past))[:MOST_USERS])
    past, today = _told_apart(past[drawn], today)
    happened = happened[drawn]
    rate = float(happened.mean()) if len(happened) else 0.0
    report: dict[str, Any] = {"users": len(past), "base_rate": round(rate, 4), "kept": False}
    few = min(int(happened.sum()), int((~happened).sum()))
    if len(past) < FEWEST_USERS or few < FEWEST_OF_A_KIND:
        return Forecast(None, report | {"note": "too few users, or nearly all did the same"})
    model = CalibratedClassifierCV(
        HistGradientBoostingClassifier(
            max_iter=100, learning_rate=0.05, max_leaf_nodes=15, early_stopping=False,
            random_state=seed,
        ),
        method="sigmoid",
        cv=3,
    )  # fmt: skip
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    predicted = cross_val_predict(model, past, happened, cv=folds, method="predict_proba")[:, 1]
    ours, base = (predicted - happened) ** 2, (rate - happened) ** 2
    gain = base - ours
    error = float(gain.std() / np.sqrt(len(gain)))
    kept = bool(gain.mean() > SURE * error)
    report |= {
        "brier": round(float(ours.mean()), 5),
        "brier_of_base_rate": round(float(base.mean()), 5),
        "gain_in_standard_errors": round(float(gain.mean() / error), 2) if error > 0 else 0.0,
        "calibration": calibration(predicted, happened),
        "kept": kept,
    }
    if not kept:
        return Forecast(None, report | {"note": "no better than the base rate: left out"})
    chances: F64 = model.fit(past, happened).predict_proba(today)[:, 1]
    return Forecast(chances, report)


def _told_apart(past: F64, today: F64) -> tuple[F64, F64]:
    """Both arrays with NaN replaced by a number below all others.

    scikit-learn takes NaN, but fails on a feature that is unknown for all users it learns from.
    """
    known = np.where(np.isnan(past), np.inf, past).min(axis=0, initial=np.inf)
    below = np.where(np.isinf(known), 0.0, known) - 1.0
    return np.where(np.isnan(past), below, past), np.where(np.isnan(today), below, today)


def calibration(predicted: F64, happened: Flags) -> list[dict[str, float]]:
    """Users in tenths by predicted chance: the mean chance, and the share to whom it happened."""
    order = np.argsort(predicted, kind="stable")
    return [
        {
            "users": len(part),
            "told": round(float(predicted[part].mean()), 4),
            "happened": round(float(happened[part].mean()), 4),
        }
        for part in np.array_split(order, BINS)
        if len(part)
    ]
