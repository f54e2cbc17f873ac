"""Finished lists as answers: as JSON put together from bytes, or as values read from that."""

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from graph.arrays import U32
from recommender.ranking.pages import next_cursor, pages_before, sums_of
from recommender.ranking.request import Answer, Reason, Recommended
from recommender.releases.release import Release
from recommender.serving.answered import request_id
from recommender.serving.listed import Listed
from recommender.serving.reasons import Reasons, tell
from recommender.serving.telling import inside
from recommender.serving.written import written

SERVED_BY = b'"served_by":"'


def answers_json(release: Release, lists: Sequence[Listed]) -> list[bytes]:
    """The answers as JSON in UTF-8."""
    items = written(release, [listed.columns for listed in lists], tell(release, lists))
    return [_whole(release, *each) for each in zip(lists, items, strict=True)]


def answers(release: Release, lists: Sequence[Listed]) -> list[Answer]:
    """The same answers as Python values."""
    why = tell(release, lists)
    items = written(release, [listed.columns for listed in lists], why)
    made, start = [], 0
    for listed, text in zip(lists, items, strict=True):
        read = json.loads(_whole(release, listed, text))
        shown = (
            _recommended(release, why, at, entry) for at, entry in enumerate(read["items"], start)
        )
        start += len(listed.columns)
        made.append(Answer(**{**read, "items": tuple(shown), "notes": tuple(read["notes"])}))
    return made


def _recommended(release: Release, why: Reasons, at: int, read: dict[str, Any]) -> Recommended:
    """The entry at a place of all, from its JSON and what that leaves out of reasons."""
    reasons = [
        Reason(**{**reason, "path": tuple(reason["path"])}, **more)
        for reason, more in zip(read["reasons"], why.details(release, at), strict=True)
    ]
    lists = {name: tuple(read[name]) for name in ("tags", "domains")}
    return Recommended(**{**read, **lists, "reasons": tuple(reasons)})


def _whole(release: Release, listed: Listed, items: bytes) -> bytes:
    notes = ",".join(map(_text, listed.notes))
    about = _about(
        listed.served_by, listed.fallback, listed.release, listed.profile, listed.segment
    )
    sums = sums_of(release.items, listed.columns.rows)
    cursor = next_cursor(listed.request, sums) if listed.full else None
    more = f'{about}"notes":[{notes}],"next":{_text(cursor)},"request_id":"'
    return b'{"items":[%b],%b%b"}' % (items, more.encode(), _request_id(listed, sums).encode())


@lru_cache(256)  # some dozen for each release
def _about(
    served_by: str, fallback: str | None, release: str, profile: str, segment: str | None
) -> str:
    return (
        f'"served_by":{_text(served_by)},"fallback":{_text(fallback)},'
        f'"release":{_text(release)},"profile":{_text(profile)},"segment":{_text(segment)},'
    )


def origin(made: bytes) -> tuple[str, bool]:
    """What an answer, as JSON without spaces, was made from, and whether a fallback helped."""
    begin = made.rindex(SERVED_BY) + len(SERVED_BY)  # no text holds it: a quote in it is escaped
    end = made.index(b'"', begin)
    return made[begin:end].decode(), not made.startswith(b',"fallback":null', end + 1)


def _request_id(listed: Listed, sums: U32) -> str:
    columns, before = listed.columns, pages_before(listed.request)
    sources = [columns.names[source] for source in columns.sources.tolist()]
    return request_id(listed.release, listed.segment, before, sums, sources, listed.rules)


def _text(text: str | None) -> str:
    return "null" if text is None else f'"{inside(text)}"'
