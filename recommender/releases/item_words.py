"""The words of items as features: those of titles, and of attributes that hold text.

A word counts by how often it is there (1 + log n; Salton and Buckley 1988,
doi:10.1016/0306-4573(88)90021-0), in a title as often as `TITLE` times in a text. A word of a title
alone counts 1.
"""

import json
import re
from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from math import log
from typing import Any

import numpy as np
from scipy import sparse

LONGEST_SHARE = 0.1
"""A word of more than this share of the items tells nothing about an item."""
MOST_ITEMS = 2000
TITLE = 3
MOST_WORDS = 100
"""Different words of an item that count, the first ones: 8 bytes each while they are counted."""
TEXT_WORDS = 5
"""An attribute with so many different words on average is a text, not a name or a word."""
LOOKED_AT = 1000
_WORD = re.compile(r"\w{3,}")


def words_of(text: str) -> list[str]:
    """The distinct words of a text, of three letters and more, casefolded, as they come."""
    return list(dict.fromkeys(_WORD.findall(text.casefold())))


def weighed_words(title: str, texts: Sequence[str] = ()) -> dict[str, float]:
    """The words of an item, as they come, and how much each counts."""
    words = words_of(title)[:MOST_WORDS]
    if not texts:
        return dict.fromkeys(words, 1.0)
    times = dict.fromkeys(words, TITLE)
    for text in texts:
        for word in _WORD.findall(text.casefold()):
            if word in times or len(times) < MOST_WORDS:
                times[word] = times.get(word, 0) + 1
    whole = 1 + log(TITLE)
    return {word: (1 + log(count)) / whole for word, count in times.items()}


def texts_among(attributes: Iterable[str]) -> list[str]:
    """Names of the attributes that hold text, ascending; of each item a JSON object is given.

    The first `LOOKED_AT` items that have any attribute tell.
    """
    words: dict[str, list[int]] = {}
    for own in islice((text for text in attributes if text != "{}"), LOOKED_AT):
        for name, value in json.loads(own).items():
            there = words_of(value) if isinstance(value, str) else ()
            words.setdefault(name, []).append(len(there))
    return sorted(name for name, own in words.items() if sum(own) >= TEXT_WORDS * len(own))


def texts_of(attributes: Mapping[str, Any], names: Iterable[str]) -> tuple[str, ...]:
    """What an item has of the attributes that hold text."""
    texts = (attributes.get(name) for name in names)
    return tuple(text for text in texts if isinstance(text, str))


def item_words(items: Iterable[tuple[str, Sequence[str]]]) -> tuple[sparse.csr_matrix, list[str]]:
    """(i, w) how much each word counts of each item, given its title and texts; and the w words.

    Words of three letters and more, numbers too. Words of one item alone are left out, and those
    of more than a tenth of all, or 2,000.
    """
    words: dict[str, int] = {}
    columns, weights, ends = array("i"), array("f"), array("q", [0])
    for title, texts in items:
        own = weighed_words(title, texts)
        columns.extend([words.setdefault(word, len(words)) for word in own])
        weights.extend(own.values())
        ends.append(len(columns))
    count = len(ends) - 1
    matrix = sparse.csr_matrix(
        (np.array(weights, np.float32), np.array(columns, np.int32), np.array(ends, np.int64)),
        shape=(count, len(words)),
    )
    carriers = np.bincount(matrix.indices, minlength=len(words))
    most = min(max(LONGEST_SHARE * count, 2), MOST_ITEMS)
    kept = np.flatnonzero((carriers > 1) & (carriers <= most))
    names = list(words)
    return sparse.csr_matrix(matrix[:, kept]), [names[column] for column in kept.tolist()]
