"""What it means to hold out a share: which of a user's entries, and how many.

Of each user's n entries, in some order, the first `taken(n, share)` are held out. The split that
judges a release and the parts by which its recipe is chosen are both drawn in this way.
"""

import numpy as np
import numpy.typing as npt
from scipy import sparse

from graph.arrays import I64, Flags


def places(users: I64, *keys: npt.NDArray[np.generic]) -> tuple[I64, I64]:
    """The place of each entry among its user's, and how many these have: both i64 (p,).

    Ordered by the first key, lowest first, then by the next; equal entries keep their order.
    """
    order = np.lexsort((*reversed(keys), users))
    sizes = np.bincount(users) if len(users) else np.zeros(0, np.int64)
    begins = np.concatenate([[0], np.cumsum(sizes)])
    position = np.empty(len(users), np.int64)
    position[order] = np.arange(len(users)) - begins[users[order]]
    return position, sizes[users]


def taken(sizes: npt.ArrayLike, share: float, minimum: int) -> I64:
    """How many of n are held out: max(1, floor(share · n + ½)), none where n < `minimum`.

    At least one always stays.
    """
    n = np.asarray(sizes, np.int64)
    counts = np.maximum(1, np.floor(share * n + 0.5).astype(np.int64))
    result: I64 = np.where(n < minimum, 0, np.minimum(counts, n - 1))
    return result


def hold_back(
    user_items: sparse.csr_matrix, seed: int, share: float = 0.2, minimum: int = 3
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Split each user's entries at random: (kept, held), both (u, i).

    Users with fewer entries than `minimum` keep them all. By rows, for matrices without ids:
    `recommender.learning.split` draws by ids, so that another user moves nobody else's pairs.
    """
    users = rows_of(user_items)
    position, sizes = places(users, np.random.default_rng(seed).random(user_items.nnz))
    held = position < taken(sizes, share, minimum)
    return part(user_items, ~held), part(user_items, held)


def rows_of(matrix: sparse.csr_matrix) -> I64:
    """The row of each stored entry: i64 (p,)."""
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))


def part(matrix: sparse.csr_matrix, kept: Flags) -> sparse.csr_matrix:
    """The same matrix with only these of its stored entries; `kept` (p,)."""
    entries = (matrix.data[kept], (rows_of(matrix)[kept], matrix.indices[kept]))
    chosen = sparse.csr_matrix(entries, shape=matrix.shape)
    chosen.sort_indices()
    return chosen
