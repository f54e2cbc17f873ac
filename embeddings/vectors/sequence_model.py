"""What comes next after a list of items, by a small Transformer in numpy.

SASRec (Kang & McAuley 2018, arXiv:1808.09781): each place of a list looks at the places before it,
and the last place's vector times the items' vectors says what comes next. Two things differ. How
far back a place is counts, not where a list begins: each head adds a learned number to what it
makes of a place so many steps back. And normalisation comes before each part of a block, not after.
`sequence_training.py` learns the arrays with torch; whoever serves needs numpy alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from graph.arrays import F32, I32, Flags

REACH = 50
"""So many of the newest items of a list are read."""
ROWS_AT_ONCE = 512
SMALL = np.float32(1e-5)  # keeps a normalisation from dividing by 0


@dataclass(frozen=True)
class SequenceModel:
    """A trained model: m items that it knows, b blocks of h heads, vectors of width d."""

    rows: I32  # (m,) rows of the items, ascending
    vectors: F32  # (m, d) of the items, both read and ranked by
    attention: F32  # (b, 4, d, d) to queries, keys and values, and back
    near: F32  # (b, h, REACH) what each head adds for a place so many steps back
    inner: F32  # (b, d, e)
    outer: F32  # (b, e, d)
    inner_shift: F32  # (b, e)
    outer_shift: F32  # (b, d)
    norms: F32  # (2 b + 1, 2, d) factors and shifts of each normalisation, in the order of use

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> "SequenceModel":
        """From the arrays of `arrays`."""
        return cls(**{name: arrays[name] for name in cls.__dataclass_fields__})

    @property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All arrays by name."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @cached_property
    def _place_of(self) -> I32:
        """(n,) the place in `rows` of each item, -1: unknown; so is the last, at -1."""
        places = np.full(int(self.rows.max(initial=-1)) + 2, -1, np.int32)
        places[self.rows] = np.arange(len(self.rows), dtype=np.int32)
        return places

    def places(self, lists: I32) -> I32:
        """(n, REACH) places in `rows` of the items of lists (n, l), the newest at the end.

        -1 pads at the beginning; of the items in a list that the model knows it takes the newest.
        """
        inside = np.where((lists >= 0) & (lists < len(self._place_of)), lists, -1)
        known = self._place_of[inside]
        order = np.argsort(known >= 0, axis=1, kind="stable")
        known = np.take_along_axis(known, order, axis=1)[:, -REACH:]
        return known[:, int((known < 0).all(axis=0).sum()) :]

    def foretell(self, lists: I32) -> tuple[F32, Flags]:
        """(n, m) what speaks for each item after lists (n, l) of item rows, the newest at the end.

        Logits of the model: differences tell how much likelier an item is. -1 pads at the beginning
        of a list. Beside them (n,) whether the model knows anything of a list; a list of which it
        knows nothing gets zeros.
        """
        places = self.places(np.atleast_2d(lists))
        known = (places >= 0).any(axis=1)
        scores = np.zeros((len(places), len(self.rows)), np.float32)
        for begin in range(0, len(places), ROWS_AT_ONCE):
            some = begin + np.flatnonzero(known[begin : begin + ROWS_AT_ONCE])
            scores[some] = self._ends(places[some]) @ self.vectors.T  # (n, d) @ (d, m)
        return scores, known

    def _ends(self, places: I32) -> F32:
        """(n, d) the vectors of the last places of lists (n, l)."""
        width = self.vectors.shape[1]
        here = places >= 0
        states = self.vectors[places] * np.float32(width**0.5) * here[:, :, None]  # (n, l, d)
        length = places.shape[1]
        back = np.arange(length)[:, None] - np.arange(length)  # how far back the second is
        seen = (back >= 0) & here[:, None, :] | np.eye(length, dtype=bool)  # (n, l, l)
        for block, (queries, keys, values, out) in enumerate(self.attention):
            last = slice(-1, None) if block + 1 == len(self.attention) else slice(None)
            read = _normed(states, self.norms[2 * block])
            heads = self.near.shape[1]
            q, k, v = (
                _split(part @ matrix, heads)
                for part, matrix in ((read[:, last], queries), (read, keys), (read, values))
            )
            # (n, h, l, d / h) @ (n, h, d / h, l) -> (n, h, l, l)
            looks = q @ k.swapaxes(2, 3) / np.float32((width / heads) ** 0.5)
            looks += self.near[block][:, np.abs(back)[last]]
            looks = np.where(seen[:, None, last], looks, -np.inf)
            looks = np.exp(looks - looks.max(axis=3, keepdims=True))
            looks /= looks.sum(axis=3, keepdims=True)
            states = states[:, last] + _joined(looks @ v) @ out
            read = _normed(states, self.norms[2 * block + 1])
            inner = np.maximum(read @ self.inner[block] + self.inner_shift[block], 0)
            states = states + inner @ self.outer[block] + self.outer_shift[block]
        ends: F32 = _normed(states[:, -1], self.norms[-1])
        return ends


def _normed(states: F32, norm: F32) -> F32:
    """States (…, d) with mean 0 and spread 1, times factors, plus shifts."""
    centred = states - states.mean(axis=-1, keepdims=True)
    spread = np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + SMALL)
    normed: F32 = centred / spread * norm[0] + norm[1]
    return normed


def _split(states: F32, heads: int) -> F32:
    """(n, h, l, d / h) of states (n, l, d)."""
    count, length, width = states.shape
    return states.reshape(count, length, heads, width // heads).swapaxes(1, 2)


def _joined(states: F32) -> F32:
    """(n, l, d) of states (n, h, l, d / h)."""
    count, heads, length, width = states.shape
    return states.swapaxes(1, 2).reshape(count, length, heads * width)
