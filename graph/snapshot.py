"""The graph frozen into arrays at one moment: the input of a refresh.

Rows are numbered by the sorted ids, columns are sorted by their keys: two stores with the same
facts give the same snapshot, byte for byte, whatever the order in which they learned them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from graph.vocabulary import Vocabulary

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class EventColumns:
    """One entry per event (e of them), sorted by user, item, kind, tag, time, event id."""

    user: I32
    item: I32
    kind: I32  # place in GraphSnapshot.kinds
    value: F32  # NaN where none
    tag: I32  # NO_ROW where none
    at: I64  # seconds since 1970, NO_TIME where none


@dataclass(frozen=True)
class Links:
    """Weighted links between two kinds of rows, sorted by source, target."""

    source: I32
    target: I32
    weight: F32


@dataclass(frozen=True)
class Relations:
    """Weighted links of several kinds, sorted by source, target, kind."""

    source: I32
    target: I32
    kind: I32  # place in `kinds`
    weight: F32
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class GraphSnapshot:
    """Users (u), items (i), tags (t), domains (d) and everything between them, frozen."""

    users: Vocabulary
    items: Vocabulary
    tags: Vocabulary  # keys of `graph.model.tag_key`
    domains: Vocabulary  # as given by the data; may be empty
    kinds: tuple[str, ...]  # of events, sorted
    events: EventColumns
    item_tags: Links  # item row -> tag row: given tags, not those of tag events
    item_domains: Links  # item row -> domain row
    item_relations: Relations
    user_relations: Relations
    user_consents: Flags  # (u,)
    item_titles: Any  # pyarrow string array (i,), "" where none
    item_created_at: I64  # (i,) NO_TIME where none
    item_hidden: Flags  # (i,)
    item_attributes: Any  # pyarrow string array (i,), JSON objects, "{}" where none
    watermark: int
    fingerprint: str  # hex SHA-256 of all of the above but the watermark
