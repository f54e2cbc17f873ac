"""Short lists by row, such as the items of each user: two or three arrays, memory-mapped."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from graph.arrays import F32, I32, I64


@dataclass(frozen=True)
class Rows:
    """Row r holds `indices[indptr[r]:indptr[r + 1]]`, and `values` beside them where there are."""

    indptr: I64  # (rows + 1,)
    indices: I32
    width: int  # indices are below it
    values: F32 | None = None

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def span(self, row: int) -> slice:
        """Where a row's entries stand."""
        return slice(int(self.indptr[row]), int(self.indptr[row + 1]))

    def of(self, row: int) -> I32:
        """The indices of a row."""
        return self.indices[self.span(row)]

    def heaviest(self, row: int) -> I32:
        """The indices of a row, the largest values first."""
        own = self.span(row)
        values = np.zeros(own.stop - own.start) if self.values is None else self.values[own]
        return self.indices[own][np.argsort(-values, kind="stable")]

    def take(self, rows: npt.NDArray[np.integer[Any]]) -> tuple[I64, I64]:
        """The indptr of some rows, and where their entries stand."""
        return runs(self.indptr, rows)

    @cached_property
    def matrix(self) -> csr_array:
        """(rows, width) the values, or ones."""
        values = np.ones(len(self.indices), np.float32) if self.values is None else self.values
        shape = (len(self), self.width)
        return csr_array((values, self.indices, self.indptr), shape=shape, copy=False)


def runs(indptr: I64, rows: npt.NDArray[np.integer[Any]]) -> tuple[I64, I64]:
    """The indptr of some rows of a CSR matrix, and where their entries stand."""
    counts = indptr[rows + 1] - indptr[rows]
    starts: I64 = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    at: I64 = np.repeat(indptr[rows] - starts[:-1], counts) + np.arange(int(starts[-1]))
    return starts, at


def matrix_rows(name: str, matrix: csr_array) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a matrix with its values, as a release holds them."""
    return {**list_rows(name, matrix), f"{name}.values": matrix.data.astype(np.float32)}


def list_rows(name: str, matrix: csr_array) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a matrix without its values, as a release holds them."""
    return {
        f"{name}.indptr": matrix.indptr.astype(np.int64),
        f"{name}.indices": matrix.indices.astype(np.int32),
    }
