"""An explanation as Cypher: run as given, it returns the paths that were shown.

Each function gives a query and its parameters, for Neo4j and the embedded graph alike. `because`
is the item of the subject's history; `user` is None for a session, whose items are in no graph:
then the path begins at that item.
"""

from typing import Any

Cypher = tuple[str, dict[str, Any]]

MOST_PATHS = 100


def through_tag(user: str | None, because: str, tag: str, item: str) -> Cypher:
    """The paths over a tag that both items carry; one row, `p`, for each event and category."""
    query = (
        f"MATCH p = {_start(user)}(h:Item {{id: $because}})-[:HAS_TAG]->(t:Tag {{name: $tag}})"
        f"<-[:HAS_TAG]-(i:Item {{id: $item}}) RETURN p ORDER BY t.category LIMIT {MOST_PATHS}"
    )
    return query, _parameters(user, because, item) | {"tag": tag}


def through_written_tag(user: str | None, because: str, tag: str, item: str) -> Cypher:
    """The items and how many people wrote the tag on each; no row unless on both."""
    query = (
        f"MATCH {_start(user)}(h:Item {{id: $because}})<-[a:INTERACTED]-(one:User) "
        "WHERE a.tag = $tag "
        "WITH h, count(DISTINCT one.id) AS wrote_there "
        "MATCH (i:Item {id: $item})<-[b:INTERACTED]-(other:User) WHERE b.tag = $tag "
        "RETURN h.id AS because, $tag AS tag, i.id AS item, wrote_there, "
        "count(DISTINCT other.id) AS wrote_here"
    )
    return query, _parameters(user, because, item) | {"tag": tag}


def through_people(user: str | None, because: str, item: str) -> Cypher:
    """How many other people touched both items; no row when nobody did."""
    others = " WHERE o.id <> $user" if user is not None else ""
    query = (
        f"MATCH {_start(user)}(h:Item {{id: $because}})<-[:INTERACTED]-(o:User)"
        f"-[:INTERACTED]->(i:Item {{id: $item}}){others} "
        "RETURN h.id AS because, i.id AS item, count(DISTINCT o.id) AS people"
    )
    return query, _parameters(user, because, item)


def through_relation(user: str | None, because: str, item: str) -> Cypher:
    """The paths over a relation between the two items, in either direction."""
    query = (
        f"MATCH p = {_start(user)}(h:Item {{id: $because}})-[r:RELATED]-(i:Item {{id: $item}}) "
        f"RETURN p ORDER BY r.kind LIMIT {MOST_PATHS}"
    )
    return query, _parameters(user, because, item)


def through_vectors(because: str, item: str) -> Cypher:
    """The two items, and how near the last refresh put them; null: not among the nearest."""
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
