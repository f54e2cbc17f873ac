"""The words of titles as features of items."""

import re
from collections.abc import Iterable

import numpy as np
from scipy import sparse

LONGEST_SHARE = 0.1
"""A word in the titles of more than this share of the items tells nothing about an item."""
MOST_ITEMS = 2000
_WORD = re.compile(r"\w{3,}")


def words_of(title: str) -> list[str]:
    """The distinct words of a title, of three letters and more, casefolded, as they come."""
    return list(dict.fromkeys(_WORD.findall(title.casefold())))


def title_words(titles: Iterable[str]) -> tuple[sparse.csr_matrix, list[str]]:
    """(i, w) which words of three letters and more each title has, numbers too, and the w words.

    Words of one title alone are left out, and those of more than a tenth of all, or 2,000.
    """
    words: dict[str, int] = {}
    rows, columns = [], []
    count = 0
    for title in titles:
        for word in words_of(title):
            rows.append(count)
            columns.append(words.setdefault(word, len(words)))
        count += 1
    shape = (count, len(words))
    matrix = sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)
    carriers = np.bincount(matrix.indices, minlength=len(words))
    most = min(max(LONGEST_SHARE * count, 2), MOST_ITEMS)
    kept = np.flatnonzero((carriers > 1) & (carriers <= most))
    names = list(words)
    return sparse.csr_matrix(matrix[:, kept]), [names[column] for column in kept.tolist()]
