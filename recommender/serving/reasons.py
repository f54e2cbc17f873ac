"""Why the items of a batch of lists are shown: evidence from histories, or else other reasons."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from graph.arrays import F64, I64
from graph.model import tag_parts
from recommender.ranking.request import Reason
from recommender.ranking.sources import SEQUENCE
from recommender.releases.release import Release
from recommender.serving.evidence import GO_ON, Evidence, evidence
from recommender.serving.explain import reasons_apart_from_history
from recommender.serving.listed import Columns, Listed
from recommender.serving.rules import PINNED, SPONSORED
from recommender.serving.subject import Subject
from recommender.serving.telling import NO_WORDS, Wording, coded, wording

APART = (PINNED, SPONSORED, SEQUENCE)  # what they propose is not explained by the history's items


@dataclass(frozen=True)
class Reasons:
    """The reasons of k items."""

    evidence: Evidence  # (k, 3)
    sentences: Wording
    begins: I64  # (k, 3) the first of the sentences about that kind of entry; -1: no reason
    others: Mapping[int, Sequence[Reason]]  # of items that no history explains

    @property
    def any(self) -> bool:
        """Whether a history explains anything."""
        return len(self.sentences.data) > 0

    @property
    def texts(self) -> dict[int, bytes]:
        """The others as JSON, joined by commas."""
        return {at: b",".join(map(_as_json, own)) for at, own in self.others.items()}

    def details(self, release: Release, at: int) -> Iterator[dict[str, Any]]:
        """What JSON leaves out of each reason for an item: fields of `Reason`."""
        if at in self.others:
            for reason in self.others[at]:
                yield {name: getattr(reason, name) for name in ("because", "through", "tag")}
            return
        own = self.evidence
        for rank in np.flatnonzero(self.begins[at] >= 0).tolist():
            tag, through = int(own.tags[at, rank]), "vectors"
            if own.relations[at, rank] >= 0:
                through = "relation"
            elif tag >= 0:
                through = "tag" if own.tagged[at, rank] else "written tag"
            elif own.people[at, rank] == GO_ON:
                through = "next"
            elif own.people[at, rank]:
                through = "people"
            yield {
                "because": release.items.id(int(own.near[at, rank])),
                "through": through,
                "tag": tag_parts(release.tags.id(tag))[1] if tag >= 0 else None,
            }


def tell(release: Release, lists: Sequence[Listed]) -> Reasons:
    """The reasons for all items of some lists, where they are asked for, in one pass."""
    speaking: list[tuple[Listed, Subject, I64, int]] = []  # list, speaker, entries, its start
    start = 0
    for listed in lists:
        if listed.request.reasons:
            speaking += [(listed, subject, at, start) for subject, at in listed.speakers()]
        start += len(listed.columns)
    if not speaking:
        return _silence(start)
    why = _from_histories(release, [each for each in speaking if len(each[1].items)], start)
    others = {}
    for listed, subject, at, begin in speaking:
        columns = listed.columns
        silent = why.begins[begin + at, 0] < 0
        apart = [number for number, name in enumerate(columns.names) if name in APART]
        if apart:
            silent |= np.isin(columns.sources[at], apart)
        for rank in at[silent].tolist():
            others[begin + rank] = reasons_apart_from_history(
                release, subject, int(columns.rows[rank]), columns.names[columns.sources[rank]]
            )
        if SEQUENCE in columns.names:
            shares = _foretold(columns)
            why.evidence.shares[begin + at] *= (1 - shares[at])[:, None]
            own = columns.sources[at] == columns.names.index(SEQUENCE)
            for rank in at[own].tolist():
                (reason,) = others[begin + rank]
                others[begin + rank] = (replace(reason, share=round(float(shares[rank]), 4)),)
    return Reasons(why.evidence, why.sentences, why.begins, others)


def _foretold(columns: Columns) -> F64:
    """(k,) the share of each score that a sequence model gave."""
    parts = np.maximum(columns.parts, 0)
    sums = parts.sum(axis=1)
    shares: F64 = parts[:, columns.names.index(SEQUENCE)] / np.where(sums > 0, sums, 1)
    return shares


@lru_cache(16)
def _silence(count: int) -> Reasons:
    """No reasons for `count` items; nobody writes into its arrays."""
    return Reasons(Evidence.none(count), NO_WORDS, np.full((count, 3), -1, np.int64), {})


def _from_histories(
    release: Release, speaking: Sequence[tuple[Listed, Subject, I64, int]], count: int
) -> Reasons:
    """The evidence for `count` items, and the sentences that say it."""
    begins = np.full((count, 3), -1, np.int64)
    if not speaking:
        return Reasons(Evidence.none(count), NO_WORDS, begins, {})
    relations = tuple(release.manifest["relation_kinds"])
    wordings: dict[Any, tuple[Wording, int]] = {}  # and the number of its first sentence
    of_entries, sentences = [], 0
    for listed, subject, *_ in speaking:
        codes, kinds = coded(subject.kinds)
        several = bool(listed.request.household or listed.request.mix)
        key = kinds, several
        if key not in wordings:
            made = wording(kinds, relations, "one of you" if several else "you")
            wordings[key] = made, sentences
            sentences += len(made.indptr) - 1
        made, first = wordings[key]
        of_entries.append(codes.astype(np.int64) * made.ways + first)
    shown = [listed.columns.rows[at] for listed, _, at, _ in speaking]
    own = evidence(release, [subject for _, subject, *_ in speaking], shown)
    places = np.concatenate([start + at for *_, at, start in speaking])
    begins[places] = np.where(own.entries >= 0, np.concatenate(of_entries)[own.entries], -1)
    together = Wording.joined([made for made, _ in wordings.values()])
    return Reasons(own.put(places, count), together, begins, {})


def _as_json(reason: Reason) -> bytes:
    content = {"text": reason.text, "path": reason.path, "share": reason.share}
    return json.dumps(content, separators=(",", ":")).encode()
