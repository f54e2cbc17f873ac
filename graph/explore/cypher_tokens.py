"""Splits a query into its words and signs; comments are dropped.

This refuses what may not be written at all. Which word may stand where is decided by
`cypher_guard`, which writes the query anew.
"""

import math
import re
from dataclasses import dataclass
from typing import NoReturn

from graph.errors import QueryRefused

LONGEST_QUERY = 8_000  # characters
MOST_TOKENS = 1_000
MOST_NAME = 128  # characters in backticks

_TOKEN = re.compile(
    r"""
    (?P<space>[ \t\r\n]+ | //[^\r\n]* | /\*.*?\*/)
  | (?P<text>'(?:[^'\\]|\\.)*' | "(?:[^"\\]|\\.)*")
  | (?P<name>`[^`]*`)
  | (?P<number>(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?(?![A-Za-z_0-9]))
  | (?P<parameter>\$[A-Za-z_]\w*)
  | (?P<word>[A-Za-z_]\w*)
  | (?P<symbol><>|!=|=~|<=|>=|<-|->|\.\.|\|\||[-()\[\]{},:.=<>+*/%^|&!])
    """,
    re.VERBOSE | re.ASCII | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
_ESCAPES = {"\\": "\\", "'": "'", '"': '"', "n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


@dataclass(frozen=True)
class Token:
    """One word or sign, and where it stands in the text."""

    kind: str  # text, name, number, parameter, word, symbol; "end" after the last
    text: str
    upper: str  # a word in capitals, anything else as `text`
    start: int
    stop: int


def refuse(reason: str) -> NoReturn:
    """Raise `QueryRefused`: the query is not run, and why."""
    raise QueryRefused(f"This query was not run: {reason}.")


def tokens_of(query: str) -> tuple[str, list[Token]]:
    """The query without what surrounds it, and its tokens with an "end" after the last.

    Raises:
        QueryRefused: it is empty or too long, or holds something that no query may hold.
    """
    if len(query) > LONGEST_QUERY:
        refuse(f"it is longer than {LONGEST_QUERY:,} characters; pass data as parameters")
    text = query.strip(" \t\r\n").removesuffix(";")
    tokens: list[Token] = []
    start = 0
    while start < len(text):
        match = _TOKEN.match(text, start)
        if match is None:
            refuse(_why_no_token(text, start))
        kind, written, stop = str(match.lastgroup), match.group(), match.end()
        if kind == "name":
            _check_name(written[1:-1])
        if kind == "parameter" and written.startswith("$_"):
            refuse(f"the parameter {written}: names that begin with _ are reserved")
        whole = kind == "number" and written.isdigit()
        if whole and (len(written) > len(str(2**63)) or int(written) >= 2**63):
            refuse(f"the whole number {written[:24]} does not fit into 64 bits")
        if kind == "number" and not math.isfinite(float(written)):
            refuse(f"the number {written[:24]} does not fit into 64 bits")
        if kind != "space":
            upper = written.upper() if kind == "word" else written
            tokens.append(Token(kind, written, upper, start, stop))
        start = stop
    if not tokens:
        refuse("it is empty")
    if len(tokens) > MOST_TOKENS:
        refuse(f"it has more than {MOST_TOKENS:,} words and signs; pass data as parameters")
    return text, [*tokens, Token("end", "", "", len(text), len(text))]


def unescaped(literal: str) -> str:
    """The text that a quoted literal stands for."""

    def meaning(match: re.Match[str]) -> str:
        code = match.group(1)
        if code[0] in "uU" and len(code) > 1:
            point = int(code[1:], 16)
            if point > 0x10FFFF or 0xD800 <= point <= 0xDFFF:
                refuse(f"\\{code} is no character")
            return chr(point)
        if code not in _ESCAPES:
            refuse(f"\\{code} in a text: the escapes are \\\\ \\' \\\" \\n \\t \\r \\b \\f \\uXXXX")
        return _ESCAPES[code]

    value = _ESCAPE.sub(meaning, literal[1:-1])
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        refuse("a text is not valid Unicode")
    return value


def _why_no_token(text: str, start: int) -> str:
    sign = text[start]
    if sign == ";":
        return "it holds several statements; send one"
    if sign in "'\"`":
        return f"a {sign} is opened but not closed"
    if text.startswith("/*", start):
        return "a comment is opened but not closed"
    if sign == "$":
        return "a parameter must be written as $name"
    shown = sign if sign.isprintable() else f"U+{ord(sign):04X}"
    return f"the sign {shown} at character {start + 1} may only stand inside quotes"


def _check_name(name: str) -> None:
    if not name or len(name) > MOST_NAME or "\\" in name or not name.isprintable():
        refuse("a name in backticks is empty, too long, or holds signs that may not be there")
