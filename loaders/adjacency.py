"""Reads files in which a line lists the neighbours of one node: `node other other …`."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from graph.arrays import I64
from loaders.format import Source
from loaders.lines import blocks
from loaders.reasons import LINE_TOO_LONG, WRONG_COUNT
from loaders.records import Rejected, shortened


@dataclass(frozen=True)
class Pairs:
    """Pairs of a node and a neighbour, one a row."""

    first: pa.Array  # binary (n,)
    second: pa.Array  # binary (n,)
    places: I64  # (n,) place of the neighbour in its line, from 1
    lines: I64  # (n,)
    rejected: tuple[Rejected, ...]
    done: int


def pairs(source: Source, *, counted: bool, encoding: str = "utf-8") -> Iterator[Pairs]:
    """The pairs of an adjacency file, block by block.

    Args:
        source: the file.
        counted: a line begins not with its node but with the number of ids that follow, and
            the node is the line's own number, from 0. A line whose count is wrong is rejected.
        encoding: the file's encoding.
    """
    for block in blocks(source.path, encoding, most=source.most_bytes):
        first: list[bytes] = []
        second: list[bytes] = []
        counts: list[int] = []
        rejected: list[Rejected] = []
        lines = [] if block.too_long else block.data.split(b"\n")[:-1]
        if block.too_long:
            rejected.append(_rejected(block.first_line, LINE_TOO_LONG, block.data))
        for index, line in enumerate(lines):
            head, *others = line.split() or [b""]
            if counted and head != b"%d" % len(others):
                if head:
                    rejected.append(_rejected(block.first_line + index, WRONG_COUNT, line))
                others = []
            first.append(b"%d" % (block.first_line + index - 1) if counted else head)
            second += others
            counts.append(len(others))
        repeats = np.repeat(np.arange(len(counts)), counts)
        begins = np.cumsum(counts, dtype=np.int64) - counts
        yield Pairs(
            pa.array(first, pa.binary()).take(pa.array(repeats)),
            pa.array(second, pa.binary()),
            np.arange(1, len(second) + 1) - begins[repeats],
            (block.first_line + repeats).astype(np.int64),
            tuple(rejected),
            block.done,
        )


def _rejected(line: int, reason: str, text: bytes) -> Rejected:
    return Rejected(line, reason, shortened(text.decode("utf-8", "backslashreplace")))
