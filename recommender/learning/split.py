"""Split interactions into parts to learn from and parts to find: fit, select, gate, test.

Choices (blend, profiles, early stopping, tuning) look at *select* only, *gate* decides whether a
release is published, and test data from outside is touched once.

Everything rests on one number per (user, item, seed), `pair_keys`: 64 bits from the ids, never
from rows. So any process on any machine draws the same, whichever other users there are: a new
user or item moves nobody else's pairs.
"""

import hashlib
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from scipy.sparse import csr_array

from embeddings.hold_out import places, taken
from graph.arrays import I8, I64, U64, Flags
from graph.mixing import GAMMA, mixed
from graph.model import NO_TIME
from graph.snapshot import GraphSnapshot
from graph.vocabulary import Vocabulary

FIT, SELECT, GATE = 0, 1, 2
SELECT_SHARE, GATE_SHARE, TEST_SHARE = 0.1, 0.1, 0.2
MINIMUM_HISTORY = 5

How = Literal["time", "random", "global time"]


@dataclass(frozen=True)
class Pairs:
    """Each pair of a user and an item once (p of them), sorted by user, then item."""

    users: I64  # (p,) rows
    items: I64  # (p,) rows
    at: I64  # (p,) seconds since 1970 of the last event, NO_TIME where none has a time
    keys: U64  # (p,) see `pair_keys`


def pair_parts(
    pairs: Pairs,
    *,
    select: float = SELECT_SHARE,
    gate: float = GATE_SHARE,
    minimum: int = MINIMUM_HISTORY,
) -> I8:
    """FIT, SELECT or GATE for each pair: i8 (p,).

    Order: a user's n pairs by ascending key. The first `taken(n, gate)` are GATE, the next
    `taken(n, select)` SELECT, the others FIT. Rounding: halves go up, and each part gets at
    least one. Users with fewer than `minimum` pairs stay in FIT whole.
    """
    position, sizes = places(pairs.users, pairs.keys)
    gates = taken(sizes, gate, minimum)
    selects = taken(sizes, select, minimum)
    parts = np.full(len(position), FIT, np.int8)
    parts[position < gates + selects] = SELECT
    parts[position < gates] = GATE
    return parts


def held_out(
    pairs: Pairs,
    method: How,
    *,
    share: float = TEST_SHARE,
    minimum: int = MINIMUM_HISTORY,
) -> Flags:
    """Which pairs are the test part: bool (p,).

    random: of each user's n pairs the `taken(n, share)` with the lowest keys.
    time: of each user's n pairs the last `taken(n, share)`; of pairs of one second those with
        the lowest keys; pairs without a time are the oldest.
    global time: all pairs after one moment, chosen so that `share` of the dated pairs comes
        later or a little less; users may then have no past at all. `minimum` is not used.
    """
    if method == "global time":
        dated = np.sort(pairs.at[pairs.at != NO_TIME])
        if not len(dated):
            return np.zeros(len(pairs.at), np.bool_)
        cut = dated[min(len(dated) - 1, int(np.floor((1.0 - share) * len(dated))))]
        return pairs.at > cut
    newest = [-np.maximum(pairs.at, NO_TIME + 1)] if method == "time" else []
    position, sizes = places(pairs.users, *newest, pairs.keys)
    result: Flags = position < taken(sizes, share, minimum)
    return result


def cold_items(items: Vocabulary, seed: int, share: float = 0.1) -> Flags:
    """Items to be held out entirely: the `floor(share · i + ½)` lowest by key: bool (i,)."""
    keys = _mixed(_id_hashes(items, b"item"), np.uint64(seed & (2**64 - 1)))
    flags = np.zeros(len(items), np.bool_)
    flags[np.argsort(keys, kind="stable")[: int(np.floor(share * len(items) + 0.5))]] = True
    return flags


def relevant_pairs(snapshot: GraphSnapshot, user_items: csr_array, seed: int) -> Pairs:
    """The pairs of a snapshot that speak for an item: those of positive default weight.

    `user_items` (u, i) is `WeightedGraph.user_items` of the same snapshot; the time of a pair
    is that of the user's last event with the item, of whatever kind.
    """
    users, items = user_items.shape
    rows = np.repeat(np.arange(users, dtype=np.int64), np.diff(user_items.indptr))
    columns = user_items.indices.astype(np.int64)
    order = np.lexsort((columns, rows))
    rows, columns = rows[order], columns[order]
    at = np.full(len(rows), NO_TIME, np.int64)
    wanted = rows * items + columns
    events = snapshot.events.user.astype(np.int64) * items + snapshot.events.item
    if len(wanted):
        places = np.searchsorted(wanted, events).clip(max=len(wanted) - 1)
        known = wanted[places] == events
        np.maximum.at(at, places[known], snapshot.events.at[known])
    keys = pair_keys(snapshot.users, snapshot.items, rows, columns, seed)
    return Pairs(rows, columns, at, keys)


def pair_keys(users: Vocabulary, items: Vocabulary, rows: I64, columns: I64, seed: int) -> U64:
    """64 bits for each pair of a user row and an item row, from their ids and the seed: u64 (p,).

    BLAKE2b (8 bytes, little-endian, personalised "user" and "item") of the NFC id in UTF-8,
    then mixed by the finaliser of SplitMix64 (Steele 2014):
    mix(mix(hash(user) + seed) ^ hash(item)), all modulo 2⁶⁴.
    """
    of_user = _mixed(_id_hashes(users, b"user"), np.uint64(seed & (2**64 - 1)))
    of_item = _id_hashes(items, b"item")
    return _mixed(of_user[rows] ^ of_item[columns], np.uint64(0))


def _id_hashes(vocabulary: Vocabulary, person: bytes) -> U64:
    data, offsets = vocabulary.data.tobytes(), vocabulary.offsets.tolist()
    digests = b"".join(
        hashlib.blake2b(data[begin:end], digest_size=8, person=person).digest()
        for begin, end in pairwise(offsets)
    )
    return np.frombuffer(digests, "<u8").astype(np.uint64)


def _mixed(values: U64, plus: np.uint64) -> U64:
    return mixed(values + plus + GAMMA)
