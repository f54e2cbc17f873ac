"""A batch made ready to be written: checked and normalised, the same for every store."""

import unicodedata
from collections.abc import Collection, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from graph.errors import InputError
from graph.model import ITEM_PARTS, SCHEMAS, TAG_SEPARATOR, Batch

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
    """The tables of a batch that have rows, in the order and columns of `SCHEMAS`.

    Ids and names are NFC and dictionary-encoded in one chunk (a dictionary may name the same id
    twice, when the input had two spellings of it). A value that is not finite is null, a weight
    that is null or not finite is 1, an event's empty tag or event id is null.

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
    """Which parts of which items go before a prepared batch is written: part -> ids.

    Raises:
        InputError: an item has no such part.
    """
    parts = {part: [nfc(item) for item in items] for part, items in (clear or {}).items()}
    unknown = sorted(set(parts) - set(ITEM_PARTS))
    if unknown:
        raise InputError(f"{unknown[0]}: no part of an item; there are {', '.join(ITEM_PARTS)}")
    if replace and "items" in tables:
        items = tables["items"]["id"].to_pylist()
        parts = {part: [*parts.get(part, ()), *items] for part in ITEM_PARTS}
    return {part: list(dict.fromkeys(items)) for part, items in parts.items() if items}


def nfc(name: str) -> str:
    """An id as the store knows it."""
    return unicodedata.normalize("NFC", name)


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
        column = pc.if_else(pc.equal(column, ""), None, column)
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
    if not pc.all(pc.string_is_ascii(spelled)).as_py():  # Arrow's utf8_normalize decomposes (25.0)
        spelled = pa.array([nfc(name) for name in spelled.to_pylist()], pa.string())
    return pa.DictionaryArray.from_arrays(column.indices, spelled)
