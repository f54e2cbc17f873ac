"""MovieTweetings: film ratings from tweets, from 0 to 10, with times, titles and genres.

Source: Dooms, De Pessemier and Martens, MovieTweetings: a movie rating dataset collected from
Twitter, CrowdRec at RecSys 2013; https://github.com/sidooms/MovieTweetings. Licence: MIT.

Ids of films are those of IMDb and keep their leading zeros.
"""

from collections.abc import Iterator
from pathlib import Path

from loaders import tabular
from loaders.format import Format, Member, Options, Source, has_files, members
from loaders.records import Chunk
from loaders.titles import with_years

_FILES = (Member("movies.dat", "movies", "items"), Member("ratings.dat", "ratings", "events"))
_OPTIONS = {
    "movies": Options(
        table="items",
        columns={"id": 1, "title": 2, "tags:genre": 3},
        separator="::",
        header=False,
    ),
    "ratings": Options(
        columns={"user": 1, "item": 2, "value": 3, "at": 4},
        separator="::",
        header=False,
        kind="rating",
    ),
}


def _sources(path: Path, options: Options) -> list[Source]:
    return members(path, options.part, _FILES, events_role="ratings", items_role="movies")


def _read(source: Source, _options: Options) -> Iterator[Chunk]:
    for chunk in tabular.read(source, _OPTIONS[source.role]):
        yield with_years(chunk) if source.role == "movies" else chunk


FORMAT = Format(
    name="movietweetings",
    about="MovieTweetings: movies.dat, ratings.dat",
    sources=_sources,
    read=_read,
    looks_like=lambda path: has_files(path, ("movies.dat", "ratings.dat")),
)
