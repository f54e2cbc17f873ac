"""A Neo4j server with the console's restrictions, as `docs/exploring.md` asks for them."""

from neo4j_fixture import missing
from neo4j_fixture import servers as module

RESTRICTIONS = {
    "dbms.security.procedures.allowlist": "db.awaitIndexes",
    "dbms.security.allow_csv_import_from_file_urls": "false",
    "dbms.memory.transaction.total.max": "256m",
    "db.memory.transaction.max": "128m",
}


def started(folder, **settings):
    """A running server; without one the test is skipped with the reason, or fails where one was
    promised.
    """
    servers = module()
    reason = servers.missing()
    if reason is not None:
        missing(reason)
    return servers.Server(folder, heap="512m", settings=RESTRICTIONS | settings).start()
