"""Skip-gram with negative sampling, trained straight from blocks of walks.

The model of word2vec (Mikolov et al. 2013, arXiv 1310.4546). Two differences make it fast. The
negatives of a centre are shared by all its contexts, each weighted so that the expected gradient
stays the same; and they are drawn from a small pool that is renewed along the walk, so that its
rows stay in the processor's cache (compare Ji et al. 2016, arXiv 1604.04661). Each vector has a
rate of its own that falls with the squares of its gradients (Duchi et al. 2011, Adagrad): rare
items learn as fast as popular ones.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numba import njit

from embeddings.vectors.walks import Walks, mixed
from graph.arrays import F32, F64, I32, Flags
from graph.errors import SettingError

_U32 = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_TABLE_RANGE = 6.0
_TABLE_SIZE = 1024


@dataclass(frozen=True)
class SkipgramConfig:
    """What to learn from the walks.

    `negatives` is the weight of the negative part for each pair, as in word2vec; `shared` how
    many distinct negatives carry it for one centre. A `negative_exponent` of 0 draws every
    context alike, so that the scores keep popularity; .75 is word2vec's. Contexts further than
    a window drawn from 1 to `window` do not count. `learning_rate` falls linearly to `final_rate`
    and is divided, row by row, by the root of the row's squared gradients so far, which begin at
    `first_square`, and of vectors that were learned before at `settled_square`.
    """

    dimensions: int = 64
    window: int = 5
    negatives: float = 5.0
    shared: int = 8
    negative_exponent: float = 0.75
    learning_rate: float = 0.1
    final_rate: float = 0.0001
    first_square: float = 0.01
    settled_square: float = 100.0

    def __post_init__(self) -> None:
        if min(self.dimensions, self.window, self.shared) < 1 or self.negatives <= 0:
            raise SettingError("dimensions, window, shared and negatives must be positive")


def train(
    blocks: Iterable[Walks],
    frequencies: F64,
    total_tokens: int,
    config: SkipgramConfig,
    *,
    contexts: tuple[int, int] | None = None,
    start: tuple[F32, F32] | None = None,
    settled: Flags | None = None,
    seed: int,
    threads: int = 1,
    progress: Callable[[float], None] | None = None,
) -> tuple[F32, F32]:
    """Input and output vectors, each float32 (nodes, dimensions), after one pass over the blocks.

    `frequencies` (nodes,) say how often a node is expected in the walks: negatives are drawn by
    them. `contexts` = (first, end) lets only those nodes be contexts and negatives: half the work
    where only items are ever ranked. `total_tokens` sets the pace at which the rate falls.
    `start` continues from given vectors, of which the `settled` (nodes,) move less. Bit-equal on
    one thread for the same seed; on several, threads update the same vectors without locks (Niu
    et al. 2011, Hogwild).
    """
    nodes = len(frequencies)
    first, end = contexts if contexts is not None else (0, nodes)
    rng = np.random.default_rng(seed)
    if start is None:
        inputs, outputs = noise(nodes, config.dimensions, rng)
    else:
        inputs, outputs = (np.array(part, dtype=np.float32, order="C") for part in start)
    negatives = _negative_table(frequencies[first:end], config.negative_exponent) + first
    if len(negatives) == 0:
        return inputs, outputs
    sigmoid = _sigmoid_table()
    done = 0
    squares = np.full((2, nodes), config.first_square, dtype=np.float32)
    if settled is not None:
        squares[:, settled] = config.settled_square
    key = int(rng.integers(2**63))
    with ThreadPoolExecutor(threads) as pool:
        for number, block in enumerate(blocks):
            left = 1.0 - done / max(total_tokens, 1)
            rate = max(config.final_rate, config.learning_rate * left)
            edges = np.linspace(0, len(block), threads + 1).astype(np.int64)
            parts = [
                (
                    block[edges[part] : edges[part + 1]],
                    inputs,
                    outputs,
                    squares[0],
                    squares[1],
                    negatives,
                    sigmoid,
                    first,
                    end,
                    config.window,
                    config.shared,
                    np.float32(config.negatives / config.shared),
                    np.float32(rate),
                    np.uint64(key + number * threads + part),
                )
                for part in range(threads)
            ]
            if threads == 1:
                _train_walks(*parts[0])
            else:
                list(pool.map(lambda part: _train_walks(*part), parts))
            done += block.size
            if progress is not None:
                progress(min(1.0, done / max(total_tokens, 1)))
    return inputs, outputs


def noise(nodes: int, dimensions: int, seed: int | np.random.Generator) -> tuple[F32, F32]:
    """Input and output vectors (nodes, dimensions) that know nothing: small ones, and 0."""
    rng = np.random.default_rng(seed)
    inputs = (rng.random((nodes, dimensions), dtype=np.float32) - 0.5) / np.float32(dimensions)
    return inputs, np.zeros((nodes, dimensions), dtype=np.float32)


def _negative_table(frequencies: F64, exponent: float) -> I32:
    """Nodes repeated in proportion to frequency**exponent: one draw is one look-up.

    About 2**20 entries, so the shares are right to a millionth; nodes never seen are left out.
    """
    seen = np.flatnonzero(frequencies > 0)
    if len(seen) == 0:
        return np.zeros(0, dtype=np.int32)
    shares = frequencies[seen] ** exponent
    size = max(2**20, 4 * len(seen))
    marks = np.searchsorted(np.cumsum(shares) / shares.sum(), (np.arange(size) + 0.5) / size)
    return seen[np.minimum(marks, len(seen) - 1)].astype(np.int32)


def _sigmoid_table() -> F32:
    grid = (np.arange(_TABLE_SIZE) + 0.5) / _TABLE_SIZE * 2 * _TABLE_RANGE - _TABLE_RANGE
    return (1.0 / (1.0 + np.exp(-grid))).astype(np.float32)


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _train_walks(  # type: ignore[no-untyped-def]
    walks,
    inputs,
    outputs,
    input_squares,
    output_squares,
    negatives,
    sigmoid,
    first,
    end,
    window,
    shared,
    negative_weight,
    rate,
    key,
):
    """Go once over some walks and move the vectors of the nodes in them, in place.

    walks (w, l) i32 rows of nodes, -1 after the end; inputs and outputs (n, d) f32 the vectors;
    input_squares and output_squares (n,) f32 what each node's gradients have summed to (AdaGrad);
    negatives (t,) i32 nodes, as often as they are to be drawn; sigmoid (1024,) f32 of -6 … 6;
    only nodes first … end - 1 are predicted. `window` nodes on either side at most, `shared`
    negatives for all of a window's nodes, each weighing `negative_weight`; step `rate`; random
    numbers from `key`, so that the same walks move the same way.

        walk   a   b   c   d   e   f   g        pool   n   m   o   …   `shared` negatives;
                   └───┴─ (d) ─┴───┘                   ↑               one is drawn anew per node
                     reach 2, drawn from 1 … window

        for each centre d, left to right:
          1. score      d's input with the outputs of the window and of the pool
          2. pull       1 - σ for the window, -σ · weight for the pool
          3. outputs    each moves along d's input, by its pull
          4. input      d's moves once, along the sum of pull · output from before step 3
    """
    dimensions = inputs.shape[1]
    gradient = np.empty(dimensions, dtype=np.float32)
    vector = np.empty(dimensions, dtype=np.float32)
    pool = np.empty(shared, dtype=np.int32)
    rows = np.empty(2 * window + shared, dtype=np.int64)
    pulls = np.empty(2 * window + shared, dtype=np.float32)
    counter = np.uint64(0)
    size = np.uint64(len(negatives))
    to_cell = np.float32(_TABLE_SIZE / (2 * _TABLE_RANGE))
    middle = np.float32(_TABLE_SIZE / 2)
    for row in range(walks.shape[0]):
        walk = walks[row]
        for k in range(shared):
            draw = mixed(key, counter)
            counter += np.uint64(1)
            pool[k] = negatives[np.int64(((draw >> _U32) * size) >> _U32)]
        for position in range(walks.shape[1]):
            centre = np.int64(walk[position])
            if centre < 0:
                break
            draw = mixed(key, counter)
            counter += np.uint64(1)
            reach = 1 + np.int64(((draw & _LOW) * np.uint64(window)) >> _U32)
            pool[position % shared] = negatives[np.int64(((draw >> _U32) * size) >> _U32)]
            pairs = 0
            begin, stop = max(0, position - reach), min(len(walk), position + reach + 1)
            for near in range(begin, stop):  # type: ignore[call-overload]
                context = np.int64(walk[near])
                if near != position and first <= context < end and context != centre:
                    rows[pairs] = context
                    pairs += 1
            if pairs == 0:
                continue
            count = pairs
            for k in range(shared):
                if pool[k] != centre:
                    rows[count] = pool[k]
                    count += 1
            norm = np.float32(0)
            for d in range(dimensions):
                vector[d] = inputs[centre, d]
                norm += vector[d] * vector[d]
                gradient[d] = np.float32(0)
            for n in range(count):
                output = outputs[rows[n]]
                score = np.float32(0)
                for d in range(dimensions):
                    score += vector[d] * output[d]
                cell = int(min(max(score * to_cell + middle, np.float32(0)), np.float32(1023)))
                if n < pairs:
                    pulls[n] = np.float32(1) - sigmoid[cell]
                else:
                    pulls[n] = -sigmoid[cell] * negative_weight * np.float32(pairs)
            norm /= np.float32(dimensions)
            for n in range(count):
                output = outputs[rows[n]]
                pull = pulls[n]
                output_squares[rows[n]] += pull * pull * norm
                push = pull * rate / np.sqrt(output_squares[rows[n]])
                for d in range(dimensions):
                    gradient[d] += pull * output[d]
                    output[d] += push * vector[d]
            norm = np.float32(0)
            for d in range(dimensions):
                norm += gradient[d] * gradient[d]
            input_squares[centre] += norm / np.float32(dimensions)
            push = rate / np.sqrt(input_squares[centre])
            for d in range(dimensions):
                inputs[centre, d] += push * gradient[d]
