"""A finished list as columns, before it is written."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from graph.arrays import F64, I32, I64
from recommender.ranking.ranker import Lists
from recommender.ranking.request import Request
from recommender.serving.rules import Entry
from recommender.serving.subject import Subject


@dataclass(frozen=True)
class Columns:
    """The k entries of a list, best first."""

    rows: I32  # (k,) of items
    scores: F64  # (k,)
    sources: I64  # (k,) places in `names`
    parts: F64  # (k, s) what each source gave
    names: tuple[str, ...]  # s sources
    # Entry -> its label and interest, as the end of an object of JSON; others have neither.
    marks: Mapping[int, bytes] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def ranked(cls, lists: Lists, at: int, n: int, names: tuple[str, ...]) -> "Columns":
        """The first n of a ranked list."""
        rows = lists.items[at]
        count = min(n, int(np.count_nonzero(rows >= 0)))
        return cls(
            rows=rows[:count],
            scores=lists.scores[at, :count].astype(np.float64),
            sources=lists.origins[at, :count].astype(np.int64),
            parts=lists.parts[at, :count].astype(np.float64),
            names=names,
        )

    @classmethod
    def of(cls, entries: Sequence[Entry]) -> "Columns":
        """Of entries that were moved one by one."""
        names = dict.fromkeys(entry.source for entry in entries)
        names |= dict.fromkeys(source for entry in entries for source in entry.parts)
        places = {name: at for at, name in enumerate(names)}
        parts = np.zeros((len(entries), len(names)))
        for row, entry in zip(parts, entries, strict=True):
            for source, part in entry.parts.items():
                row[places[source]] = part
        return cls(
            rows=np.array([entry.row for entry in entries], np.int32),
            scores=np.array([entry.score for entry in entries], np.float64),
            sources=np.array([places[entry.source] for entry in entries], np.int64),
            parts=parts,
            names=tuple(names),
            marks={
                at: _marks(entry)
                for at, entry in enumerate(entries)
                if entry.label is not None or entry.interest is not None
            },
        )

    @classmethod
    def joined(cls, several: Sequence["Columns"]) -> "Columns":
        """The entries of several lists, one after the other."""
        if len(several) == 1:
            return several[0]
        names = tuple(dict.fromkeys(name for each in several for name in each.names))
        parts = np.zeros((sum(map(len, several)), len(names)))
        sources, start = [], 0
        marks: dict[int, bytes] = {}
        for each in several:
            places = np.array([names.index(name) for name in each.names], np.int64)
            sources.append(places[each.sources])
            parts[start : start + len(each), places] = each.parts
            marks |= {start + at: text for at, text in each.marks.items()}
            start += len(each)
        return cls(
            rows=np.concatenate([each.rows for each in several]),
            scores=np.concatenate([each.scores for each in several]),
            sources=np.concatenate(sources),
            parts=parts,
            names=names,
            marks=marks,
        )


def _marks(entry: Entry) -> bytes:
    marks = {"label": entry.label, "interest": entry.interest}
    return b"," + json.dumps(marks, separators=(",", ":"))[1:-1].encode()


@dataclass(frozen=True)
class Listed:
    """What is shown for one request, and how it came about; see `Answer`."""

    request: Request
    columns: Columns
    subject: Subject | None  # whose history explains it; None only if no reasons are asked for
    served_by: str
    fallback: str | None
    release: str
    profile: str
    segment: str | None
    notes: tuple[str, ...]
    full: bool = False  # as long as was asked for: there may be a next page
    rules: Sequence[tuple[str, ...]] = ()  # for each entry, the rules that placed or moved it
    members: Mapping[int, Subject] = field(default_factory=dict)  # of a household: item -> who
    # likes it most, whose history explains it in place of the subject's

    def speakers(self) -> list[tuple[Subject, I64]]:
        """Whose histories explain the entries, and which ones each."""
        if self.subject is None or len(self.columns) == 0:
            return []
        if not self.members:
            return [(self.subject, np.arange(len(self.columns)))]
        own: dict[int, tuple[Subject, list[int]]] = {}
        for at, row in enumerate(self.columns.rows.tolist()):
            subject = self.members.get(row, self.subject)
            own.setdefault(id(subject), (subject, []))[1].append(at)
        return [(subject, np.array(places)) for subject, places in own.values()]
