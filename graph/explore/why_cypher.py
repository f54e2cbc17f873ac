"""Writes an explanation as Cypher that, run as it is, returns the paths that were shown.

Each function gives a query and its parameters, for Neo4j and the embedded graph alike. `because` is
the item in the subject's history. For a session, which is not in the graph, `user` is None, and the
path begins at that item.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Cypher = tuple[str, dict[str, Any]]

MOST_PATHS = 100


@dataclass(frozen=True)
class Choosing:
    """Which events speak for an item: `kinds` gives the least value of each kind; None: any.

    A user with an event of `against` on an item did not choose it. `all`: every event counts.
    """

    kinds: Mapping[str, float | None] = field(default_factory=dict)
    against: frozenset[str] = frozenset()

    @property
    def all(self) -> bool:
        """Whether every kind of event speaks for an item."""
        return not self.against and all(least is None for least in self.kinds.values())


ALL_CHOOSE = Choosing()


def literal(query: str, parameters: Mapping[str, Any]) -> str:
    """The same query with its parameters written out, ready to be pasted."""

    def value(match: re.Match[str]) -> str:
        return _written(parameters[match.group(1)])

    return re.sub(r"\$([A-Za-z]\w*)", value, query)


def _written(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_written(entry) for entry in value)}]"
    if not isinstance(value, str):
        return json.dumps(value)
    marks = {"\\": "\\\\", "'": "\\'"}
    letters = [
        marks.get(letter, letter) if letter.isprintable() else _code(letter) for letter in value
    ]
    return f"'{''.join(letters)}'"


def _code(letter: str) -> str:
    return f"\\u{ord(letter):04x}" if ord(letter) < 0x10000 else f"\\U{ord(letter):08x}"


def through_tag(user: str | None, because: str, tag: str, item: str) -> Cypher:
    """The paths over a tag that both items have; one row, `p`, for each event and category."""
    query = (
        f"MATCH p = {_start(user)}(h:Item {{id: $because}})-[:HAS_TAG]->(t:Tag {{name: $tag}})"
        f"<-[:HAS_TAG]-(i:Item {{id: $item}}) RETURN p ORDER BY t.category LIMIT {MOST_PATHS}"
    )
    return query, _parameters(user, because, item) | {"tag": tag}


def through_written_tag(user: str | None, because: str, tag: str, item: str) -> Cypher:
    """The items, and how many people wrote the tag on each; 0 if strangers may not see it."""
    query = (
        f"MATCH {_start(user)}(h:Item {{id: $because}}), (i:Item {{id: $item}}) "
        "WITH DISTINCT h, i "
        "OPTIONAL MATCH (h)<-[:INTERACTED {tag: $tag}]-(one:User) "
        "WITH h, i, count(DISTINCT one.id) AS wrote_there "
        "OPTIONAL MATCH (i)<-[:INTERACTED {tag: $tag}]-(other:User) "
        "RETURN h.id AS because, $tag AS tag, i.id AS item, wrote_there, "
        "count(DISTINCT other.id) AS wrote_here"
    )
    return query, _parameters(user, because, item) | {"tag": tag}


def through_people(
    user: str | None, because: str, item: str, choosing: Choosing = ALL_CHOOSE
) -> Cypher:
    """How many other people chose both items; no row when nobody did."""
    conditions, own = _choosing("ab", "hi", choosing)
    if user is not None:
        conditions.insert(0, "o.id <> $user")
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    query = (
        f"MATCH {_start(user)}(h:Item {{id: $because}})<-[a:INTERACTED]-(o:User)"
        f"-[b:INTERACTED]->(i:Item {{id: $item}}){where} "
        "RETURN h.id AS because, i.id AS item, count(DISTINCT o.id) AS people"
    )
    return query, _parameters(user, because, item) | own


def through_friends(user: str, item: str, choosing: Choosing = ALL_CHOOSE) -> Cypher:
    """How many of the user's friends chose the item."""
    conditions, own = _choosing("a", "i", choosing)
    where = " AND ".join(["o.id <> $user", *conditions])
    query = (
        "MATCH (u:User {id: $user})-[:KNOWS]->(o:User)-[a:INTERACTED]->(i:Item {id: $item}) "
        f"WHERE {where} RETURN i.id AS item, count(DISTINCT o.id) AS friends"
    )
    return query, {"user": user, "item": item} | own


def _choosing(events: str, ends: str, choosing: Choosing) -> tuple[list[str], dict[str, Any]]:
    """Conditions that events of `o` speak for their items, and their parameters."""
    if choosing.all:
        return [], {}
    conditions: list[str] = []
    own: dict[str, Any] = {}
    rated = sorted({least for least in choosing.kinds.values() if least is not None})
    own["kinds"] = sorted(kind for kind, least in choosing.kinds.items() if least is None)
    for event in events:
        condition = f"{event}.kind IN $kinds"
        if rated:
            condition = f"({condition} OR ({event}.kind IN $rated AND {event}.value >= $good))"
        conditions.append(condition)
    if rated:
        own["good"] = rated[0]
        own["rated"] = sorted(kind for kind, v in choosing.kinds.items() if v is not None)
    if choosing.against:
        own["against"] = sorted(choosing.against)
        conditions += [
            f"NOT EXISTS {{ MATCH (o)-[x:INTERACTED]->({end}) WHERE x.kind IN $against }}"
            for end in ends
        ]
    conditions.append("coalesce(o.consent, true)")
    return conditions, own


def through_relation(user: str | None, because: str, item: str) -> Cypher:
    """The paths over a relation between the two items, in either direction."""
    query = (
        f"MATCH p = {_start(user)}(h:Item {{id: $because}})-[r:RELATED]-(i:Item {{id: $item}}) "
        f"RETURN p ORDER BY r.kind LIMIT {MOST_PATHS}"
    )
    return query, _parameters(user, because, item)


def through_vectors(because: str, item: str) -> Cypher:
    """The two items, and their nearness in the last refresh; null: not among the nearest."""
    query = (
        "MATCH (h:Item {id: $because}), (i:Item {id: $item}) OPTIONAL MATCH (h)-[n:NEAR]-(i) "
        f"RETURN h.id AS because, i.id AS item, n.score AS nearness LIMIT {MOST_PATHS}"
    )
    return query, {"because": because, "item": item}


def through_popularity(item: str) -> Cypher:
    """How many people touched the item."""
    query = (
        "MATCH (i:Item {id: $item})<-[:INTERACTED]-(o:User) "
        "RETURN i.id AS item, count(DISTINCT o.id) AS people"
    )
    return query, {"item": item}


def carries_tag(tag: str, item: str) -> Cypher:
    """The paths from a tag that was asked for to the item; one row, `p`, for each category."""
    query = (
        "MATCH p = (t:Tag {name: $tag})<-[:HAS_TAG]-(i:Item {id: $item}) "
        f"RETURN p ORDER BY t.category LIMIT {MOST_PATHS}"
    )
    return query, {"tag": tag, "item": item}


def _start(user: str | None) -> str:
    return "" if user is None else "(u:User {id: $user})-[:INTERACTED]->"


def _parameters(user: str | None, because: str, item: str) -> dict[str, Any]:
    known = {} if user is None else {"user": user}
    return known | {"because": because, "item": item}
