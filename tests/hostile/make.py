"""Writes the three corpora beside this file: `python tests/hostile/make.py`.

`hostile.jsonl` every query that would harm a Neo4j server or the people on it, `ladybug.jsonl`
the same in the dialect of the embedded engine, `harmless.jsonl` what an analyst might ask. Each
line is {"family": …, "query": …}; {FILE} stands for a file, {PORT} for a port that is listened on.
"""

import json
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
Query = tuple[str, str]  # family, text

CLAUSES = """
CREATE (:Evil)
CREATE (n)-[:EVIL]->(:Evil)
MERGE (:Evil {id: 'x'})
MERGE (n)-[:EVIL]->(n)
MERGE (m:Evil {id: 'x'}) ON CREATE SET m.a = 1 ON MATCH SET m.b = 1
SET n.evil = 1
SET n += {evil: 1}
SET n = {}
SET n:Evil
SET n IS Evil
SET n.`evil` = 'x'
SET n[$name] = 1
SET (CASE WHEN true THEN n END).evil = 1
REMOVE n.id
REMOVE n:Item
DELETE n
DETACH DELETE n
NODETACH DELETE n
FOREACH (x IN [1] | SET n.evil = x)
FOREACH (x IN [1, 2] | CREATE (:Evil {id: x}))
CALL { CREATE (:Evil) }
CALL { WITH n SET n.evil = 1 }
CALL (n) { DETACH DELETE n }
CALL { WITH n DELETE n } IN TRANSACTIONS OF 10 ROWS
INSERT (:Evil)
CALL db.create.setNodeVectorProperty(n, 'evil', [1.0])
""".strip().splitlines()

LEADS = [
    "MATCH (n) ",
    "MATCH (n) WITH n ",
    "MATCH (n) WITH * ",
    "OPTIONAL MATCH (n) ",
    "UNWIND [1] AS k MATCH (n) ",
    "MATCH (n) RETURN n UNION MATCH (n) ",
    "MATCH (n)-[e]->() WHERE e.kind = 'like' ",
    "EXPLAIN MATCH (n) ",
    "PROFILE MATCH (n) ",
    "CYPHER runtime=slotted MATCH (n) ",
    "USE neo4j MATCH (n) ",
    "MATCH (n) WITH n ORDER BY n.id DESC ",
    "MATCH (n) WHERE n.id IS NOT NULL ",
    "MATCH (n), (m {id: 'a'}) WITH n LIMIT 1 ",
]


def writes() -> Iterator[Query]:
    """Each writing clause behind each lead, with and without a RETURN."""
    for clause in CLAUSES:
        for number, lead in enumerate(LEADS):
            yield "write", lead + clause + (" RETURN 1 AS one" if number % 2 else "")


WRITES = [
    "CREATE (:Evil)",
    "MERGE (:Evil {id: 'x'})",
    "MATCH (n) SET n.evil = 1",
    "MATCH (n) DETACH DELETE n",
    "MATCH (n) REMOVE n.id",
    "LOAD CSV FROM 'file:///{FILE}' AS line RETURN line",
    "CALL dbms.listConfig() YIELD name RETURN name",
    "CREATE INDEX evil FOR (n:User) ON (n.evil)",
]


def spellings() -> Iterator[Query]:
    """The same words, written so that a reader may miss them and an engine may not."""
    for query in WRITES:
        word = next(
            w for w in ("CREATE", "MERGE", "SET", "DETACH", "REMOVE", "LOAD", "CALL") if w in query
        )
        first = ord(word[0])
        for spelled in (
            word.lower(),
            "".join(c.lower() if i % 2 else c for i, c in enumerate(word)),
            f"/* harmless */{word}/**/",
            f"// harmless\n{word}\r\n",
            f"/* // */ {word} /* */",
            f"\t\n{word}\t",
            f"\\u{first:04X}{word[1:]}",
            "".join(f"\\u{ord(c):04x}" for c in word),
            f"// \\u000a {word}",
            chr(first + 0xFEE0) + word[1:],
            f"\u200b{word}",
            f"\ufeff{word}",
            f"\u00a0{word}\u00a0",
            f"\u2028{word}\u2029",
            f"\u202e{word}",
            word.replace("S", "\u017f").replace("I", "\u0131"),
            f"`{word}`",
            f"\x0b{word}\x0c",
            f"\x00{word}",
        ):
            if spelled != word:
                yield "spelling", query.replace(word, spelled, 1)
    for text in (
        "RETURN 'a\\u0027 AS x CREATE (:Evil) //' AS y",
        "RETURN '\\u0027 CREATE (:Evil) RETURN \\u0027' AS y",
        "MATCH (n) WHERE n.id = '\\' CREATE (:Evil) //' RETURN n CREATE (:Evil)",
        'RETURN "a" CREATE (:Evil)',
        "RETURN 'a' // ' \nCREATE (:Evil)",
        "RETURN '/*' CREATE (:Evil) RETURN '*/'",
        "RETURN 1 /* \\u002a/ CREATE (:Evil) /* */",
        "RETURN `a\\u0060 CREATE (:Evil) //` AS x",
        "RETURN `a``b` CREATE (:Evil)",
        "MATCH (n:`User` {id: 'x'}) CREATE (:Evil)",
        "RETURN 1 AS `x` CREATE (:Evil)",
        "MATCH (n) RETURN n.id AS `a` UNION CREATE (x:Evil) RETURN 1 AS `a`",
        "RETURN 1.CREATE (:Evil)",
        "RETURN $x CREATE (:Evil)",
        "RETURN $`x` CREATE (:Evil)",
        "RETURN NULL CREATE (:Evil)",
        "RETURN [1] CREATE (:Evil)",
        "RETURN {a: 1} CREATE (:Evil)",
        "RETURN count(*) CREATE (:Evil)",
        "WITH 1 AS create CREATE (:Evil)",
        "WITH 1 AS x WHERE x IN [1] CREATE (:Evil)",
        "MATCH (n) WHERE CASE WHEN true THEN true END CREATE (:Evil)",
        "MATCH (n) RETURN EXISTS { CREATE (:Evil) }",
        "MATCH (n) RETURN COUNT { MATCH (n) SET n.evil = 1 RETURN n }",
        "MATCH (n) RETURN COLLECT { MATCH (n) DETACH DELETE n RETURN 1 }",
        "MATCH (n) WHERE EXISTS { MATCH (n) CALL { CREATE (:Evil) } RETURN 1 } RETURN n",
    ):
        yield "spelling", text


SCHEMA = """
CREATE INDEX FOR (n:User) ON (n.evil)
CREATE INDEX evil IF NOT EXISTS FOR ()-[r:INTERACTED]-() ON (r.evil)
CREATE TEXT INDEX evil FOR (n:User) ON (n.evil)
CREATE POINT INDEX evil FOR (n:User) ON (n.evil)
CREATE RANGE INDEX evil FOR (n:User) ON (n.evil)
CREATE LOOKUP INDEX evil FOR (n) ON EACH labels(n)
CREATE FULLTEXT INDEX evil FOR (n:User) ON EACH [n.evil]
CREATE VECTOR INDEX evil FOR (n:User) ON (n.evil)
CREATE CONSTRAINT evil FOR (n:User) REQUIRE n.evil IS UNIQUE
CREATE CONSTRAINT evil FOR (n:User) REQUIRE n.evil IS NOT NULL
CREATE OR REPLACE DATABASE evil
DROP INDEX evil
DROP INDEX evil IF EXISTS
DROP CONSTRAINT evil IF EXISTS
DROP DATABASE neo4j
DROP DATABASE neo4j IF EXISTS DUMP DATA
CREATE DATABASE evil
CREATE ALIAS evil FOR DATABASE neo4j
ALTER DATABASE neo4j SET ACCESS READ ONLY
ALTER CURRENT USER SET PASSWORD FROM 'a' TO 'b'
ALTER USER neo4j SET PASSWORD 'evil-evil'
CREATE USER evil SET PASSWORD 'evil-evil'
RENAME USER neo4j TO evil
DROP USER neo4j
GRANT ROLE admin TO neo4j
DENY READ {*} ON GRAPH * TO PUBLIC
REVOKE ROLE admin FROM neo4j
STOP DATABASE neo4j
START DATABASE neo4j
ENABLE SERVER 'x'
DRYRUN REALLOCATE DATABASES
SHOW INDEXES
SHOW CONSTRAINTS
SHOW DATABASES
SHOW DEFAULT DATABASE
SHOW HOME DATABASE
SHOW USERS
SHOW CURRENT USER
SHOW ROLES
SHOW PRIVILEGES
SHOW PROCEDURES
SHOW PROCEDURES EXECUTABLE
SHOW FUNCTIONS
SHOW ALL FUNCTIONS YIELD name RETURN name
SHOW SETTINGS
SHOW SETTINGS YIELD name, value RETURN name, value
SHOW TRANSACTIONS
SHOW TRANSACTIONS YIELD transactionId AS id TERMINATE TRANSACTIONS id
TERMINATE TRANSACTION 'neo4j-transaction-1'
SHOW SERVERS
SHOW ALIASES FOR DATABASE
SHOW SUPPORTED PRIVILEGES
USE system SHOW DATABASES
USE system MATCH (n) RETURN n
USE neo4j MATCH (n) DETACH DELETE n
USE graph.byName('system') MATCH (n) RETURN n
USE graph.byElementId('x') MATCH (n) RETURN n
MATCH (n) RETURN n UNION USE system MATCH (n) RETURN n
CALL { USE system MATCH (n) RETURN n } RETURN n
""".strip().splitlines()

PROCEDURES = """
db.createLabel('Evil')
db.createProperty('evil')
db.createRelationshipType('EVIL')
db.clearQueryCaches()
db.prepareForReplanning()
db.resampleIndex('x')
db.resampleOutdatedIndexes()
db.awaitIndexes(100000)
db.index.fulltext.queryNodes('x', 'y')
db.index.vector.queryNodes('x', 1, [1.0])
db.schema.visualization()
db.schema.nodeTypeProperties()
db.stats.collect('QUERIES')
db.stats.clear('QUERIES')
db.stats.retrieve('GRAPH COUNTS')
db.ping()
db.info()
db.checkpoint()
dbms.listConfig()
dbms.setConfigValue('db.transaction.timeout', '0')
dbms.components()
dbms.info()
dbms.queryJmx('*:*')
dbms.listConnections()
dbms.killConnection('x')
dbms.killConnections(['x'])
dbms.listActiveLocks('x')
dbms.listPools()
dbms.showCurrentUser()
dbms.security.listUsers()
dbms.scheduler.jobs()
dbms.routing.getRoutingTable({})
dbms.upgrade()
tx.setMetaData({a: 1})
tx.getMetaData()
apoc.load.json('http://127.0.0.1:{PORT}/x')
apoc.load.csv('file:///{FILE}')
apoc.export.csv.all('/tmp/evil.csv', {})
apoc.cypher.runWrite('CREATE (:Evil)', {})
apoc.periodic.iterate('MATCH (n) RETURN n', 'DELETE n', {})
apoc.util.sleep(100000)
gds.graph.project('evil', '*', '*')
gds.graph.export('evil', {dbName: 'evil'})
genai.vector.encodeBatch(['x'], 'OpenAI', {token: 'x'})
""".strip().splitlines()


def procedures() -> Iterator[Query]:
    """Procedures and dotted functions, called in every way there is."""
    for call in PROCEDURES:
        yield "procedure", f"CALL {call}"
        yield "procedure", f"MATCH (n) WITH n LIMIT 1 CALL {call} YIELD * RETURN 1"
        name, _, rest = call.partition("(")
        quoted = ".".join(f"`{part}`" for part in name.split("."))
        yield "procedure", f"CALL {quoted}({rest}"
        if not call.startswith("db"):
            yield "function", f"RETURN {call} AS x"
            yield "function", f"RETURN {quoted}({rest} AS x"
    yield "procedure", "MATCH (n) WITH n LIMIT 1 CALL db.labels() YIELD * RETURN 1"


def files() -> Iterator[Query]:
    """LOAD CSV in every position, from files and over the network."""
    for url in (
        "file:///{FILE}",
        "file:{FILE}",
        "http://127.0.0.1:{PORT}/x.csv",
        "ftp://127.0.0.1:{PORT}/x.csv",
        "https://localhost:{PORT}/x.csv",
        "jar:http://127.0.0.1:{PORT}/x.jar!/x",
    ):
        for shape in (
            "LOAD CSV FROM '{}' AS line RETURN line",
            "LOAD CSV WITH HEADERS FROM '{}' AS line RETURN line",
            "MATCH (n) WITH n LIMIT 1 LOAD CSV FROM '{}' AS line RETURN line",
            "WITH '{}' AS url LOAD CSV FROM url AS line RETURN line",
            "RETURN [1] AS line UNION LOAD CSV FROM '{}' AS line RETURN line",
            "CALL {{ LOAD CSV FROM '{}' AS line RETURN line }} RETURN line",
            "RETURN COLLECT {{ LOAD CSV FROM '{}' AS line RETURN line }} AS lines",
            "MATCH (n) WHERE EXISTS {{ LOAD CSV FROM '{}' AS line RETURN line }} RETURN n",
            "LOAD /**/ CSV FROM '{}' AS line FIELDTERMINATOR ';' RETURN line",
        ):
            yield "file", shape.replace("{{", "{").replace("}}", "}").replace("'{}'", f"'{url}'")


STATEMENTS = [
    "RETURN 1; CREATE (:Evil)",
    "RETURN 1;CREATE (:Evil);",
    "RETURN 1; RETURN 2",
    ";CREATE (:Evil)",
    "MATCH (n) RETURN n;\nMATCH (n) DETACH DELETE n",
    "RETURN 1 /* ; */; CREATE (:Evil)",
    "RETURN ';'; CREATE (:Evil)",
    "RETURN 1;;",
    "BEGIN CREATE (:Evil) COMMIT",
    ":param x => 1; CREATE (:Evil)",
    ":auto CREATE (:Evil)",
    "RETURN 1 \\u003b CREATE (:Evil)",
    "RETURN 1 ； CREATE (:Evil)",
]

BOMBS = [
    "RETURN size(range(1, 2000000000)) AS n",
    "RETURN range(1, 2000000000) AS n",
    "UNWIND range(1, 2000000000) AS x RETURN count(x)",
    "UNWIND range(1, $n) AS x RETURN x",
    "WITH 1000000000 AS n UNWIND range(1, n) AS x RETURN sum(x)",
    "RETURN reduce(s = 'a', x IN range(1, 40) | s + s) AS s",
    "RETURN reduce(s = 0, x IN range(1, 9000) | s + reduce(t = 0, y IN range(1, 9000) | t + y))",
    "RETURN [x IN range(1, 9000) | [y IN range(1, 9000) | [z IN range(1, 9000) | z]]] AS l",
    "RETURN any(x IN range(1, 9000) WHERE all(y IN range(1, 9000) WHERE x + y > 0)) AS b",
    "MATCH (n) WHERE n.id =~ '(a+)+(b+)+$' RETURN n",
    "RETURN 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!' =~ '(a+)+' AS b",
    "RETURN 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!' =~ '(([a-z])+.)+[A-Z]([a-z])+$' AS b",
    "WITH 'aaaaaaaaaa' AS s RETURN replace(replace(replace(replace(s,'a',s),'a',s),'a',s),'a',s)",
    "RETURN " + " + ".join(["'aaaaaaaaaaaaaaaa'"] * 60) + " AS s",
    "WITH 'aaaaaaaa' AS s " + "WITH s + s AS s " * 40 + "RETURN s",
    "WITH [1] AS s " + "WITH s + s + s AS s " * 20 + "RETURN size(s)",
    "RETURN " + "(" * 300 + "1" + ")" * 300 + " AS x",
    "RETURN " + "[" * 2000 + "]" * 2000 + " AS x",
    "RETURN " + "NOT " * 3000 + "true AS x",
    "RETURN " + "-" * 5000 + "1 AS x",
    "MATCH " + ", ".join(f"(a{i})--(b{i})" for i in range(700)) + " RETURN 1",
    "MATCH (a0)" + "".join(f"-[:R{i}]->(a{i + 1})" for i in range(40)) + " RETURN a0",
    "RETURN 1 AS x " + "UNION ALL RETURN 1 AS x " * 400,
    "RETURN '" + "x" * 200_000 + "' AS x",
    "WITH 1 AS a " * 900 + "RETURN 1",
    "CALL { UNWIND [1] AS x CALL { UNWIND [1] AS y RETURN y } RETURN y } RETURN y",
    "MATCH (a) RETURN apoc.util.sleep(100000)",
    "RETURN lpad('a', 2000000000, 'b') AS s",
    "RETURN repeat('a', 2000000000) AS s",
    "RETURN point.distance(point({x: 1, y: 1}), point({x: 2, y: 2}))",
]

# Nothing is wrong with these but their appetite: they may be answered, cut short or stopped.
HUNGRY = [
    "MATCH (a), (b), (c), (d), (e), (f) RETURN count(*)",
    "MATCH (a), (b), (c), (d) RETURN a.id, b.id, c.id, d.id",
    "MATCH (a), (b), (c), (d) RETURN a, b, c, d ORDER BY d.id DESC, a.id",
    "MATCH (a), (b), (c) RETURN collect([a, b, c]) AS x",
    "MATCH (a), (b), (c), (d) RETURN DISTINCT a.id + b.id + c.id + d.id AS x",
    "MATCH (a)-[*1..30]-(b) RETURN count(*)",
    "MATCH p = (a)-[*1..20]-(b) RETURN p",
    "MATCH (a)-[*]-(b)-[*]-(c) RETURN count(*)",
    "UNWIND range(1, 10000) AS a UNWIND range(1, 10000) AS b UNWIND range(1, 10000) AS c "
    "RETURN count(*)",
    "UNWIND range(1, 9999) AS a UNWIND range(1, 9999) AS b RETURN collect(a * b) AS x",
    "UNWIND range(1, 9999) AS a UNWIND range(1, 9999) AS b RETURN sum(sqrt(a) * sqrt(b)) AS x",
    "MATCH (a)--(b)--(c)--(d)--(e)--(f)--(g) RETURN count(DISTINCT g)",
    "MATCH (a)--(b)--(c)--(d)--(e)--(f)--(g)--(h)--(i)--(j) RETURN a, j ORDER BY a.id, j.id",
    "WITH range(1, 9999) AS l UNWIND l AS x WITH l, x UNWIND l AS y RETURN x, y, l",
    "MATCH (n) WITH collect(n) AS l UNWIND l AS a UNWIND l AS b UNWIND l AS c RETURN "
    "count(DISTINCT [a.id, b.id, c.id])",
]

WAYS_IN = [
    "{}",
    "MATCH (n) WITH n {}",
    "MATCH (n) WITH * {}",
    "RETURN 1 AS x UNION {}",
    "RETURN 1 AS x; {}",
    "UNWIND [1] AS x {}",
    "MATCH (n) WHERE n.id = 'x' {}",
    "EXPLAIN {}",
    "PROFILE {}",
    "/* x */ {}",
    "RETURN 'a' {}",
]

DIALECT = """
COPY (MATCH (n) RETURN n.*) TO '{FILE}.csv'
COPY (RETURN 1) TO '{FILE}.parquet' (compression='snappy')
COPY User FROM '{FILE}'
COPY INTERACTED FROM (LOAD FROM '{FILE}' RETURN *)
EXPORT DATABASE '{FILE}.d'
EXPORT DATABASE '{FILE}.d' (format='csv')
IMPORT DATABASE '{FILE}.d'
LOAD FROM '{FILE}' RETURN *
LOAD FROM '{FILE}' (header=false, file_format='csv') RETURN *
LOAD WITH HEADERS (a STRING) FROM '{FILE}' RETURN *
LOAD FROM sys RETURN *
LOAD FROM 'http://127.0.0.1:{PORT}/x.csv' RETURN *
LOAD httpfs
LOAD EXTENSION '{FILE}'
INSTALL httpfs
INSTALL httpfs FROM 'http://127.0.0.1:{PORT}/'
ATTACH '{FILE}' AS x (dbtype sqlite)
DETACH x
USE x
CALL threads=8
CALL timeout=1000000
CALL enable_multi_writes=true
CALL home_directory='/'
CALL file_search_path='/'
CALL progress_bar=true
CALL spill_to_disk=true
CALL show_tables() RETURN *
CALL table_info('User') RETURN *
CALL current_setting('threads') RETURN *
CALL show_functions() RETURN *
CALL storage_info('User') RETURN *
CALL clear_warnings()
CALL project_graph('g', ['User'], ['KNOWS'])
CREATE NODE TABLE Evil(id STRING PRIMARY KEY)
CREATE NODE TABLE IF NOT EXISTS Evil(id STRING PRIMARY KEY)
CREATE REL TABLE EVIL(FROM User TO User)
CREATE MACRO evil(x) AS x + 1
CREATE SEQUENCE evil
CREATE TYPE evil AS STRING
CREATE GRAPH evil
ALTER TABLE User ADD evil STRING
ALTER TABLE User RENAME TO Evil
COMMENT ON TABLE User IS 'evil'
DROP TABLE User
DROP SEQUENCE evil
CHECKPOINT
BEGIN TRANSACTION
COMMIT
ROLLBACK
""".strip().splitlines()

BLOW_UPS = """
list_sum(range(1, 2000000000))
range(1, 2000000000)
size(range(1, 9999999999))
repeat('a', 2000000000)
lpad('a', 2000000000, 'b')
rpad('a', 2000000000, 'b')
list_transform(range(1, 100000), x -> x)
list_reduce(range(1, 100000), (x, y) -> x + y)
list_filter([1], x -> x > 0)
regexp_replace('aaaa', 'a', 'b')
regexp_matches('aaaa', '(a+)+')
array_cross_product([1.0], [2.0])
nextval('evil')
currval('evil')
cast('{FILE}', 'BLOB')
md5('a')
gen_random_uuid()
error('x')
encode('x')
list_concat([1], [2])
""".strip().splitlines()


def dialect() -> Iterator[Query]:
    """The embedded engine's own statements in every position, and functions that blow up."""
    for statement in DIALECT:
        for way in WAYS_IN:
            yield "dialect", way.format(statement) if "{}" in way else statement
    for call in BLOW_UPS:
        yield "blow-up", f"RETURN {call} AS x"
        yield "blow-up", f"MATCH (n) WHERE n.id = {call} RETURN n"
    for lead in LEADS[:7]:
        yield "dialect", lead + "COPY (RETURN 1) TO '{FILE}.csv'"


def harmless() -> Iterator[Query]:
    """What people ask: counts, filters, orders, paths, groups, in many shapes of writing."""
    labels = {"User": "id", "Item": "id", "Tag": "name", "Domain": "name", "Segment": "name"}
    links = [
        ("User", "INTERACTED", "Item"),
        ("Item", "HAS_TAG", "Tag"),
        ("Item", "`IN`", "Domain"),
        ("User", "KNOWS", "User"),
        ("Item", "RELATED", "Item"),
        ("User", "IN_SEGMENT", "Segment"),
        ("Item", "NEAR", "Item"),
    ]
    for label, key in labels.items():
        for shape in (
            "MATCH (n:{L}) RETURN count(*) AS n",
            "MATCH (n:{L}) RETURN n LIMIT 5",
            "MATCH (n:{L}) RETURN n.{K} AS name ORDER BY name SKIP 1 LIMIT 3;",
            "match (n:{L}) where n.{K} starts with 'i' return n.{K} as name order by name desc",
            "MATCH (n:{L}) WHERE n.{K} CONTAINS \"o\" AND NOT n.{K} ENDS WITH 'x' RETURN n.{K}",
            "MATCH (n:{L}) WHERE n.{K} IN ['noir', 'item-01', 'user-01'] RETURN n.{K} AS x",
            "MATCH (n:{L}) RETURN toLower(n.{K}) AS low, size(n.{K}) AS letters // by length",
            "/* all of them */ MATCH (n:{L})\n  RETURN DISTINCT left(n.{K}, 3) AS begins",
            "MATCH (n:{L} {{{K}: 'Grüße, \\'quoted\\' and \\\\ more; CREATE (x)'}}) RETURN n",
            "MATCH (n:{L}) WITH n ORDER BY n.{K} LIMIT 10 RETURN collect(n.{K}) AS names",
            "MATCH (n:{L}) OPTIONAL MATCH (n)--(m) RETURN n.{K} AS name, count(m) AS links",
            "MATCH (n:{L}) RETURN CASE WHEN n.{K} < 'm' THEN 'first' ELSE 'second' END AS half, "
            "count(*) AS many",
            "MATCH (n:{L}) WHERE n.{K} = $name OR n.{K} >= 'a' RETURN n.{K} AS `the name` LIMIT 3",
        ):
            yield "harmless", shape.format(L=label, K=key)
    for source, link, target in links:
        for shape in (
            "MATCH (a:{S})-[r:{R}]->(b:{T}) RETURN count(r) AS n",
            "MATCH (a:{S})-[:{R}]->(b:{T}) WITH a, count(b) AS n RETURN n, count(a) AS how_many",
            "MATCH p = (a:{S})-[:{R}]->(b:{T}) RETURN p LIMIT 5",
            "MATCH (a:{S})-[r:{R}]->(b:{T}) RETURN a, r, b LIMIT 3",
            "MATCH (a:{S}) WHERE NOT EXISTS {{ MATCH (a)-[:{R}]->(:{T}) }} RETURN count(a) AS n",
            "MATCH (a:{S}) WHERE COUNT {{ MATCH (a)-[:{R}]->(:{T}) }} > 2 RETURN count(a) AS n",
            "MATCH (b:{T})<-[:{R}]-(a:{S}) RETURN b, count(DISTINCT a) AS n ORDER BY n DESC LIMIT 5",
            "MATCH (a:{S})-[:{R}]->(:{T}) RETURN count(a) AS n UNION ALL RETURN 0 AS n",
            "OPTIONAL MATCH (a:{S})-[:{R}]->(b:{T}) RETURN count(*) AS n",
        ):
            yield "harmless", shape.format(S=source, R=link, T=target)
    for text in (
        "RETURN 1 AS one",
        "RETURN 1 + 2 * 3 - 4 / 2 AS x, 7 % 3 AS y, 2 ^ 3 AS z",
        "RETURN -1 AS x, 1.5e3 AS y, true AS t, NULL AS n",
        "RETURN [1, 2, 3] AS l, size([1, 2]) AS two",
        "RETURN {a: 1, b: 'x'} AS m",
        "RETURN range(1, 10) AS ten",
        "UNWIND [1, 2, 3] AS x WITH x WHERE x > 1 RETURN sum(x) AS s, avg(x) AS a, max(x) AS m",
        "UNWIND range(1, 100) AS x RETURN x % 10 AS d, count(*) AS n ORDER BY d",
        "RETURN coalesce(NULL, 'x') AS x, abs(-2) AS a, floor(2.4) AS r, sqrt(16) AS s",
        "RETURN 'it is; not two' AS x",
        "RETURN 'CREATE (n) SET n.x = 1' AS just_text",
        "RETURN \"double 'quoted'\" AS x, 'tab\\tnew\\nline' AS y",
        "RETURN '日本語 и русский' AS x",
        "MATCH (u:User)-[e:INTERACTED]->() WHERE e.value >= 3 RETURN e.kind AS kind, avg(e.value)",
        "MATCH (u:User)-[e:INTERACTED {kind: 'like'}]->(i:Item) RETURN i.id, count(*) AS n LIMIT 5",
        "MATCH (u:User)-[e:INTERACTED]->(i) WHERE e.at IS NOT NULL RETURN min(e.at), max(e.at)",
        "MATCH (u:User)-[e:INTERACTED]->(i) WHERE e.tag IS NULL RETURN count(*) AS untagged",
        "MATCH (a:Item)-[:RELATED*1..3]->(b:Item) WHERE a.id <> b.id RETURN count(DISTINCT b.id)",
        "MATCH p = (a:User {id: 'user-01'})-[:KNOWS*1..2]-(b:User) RETURN length(p) AS l, count(*)",
        "MATCH (a:User)-[:INTERACTED]->(i)<-[:INTERACTED]-(b:User) WHERE a.id < b.id "
        "RETURN a.id, b.id, count(DISTINCT i.id) AS shared ORDER BY shared DESC LIMIT 10",
        "MATCH (n) RETURN count(n) AS nodes",
        "MATCH ()-[r]->() RETURN count(r) AS links",
        "MATCH (i:Item) WHERE i.hidden = true RETURN i.id",
        "MATCH (i:Item) WHERE i.title IS NOT NULL AND (i.id < 'item-05' OR i.id > 'item-70') "
        "RETURN i.title AS title",
        "MATCH (i:Item) RETURN i.created_at / 31536000 AS years, count(*) AS n",
        "MATCH (d:Domain)<-[m:`IN`]-(i:Item) RETURN d.name, sum(m.weight) AS weight",
        "MATCH (t:Tag {category: 'genre'})<-[:HAS_TAG]-(i:Item) RETURN t.name, count(i)",
        "MATCH (u:User) WITH count(u) AS users MATCH (i:Item) RETURN users, count(i) AS items",
        "MATCH (u:User) WHERE any(x IN ['user-01', 'user-02'] WHERE x = u.id) RETURN u.id",
        "MATCH (u:User)-[:INTERACTED]->(i:Item)-[:HAS_TAG]->(t:Tag) WITH u, count(DISTINCT t.name) AS n "
        "ORDER BY n DESC LIMIT 5 RETURN u.id AS user, n",
        "MATCH (u:User) WITH u.id AS user, {id: u.id, name: 'x'} AS m RETURN m.id AS id LIMIT 2",
        "MATCH (a:Item {id: 'item-01'}), (b:Item {id: 'item-02'}) RETURN a.title, b.title",
        "MATCH (u:User)-->(x) RETURN count(x) AS n",
        "MATCH (u:User)--(x) RETURN count(DISTINCT x) AS n",
        "MATCH (x)<--(u:User) RETURN count(DISTINCT u) AS n",
        "MATCH (i:Item) RETURN i.id AS id ORDER BY i.created_at DESC, id ASC LIMIT 4",
        "MATCH (i:Item) WITH i.id AS id WHERE id CONTAINS 'set' OR id CONTAINS 'load' RETURN id",
        "MATCH (u:User)-[e:INTERACTED]->(i:Item) RETURN u.id + ' → ' + i.id AS x LIMIT 3",
        "MATCH (i:Item) RETURN substring(i.id, 0, 4) AS kind, count(*) AS n",
        "MATCH (n:Item|Tag) RETURN count(n) AS n",
        "MATCH (n:Item) RETURN count(n)",
        "CALL db.labels()",
        "CALL `db`.`labels`()",
    ):
        yield "harmless", text
    for kind in (
        "like",
        "tag",
        "hide",
        "view",
        "play",
        "rating",
        "merge",
        "delete",
        "set",
        "use",
        "load",
        "create",
        "call",
        "show",
        "drop",
        "copy",
        "export",
    ):
        yield (
            "harmless",
            (
                f"MATCH (u:User)-[e:INTERACTED]->(i:Item) WHERE e.kind = '{kind}' "
                "RETURN u.id AS user, count(DISTINCT i.id) AS n ORDER BY n DESC, user LIMIT 10"
            ),
        )
        yield (
            "harmless",
            (
                f"MATCH (i:Item) WHERE NOT EXISTS {{ MATCH (i)<-[e:INTERACTED]-(:User) "
                f"WHERE e.kind = '{kind}' }} RETURN count(i) AS never"
            ),
        )


def corpora() -> dict[str, list[Query]]:
    """File name -> its queries, without duplicates, in order."""
    hostile = [*writes(), *spellings(), *procedures(), *files()]
    hostile += [("schema", text) for text in SCHEMA]
    hostile += [("statements", text) for text in STATEMENTS]
    hostile += [("bomb", text) for text in BOMBS] + [("hungry", text) for text in HUNGRY]
    made = {"hostile": hostile, "ladybug": list(dialect()), "harmless": list(harmless())}
    return {name: list(dict.fromkeys(queries)) for name, queries in made.items()}


if __name__ == "__main__":
    for name, queries in corpora().items():
        lines = [json.dumps({"family": f, "query": q}, ensure_ascii=True) for f, q in queries]
        (HERE / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        print(f"{name}: {len(lines)}")
