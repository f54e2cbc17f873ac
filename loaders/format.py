"""Defines a format: which files of a data set it reads, and how it makes chunks of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from graph.errors import InputError
from loaders.lines import MOST_UNPACKED
from loaders.records import Chunk

Part = Literal["all", "events", "items"]


@dataclass(frozen=True)
class Options:
    """What can be given about files besides their format; data sets use only `part`.

    Columns of the `table` format are named as in `graph.model.SCHEMAS`, with two shorthands:
    `tags` and `domains` of an item file hold lists, and `tags:CATEGORY` holds tags of a category.
    `attr:NAME` or `attr:NAME:TYPE` makes a column an attribute; types are in `columns.TYPES`.
    A column is given by its name in the header, or by its position from 1.
    """

    table: str = "events"  # what the rows of a `table` file are: a name of SCHEMAS
    columns: Mapping[str, str | int] = field(default_factory=dict)
    separator: str | None = None  # None: by the file's name, else by its first line
    header: bool = True
    encoding: str = "utf-8"
    kind: str | None = None  # for events and relations that name none
    list_separator: str | None = None  # inside a cell of several tags; None: found from the column
    separators: Mapping[str, str] = field(default_factory=dict)  # the same, for single lists
    attributes: tuple[str, ...] | Literal["all"] = ()  # unused columns that become attributes
    quotes: bool = True  # whether quotes may hold a cell together
    ordered: bool = False  # whether rows, or a list, are in order of time
    scale: tuple[float, float] | None = None  # of ratings; None: found from the file
    part: Part = "all"  # of a data set: only events, or only facts about items


@dataclass(frozen=True)
class Source:
    """One file to be read, and what it is in its data set."""

    path: Path
    role: str
    most_bytes: int = MOST_UNPACKED  # that may come out when it is unpacked
    names: Mapping[str, str] = field(default_factory=dict)  # anonymous id -> user, over all files


@dataclass(frozen=True)
class Format:
    """A kind of file or data set that can be loaded."""

    name: str
    about: str  # one sentence, with source and licence
    sources: Callable[[Path, Options], list[Source]]  # the files of a given path, in reading order
    read: Callable[[Source, Options], Iterator[Chunk]]
    looks_like: Callable[[Path], bool]  # cheap; only for hints in messages, never for decisions
    together: Callable[[list[Source], Options], list[Source]] = lambda sources, _: sources
    # adds to each file of a load what only all of them say


@dataclass(frozen=True)
class Member:
    """A file that belongs to a data set."""

    name: str
    role: str
    part: Part


def members(
    path: Path,
    part: Part,
    known: Sequence[Member],
    *,
    events_role: str,
    items_role: str,
) -> list[Source]:
    """The files of a data set's folder, or the one file given, in the order of `known`.

    A single file with an unknown name is read as interactions, or as items if `part` is so set.

    Raises:
        InputError: the path is not there, or nothing in the folder belongs to the data set.
    """
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder")
    if path.is_dir():
        files = [
            Source(path / file, member.role)
            for member in known
            if part in ("all", member.part)
            for file in (member.name, f"{member.name}.gz")
            if (path / file).is_file()
        ]
        if not files:
            names = ", ".join(m.name for m in known if part in ("all", m.part))
            raise InputError(f"{path}: none of the files of this data set is here ({names})")
        return files
    plain = path.name.removesuffix(".gz")
    for member in known:
        if plain == member.name and part in ("all", member.part):
            return [Source(path, member.role)]
    return [Source(path, items_role if part == "items" else events_role)]


def has_files(path: Path, names: Sequence[str]) -> bool:
    """Whether a folder holds all of these files, gzipped or not."""
    return all((path / name).is_file() or (path / f"{name}.gz").is_file() for name in names)


def beside(source: Source, name: str) -> Path:
    """A file of the same folder, gzipped or not; it need not exist."""
    plain = source.path.parent / name
    zipped = source.path.parent / f"{name}.gz"
    return zipped if zipped.is_file() and not plain.is_file() else plain
