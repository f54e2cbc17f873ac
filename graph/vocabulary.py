"""Turns ids into rows and back; nothing else does.

A vocabulary is two flat arrays, so that it can be memory-mapped and shared between processes:
the sorted ids as one run of UTF-8 bytes, and the place where each begins. A look-up is a binary
search.
"""

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from graph.arrays import I64, U8
from graph.ids import as_word
from graph.model import NO_ROW

RECENT = 256  # look-ups that a vocabulary remembers
SEARCHES = 200  # looked up one by one in the time that one pass over as many ids takes


class Vocabulary:
    """Sorted distinct ids (n of them); the row of an id is its place in that order, from 0."""

    def __init__(self, data: U8, offsets: I64) -> None:
        """Wrap existing arrays: `data` u8 (bytes), `offsets` i64 (n + 1), ids in UTF-8 order.

        They are held read-only, so that compiled code always gets the same types.
        """
        self.data, self.offsets = data.view(), offsets.view()
        self.data.flags.writeable = self.offsets.flags.writeable = False
        self._recent: dict[str, int] = {}  # the last look-ups: a request asks for a user often

    @classmethod
    def of(cls, ids: Iterable[str]) -> "Vocabulary":
        """Build from ids in any order; duplicates count once."""
        encoded = [name.encode() for name in sorted(set(ids))]
        offsets = np.zeros(len(encoded) + 1, np.int64)
        np.cumsum([len(name) for name in encoded], out=offsets[1:])
        return cls(np.frombuffer(b"".join(encoded), np.uint8), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __iter__(self) -> Iterator[str]:
        return (self.id(row) for row in range(len(self)))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.row(name) != NO_ROW

    def id(self, row: int) -> str:
        """The id at a row; `IndexError` outside 0 … n - 1."""
        return self.encoded(row).decode()

    def encoded(self, row: int) -> bytes:
        """The id at a row, in UTF-8."""
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} is outside 0 … {len(self) - 1}")
        start, stop = self.offsets.item(row), self.offsets.item(row + 1)
        return self.data[start:stop].tobytes()

    def all_encoded(self, rows: npt.NDArray[np.integer[Any]]) -> list[bytes]:
        """The ids at some rows in UTF-8."""
        starts, stops = self.offsets[rows].tolist(), self.offsets[rows + 1].tolist()
        data = self.data.data
        return [bytes(data[a:b]) for a, b in zip(starts, stops, strict=True)]

    def ids(self, rows: Iterable[int]) -> list[str]:
        """The ids at some rows."""
        return [self.id(int(row)) for row in rows]

    def row(self, name: str) -> int:
        """The row of an id, or `NO_ROW` when it is not here."""
        row = self._recent.get(name)
        if row is None:
            row = self._search(name)
            if len(self._recent) >= RECENT:
                self._recent = {}
            self._recent[name] = row
        return row

    def _search(self, name: str) -> int:
        try:
            wanted = name.encode()
        except UnicodeEncodeError:  # a lone surrogate is no id
            return NO_ROW
        low = self._lower_bound(wanted)
        data, offsets = self.data, self.offsets
        if low < len(self) and data[offsets[low] : offsets[low + 1]].tobytes() == wanted:
            return low
        return NO_ROW

    def position(self, name: str) -> int:
        """How many ids come before this one, which need not be known."""
        return self._lower_bound(name.encode(errors="replace"))

    def _lower_bound(self, wanted: bytes) -> int:
        low, high = 0, len(self)
        data, begins = self.data.data, self.offsets.item
        while low < high:
            middle = (low + high) // 2
            if bytes(data[begins(middle) : begins(middle + 1)]) < wanted:
                low = middle + 1
            else:
                high = middle
        return low

    def rows(self, names: Iterable[str]) -> I64:
        """The rows of many ids, `NO_ROW` where one is not here: i64 (len(names),)."""
        wanted = names.texts if isinstance(names, Vocabulary) else list(names)
        if len(wanted) * SEARCHES < len(self):
            return np.array([self.row(str(name)) for name in wanted], np.int64)
        try:
            texts = pa.array(wanted, pa.large_string())
        except UnicodeEncodeError:  # a lone surrogate is no id
            return np.array([self.row(name) for name in names], np.int64)
        rows = pc.index_in(texts, value_set=self.texts)
        return pc.fill_null(rows, NO_ROW).to_numpy().astype(np.int64)

    @property
    def texts(self) -> pa.LargeStringArray:
        """The ids as an Arrow array over the same bytes."""
        offsets, data = (pa.py_buffer(np.ascontiguousarray(a)) for a in (self.offsets, self.data))
        return pa.LargeStringArray.from_buffers(len(self), offsets, data)

    def caseless(self) -> "CaselessVocabulary":
        """The same names in the same rows, but found regardless of case."""
        return CaselessVocabulary(self.data, self.offsets)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The arrays that `__init__` takes, to be saved."""
        return {"data": self.data, "offsets": self.offsets}


class CaselessVocabulary(Vocabulary):
    """A few thousand names at most, in any order, found regardless of case.

    An exact match comes before one that differs in case; of several such the first is taken.
    """

    @cached_property
    def _known(self) -> dict[str, int]:
        names = list(self)
        words = {as_word(name): row for row, name in reversed(list(enumerate(names)))}
        return words | {name: row for row, name in enumerate(names)}

    def row(self, name: str) -> int:
        """The row of a name, or `NO_ROW` when it is not here."""
        row = self._known.get(name)
        return self._known.get(as_word(name), NO_ROW) if row is None else row

    def rows(self, names: Iterable[str]) -> I64:
        """The rows of many names, `NO_ROW` where one is not here."""
        return np.array([self.row(str(name)) for name in names], np.int64)
