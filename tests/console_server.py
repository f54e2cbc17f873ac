"""A Neo4j server with the console's restrictions, as `docs/exploring.md` asks for them."""

import importlib.util
import sys
from pathlib import Path

import pytest

RESTRICTIONS = {
    "dbms.security.procedures.allowlist": "db.awaitIndexes",
    "dbms.security.allow_csv_import_from_file_urls": "false",
    "dbms.memory.transaction.total.max": "256m",
    "db.memory.transaction.max": "128m",
}


def module():
    """`tests/servers/neo4j.py`, under a name that is not the driver's."""
    name = "neo4j_test_server"
    if name not in sys.modules:
        path = Path(__file__).parent / "servers" / "neo4j.py"
        spec = importlib.util.spec_from_file_location(name, path)
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def started(folder, **settings):
    """A running server; the test is skipped, with the reason, where none can be started."""
    servers = module()
    reason = servers.missing()
    if reason is not None:
        pytest.skip(reason)
    return servers.Server(folder, heap="512m", settings=RESTRICTIONS | settings).start()
