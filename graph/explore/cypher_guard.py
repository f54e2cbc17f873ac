"""Reads a stranger's query as Neo4j would, allows it if it only reads, and writes it anew.

    text ─▶ tokens ─▶ clauses, patterns, expressions ─▶ text for the engine at hand

The text for the engine is written from what was understood here, so the engine cannot read anything
in another way. Comments are gone, every text has become a parameter, every name that could be a
word of the language stands in backticks, and only clauses that read and functions from a list can
be written at all. A query means the same on Neo4j and on the embedded file: this covers places in
lists, dates, and that no relationship is walked twice in a pattern.

If the next clause counts, the file's engine ignores ORDER BY and takes any rows for LIMIT; a clause
in between prevents that.
"""

import re
from dataclasses import dataclass
from typing import Any, NoReturn

from graph.explore.cypher_calls import Calls
from graph.explore.cypher_cursor import Piece, written
from graph.explore.cypher_subqueries import refuse_call
from graph.explore.cypher_tokens import refuse
from graph.explore.cypher_words import NEVER, PROCEDURES

ALL_ROWS = 1_000_000_000  # WITH … ORDER BY needs a LIMIT in the file
SQL = ("SELECT", "GROUP", "HAVING", "FROM", "JOIN")


@dataclass(frozen=True)
class Checked:
    """A query that may run: its text written anew, and its texts as parameters."""

    text: str
    strings: dict[str, Any]  # more parameters: texts, and dates as seconds
    parameters: frozenset[str]  # names of the parameters that the asker must give
    columns: list[str] | None  # names as they were written; None: as the engine names them
    times: tuple[bool, ...]  # which columns are times


def check(query: str, engine: str, arguments: dict[str, Any] | None = None) -> Checked:
    """The query as it may run on `engine` ("ladybug" or "neo4j").

    Args:
        query: what somebody wrote.
        engine: the engine for which it is written anew.
        arguments: the asker's parameters; a text that is compared with a time is read as a date.

    Raises:
        QueryRefused: says which part is refused, why, and what to write instead.
    """
    return _Statement(query, engine == "ladybug", arguments or {}).read()


class _Statement(Calls):
    """Reads a whole query."""

    columns: list[str] | None = None
    times: tuple[bool, ...] = ()

    def read(self) -> Checked:
        """All branches of the query."""
        parts = [self._branch()]
        first = self.columns, self.times
        while self.took_word("UNION"):
            word = "UNION ALL" if self.took_word("ALL") else "UNION"
            self.took_word("DISTINCT")
            parts.append(f"{word} {self._branch()}")
        if self.ahead().kind != "end":
            self._no_clause()
        return Checked(" ".join(parts), self.strings, frozenset(self.parameters), *first)

    def _branch(self) -> str:
        self.names, self.kinds = set(), {}
        self.kept, self.since = [], self.at
        parts: list[str] = []
        while True:
            if self.took_word("RETURN"):
                return " ".join([*parts, f"RETURN {self._projection_of('RETURN')}"])
            if self.is_word("CALL"):
                parts.append(self._procedure())
                if self.ahead().kind == "end":
                    name = parts[-1].rpartition(" ")[2]
                    self.columns, self.times = [name.strip("`")], (False,)
                    return " ".join([*parts, f"RETURN {name}"])
            else:
                parts.append(self._clause())

    def _clause(self) -> str:
        if self.took_word("MATCH"):
            return f"MATCH {self.match()}"
        if self.is_word("OPTIONAL") and self.is_word("MATCH", steps=1):
            self.at += 2
            return f"OPTIONAL MATCH {self.match()}"
        if self.took_word("UNWIND"):
            source = self.expression()
            self.expect_word("AS")
            name = self.declared()
            if source.kind == "time":
                self.kinds[name] = "time"
            return f"UNWIND {source.text} AS {written(name)}"
        if self.took_word("WITH"):
            return f"WITH {self._projection_of('WITH')}"
        return self._no_clause()

    def _no_clause(self) -> NoReturn:
        token = self.ahead()
        made_of = (
            "a query is made of MATCH, OPTIONAL MATCH, WITH, UNWIND, RETURN and UNION, "
            "and can only read"
        )
        if token.kind == "end":
            refuse(f"it ends without RETURN; {made_of}")
        if token.upper in SQL:
            refuse(f"{token.upper} is SQL: MATCH … RETURN a.x, count(*) groups by a.x by itself")
        if token.upper in NEVER:
            refuse(f"{token.upper} is not allowed: a query can only read, from the graph alone")
        refuse(
            f"{token.text[:40]} at character {token.start + 1}, where a clause should begin; "
            f"{made_of}"
        )

    # ── RETURN and WITH ──────────────────────────────────────────────────────────────────

    def _projection_of(self, clause: str) -> str:
        distinct = "DISTINCT " if self.took_word("DISTINCT") else ""
        columns: list[str] | None = []
        items: list[tuple[Piece, str]] = []  # each value, and its name if it has one
        texts: list[str] = []
        if self.took_sign("*"):
            columns = None
            texts.append("*")
            more = bool(self.took_sign(","))
        else:
            more = True
        while more:
            start = self.at
            piece = self.expression()
            header, name = self.source(start), ""
            if self.took_word("AS"):
                name = header = self.name("a name")
            elif clause == "WITH" and piece.text != written(piece.variable or ""):
                refuse(f"{header[:60]} needs a name in WITH: {header[:60]} AS something")
            items.append((piece, name))
            texts.append(f"{piece.text} AS {written(name)}" if name else piece.text)
            if columns is not None:
                columns.append(header)
            more = bool(self.took_sign(","))
        if clause == "RETURN":
            self.columns = columns
            self.times = tuple(piece.kind == "time" for piece, _ in items) if columns else ()
        known = {name or str(piece.variable): piece.kind for piece, name in items}
        everything = columns is None
        self.names |= set(known)
        self.kinds |= {name: kind for name, kind in known.items() if kind}
        order = self._order(items)
        cut = self._cut()
        ordered = order and clause == "WITH" and self.file
        tail = order + (cut or (f" LIMIT {ALL_ROWS}" if ordered else ""))
        if clause == "WITH" and not everything:
            self.kept, self.since = list(known), self.at
            self.kinds = {name: kind for name, kind in known.items() if kind}
        if clause == "WITH" and self.took_word("WHERE"):
            tail += f" WHERE {self.expression().text}"
        if ordered and not self.returns_all:
            tail += f" UNWIND [0] AS {self.new_name('row')}"  # or else the order may be dropped
        return distinct + ", ".join(texts) + tail

    def _order(self, items: list[tuple[Piece, str]]) -> str:
        if not self.took_word("ORDER"):
            return ""
        self.expect_word("BY")
        parts: list[str] = []
        while True:
            piece = self.expression()
            text = next(
                (written(n) for ordered, n in items if n and ordered.text == piece.text), ""
            )
            known = text or any(ordered.text == piece.text for ordered, _ in items)
            if piece.aggregate and not known and self.file:
                refuse(
                    "what ORDER BY counts must be returned too: RETURN …, count(*) AS n ORDER BY n"
                )
            way = self.took_word("ASC", "ASCENDING", "DESC", "DESCENDING")
            parts.append(f"{text or piece.text} {way}".strip())
            if not self.took_sign(","):
                return f" ORDER BY {', '.join(parts)}"

    def _cut(self) -> str:
        skip = f" SKIP {self._many()}" if self.took_word("SKIP", "OFFSET") else ""
        return skip + (f" LIMIT {self._many()}" if self.took_word("LIMIT") else "")

    def _many(self) -> str:
        piece = self.expression()
        if not (piece.text.isdigit() or piece.parameter) and self.file:
            refuse("SKIP and LIMIT take a whole number or a parameter")
        return piece.text

    # ── procedures that are answered from what is known ──────────────────────────────────

    def _procedure(self) -> str:
        self.expect_word("CALL")
        if self.is_sign("{", "("):
            refuse_call(self.query, self.tokens, self.at - 1, self.names_in_order())
        name = self.name("a procedure")
        while self.took_sign("."):
            name += "." + self.name("a procedure")
        if name.lower() not in PROCEDURES:
            there = "db.labels(), db.relationshipTypes(), db.propertyKeys()"
            refuse(f"the procedure {name[:40]} is not allowed; there are {there}")
        column, values = PROCEDURES[name.lower()]
        self.expect_sign("(")
        self.expect_sign(")")
        shown = column
        if self.took_word("YIELD"):
            column_name = self.name("a column")
            if column_name != column:
                refuse(f"{name}() yields {column}")
            shown = self.name("a name") if self.took_word("AS") else column
        self.names.add(shown)
        assert all(re.fullmatch(r"\w+", value) for value in values)
        return f"UNWIND [{', '.join(repr(value) for value in values)}] AS {written(shown)}"


def check_parameters(parameters: dict[str, Any], most_bytes: int = 100_000) -> None:
    """Refuse parameters that are not plain JSON values, or together are too large."""

    def weigh(value: Any, depth: int) -> int:
        if depth > 6:
            refuse("a parameter is nested more than six deep")
        if value is None or isinstance(value, bool | float):
            return 8
        if isinstance(value, int):
            if not -(2**63) <= value < 2**63:
                refuse("a whole number in the parameters does not fit into 64 bits")
            return 8
        if isinstance(value, str):
            if any("\ud800" <= letter <= "\udfff" for letter in value):
                refuse("a text in the parameters is not valid Unicode")
            return 8 + 4 * len(value)
        if isinstance(value, list):
            return 8 + sum(weigh(part, depth + 1) for part in value)
        if isinstance(value, dict) and all(isinstance(key, str) for key in value):
            return 8 + sum(weigh(k, depth) + weigh(v, depth + 1) for k, v in value.items())
        return refuse(
            f"a parameter is a {type(value).__name__}; send texts, numbers, lists or maps"
        )

    for name, value in parameters.items():
        if not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII):
            refuse(f"the parameter name {name!r}: use a letter, then letters, digits and _")
        if weigh(value, 0) > most_bytes:
            refuse(f"the parameter {name!r} is larger than {most_bytes:,} bytes")
