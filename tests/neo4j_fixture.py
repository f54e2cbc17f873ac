"""A real Neo4j server for tests, and what they do to it.

`NEO4J_TEST_URI` (with `NICHEGRAPH_NEO4J_USER`, `…_PASSWORD`, `…_DATABASE`) names one that
runs already; it is emptied. Otherwise one is started from Maven Central, once a session. Where
none can be, tests are skipped with the reason, and fail when CI promised a server.
"""

import atexit
import functools
import importlib.util
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import neo4j
import pytest

from graph.stores.neo4j_store import Neo4jStore

HERE = Path(__file__).parent


def servers():
    """`tests/servers/neo4j.py`, under a name that is not the driver's."""
    name = "neo4j_test_server"
    if name not in sys.modules:
        script = HERE / "servers" / "neo4j.py"
        spec = importlib.util.spec_from_file_location(name, script)
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@dataclass
class Address:
    uri: str
    user: str
    password: str
    database: str
    server: object | None = None  # only one that we started can be killed

    def store(self, uri=None, **options) -> Neo4jStore:
        return Neo4jStore(
            uri or self.uri, self.user, self.password, self.database, **{"deadline": 20.0} | options
        )

    def empty(self) -> None:
        """Remove everything but the constraints."""
        with (
            neo4j.GraphDatabase.driver(
                self.uri, auth=(self.user, self.password), notifications_min_severity="OFF"
            ) as driver,
            driver.session(database=self.database) as session,
        ):
            session.run(
                "MATCH (n) CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 200 ROWS"
            ).consume()


def missing(reason: str):
    if os.environ.get("NEO4J_TEST_REQUIRED") or os.environ.get("CI") == "true":
        pytest.fail(f"a Neo4j server was promised: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def address():
    """Where the server of this session is."""
    given = os.environ.get("NEO4J_TEST_URI")
    if given:
        yield Address(
            given,
            os.environ.get("NICHEGRAPH_NEO4J_USER", "neo4j"),
            os.environ.get("NICHEGRAPH_NEO4J_PASSWORD", ""),
            os.environ.get("NICHEGRAPH_NEO4J_DATABASE", "neo4j"),
        )
        return
    module = servers()
    reason = module.missing()
    if reason:
        missing(reason)
    server = started()
    yield Address(server.uri, "neo4j", module.PASSWORD, "neo4j", server)


@functools.cache
def started():
    """The one server of this session, however many modules import the fixture."""
    folder = tempfile.TemporaryDirectory(prefix="neo4j-", ignore_cleanup_errors=True)
    server = servers().Server(Path(folder.name))
    atexit.register(folder.cleanup)
    atexit.register(server.kill)  # before the folder goes
    return server.start()


@pytest.fixture
def store(address):
    """An empty store on the server."""
    address.empty()
    store = address.store()
    yield store
    store.close()


def ask(address, statement, **parameters):
    """The records of a query, by the plain driver."""
    auth = (address.user, address.password)
    with neo4j.GraphDatabase.driver(address.uri, auth=auth) as driver:
        return driver.execute_query(statement, parameters, database_=address.database).records
