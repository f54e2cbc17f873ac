"""MovieLens: ratings and free tags with times, films with titles, years and genres.

Source: Harper and Konstan, The MovieLens Datasets, ACM TiiS 5(4), 2015, doi 10.1145/2827872;
https://grouplens.org/datasets/movielens. Licence: research use, redistribution under the same
terms (see the README.txt of the data set).

`links.csv` (ids on other sites) is not read. A single file of another name is recognised by its
header.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from loaders import tabular
from loaders.format import Format, Member, Options, Source, has_files, members
from loaders.lines import first_line
from loaders.records import Chunk
from loaders.titles import with_years

_FILES = (
    Member("movies.csv", "movies", "items"),
    Member("ratings.csv", "ratings", "events"),
    Member("tags.csv", "tags", "events"),
)
_PAIR = {"user": "userId", "item": "movieId", "at": "timestamp"}
_OPTIONS = {
    "movies": Options(
        table="items",
        columns={"id": "movieId", "title": "title", "tags:genre": "genres"},
        separator=",",
    ),
    "ratings": Options(columns={**_PAIR, "value": "rating"}, separator=",", kind="rating"),
    "tags": Options(columns={**_PAIR, "tag": "tag"}, separator=",", kind="tag"),
}


def _sources(path: Path, options: Options) -> list[Source]:
    files = members(path, options.part, _FILES, events_role="ratings", items_role="movies")
    return [_by_header(source) for source in files]


def _by_header(source: Source) -> Source:
    """A file with a name that the data set does not have, recognised by its header."""
    header = first_line(source.path, most_bytes=source.most_bytes).split(b",")
    for role, column in (("movies", b"genres"), ("ratings", b"rating"), ("tags", b"tag")):
        if column in header:
            return replace(source, role=role)
    return source


def _read(source: Source, _options: Options) -> Iterator[Chunk]:
    for chunk in tabular.read(source, _OPTIONS[source.role]):
        yield _film(chunk) if source.role == "movies" else chunk


def _film(chunk: Chunk) -> Chunk:
    (genres,) = chunk.derived
    named = pc.not_equal(genres.columns["tag"], pa.scalar(b"(no genres listed)"))
    columns = {
        name: column if isinstance(column, str) else column.filter(named)
        for name, column in genres.columns.items()
    }
    parents = genres.parents[named.to_numpy(zero_copy_only=False)]
    derived = (replace(genres, columns=columns, parents=parents),)
    return replace(with_years(chunk), derived=derived)


FORMAT = Format(
    name="movielens",
    about="MovieLens: movies.csv, ratings.csv, tags.csv",
    sources=_sources,
    read=_read,
    looks_like=lambda path: has_files(path, ("movies.csv", "ratings.csv")),
)
