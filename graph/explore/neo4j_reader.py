"""Asks a Neo4j server for the guarded console: EXPLAIN first, READ mode, a time limit.

Only `console_worker` uses this, in a process of its own. A query is checked three times: by
`cypher_guard` before it gets here, by the operators of its plan, and by the server, which runs it
in a transaction that may only read.
"""

import math
from collections.abc import Iterator
from typing import Any

import neo4j
from neo4j.exceptions import ClientError, DriverError, Neo4jError
from neo4j.graph import Node, Path, Relationship

from graph.errors import NichegraphError, QueryRefused, QueryStopped, StoreAway
from graph.stores.neo4j_faults import away

READING_OPERATORS = frozenset(
    """
    AllNodesScan NodeByLabelScan UnionNodeByLabelsScan IntersectionNodeByLabelsScan
    SubtractionNodeByLabelsScan PartitionedAllNodesScan NodeIndexSeek NodeUniqueIndexSeek
    MultiNodeIndexSeek NodeIndexSeekByRange NodeUniqueIndexSeekByRange NodeIndexScan
    NodeIndexContainsScan NodeIndexEndsWithScan NodeByIdSeek NodeByElementIdSeek AssertSameNode
    DirectedAllRelationshipsScan UndirectedAllRelationshipsScan DirectedRelationshipTypeScan
    UndirectedRelationshipTypeScan DirectedUnionRelationshipTypesScan
    UndirectedUnionRelationshipTypesScan DirectedRelationshipIndexSeek
    UndirectedRelationshipIndexSeek DirectedRelationshipIndexSeekByRange
    UndirectedRelationshipIndexSeekByRange DirectedRelationshipIndexScan
    UndirectedRelationshipIndexScan DirectedRelationshipUniqueIndexSeek
    UndirectedRelationshipUniqueIndexSeek NodeCountFromCountStore RelationshipCountFromCountStore
    Expand(All) Expand(Into) OptionalExpand(All) OptionalExpand(Into) VarLengthExpand(All)
    VarLengthExpand(Into) VarLengthExpand(Pruning) VarLengthExpand(Pruning,BFS)
    VarLengthExpand(Pruning,BFS,All) VarLengthExpand(Pruning,BFS,Into) ProjectEndpoints
    ShortestPath StatefulShortestPath(All) StatefulShortestPath(Into) Filter Projection
    CacheProperties ProduceResults Argument Apply SemiApply AntiSemiApply SelectOrSemiApply
    SelectOrAntiSemiApply LetSemiApply LetAntiSemiApply LetSelectOrSemiApply
    LetSelectOrAntiSemiApply RollUpApply ConditionalApply AntiConditionalApply CartesianProduct
    NodeHashJoin ValueHashJoin NodeLeftOuterHashJoin NodeRightOuterHashJoin LeftOuterHashJoin
    RightOuterHashJoin Optional Unwind Union OrderedUnion Distinct OrderedDistinct Aggregation
    EagerAggregation OrderedAggregation Sort PartialSort Top PartialTop Top1WithTies Limit Skip
    Eager TriadicSelection TriadicBuild TriadicFilter EmptyRow
    """.split()  # noqa: SIM905 - one operator a word
)
"""Plan operators that only read the graph; a plan with any other is refused. `ProcedureCall` and
`LoadCSV` are operators too and not on the list, so no procedure can run."""

_NOT_THE_QUERY = ("Unauthorized", "AuthenticationRateLimit", "CredentialsExpired", ".Database.")
_ITS_FAULT = ("Neo.DatabaseError.General.UnknownError", "Neo.DatabaseError.Statement.")
"""What the server calls its own fault, and says of a query it stumbled over."""


class Reader:
    """Runs reading queries for the console, each in a READ transaction with a time limit."""

    def __init__(self, uri: str, user: str, password: str, database: str, seconds: float) -> None:
        """Connects at the first query; a query may take `seconds`."""
        self._driver = neo4j.GraphDatabase.driver(
            uri,
            auth=(user, password),
            connection_timeout=5.0,
            connection_acquisition_timeout=5.0,
            max_transaction_retry_time=0.0,
            max_connection_pool_size=2,
            fetch_size=200,
            notifications_min_severity="OFF",
            telemetry_disabled=True,
        )
        self._uri, self._database, self._seconds = uri, database, seconds

    def close(self) -> None:
        """Close the connections."""
        self._driver.close()

    def explain(self, query: str, parameters: dict[str, Any]) -> tuple[str, set[str]]:
        """The type of a query ("r" reads only) and the operators of its plan."""
        with self._driver.session(
            database=self._database, default_access_mode=neo4j.READ_ACCESS
        ) as session:
            explained = neo4j.Query(f"EXPLAIN {query}", timeout=self._seconds)
            summary = session.run(explained, parameters).consume()
        operators: set[str] = set()
        plans = [summary.plan or {}]
        while plans:
            plan = plans.pop()
            operators.add(str(plan.get("operatorType", "?")).split("@")[0])
            plans.extend(plan.get("children", []))
        return str(summary.query_type), operators

    def rows(self, query: str, parameters: dict[str, Any]) -> tuple[list[str], Iterator[list[Any]]]:
        """See `ladybug_graph.GraphFile.rows`; a query's plan is checked before it runs."""
        rows = self._rows(query, parameters)
        return next(rows), rows

    def _rows(self, query: str, parameters: dict[str, Any]) -> Iterator[list[Any]]:
        try:
            kind, operators = self.explain(query, parameters)
            unknown = operators - READING_OPERATORS
            if kind != "r" or unknown:
                raise QueryRefused(
                    "This query was not run: its plan does more than read the graph"
                    + (f" ({', '.join(sorted(unknown))})." if unknown else ".")
                )
            with (
                self._driver.session(
                    database=self._database, default_access_mode=neo4j.READ_ACCESS
                ) as session,
                session.begin_transaction(timeout=self._seconds) as transaction,
            ):
                result = transaction.run(query, parameters)
                yield list(result.keys())
                for record in result:
                    yield [_plain(value) for value in record.values()]
        except (Neo4jError, DriverError) as error:
            raise _in_words(self._uri, self._database, error) from None


def _in_words(uri: str, database: str, error: Neo4jError | DriverError) -> NichegraphError:
    code = error.code if isinstance(error, Neo4jError) else None
    text = str(getattr(error, "message", None) or error)
    if any(word in (code or "") for word in ("MemoryPool", "OutOfMemory", "StackOverFlow")):
        return QueryStopped("The query needed more memory than allowed and was stopped.")
    if any(word in (code or "") for word in ("TransactionTimedOut", "Terminated")):
        return QueryStopped("The query ran longer than allowed and was stopped.")
    is_the_query = isinstance(error, ClientError) or (code or "").startswith(_ITS_FAULT)
    if is_the_query and not any(word in (code or "") for word in _NOT_THE_QUERY):
        first = text.strip().split("\n")[0]
        return QueryRefused(f"The query was not understood: {first}")
    return StoreAway(away(uri, database=database, code=code, kind=type(error).__name__, text=text))


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, Node):
        return {
            "node": value.element_id,
            "label": next(iter(sorted(value.labels)), ""),
            "properties": {name: _plain(part) for name, part in sorted(value.items())},
        }
    if isinstance(value, Relationship):
        ends = [node.element_id if node is not None else "" for node in value.nodes]
        return {
            "relationship": value.element_id,
            "type": value.type,
            "from": ends[0],
            "to": ends[1],
            "properties": {name: _plain(part) for name, part in sorted(value.items())},
        }
    if isinstance(value, Path):
        path = [_plain(value.start_node)]
        for link, node in zip(value.relationships, value.nodes[1:], strict=True):
            path += [_plain(link), _plain(node)]
        return {"path": path}
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    return str(value)
