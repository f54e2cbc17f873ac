"""Domains, the named parts of a catalogue: given, else genres, else communities of tags."""

from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from graph.arrays import I64
from graph.model import GENRE_CATEGORY, tag_parts
from graph.snapshot import GraphSnapshot, Links
from graph.vocabulary import Vocabulary

MOST_TAGS = 1500  # communities are sought among this many of the most used tags
MOST_ITEM_TAGS = 40  # tags of one item that make edges between tags
STRONGEST_TIES = 20  # kept per tag, so that the search takes only seconds
FEWEST_ITEMS = 5  # a tag on fewer items takes no part
FEWEST_TAGS = 3  # a smaller community does not become a domain
NAMING_TAGS = 2  # a community is named by this many of its most used tags


class Domains(NamedTuple):
    """The domains of a catalogue."""

    links: Links  # item -> domain
    names: Vocabulary
    origin: str  # "given", "genres", "tag communities" or "nothing"


def derive_domains(snapshot: GraphSnapshot, seed: int = 0) -> Domains:
    """The domains that the data gives, else genres, else communities of tags.

    Communities are found by the method of Blondel et al. 2008
    (doi:10.1088/1742-5468/2008/10/P10008) on the graph of tags that occur together. An item
    belongs to each community in proportion to the share of its tags that lie in it.
    """
    if len(snapshot.domains):
        return Domains(snapshot.item_domains, snapshot.domains, "given")
    item_tags = _tags_of_items(snapshot)
    parts = [tag_parts(key) for key in snapshot.tags]
    genres = [row for row, (category, _) in enumerate(parts) if category == GENRE_CATEGORY]
    if genres:
        names = {row: parts[row][1] for row in genres}
        return Domains(*_linked(item_tags, names), "genres")
    named = _communities(item_tags, [name for _, name in parts], seed)
    if not named:
        nothing = Links(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32))
        return Domains(nothing, Vocabulary.of([]), "nothing")
    return Domains(*_linked(item_tags, named), "tag communities")


def _tags_of_items(snapshot: GraphSnapshot) -> csr_array:
    """(i, t) 1 where an item has a tag: given, or from an event of a user who consents."""
    events, item_tags = snapshot.events, snapshot.item_tags
    tagged = (events.tag >= 0) & snapshot.user_consents[events.user]
    rows = np.concatenate([item_tags.source, events.item[tagged]])
    columns = np.concatenate([item_tags.target, events.tag[tagged]])
    shape = (len(snapshot.items), len(snapshot.tags))
    matrix = csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def _communities(item_tags: csr_array, names: list[str], seed: int) -> dict[int, str]:
    """Tag row -> the name of its community; tags in no community are left out."""
    spread = np.bincount(item_tags.indices, minlength=item_tags.shape[1])
    used = np.argsort(-spread, kind="stable")[:MOST_TAGS]
    used = np.sort(used[spread[used] >= FEWEST_ITEMS])
    if len(used) < 2 * FEWEST_TAGS:
        return {}
    kept = item_tags[:, used]
    kept = kept[np.diff(kept.indptr) <= MOST_ITEM_TAGS]
    import networkx as nx  # here, so that a worker, which derives no domains, starts without it

    graph = nx.Graph()
    graph.add_nodes_from(range(len(used)))
    graph.add_weighted_edges_from(_ties(csr_array(kept.T @ kept), spread[used]))
    named: dict[int, str] = {}
    for community in nx.community.louvain_communities(graph, seed=seed):
        rows = sorted((int(used[tag]) for tag in community), key=lambda row: (-spread[row], row))
        if len(rows) >= FEWEST_TAGS:
            name = " · ".join(names[row] for row in rows[:NAMING_TAGS])
            named |= dict.fromkeys(rows, name)
    return named


def _ties(together: csr_array, spread: I64) -> list[tuple[int, int, float]]:
    """Tags 0 … t - 1, each tied to the tags it occurs with most often for their sizes.

    Args:
        together: (t, t) number of items that have both tags.
        spread: (t,) number of items that have the tag.
    """
    source, target = (ends.astype(np.int64) for ends in together.tocoo().coords)
    # The cosine of two tags' items, squared: weak ties between large tags bind nothing.
    weights = together.data.astype(np.float64) ** 2 / (spread[source] * spread[target])
    weights[source == target] = 0
    order = np.lexsort((target, -weights, source))
    starts = np.concatenate([[0], np.cumsum(np.bincount(source, minlength=len(spread)))])
    rank = np.arange(len(order)) - starts[source[order]]  # among the ties of its tag
    strongest = order[(rank < STRONGEST_TIES) & (weights[order] > 0)]
    ends = (source[strongest].tolist(), target[strongest].tolist())
    return list(zip(*ends, weights[strongest].tolist(), strict=True))


def _linked(item_tags: csr_array, named: dict[int, str]) -> tuple[Links, Vocabulary]:
    """Links from items to domains, weighted by the share of an item's tags in each domain."""
    domains = Vocabulary.of(named.values())
    tags = np.array(sorted(named), np.int64)
    places = domains.rows(named[tag] for tag in tags.tolist())
    shape = (item_tags.shape[1], len(domains))
    of_tag = csr_array((np.ones(len(tags), np.float32), (tags, places)), shape=shape)
    counts = csr_array(item_tags @ of_tag)  # (i, d)
    counts.sort_indices()
    rows = np.repeat(np.arange(counts.shape[0], dtype=np.int32), np.diff(counts.indptr))
    total = np.asarray(counts.sum(axis=1)).ravel()
    weights = (counts.data / total[rows]).astype(np.float32)
    return Links(rows, counts.indices.astype(np.int32), weights), domains
