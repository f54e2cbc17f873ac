"""Checks a chunk, together with the rows of other tables that its rows imply."""

from collections.abc import Iterator

import pyarrow as pa

from loaders.records import Chunk, Rejected, explain, validate


def checked(chunk: Chunk, now: int) -> Iterator[tuple[str, pa.Table, list[Rejected], int]]:
    """For the chunk and its derived rows: table, good rows, rejects, dropped self-relations.

    Rows derived from a rejected row are dropped with it, but not counted as rejected again.
    """
    main = validate(chunk.table, chunk.columns, len(chunk.lines), now, chunk.forms)
    yield chunk.table, main.good, explain(chunk, main.codes), main.loops
    for derived in chunk.derived:
        columns, parents = derived.columns, derived.parents
        if not main.kept.all():
            alive = main.kept[parents]
            keep = pa.array(alive)
            columns = {
                name: column if isinstance(column, str) else column.filter(keep)
                for name, column in columns.items()
            }
            parents = parents[alive]
        valid = validate(derived.table, columns, len(parents), now)
        part = Chunk(derived.table, columns, chunk.lines[parents], chunk.done)
        yield derived.table, valid.good, explain(part, valid.codes), valid.loops
