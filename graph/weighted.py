"""The weighted graph: weighting makes it from a snapshot, and embedders learn from it."""

from collections.abc import Mapping
from dataclasses import dataclass

from scipy.sparse import csr_array

from graph.numbers import NumberScale
from graph.vocabulary import Vocabulary


@dataclass(frozen=True)
class WeightedGraph:
    """Edges with positive float32 weights, int32 indices, sorted and without duplicates.

    Users are rows of `user_items` (u, i); every other shape follows from its name.
    """

    user_items: csr_array  # (u, i) events that speak for the item: positive weights only
    user_seen: csr_array  # (u, i) 1 where the user has any event with the item
    user_hides: csr_array  # (u, i) 1 where the user never wants to see the item again
    item_tags: csr_array  # (i, t) given tags and those of tag events, weighted by rarity
    item_domains: csr_array  # (i, d)
    item_items: csr_array  # (i, i) relations, directed as given
    user_users: csr_array  # (u, u) relations, directed as given
    item_numbers: csr_array  # (i, n) how near each knot of `scales` its numbers are, times weights
    scales: Mapping[str, NumberScale]  # attribute -> its knots; in the order of the columns above
    domains: Vocabulary  # given, or derived
    domains_from: str  # "given", "genres", "tag communities" or "nothing"
