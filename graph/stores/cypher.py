"""The schema of the Neo4j store, and every statement that it sends.

Nodes are found by their ids once per batch; after that, inside the same transaction, by the
server's own numbers, which saves an index search per event. `id()` belongs to Cypher 5, so every
statement that uses it says which Cypher it speaks.
"""

SCHEMA_VERSION = 1

CONSTRAINTS = (
    "CREATE CONSTRAINT user_id IF NOT EXISTS FOR (n:User) REQUIRE n.id IS UNIQUE",
    "CREATE CONSTRAINT item_id IF NOT EXISTS FOR (n:Item) REQUIRE n.id IS UNIQUE",
    "CREATE CONSTRAINT tag_key IF NOT EXISTS FOR (n:Tag) REQUIRE (n.category, n.name) IS UNIQUE",
    "CREATE CONSTRAINT domain_name IF NOT EXISTS FOR (n:Domain) REQUIRE n.name IS UNIQUE",
    "CREATE CONSTRAINT segment_name IF NOT EXISTS FOR (n:Segment) REQUIRE n.name IS UNIQUE",
    "CREATE CONSTRAINT batch_name IF NOT EXISTS FOR (n:AppliedBatch) REQUIRE n.name IS UNIQUE",
    "CREATE CONSTRAINT counter_name IF NOT EXISTS FOR (n:Counter) REQUIRE n.name IS UNIQUE",
    "CREATE CONSTRAINT load_number IF NOT EXISTS FOR (n:Load) REQUIRE n.number IS UNIQUE",
    (
        "CREATE CONSTRAINT event_id IF NOT EXISTS "
        "FOR ()-[r:INTERACTED]-() REQUIRE r.event_id IS UNIQUE"
    ),
)


def drop_index(constraint: str) -> str:
    """The statement that drops the index named like the constraint of this statement."""
    return f"DROP INDEX {constraint.split()[2]} IF EXISTS"


# Stores from before `described` had that name; the key stays known when nothing has it any more.
HAS_OLD_NAME = "CALL db.propertyKeys() YIELD propertyKey AS k WHERE k = 'told' RETURN count(k) AS n"
RENAME_DESCRIBED = """
MATCH (n) WHERE (n:User OR n:Item) AND n.told IS NOT NULL WITH n LIMIT 10000
SET n.described = n.told REMOVE n.told RETURN count(n) AS n
"""
AWAIT_INDEXES = "CALL db.awaitIndexes(60)"

# The counter is a node that every writer locks first, so there is one writer at a time.
LOCK_COUNTER = """
MERGE (c:Counter {name: 'events'})
ON CREATE SET c.watermark = 0, c.kinds = [], c.columns = [], c.schema = $schema
SET c.writer = timestamp()
RETURN c.watermark AS watermark, c.kinds AS kinds, c.columns AS columns, c.schema AS schema
"""
READ_COUNTER = """
MATCH (c:Counter {name: 'events'})
RETURN c.watermark AS watermark, c.kinds AS kinds, c.columns AS columns, c.schema AS schema
"""
ALL_NODES = "MATCH (n) RETURN labels(n), properties(n)"
ALL_RELATIONSHIPS = "MATCH ()-[r]->() RETURN type(r), properties(r)"
SAVE_COUNTER = """
MATCH (c:Counter {name: 'events'})
SET c.watermark = $watermark, c.kinds = $kinds, c.columns = $columns
"""
IS_APPLIED = "MATCH (b:AppliedBatch {name: $name}) RETURN count(b) AS found"
RECORD_APPLIED = "MERGE (b:AppliedBatch {name: $name}) SET b.position = $position"
POSITION = """
OPTIONAL MATCH (b:AppliedBatch {name: $name}) RETURN coalesce(b.position, 0) AS position
"""

KEYS = {
    "User": "User {id: $keys[k][0]}",
    "Item": "Item {id: $keys[k][0]}",
    "Tag": "Tag {category: $keys[k][0], name: $keys[k][1]}",
    "Domain": "Domain {name: $keys[k][0]}",
    "Segment": "Segment {name: $keys[k][0]}",
}
_BORN_WITH = {
    "User": "SET n.consent = true, n.load = $by ",
    "Item": "SET n.hidden = false, n.load = $by ",
}


def _changed(column: str) -> str:
    """What a fact's load becomes when load $load gives the fact another value.

    The number has a minus if the fact came from another load before, or from none. $by is $load,
    or null where that is 0.
    """
    return f"CASE WHEN abs(coalesce({column}, 0)) = $load THEN {column} ELSE -$load END"


def find_nodes(label: str) -> str:
    """For the nodes that exist: their places in `$keys`, and their numbers."""
    return (
        f"CYPHER 5 UNWIND range(0, size($keys) - 1) AS k MATCH (n:{KEYS[label]}) "
        "RETURN k, id(n) AS node"
    )


def make_nodes(label: str) -> str:
    """Make the nodes of `$keys`."""
    return (
        f"CYPHER 5 UNWIND range(0, size($keys) - 1) AS k CREATE (n:{KEYS[label]}) "
        f"{_BORN_WITH.get(label, '')}RETURN k, id(n) AS node"
    )


# $rows: node, and the new values; those that are not null replace the stored ones
SET_USERS = f"""CYPHER 5
UNWIND $rows AS row MATCH (n) WHERE id(n) = row.node
SET n.described = CASE WHEN row.attributes IS NULL OR row.attributes = n.attributes THEN n.described
    WHEN n.attributes IS NULL THEN $by ELSE {_changed("n.described")} END,
    n.consent = coalesce(row.consent, n.consent),
    n.has_said = coalesce(row.consent IS NOT NULL OR n.has_said, false),
    n.attributes = coalesce(row.attributes, n.attributes)
"""
SET_ITEMS = f"""CYPHER 5
UNWIND $rows AS row MATCH (n) WHERE id(n) = row.node
SET n.described = CASE WHEN coalesce(row.title = n.title, row.title IS NULL)
    AND coalesce(row.created_at = n.created_at, row.created_at IS NULL)
    AND coalesce(row.attributes = n.attributes, row.attributes IS NULL) THEN n.described
    WHEN n.title IS NULL AND n.created_at IS NULL AND n.attributes IS NULL THEN $by
    ELSE {_changed("n.described")} END,
    n.hider = CASE WHEN row.hidden AND NOT coalesce(n.hidden, false) THEN $by
    WHEN NOT row.hidden THEN null ELSE n.hider END,
    n.title = coalesce(row.title, n.title), n.hidden = coalesce(row.hidden, n.hidden),
    n.created_at = coalesce(row.created_at, n.created_at),
    n.attributes = coalesce(row.attributes, n.attributes)
"""
CLEAR = {  # part -> what takes it away from $nodes
    part: f"CYPHER 5 UNWIND $nodes AS node MATCH (n) WHERE id(n) = node {takes_away}"
    for part, takes_away in {
        "title": "SET n.title = null",
        "created_at": "SET n.created_at = null",
        "attributes": "SET n.attributes = null",
        "tags": "MATCH (n)-[old:HAS_TAG]->() DELETE old",
        "domains": "MATCH (n)-[old:IN]->() DELETE old",
        "relations": "MATCH (n)-[old:RELATED]->() DELETE old",
        "user_attributes": "SET n.attributes = null",
        "user_relations": "MATCH (n)-[old:KNOWS]->() DELETE old",
    }.items()
}

# $rows, one per user: user, the first event's seq, and lists of one length: items, kinds (places in
# $kinds) and, if the batch has any, values, tags, times, ids. A null list gives nulls.
_EACH_EVENT = """CYPHER 5
UNWIND $rows AS row MATCH (u) WHERE id(u) = row.user
UNWIND range(0, size(row.items) - 1) AS k
MATCH (i) WHERE id(i) = row.items[k]
"""
_NEW_EVENT = """CREATE (u)-[:INTERACTED {kind: $kinds[row.kinds[k]], value: row.values[k],
    tag: row.tags[k], at: row.times[k], event_id: row.ids[k], seq: row.seq + k,
    load: $by}]->(i)"""
CREATE_EVENTS = _EACH_EVENT + _NEW_EVENT
UPSERT_EVENTS = f"""{_EACH_EVENT}
OPTIONAL MATCH (u)-[r:INTERACTED]->(i)
WHERE r.kind = $kinds[row.kinds[k]] AND coalesce(r.tag, '') = coalesce(row.tags[k], '')
  AND coalesce(r.at, $no_time) = coalesce(row.times[k], $no_time)
  AND coalesce(r.event_id, '') = coalesce(row.ids[k], '')
WITH u, i, r, row, k
FOREACH (_ IN CASE WHEN r IS NULL THEN [1] ELSE [] END | {_NEW_EVENT})
FOREACH (_ IN CASE WHEN r IS NOT NULL
    AND (r.value <> row.values[k] OR (r.value IS NULL) <> (row.values[k] IS NULL))
    THEN [1] ELSE [] END | SET r.value = row.values[k], r.seq = row.seq + k,
        r.load = {_changed("r.load")})
"""
# When a known event id comes with another user, item, kind, tag or time, the old event is removed.
REMOVE_MOVED = """CYPHER 5
UNWIND $rows AS row MATCH (u)-[r:INTERACTED {event_id: row.id}]->(i)
WHERE id(u) <> row.user OR id(i) <> row.item OR r.kind <> row.kind
  OR coalesce(r.tag, '') <> row.tag OR coalesce(r.at, $no_time) <> row.at
WITH id(u) AS user, r DELETE r RETURN DISTINCT user
"""
COUNT_USED_TAGS = """CYPHER 5
UNWIND $nodes AS node MATCH (u) WHERE id(u) = node
CALL (u) { MATCH (u)-[old:USED]->() DELETE old }
CALL (u) {
  MATCH (u)-[r:INTERACTED]->() WHERE r.tag IS NOT NULL
  WITH r.tag AS name, count(*) AS events
  MATCH (t:Tag {category: $category, name: name})
  CREATE (u)-[:USED {events: events}]->(t)
}
"""

LINKS = {  # table -> label, relationship, label
    "item_tags": ("Item", "HAS_TAG", "Tag"),
    "item_domains": ("Item", "IN", "Domain"),
    "item_relations": ("Item", "RELATED", "Item"),
    "user_relations": ("User", "KNOWS", "User"),
}


def merge_links(table: str) -> str:
    """$rows, one per source: source, and lists: targets, weights, kinds (null without kinds)."""
    relationship = LINKS[table][1]
    kind = " {kind: row.kinds[k]}" if table.endswith("relations") else ""
    return f"""CYPHER 5
UNWIND $rows AS row MATCH (a) WHERE id(a) = row.source
UNWIND range(0, size(row.targets) - 1) AS k MATCH (b) WHERE id(b) = row.targets[k]
MERGE (a)-[r:{relationship}{kind}]->(b)
ON CREATE SET r.load = $by
ON MATCH SET r.load = CASE WHEN r.weight = row.weights[k] THEN r.load ELSE {_changed("r.load")} END
SET r.weight = row.weights[k]
"""


# Loads. Facts to take back are sought at the nodes with numbers from $begin to $end.
BEGIN_LOAD = """
OPTIONAL MATCH (l:Load) WITH coalesce(max(l.number), 0) + 1 AS number
CREATE (:Load {number: number, at: $at, about: $about, undone: false}) RETURN number
"""
NOTE_LOAD = "MATCH (l:Load {number: $load}) SET l.about = $about"
LOADS = """MATCH (l:Load) RETURN l.number AS load, l.at AS at, l.about AS about, l.undone AS undone
ORDER BY load"""
END_LOAD = "MATCH (l:Load {number: $load}) SET l.undone = true"


def undo_links(label: str, relationship: str) -> str:
    """How many links were removed, how many of them the load had changed, and who gave a tag."""
    return f"""CYPHER 5
UNWIND range($begin, $end) AS number MATCH (n:{label}) WHERE id(n) = number
MATCH (n)-[r:{relationship}]->() WHERE r.load IN [$load, -$load]
WITH number, r, r.load < 0 AS changed, r.tag IS NOT NULL AS tagged
DELETE r
RETURN count(*) AS gone, count(CASE WHEN changed THEN 1 END) AS changed,
  collect(DISTINCT CASE WHEN tagged THEN number END) AS touched
"""


# How many old events of a kind were removed, and whose tags are to be counted anew.
DROP_EVENTS = """CYPHER 5
UNWIND range($begin, $end) AS number MATCH (n:User) WHERE id(n) = number
MATCH (n)-[r:INTERACTED]->() WHERE toLower(r.kind) = toLower($kind) AND r.at < $before
WITH number, r, r.tag IS NOT NULL AS tagged
DELETE r
RETURN count(*) AS gone, sum(0) AS changed,
  collect(DISTINCT CASE WHEN tagged THEN number END) AS touched
"""
UNDO_TOLD = {
    "User": """MATCH (n:User) WHERE n.described IN [$load, -$load]
WITH n, n.described < 0 AS changed SET n.described = null, n.attributes = null
RETURN count(CASE WHEN changed THEN 1 END) AS changed""",
    "Item": """MATCH (n:Item) WHERE n.described IN [$load, -$load]
WITH n, n.described < 0 AS changed
SET n.described = null, n.title = null, n.created_at = null, n.attributes = null
RETURN count(CASE WHEN changed THEN 1 END) AS changed""",
}
UNDO_HIDDEN = """MATCH (n:Item {hider: $load}) SET n.hidden = false, n.hider = null
RETURN count(n) AS gone"""
UNDO_NODES = {
    "users": """MATCH (n:User {load: $load}) WHERE n.described IS NULL AND n.consent
  AND NOT EXISTS { (n)-[:INTERACTED|KNOWS]-() }
DETACH DELETE n RETURN count(*) AS gone""",
    "items": """MATCH (n:Item {load: $load}) WHERE n.described IS NULL AND NOT n.hidden
  AND NOT EXISTS { (n)-[:INTERACTED|HAS_TAG|IN|RELATED]-() }
DETACH DELETE n RETURN count(*) AS gone""",
}


# Reading: nodes of one label in order of their numbers, many to a record, since a record itself
# costs as much as about a hundred numbers in it. $first and $last come from `read_span`; $width is
# how many numbers make a record.


def read_span(label: str) -> str:
    """The lowest and the highest number of a label's nodes, null if there are none."""
    return f"CYPHER 5 MATCH (n:{label}) RETURN min(id(n)) AS first, max(id(n)) AS last"


def _in_parts(label: str, row: str, between: str = "") -> str:
    return f"""CYPHER 5
UNWIND range($first, $last, $width) AS begin
CALL (begin) {{
  UNWIND range(begin, begin + $width - 1) AS number
  MATCH (n:{label}) WHERE id(n) = number
  {between}
  RETURN collect([{row}]) AS rows
}}
WITH rows WHERE size(rows) > 0 RETURN rows
"""


def read_links(table: str) -> str:
    """One row per source: id, and lists of targets, weights, kinds (empty without kinds)."""
    label, relationship, _ = LINKS[table]
    kinds = "collect(r.kind)" if table.endswith("relations") else "[]"
    between = f"""CALL (n) {{
    MATCH (n)-[r:{relationship}]->(b)
    RETURN collect(id(b)) AS targets, collect(r.weight) AS weights, {kinds} AS kinds
  }}
  WITH n, targets, weights, kinds WHERE size(targets) > 0"""
    return _in_parts(label, "n.id, targets, weights, kinds", between)


def read_names(label: str) -> str:
    """One row per node of a label: number and key."""
    keys = {"Tag": "n.category, n.name", "Domain": "n.name"}
    return _in_parts(label, f"number, {keys.get(label, 'n.id')}")


EVENT_COLUMNS = {  # column -> how its property is read, with the parameter that stands for null
    "value": "collect(coalesce(r.value, $no_value)) AS value",
    "tag": "collect(coalesce(r.tag, '')) AS tag",
    "at": "collect(coalesce(r.at, $no_time)) AS at",
    "event_id": "collect(coalesce(r.event_id, '')) AS event_id",
}


def read_events(columns: list[str], several_kinds: bool, until: bool) -> str:
    """One row per user, with lists for only those columns that any event ever had."""
    lists = ["collect(id(i)) AS item"]
    if several_kinds:
        lists.append("collect($kinds[r.kind]) AS kind")
    lists += [EVENT_COLUMNS[column] for column in columns]
    names = ", ".join(text.rsplit(" ", 1)[1] for text in lists)
    where = "WHERE r.seq <= $until" if until else ""
    between = f"""CALL (n) {{
    MATCH (n)-[r:INTERACTED]->(i) {where} RETURN {", ".join(lists)}
  }}
  WITH n, {names} WHERE size(item) > 0"""
    return _in_parts("User", f"n.id, {names}", between)


CONSENT = "CASE WHEN n.has_said THEN n.consent END"  # null: the user has not said
READ_NODES = {
    "users": ("User", _in_parts("User", f"n.id, {CONSENT}, n.attributes")),
    "items": ("Item", _in_parts("Item", "n.id, n.title, n.created_at, n.hidden, n.attributes")),
}
USER_EVENTS = """
MATCH (u:User {id: $user})-[r:INTERACTED]->(i:Item)
RETURN u.id AS user, i.id AS item, r.kind AS kind, r.value AS value, r.tag AS tag, r.at AS at,
  r.event_id AS event_id
"""
COUNTS = {
    "users": "MATCH (n:User) RETURN count(n) AS n",
    "items": "MATCH (n:Item) RETURN count(n) AS n",
    "item_tags": "MATCH (:Item)-[r:HAS_TAG]->() RETURN count(r) AS n",
    "item_domains": "MATCH (:Item)-[r:IN]->() RETURN count(r) AS n",
    "events": "MATCH (:User)-[r:INTERACTED]->() RETURN count(r) AS n",
    "item_relations": "MATCH (:Item)-[r:RELATED]->() RETURN count(r) AS n",
    "user_relations": "MATCH (:User)-[r:KNOWS]->() RETURN count(r) AS n",
}
COUNT_TAGS = """CYPHER 5
UNWIND range($first, $last) AS number MATCH (n:Tag) WHERE id(n) = number
  AND (EXISTS { (:Item)-[:HAS_TAG]->(n) } OR EXISTS { (:User)-[:USED]->(n) })
RETURN count(n) AS n
"""
ERASE_USER = """
MATCH (u:User {id: $user})
WITH u, COUNT { (u)-[:INTERACTED]->() } AS events
DETACH DELETE u
RETURN events
"""

# Findings of models. $rows: one per source node; old findings carry another release.
WRITE_SEGMENTS = """CYPHER 5
UNWIND $rows AS row MATCH (u) WHERE id(u) = row.source
UNWIND row.targets AS target MATCH (s) WHERE id(s) = target
MERGE (u)-[r:IN_SEGMENT]->(s) SET r.release = $release
"""
WRITE_NEAR = """CYPHER 5
UNWIND $rows AS row MATCH (a) WHERE id(a) = row.source
UNWIND range(0, size(row.targets) - 1) AS k MATCH (b) WHERE id(b) = row.targets[k]
MERGE (a)-[r:NEAR]->(b) SET r.score = row.weights[k], r.release = $release
"""
REMOVE_OLD = (
    """MATCH (:User)-[r:IN_SEGMENT]->() WHERE r.release <> $release
    WITH r LIMIT $limit DELETE r RETURN count(*) AS gone""",
    """MATCH (:Item)-[r:NEAR]->() WHERE r.release <> $release
    WITH r LIMIT $limit DELETE r RETURN count(*) AS gone""",
    """MATCH (s:Segment) WHERE NOT EXISTS { (:User)-[:IN_SEGMENT]->(s) }
    WITH s LIMIT $limit DELETE s RETURN count(*) AS gone""",
)
