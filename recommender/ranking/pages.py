"""The next page without repeats, what was shown already, and a little variety.

A cursor holds a 32-bit checksum of each id that earlier pages showed, and one of the request. So it
works in every worker and over a new release, and the server keeps no state. After a thousand items
were shown, one in four thousand others has the same checksum as one of them, and is not shown.
"""

import base64
import binascii
import zlib
from collections.abc import Mapping

import numpy as np
from numba import njit

from graph.arrays import F32, I32, U32
from graph.errors import InputError
from graph.mixing import GAMMA, mixed
from graph.vocabulary import Vocabulary
from recommender.ranking.request import Request

MOST_PAGED = 1000  # items on all pages together
ROTATION = 0.7  # factor on a score for each time an item was shown and not clicked
VARIETY = 0.1  # share of a score by which a seed moves it up or down
_NOT_COMPARED = {"n", "cursor", "reasons"}  # what may differ from page to page


def next_cursor(request: Request, shown: U32) -> str | None:
    """The cursor of the page after items with these checksums; None after `MOST_PAGED` items."""
    before = b"" if request.cursor is None else _decoded(request.cursor)[4:]
    sums = before + shown.astype("<u4").tobytes()
    if len(sums) >= 4 * MOST_PAGED:
        return None
    return base64.urlsafe_b64encode(_sum(request) + sums).decode().rstrip("=")


def pages_before(request: Request) -> int:
    """How many items the pages before showed."""
    return 0 if request.cursor is None else len(_decoded(request.cursor)) // 4 - 1


def shown_before(request: Request, sums: U32) -> list[int]:
    """Rows of the items that the pages before showed; `sums` are `item_sums`.

    Raises:
        InputError: the cursor is damaged, or of a request that asked for something else.
    """
    if request.cursor is None:
        return []
    content = _decoded(request.cursor)
    if content[:4] != _sum(request):
        raise InputError(
            "cursor: it belongs to another request; only n and reasons may change between pages"
        )
    shown = np.frombuffer(content[4:], "<u4")
    rows: list[int] = np.flatnonzero(np.isin(sums, shown)).tolist()
    return rows


def item_sums(items: Vocabulary) -> U32:
    """(i,) a checksum of each id."""
    return sums_of(items, np.arange(len(items), dtype=np.int32))


def sums_of(items: Vocabulary, rows: I32) -> U32:
    """(k,) the checksums of some ids: CRC-32, as `zlib.crc32`."""
    sums: U32 = _sums(items.data, items.offsets, rows, _STEPS)
    return sums


def _steps() -> U32:
    """(256,) what each byte does to a CRC-32."""
    steps = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        steps = (steps >> np.uint32(1)) ^ (steps & np.uint32(1)) * np.uint32(0xEDB88320)
    return steps


_STEPS = _steps()


@njit(cache=True, nogil=True)
def _sums(data, offsets, rows, steps):  # type: ignore[no-untyped-def]
    sums = np.empty(len(rows), np.uint32)
    for k in range(len(rows)):
        left = np.uint32(0xFFFFFFFF)
        for letter in data[offsets[rows[k]] : offsets[rows[k] + 1]]:
            left = (left >> np.uint32(8)) ^ steps[(left ^ letter) & np.uint32(255)]
        sums[k] = ~left
    return sums


def rotation(times: Mapping[int, int], rows: I32) -> F32:
    """(c,) factors that lower items which were shown and not clicked; `times` is row -> count."""
    counts = np.array([times.get(row, 0) for row in rows.tolist()], np.float32)
    result: F32 = np.power(np.float32(ROTATION), counts)
    return result


def variety(seed: int, rows: I32) -> F32:
    """(c,) factors within 1 ± `VARIETY`: the same for the same seed and item row (SplitMix64)."""
    start = np.uint64(seed % 2**63 * int(GAMMA) % 2**64)
    uniform = mixed(rows.astype(np.uint64) + start).astype(np.float64) / 2.0**64
    return (1 + VARIETY * (2 * uniform - 1)).astype(np.float32)


def _sum(request: Request) -> bytes:
    differing = request.differing(without=_NOT_COMPARED)
    return zlib.crc32(differing.encode(errors="replace")).to_bytes(4, "little")


def _decoded(cursor: str) -> bytes:
    try:
        content = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(
            "cursor: this did not come from here; copy it from `next` unchanged"
        ) from error
    if len(content) < 4 or len(content) % 4 or len(content) > 4 * (2 * MOST_PAGED + 1):
        raise InputError("cursor: this did not come from here; copy it from `next` unchanged")
    return content
