"""Groups that an editor describes: `domain share of baroque > 30 % and last seen < 7 days`.

    rule      = part, or several joined by "or"
    part      = term, or several joined by "and"
    term      = "not" term | "(" rule ")" | condition
    condition = measure  > | >= | < | <= | =  number [unit]
    measure   = "domain share of" NAME | "tag share of" NAME | "kind share of" NAME
              | "last seen" | "first seen" | "events" | "items" | "domains" | "novelty"
              | "night share" | "weekend share"
    unit      = "%" | "hours" | "days" | "weeks" | "months" | "years"

A name of several words needs no quotes unless it holds a word of the grammar. Shares and novelty
lie between 0 and 1, or 0 % and 100 %; times are in days where no unit stands. A condition on
what is not known of a user does not hold, and `not` turns that round. Nothing is evaluated as
code: the text is read into a tree of the four shapes below.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from graph.arrays import F64, Flags
from graph.errors import SettingError

Measure = Callable[[str, str], F64]  # name and argument -> value of each user (u,), NaN unknown

NAMED = ("domain share", "tag share", "kind share")
TIMES = ("last seen", "first seen")
SHARES = ("novelty", "night share", "weekend share")
COUNTS = ("events", "items", "domains")
UNITS = {"hour": 1 / 24, "day": 1.0, "week": 7.0, "month": 30.44, "year": 365.25}
MOST_CHARACTERS = 2_000
DEEPEST = 50

_TOKEN = re.compile(
    r"""\s*(?:(?P<quoted>"[^"]*"|'[^']*')|(?P<compare>>=|<=|[<>=])|(?P<bracket>[()])"""
    r"""|(?P<number>\d+(?:\.\d+)?(?![\w.]))|(?P<percent>%)|(?P<word>[^\s()<>=%"']+))"""
)
_COMPARE: dict[str, Callable[[F64, float], Flags]] = {
    ">": np.greater,
    ">=": np.greater_equal,
    "<": np.less,
    "<=": np.less_equal,
    "=": np.equal,
}


@dataclass(frozen=True)
class Condition:
    """A measure of a user against a number."""

    measure: str
    name: str  # of the domain, tag or kind; "" where the measure takes none
    compare: str
    value: float

    def holds(self, measure: Measure) -> Flags:
        """(u,) for which users it holds."""
        values = measure(self.measure, self.name)
        with np.errstate(invalid="ignore"):
            return _COMPARE[self.compare](values, self.value) & ~np.isnan(values)


@dataclass(frozen=True)
class Not:
    """Holds where its part does not."""

    part: "Rule"

    def holds(self, measure: Measure) -> Flags:
        """(u,) for which users it holds."""
        return ~self.part.holds(measure)


@dataclass(frozen=True)
class Every:
    """Holds where every part does."""

    parts: tuple["Rule", ...]

    def holds(self, measure: Measure) -> Flags:
        """(u,) for which users it holds."""
        return np.logical_and.reduce([part.holds(measure) for part in self.parts])


@dataclass(frozen=True)
class Some:
    """Holds where one part does."""

    parts: tuple["Rule", ...]

    def holds(self, measure: Measure) -> Flags:
        """(u,) for which users it holds."""
        return np.logical_or.reduce([part.holds(measure) for part in self.parts])


Rule = Condition | Not | Every | Some


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    at: int


def parse_rule(text: str, where: str = "rule") -> Rule:
    """Read a rule; a `SettingError` says at which character what was expected."""
    return _Reader(text, where).rule()


class _Reader:
    def __init__(self, text: str, where: str) -> None:
        self._text, self._where = text, where
        if len(text) > MOST_CHARACTERS:
            raise self._error(MOST_CHARACTERS, f"is longer than {MOST_CHARACTERS} characters")
        self._tokens: list[_Token] = []
        at = 0
        while text[at:].strip():
            token = _TOKEN.match(text, at)
            if token is None:
                start = at + len(text[at:]) - len(text[at:].lstrip())
                raise self._error(start, f"{text[start]!r} is not understood here")
            kind = str(token.lastgroup)
            self._tokens.append(_Token(kind, token[kind], token.start(kind)))
            at = token.end()
        self._position = 0

    def rule(self) -> Rule:
        made = self._either(0)
        token = self._next()
        if token is not None:
            raise self._error(token.at, f"expected `and`, `or` or the end, not {token.text!r}")
        return made

    def _either(self, depth: int) -> Rule:
        parts = [self._both(depth)]
        while self._takes("or"):
            parts.append(self._both(depth))
        return parts[0] if len(parts) == 1 else Some(tuple(parts))

    def _both(self, depth: int) -> Rule:
        parts = [self._term(depth)]
        while self._takes("and"):
            parts.append(self._term(depth))
        return parts[0] if len(parts) == 1 else Every(tuple(parts))

    def _term(self, depth: int) -> Rule:
        if depth > DEEPEST:
            raise self._error(self._at(), f"is nested deeper than {DEEPEST}")
        if self._takes("not"):
            return Not(self._term(depth + 1))
        if self._takes("("):
            inner = self._either(depth + 1)
            if not self._takes(")"):
                raise self._error(self._at(), "expected a closing `)`")
            return inner
        return self._condition()

    def _condition(self) -> Condition:
        at = self._at()
        measure = self._measure(at)
        name = self._name(measure) if measure in NAMED else ""
        compare = self._next()
        if compare is None or compare.kind != "compare":
            raise self._error(
                compare.at if compare else len(self._text), "expected >, >=, <, <= or ="
            )
        self._position += 1
        number = self._next()
        if number is None or number.kind != "number":
            raise self._error(number.at if number else len(self._text), "expected a number")
        self._position += 1
        return Condition(measure, name, compare.text, self._value(measure, number))

    def _measure(self, at: int) -> str:
        for measure in (*NAMED, *TIMES, *SHARES, *COUNTS):
            words = measure.split()
            words_here = [
                token.text.lower() for token in self._tokens[self._position :][: len(words)]
            ]
            if words_here == words:
                self._position += len(words)
                return measure
        known = ", ".join((*(f"{name} of NAME" for name in NAMED), *TIMES, *SHARES, *COUNTS))
        raise self._error(at, f"expected a measure: {known}")

    def _name(self, measure: str) -> str:
        if not self._takes("of"):
            raise self._error(self._at(), f"expected `of` and a name after {measure!r}")
        start = self._position
        while (token := self._next()) is not None and token.kind != "compare":
            if token.kind == "quoted" and self._position == start:
                self._position += 1
                return token.text[1:-1]
            if token.kind not in ("word", "number"):
                break
            self._position += 1
        if self._position == start:
            raise self._error(self._at(), "expected a name")
        return " ".join(token.text for token in self._tokens[start : self._position])

    def _value(self, measure: str, number: _Token) -> float:
        value = float(number.text)
        unit = self._next()
        if unit is not None and unit.kind == "percent":
            if measure not in (*NAMED, *SHARES):
                raise self._error(unit.at, f"{measure} is no share; leave out the %")
            self._position += 1
            value /= 100
        elif unit is not None and unit.text.lower().removesuffix("s") in UNITS:
            if measure not in TIMES:
                raise self._error(unit.at, f"{measure} is no time; leave out {unit.text!r}")
            self._position += 1
            value *= UNITS[unit.text.lower().removesuffix("s")]
        if measure in (*NAMED, *SHARES) and value > 1:
            raise self._error(number.at, f"{measure} is at most 1, or 100 %; did you forget the %?")
        return value

    def _takes(self, text: str) -> bool:
        token = self._next()
        taken = token is not None and token.kind in ("word", "bracket")
        if token is None or not taken or token.text.lower() != text:
            return False
        self._position += 1
        return True

    def _next(self) -> _Token | None:
        return self._tokens[self._position] if self._position < len(self._tokens) else None

    def _at(self) -> int:
        token = self._next()
        return len(self._text) if token is None else token.at

    def _error(self, at: int, problem: str) -> SettingError:
        context = self._text[max(0, at - 20) : at] + "▸" + self._text[at : at + 20]
        return SettingError(f"{self._where}, character {at + 1}: {problem}; in “{context}”")
