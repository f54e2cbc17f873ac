"""Finds the years in titles such as `The Bank (1915)`."""

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from loaders.records import Chunk


def with_years(chunk: Chunk) -> Chunk:
    """The items, with the year at the end of a title as the attribute `year`."""
    matches = pc.extract_regex(chunk.columns["title"], r"\((?P<year>[0-9]{4})\)\s*$")
    years = pc.struct_field(matches, "year")
    attributes = pc.binary_join_element_wise(
        pa.scalar(b'{"year": '), years, pa.scalar(b"}"), pa.scalar(b"")
    )
    return replace(chunk, columns={**chunk.columns, "attributes": attributes})
