"""Numbers that tell apart events of one user, item, kind and time: by ids, or else by tags.

Two events with the same id are one event, whatever else they say. Two with the same tag are one if
user, item, kind and time are the same, too.
"""

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa

from graph.arrays import I64

NO_KEY = 0  # of an event that has neither an id nor a tag
BY_ID = 1  # the lowest bit of a key: set if it stands for an id
_AT_ONCE = 100_000  # texts that are Python strings at a time


def event_key(tag: str | None, event_id: str | None) -> int:
    """The key of an event, 64 bits with a sign; empty texts count as none."""
    if event_id:
        return _hash(event_id, b"event_id") | BY_ID
    return _hash(tag, b"tag") & ~BY_ID if tag else NO_KEY


def event_keys(tags: Any, event_ids: Any) -> I64:
    """(e,) `event_key` for two Arrow columns of texts."""
    own, by_tag = _hashes(event_ids, b"event_id"), _hashes(tags, b"tag")
    return np.where(own != NO_KEY, own | BY_ID, by_tag & ~BY_ID)


def _hashes(column: Any, person: bytes) -> I64:
    """(e,) a hash of each text; 0 where there is none."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if column.null_count == len(column):
        return np.zeros(len(column), np.int64)
    if isinstance(column, pa.DictionaryArray):
        codes = column.indices.fill_null(-1).to_numpy()
        return np.append(_hashes(column.dictionary, person), 0)[codes]
    made = np.empty(len(column), np.int64)
    for start in range(0, len(column), _AT_ONCE):
        texts = column.slice(start, _AT_ONCE).to_pylist()
        made[start : start + len(texts)] = [_hash(text, person) if text else 0 for text in texts]
    return made


def _hash(text: str, person: bytes) -> int:
    digest = hashlib.blake2b(text.encode(), digest_size=8, person=person).digest()
    return int.from_bytes(digest, "little", signed=True)
