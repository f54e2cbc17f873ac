"""Random walks over a weighted graph: second order (p, q), along metapaths, in blocks.

The walks of node2vec (Grover and Leskovec 2016, arXiv 1607.00653). Where its reference program
stores a table for every directed edge, we keep one alias table (Vose 1991) per node and accept or
reject the drawn neighbour by p and q (Yang et al. 2019, KnightKing, doi 10.1145/3341301.3359634):
the same distribution in memory linear in the edges. Each walk has a counter-based random
generator of its own (splitmix64), so a walk depends on the seed and its number alone, and not on
the threads or the size of the blocks.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numba import njit
from scipy import sparse

from graph.arrays import I32, I64, U32
from graph.errors import SettingError
from graph.mixing import GAMMA, mixed_bits

Walks = I32  # (walks, length), -1 after the end of a walk
_END = np.int32(-1)
_LOW = np.uint64(0xFFFFFFFF)
_U32 = np.uint64(32)
_TO_UNIT = np.float64(2.0**-32)
_LANES = 8


@dataclass(frozen=True)
class WalkConfig:
    """How to walk. p < 1 returns more often; q < 1 goes outward, q > 1 stays near the start.

    `metapath` is a cycle of node types (positions in the graph's `counts`): (0, 1, 2, 1) walks
    user, item, tag, item, user, ...; only nodes of its first type start then.
    """

    walks_per_node: int = 10
    length: int = 40
    p: float = 1.0
    q: float = 1.0
    metapath: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.walks_per_node < 1 or self.length < 1:
            raise SettingError("walks_per_node and length must be at least 1")
        if not (0 < self.p < np.inf and 0 < self.q < np.inf):
            raise SettingError(f"p and q must be positive numbers, not {self.p} and {self.q}")


@dataclass(frozen=True)
class WalkGraph:
    """A graph prepared for walking; made by `prepare`.

    Neighbours of a node are sorted, hence grouped by type: row `node * types + type` of
    `bounds` holds where its neighbours of that type begin. `table` holds per edge the neighbour,
    its alias, and the threshold (of 2**32) under which the neighbour itself is taken.
    """

    bounds: I64  # (nodes * types + 1,)
    table: U32  # (edges, 4): neighbour, alias, threshold, nothing (aligns to 16)
    types: int
    offsets: I64  # (types + 1,): first node of each type
    triangles: bool  # whether two neighbours of a node can be neighbours of each other

    @property
    def nodes(self) -> int:
        """How many nodes there are."""
        return int(self.offsets[-1])


def walk_blocks(
    graph: WalkGraph, config: WalkConfig, *, seed: int, threads: int = 1, block: int = 8192
) -> Iterator[Walks]:
    """Every walk once, `block` walks at a time, as int32 (walks, length) padded with -1.

    Each round starts once at every node that has a neighbour, in a fresh order drawn from the
    seed. The same walks come whatever `threads` and `block` are. An empty graph gives nothing.
    """
    starts = start_nodes(graph, config)
    for round_number in range(config.walks_per_node):
        order = np.random.default_rng((seed, round_number)).permutation(starts)
        for begin in range(0, len(order), block):
            first = round_number * len(starts) + begin
            yield walk(
                graph, config, order[begin : begin + block], first=first, seed=seed, threads=threads
            )


def start_nodes(graph: WalkGraph, config: WalkConfig) -> I32:
    """The nodes from which walks start: those with neighbours, of the metapath's first type."""
    degrees = np.diff(graph.bounds[:: graph.types])
    nodes = np.flatnonzero(degrees)
    if config.metapath:
        kind = config.metapath[0]
        nodes = nodes[(nodes >= graph.offsets[kind]) & (nodes < graph.offsets[kind + 1])]
    return nodes.astype(np.int32)


def walk(
    graph: WalkGraph,
    config: WalkConfig,
    starts: I32,
    *,
    first: int = 0,
    seed: int,
    threads: int = 1,
) -> Walks:
    """One walk from each start, int32 (starts, length); walk n draws from generator `first + n`.

    Raises SettingError when the metapath names a type the graph was not prepared with.
    """
    if config.metapath and not all(0 <= kind < graph.types for kind in config.metapath):
        message = f"metapath {config.metapath} names a node type that the graph does not have"
        raise SettingError(message)
    walks = np.full((len(starts), config.length), _END, dtype=np.int32)
    path = np.array(config.metapath, dtype=np.int64)
    types = graph.types if config.metapath else 1
    bounds = graph.bounds if config.metapath else graph.bounds[:: graph.types]
    if not config.metapath and graph.types > 1:
        raise SettingError("a graph prepared by types needs a metapath to walk along")

    def run(begin: int, end: int) -> None:
        """Walk from these starts; each run writes rows of its own."""
        _walk_many(
            bounds,
            graph.table,
            starts[begin:end],
            walks[begin:end],
            types,
            path,
            1.0 / config.p,
            1.0 / config.q,
            graph.triangles,
            np.uint64(seed % 2**64),
            np.uint64(first + begin),
        )

    edges = np.linspace(0, len(starts), threads + 1).astype(np.int64)
    if threads == 1:
        run(0, len(starts))
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(run, edges[:-1], edges[1:]))
    return walks


def prepare(adjacency: sparse.csr_matrix, counts: Sequence[int] | None = None) -> WalkGraph:
    """Alias tables for a symmetric matrix of positive weights, in time and memory O(edges).

    With `counts` (nodes of each type, in the order of the rows) there is one table per node and
    type, which metapaths need; without, one per node. Raises ValueError on weights that are not
    positive and finite, or counts that do not add up.
    """
    matrix = sparse.csr_matrix(adjacency, dtype=np.float32)
    if not matrix.has_sorted_indices:
        matrix = matrix.sorted_indices()
    nodes = int(matrix.shape[0])
    weights = matrix.data
    if len(weights) and not (np.isfinite(weights).all() and float(weights.min()) > 0):
        raise ValueError("walks need positive, finite weights")
    sizes = np.array([nodes] if counts is None else list(counts), dtype=np.int64)
    if sizes.sum() != nodes:
        raise ValueError(f"counts {sizes.tolist()} do not add up to the {nodes} nodes")
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    indptr, indices = matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32)
    bounds = _type_bounds(indptr, indices, offsets)
    table = np.zeros((len(indices), 4), dtype=np.uint32)
    _fill_alias(bounds, indices, weights.astype(np.float64), table)
    return WalkGraph(bounds, table, len(sizes), offsets, not _two_colourable(indptr, indices))


@njit(cache=True, nogil=True, inline="always")
def mixed(key: np.uint64, counter: np.uint64) -> np.uint64:
    """The `counter`-th number of the splitmix64 sequence that begins at `key`."""
    return mixed_bits(key + (counter + np.uint64(1)) * GAMMA)


@njit(cache=True, nogil=True)
def _walk_many(bounds, table, starts, walks, types, path, back, out, triangles, seed, first):  # type: ignore[no-untyped-def]
    """All walks, `_LANES` at a time side by side: the processor waits for their memory at once."""
    length = walks.shape[1]
    highest = max(back, out, 1.0) if triangles else max(back, out)
    surely = min(back, out, 1.0) if triangles else min(back, out)
    first_order = surely == highest
    seed_key = mixed(seed, np.uint64(0))
    keys = np.empty(_LANES, dtype=np.uint64)
    counters = np.empty(_LANES, dtype=np.uint64)
    currents = np.empty(_LANES, dtype=np.int64)
    previouses = np.empty(_LANES, dtype=np.int64)
    for base in range(0, len(starts), _LANES):
        lanes = min(_LANES, len(starts) - base)
        for lane in range(lanes):
            keys[lane] = mixed(seed_key, first + np.uint64(base + lane))
            counters[lane] = np.uint64(0)
            currents[lane] = starts[base + lane]
            previouses[lane] = -1
            walks[base + lane, 0] = starts[base + lane]
        for step in range(1, length):
            kind = path[step % len(path)] if types > 1 else 0
            for lane in range(lanes):
                current = currents[lane]
                if current < 0:
                    continue
                segment = current * types + kind
                begin = bounds[segment]
                degree = np.uint64(bounds[segment + 1] - begin)
                if degree == np.uint64(0):
                    currents[lane] = -1
                    continue
                previous = previouses[lane]
                while True:
                    draw = mixed(keys[lane], counters[lane])
                    counters[lane] += np.uint64(1)
                    edge = begin + np.int64(((draw >> _U32) * degree) >> _U32)
                    own = np.uint32(draw & _LOW) < table[edge, 2]
                    following = np.int64(table[edge, 0] if own else table[edge, 1])
                    if first_order or previous < 0:
                        break
                    toss = np.float64(mixed(keys[lane], counters[lane]) >> _U32)
                    counters[lane] += np.uint64(1)
                    toss *= _TO_UNIT * highest
                    if toss < surely:
                        break  # accepted whether or not the two are neighbours: no search needed
                    if following == previous:
                        bias = back
                    elif triangles and _are_neighbours(bounds, table, types, previous, following):
                        bias = 1.0
                    else:
                        bias = out
                    if toss < bias:
                        break
                walks[base + lane, step] = following
                previouses[lane] = current
                currents[lane] = following


@njit(cache=True, nogil=True)
def _are_neighbours(bounds, table, types, node, target):  # type: ignore[no-untyped-def]
    """Whether an edge joins the two: by halving, as the neighbours of a node are sorted."""
    low, high = bounds[node * types], bounds[(node + 1) * types]
    while low < high:
        middle = (low + high) >> 1
        if np.int64(table[middle, 0]) < target:
            low = middle + 1
        else:
            high = middle
    return low < bounds[(node + 1) * types] and np.int64(table[low, 0]) == target


@njit(cache=True)
def _type_bounds(indptr, indices, offsets):  # type: ignore[no-untyped-def]
    """Where each type of neighbour begins in each row, node by node; the last entry is the end."""
    types = len(offsets) - 1
    nodes = len(indptr) - 1
    bounds = np.empty(nodes * types + 1, dtype=np.int64)
    for node in range(nodes):
        row = indices[indptr[node] : indptr[node + 1]]
        for kind in range(types):
            bounds[node * types + kind] = indptr[node] + np.searchsorted(row, offsets[kind])
    bounds[nodes * types] = indptr[nodes]
    return bounds


@njit(cache=True)
def _fill_alias(bounds, indices, weights, table):  # type: ignore[no-untyped-def]
    """Vose's method, one table per segment; an entry left over by rounding always draws itself."""
    longest = 0
    for segment in range(len(bounds) - 1):
        longest = max(longest, bounds[segment + 1] - bounds[segment])
    scaled = np.empty(longest, dtype=np.float64)
    small = np.empty(longest, dtype=np.int64)
    large = np.empty(longest, dtype=np.int64)
    for segment in range(len(bounds) - 1):
        begin, end = bounds[segment], bounds[segment + 1]
        degree = end - begin
        total = weights[begin:end].sum()
        smalls = larges = 0
        for k in range(degree):
            table[begin + k, 0] = indices[begin + k]
            table[begin + k, 1] = indices[begin + k]
            table[begin + k, 2] = 0xFFFFFFFF
            scaled[k] = weights[begin + k] * degree / total
            if scaled[k] < 1.0:
                small[smalls] = k
                smalls += 1
            else:
                large[larges] = k
                larges += 1
        while smalls > 0 and larges > 0:
            smalls -= 1
            less, more = small[smalls], large[larges - 1]
            table[begin + less, 1] = indices[begin + more]
            table[begin + less, 2] = np.uint32(min(scaled[less] * 4294967296.0, 4294967295.0))
            scaled[more] -= 1.0 - scaled[less]
            if scaled[more] < 1.0:
                larges -= 1
                small[smalls] = more
                smalls += 1


@njit(cache=True)
def _two_colourable(indptr, indices):  # type: ignore[no-untyped-def]
    """Whether the graph is bipartite: then no triangle exists and p and q need no search."""
    nodes = len(indptr) - 1
    colours = np.full(nodes, -1, dtype=np.int8)
    queue = np.empty(nodes, dtype=np.int64)
    for root in range(nodes):
        if colours[root] >= 0:
            continue
        colours[root] = 0
        queue[0] = root
        head, tail = 0, 1
        while head < tail:
            node = queue[head]
            head += 1
            for edge in range(indptr[node], indptr[node + 1]):
                neighbour = indices[edge]
                if colours[neighbour] < 0:
                    colours[neighbour] = 1 - colours[node]
                    queue[tail] = neighbour
                    tail += 1
                elif colours[neighbour] == colours[node]:
                    return False
    return True
