"""Says what went wrong with a Neo4j server, in one sentence that tells what to check."""

import re

OLDEST = (5, 26)  # the long-term support version; older ones lack `CALL (x) { … }`

_BY_CODE = {
    "Neo.ClientError.Security.Unauthorized": (
        "refuses the user name or the password; check NICHEGRAPH_NEO4J_USER and "
        "NICHEGRAPH_NEO4J_PASSWORD"
    ),
    "Neo.ClientError.Security.AuthenticationRateLimit": (
        "refuses to log in for some seconds after too many wrong passwords; check "
        "NICHEGRAPH_NEO4J_USER and NICHEGRAPH_NEO4J_PASSWORD"
    ),
    "Neo.ClientError.Security.CredentialsExpired": (
        "wants this user's first password to be changed before anything else; change it with "
        "ALTER CURRENT USER SET PASSWORD"
    ),
    "Neo.ClientError.Security.Forbidden": (
        "does not give this user the right to do that; grant reading, writing and constraints "
        "on the database, or use another user"
    ),
    "Neo.ClientError.Database.DatabaseNotFound": (
        "has no such database; check NICHEGRAPH_NEO4J_DATABASE"
    ),
    "Neo.TransientError.Database.DatabaseUnavailable": (
        "has the database, but it is not online; look into the server's log"
    ),
    "Neo.ClientError.General.ForbiddenOnReadOnlyDatabase": (
        "keeps this database read-only; check server.databases.read_only"
    ),
    "Neo.ClientError.General.WriteOnReadOnlyAccessMode": (
        "keeps this database read-only; check server.databases.read_only"
    ),
    "Neo.TransientError.General.MemoryPoolOutOfMemoryError": (
        "has too little memory for this transaction; raise server.memory.heap.max_size"
    ),
    "Neo.TransientError.General.OutOfMemoryError": (
        "is out of memory; raise server.memory.heap.max_size"
    ),
    "Neo.ClientError.Transaction.TransactionTimedOut": (
        "ended the transaction at its time limit; it is busy, or db.transaction.timeout is too "
        "short"
    ),
    "Neo.TransientError.Transaction.DeadlockDetected": (
        "is busy with another writer; only one process may write at a time, try again"
    ),
}


def away(uri: str, *, database: str, code: str | None, kind: str, text: str) -> str:
    """The sentence for an error of the driver.

    Args:
        uri: the server that was asked.
        database: the database that was named.
        code: Neo4j's status code (`Neo.ClientError…`) where the server answered.
        kind: the class name of the driver's error.
        text: the driver's own words.
    """
    known = _BY_CODE.get(code or "")
    if known is not None:
        return f"Neo4j at {uri} (database {database!r}) {known}"
    first = text.strip().splitlines()[0][:200] if text.strip() else kind
    if code is not None:
        return f"Neo4j at {uri} (database {database!r}) answers {code}: {first}"
    if kind in {"UnsupportedServerProduct", "BoltHandshakeError", "BoltProtocolError"}:
        return (
            f"what answers at {uri} is not Neo4j {version(OLDEST)} or newer; check the address and "
            f"the port (Bolt, not HTTP), and the server's version ({first})"
        )
    if kind == "ConfigurationError":
        return f"the address {uri} cannot be used: {first}"
    return (
        f"no answer from Neo4j at {uri}; check that the server runs, that address and port are "
        f"right and that no firewall is in the way ({kind}: {first})"
    )


def too_slow(uri: str, seconds: float) -> str:
    """The sentence for a call that was given up."""
    return (
        f"Neo4j at {uri} did not answer within {seconds:g} s; check that the server runs and is "
        "not overloaded; a write may have been done, and can safely be sent again"
    )


def unsupported(uri: str, agent: str) -> str | None:
    """The sentence when the server's version is too old, None when it is fine.

    Args:
        uri: the server that was asked.
        agent: what the server calls itself, `Neo4j/5.26.31`.
    """
    match = re.match(r"Neo4j/(\d+)\.(\d+)", agent)
    if match and (int(match[1]), int(match[2])) >= OLDEST:
        return None
    name = agent or "an unnamed server"
    return f"{name} at {uri} is not supported; use Neo4j {version(OLDEST)} or newer"


def version(parts: tuple[int, ...]) -> str:
    """A version as text: (5, 26) gives 5.26."""
    return ".".join(map(str, parts))
