"""What gates compare: how well the candidate and its rivals find pairs that none of them saw.

The candidate is compared with the release that is served, which is made again by its own recipe
and weighting, and with simple recommenders. All are fitted on the same *fit* part and judged by
the same *gate* part. The candidate and the served one rank by the code that serves.
"""

from collections.abc import Mapping

import numpy as np

from embeddings import metrics
from graph.arrays import F64, I16, I64, Flags
from recommender.learning.baselines import Baseline, binary, ease, item_knn, popularity, rank_all
from recommender.learning.gates import (
    CONFIDENCE,
    EVERYBODY,
    FEWEST_JUDGED,
    SERVED,
    Comparison,
    Figure,
)
from recommender.learning.trial import Trial, Wanted

SHOWN = 20
ROUNDS = 4000  # of the bootstrap: enough for a bound at one in thousands
EASE_ITEMS = 3_000  # with more, its dense inverse would slow a refresh down
EASE_PENALTY = 100.0
COLD_USERS = 2  # an item counts as cold if at most so many have chosen it
TAIL, COLD, SEGMENT = "long tail", "cold items", "segment "
EASE, ITEM_KNN, POPULARITY = "EASE", "item kNN", "popularity"
KNN = {"k": 100.0, "shrink": 0.0, "damping": 0.5}  # does on most data: nothing is tuned


def figures(
    trial: Trial,
    served: Trial | None,
    segments: I16,
    names: list[str],
    *,
    seed: int,
) -> list[Figure]:
    """NDCG@20 of candidate and rivals, over everybody and each part.

    Args:
        trial: the candidate's.
        served: the same of the release that is served; None: there is none.
        segments: (u,) place of each user's segment in `names`, -1 for new ones.
        names: of the segments.
        seed: of the bootstrap.
    """
    users = trial.gate.users
    if not len(users):
        return []
    lists = {"candidate": _lists(trial, users)}
    if served is not None:
        same = served.made == trial.made
        lists[SERVED] = lists["candidate"] if same else _lists(served, users)
    lists |= {
        name: simple_lists(trial, baseline, users) for name, baseline in baselines(trial).items()
    }
    parts = _parts(trial, segments[users], names)
    values = {
        part: {name: _ndcg(ranked, trial, items) for name, ranked in lists.items()}
        for part, (_, items) in parts.items()
    }
    judged = [
        (part, in_part & (_to_find(trial, items) > 0)) for part, (in_part, items) in parts.items()
    ]
    judged = [(part, in_part) for part, in_part in judged if in_part.sum() >= FEWEST_JUDGED]
    count = len(judged) * (len(lists) - 1)
    return [
        _figure(part, {name: ndcg[in_part] for name, ndcg in values[part].items()}, count, seed)
        for part, in_part in judged
    ]


def baselines(trial: Trial) -> dict[str, Baseline]:
    """The simple rivals, EASE among them where it costs little."""
    known = trial.graph.user_items
    if not known.nnz:
        return {}
    ones = binary(known)
    rivals = {
        POPULARITY: Baseline(POPULARITY, {}, popularity(ones, {})({})),
        ITEM_KNN: Baseline(ITEM_KNN, KNN, item_knn(ones, KNN)(KNN)),
    }
    if known.shape[1] <= EASE_ITEMS:
        penalty = {"penalty": EASE_PENALTY}
        rivals[EASE] = Baseline(EASE, penalty, ease(ones, penalty)(penalty))
    return rivals


def simple_lists(trial: Trial, baseline: Baseline, users: I64) -> metrics.Ranked:
    """(b, SHOWN) the lists of a baseline, without items that the users have met."""
    met = trial.graph.user_seen + trial.graph.user_hides
    return rank_all(baseline.score_block, users, met, SHOWN)


def _lists(trial: Trial, users: I64) -> metrics.Ranked:
    lists: metrics.Ranked = trial.recommender.rank_users(users, SHOWN).items
    return lists


def _parts(trial: Trial, segments: I16, names: list[str]) -> dict[str, tuple[Flags, Flags | None]]:
    """Part -> its users (b,) and its items (i,); None: all of them."""
    counts = np.bincount(trial.graph.user_items.indices, minlength=trial.gate.truth.shape[1])
    everybody = np.ones(len(segments), np.bool_)
    parts: dict[str, tuple[Flags, Flags | None]] = {
        EVERYBODY: (everybody, None),
        TAIL: (everybody, metrics.tail(counts)),
        COLD: (everybody, counts <= COLD_USERS),
    }
    if len(names) > 1:
        parts |= {f"{SEGMENT}{n}": (segments == at, None) for at, n in enumerate(names)}
    return parts


def _to_find(trial: Trial, items: Flags | None, wanted: Wanted | None = None) -> I64:
    """(b,) how much there is to find of some items."""
    part = wanted or trial.gate
    truth = part.truth[part.users]
    if items is None:
        return np.diff(truth.indptr)
    counts: I64 = np.asarray(truth @ items.astype(np.float32)).ravel().astype(np.int64)
    return counts


def _ndcg(
    ranked: metrics.Ranked, trial: Trial, items: Flags | None, wanted: Wanted | None = None
) -> F64:
    part = wanted or trial.gate
    hits = metrics.hits(ranked, part.truth[part.users])
    if items is not None:
        hits &= items[ranked]
    return metrics.ndcg(hits, _to_find(trial, items, wanted), SHOWN)


def _figure(part: str, values: Mapping[str, F64], comparisons: int, seed: int) -> Figure:
    own = values["candidate"]
    others = {name: theirs for name, theirs in values.items() if name != "candidate"}
    gaps = own[:, None] - np.stack(list(others.values()), axis=1)  # (b, rivals)
    means = metrics.bootstrap_means(gaps, seed=seed, rounds=ROUNDS)
    edges = np.quantile(means, [0.025, 0.975, 1 - (1 - CONFIDENCE) / comparisons], axis=0)
    rivals = {
        name: Comparison(
            mean=float(theirs.mean()),
            difference=float(gaps[:, at].mean()),
            low=float(edges[0, at]),
            high=float(edges[1, at]),
            bound=float(edges[2, at]),
        )
        for at, (name, theirs) in enumerate(others.items())
    }
    spread = float(own.std()) / np.sqrt(len(own))
    return Figure(
        part=part, users=len(own), candidate=float(own.mean()), error=spread, rivals=rivals
    )
