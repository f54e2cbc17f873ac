"""Which Cypher a stranger may run: one reading statement, checked token by token.

    text ─▶ tokens (strings and comments taken out) ─▶ every position checked ─▶ text made of them

What the engine gets is written anew from the checked tokens, so there is nothing that this file
reads one way and the engine another: comments are gone, every string has become a parameter,
and what is left is printable ASCII (names in backticks may have letters of other scripts).

Everything in Cypher that writes, reads files, opens connections or changes settings begins with
a word where a clause may begin (at the start, after UNION, after an opened subquery, after the
end of an expression or pattern), or is a function. Those places take words from an allow list
only; a second list of words is refused wherever they stand bare, should the first ever slip.
"""

import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

from graph.errors import QueryRefused

LONGEST_QUERY = 8_000  # characters
LONGEST_RANGE = 10_000  # elements of range(…)
MOST_TOKENS = 1_000
MOST_BRACKETS = 24  # one inside the other: parsers are recursive
MOST_LINKS = 12  # relationships in all patterns: planners are exponential in them
MOST_SUMS = 12  # each + can double a text or list
MOST_NAME = 128  # characters in backticks
LIFTED = "_text"  # strings become the parameters $_text0, $_text1, …


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


CLAUSES = _words("MATCH OPTIONAL WITH UNWIND RETURN UNION")
KEYWORDS = CLAUSES | _words(
    "WHERE ORDER BY SKIP LIMIT AS DISTINCT AND OR XOR NOT IN STARTS ENDS CONTAINS IS NULL TRUE "
    "FALSE CASE WHEN THEN ELSE END ASC DESC ASCENDING DESCENDING ALL SHORTEST"
)
ENDS_OPERAND = _words("NULL TRUE FALSE END ASC DESC ASCENDING DESCENDING")
NEVER = _words(
    "CREATE MERGE SET DELETE DETACH NODETACH REMOVE DROP ALTER LOAD CSV COPY EXPORT IMPORT CALL "
    "YIELD FOREACH USE SHOW TERMINATE GRANT DENY REVOKE START STOP INSTALL UNINSTALL ATTACH "
    "COMMENT BEGIN COMMIT ROLLBACK CHECKPOINT EXPLAIN PROFILE CYPHER PROJECT MACRO INSERT UPDATE "
    "FINISH ENABLE DRYRUN DEALLOCATE RENAME REALLOCATE"
)
SUBQUERIES = frozenset({"EXISTS", "COUNT", "COLLECT"})
QUANTIFIERS = frozenset({"any", "all", "none", "single"})

COMMON_FUNCTIONS = _words(
    "count collect sum avg min max size coalesce abs ceil floor round sign sqrt exp ln log log10 "
    "pi sin cos tan asin acos atan atan2 radians degrees tolower toupper lower upper trim ltrim "
    "rtrim left right substring reverse split nodes relationships length keys labels range "
    "properties id"
)
FUNCTIONS: dict[str, frozenset[str]] = {
    "neo4j": COMMON_FUNCTIONS
    | QUANTIFIERS
    | _words(
        "type head last tail startnode endnode tostring tointeger tofloat toboolean isempty "
        "stdev stdevp percentilecont percentiledisc e elementid exists shortestpath "
        "allshortestpaths char_length nullif"
    ),
    "ladybug": COMMON_FUNCTIONS
    | QUANTIFIERS
    | _words(
        "label rels list_len list_contains list_sort list_distinct list_sum list_extract "
        "list_unique greatest least starts_with ends_with prefix suffix start_node end_node "
        "is_trail is_acyclic"
    ),
}

_TOKEN = re.compile(
    r"""
    (?P<space>[ \t\r\n]+ | //[^\r\n]* | /\*.*?\*/)
  | (?P<text>'(?:[^'\\]|\\.)*' | "(?:[^"\\]|\\.)*")
  | (?P<name>`[^`]*`)
  | (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![A-Za-z_0-9]))
  | (?P<parameter>\$[A-Za-z_]\w*)
  | (?P<word>[A-Za-z_]\w*)
  | (?P<symbol><>|<=|>=|<-|->|\.\.|\|\||[-()\[\]{},:.=<>+*/%^|&!])
    """,
    re.VERBOSE | re.ASCII | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
_ESCAPES = {"\\": "\\", "'": "'", '"': '"', "n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_CLOSES = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True)
class Checked:
    """A query that may run: its text written anew, and its strings as parameters."""

    text: str
    strings: dict[str, str]
    parameters: frozenset[str]  # names of those the asker must give


@dataclass(frozen=True)
class _Token:
    kind: str  # text, name, number, parameter, word, symbol
    text: str
    upper: str
    spaced: bool  # something blank stood before it


@dataclass
class _Walk:
    """What the check knows while it goes from token to token."""

    open: list[str] = field(default_factory=list)  # kinds of the brackets around us
    operand_ended: bool = False  # an expression or pattern may end here
    clause_due: bool = True  # only a clause may come now
    links: int = 0
    sums: int = 0


def check(query: str, engine: str) -> Checked:
    """Give the query as it may run on `engine` ("ladybug" or "neo4j").

    Raises:
        QueryRefused: says which part is refused, why, and what to write instead.
    """
    tokens = _tokens(query)
    _check_positions(tokens, FUNCTIONS[engine])
    strings: dict[str, str] = {}
    parts: list[str] = []
    for token in tokens:
        text = token.text
        if token.kind == "text":
            name = f"{LIFTED}{len(strings)}"
            strings[name] = _unescaped(text)
            text = f"${name}"
        parts.append((" " if token.spaced and parts else "") + text)
    named = frozenset(token.text[1:] for token in tokens if token.kind == "parameter")
    return Checked("".join(parts), strings, named)


def check_parameters(parameters: dict[str, Any], most_bytes: int = 100_000) -> None:
    """Refuse parameters that are not plain JSON values or are too large together."""

    def weigh(value: Any, depth: int) -> int:
        if depth > 6:
            _refuse("a parameter is nested more than six deep")
        if value is None or isinstance(value, bool | float):
            return 8
        if isinstance(value, int):
            if not -(2**63) <= value < 2**63:
                _refuse("a whole number in the parameters does not fit 64 bits")
            return 8
        if isinstance(value, str):
            if any("\ud800" <= letter <= "\udfff" for letter in value):
                _refuse("a text in the parameters is not valid Unicode")
            return 8 + 4 * len(value)
        if isinstance(value, list):
            return 8 + sum(weigh(part, depth + 1) for part in value)
        if isinstance(value, dict) and all(isinstance(key, str) for key in value):
            return 8 + sum(weigh(k, depth) + weigh(v, depth + 1) for k, v in value.items())
        _refuse(f"a parameter is a {type(value).__name__}; send texts, numbers, lists or maps")

    for name, value in parameters.items():
        if not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII):
            _refuse(f"the parameter name {name!r}: use a letter, then letters, digits and _")
        if weigh(value, 0) > most_bytes:
            _refuse(f"the parameter {name!r} is larger than {most_bytes:,} bytes")


def _refuse(reason: str) -> NoReturn:
    raise QueryRefused(f"This query was not run: {reason}.")


def _tokens(query: str) -> list[_Token]:
    if len(query) > LONGEST_QUERY:
        _refuse(f"it is longer than {LONGEST_QUERY:,} characters; pass data as parameters")
    tokens: list[_Token] = []
    place, spaced = 0, False
    text = query.strip(" \t\r\n")
    text = text.removesuffix(";")
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            _refuse(_why_no_token(text, place))
        place = match.end()
        kind, found = str(match.lastgroup), match.group()
        if kind == "space":
            spaced = True
            continue
        if kind == "name":
            _check_name(found[1:-1])
        if kind == "parameter" and found.startswith("$_"):
            _refuse(f"the parameter {found}: names that begin with _ are taken")
        tokens.append(_Token(kind, found, found.upper() if kind == "word" else found, spaced))
        spaced = False
    if not tokens:
        _refuse("it is empty")
    if len(tokens) > MOST_TOKENS:
        _refuse(f"it has more than {MOST_TOKENS:,} words and signs; pass data as parameters")
    return tokens


def _why_no_token(text: str, place: int) -> str:
    sign = text[place]
    if sign == ";":
        return "it holds several statements; send one"
    if sign in "'\"`":
        return f"a {sign} is opened and not closed"
    if text.startswith("/*", place):
        return "a comment is opened and not closed"
    if sign == "$":
        return "a parameter must be written as $name"
    if sign == "=":
        return "regular expressions (=~) can run for ever; use CONTAINS, STARTS WITH or ENDS WITH"
    shown = sign if sign.isprintable() else f"U+{ord(sign):04X}"
    return f"the sign {shown} at character {place + 1} may only stand inside quotes"


def _check_name(name: str) -> None:
    if not name or len(name) > MOST_NAME or "\\" in name or not name.isprintable():
        _refuse("a name in backticks is empty, too long, or holds signs that may not be there")


def _unescaped(literal: str) -> str:
    """The text a quoted literal stands for."""

    def meaning(match: re.Match[str]) -> str:
        code = match.group(1)
        if code[0] in "uU" and len(code) > 1:
            point = int(code[1:], 16)
            if point > 0x10FFFF or 0xD800 <= point <= 0xDFFF:
                _refuse(f"\\{code} is no character")
            return chr(point)
        if code not in _ESCAPES:
            _refuse(
                f"\\{code} in a text: the escapes are \\\\ \\' \\\" \\n \\t \\r \\b \\f \\uXXXX"
            )
        return _ESCAPES[code]

    value = _ESCAPE.sub(meaning, literal[1:-1])
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        _refuse("a text is not valid Unicode")
    return value


def _check_positions(tokens: list[_Token], functions: frozenset[str]) -> None:
    """Refuse any token that may not stand where it stands."""
    walk = _Walk()
    nothing = _Token("symbol", "", "", False)
    for place, token in enumerate(tokens):
        before = tokens[place - 1] if place else nothing
        after = tokens[place + 1] if place + 1 < len(tokens) else nothing
        if walk.clause_due and not (
            token.kind == "word" and token.upper in (CLAUSES | {"ALL", "DISTINCT"}) - {"UNION"}
        ):
            _refuse(
                f"{token.text[:40]} where a clause begins; a query is made of MATCH, OPTIONAL "
                "MATCH, WITH, UNWIND, RETURN and UNION, and can only read"
            )
        if token.kind == "word":
            _check_word(walk, token, before, after, functions, tokens[place:])
        elif token.kind == "symbol":
            _check_symbol(walk, token, before, after)
        else:
            if walk.operand_ended:
                _refuse(f"{token.text[:40]} follows what was complete already")
            walk.operand_ended = True
    if walk.open:
        _refuse(f"a {walk.open[-1][0]} is opened and not closed")
    if walk.clause_due:
        _refuse("it ends where a clause was due")


def _check_word(
    walk: _Walk,
    token: _Token,
    before: _Token,
    after: _Token,
    functions: frozenset[str],
    rest: list[_Token],
) -> None:
    word = token.upper
    if before.text == ".":  # a property, whatever its name
        if after.text == "(":
            _refuse(f"functions with a dot in their name are not allowed (.{token.text})")
        walk.operand_ended = True
        return
    is_label = before.text == ":" and (not walk.open or walk.open[-1] != "{map")
    if is_label and after.text != "(":
        walk.operand_ended = True
        return
    is_key = after.text == ":" and before.text in ("{", ",")
    if word in NEVER and not is_key:
        _refuse(
            f"{word} is not allowed: a query can only read, from the graph alone "
            f"(as a name, write it in backticks)"
        )
    if word in KEYWORDS and not is_key and not (word == "ALL" and after.text == "("):
        walk.clause_due = word == "UNION" or (walk.clause_due and word in ("ALL", "DISTINCT"))
        walk.operand_ended = word in ENDS_OPERAND
        return
    if walk.operand_ended:
        _refuse(
            f"{token.text[:40]} where a clause or the end was due; a query is made of MATCH, "
            "OPTIONAL MATCH, WITH, UNWIND, RETURN and UNION, and can only read"
        )
    if after.text == "(":
        name = token.text.lower()
        if name not in functions:
            _refuse(f"the function {token.text[:40]} is not on the list of allowed functions")
        if name == "range":
            _check_range(rest)
        walk.operand_ended = False
        return
    if after.text == "{" and word in SUBQUERIES:
        walk.operand_ended = False
        return
    walk.operand_ended = True


def _check_range(rest: list[_Token]) -> None:
    """A range must be small, and be seen to be small: range(1, 100) or range(0, 100, 5)."""
    text = "".join(token.text for token in rest[:14])
    match = re.match(r"\w+\((-?\d{1,9}),(-?\d{1,9})(?:,(-?\d{1,9}))?\)", text)
    if match is None:
        _refuse("range() needs plain whole numbers, such as range(1, 100)")
    low, high, step = (int(part or 1) for part in match.groups())
    if step == 0 or (high - low) / step > LONGEST_RANGE:
        _refuse(f"range() may give at most {LONGEST_RANGE:,} numbers")


def _check_symbol(walk: _Walk, token: _Token, before: _Token, after: _Token) -> None:
    sign = token.text
    if sign in _CLOSES:
        _open_bracket(walk, sign, before, after)
    elif sign in (")", "]", "}"):
        if not walk.open or _CLOSES[walk.open[-1][0]] != sign:
            _refuse(f"a {sign} closes what was not opened")
        walk.open.pop()
        walk.operand_ended = True
    elif sign == "*":
        # RETURN *, WITH *, count(*) stand for everything; elsewhere * multiplies.
        everything = before.upper in ("RETURN", "WITH", "DISTINCT") or after.text in (")", "]")
        walk.operand_ended = everything
    else:
        if sign in ("+", "||"):
            walk.sums += 1
            if walk.sums > MOST_SUMS:
                _refuse(f"it has more than {MOST_SUMS} sums")
        if sign == "=" and before.text == "+":
            _refuse("+= writes, and a query can only read")
        walk.operand_ended = False


def _open_bracket(walk: _Walk, sign: str, before: _Token, after: _Token) -> None:
    kind = sign
    if sign == "(":
        if walk.operand_ended:
            _refuse("a ( follows what was complete already")
        if before.kind == "word" and before.text.lower() in QUANTIFIERS:
            kind = "(loop"
        elif before.kind == "word" and before.upper not in KEYWORDS:
            kind = "(call"
    elif sign == "[":
        if before.text in ("-", "<-"):
            walk.links += 1
            if walk.links > MOST_LINKS:
                _refuse(f"its patterns have more than {MOST_LINKS} relationships")
        elif not walk.operand_ended and after.kind in ("word", "name"):
            kind = "[loop"  # [x IN … | …], or a list that begins with a name
    else:
        kind = "{map"
        if not walk.operand_ended and before.upper in SUBQUERIES:
            kind = "{query"
            if after.upper != "MATCH":
                _refuse(f"{before.text} {{…}} must begin with MATCH")
        elif after.kind == "symbol" and after.text not in ("}", "."):
            _refuse(f"a {{ followed by {after.text}")
        elif after.kind not in ("word", "name", "symbol"):
            _refuse("the keys of a map are names")
    if kind.endswith("loop") and sum(part.endswith("loop") for part in walk.open):
        _refuse("a loop over a list inside another; use UNWIND")
    walk.open.append(kind)
    if len(walk.open) > MOST_BRACKETS:
        _refuse(f"more than {MOST_BRACKETS} brackets stand inside each other")
    walk.operand_ended = False
