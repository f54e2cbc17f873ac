"""Adjacency lists as used by LightGCN and its followers: a line is `user item item …`.

Source: He et al., LightGCN, SIGIR 2020; https://github.com/gusye1234/LightGCN-PyTorch. Licence:
none is stated there; the Gowalla check-ins behind it come from SNAP
(https://snap.stanford.edu/data/loc-gowalla.html).

Of a folder `train.txt` and `test.txt` are read; a single file of any name is one list. Ids are
those of the files (`remap_id`). If `item_list.txt` and `user_list.txt` lie in the folder, the
attribute `org_id` holds the original ids.

Lists hold no times. `--ordered` says that they are in order of time: then the k-th entry of a list
gets the time k seconds after 1990-01-01, in `test.txt` a month later. Only the order of these times
means something. On Gowalla the lists are in order of the visits: the places that users visit in the
test part are by a third nearer to the last sixth of their train lists than to the first. Lists
sorted by id are refused.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from loaders.adjacency import pairs
from loaders.format import Format, Member, Options, Source, has_files, members
from loaders.order import check_order
from loaders.records import EARLIEST_EVENT, Chunk
from loaders.separated import Dialect, cells
from loaders.understood import Understood

TEST = "test.txt"
A_MONTH = 30 * 86_400  # longer than any list

_FILES = (
    Member("item_list.txt", "items", "items"),
    Member("user_list.txt", "users", "items"),
    Member("train.txt", "visits", "events"),
    Member(TEST, "visits", "events"),
)


def _sources(path: Path, options: Options) -> list[Source]:
    return members(path, options.part, _FILES, events_role="visits", items_role="items")


def _read(source: Source, options: Options) -> Iterator[Chunk]:
    if source.role == "visits":
        order = "that of their lists" if options.ordered else "none; if lists have one: --ordered"
        understood: Understood | None = Understood(taken={"time": order})
        for block in pairs(source, counted=False):
            columns = {"user": block.first, "item": block.second, "kind": "visit"}
            if options.ordered:
                check_order(source.path, block.first, block.second)
                at = EARLIEST_EVENT + block.places + (A_MONTH if source.path.name == TEST else 0)
                columns["at"] = pa.array(at, pa.int64())
            chunk = Chunk("events", columns, block.lines, block.done, rejected=block.rejected)
            yield replace(chunk, understood=understood)
            understood = None
        return
    for part in cells(
        source.path, Dialect(separator=" ", quotes=False), width=2, most=source.most_bytes
    ):
        before, now = part.columns
        number = pc.match_substring_regex(before, r"^[0-9]{1,18}$")
        before = pc.if_else(number, before, pa.scalar(b"null"))
        attributes = pc.binary_join_element_wise(
            pa.scalar(b'{"org_id": '), before, pa.scalar(b"}"), pa.scalar(b"")
        )
        columns = {"id": now, "attributes": attributes}
        yield Chunk(source.role, columns, part.lines, part.done, rejected=part.rejected)


FORMAT = Format(
    name="lightgcn",
    about="adjacency lists of LightGCN: train.txt and test.txt, or one such file",
    sources=_sources,
    read=_read,
    looks_like=lambda path: has_files(path, ("train.txt", "test.txt")),
)
