"""Every format that can be loaded, by name."""

from pathlib import Path

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
    """The format that a path looks like, or None, for a hint; data sets come before tables."""
    for form in reversed(FORMATS.values()):
        if form.looks_like(path):
            return form.name
    return None
