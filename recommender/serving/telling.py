"""What reasons from a history say: sentences with gaps, one for each kind of event and way.

A reason is JSON: a sentence, the path it describes, a share. `written.py` fills the gaps for each
item of a list, in compiled code. Whoever wants a reason as a value reads that JSON, so that there
is only one wording.
"""

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from graph.arrays import I32, I64, U8
from recommender.serving.subject import Kinds
from recommender.serving.subjects import ASKED, SHARED

FEWEST_PEOPLE = 3  # a smaller count is not shown: it could point at somebody
VERBS = {
    "view": "viewed",
    "like": "liked",
    "save": "saved",
    "play": "played",
    "rating": "rated",
    "tag": "tagged",
    "buy": "bought",
    "visit": "visited",
}
OPEN, CLOSE = "\\u201c", "\\u201d"  # quotation marks as JSON escapes them
CARRIES = '{"relationship":"HAS_TAG","of":"both","text":""}'
CARRIED = '{"relationship":"HAS_TAG","of":"","text":""}'
NEAR = '{"relationship":"NEAR","of":"both","text":""}'

# Gaps are control characters, which stand in no JSON.
FIRST_LETTER = 32
NEAR_NAME, NEAR_TITLE, NEAR_ID = "\x01", "\x02", "\x03"  # of the history's item; name: unquoted
TITLE, ID = "\x04", "\x05"  # of the item shown
TAG, PEOPLE, SHARE = "\x06", "\x07", "\x08"  # a tag's name, unquoted; how many; share of the score
# From an entry of the history to the item: how the second half of a sentence goes on. Further ways
# are the kinds of relations, in the order of a release.
VECTORS, BY_PEOPLE, BY_FEW, BY_TAG, ON_TO_IT, BY_RELATION = range(6)


class Wording(NamedTuple):
    """The sentences of some kinds of events: that of kind k and way w is number k x ways + w."""

    data: U8  # all sentences in ASCII, one after the other
    indptr: I64  # where each begins
    ways: int
    gaps: I64  # where gaps are in `data`
    gap_indptr: I64  # where the gaps of each sentence begin in `gaps`

    @classmethod
    def of(cls, data: U8, indptr: I64, ways: int) -> "Wording":
        """Of sentences with their gaps."""
        gaps = np.flatnonzero(data < FIRST_LETTER)
        return cls(data, indptr, ways, gaps, np.searchsorted(gaps, indptr))

    @classmethod
    def joined(cls, several: Sequence["Wording"]) -> "Wording":
        """The sentences of several, one after the other; all have equally many ways."""
        if len(several) == 1:
            return several[0]
        starts = np.cumsum([0, *(len(each.data) for each in several)])
        ends = [each.indptr[1:] + at for each, at in zip(several, starts.tolist(), strict=False)]
        data = np.concatenate([each.data for each in several])
        data.flags.writeable = False  # as of one
        return cls.of(data, np.concatenate([[0], *ends]), several[0].ways)


NO_WORDS = Wording.of(np.frombuffer(b"", np.uint8), np.zeros(1, np.int64), 0)


@lru_cache(256)
def wording(kinds: tuple[str, ...], relations: tuple[str, ...], subject_name: str) -> Wording:
    """The sentences.

    Args:
        kinds: of entries of histories, see `Subject.kinds`.
        relations: names of the kinds of relations between items.
        subject_name: whom the sentences speak to: "you", or "one of you".
    """
    ways = _ways(relations)
    sentences = [_sentence(_begins(kind, subject_name), way) for kind in kinds for way in ways]
    encoded = [sentence.encode("ascii") for sentence in sentences]
    indptr = np.cumsum([0, *map(len, encoded)])
    return Wording.of(np.frombuffer(b"".join(encoded), np.uint8), indptr, len(ways))


def coded(kinds: Sequence[str]) -> tuple[I32, tuple[str, ...]]:
    """The kinds of a history's entries as places in their names, and the names."""
    if isinstance(kinds, Kinds):
        return kinds.codes, tuple(kinds.names)
    names = tuple(dict.fromkeys(kinds))
    places = {name: at for at, name in enumerate(names)}
    return np.array([places[kind] for kind in kinds], np.int32), names


def _sentence(begins: tuple[str, str], way: tuple[str, str]) -> str:
    (text, path), (more, steps) = begins, way
    there = f'{{"node":"Item","text":{TITLE},"id":{ID}}}'
    return f'{{"text":"{text}{more}","path":[{path},{steps}{there}],"share":{SHARE}}}'


def _begins(kind: str, subject_name: str) -> tuple[str, str]:
    """The first half, from the user to an entry of the history: words and path."""
    there = f'{{"node":"Item","text":{NEAR_TITLE},"id":{NEAR_ID}}}'
    name = f"{OPEN}{NEAR_NAME}{CLOSE}"
    if kind.startswith(SHARED):
        alike = f"{inside(kind.removeprefix(SHARED))} users like this one"
        text, path = f"because {alike} chose {name}", edge("INTERACTED", alike, "")
    elif kind.startswith(ASKED):
        tag = inside(kind.removeprefix(ASKED))
        text = f"because you asked for {OPEN}{tag}{CLOSE}, a tag of {name}"
        path = f"{tag_node(tag)},{CARRIED}"
    else:
        text = f"because {subject_name} {VERBS.get(kind, 'chose')} {name}"
        path = edge("INTERACTED", subject_name, inside(kind))
    return text, f"{path},{there}"


def _ways(relations: Sequence[str]) -> list[tuple[str, str]]:
    """The second half, from an entry of the history to the item: words and path."""
    many, few = f"{PEOPLE} people", "the same people"
    return [
        # Near through people of similar taste, or by features; nobody chose both.
        (", which is close to it in the graph", f"{NEAR},"),
        (f", which {many} choose as well", f"{edge('INTERACTED', 'both', f'by {many}')},"),
        (f", which {few} choose as well", f"{edge('INTERACTED', 'both', f'by {few}')},"),
        (f", both tagged {OPEN}{TAG}{CLOSE}", f"{CARRIES},{tag_node(TAG)},{CARRIED},"),
        (
            ", from which people go on to it",
            f"{edge('INTERACTED', 'both', 'by people who went on')},",
        ),
        *(
            (
                f", linked to it as {OPEN}{inside(kind)}{CLOSE}",
                f"{edge('RELATED', 'both', inside(kind))},",
            )
            for kind in relations
        ),
    ]


def tag_node(name: str) -> str:
    """A tag as a node of a path; its name as it stands inside a text of JSON."""
    return f'{{"node":"Tag","text":"{name}","id":"{name}"}}'


def edge(relationship: str, of: str, text: str) -> str:
    """A step of a path; `text` as it stands inside a text of JSON."""
    return f'{{"relationship":"{relationship}","of":"{of}","text":"{text}"}}'


@lru_cache(1000)
def inside(text: str) -> str:
    """A text as it stands inside a text of JSON."""
    return json.dumps(text)[1:-1]
