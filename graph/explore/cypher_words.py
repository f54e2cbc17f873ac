"""The vocabulary of queries: what may be called, and what to write instead of the rest."""

LABELS = ("User", "Item", "Tag", "Domain", "Segment")
TYPES = (
    "INTERACTED", "IN", "HAS_TAG", "USED", "KNOWS", "RELATED", "IN_SEGMENT", "NEAR",
)  # fmt: skip
PROPERTIES = (
    "id", "consent", "attributes", "title", "created_at", "hidden", "category", "name", "kind",
    "value", "tag", "at", "weight", "events", "score",
)  # fmt: skip
TIMES = frozenset({"at", "created_at"})
"""Properties whose values are seconds since 1970."""
BOOLEANS = frozenset({"hidden", "consent"})


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


RESERVED = _words(
    """
    ACYCLIC ADD ALL ALTER ANALYZE AND ANY AS ASC ASCENDING ATTACH BEGIN BY CALL CASE CAST
    CHECKPOINT COLLECT COLUMN COMMENT COMMIT CONSTRAINT CONTAINS COPY COUNT CREATE CSV CYCLE
    CYPHER DATABASE DBTYPE DEALLOCATE DECIMAL DEFAULT DELETE DENY DESC DESCENDING DETACH
    DISTINCT DROP DRYRUN ELSE ENABLE END ENDS EXISTS EXPLAIN EXPORT EXTENSION FALSE FINISH FOR
    FOREACH FROM GLOB GRANT GRAPH GROUP HEADERS HINT IF IMPORT IN INCREMENT INDEX INSERT
    INSTALL IS JOIN KEY LIMIT LOAD LOGICAL MACRO MATCH MAXVALUE MERGE MINVALUE MULTI_JOIN NO
    NODE NODETACH NONE NOT NULL OF ON ONLY OPTIONAL OPTIONS OR ORDER PRIMARY PROFILE PROJECT
    READ REALLOCATE REL REMOVE RENAME RETURN REVOKE ROLLBACK SEQUENCE SET SHORTEST SHOW SINGLE
    SKIP SORTED START STARTS STOP STRUCT TABLE TERMINATE THEN TO TRAIL TRANSACTION TRUE TYPE
    UNINSTALL UNION UNIQUE UNWIND UPDATE USE USING WHEN WHERE WITH WRITE WSHORTEST XOR YIELD
    """
)
"""Words of either engine's language; when they serve as names they are put in backticks."""

NEVER = _words(
    "CREATE MERGE SET DELETE DETACH NODETACH REMOVE DROP ALTER LOAD CSV COPY EXPORT IMPORT "
    "FOREACH USE SHOW TERMINATE GRANT DENY REVOKE START STOP INSTALL UNINSTALL ATTACH "
    "COMMENT BEGIN COMMIT ROLLBACK CHECKPOINT EXPLAIN PROFILE CYPHER PROJECT MACRO INSERT UPDATE "
    "FINISH ENABLE DRYRUN DEALLOCATE RENAME REALLOCATE"
)
"""Words that begin something that does more than read."""

SAME = _words(
    "count collect sum avg min max size coalesce abs ceil floor sqrt exp log10 pi sin cos tan asin "
    "acos atan atan2 radians degrees tolower toupper lower upper trim ltrim rtrim left right nodes "
    "relationships length keys range properties id nullif percentilecont percentiledisc sign"
)
"""Functions with the same name and the same meaning in both engines."""

SERVER = SAME | _words(
    "type labels head last tail startnode endnode tostring tointeger tofloat toboolean isempty "
    "stdev stdevp e elementid char_length log split reverse substring round timestamp ln"
)
"""Functions called on Neo4j as they are written; there `log` is the natural logarithm."""

FILE = SAME | _words("label rels list_len list_contains list_sort list_distinct greatest least ln")
"""Functions called in the file as they are written."""

RENAMED = {
    "type": "label",
    "split": "string_split",
    "startnode": "start_node",
    "endnode": "end_node",
    "char_length": "size",
    "log": "ln",
    "elementid": "id",
}
"""Functions that have another name in the file."""

CASTS = {"tostring": "STRING", "tofloat": "DOUBLE", "toboolean": "BOOL"}
CAST_TYPES = _words("STRING INT64 DOUBLE BOOL DATE TIMESTAMP")

PROCEDURES = {
    "db.labels": ("label", LABELS),
    "db.relationshiptypes": ("relationshipType", TYPES),
    "db.propertykeys": ("propertyKey", PROPERTIES),
}
"""What is answered in place of a procedure: the column, and its values."""

INSTEAD = {
    "rand": "there are no random values here: ORDER BY a property and LIMIT",
    "randomuuid": "there are no random values here",
    "stddev": "write stDev(x)",
    "stddev_samp": "write stDev(x)",
    "median": "write percentileCont(x, 0.5)",
    "len": "write size(x)",
    "length_": "write size(x)",
    "ifnull": "write coalesce(x, y)",
    "isnull": "write x IS NULL",
    "if": "write CASE WHEN … THEN … ELSE … END",
    "concat": "write a + b",
    "string_agg": "write collect(x)",
    "group_concat": "write collect(x)",
    "list_transform": "write [x IN list | …]",
    "list_filter": "write [x IN list WHERE …]",
    "list_reduce": "write reduce(sum = 0, x IN list | sum + x)",
    "regexp_matches": "write x =~ '.*pattern.*'",
    "regexp_full_match": "write x =~ 'pattern'",
    "repeat": "texts cannot be made longer here",
    "lpad": "texts cannot be made longer here",
    "rpad": "texts cannot be made longer here",
}
"""Function that does not exist here -> what to write instead."""


def instead(function: str) -> str:
    """A hint for a function that is not on the list; empty when none is known."""
    name = function.lower()
    if name.startswith("apoc."):
        return "APOC's procedures and functions do not exist here"
    if name.startswith("gds."):
        return "what the models found is stored as (:Item)-[:NEAR]->(:Item) and (:Segment)"
    return INSTEAD.get(name, "")
