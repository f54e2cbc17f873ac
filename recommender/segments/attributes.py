"""What users say about themselves as features: numbers, a column for each word, means of words.

An `Encoding` was learned at a refresh (`attribute_learning.py`) and is applied with numpy alone, so
that a worker encodes a user who came later just as the refresh did the others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from graph.arrays import F64
from recommender.ranking.attributes import as_number, as_texts

NUMBER, WORDS, MEANS = "number", "words", "means"
Attributes = Mapping[str, Any]


@dataclass(frozen=True)
class Encoded:
    """How one attribute becomes columns."""

    name: str
    kind: str  # NUMBER: itself; WORDS: 1 where the user says the word; MEANS: what the word means
    columns: tuple[str, ...]
    missing: tuple[float, ...]  # for users who do not give it
    words: tuple[str, ...] = ()  # of WORDS, one for each column; of MEANS, those known
    means: tuple[tuple[float, ...], ...] = ()  # of MEANS, for each word its columns
    other: tuple[float, ...] = ()  # of MEANS, of a word that is not known

    def of(self, value: object) -> Sequence[float]:
        """The columns of one user's value."""
        if self.kind == NUMBER:
            number = as_number(value)
            return self.missing if np.isnan(number) else (number,)
        words = as_texts(value)
        if not words:
            return self.missing
        if self.kind == WORDS:
            return [float(word in words) for word in self.words]
        return self.means[self.words.index(words[0])] if words[0] in self.words else self.other


@dataclass(frozen=True)
class Encoding:
    """How attributes become p columns."""

    attributes: tuple[Encoded, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """(p,) names of features."""
        return tuple(column for attribute in self.attributes for column in attribute.columns)

    def __call__(self, users: Sequence[Attributes]) -> F64:
        """(u, p) columns of users; an attribute that a user does not give has its typical value."""
        rows = [
            [
                number
                for attribute in self.attributes
                for number in attribute.of(user.get(attribute.name))
            ]
            for user in users
        ]
        return np.array(rows, np.float64).reshape(len(users), len(self.columns))

    def to_json(self) -> list[dict[str, Any]]:
        """As a manifest holds it."""
        return [asdict(attribute) for attribute in self.attributes]

    @classmethod
    def from_json(cls, content: Sequence[Mapping[str, Any]]) -> "Encoding":
        """What `to_json` wrote."""
        return cls(tuple(Encoded(**{k: _tuples(v) for k, v in entry.items()}) for entry in content))


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
