"""Work on many rows cut into blocks, which threads share."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np


def in_blocks(work: Callable[[int, int], None], count: int, threads: int) -> None:
    """Call `work(low, high)` over 0..count, on at most `threads` threads.

    The calls may run at once, so no two of them may write to the same place.
    """
    if count == 0:
        return
    if threads <= 1:
        work(0, count)
        return
    edges = np.unique(np.linspace(0, count, threads * 8 + 1).astype(np.int64))
    with ThreadPoolExecutor(threads) as pool:
        running = [pool.submit(work, int(low), int(high)) for low, high in pairwise(edges)]
        for block in running:
            block.result()
