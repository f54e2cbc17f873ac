"""Puts the file engine's errors about a query into plain words."""

import re

from graph.errors import QueryRefused, QueryStopped
from graph.explore.cypher_words import PROPERTIES

_SAID = (
    (
        r"Cannot find property (\S+) for (\S+)\.",
        rf"\2 has no property \1; properties are {', '.join(PROPERTIES)}",
    ),
    (r"Variable (\S+) is not in scope", r"nothing is called \1 here; MATCH or WITH names things"),
    (
        r"list_extract.*index=(-?\d+) is out of range",
        "a list is shorter than the position asked for; size(list) gives its length",
    ),
    (r"Could not convert \"(.*)\" to (\w+)", r"'\1' cannot be read as \2"),
    (r"Cast failed\. (.*) is not in (\w+) range", r"'\1' cannot be read as \2"),
    (
        r"expression with type (?:PROPERTY|VARIABLE)",
        "a count and what it is grouped by must be separate columns: WITH x, count(*) AS n",
    ),
    (
        r"has data type (\w+) but expected (\w+)",
        r"a \1 stands where a \2 is needed; convert it with toString(x) or toInteger(x)",
    ),
    (
        r"Cannot match a built-in function for given function ([^\s.(]+)\(([^)]*)\)",
        r"\1 cannot be used with \2; toString(x) and toInteger(x) convert values",
    ),
    (r"Assertion failed|expected rule|mismatched input", "write it another way, in smaller steps"),
)


def in_words(error: BaseException) -> QueryRefused:
    """The engine's error in one sentence."""
    text = str(error).strip().split("\n")[0] or type(error).__name__
    if "bad_alloc" in text or isinstance(error, MemoryError) or "uffer pool is full" in text:
        return QueryStopped("The query needed more memory than allowed and was stopped.")
    if "nterrupted" in text or "imeout" in text:
        return QueryStopped("The query ran longer than allowed and was stopped.")
    for pattern, words in _SAID:
        match = re.search(pattern, text)
        if match:
            text = match.expand(words)
            break
    text = re.sub(r"^\w+ exception: ", "", text).rstrip(".")
    return QueryRefused(f"The query was not understood: {text}.")
