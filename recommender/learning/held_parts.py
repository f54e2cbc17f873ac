"""What a refresh holds back to choose its recipe by; drawn from ids, never from the gate's pairs.

Held back are a random tenth of each user's pairs (*select*), the last pairs of each user if most
pairs have a time, and all pairs of some users. If that is too little to choose by, a
second tenth is added to the first, and where there are few pairs several such draws are averaged.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import sparse

from embeddings.item_item.held_back import HeldBack
from embeddings.item_item.recency import order_of
from embeddings.item_item.scorers import Feature
from graph.arrays import Flags
from graph.model import NO_TIME
from graph.snapshot import GraphSnapshot, drop_pairs
from graph.weighted import WeightedGraph
from graph.weighting import Weighting, weigh_tags
from recommender.learning.parts import parts_of
from recommender.learning.split import (
    GATE,
    MINIMUM_HISTORY,
    SELECT,
    Pairs,
    held_out,
    pair_keys,
    pair_parts,
    relevant_pairs,
)

DATED = 0.9  # share of the pairs that must have a time, or their order is not used
LATER_SHARE = 0.1  # share of each user's pairs
ENOUGH = 5_000  # random pairs to choose by, over all draws together
MOST_WAYS, FEW_PAIRS = 5, 20_000  # more than one only where there are at most so many pairs
NEWCOMERS = 0.05  # share of the users
MOST_NEWCOMERS = 700
MOST_JUDGES = 4_000  # users of whom pairs are held back: of all others everything is learned
ENOUGH_JUDGES = 2_000  # with so many, each user gives either a random tenth or the end, not both
FEWEST_USERS = 1_000  # with fewer, no user is held back as a whole


def held_parts(
    snapshot: GraphSnapshot,
    graph: WeightedGraph,
    weighting: Weighting,
    seed: int,
) -> tuple[list[HeldBack], sparse.csr_matrix]:
    """The ways to hold back. The first has the *select* part that all other choices use, too.

    Beside them the pairs of the gate (u, i): nothing may learn from these while choosing.
    """
    user_items = sparse.csr_matrix(graph.user_items)
    user_items.sort_indices()
    pairs = relevant_pairs(snapshot, graph.user_items, seed)
    width = max(user_items.shape[1], 1)
    judged = parts_of(snapshot, seed).rows(GATE)
    gate = np.isin(pairs.users * width + pairs.items, judged[0] * width + judged[1])
    order = order_of_pairs(pairs, user_items)
    seen = sparse.csr_matrix(graph.user_seen + graph.user_hides)
    most = MOST_WAYS if len(pairs.users) <= FEW_PAIRS else 1

    def draw(number: int) -> Pairs:
        if not number:
            return pairs
        keys = pair_keys(snapshot.users, snapshot.items, pairs.users, pairs.items, seed + number)
        return replace(pairs, keys=keys)

    at_random, by_end = judges_of(pairs, user_items.shape[0], order is not None)
    ways: list[HeldBack] = []
    count = 0
    while not ways or (count < ENOUGH and len(ways) < most):
        drawn = draw(2 * len(ways))
        select = (pair_parts(drawn) == SELECT) & ~gate
        if select.sum() < ENOUGH:
            select |= (pair_parts(draw(2 * len(ways) + 1)) == SELECT) & ~gate
        select &= at_random[pairs.users]
        count += int(select.sum())
        later = np.zeros(len(select), bool)
        if order is not None:
            later = held_out(drawn, "time", share=LATER_SHARE) & ~gate & by_end[pairs.users]
            select &= ~later
        new = newcomers(drawn, user_items.shape[0])
        if new is not None:
            select &= ~new[pairs.users]
            later &= ~new[pairs.users]
        gone = select | later | gate
        if new is not None:
            gone = gone | new[pairs.users]
        ways.append(
            HeldBack(
                entries_of(pairs, select, user_items),
                seen,
                features_of(without_written_tags(snapshot, graph, pairs, gone, weighting)),
                order,
                entries_of(pairs, later, user_items) if order is not None else None,
                new,
            )
        )
        if not select.any():
            break
    return ways, entries_of(pairs, gate, user_items)


def judges_of(pairs: Pairs, users: int, ordered: bool) -> tuple[Flags, Flags]:
    """Two flags (u,): may a random tenth of the user be held back, and may the end?

    No more users than needed: the more is held back, the worse the choice suits all of the data.
    """
    sizes = np.bincount(pairs.users, minlength=users)
    count = min(int(np.count_nonzero(sizes >= MINIMUM_HISTORY)), MOST_JUDGES)
    judges = _drawn(pairs, sizes, count, last=True)
    if not ordered or count < ENOUGH_JUDGES:
        return judges, judges
    by_end = _drawn(pairs, sizes, count // 2, last=True)
    return judges & ~by_end, by_end


def newcomers(pairs: Pairs, users: int) -> Flags | None:
    """(u,) users held back as a whole, chosen by the sum of their keys; None: there are too few."""
    sizes = np.bincount(pairs.users, minlength=users)
    able = np.count_nonzero(sizes >= MINIMUM_HISTORY)
    if able < FEWEST_USERS:
        return None
    return _drawn(pairs, sizes, min(int(NEWCOMERS * able), MOST_NEWCOMERS))


def _drawn(pairs: Pairs, sizes: npt.NDArray[np.int64], count: int, *, last: bool = False) -> Flags:
    """(u,) `count` users with a history, by the sum of their keys: the first or the last ones."""
    able = np.flatnonzero(sizes >= MINIMUM_HISTORY)
    sums = np.zeros(len(sizes), np.uint64)  # modulo 2^64: uniform for any number of pairs
    np.add.at(sums, pairs.users, pairs.keys)
    order = able[np.argsort(sums[able], kind="stable")]
    flags = np.zeros(len(sizes), np.bool_)
    flags[order[len(order) - count :] if last else order[:count]] = True
    return flags


def order_of_pairs(pairs: Pairs, user_items: sparse.csr_matrix) -> sparse.csr_matrix | None:
    """(u, i) the order in which pairs came, see `order_of`; None: too few have a time."""
    dated = np.count_nonzero(pairs.at != NO_TIME)
    return order_of(user_items, pairs.at) if dated >= DATED * max(len(pairs.at), 1) else None


def without_written_tags(
    snapshot: GraphSnapshot,
    graph: WeightedGraph,
    pairs: Pairs,
    gone: Flags,
    weighting: Weighting,
) -> WeightedGraph:
    """The graph without the tags that users wrote on the items of the pairs that are gone.

    The pairs themselves stay, and tags keep their columns. Such tags would
    give away the very pairs that are to be found.
    """
    if not (snapshot.events.tag >= 0).any() or not graph.item_tags.nnz:
        return graph
    tags = weigh_tags(drop_pairs(snapshot, pairs.users[gone], pairs.items[gone]), weighting)
    return replace(graph, item_tags=tags) if tags.nnz else graph


def features_of(graph: WeightedGraph) -> list[Feature]:
    """What items share besides users, one row each over the items: tags, relations, numbers."""
    features = []
    if graph.item_tags.nnz:
        features.append(Feature("tags", sparse.csr_matrix(graph.item_tags.T)))
    if graph.item_items.nnz:
        related = graph.item_items + graph.item_items.T
        features.append(Feature("relations", sparse.csr_matrix(related)))
    if graph.item_numbers.nnz:
        rows = sparse.csr_matrix(graph.item_numbers.T)
        rarity = 1 / np.log2(1 + np.maximum(rows.getnnz(axis=1), 1))  # as that of tags by default
        features.append(Feature("numbers", sparse.csr_matrix(sparse.diags(rarity) @ rows)))
    return features


def entries_of(pairs: Pairs, chosen: Flags, user_items: sparse.csr_matrix) -> sparse.csr_matrix:
    """(u, i) 1 for each of the chosen pairs; the shape is that of `user_items`."""
    rows, columns = pairs.users[chosen], pairs.items[chosen]
    ones = np.ones(len(rows), np.float32)
    return sparse.csr_matrix((ones, (rows, columns)), shape=user_items.shape)
