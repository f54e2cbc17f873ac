"""hetrec2011-lastfm-2k: listeners, artists, plays, tags with dates, friends.

Source: Cantador, Brusilovsky and Kuflik, HetRec workshop at RecSys 2011;
https://grouplens.org/datasets/hetrec-2011. Licence: non-commercial.

A play's value is its count. Five tag dates lie before 1990, before there were such services, and
are rejected. 1,538 tag assignments name artists that `artists.dat` leaves out. Their ids are good
and the tags tell something, so they are kept, and these artists have no title. The file has each
friendship once in each direction, and so it is stored.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from loaders.format import Format, Member, Options, Source, beside, has_files, members
from loaders.reasons import UNKNOWN_LINE
from loaders.records import Chunk, Rejected, row_text
from loaders.separated import Dialect, cells

_FILES = (
    Member("artists.dat", "artists", "items"),
    Member("user_friends.dat", "friends", "events"),
    Member("user_artists.dat", "plays", "events"),
    Member("user_taggedartists.dat", "tags", "events"),
)
_TABS = Dialect(separator="\t", quotes=False)
_COLUMNS = {
    "artists": ("items", ("id", "title"), ""),
    "friends": ("user_relations", ("source", "target"), "friend"),
    "plays": ("events", ("user", "item", "value"), "play"),
    "tags": ("events", ("user", "item", "tag"), "tag"),
}
_WIDTHS = {"artists": 4, "friends": 2, "plays": 3, "tags": 6}


def _sources(path: Path, options: Options) -> list[Source]:
    return members(path, options.part, _FILES, events_role="plays", items_role="artists")


def _read(source: Source, _options: Options) -> Iterator[Chunk]:
    table, names, kind = _COLUMNS[source.role]
    tags = _tag_names(beside(source, "tags.dat")) if source.role == "tags" else None
    for part in cells(source.path, _TABS, _WIDTHS[source.role], source.most_bytes):
        columns: dict[str, Any] = dict(zip(names, part.columns, strict=False))
        if kind:
            columns["kind"] = kind
        if source.role == "tags":
            columns["at"] = _dates(*part.columns[3:])
        chunk = Chunk(table, columns, part.lines, part.done, rejected=part.rejected)
        yield chunk if tags is None else _with_tag_names(chunk, tags)


def _dates(day: Any, month: Any, year: Any) -> Any:
    """Dates in ISO 8601 from columns of numbers."""
    day, month = (pc.utf8_lpad(part.cast(pa.string()), 2, "0") for part in (day, month))
    return pc.binary_join_element_wise(year.cast(pa.string()), month, day, "-")


def _with_tag_names(chunk: Chunk, tags: tuple[Any, Any]) -> Chunk:
    ids, names = tags
    rows = pc.index_in(chunk.columns["tag"], ids)
    known = rows.is_valid().to_numpy(zero_copy_only=False)
    unknown = [
        Rejected(int(chunk.lines[row]), UNKNOWN_LINE, row_text(chunk.columns, int(row)))
        for row in np.flatnonzero(~known)
    ]
    columns = {
        name: column if isinstance(column, str) else column.filter(pa.array(known))
        for name, column in {**chunk.columns, "tag": names.take(rows)}.items()
    }
    return replace(
        chunk,
        columns=columns,
        lines=chunk.lines[known],
        rejected=(*chunk.rejected, *unknown),
    )


def _tag_names(path: Path) -> tuple[Any, Any] | None:
    """Ids and names of tags; None if the file is missing, and then tags are named by their ids."""
    if not path.is_file():
        return None
    parts = list(cells(path, replace(_TABS, encoding="latin-1"), 2))
    ids, names = (pa.concat_arrays([part.columns[side] for part in parts]) for side in (0, 1))
    return ids, names


FORMAT = Format(
    name="lastfm",
    about="hetrec2011-lastfm-2k: artists, plays, tags with dates, friends",
    sources=_sources,
    read=_read,
    looks_like=lambda path: has_files(path, ("user_artists.dat", "artists.dat")),
)
