"""Tags and domains are compared regardless of case, and show their most frequent spelling."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def folded(columns: Sequence[Any]) -> list[Any]:
    """The same columns, with each key in the spelling used most in all of them together.

    Columns are dictionary-encoded. Of spellings used equally often the first by code points wins.
    A column's dictionary may then hold a key twice.
    """
    counts: dict[str, int] = {}
    for column in columns:
        used = np.bincount(
            column.indices.drop_null().to_numpy(), minlength=len(column.dictionary)
        ).tolist()
        for key, count in zip(column.dictionary.to_pylist(), used, strict=True):
            counts[key] = counts.get(key, 0) + count
    chosen: dict[str, str] = {}
    for key in sorted(counts, key=lambda key: (-counts[key], key)):
        chosen.setdefault(key.casefold(), key)
    if len(chosen) == len(counts):
        return list(columns)
    return [
        pa.DictionaryArray.from_arrays(
            column.indices,
            pc.cast(
                pa.array([chosen[key.casefold()] for key in column.dictionary.to_pylist()]),
                column.dictionary.type,
            ),
        )
        for column in columns
    ]
