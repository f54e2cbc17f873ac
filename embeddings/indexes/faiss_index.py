"""Approximate neighbours by FAISS: the only module that uses it.

Small sets, and searches with few allowed rows, are answered exactly: there HNSW is slower, and
with a filter it loses what it should find (`docs/decisions/0002-exact-below-a-size.md`).
"""

import errno
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from embeddings.indexes.index import checked, exact_search
from graph.arrays import F32, I32, I64, Flags
from graph.durable import sync
from graph.errors import ReleaseError

EXACT_PRODUCTS = 2_000_000  # dimensions × rows up to which the exact search is the faster one
LINKS = 32  # per node of the HNSW graph: arXiv:1603.09320, M
BUILD_WIDTH = 120  # efConstruction
SEARCH_WIDTH = 128  # efSearch
PLAIN_BUILD_WIDTH = 40  # of the graph that proposes for every row once
ROWS_AT_ONCE = 65_536  # of those that ask for proposals: their answers are 64-bit rows
LOW_SELECTIVITY = 0.1  # below this share of allowed rows HNSW is asked for more, then not at all


@cache
def _faiss() -> Any:
    """The library when it is first needed: it takes a worker 0.1 s and 40 MB, often for nothing."""
    import faiss

    return faiss  # untyped: its stubs lack what is used here


class FaissIndex:
    """HNSW over inner products, exact where that is cheaper or safer."""

    def __init__(self, vectors: F32, index: Any) -> None:
        """Wrap vectors f32 (n, d), which may be memory-mapped, and their FAISS index or None."""
        self.vectors = vectors
        self.dimensions = int(vectors.shape[1])
        self._index = index

    @classmethod
    def build(cls, vectors: F32, *, exact_products: int = EXACT_PRODUCTS) -> "FaissIndex":
        """Index vectors f32 (n, d); deterministic: FAISS builds on one thread here."""
        vectors = np.ascontiguousarray(vectors, np.float32)
        if not np.isfinite(vectors).all():
            raise ValueError("a vector has a component that is not a finite number")
        if vectors.size <= exact_products:
            return cls(vectors, None)
        threads = _faiss().omp_get_max_threads()
        _faiss().omp_set_num_threads(1)
        try:
            index = _faiss().IndexHNSWFlat(vectors.shape[1], LINKS, _faiss().METRIC_INNER_PRODUCT)
            index.hnsw.efConstruction = BUILD_WIDTH
            index.add(vectors)
        finally:
            _faiss().omp_set_num_threads(threads)
        return cls(vectors, index)

    @property
    def approximate(self) -> bool:
        """Whether an HNSW graph is there; else every search is exact."""
        return self._index is not None

    def __len__(self) -> int:
        return len(self.vectors)

    def search(self, queries: F32, k: int, allowed: Flags | None = None) -> tuple[I32, F32]:
        """See `VectorIndex.search`; rows that HNSW fails to find are searched for exactly."""
        queries = checked(queries, self.dimensions, k)
        count = len(self) if allowed is None else int(np.count_nonzero(allowed))
        cheap = count * self.dimensions <= EXACT_PRODUCTS
        if self._index is None or cheap or (allowed is not None and count < k):
            return exact_search(self.vectors, queries, k, allowed)
        rows, scores = self._search(queries, k, allowed, count / len(self))
        short = (rows < 0).any(axis=1)
        if short.any() and count >= k:
            rows[short], scores[short] = exact_search(self.vectors, queries[short], k, allowed)
        return rows, scores

    def _search(
        self, queries: F32, k: int, allowed: Flags | None, selectivity: float
    ) -> tuple[I32, F32]:
        width = max(SEARCH_WIDTH, 2 * k)
        if allowed is None:
            parameters = _faiss().SearchParametersHNSW(efSearch=width)
        elif selectivity < LOW_SELECTIVITY:
            return exact_search(self.vectors, queries, k, allowed)
        else:
            selector = _faiss().IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
            parameters = _faiss().SearchParametersHNSW(
                efSearch=int(width / max(selectivity, LOW_SELECTIVITY)), sel=selector
            )
        scores, rows = self._index.search(queries, k, params=parameters)
        rows = rows.astype(np.int32)
        if allowed is not None:  # never trust a filter inside an approximate index
            wrong = (rows >= 0) & ~allowed[rows]
            rows[wrong], scores[wrong] = -1, -np.inf
        scores[rows < 0] = -np.inf
        return rows, scores

    def save(self, path: Path) -> None:
        """Write the graph aside, sync and rename; an exact index leaves an empty file."""
        aside = path.with_name(path.name + ".part")
        if self._index is None:
            aside.write_bytes(b"")
        else:
            try:
                _faiss().write_index(self._index, str(aside))
            except RuntimeError as error:  # FAISS does not say why; mostly the disk is full
                raise OSError(errno.EIO, "FAISS could not write it", str(aside)) from error
        sync(aside)
        aside.replace(path)

    @classmethod
    def load(cls, path: Path, vectors: F32) -> "FaissIndex":
        """Read what `save` wrote, for the same vectors; `ReleaseError` when they do not match.

        FAISS has no checksum: verify the file before (a release does).
        """
        if path.stat().st_size == 0:
            return cls(vectors, None)
        # FAISS refuses to allocate more than the file can mean, whatever its header says.
        _faiss().set_deserialization_vector_byte_limit(4 * path.stat().st_size)
        try:
            # Mapped, so that the workers of a host share it; nothing is copied.
            index = _faiss().read_index(str(path), _faiss().IO_FLAG_MMAP_IFC)
        except RuntimeError as error:
            raise ReleaseError(f"{path.name} is not a readable FAISS index") from error
        if (index.ntotal, index.d) != vectors.shape:
            raise ReleaseError(
                f"{path.name} holds {index.ntotal} × {index.d}, but the vectors are {vectors.shape}"
            )
        return cls(vectors, index)


def likely_neighbours(
    vectors: F32,
    others: F32,
    width: int,
    threads: int = 1,
    among: I64 | None = None,
) -> I32:
    """For each row the `width` others with the largest positive products, nine tenths of them.

    Vectors and others are f32 (i, d); of the others only rows `among` are looked for, or all. Time
    grows with i log i: an HNSW graph of the others, built with less care than one that serves.
    Returns i32 (i, width), strongest first, -1 padded, never the row itself; the same each time on
    one thread.
    """
    targets = np.arange(len(others)) if among is None else among
    before = _faiss().omp_get_max_threads()
    _faiss().omp_set_num_threads(threads)
    try:
        index = _faiss().IndexHNSWFlat(others.shape[1], LINKS, _faiss().METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = PLAIN_BUILD_WIDTH
        index.add(np.ascontiguousarray(others[targets], np.float32))
        index.hnsw.efSearch = 2 * width
        near = np.full((len(vectors), width), -1, np.int32)
        for begin in range(0, len(vectors), ROWS_AT_ONCE):
            part = np.ascontiguousarray(vectors[begin : begin + ROWS_AT_ONCE], np.float32)
            scores, neighbours = index.search(part, width + 1)
            rows = np.where((neighbours >= 0) & (scores > 0), targets[neighbours], -1)
            rows[rows == np.arange(begin, begin + len(part))[:, None]] = -1
            order = np.argsort(rows < 0, axis=1, kind="stable")[:, :width]
            near[begin : begin + len(part)] = np.take_along_axis(rows, order, axis=1)
    finally:
        _faiss().omp_set_num_threads(before)
    return near
