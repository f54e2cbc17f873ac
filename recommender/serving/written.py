"""The items of answers as JSON, written for all lists of a batch in one compiled call.

What is said of an item was written when the release was made (`releases/cards.py`), and what a
reason says are sentences with gaps (`telling.py`). So this copies bytes, and puts in numbers:

    {"item":"bwv-988",…,"domains":["baroque"],"score":0.93,"source":"items",
     ├─ card ───────────────────────────────┤
     "parts":{"items":0.93},"reasons":[…],"label":null,"interest":null}
                            ├─ sentences, or texts of one item
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numba import njit

from graph.arrays import I64, U8
from recommender.releases.release import Release
from recommender.serving.evidence import GO_ON
from recommender.serving.listed import Columns
from recommender.serving.reasons import Reasons
from recommender.serving.subject_arrays import starts_of
from recommender.serving.telling import (
    BY_FEW,
    BY_PEOPLE,
    BY_RELATION,
    BY_TAG,
    FEWEST_PEOPLE,
    ON_TO_IT,
    VECTORS,
)

SCORE, SOURCE, PARTS, REASONS, NO_MARKS = (
    b',"score":',
    b',"source":"',
    b'","parts":{',
    b'},"reasons":[',
    b',"label":null,"interest":null',
)
CONSTANTS = (SCORE, SOURCE, PARTS, REASONS, NO_MARKS)
ROOM = 200  # bytes of an entry for constants, numbers and commas, names of sources apart
REASON_ROOM = 40  # bytes of a reason for numbers and a comma
MILLIONTHS, TEN_THOUSANDTHS = 6, 4  # digits of scores and shares
MOST_DIGITS = 9e12  # a number beyond it is written without digits after the point


def _joined(texts: Sequence[bytes]) -> tuple[U8, I64]:
    """Texts one after the other, and where each begins."""
    return np.frombuffer(b"".join(texts), np.uint8), np.cumsum([0, *map(len, texts)])


def _some(texts: Mapping[int, bytes], count: int) -> tuple[U8, I64]:
    """`count` texts joined, empty but for some."""
    if not texts:
        return NOTHING, np.zeros(count + 1, np.int64)
    return _joined([texts.get(at, b"") for at in range(count)])


NOTHING: U8 = np.frombuffer(b"", np.uint8)
_constants = _joined(CONSTANTS)
_names = lru_cache(64)(lambda names: _joined([name.encode() for name in names]))


def written(release: Release, lists: Sequence[Columns], why: Reasons) -> list[bytes]:
    """For each list its items as JSON, joined by commas; `why` are the reasons of all of them."""
    if not any(map(len, lists)):
        return [b""] * len(lists)
    columns = Columns.joined(lists)
    count = len(columns)
    speaking = why.evidence
    rows = columns.rows
    if why.any:
        rows = np.concatenate([rows, speaking.near.ravel()])
    cards = release.cards_of(rows)
    text, ends = _written(
        starts_of(lists), *cards, columns.scores, columns.sources, columns.parts,
        *_names(columns.names), *_constants, why.sentences.data, why.sentences.indptr,
        why.sentences.gaps, why.sentences.gap_indptr, why.begins, speaking.relations,
        release.arrays["relations.kinds"], speaking.tags, speaking.people, speaking.shares,
        release.tags.data, release.tags.offsets,
        *_some(why.texts, count), *_some(columns.marks, count),
    )  # fmt: skip
    content = text.data
    return [bytes(content[a:b]) for a, b in pairwise([0, *ends.tolist()])]


@njit(cache=True, nogil=True)
def _written(  # type: ignore[no-untyped-def]
    list_indptr, cards, more_cards, starts, card_parts, scores, sources, parts, names, name_indptr,
    constants, constant_indptr, sentences, sentence_indptr, gaps, gap_indptr, begins, relations,
    relation_kinds, tags, people, shares, tag_data, tag_indptr, others, other_indptr, marks,
    mark_indptr,
):  # fmt: skip
    """The text u8, and where each list ends.

    cards and more_cards u8, starts and card_parts (…, 3): of the k entries, then of the k x 3 items
    that their reasons begin from, if there are any (`Release.cards_of`); sources (k,) places in
    names and parts (k, s); begins, relations, tags, people and shares (k, 3) as in `Reasons`.
    others: k texts that stand in the place of sentences where they are not empty; marks: k texts,
    or empty.
    """
    count = len(scores)
    which = np.empty(begins.shape, np.int64)
    room = 1
    for k in range(count):
        title, own_id = card_parts[k, 1], card_parts[k, 0]
        room += ROOM + card_parts[k, 2] + 2 * len(names) + 30 * parts.shape[1]
        room += other_indptr[k + 1] - other_indptr[k] + mark_indptr[k + 1] - mark_indptr[k]
        for r in range(which.shape[1]):
            which[k, r] = sentence = -1
            if begins[k, r] >= 0:
                way = _way(relations[k, r], relation_kinds, tags[k, r], people[k, r])
                which[k, r] = sentence = begins[k, r] + way
            if sentence < 0:
                break
            room += sentence_indptr[sentence + 1] - sentence_indptr[sentence] + REASON_ROOM
            room += 3 * card_parts[count + 3 * k + r, 1] + own_id + title
            if tags[k, r] >= 0:  # each byte of a name may become six, in three places
                room += 18 * (tag_indptr[tags[k, r] + 1] - tag_indptr[tags[k, r]])
    out = np.empty(room, np.uint8)
    ends = np.zeros(len(list_indptr) - 1, np.int64)
    at = 0
    for which_list in range(len(ends)):
        for k in range(list_indptr[which_list], list_indptr[which_list + 1]):
            if k > list_indptr[which_list]:
                out[at] = COMMA
                at += 1
            card, begin = _card(cards, more_cards, starts[k])
            at = _copy(out, at, card, begin, begin + card_parts[k, 2])
            at = _part(out, at, constants, constant_indptr, 0)
            at = _number(out, at, scores[k], MILLIONTHS)
            at = _part(out, at, constants, constant_indptr, 1)
            at = _part(out, at, names, name_indptr, sources[k])
            at = _part(out, at, constants, constant_indptr, 2)
            first = True
            for s in range(parts.shape[1]):
                if parts[k, s] == 0:
                    continue
                if not first:
                    out[at] = COMMA
                    at += 1
                first = False
                out[at] = QUOTE
                at = _part(out, at + 1, names, name_indptr, s)
                out[at], out[at + 1] = QUOTE, COLON
                at = _number(out, at + 2, parts[k, s], MILLIONTHS)
            at = _part(out, at, constants, constant_indptr, 3)
            if other_indptr[k + 1] > other_indptr[k]:
                at = _part(out, at, others, other_indptr, k)
            else:
                for r in range(which.shape[1]):
                    if which[k, r] < 0:
                        break
                    if r:
                        out[at] = COMMA
                        at += 1
                    near = count + 3 * k + r
                    near_card, near_begin = _card(cards, more_cards, starts[near])
                    at = _sentence(
                        out, at, sentences, sentence_indptr, gaps, gap_indptr, which[k, r],
                        near_card, near_begin, card_parts[near], card, begin, card_parts[k],
                        tag_data, tag_indptr, tags[k, r], people[k, r], shares[k, r],
                    )  # fmt: skip
            out[at] = CLOSING
            at += 1
            if mark_indptr[k + 1] > mark_indptr[k]:
                at = _part(out, at, marks, mark_indptr, k)
            else:
                at = _part(out, at, constants, constant_indptr, 4)
            out[at] = CLOSED
            at += 1
        ends[which_list] = at
    return out[:at], ends


COMMA, QUOTE, COLON, CLOSING, CLOSED = (np.uint8(ord(mark)) for mark in ',":]}')
BACKSLASH, MINUS, POINT, ZERO = (np.uint8(ord(mark)) for mark in "\\-.0")
BEFORE_ID, BEFORE_TITLE = len('{"item":'), len(',"title":')  # of a card


@njit(cache=True, nogil=True)
def _card(cards, more_cards, start):  # type: ignore[no-untyped-def]
    """The bytes that a card is among, and where it begins there."""
    return (cards, start) if start >= 0 else (more_cards, -1 - start)


@njit(cache=True, nogil=True)
def _way(relation, relation_kinds, tag, people):  # type: ignore[no-untyped-def]
    """Which of the ways of `telling` goes from the history to the item."""
    if relation >= 0:
        return BY_RELATION + relation_kinds[relation]
    if tag >= 0:
        return BY_TAG
    if people == GO_ON:
        return ON_TO_IT
    if people >= FEWEST_PEOPLE:
        return BY_PEOPLE
    return BY_FEW if people > 0 else VECTORS


@njit(cache=True, nogil=True)
def _sentence(  # type: ignore[no-untyped-def]
    out, at, sentences, sentence_indptr, gaps, gap_indptr, sentence, near_card, near, near_parts,
    card, item, item_parts, tag_data, tag_indptr, tag, people, share,
):  # fmt: skip
    """A sentence with its gaps filled in; see `telling` for what each of the numbers is."""
    step = sentence_indptr[sentence]
    for number in range(gap_indptr[sentence], gap_indptr[sentence + 1]):
        stop = gaps[number]
        at = _copy(out, at, sentences, step, stop)
        step, gap = stop + 1, sentences[stop]
        if gap == 1:
            title = near + near_parts[0] + BEFORE_TITLE
            at = _copy(out, at, near_card, title + 1, near + near_parts[1] - 1)
        elif gap == 2:
            title = near + near_parts[0] + BEFORE_TITLE
            at = _copy(out, at, near_card, title, near + near_parts[1])
        elif gap == 3:
            at = _copy(out, at, near_card, near + BEFORE_ID, near + near_parts[0])
        elif gap == 4:
            title = item + item_parts[0] + BEFORE_TITLE
            at = _copy(out, at, card, title, item + item_parts[1])
        elif gap == 5:
            at = _copy(out, at, card, item + BEFORE_ID, item + item_parts[0])
        elif gap == 6:
            at = _tag(out, at, tag_data, tag_indptr[tag], tag_indptr[tag + 1])
        elif gap == 7:
            at = _whole(out, at, people)
        else:
            at = _number(out, at, share, TEN_THOUSANDTHS)
    return _copy(out, at, sentences, step, sentence_indptr[sentence + 1])


@njit(cache=True, nogil=True)
def _part(out, at, data, indptr, number):  # type: ignore[no-untyped-def]
    return _copy(out, at, data, indptr[number], indptr[number + 1])


@njit(cache=True, nogil=True)
def _copy(out, at, data, start, stop):  # type: ignore[no-untyped-def]
    """Slices that begin at 0: so many bytes are copied at once."""
    source = data[start:stop]
    target = out[at : at + len(source)]
    for step in range(len(source)):
        target[step] = source[step]
    return at + len(source)


@njit(cache=True, nogil=True)
def _tag(out, at, data, start, stop):  # type: ignore[no-untyped-def]
    """The name in a tag's key, as it stands inside a text of JSON."""
    while data[start] != 31:  # the category ends here
        start += 1
    for step in range(start + 1, stop):
        letter = data[step]
        if letter < 32:
            out[at], out[at + 1] = BACKSLASH, np.uint8(117)  # u
            out[at + 2], out[at + 3], out[at + 4] = ZERO, ZERO, ZERO + (letter >> np.uint8(4))
            low = letter & np.uint8(15)
            out[at + 5] = low + (ZERO if low < 10 else np.uint8(87))  # a …
            at += 6
            continue
        if letter in (QUOTE, BACKSLASH):
            out[at] = BACKSLASH
            at += 1
        out[at] = letter
        at += 1
    return at


@njit(cache=True, nogil=True)
def _whole(out, at, number):  # type: ignore[no-untyped-def]
    """A whole number that is not negative."""
    digits, rest = 1, number
    while rest >= 10:
        rest //= 10
        digits += 1
    for step in range(digits):
        out[at + digits - 1 - step] = ZERO + np.uint8(number % 10)
        number //= 10
    return at + digits


@njit(cache=True, nogil=True)
def _number(out, at, value, digits):  # type: ignore[no-untyped-def]
    """A number rounded to so many digits after the point, at least one of which is written."""
    if value < 0:
        out[at] = MINUS
        at, value = at + 1, -value
    scale = 10**digits
    beyond = not value < MOST_DIGITS  # or not a number
    scaled = np.int64(min(value, 9e18)) if beyond else np.int64(np.rint(value * scale))
    after = 0 if beyond else scaled % scale
    at = _whole(out, at, scaled if beyond else scaled // scale)
    out[at] = POINT
    at += 1
    for step in range(digits):
        out[at + digits - 1 - step] = ZERO + np.uint8(after % 10)
        after //= 10
    at += digits
    while out[at - 1] == ZERO and out[at - 2] != POINT:
        at -= 1
    return at
