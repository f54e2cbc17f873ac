"""Which pairs a refresh learns from, which it chooses by, and by which it is judged.

The *default* weights decide which pairs are relevant, whatever weighting is in force: a wrong
weighting file must not decide which items count as hits.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from graph.arrays import I8, I64
from graph.snapshot import GraphSnapshot, drop_pairs
from graph.weighting import HIDE, Weighting, event_weights
from recommender.learning.split import FIT, Pairs, pair_parts, relevant_pairs


@dataclass(frozen=True)
class Parts:
    """Every relevant pair and its part."""

    pairs: Pairs
    part: I8  # FIT, SELECT or GATE

    def of(self, part: int, shape: tuple[int, int]) -> csr_array:
        """(u, i) 1 for each pair of a part."""
        places = self.rows(part)
        matrix = csr_array((np.ones(len(places[0]), np.float32), places), shape=shape)
        matrix.sort_indices()
        return matrix

    def rows(self, part: int) -> tuple[I64, I64]:
        """Rows of users and of items of a part's pairs."""
        chosen = self.part == part
        return self.pairs.users[chosen], self.pairs.items[chosen]

    def fit(self, snapshot: GraphSnapshot) -> GraphSnapshot:
        """The snapshot without the pairs that are held back for choosing and judging."""
        out = self.part != FIT
        return drop_pairs(snapshot, self.pairs.users[out], self.pairs.items[out])


def parts_of(snapshot: GraphSnapshot, seed: int, learned: I64 | None = None) -> Parts:
    """The parts of a snapshot, see `split.pair_parts`.

    Pairs that a trial has `learned` from (user x items + item, see `going_on.learned_pairs`) stay
    in the part to learn from if that trial is gone on from: where a user has more pairs now, one
    of them could come to be held back, and the trial would know it.
    """
    pairs = relevant_pairs(snapshot, _relevant(snapshot), seed)
    part = pair_parts(pairs)
    if learned is not None:
        keys = pairs.users * max(len(snapshot.items), 1) + pairs.items
        part[np.isin(keys, learned)] = FIT
    return Parts(pairs, part)


def _relevant(snapshot: GraphSnapshot) -> csr_array:
    """(u, i) pairs with an event of positive default weight that the user did not hide."""
    events, shape = snapshot.events, (len(snapshot.users), len(snapshot.items))
    allowed = snapshot.user_consents[events.user]
    hide = snapshot.kinds.index(HIDE) if HIDE in snapshot.kinds else -1
    liked = allowed & (event_weights(snapshot, Weighting(), 0) > 0)
    keys = events.user.astype(np.int64) * max(shape[1], 1) + events.item
    kept = np.setdiff1d(keys[liked], keys[allowed & (events.kind == hide)])
    places = (kept // max(shape[1], 1), kept % max(shape[1], 1))
    matrix = csr_array((np.ones(len(kept), np.float32), places), shape=shape)
    matrix.sort_indices()
    return matrix
