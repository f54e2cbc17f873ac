"""The test pairs to be found: held out or given, in the rows of a release."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_array

from graph.arrays import I64
from graph.errors import InputError
from graph.model import NO_TIME
from graph.snapshot import GraphSnapshot, drop_pairs
from graph.vocabulary import Vocabulary
from graph.weighted import WeightedGraph
from graph.weighting import scale_of, weigh
from recommender.evaluation import ratings
from recommender.learning.build import RefreshConfig
from recommender.learning.split import How, held_out, relevant_pairs


@dataclass(frozen=True)
class HeldOut:
    """Pairs to be found, and ratings to be guessed, by ids of their own vocabularies."""

    users: Vocabulary
    items: Vocabulary
    pairs: tuple[I64, I64]  # rows of users and items, each pair once
    ratings: ratings.Ratings
    cut: str  # "given", or how it was cut


def cut(
    snapshot: GraphSnapshot, config: RefreshConfig, method: How | None, *, now: int
) -> tuple[GraphSnapshot, HeldOut]:
    """The part to learn from, and the relevant pairs that were held out of it.

    The pairs to hold out are drawn among all ratings. Which of them are good, and so to be found,
    the rating scale of the part to learn from decides, as it does for ratings that come later.
    An `InputError` where `method` is "time" and nothing has one.
    """
    graph = weigh(snapshot, config.weighting, now)
    pairs = relevant_pairs(snapshot, graph.user_items, config.seed)
    dated = (pairs.at != NO_TIME).any()
    if method == "time" and len(pairs.at) and not dated:
        raise InputError(
            "--split time: no event has a time; load it with the events (or --ordered, if rows "
            "are in order), or choose --split random"
        )
    if method is None:
        method = "time" if dated else "random"
    out = held_out(pairs, method)
    users, items = pairs.users[out], pairs.items[out]
    fit = drop_pairs(snapshot, users.astype(np.int32), items.astype(np.int32))
    rated = ratings.ratings_of(snapshot)
    width = len(snapshot.items)
    gone = np.isin(rated.users * width + rated.items, users * width + items)
    kept = ratings.Ratings(rated.users[gone], rated.items[gone], rated.values[gone])
    scale = scale_of(fit, config.weighting)
    if scale != scale_of(snapshot, config.weighting):
        judged = weigh(snapshot, replace(config.weighting, rating_scale=scale), now).user_items
        good = np.asarray(judged[users, items]).ravel() > 0
        users, items = users[good], items[good]
    return fit, HeldOut(
        users=snapshot.users, items=snapshot.items, pairs=(users, items), ratings=kept, cut=method
    )


def given_part(
    snapshot: GraphSnapshot, config: RefreshConfig, *, now: int, train: GraphSnapshot
) -> HeldOut:
    """Test data given from outside, read into a snapshot of its own.

    Which ratings are good is decided by the rating scale of the `train` part.
    """
    scale = scale_of(train, config.weighting)
    graph = weigh(snapshot, replace(config.weighting, rating_scale=scale), now)
    pairs = relevant_pairs(snapshot, graph.user_items, config.seed)
    rated = ratings.ratings_of(snapshot)
    return HeldOut(
        users=snapshot.users,
        items=snapshot.items,
        pairs=(pairs.users, pairs.items),
        ratings=rated,
        cut="given",
    )


def known_truth(
    test: HeldOut, users: Vocabulary, items: Vocabulary, graph: WeightedGraph
) -> tuple[csr_array, dict[str, int]]:
    """The test pairs in the rows of the release (u, i), and the counts of what was left out.

    Left out: users and items that nobody knows, pairs that are also in the train data (they are
    masked in every ranking), and users without any relevant train event.
    """
    rows, columns = (
        vocabulary.rows(own)[positions] if len(own) else np.zeros(0, np.int64)
        for vocabulary, own, positions in zip(
            (users, items), (test.users, test.items), test.pairs, strict=True
        )
    )
    user_known, item_known = rows >= 0, columns >= 0
    known = user_known & item_known
    width = len(items)
    seen = graph.user_seen
    owners = np.repeat(np.arange(seen.shape[0], dtype=np.int64), np.diff(seen.indptr))
    masked = known & np.isin(rows * width + columns, owners * width + seen.indices)
    silent = known & (np.diff(graph.user_items.indptr)[np.where(known, rows, 0)] == 0)
    kept = known & ~masked & ~silent
    truth = csr_array(
        (np.ones(int(kept.sum()), np.float32), (rows[kept], columns[kept])),
        shape=(len(users), width),
    )
    truth.sort_indices()
    return truth, {
        "test_pairs_given": len(rows),
        "test_pairs_of_unknown_users": int((~user_known).sum()),
        "test_pairs_of_unknown_items": int((user_known & ~item_known).sum()),
        "test_pairs_in_train": int(masked.sum()),
        "test_pairs_of_users_without_history": int((silent & ~masked).sum()),
        "test_pairs": int(kept.sum()),
        "test_users": len(np.unique(rows[kept])),
        "unknown_users": len(np.unique(test.pairs[0][~user_known])),
        "unknown_items": len(np.unique(test.pairs[1][~item_known])),
    }


def check_something_to_find(counts: Mapping[str, int]) -> None:
    """An `InputError` that says where the test pairs went, if none is left to be found."""
    if counts["test_pairs"]:
        return
    pairs = counts["test_pairs_given"]
    raise InputError(
        "there is nothing to find: "
        + (
            f"of {pairs:,} test pairs {counts['test_pairs_of_unknown_users']:,} are of users and "
            f"{counts['test_pairs_of_unknown_items']:,} of items that the train data does not "
            f"know, {counts['test_pairs_in_train']:,} are in the train data, and "
            f"{counts['test_pairs_of_users_without_history']:,} of users without anything to "
            "learn from; check that both name users and items alike"
            if pairs
            else "no relevant pair was held out; load more events, or choose another --split"
        )
    )
