"""The graph for other programs: a SciPy matrix for the whole, networkx for small parts.

All nodes share one numbering: users first, then items, then tags.
"""

import re
from pathlib import Path
from typing import IO, Any

import networkx as nx
import numpy as np
from scipy.sparse import csr_array

from graph.arrays import I64
from graph.errors import InputError, NotFound
from graph.model import EVENT_TAG_CATEGORY, NO_ROW, tag_key, tag_parts
from graph.snapshot import GraphSnapshot
from graph.weighted import WeightedGraph

MOST_NODES = 2_000  # in an ego network; nobody can read a larger picture
MOST_EDGES = 2_000_000  # in a network; networkx takes about half a kilobyte for each
EDGE_KINDS = {
    ("user", "user"): "knows",
    ("user", "item"): "interacted",
    ("item", "item"): "related",
    ("item", "tag"): "has_tag",
}
# What XML 1.0 cannot carry at all, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def all_nodes_csr(weighted: WeightedGraph) -> csr_array:
    """Every edge in both directions: (n, n) with n = users + items + tags, float32.

    Weights of relations given in both directions add up; no node points to itself.
    """
    users, items = (int(size) for size in weighted.user_items.shape)
    count = users + items + int(weighted.item_tags.shape[1])
    blocks = [  # matrix, where its rows begin, where its columns begin
        (weighted.user_users, 0, 0),
        (weighted.user_items, 0, users),
        (weighted.item_items, users, users),
        (weighted.item_tags, users, users + items),
    ]
    sources, targets, weights = [], [], []
    for matrix, first_row, first_column in blocks:
        coo = matrix.tocoo()
        sources.append(coo.coords[0].astype(np.int64) + first_row)
        targets.append(coo.coords[1].astype(np.int64) + first_column)
        weights.append(coo.data)
    source, target = np.concatenate(sources), np.concatenate(targets)
    weight = np.where(source == target, 0, np.concatenate(weights)).astype(np.float32)
    one_way = csr_array((weight, (source, target)), shape=(count, count))
    both = csr_array(one_way + one_way.T)
    both.eliminate_zeros()
    both.sort_indices()
    both.indices = both.indices.astype(np.int32, copy=False)
    both.indptr = both.indptr.astype(np.int32, copy=False)  # SciPy wants both of one type
    return both


def ego_network(
    snapshot: GraphSnapshot,
    weighted: WeightedGraph,
    kind: str,
    name: str,
    hops: int = 1,
    most_nodes: int = MOST_NODES,
) -> nx.Graph:
    """The part of the graph within some hops of a user, item or tag, as `network` describes it.

    A tag is named as `category:name`, or by its name alone when the category is `tag`. If a hop
    would bring the network above `most_nodes` nodes, it keeps only those with the strongest ties
    to the nodes reached before it.

    Raises:
        NotFound: there is no such node.
        InputError: `kind` is not one of "user", "item" and "tag", or `hops` is negative.
    """
    if kind not in ("user", "item", "tag") or hops < 0:
        raise InputError(
            f"an ego network starts at a user, item or tag, with 0 or more hops: {kind=}"
        )
    edges = all_nodes_csr(weighted)
    reached = np.array([_node(snapshot, kind, name)], np.int64)
    for _ in range(hops):
        ties = np.asarray(edges[reached].sum(axis=0)).ravel()  # (n,)
        ties[reached] = 0
        near = np.flatnonzero(ties)
        strongest = near[np.argsort(-ties[near], kind="stable")]
        near = strongest[: most_nodes - len(reached)]
        if not len(near):
            break
        reached = np.concatenate([reached, near])
    return network(snapshot, weighted, np.sort(reached))


def _node(snapshot: GraphSnapshot, kind: str, name: str) -> int:
    """The number of a node in `all_nodes_csr`."""
    users, items = len(snapshot.users), len(snapshot.items)
    if kind == "user":
        row, first = snapshot.users.row(name), 0
    elif kind == "item":
        row, first = snapshot.items.row(name), users
    else:
        category, _, tag = name.partition(":")
        row, first = snapshot.tags.row(tag_key(category, tag)), users + items
        if row == NO_ROW:
            row = snapshot.tags.row(tag_key(EVENT_TAG_CATEGORY, name))
    if row == NO_ROW:
        raise NotFound(f"{kind} {name!r} is not in this graph")
    return first + row


def network(
    snapshot: GraphSnapshot,
    weighted: WeightedGraph,
    nodes: I64 | None = None,
) -> nx.Graph:
    """Some nodes (default: all) and the edges among them.

    Nodes are numbered as in `all_nodes_csr` and carry `kind`, `id` and `title`. A tag has
    `category:name` as its id and its name as its title. Edges carry `kind` and `weight`.

    Raises:
        InputError: it would have more than `MOST_EDGES` edges.
    """
    users, items = len(snapshot.users), len(snapshot.items)
    edges = all_nodes_csr(weighted)
    rows = np.arange(edges.shape[0]) if nodes is None else nodes
    among = edges if nodes is None else edges[rows][:, rows]
    if among.nnz // 2 > MOST_EDGES:
        raise InputError(
            f"{among.nnz // 2:,} edges are too many for networkx (at most "
            f"{MOST_EDGES:,}); ask for what lies around one node"
        )
    graph = nx.Graph()
    for row in rows.tolist():
        if row < users:
            graph.add_node(row, kind="user", id=snapshot.users.id(row), title="")
        elif row < users + items:
            title = snapshot.item_titles[row - users].as_py()
            graph.add_node(row, kind="item", id=snapshot.items.id(row - users), title=title)
        else:
            category, name = tag_parts(snapshot.tags.id(row - users - items))
            graph.add_node(row, kind="tag", id=f"{category}:{name}", title=name)
    entries = among.tocoo()
    sources, targets = (rows[ends].tolist() for ends in entries.coords)
    for source, target, weight in zip(sources, targets, entries.data.tolist(), strict=True):
        if source < target:  # the numbering puts users before items before tags
            kinds = (graph.nodes[source]["kind"], graph.nodes[target]["kind"])
            graph.add_edge(source, target, kind=EDGE_KINDS[kinds], weight=weight)
    return graph


def to_graphml(graph: nx.Graph, file: Path | IO[bytes]) -> None:
    """Write a network as GraphML; characters that XML cannot carry are left out."""
    clean = nx.Graph()
    clean.add_nodes_from((node, _clean(attributes)) for node, attributes in graph.nodes(data=True))
    clean.add_edges_from(
        (*ends, _clean(attributes)) for *ends, attributes in graph.edges(data=True)
    )
    nx.write_graphml_xml(clean, file)


def _clean(attributes: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _NOT_XML.sub("", value) if isinstance(value, str) else value
        for name, value in attributes.items()
    }
