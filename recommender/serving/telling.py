"""Reasons from a history as JSON: a sentence, the path it describes, a share.

Answers over HTTP are put together from texts made once (see `recommender.releases.cards`), so
a reason is written as JSON at once; whoever wants it as a value reads it from that.
"""

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from graph.model import tag_parts
from recommender.ranking.request import Reason
from recommender.releases.cards import Piece
from recommender.releases.release import Release
from recommender.serving.evidence import evidence
from recommender.serving.subject import Subject
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
OPEN, CLOSE = (
    "\\u201c",
    "\\u201d",
)  # quotation marks as JSON escapes them: ASCII is put together fastest
CARRIES = '{"relationship":"HAS_TAG","of":"both","text":""}'
CARRIED = '{"relationship":"HAS_TAG","of":"","text":""}'
NEAR = '{"relationship":"NEAR","of":"both","text":""}'


class ReasonText(NamedTuple):
    """One reason."""

    json: str  # an object of `text`, `path` and `share`
    because: str | None  # id of the history's item that the path starts from, as JSON
    through: str
    tag: str | None = None

    @classmethod
    def of(cls, reason: Reason) -> "ReasonText":
        """Make one from a `Reason`."""
        text = json.dumps(
            {"text": reason.text, "path": reason.path, "share": reason.share},
            separators=(",", ":"),
        )
        because = None if reason.because is None else json.dumps(reason.because)
        return cls(text, because, reason.through, reason.tag)

    def reason(self) -> Reason:
        """The same as a `Reason`."""
        read = json.loads(self.json)
        return Reason(
            text=read["text"],
            path=tuple(read["path"]),
            share=read["share"],
            because=None if self.because is None else json.loads(self.because),
            through=self.through,
            tag=self.tag,
        )


class Teller:
    """Writes the reasons of one subject's list."""

    def __init__(self, release: Release, subject: Subject, shown: Sequence[int]) -> None:
        """Find the evidence for all rows of items shown at once."""
        self._release = release
        self._subject = subject
        self._ways: dict[tuple[int, int, bool, int], tuple[str, str, str, str | None]] = {}
        self._evidence: dict[int, list[tuple[int, float, int, int, bool, int]]] = {}
        if len(subject.items) == 0 or len(shown) == 0:
            return
        rows = np.array(shown, np.int32)
        speaking = evidence(
            release, rows, subject.items, subject.weights, subject.user_row, subject.uncounted
        )
        columns = (
            speaking.entries, speaking.shares.round(4), speaking.relations, speaking.tags,
            speaking.tagged, speaking.people,
        )  # fmt: skip
        for item, *reasons in zip(shown, *(column.tolist() for column in columns), strict=True):
            self._evidence[item] = list(zip(*reasons, strict=True))
        entries = np.unique(speaking.entries[speaking.entries >= 0])
        piece = release.pieces(subject.items[entries].tolist())
        self._starts = {
            entry: self._start(subject.kinds[entry], near)
            for entry, near in zip(entries.tolist(), piece, strict=True)
        }

    def reasons(self, item: int, piece: Piece) -> list[ReasonText]:
        """At most three reasons for an item, strongest first; none without a history."""
        reasons = []
        for entry, share, relation, shared, tagged, people in self._evidence.get(item, ()):
            if entry < 0:
                break
            because, text, path = self._starts[entry]
            way = relation, shared, tagged, people
            if way not in self._ways:
                self._ways[way] = self._goes_on(*way)
            through, more, steps, tag = self._ways[way]
            reasons.append(
                ReasonText(
                    f'{{"text":"{text}{more}","path":[{path},{steps}{{"node":"Item","text":'
                    f'{piece.title},"id":{piece.id}}}],"share":{share}}}',
                    because,
                    through,
                    tag,
                )
            )
        return reasons

    def _start(self, kind: str, piece: Piece) -> tuple[str, str, str]:
        """The first half, from the user to a history entry: the item's id, words, the path."""
        request = self._subject.request
        name, there = piece.title[1:-1], node(piece)
        subject_name = "one of you" if request.household or request.mix else "you"
        if kind.startswith(SHARED):
            alike = f"{inside(kind.removeprefix(SHARED))} users like this one"
            text, path = f"because {alike} chose {OPEN}{name}{CLOSE}", edge("INTERACTED", alike, "")
        elif kind.startswith(ASKED):
            tag = inside(kind.removeprefix(ASKED))
            text = f"because you asked for {OPEN}{tag}{CLOSE}, a tag of {OPEN}{name}{CLOSE}"
            path = f"{tag_node(tag)},{CARRIED}"
        else:
            text = f"because {subject_name} {VERBS.get(kind, 'chose')} {OPEN}{name}{CLOSE}"
            path = edge("INTERACTED", subject_name, inside(kind))
        return piece.id, text, f"{path},{there}"

    def _goes_on(
        self, relation: int, tag: int, tagged: bool, people: int
    ) -> tuple[str, str, str, str | None]:
        """The second half, from a history entry to the item: the kind, words, the path, a tag."""
        if relation >= 0:
            kind = inside(self._release.relation_kind(relation))
            way = f"{edge('RELATED', 'both', kind)},"
            return "relation", f", linked to it as {OPEN}{kind}{CLOSE}", way, None
        if tag >= 0:
            plain = tag_parts(self._release.tags.id(tag))[1]
            name = inside(plain)
            way = f"{CARRIES},{tag_node(name)},{CARRIED},"
            return (
                "tag" if tagged else "written tag",
                f", both tagged {OPEN}{name}{CLOSE}",
                way,
                plain,
            )
        if people:
            many = f"{people} people" if people >= FEWEST_PEOPLE else "the same people"
            by = edge("INTERACTED", "both", f"by {many}")
            return "people", f", which {many} choose as well", f"{by},", None
        # Near through people of similar taste, or by features; nobody chose both.
        return "vectors", ", which is close to it in the graph", f"{NEAR},", None


def node(piece: Piece) -> str:
    """An item as a node of a path."""
    return f'{{"node":"Item","text":{piece.title},"id":{piece.id}}}'


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
