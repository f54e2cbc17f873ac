"""The ready-made questions about the graph: a title, a sentence, Cypher, and an example."""

import tomllib
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from graph.errors import InputError, NotFound

FILE = "questions.toml"


@dataclass(frozen=True)
class Question:
    """One question; `parameters` holds an example for each, which is also its default."""

    name: str
    title: str
    sentence: str
    query: str
    parameters: dict[str, Any] = field(default_factory=dict)
    picture: bool = False  # answers with paths, worth drawing


def questions() -> dict[str, Question]:
    """All questions by name, in the order of the file."""
    text = resources.files("graph.explore").joinpath(FILE).read_text(encoding="utf-8")
    return {
        name: Question(name=name, **(facts | {"query": facts["query"].strip()}))
        for name, facts in tomllib.loads(text).items()
    }


def question(name: str) -> Question:
    """One question by name; `NotFound` says what there is."""
    known = questions()
    if name not in known:
        raise NotFound(f"There is no question {name!r}; there are {', '.join(known)}.")
    return known[name]


def filled(asked: Question, given: dict[str, str]) -> dict[str, Any]:
    """The parameters of a question: what is given as text in the type of its example.

    Raises:
        InputError: a name the question does not have, or a text that is not a number.
    """
    parameters = dict(asked.parameters)
    for name, text in given.items():
        if name not in parameters:
            there = ", ".join(parameters) or "none"
            raise InputError(f"{asked.name} has no parameter {name!r}; there are: {there}")
        example = parameters[name]
        try:
            parameters[name] = text if isinstance(example, str) else type(example)(text)
        except ValueError:
            kind = "a whole number" if isinstance(example, int) else "a number"
            raise InputError(f"{asked.name}: {name} must be {kind}, not {text!r}") from None
    return parameters
