"""Turns a snapshot into the tables that are copied into the read-only graph file.

For strangers users are pseudonyms, times are whole days, and a tag that people wrote or a segment
is left out if fewer than twenty people share it: `docs/decisions/0009-cypher-privacy.md`.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from graph.arrays import I64
from graph.explore.copies import pseudonym
from graph.findings import Findings
from graph.model import NO_ROW, NO_TIME, TAG_SEPARATOR
from graph.snapshot import GraphSnapshot, Links, Relations
from graph.vocabulary import Vocabulary

DAY = 86_400
FEWEST_PEOPLE = 20  # tags and segments of fewer people are not shown to strangers
_BY_USER = {
    "User": "id",
    "INTERACTED": "from",
    "KNOWS": "from",
    "USED": "from",
    "IN_SEGMENT": "from",
}


def tables(
    snapshot: GraphSnapshot, findings: Findings | None, secret: bytes | None
) -> dict[str, pa.Table]:
    """All tables in the order in which they are copied: keys before the rows that refer to them."""
    items, tags, domains = (_texts(v) for v in (snapshot.items, snapshot.tags, snapshot.domains))
    users = _texts(snapshot.users)
    consents = pa.array(snapshot.user_consents)
    about = pa.array(snapshot.user_attributes, pa.string())
    about = pc.if_else(pc.equal(about, "{}"), None, about)
    if secret is not None:
        users = pa.array([pseudonym(secret, user) for user in snapshot.users], pa.string())
        consents = pa.nulls(len(users), pa.bool_())
        about = pa.nulls(len(users), pa.string())
    parts = pc.split_pattern(tags, TAG_SEPARATOR, max_splits=1)
    categories, names = pc.list_element(parts, 0), pc.list_element(parts, 1)
    titles = pa.array(snapshot.item_titles, pa.string())
    attributes = pa.array(snapshot.item_attributes, pa.string())
    made = {
        "User": pa.table({"id": users, "consent": consents, "attributes": about}),
        "Item": pa.table(
            {
                "id": items,
                "title": pc.if_else(pc.equal(titles, ""), None, titles),
                "created_at": _times(snapshot.item_created_at, 1),
                "hidden": pa.array(snapshot.item_hidden),
                "attributes": pc.if_else(pc.equal(attributes, "{}"), None, attributes),
            }
        ),
        "Tag": pa.table({"key": tags, "category": categories, "name": names}),
        "Domain": pa.table({"name": domains}),
        "INTERACTED": _events(snapshot, users, items, names, strangers=secret is not None),
        "IN": _links(snapshot.item_domains, items, domains, "weight"),
        "HAS_TAG": _links(snapshot.item_tags, items, tags, "weight"),
        "USED": _used(snapshot, users, tags, fewest=1 if secret is None else FEWEST_PEOPLE),
        "KNOWS": _relations(snapshot.user_relations, users),
        "RELATED": _relations(snapshot.item_relations, items),
    }
    if findings is not None:
        made |= _findings_tables(findings, snapshot, users, 1 if secret is None else FEWEST_PEOPLE)
    if secret is not None:  # rows in the order of the ids would reveal something about the ids
        for name, column in _BY_USER.items():
            if name in made:
                made[name] = made[name].sort_by(column)
    return made


def _texts(vocabulary: Vocabulary) -> Any:
    if not len(vocabulary):
        return pa.array([], pa.string())
    return pa.LargeStringArray.from_buffers(
        len(vocabulary),
        pa.py_buffer(np.ascontiguousarray(vocabulary.offsets, np.int64)),
        pa.py_buffer(np.ascontiguousarray(vocabulary.data)),
    ).cast(pa.string())


def _times(seconds: I64, step: int) -> Any:
    """Times rounded down to whole steps, null if there is no time."""
    return pa.array(seconds // step * step, pa.int64(), mask=seconds == NO_TIME)


def _events(
    snapshot: GraphSnapshot, users: Any, items: Any, tag_names: Any, *, strangers: bool
) -> pa.Table:
    events = snapshot.events
    no_tag = events.tag == NO_ROW
    if strangers:
        pairs = np.unique(np.stack([events.tag[~no_tag], events.user[~no_tag]], axis=1), axis=0)
        people = np.bincount(pairs[:, 0], minlength=len(snapshot.tags) + 1)
        no_tag = no_tag | (people[events.tag] < FEWEST_PEOPLE)
    tag_rows = pa.array(events.tag, pa.int32(), mask=no_tag)
    return pa.table(
        {
            "from": users.take(pa.array(events.user)),
            "to": items.take(pa.array(events.item)),
            "kind": pa.array(snapshot.kinds, pa.string()).take(pa.array(events.kind)),
            "value": pa.array(
                events.value.astype(np.float64), pa.float64(), mask=np.isnan(events.value)
            ),
            "tag": tag_names.take(tag_rows),
            "at": _times(events.at, DAY if strangers else 1),
        }
    )


def _used(snapshot: GraphSnapshot, users: Any, tags: Any, fewest: int) -> pa.Table:
    """Who wrote which tag, and in how many events; without tags of fewer than `fewest` people."""
    events = snapshot.events
    written = events.tag != NO_ROW
    pairs, counts = np.unique(
        np.stack([events.user[written], events.tag[written]], axis=1), axis=0, return_counts=True
    )
    kept = np.bincount(pairs[:, 1], minlength=len(snapshot.tags))[pairs[:, 1]] >= fewest
    return pa.table(
        {
            "from": users.take(pa.array(pairs[kept, 0])),
            "to": tags.take(pa.array(pairs[kept, 1])),
            "events": pa.array(counts[kept], pa.int64()),
        }
    )


def _links(links: Links, sources: Any, targets: Any, weight: str) -> pa.Table:
    return pa.table(
        {
            "from": sources.take(pa.array(links.source)),
            "to": targets.take(pa.array(links.target)),
            weight: pa.array(links.weight.astype(np.float64)),
        }
    )


def _relations(relations: Relations, ids: Any) -> pa.Table:
    return pa.table(
        {
            "from": ids.take(pa.array(relations.source)),
            "to": ids.take(pa.array(relations.target)),
            "kind": pa.array(relations.kinds, pa.string()).take(pa.array(relations.kind)),
            "weight": pa.array(relations.weight.astype(np.float64)),
        }
    )


def _findings_tables(
    findings: Findings, snapshot: GraphSnapshot, users: Any, fewest: int
) -> dict[str, Any]:
    """Segments with at least `fewest` members, their members, and the nearest items."""
    ids = _texts(snapshot.users)
    places = pc.index_in(findings.segments["user"].combine_chunks(), ids)
    placed = pa.table({"from": users.take(places), "to": findings.segments["segment"]})
    placed = placed.filter(pc.is_valid(placed["from"]))
    sizes = placed.group_by("to").aggregate([("from", "count")])
    segments = sizes.filter(pc.greater_equal(sizes["from_count"], fewest))["to"].combine_chunks()
    items = _texts(snapshot.items)
    near = findings.near.rename_columns(["from", "to", "score"])
    return {
        "Segment": pa.table({"name": segments}),
        "IN_SEGMENT": placed.filter(pc.is_in(placed["to"], segments)),
        "NEAR": near.filter(pc.and_(pc.is_in(near["from"], items), pc.is_in(near["to"], items))),
    }
