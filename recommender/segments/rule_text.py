"""The older form of a segment's rule, as text, translated into an object of conditions.

    domain share of baroque > 30 % and last seen < 7 days

    rule      = part, or several joined by "or"
    part      = term, or several joined by "and"
    term      = "not" term | "(" rule ")" | condition
    condition = measure  > | >= | < | <= | =  number [unit]
              | "attribute" NAME "is" ["not"] VALUE
              | "attribute" NAME  > | >= | < | <= | =  number
    measure   = "domain share of" NAME | "tag share of" NAME | "kind share of" NAME
              | "last seen" | "first seen" | "events" | "items" | "domains" | "novelty"
              | "night share" | "weekend share"
    unit      = "%" | "hours" | "days" | "weeks" | "months" | "years"

A name of several words needs no quotes unless it holds a word of the grammar. Shares and novelty
lie between 0 and 1, or 0 % and 100 %; times are in days where no unit stands. What each measure
means, and the form that new rules have: `segments/rules.py`.
"""

import math
import re
from dataclasses import dataclass
from typing import Any

from graph.errors import SettingError

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
_BOUNDS = {">": ("above",), ">=": ("from",), "<": ("below",), "<=": ("to",), "=": ("from", "to")}

Object = dict[str, Any]  # of conditions


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    at: int


def as_object(text: str, where: str = "rule") -> Object:
    """The conditions in a text; a `SettingError` says what was expected, and at which character."""
    return _Reader(text, where).rule()


class _Reader:
    def __init__(self, text: str, where: str) -> None:
        self._text, self._where = text, where
        if len(text) > MOST_CHARACTERS:
            raise self._error(MOST_CHARACTERS, f"is longer than {MOST_CHARACTERS} characters")
        self._tokens: list[_Token] = []
        at = 0
        while text[at:].strip():
            match = _TOKEN.match(text, at)
            if match is None:
                start = at + len(text[at:]) - len(text[at:].lstrip())
                raise self._error(start, f"{text[start]!r} is not understood here")
            kind = str(match.lastgroup)
            self._tokens.append(_Token(kind, match[kind], match.start(kind)))
            at = match.end()
        self._index = 0

    def rule(self) -> Object:
        made = self._either(0)
        token = self._next()
        if token is not None:
            raise self._error(token.at, f"expected `and`, `or` or the end, not {token.text!r}")
        return made

    def _either(self, depth: int) -> Object:
        parts = [self._both(depth)]
        while self._takes("or"):
            parts.append(self._both(depth))
        return parts[0] if len(parts) == 1 else {"or": parts}

    def _both(self, depth: int) -> Object:
        parts = [self._term(depth)]
        while self._takes("and"):
            parts.append(self._term(depth))
        return parts[0] if len(parts) == 1 else {"and": parts}

    def _term(self, depth: int) -> Object:
        if depth > DEEPEST:
            raise self._error(self._at(), f"is nested deeper than {DEEPEST}")
        if self._takes("not"):
            return {"not": self._term(depth + 1)}
        if self._takes("("):
            inner = self._either(depth + 1)
            if not self._takes(")"):
                raise self._error(self._at(), "expected a closing `)`")
            return inner
        return self._condition()

    def _condition(self) -> Object:
        at = self._at()
        if self._takes("attribute"):
            return self._attribute()
        measure = self._measure(at)
        name = self._name(measure) if measure in NAMED else ""
        compare = self._next()
        if compare is None or compare.kind != "compare":
            raise self._error(
                compare.at if compare else len(self._text), "expected >, >=, <, <= or ="
            )
        self._index += 1
        number = self._next()
        if number is None or number.kind != "number":
            raise self._error(number.at if number else len(self._text), "expected a number")
        self._index += 1
        bounds = dict.fromkeys(_BOUNDS[compare.text], self._value(measure, number))
        field = measure.replace(" ", "_") + ("_days" if measure in TIMES else "")
        return {field: {name: bounds} if measure in NAMED else bounds}

    def _attribute(self) -> Object:
        """A condition on what a user says of themselves: `country is "DE"`, `age >= 18`."""
        name = self._words("is")
        if self._takes("is"):
            negated = self._takes("not")
            held = {"attributes": {name: {"in": [self._words("and", "or")]}}}
            return {"not": held} if negated else held
        compare = self._next()
        if compare is None or compare.kind != "compare":
            raise self._error(self._at(), "expected `is`, >, >=, <, <= or =")
        self._index += 1
        number = self._next()
        if number is None or number.kind != "number":
            raise self._error(self._at(), "expected a number; words are compared by `is`")
        self._index += 1
        return {"attributes": {name: dict.fromkeys(_BOUNDS[compare.text], float(number.text))}}

    def _words(self, *ends: str) -> str:
        """A text in quotes, or words up to a bracket, a comparison or one of `ends`."""
        start, token = self._index, self._next()
        if token is not None and token.kind == "quoted":
            self._index += 1
            return token.text[1:-1]
        while (token := self._next()) is not None and token.kind in ("word", "number"):
            if token.text.lower() in ends and self._index > start:
                break
            self._index += 1
        if self._index == start:
            raise self._error(self._at(), "expected a name")
        return " ".join(token.text for token in self._tokens[start : self._index])

    def _measure(self, at: int) -> str:
        for measure in (*NAMED, *TIMES, *SHARES, *COUNTS):
            words = measure.split()
            here = [token.text.lower() for token in self._tokens[self._index :][: len(words)]]
            if here == words:
                self._index += len(words)
                return measure
        named = (*(f"{share} of NAME" for share in NAMED), "attribute NAME")
        known = ", ".join((*named, *TIMES, *SHARES, *COUNTS))
        raise self._error(at, f"expected a measure: {known}")

    def _name(self, measure: str) -> str:
        if not self._takes("of"):
            raise self._error(self._at(), f"expected `of` and a name after {measure!r}")
        start = self._index
        while (token := self._next()) is not None and token.kind != "compare":
            if token.kind == "quoted" and self._index == start:
                self._index += 1
                return token.text[1:-1]
            if token.kind not in ("word", "number"):
                break
            self._index += 1
        if self._index == start:
            raise self._error(self._at(), "expected a name")
        return " ".join(token.text for token in self._tokens[start : self._index])

    def _value(self, measure: str, number: _Token) -> float:
        value = float(number.text)
        if not math.isfinite(value):
            raise self._error(number.at, "is too large a number")
        unit = self._next()
        if unit is not None and unit.kind == "percent":
            if measure not in (*NAMED, *SHARES):
                raise self._error(unit.at, f"{measure} is not a share; leave out the %")
            self._index += 1
            value /= 100
        elif unit is not None and unit.text.lower().removesuffix("s") in UNITS:
            if measure not in TIMES:
                raise self._error(unit.at, f"{measure} is not a time; leave out {unit.text!r}")
            self._index += 1
            value *= UNITS[unit.text.lower().removesuffix("s")]
        if measure in (*NAMED, *SHARES) and value > 1:
            raise self._error(number.at, f"{measure} is at most 1, or 100%; did you forget the %?")
        return value

    def _takes(self, text: str) -> bool:
        token = self._next()
        taken = token is not None and token.kind in ("word", "bracket")
        if token is None or not taken or token.text.lower() != text:
            return False
        self._index += 1
        return True

    def _next(self) -> _Token | None:
        return self._tokens[self._index] if self._index < len(self._tokens) else None

    def _at(self) -> int:
        token = self._next()
        return len(self._text) if token is None else token.at

    def _error(self, at: int, problem: str) -> SettingError:
        around = self._text[max(0, at - 20) : at] + "▸" + self._text[at : at + 20]
        return SettingError(f"{self._where}, character {at + 1}: {problem}; in “{around}”")
