"""Read JSON from strangers: limits on size and depth, and nothing that can be read in two ways."""

import json
import re
from typing import Any, NoReturn

from graph.errors import InputError

MOST_DEPTH = 20
# Possessive, and an unterminated string is taken whole, so that no byte is looked at twice.
_STRINGS_AND_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)
_64_BITS = range(-(2**63), 2**63)
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def parse(body: bytes, name: str = "the body") -> Any:
    """The value of a JSON document; `name` is what errors call it.

    Raises:
        InputError: not UTF-8 or not JSON, nested deeper than `MOST_DEPTH`, NaN, infinite or
            overflowing numbers, integers beyond 64 bits, a key twice in one object, half of a
            surrogate pair.
    """
    try:
        return _parsed(body)
    except InputError as error:
        raise InputError(f"{name} {error}") from error


def _parsed(body: bytes) -> Any:
    _check_depth(body)
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"is not UTF-8: byte {error.start} cannot be decoded") from error
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_float=_number,
            parse_int=_whole_number,
        )
    except json.JSONDecodeError as error:
        raise InputError(
            f"is not JSON: {error.msg} in line {error.lineno}, column {error.colno}"
        ) from error
    if _ESCAPED_SURROGATE.search(text):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise InputError("holds half of a surrogate pair") from error
    return value


def _check_depth(body: bytes) -> None:
    depth = 0
    for match in _STRINGS_AND_BRACKETS.finditer(body):
        mark = match.group()
        if mark in b"[{":
            depth += 1
            if depth > MOST_DEPTH:
                raise InputError(f"is nested deeper than {MOST_DEPTH} levels")
        elif mark in b"]}":
            depth -= 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        known: set[str] = set()
        for name, _ in pairs:
            if name in known:
                raise InputError(f"holds the key {name[:80]!r} twice in one object")
            known.add(name)
    return value


def _constant(name: str) -> NoReturn:
    raise InputError(f"holds {name}, which is not a number in JSON")


def _whole_number(text: str) -> int:
    if len(text) > 20 or int(text) not in _64_BITS:
        raise InputError(f"holds {text[:40]}, which is beyond 64 bits")
    return int(text)


def _number(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise InputError(f"holds {text[:40]}, which is too large a number")
    return value
