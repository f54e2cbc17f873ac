"""Loads that replace: finds which tables one fills, what it names, and what it would hide.

`--replace` works table by table. A file of items replaces the stored facts of each item it names
(tags and domains only if the file has such columns) and hides the items that it does not name.
Tags, domains and relations in files of their own are replaced for each item, or user, that the
file names. So are attributes of users. Events are only ever added.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from graph.errors import InputError, LoadRefused
from graph.model import SCHEMAS
from graph.store import GraphStore
from loaders.checking import checked
from loaders.format import Format, Options, Source
from loaders.staging import BATCH_ROWS

OWNERS = {
    "items": "id",
    "item_tags": "item",
    "item_domains": "item",
    "item_relations": "source",
    "users": "id",
    "user_relations": "source",
}
"""Table -> the column with the items or users whose rows are replaced."""
PARTS_OF = {
    "item_tags": "tags",
    "item_domains": "domains",
    "item_relations": "relations",
    "user_relations": "user_relations",
}
"""Table of links -> its name in `graph.model.PARTS`."""


@dataclass
class Named:
    """The items and users that the files of a load name, by table."""

    _ids: dict[str, list[Any]] = field(default_factory=dict)  # table -> arrays of owners
    _used: list[Any] = field(default_factory=list)  # items that events name

    def add(self, table: str, rows: pa.Table) -> None:
        """Remember the items or users of these rows."""
        if not rows.num_rows:
            return
        if table == "events":
            self._used.append(rows.column("item").unique())
        else:
            self._ids.setdefault(table, []).append(rows.column(OWNERS[table]).unique())

    def check(self, store: GraphStore | None, format_name: str, most: float) -> None:
        """Refuse to hide more than the share `most` of the items that are shown now.

        Raises:
            InputError: the files hold only events, which cannot be replaced.
            LoadRefused: too many would be hidden.
        """
        if not self._ids and not self._used:
            raise InputError("there is no row to load, so nothing is replaced")
        if format_name == "table" and not self._ids:
            raise InputError(
                "--replace is for items, users, tags, domains and relations; events are only "
                "added: undo the load they came from with `nichegraph loads undo`"
            )
        if store is None:
            return
        shown, missing = self._missing(store)
        if len(missing) > most * shown:
            raise LoadRefused(
                f"--replace would hide {len(missing):,} of {shown:,} items, more than {most:.0%}, "
                f"as these files do not name them (such as {missing[0].as_py()!r}); if you mean "
                "that, allow it with --max-hidden 1"
            )

    def gone(self, table: str, rows: pa.Table) -> dict[str, list[str]]:
        """What is taken away from the nodes of a batch, see `GraphStore.apply`."""
        parts = {"items": ("title", "created_at", "attributes"), "users": ("user_attributes",)}
        return {part: rows.column("id").to_pylist() for part in parts.get(table, ())}

    def make_room(self, store: GraphStore, load: int) -> None:
        """Take away the links that the files bring anew."""
        for table, part in PARTS_OF.items():
            ids = pa.concat_arrays(self._ids.get(table, []) or [pa.array([], pa.string())]).unique()
            for start in range(0, len(ids), BATCH_ROWS):
                names = ids.slice(start, BATCH_ROWS).to_pylist()
                store.apply({}, clear={part: names}, load=load)

    def hide_missing(self, store: GraphStore, load: int) -> int:
        """Hide the stored items that are not named; gives how many of them were shown before."""
        _, ids = self._missing(store)
        for start in range(0, len(ids), BATCH_ROWS):
            part = ids.slice(start, BATCH_ROWS)
            hidden = pa.repeat(pa.scalar(True), len(part))
            batch = _bare("items", part)
            batch = batch.set_column(batch.column_names.index("hidden"), "hidden", hidden)
            store.apply({"items": batch}, load=load)
        return len(ids)

    def _missing(self, store: GraphStore) -> tuple[int, Any]:
        """How many items are shown now, and those of them that no file names.

        Without a table of items, those that events name count as named; without events too, none is
        missing.
        """
        parts = self._ids.get("items") or ([] if self._ids else self._used)
        items = store.read("items").select(["id", "hidden"])
        ids = items.column("id").cast(pa.string())
        shown = pc.invert(items.column("hidden").fill_null(False))
        if not parts:
            return int(pc.sum(shown).as_py() or 0), pa.array([], pa.string())
        named = pa.concat_arrays(parts).unique()
        missing = pc.and_(pc.invert(pc.is_in(ids, named)), shown)
        return int(pc.sum(shown).as_py() or 0), ids.filter(missing).combine_chunks()


def everything_named(form: Format, sources: Sequence[Source], options: Options, now: int) -> Named:
    """Read files once, only to find the items and users that they name."""
    named = Named()
    for source in sources:
        for chunk in form.read(source, options):
            ids: Any = None
            for table, good, _, _ in checked(chunk, now):
                if table == chunk.table:
                    ids = good
                    named.add(table, good)
                else:  # so an item whose list is now empty loses its old one
                    named.add(table, ids.select(["id"]).rename_columns([OWNERS[table]]))
    return named


def _bare(table: str, ids: Any) -> pa.Table:
    """Rows of a table of nodes with nothing but their ids."""
    columns = {field.name: pa.nulls(len(ids), field.type) for field in SCHEMAS[table]}
    return pa.table(columns | {"id": ids}, schema=SCHEMAS[table])
