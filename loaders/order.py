"""Takes order for time only where the user says so, and never if it is the order of ids."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from graph.errors import InputError
from loaders.records import as_text

FEWEST = 20  # neighbours in lists; fewer tell nothing
SORTED_SHARE = 0.95  # share of neighbours with a rising id; by chance half are


def check_order(path: Path, users: Any, items: Any) -> None:
    """Refuse to take the order of rows (n,) for time if each user's items are sorted by id.

    Raises:
        InputError: nearly every item has a greater id than the same user's item before it.
    """
    users, items = (as_text(column)[0] for column in (users, items))
    numeric = pc.match_substring_regex(items, r"^\s*[0-9]{1,18}\s*$").fill_null(False)
    if not pc.all(numeric).as_py():
        return
    numbers = pc.utf8_trim_whitespace(items).cast(pa.int64()).to_numpy()
    codes = users.dictionary_encode().indices.fill_null(-1).to_numpy()
    neighbours = np.diff(numbers)[np.diff(codes) == 0]
    if len(neighbours) >= FEWEST and np.mean(neighbours > 0) >= SORTED_SHARE:
        raise InputError(
            f"{path}: each user's items are sorted by their ids, so they are not in order of "
            "time; leave out --ordered"
        )
