"""Adds the attributes that a load brings to those that items and users already have.

If one file has prices and another has colours, an item keeps both. Of one attribute the latest
value counts. A load that replaces (`--replace`) does not use this.
"""

import json

import pyarrow as pa
import pyarrow.compute as pc

from graph.store import GraphStore
from loaders.attributes import as_json

TABLES = ("items", "users")


class KnownAttributes:
    """The stored attributes, read once for each table, with the changes by this load."""

    def __init__(self, store: GraphStore) -> None:
        """Remember the store; nothing is read yet."""
        self._store = store
        self._known: dict[str, pa.Table] = {}
        self._merged: dict[tuple[str, str], str] = {}

    def with_known(self, table: str, batch: pa.Table) -> pa.Table:
        """The batch, its attributes joined with stored ones; other tables are left as they are."""
        if table not in TABLES or batch["attributes"].null_count == len(batch):
            return batch
        if table not in self._known:
            self._known[table] = self._store.read(table).select(["id", "attributes"])
        known = self._known[table]
        ids = batch["id"].cast(pa.string())
        rows = pc.index_in(ids, known["id"].cast(pa.string()).combine_chunks())
        before = pc.take(known["attributes"].combine_chunks(), rows).to_pylist()
        texts = []
        for name, stored, new in zip(
            ids.to_pylist(), before, batch["attributes"].to_pylist(), strict=True
        ):
            old = self._merged.get((table, name), stored)
            if new is None or old is None or new == old:
                text = new
            else:
                text = as_json(json.loads(old) | json.loads(new)).decode()
            if text is not None:
                self._merged[table, name] = text
            texts.append(text)
        position = batch.schema.get_field_index("attributes")
        column = pa.array(texts, pa.string()).cast(batch.schema.field(position).type)
        return batch.set_column(position, batch.schema.field(position), column)
