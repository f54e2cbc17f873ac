"""Every format that can be loaded, by name."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from graph.errors import InputError
from loaders import (
    citeulike,
    ga4,
    lastfm,
    lightgcn,
    movielens,
    movietweetings,
    segment,
    snowplow,
    tabular,
)
from loaders.format import Format

FORMATS: dict[str, Format] = {
    module.FORMAT.name: module.FORMAT
    for module in (
        tabular,
        citeulike,
        lastfm,
        movielens,
        movietweetings,
        lightgcn,
        segment,
        snowplow,
        ga4,
    )
}


def sniff(path: Path) -> str | None:
    """The format that a path looks like, or None; data sets come before tables."""
    for form in reversed(FORMATS.values()):
        if form.looks_like(path):
            return form.name
    return None


@contextmanager
def hinted(paths: Sequence[Path], name: str) -> Iterator[None]:
    """Add to an error about files, read as the format `name`, which format they look like."""
    try:
        yield
    except InputError as error:
        for path in paths:
            other = sniff(path)
            if other not in (None, name):
                hint = f"{path} looks like the format {other}: add --format {other}"
                raise type(error)(f"{error}; {hint}") from error
        raise
