"""Rewrites queries inside queries if that means the same; else shows another way to write them.

A leading `CALL { … RETURN n }` becomes its content, with WITH in place of RETURN; the size of a
list of a pattern becomes a COUNT. Elsewhere equal rows would become one, so the other way is only
shown.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NoReturn

from graph.explore.cypher_tokens import Token, refuse

OPEN, CLOSED = ("(", "[", "{"), (")", "]", "}")


def rewritten(tokens: Sequence[Token]) -> list[Token]:
    """The tokens of a query, with all that can be rewritten."""
    return _counted(_opened(list(tokens)))


def refuse_call(query: str, tokens: Sequence[Token], at: int, names: Sequence[str]) -> NoReturn:
    """Refuse a `CALL { … }` whose CALL stands at `at`, and say how to write it without.

    `names` are the variables that exist before it.
    """
    begin = next((k for k in range(at, len(tokens)) if tokens[k].text == "{"), len(tokens) - 1)
    end = _end(tokens, begin)
    inside = list(tokens[begin + 1 : end])
    returns = _words(inside, "RETURN")
    if _words(inside, "UNION") or len(returns) != 1 or inside[returns[0] + 1].text == "*":
        refuse("CALL { … } is not supported here: send its content as a query of its own")
    if inside[0].upper == "WITH":
        matches = _words(inside, "MATCH", "OPTIONAL", "UNWIND")
        inside = inside[matches[0] :] if matches else inside
        returns = _words(inside, "RETURN")
    body, result = inside[: returns[0]], inside[returns[0] + 1 :]
    text = _text(query, body)
    if body and body[0].upper == "MATCH":
        text = f"OPTIONAL {text}"
    kept = ", ".join([*names, _text(query, result)])
    refuse(f"CALL {{ … }} is not supported behind other clauses: write {text} WITH {kept} for it")


def refuse_pattern(query: str, tokens: Sequence[Token], at: int, names: Sequence[str]) -> NoReturn:
    """Refuse a list of a pattern with its bracket at `at`, and say how to write it without."""
    end = _end(tokens, at)
    inside = _unnamed(tokens[at + 1 : end])
    bar = _signs(inside, "|")
    pattern = inside[: bar[-1]] if bar else inside
    value = _text(query, inside[bar[-1] + 1 :]) if bar else "x"
    alias = tokens[end + 2].text if tokens[end + 1].upper == "AS" else "found"
    kept = ", ".join([*names, f"collect({value}) AS {alias}"])
    refuse(
        f"a pattern inside a list is not supported: write OPTIONAL MATCH {_text(query, pattern)} "
        f"WITH {kept} before, and {alias} in its place"
    )


def _opened(tokens: list[Token]) -> list[Token]:
    """The tokens without the braces of a CALL at the beginning of the query."""
    if not (len(tokens) > 1 and tokens[0].upper == "CALL" and tokens[0].kind == "word"):
        return tokens
    begin = 1
    if [token.text for token in tokens[1:3]] == ["(", ")"]:
        begin = 3
    end = _end(tokens, begin) if tokens[begin].text == "{" else 0
    inside = tokens[begin + 1 : end] if end else []
    returns = _words(inside, "RETURN")
    if len(returns) != 1 or _words(inside, "UNION") or tokens[end + 1].kind == "end":
        return tokens
    inside[returns[0]] = replace(inside[returns[0]], text="WITH", upper="WITH")
    return [*inside, *tokens[end + 1 :]]


def _counted(tokens: list[Token]) -> list[Token]:
    """The tokens with `COUNT { MATCH … }` for `size([(a)-->(b) WHERE … | …])`."""
    made: list[Token] = []
    at = 0
    while at < len(tokens):
        token = tokens[at]
        if token.upper == "SIZE" and [t.text for t in tokens[at + 1 : at + 3]] == ["(", "["]:
            end = _end(tokens, at + 2)
            inside = _unnamed(tokens[at + 3 : end])
            bar = _signs(inside, "|")
            if bar and _is_pattern(inside) and tokens[end + 1].text == ")":
                sign = replace(token, kind="symbol", text="{", upper="{")
                last = replace(tokens[end + 1], text="}", upper="}")
                count = replace(token, kind="word", text="COUNT", upper="COUNT")
                match = replace(token, kind="word", text="MATCH", upper="MATCH")
                made += [count, sign, match, *_counted(inside[: bar[-1]]), last]
                at = end + 2
                continue
        made.append(token)
        at += 1
    return made


def _unnamed(tokens: Sequence[Token]) -> list[Token]:
    """The tokens without the name of a path at the beginning of a pattern."""
    named = len(tokens) > 2 and tokens[1].text == "=" and tokens[2].text == "("
    return list(tokens[2:] if named else tokens)


def _is_pattern(tokens: Sequence[Token]) -> bool:
    if not tokens or tokens[0].text != "(":
        return False
    behind = _end(tokens, 0) + 1
    return behind < len(tokens) and tokens[behind].text[:1] in ("-", "<")


def _end(tokens: Sequence[Token], begin: int) -> int:
    """Where the bracket that opens at `begin` is closed; the last token if it never is."""
    depth = 0
    for number in range(begin, len(tokens)):
        if tokens[number].kind == "symbol":
            depth += (tokens[number].text in OPEN) - (tokens[number].text in CLOSED)
            if depth == 0:
                return number
    return len(tokens) - 1


def _words(tokens: Sequence[Token], *words: str) -> list[int]:
    """The places of these words outside of all brackets."""
    return [k for k in _outside(tokens) if tokens[k].kind == "word" and tokens[k].upper in words]


def _signs(tokens: Sequence[Token], sign: str) -> list[int]:
    """The places of this sign outside of all brackets."""
    return [k for k in _outside(tokens) if tokens[k].kind == "symbol" and tokens[k].text == sign]


def _outside(tokens: Sequence[Token]) -> list[int]:
    depth, outside = 0, []
    for number, token in enumerate(tokens):
        if token.kind == "symbol":
            depth += (token.text in OPEN) - (token.text in CLOSED)
        if depth == 0:
            outside.append(number)
    return outside


def _text(query: str, tokens: Sequence[Token]) -> str:
    return " ".join(query[tokens[0].start : tokens[-1].stop].split()) if tokens else ""
