"""Holds what the reader of a query knows on its way from word to word, and what it writes.

`Piece` is a part of the query as it will be run; `Cursor` is a place in the query and what was read
before it.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

from graph.dates import seconds_of
from graph.explore.cypher_subqueries import rewritten
from graph.explore.cypher_tokens import Token, refuse, tokens_of, unescaped
from graph.explore.cypher_words import RESERVED

MOST_BRACKETS = 24  # inside each other, as parsers are recursive
MOST_LINKS = 12  # relationships in all patterns; a planner's work grows exponentially in them
MOST_SUMS = 12  # as each + can double a text or list
MOST_GROWTH = 1 << MOST_SUMS  # how many times longer all of it together may make a text
LONGEST_IN_LOOP = 1_000  # letters of a text that a loop over a list may repeat
LIFTED = "_text"  # texts become the parameters $_text0, $_text1, …
MOMENT = "_time"  # parameters that are dates become $_time0, …: seconds since 1970

Apart = frozenset[frozenset[str]]


@dataclass(frozen=True)
class Piece:
    """A part of a query, written for the engine."""

    text: str
    kind: str = ""  # time (seconds), timestamp, date, span, number, text, labels
    seconds: str | None = None  # as text, of a moment or span that is written out
    string: str | None = None  # the text it is, if it is one
    parameter: str | None = None  # the parameter it is, if it is one
    variable: str | None = None  # the variable it is, or whose property it is
    entries: "dict[str, Piece] | None" = None  # the entries of a map that is written out
    aggregate: bool = False
    apart: Apart = frozenset()  # pairs of variables that must differ where this holds


@dataclass
class Loop:
    """A loop over a list that is being read."""

    total: str | None = None  # the running total of `reduce`
    uses: int = 0  # how often the total was used


@dataclass
class Cursor:
    """A place in the tokens of a query; `file` tells the embedded engine from a server."""

    query: str
    file: bool
    arguments: dict[str, Any]
    strings: dict[str, Any] = field(default_factory=dict)
    parameters: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)  # that were declared
    kinds: dict[str, str] = field(default_factory=dict)  # of variables that are moments
    loops: list[Loop] = field(default_factory=list)
    wheres: list[str] = field(default_factory=list)  # conditions inside nodes, for the next WHERE
    at: int = 0
    depth: int = 0
    links: int = 0
    sums: int = 0
    growth: float = 1.0
    made: int = 0  # names given to relationships
    kept: list[str] = field(default_factory=list)  # names that the last WITH left
    since: int = 0  # the place where that WITH ended

    def __post_init__(self) -> None:
        """Split the query."""
        self.query, tokens = tokens_of(self.query)
        self.tokens = rewritten(tokens)
        stars = [
            self.tokens[index].upper
            for index, token in enumerate(self.tokens[1:])
            if token.text == "*"
        ]
        self.returns_all = "RETURN" in stars or "DISTINCT" in stars
        self.shows_all = self.returns_all or "WITH" in stars

    # ── reading ──────────────────────────────────────────────────────────────────────────

    def ahead(self, steps: int = 0) -> Token:
        """The token that is `steps` ahead."""
        return self.tokens[min(self.at + steps, len(self.tokens) - 1)]

    def next(self) -> Token:
        """Go one token on."""
        token = self.ahead()
        self.at += 1
        return token

    def is_word(self, *words: str, steps: int = 0) -> bool:
        """Whether one of these words is ahead."""
        token = self.ahead(steps)
        return token.kind == "word" and token.upper in words

    def is_sign(self, *signs: str, steps: int = 0) -> bool:
        """Whether one of these signs is ahead."""
        token = self.ahead(steps)
        return token.kind == "symbol" and token.text in signs

    def took_word(self, *words: str) -> str:
        """The word ahead if it is one of these, then one step on; else nothing."""
        return self.next().upper if self.is_word(*words) else ""

    def took_sign(self, *signs: str) -> str:
        """The sign ahead if it is one of these, then one step on; else nothing."""
        return self.next().text if self.is_sign(*signs) else ""

    def expect_word(self, word: str) -> None:
        """Go over a word that must be there."""
        if not self.took_word(word):
            self.unexpected(word)

    def expect_sign(self, sign: str) -> None:
        """Go over a sign that must be there."""
        if not self.took_sign(sign):
            self.unexpected(sign)

    def unexpected(self, due: str) -> NoReturn:
        """Refuse what is ahead, because something else was expected."""
        token = self.ahead()
        if token.kind == "end":
            refuse(f"it ends where {due} was expected")
        refuse(f"{token.text[:40]} at character {token.start + 1}, where {due} was expected")

    def names_in_order(self) -> list[str]:
        """The variables that are there, in the order in which they came."""
        since = self.tokens[self.since : self.at]
        later = [token.text for token in since if token.text in self.names]
        return list(dict.fromkeys([*self.kept, *later]))

    def source(self, start: int) -> str:
        """The text as it was written, from a token to the current place."""
        first, last = self.tokens[start], self.tokens[max(self.at - 1, start)]
        return " ".join(self.query[first.start : last.stop].split())

    @contextmanager
    def inside(self) -> Iterator[None]:
        """One bracket deeper."""
        self.depth += 1
        if self.depth > MOST_BRACKETS:
            refuse(f"more than {MOST_BRACKETS} brackets are nested in each other")
        yield
        self.depth -= 1

    # ── names ────────────────────────────────────────────────────────────────────────────

    def name(self, due: str) -> str:
        """A name as it was written: of a variable, a label, a property, in backticks or not."""
        token = self.ahead()
        if token.kind not in ("word", "name"):
            self.unexpected(due)
        self.at += 1
        return token.text.strip("`")

    def declared(self, due: str = "a name") -> str:
        """Read a name that stands for something from here on."""
        name = self.name(due)
        self.names.add(name)
        self.kinds.pop(name, None)
        return name

    def new_name(self, stem: str) -> str:
        """A new name for something that has none."""
        self.made += 1
        while (name := f"{stem}{self.made}") in self.names:
            self.made += 1
        self.names.add(name)
        return name

    # ── texts, parameters, moments ───────────────────────────────────────────────────────

    def lifted(self, literal: str) -> Piece:
        """A quoted text as a parameter."""
        value = unescaped(literal)
        own = self.in_loop(value) if self.loops else None
        if own is not None:
            return Piece(own, "text", string=value)
        name = f"{LIFTED}{len(self.strings)}"
        self.strings[name] = value
        return Piece(f"${name}", "text", string=value)

    def parameter(self, name: str) -> Piece:
        """A parameter that comes with the query."""
        self.parameters.add(name)
        own = self.in_loop(self.arguments.get(name)) if self.loops else None
        return Piece(own or f"${name}", parameter=name)

    def in_loop(self, value: Any) -> str | None:
        """A value in a loop over a list, written out, as the file takes no parameters there.

        None on a server, and for anything but texts, numbers, true and false.
        """
        if isinstance(value, str) and len(value) > LONGEST_IN_LOOP:
            refuse(f"a text of more than {LONGEST_IN_LOOP:,} letters inside a loop over a list")
        if not self.file:
            return None
        if isinstance(value, str):
            if not value.isprintable() or any(sign in value for sign in "'\"\\"):
                refuse("a text with quotes or backslashes in it inside a loop over a list")
            return f"'{value}'"
        return str(value).upper() if isinstance(value, bool) else json.dumps(value)

    def moment_of(self, piece: Piece) -> str | None:
        """The seconds of a text or parameter, which must be a date; None for any other piece."""
        value = (
            piece.string if piece.string is not None else self.arguments.get(piece.parameter or "")
        )
        if not isinstance(value, str):
            return None
        seconds = seconds_of(value)
        if seconds is None:
            refuse(f"{value!r} is not a date: write it as 2024-12-01 or 2024-12-01T18:30")
        if piece.parameter is None:
            return str(seconds)
        name = f"{MOMENT}{len(self.strings)}"
        self.strings[name] = seconds
        return f"${name}"

    def grows(self, times: float, cause: str) -> None:
        """Count how much longer texts and lists can get, and refuse too much."""
        self.growth *= times
        if self.growth > MOST_GROWTH:
            refuse(f"texts and lists could grow too long through {cause}")


def written(name: str) -> str:
    """A name as both engines take it: in backticks if it could be mistaken for anything else."""
    plain = name.isascii() and name.isidentifier() and not name.startswith("_")
    return name if plain and name.upper() not in RESERVED else f"`{name}`"
