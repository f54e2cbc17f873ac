"""Makes a batch ready to be written: checked and normalised, the same for every store."""

from collections.abc import Collection, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from graph.errors import InputError
from graph.ids import as_id, as_ids, as_kinds
from graph.model import ITEM_PARTS, PARTS, SCHEMAS, TAG_SEPARATOR, Batch

REQUIRED = {
    "users": ("id",),
    "items": ("id",),
    "item_tags": ("item", "category", "tag"),
    "item_domains": ("item", "domain"),
    "events": ("user", "item", "kind"),
    "item_relations": ("source", "target", "kind"),
    "user_relations": ("source", "target", "kind"),
}
_PLAIN_TEXT = {"title", "attributes", "event_id"}  # mostly distinct: not worth a dictionary


def prepared(batch: Batch) -> dict[str, pa.Table]:
    """The tables of a batch that have rows, in the order of `SCHEMAS` and with its columns.

    Ids and names are normalised by `graph.ids` and dictionary-encoded in one chunk; the
    dictionary may hold an id twice when the input had two spellings of it. A value that is not
    finite becomes null, a weight that is null or not finite becomes 1, and an event's empty tag
    or event id becomes null.

    Raises:
        InputError: an unknown table, a column of another type, a required id that is missing or
            empty, a category with the separator of tag keys in it, a weight that is not positive.
    """
    unknown = sorted(set(batch) - set(SCHEMAS))
    if unknown:
        raise InputError(f"{unknown[0]}: no such table; there are {', '.join(SCHEMAS)}")
    return {
        name: _prepared(name, batch[name])
        for name in SCHEMAS
        if name in batch and batch[name].num_rows
    }


def cleared(
    tables: dict[str, pa.Table], clear: Mapping[str, Collection[str]] | None, *, replace: bool
) -> dict[str, list[str]]:
    """The parts to take away before a prepared batch is written: part -> ids that lose it.

    Raises:
        InputError: there is no such part.
    """
    parts = {part: [as_id(name) for name in names] for part, names in (clear or {}).items()}
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        raise InputError(f"{unknown[0]}: no part of an item or user; there are {', '.join(PARTS)}")
    if replace and "items" in tables:
        items = tables["items"]["id"].to_pylist()
        parts |= {part: [*parts.get(part, ()), *items] for part in ITEM_PARTS}
    return {part: list(dict.fromkeys(names)) for part, names in parts.items() if names}


def no_such_load(load: int, *, undone: bool) -> str:
    """Why a load cannot be undone."""
    if undone:
        return f"load {load} was undone already"
    return f"there is no load {load}; `nichegraph loads list` shows them"


def _prepared(name: str, table: pa.Table) -> pa.Table:
    columns = [_column(name, field, table) for field in SCHEMAS[name]]
    return pa.table(columns, names=SCHEMAS[name].names)


def _column(name: str, field: pa.Field, table: pa.Table) -> Any:
    if field.name not in table.column_names:
        column = pa.nulls(table.num_rows, field.type)
    else:
        try:
            column = table.column(field.name).cast(field.type).combine_chunks()
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise InputError(f"{name}.{field.name}: {error}") from error
    if field.type == pa.string() and field.name not in ("title", "attributes"):
        column = pc.if_else(pc.equal(pc.utf8_trim_whitespace(column), ""), None, column)
    if field.name in REQUIRED[name] and column.null_count:
        row = pc.index(pc.is_null(column), True).as_py()
        raise InputError(f"{name}.{field.name}: row {row} of the batch has none")
    if field.name == "value":
        return pc.if_else(pc.is_finite(column), column, None)
    if field.name == "weight":
        column = pc.if_else(pc.is_finite(column), column, 1.0).fill_null(1.0)
        if pc.any(pc.less_equal(column, 0.0)).as_py():
            raise InputError(f"{name}.weight: a weight must be positive; leave such rows out")
        return column
    if field.type != pa.string() or field.name in _PLAIN_TEXT:
        return column
    column = column.dictionary_encode()
    spelled = column.dictionary
    if field.name == "category" and pc.any(pc.match_substring(spelled, TAG_SEPARATOR)).as_py():
        raise InputError(f"{name}.category: a category may not hold the character U+001F")
    spelled = as_kinds(spelled) if field.name == "kind" else as_ids(spelled)
    return pa.DictionaryArray.from_arrays(column.indices, spelled)
