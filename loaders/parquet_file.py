"""Reads a Parquet file batch by batch, in bounded memory.

A few kilobytes can hold billions of rows, or one long text a million times. So the bytes that come
out are counted as they come, and a text that the file keeps once is not repeated until then.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from graph.arrays import I64
from graph.errors import InputError
from loaders.lines import too_large

FIRST_ROWS = 4_096  # in the first batch; later ones are larger if rows are small
MOST_ROWS = 100_000
BATCH_BYTES = 1 << 26  # about so many come out at once


def batches(
    path: Path, nested: Sequence[str], most: int
) -> Iterator[tuple[list[str], list[Any], I64, int]]:
    """Names of columns, columns (n,), numbers of rows from 1 (n,), and bytes of the file so far.

    Args:
        path: the file.
        nested: names such as `user.id` of values inside objects; each becomes a column.
        most: how many bytes may come out of the file.

    Raises:
        InputError: the file is damaged, or has more than `most` bytes.
    """
    try:
        with parquet.ParquetFile(path) as plain:
            about, schema = plain.metadata, plain.schema_arrow
            repeated = _repeated_texts(plain)
        stored = sum(
            about.row_group(group).total_byte_size for group in range(about.num_row_groups)
        )
        if stored > most:
            raise too_large(path, most)
        if not about.num_rows:
            nothing = [pa.nulls(0, kind) for kind in schema.types]
            yield list(schema.names), nothing, np.zeros(0, np.int64), path.stat().st_size
            return
        with parquet.ParquetFile(path, read_dictionary=repeated) as file:
            yield from _counted(file, path, nested, most)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: the Parquet file is damaged: {error}") from error


def _counted(
    file: parquet.ParquetFile, path: Path, nested: Sequence[str], most: int
) -> Iterator[tuple[list[str], list[Any], I64, int]]:
    size, total = path.stat().st_size, file.metadata.num_rows
    row, unpacked = 0, 0
    for batch in _small_batches(file):
        unpacked += sum(map(_bytes_of, batch.columns))
        if unpacked > most:
            raise too_large(path, most)
        names, columns = list(batch.schema.names), [_plain(column) for column in batch.columns]
        lines = np.arange(row + 1, row + 1 + batch.num_rows, dtype=np.int64)
        row += batch.num_rows
        for name in nested:
            head, _, step = name.partition(".")
            if name in names or head not in names:
                continue
            column = columns[names.index(head)]
            if pa.types.is_struct(column.type) and column.type.get_field_index(step) >= 0:
                names.append(name)
                columns.append(column.field(step))
        yield names, columns, lines, size * row // total


def _small_batches(file: parquet.ParquetFile) -> Iterator[Any]:
    """Batches of about BATCH_BYTES, judged by the first rows."""
    for batch in file.iter_batches(FIRST_ROWS, use_threads=False):
        rows = max(FIRST_ROWS, BATCH_BYTES * batch.num_rows // max(1, batch.nbytes))
        break
    yield from file.iter_batches(min(MOST_ROWS, rows), use_threads=False)


def _repeated_texts(file: parquet.ParquetFile) -> list[str]:
    """Columns of texts that the file keeps once for many rows."""
    texts = [
        field.name
        for field in file.schema_arrow
        if pa.types.is_string(field.type) or pa.types.is_binary(field.type)
    ]
    kept = set()
    for group in range(file.metadata.num_row_groups):
        about = file.metadata.row_group(group)
        for number in range(about.num_columns):
            column = about.column(number)
            if column.path_in_schema in texts and column.has_dictionary_page:
                kept.add(column.path_in_schema)
    return sorted(kept)


def _bytes_of(column: Any) -> int:
    """Bytes of a column when each text is written out."""
    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    lengths = pc.binary_length(column.dictionary).to_numpy(zero_copy_only=False)
    used = column.indices.drop_null().to_numpy()
    return int(lengths.astype(np.int64)[used].sum()) + 4 * len(column)


def _plain(column: Any) -> Any:
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
