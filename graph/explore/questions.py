"""Ready-made questions about the graph: each has a title, a sentence, Cypher and an example."""

import datetime as dt
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from graph.dates import seconds_of
from graph.errors import InputError, NotFound
from graph.whole import whole_number

FILE = "questions.toml"


@dataclass(frozen=True)
class Question:
    """One question; `parameters` holds an example for each, which is also its default."""

    name: str
    title: str
    sentence: str
    query: str
    parameters: dict[str, Any] = field(default_factory=dict)
    times: frozenset[str] = frozenset()  # parameters that are times, in seconds since 1970
    picture: bool = False  # answers with paths, worth drawing


def questions() -> dict[str, Question]:
    """All questions by name, in the order of the file."""
    text = resources.files("graph.explore").joinpath(FILE).read_text(encoding="utf-8")
    return {name: _question(name, facts) for name, facts in tomllib.loads(text).items()}


def _question(name: str, facts: dict[str, Any]) -> Question:
    parameters = facts.get("parameters", {})
    times = frozenset(key for key, value in parameters.items() if isinstance(value, dt.date))
    seconds = {key: seconds_of(str(parameters[key])) for key in times}
    own = {"query": facts["query"].strip(), "parameters": parameters | seconds, "times": times}
    return Question(name=name, **(facts | own))


def question(name: str) -> Question:
    """One question by name; `NotFound` lists those that exist."""
    known = questions()
    if name not in known:
        raise NotFound(f"There is no question {name!r}; there are {', '.join(known)}.")
    return known[name]


def filled(
    chosen: Question, named: Mapping[str, str], releases: Mapping[str, int] | None = None
) -> dict[str, Any]:
    """The parameters of a question; given texts are converted to the types of the examples.

    Args:
        chosen: the question.
        named: values as people write them; times as dates, seconds, or names of releases.
        releases: when each release was made, in seconds since 1970, the oldest first.

    Raises:
        InputError: the question has no parameter of that name, or a text does not fit.
    """
    made = dict(releases or {})
    parameters = dict(chosen.parameters)
    if {"from_time", "to_time"} <= chosen.times and len(made) >= 2:
        parameters |= dict(zip(("from_time", "to_time"), list(made.values())[-2:], strict=True))
    for name, text in named.items():
        if name not in parameters:
            there = ", ".join(parameters) or "none"
            raise InputError(f"{chosen.name} has no parameter {name!r}; there are: {there}")
        example = parameters[name]
        if name in chosen.times:
            parameters[name] = _moment(chosen.name, name, text, made)
            continue
        try:
            parameters[name] = text if isinstance(example, str) else type(example)(text)
        except ValueError:
            kind = "a whole number" if isinstance(example, int) else "a number"
            raise InputError(f"{chosen.name}: {name} must be {kind}, not {text!r}") from None
    return parameters


def _moment(question: str, name: str, text: str, releases: Mapping[str, int]) -> int:
    """A time as people write it: the name of a release, or how it begins; a date; or seconds."""
    named = [when for release, when in releases.items() if release.startswith(text)]
    if len(named) == 1:
        return named[0]
    number = whole_number(text.removeprefix("-"))
    if number is not None and len(text) > len("2024"):
        return -number if text.startswith("-") else number
    seconds = seconds_of(text)
    if seconds is None:
        raise InputError(
            f"{question}: {name} must be a date such as 2024-12-01, or the name of a release, "
            f"not {text!r}"
        )
    return seconds
