"""Unknown names of domains and tags, noted with the most similar names."""

import difflib
from collections.abc import Iterator

from graph.ids import as_word
from graph.vocabulary import Vocabulary
from recommender.ranking.filters import Filters
from recommender.ranking.request import Filter
from recommender.releases.release import Release

MOST_NEAR = 3  # names that are offered
MOST_COMPARED = 1_000  # names that are compared letter by letter: there may be millions
MOST_NOTES = 5


def notes_on(wanted: Filter, release: Release, filters: Filters) -> list[str]:
    """A note for each of the first domains and tags of a filter that the release does not know."""
    parts = list(_all(wanted))
    domains = dict.fromkeys(name for part in parts for name in part.domains)
    tags = dict.fromkeys(
        name for part in parts for name in (*part.tags_all, *part.tags_any, *part.tags_none)
    )
    unknown_names = [
        *(("domain", name, release.domains) for name in domains if name not in release.domains),
        *(("tag", name, release.tag_names) for name in tags if not len(filters.tag_rows(name))),
    ]
    return [unknown(*each) for each in unknown_names[:MOST_NOTES]]


def unknown(noun: str, name: str, known: Vocabulary) -> str:
    """A note that a name is not known, and which names are near it."""
    near = near_names(name, known)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    return f"the {noun} {name!r} is not known{hint}"


def near_names(name: str, known: Vocabulary) -> list[str]:
    """The names most like this one, first those that differ only in case. If there are very many,
    only names that begin alike are compared.
    """
    wanted = as_word(name)
    names = list(known) if len(known) <= MOST_COMPARED else _beginning_like(wanted, known)
    words = {as_word(other): other for other in reversed(names)}
    return [words[word] for word in difflib.get_close_matches(wanted, words, MOST_NEAR)]


def _beginning_like(wanted: str, known: Vocabulary) -> list[str]:
    """The names around the place where this one, or its usual spellings, would stand."""
    candidates: dict[str, None] = {}
    spellings = dict.fromkeys((wanted, wanted.capitalize(), wanted.title()))
    for spelling in spellings:
        middle = known.position(spelling)
        half = MOST_COMPARED // (2 * len(spellings))
        rows = range(max(middle - half, 0), min(middle + half, len(known)))
        candidates |= dict.fromkeys(known.ids(rows))
    return list(candidates)


def _all(wanted: Filter) -> Iterator[Filter]:
    yield wanted
    for part in (*wanted.all_of, *wanted.any_of, *wanted.none_of):
        yield from _all(part)
