"""Copies one store into another: `nichegraph migrate`."""

from collections.abc import Callable

from graph.errors import InputError, StoreError
from graph.model import SCHEMAS
from graph.store import GraphStore

ROWS = 100_000  # per batch


def migrate(
    source: GraphStore,
    target: GraphStore,
    *,
    into_filled: bool = False,
    progress: Callable[[str, int, int], None] = lambda _table, _done, _rows: None,
) -> dict[str, int]:
    """Copy all facts; both stores then give the same snapshot and the same fingerprint.

    Findings of models are not copied: the next refresh writes them. Nor are names of applied
    batches: such a batch changes nothing when it is applied again. Nothing may write to the source
    meanwhile.

    Args:
        source: what is copied.
        target: an empty store.
        into_filled: copy even if the target has facts already, to complete a copy that was
            interrupted; other facts in it stay.
        progress: called with a table's name, how many of its rows are written, and how many it has.

    Returns:
        Rows of each table that were copied.

    Raises:
        InputError: the target is not empty.
        StoreError: a store does not answer, or the copy has fewer or more rows than the source.
    """
    if not into_filled and any(target.counts().values()):
        raise InputError(
            f"{target.uri} is not empty; choose another store, or add --go-on to continue an "
            "interrupted copy"
        )
    copied = {}
    for name in SCHEMAS:
        table = source.read(name)
        for start in range(0, table.num_rows, ROWS):
            part = table.slice(start, ROWS)
            target.apply({name: part})
            progress(name, start + part.num_rows, table.num_rows)
        copied[name] = table.num_rows
    if not into_filled:
        there = target.counts()
        for name, rows in copied.items():
            if there[name] != rows:
                raise StoreError(
                    f"{target.uri} has {there[name]} rows of {name}, the source {rows}: one of "
                    "them was written to meanwhile; start again with an empty store"
                )
    return copied
