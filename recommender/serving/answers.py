"""A finished list as an answer: as values for Python, or as JSON put together from texts.

The JSON of each item was written when the release was made. So `answer_json` only joins texts,
and does not build the values first; both forms say the same.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from recommender.ranking.pages import pages_before
from recommender.ranking.request import Answer, Recommended, Request
from recommender.releases.cards import Piece
from recommender.releases.release import Release
from recommender.serving import explain
from recommender.serving.answered import request_id
from recommender.serving.rules import Entry
from recommender.serving.subject import Subject
from recommender.serving.telling import ReasonText, Teller, inside

SERVED_BY = b'"served_by":"'


@dataclass(frozen=True)
class Listed:
    """What is shown for one request, and how it came about; see `Answer`."""

    request: Request
    entries: Sequence[Entry]
    speaker: Callable[[int], Subject]  # the subject whose history explains a row
    served_by: str
    fallback: str | None
    release: str
    profile: str
    segment: str | None
    notes: tuple[str, ...]
    next: str | None
    rules: Sequence[tuple[str, ...]] = ()  # for each entry, the rules that placed or moved it


def answer(release: Release, listed: Listed) -> Answer:
    """The answer as Python values."""
    pieces = release.pieces([entry.row for entry in listed.entries])
    items = []
    for entry, card, why in zip(
        listed.entries, pieces, _reasons(release, listed, pieces), strict=True
    ):
        read = json.loads(f"{card.shown}}}")
        items.append(
            Recommended(
                item=read["item"],
                title=read["title"],
                score=round(entry.score, 6),
                source=entry.source,
                parts=_parts(entry),
                tags=tuple(read["tags"]),
                domains=tuple(read["domains"]),
                reasons=tuple(text.reason() for text in why),
                label=entry.label,
                interest=entry.interest,
            )
        )
    return Answer(
        items=tuple(items),
        served_by=listed.served_by,
        fallback=listed.fallback,
        release=listed.release,
        profile=listed.profile,
        segment=listed.segment,
        notes=listed.notes,
        next=listed.next,
        request_id=_request_id(release, listed),
    )


def answer_json(release: Release, listed: Listed) -> bytes:
    """The same answer as JSON in UTF-8."""
    pieces = release.pieces([entry.row for entry in listed.entries])
    reasons = _reasons(release, listed, pieces)
    items = [
        f'{card.shown},"score":{round(entry.score, 6)},"source":"{entry.source}",'
        f'"parts":{{{_parts_json(entry)}}},"reasons":[{_joined(why)}]{_marks(entry)}}}'
        for entry, card, why in zip(listed.entries, pieces, reasons, strict=True)
    ]
    notes = ",".join(map(_text, listed.notes))
    return (
        f'{{"items":[{",".join(items)}],"served_by":{_text(listed.served_by)},'
        f'"fallback":{_text(listed.fallback)},"release":{_text(listed.release)},'
        f'"profile":{_text(listed.profile)},"segment":{_text(listed.segment)},'
        f'"notes":[{notes}],"next":{_text(listed.next)},'
        f'"request_id":"{_request_id(release, listed)}"}}'
    ).encode()


def origin(made: bytes) -> tuple[str, bool]:
    """What an answer, as JSON without spaces, was made from, and whether a fallback helped."""
    begin = made.rindex(SERVED_BY) + len(SERVED_BY)  # no text holds it: a quote in it is escaped
    end = made.index(b'"', begin)
    return made[begin:end].decode(), not made.startswith(b',"fallback":null', end + 1)


def _request_id(release: Release, listed: Listed) -> str:
    entries = listed.entries
    ids = release.items.all_encoded([entry.row for entry in entries])
    sources = [entry.source for entry in entries]
    items = list(zip(ids, sources, listed.rules or [()] * len(entries), strict=True))
    return request_id(listed.release, listed.segment, pages_before(listed.request), items)


def _reasons(
    release: Release, listed: Listed, pieces: Sequence[Piece]
) -> list[Sequence[ReasonText]]:
    """The reasons for each entry; none where none were asked for."""
    if not listed.request.reasons:
        return [()] * len(listed.entries)
    speakers = [listed.speaker(entry.row) for entry in listed.entries]
    tellers: dict[int, Teller] = {}
    for speaker in speakers:
        if id(speaker) not in tellers:
            own = zip(listed.entries, speakers, strict=True)
            rows = [entry.row for entry, other in own if other is speaker]
            tellers[id(speaker)] = Teller(release, speaker, rows)
    return [
        explain.reason_texts(release, speaker, entry.row, entry.source, tellers[id(speaker)], card)
        for entry, speaker, card in zip(listed.entries, speakers, pieces, strict=True)
    ]


def _parts(entry: Entry) -> dict[str, float]:
    return {source: round(part, 6) for source, part in entry.parts.items()}


def _parts_json(entry: Entry) -> str:
    return ",".join([f'"{source}":{round(part, 6)}' for source, part in entry.parts.items()])


def _joined(why: Sequence[ReasonText]) -> str:
    return ",".join([reason.json for reason in why]) if why else ""


def _marks(entry: Entry) -> str:
    if entry.label is None and entry.interest is None:
        return ',"label":null,"interest":null'
    return f',"label":{_text(entry.label)},"interest":{_text(entry.interest)}'


def _text(text: str | None) -> str:
    return "null" if text is None else f'"{inside(text)}"'
