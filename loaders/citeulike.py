"""citeulike-a: researchers' libraries of papers, with titles, tags and citations.

Source: Wang, Chen and Li, Collaborative Topic Regression with Social Regularization for Tag
Recommendation, IJCAI 2013; https://github.com/js05212/citeulike-a. Licence: none is stated.

The id of a user, item or tag is the number of its line, from 0. A line begins with a count. A
citation stands in the lines of both papers, and its direction is not known. So it is stored once,
from the paper with the lower number, and the second mention counts as a duplicate. Tags have no
user, and nothing has a time.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from graph.model import EVENT_TAG_CATEGORY
from loaders.adjacency import Pairs, pairs
from loaders.format import Format, Member, Options, Source, beside, has_files, members
from loaders.lines import blocks
from loaders.reasons import LINE_TOO_LONG, UNKNOWN_LINE
from loaders.records import Chunk, Rejected, shortened

_FILES = (
    Member("titles.txt", "titles", "items"),
    Member("item-tag.dat", "tags", "items"),
    Member("citations.dat", "citations", "items"),
    Member("users.dat", "libraries", "events"),
)


def _sources(path: Path, options: Options) -> list[Source]:
    return members(path, options.part, _FILES, events_role="libraries", items_role="titles")


def _read(source: Source, _options: Options) -> Iterator[Chunk]:
    if source.role == "titles":
        yield from _titles(source)
        return
    names = _names(beside(source, "tags.dat")) if source.role == "tags" else None
    for block in pairs(source, counted=True):
        if source.role == "libraries":
            columns = {"user": block.first, "item": block.second, "kind": "save"}
            yield Chunk("events", columns, block.lines, block.done, rejected=block.rejected)
        elif source.role == "citations":
            yield _citations(block)
        else:
            yield _tags(block, names)


def _titles(source: Source) -> Iterator[Chunk]:
    for block in blocks(source.path, most=source.most_bytes):
        if block.too_long:
            raw = shortened(block.data.decode("utf-8", "backslashreplace"))
            rejected = (Rejected(block.first_line, LINE_TOO_LONG, raw),)
            yield Chunk("items", {}, np.zeros(0, np.int64), block.done, rejected=rejected)
            continue
        titles = block.data.split(b"\n")[:-1]
        lines = block.first_line + np.arange(len(titles), dtype=np.int64)
        columns = {
            "id": pa.array(lines - 1).cast(pa.string()),
            "title": pa.array(titles, pa.binary()),
        }
        yield Chunk("items", columns, lines, block.done)


def _citations(block: Pairs) -> Chunk:
    a, b = (pc.cast(side, pa.string()) for side in (block.first, block.second))
    longer = pc.greater(pc.binary_length(a), pc.binary_length(b))
    same = pc.equal(pc.binary_length(a), pc.binary_length(b))
    # This compares the numbers without parsing them.
    swap = pc.or_(longer, pc.and_(same, pc.greater(a, b)))
    columns = {
        "source": pc.if_else(swap, b, a),
        "target": pc.if_else(swap, a, b),
        "kind": "citation",
    }
    return Chunk("item_relations", columns, block.lines, block.done, rejected=block.rejected)


def _tags(block: Pairs, names: Any) -> Chunk:
    """Tags with their names, or with their numbers if no `tags.dat` lies beside the file."""
    tags, items, lines, rejected = block.second, block.first, block.lines, block.rejected
    if names is not None:
        rows = pc.index_in(tags, pa.array([b"%d" % row for row in range(len(names))]))
        known = rows.is_valid().to_numpy(False)
        unknown = [
            Rejected(int(lines[row]), UNKNOWN_LINE, f"tag={tags[row].as_py()!r}")
            for row in np.flatnonzero(~known)
        ]
        rejected, keep = (*rejected, *unknown), pa.array(known)
        items, lines, tags = items.filter(keep), lines[known], names.take(rows.filter(keep))
    columns = {"item": items, "category": EVENT_TAG_CATEGORY, "tag": tags}
    return Chunk("item_tags", columns, lines, block.done, rejected=rejected)


def _names(path: Path) -> Any:
    if not path.is_file():
        return None
    lines = [line for block in blocks(path) for line in block.data.split(b"\n")[:-1]]
    return pa.array(lines, pa.binary())


FORMAT = Format(
    name="citeulike",
    about="citeulike-a: users.dat, titles.txt, item-tag.dat, tags.dat, citations.dat",
    sources=_sources,
    read=_read,
    looks_like=lambda path: has_files(path, ("users.dat", "item-tag.dat")),
)
