"""Reads functions, subqueries and loops over lists, and writes them for each engine."""

from graph.explore.cypher_cursor import Loop, Piece, written
from graph.explore.cypher_dates import TEMPORAL, Dates
from graph.explore.cypher_subqueries import refuse_pattern
from graph.explore.cypher_tokens import refuse
from graph.explore.cypher_words import (
    CAST_TYPES,
    CASTS,
    FILE,
    RENAMED,
    SAME,
    SERVER,
    instead,
)

LONGEST_RANGE = 10_000  # elements of range(…)
LONGEST_IN_PLACE = 16  # letters of a text that `replace` may put in
QUANTIFIERS = ("any", "all", "none", "single")
KEEP_TIME = ("min", "max", "coalesce", "head", "last", "collect")
COUNTS = ("count", "size", "length", "char_length", "tointeger", "tofloat")
TEXTS = (
    "tostring", "substring", "left", "right", "trim", "ltrim", "rtrim", "tolower", "toupper",
    "lower", "upper", "replace",
)  # fmt: skip
E = "2.718281828459045"
AGGREGATES = (
    "count", "collect", "sum", "avg", "min", "max", "stdev", "stdevp", "percentilecont",
    "percentiledisc",
)  # fmt: skip


class Calls(Dates):
    """Reads what has brackets after it or around it."""

    def call(self) -> Piece:
        """Read a function and its arguments."""
        name = self.name("a function")
        while self.took_sign("."):
            name += "." + self.name("a function")
        low = name.lower()
        if low in QUANTIFIERS:
            return self._quantified(low)
        if low == "reduce":
            return self._reduced()
        if low == "cast":
            return self._cast()
        if low in ("exists", "size") and self.is_sign("(", steps=1):
            return self._of_pattern(low)
        if low in ("shortestpath", "allshortestpaths"):
            refuse(f"write MATCH p = {name}((a)-[:TYPE*..5]-(b))")
        self._check_known(name)
        self.expect_sign("(")
        with self.inside():
            if low == "count" and self.took_sign("*"):
                self.expect_sign(")")
                return Piece("count(*)", "number", aggregate=True)
            distinct = "DISTINCT " if self.took_word("DISTINCT") else ""
            arguments: list[Piece] = []
            while not self.is_sign(")"):
                arguments.append(self.expression())
                if not self.took_sign(","):
                    break
        self.expect_sign(")")
        return self._called(name, low, distinct, arguments)

    def _check_known(self, name: str) -> None:
        low = name.lower()
        ours = (*TEMPORAL, "duration", "date.truncate", "datetime.truncate", "exists", "replace")
        more = ("label", "ln") if not self.file else tuple(FILE)
        if low in ours or low in SERVER or low in more:
            return
        hint = instead(name)
        refuse(
            f"the function {name[:40]} is not on the list of allowed functions"
            + (f"; {hint}" if hint else "")
        )

    def _called(self, name: str, low: str, distinct: str, arguments: list[Piece]) -> Piece:
        texts = [piece.text for piece in arguments]
        if low in (*TEMPORAL, "duration", "date.truncate", "datetime.truncate"):
            return self.temporal(low, arguments)
        if low == "range":
            _check_range(texts)
        if low == "replace":
            self._check_replace(arguments)
        if low == "exists":
            return Piece(f"({', '.join(texts)} IS NOT NULL)")
        aggregate = low in AGGREGATES or any(piece.aggregate for piece in arguments)
        kind = "number" if low in COUNTS else ""
        if low in KEEP_TIME and arguments and all(piece.kind == "time" for piece in arguments[:1]):
            kind = "time"
        text = self._in_the_file(name, low, distinct, arguments) if self.file else ""
        if not text:
            text = f"{name}({distinct}{', '.join(texts)})"
        if low == "labels":
            kind = "labels"
        if low in TEXTS:
            kind = "text"
        if low == "split":
            kind = "texts"
        return Piece(text, kind, aggregate=aggregate)

    def _in_the_file(self, name: str, low: str, distinct: str, arguments: list[Piece]) -> str:
        """A call as the file writes it; empty if both engines write it alike."""
        texts = [piece.text for piece in arguments]
        first = texts[0] if texts else ""
        if low == "tostring" and arguments[0].kind == "boolean":
            return f"lower(CAST({first} AS STRING))"
        if low in CASTS and len(texts) == 1:
            return f"CAST({first} AS {CASTS[low]})"
        if low == "tointeger" and arguments[0].kind == "text":
            return f"CAST({first} AS INT64)"
        if low == "tointeger" and len(texts) == 1:
            return f"CAST(floor(CAST({first} AS DOUBLE)) AS INT64)"
        if low == "substring" and len(texts) in (2, 3):
            length = texts[2] if len(texts) == 3 else f"size({first})"
            return f"substring({first}, {self._counted(arguments[1])}, {length})"
        if low == "labels":
            return f"[label({first})]"
        if low == "head":
            return f"list_extract({first}, 1)"
        if low == "last":
            return f"list_extract({first}, -1)"
        if low == "tail":
            return f"({first}[2..size({first})])"
        if low == "isempty":
            return f"(size({first}) = 0)"
        if low == "round" and len(texts) == 1:
            return f"round({first}, 0)"
        if low == "e":
            return E
        if low == "exp":
            return f"{E} ^ ({first})"
        if low == "reverse" and first.startswith(("[", "collect(", "nodes(")):
            return f"list_reverse({first})"
        if low in ("stdev", "stdevp"):
            return _spread(first, distinct, sample=low == "stdev")
        if low in RENAMED:
            return f"{RENAMED[low]}({', '.join(texts)})"
        return "" if low in SAME else f"{name}({distinct}{', '.join(texts)})"

    def _check_replace(self, arguments: list[Piece]) -> None:
        if len(arguments) != 3:
            refuse("replace takes a text, what to look for, and what to put there")
        new = arguments[2].string
        if new is None or len(new) > LONGEST_IN_PLACE:
            refuse(
                f"replace takes a literal text as replacement, of at most {LONGEST_IN_PLACE} "
                "letters"
            )
        self.grows(max(1.0, len(new) / max(1, len(arguments[1].string or ""))), "replace")

    def _cast(self) -> Piece:
        """CAST(x AS TYPE), CAST(x, 'TYPE')."""
        self.expect_sign("(")
        with self.inside():
            inner = self.expression()
            if self.took_word("AS"):
                kind = self.name("a type").upper()
            else:
                self.expect_sign(",")
                kind = (self.expression().string or "").upper()
        self.expect_sign(")")
        if kind not in CAST_TYPES:
            refuse(f"CAST takes one of {', '.join(sorted(CAST_TYPES))}")
        if self.file:
            return Piece(f"CAST({inner.text} AS {kind})", aggregate=inner.aggregate)
        named = {"INT64": "toInteger", "STRING": "toString", "DOUBLE": "toFloat"}
        if kind not in named:
            refuse(
                "only the embedded graph has CAST; on a server write toInteger, toFloat, "
                "toString, date"
            )
        return Piece(f"{named[kind]}({inner.text})", aggregate=inner.aggregate)

    # ── subqueries and patterns as values ────────────────────────────────────────────────

    def subquery(self) -> Piece:
        """EXISTS { … }, COUNT { … }, COLLECT { … }."""
        word = self.next().upper
        if word == "COLLECT":
            refuse(
                "COLLECT { … } is not supported: write OPTIONAL MATCH … WITH …, collect(x) AS found"
            )
        names, kinds = set(self.names), dict(self.kinds)
        self.expect_sign("{")
        with self.inside():
            parts = [f"MATCH {self.match()}" if self.took_word("MATCH") else self._bare(word)]
            while self.took_word("MATCH"):
                parts.append(f"MATCH {self.match()}")
            if self.is_word("RETURN", "WITH", "OPTIONAL", "CALL", "UNION"):
                refuse(f"{word} {{ … }} holds patterns and a condition alone")
        self.expect_sign("}")
        self.names, self.kinds = names, kinds
        return Piece(f"{word} {{ {' '.join(parts)} }}", "number" if word == "COUNT" else "")

    def _bare(self, word: str) -> str:
        """A pattern without MATCH before it."""
        if not self.is_sign("("):
            refuse(f"{word} {{…}} must begin with MATCH")
        return f"MATCH {self.match()}"

    def _of_pattern(self, low: str) -> Piece:
        """exists((a)-->(b)), size((a)-->(b)), or the function of a value."""
        self.expect_sign("(")
        with self.inside():
            if not (self.is_sign("(") and self.is_pattern()):
                inner = self.expression()
                self.expect_sign(")")
                if low == "exists":
                    return Piece(f"({inner.text} IS NOT NULL)")
                return Piece(f"size({inner.text})", "number", aggregate=inner.aggregate)
            pattern = self.alone()
        self.expect_sign(")")
        word = "EXISTS" if low == "exists" else "COUNT"
        return Piece(f"{word} {{ MATCH {pattern} }}", "number" if word == "COUNT" else "")

    # ── loops over lists ─────────────────────────────────────────────────────────────────

    def bracket(self) -> Piece:
        """[a, b], [x IN list WHERE … | …]; for a pattern inside, the error says how to write it."""
        self.expect_sign("[")
        with self.inside():
            pattern = self.is_sign("(") and self.is_pattern()
            named = self.is_sign("=", steps=1) and self.is_sign("(", steps=2)
            if pattern or named:
                refuse_pattern(self.query, self.tokens, self.at - 1, self.names_in_order())
            if self.ahead().kind in ("word", "name") and self.is_word("IN", steps=1):
                piece = self._comprehension()
            else:
                piece = self._list()
        self.expect_sign("]")
        return piece

    def _list(self) -> Piece:
        parts: list[Piece] = []
        while not self.is_sign("]"):
            parts.append(self.expression())
            if not self.took_sign(","):
                break
        text = f"[{', '.join(piece.text for piece in parts)}]"
        return Piece(text, aggregate=any(piece.aggregate for piece in parts))

    def _comprehension(self) -> Piece:
        name, source = self._loop()
        condition = result = None
        if self.took_word("WHERE"):
            condition = self.expression().text
        if self.took_sign("|"):
            result = self.expression()
        self._ended(name)
        if not self.file:
            where = f" WHERE {condition}" if condition else ""
            bar = f" | {result.text}" if result else ""
            return Piece(f"[{written(name)} IN {source.text}{where}{bar}]")
        text = source.text
        if condition:
            text = f"list_filter({text}, {written(name)} -> {condition})"
        if result:
            text = f"list_transform({text}, {written(name)} -> {result.text})"
        return Piece(text, aggregate=source.aggregate)

    def _quantified(self, low: str) -> Piece:
        self.expect_sign("(")
        with self.inside():
            name, source = self._loop()
            self.expect_word("WHERE")
            condition = self.expression().text
            self._ended(name)
        self.expect_sign(")")
        return Piece(f"{low}({written(name)} IN {source.text} WHERE {condition})")

    def _reduced(self) -> Piece:
        """reduce(total = start, x IN list | total + …): the total may be used once."""
        self.expect_sign("(")
        with self.inside():
            total = self.declared()
            self.expect_sign("=")
            start = self.expression()
            self.expect_sign(",")
            name, source = self._loop(total)
            self.expect_sign("|")
            leads = self.ahead().text.strip("`") == total and self.is_sign("+", "*", steps=1)
            sign = self.ahead(1).text
            before = self.at
            body = self.expression()
            uses = self.loops[-1].uses
            if leads and self.file:
                self.at = before + 2
                body = self.expression()
            self._ended(name)
        self.expect_sign(")")
        if uses != 1:
            refuse(f"reduce may use {total} once: reduce({total} = 0, x IN list | {total} + x)")
        if not self.file:
            own = f"{written(total)} = {start.text}, {written(name)} IN {source.text}"
            return Piece(f"reduce({own} | {body.text})")
        if not leads:
            refuse(f"reduce can only add up: reduce({total} = 0, x IN list | {total} + x)")
        items = source.text
        if body.text != written(name):
            items = f"list_transform({items}, {written(name)} -> {body.text})"
        pair = f"({written(total)}, {written(name)}) -> {written(total)} {sign} {written(name)}"
        return Piece(f"list_reduce(list_prepend({items}, {start.text}), {pair})")

    def _loop(self, total: str | None = None) -> tuple[str, Piece]:
        if self.loops:
            refuse("a loop over a list inside another; use UNWIND")
        name = self.declared()
        self.expect_word("IN")
        source = self.expression()
        self.loops.append(Loop(total))
        if source.kind == "time":
            self.kinds[name] = "time"
        return name, source

    def _ended(self, name: str) -> None:
        self.loops.pop()
        self.kinds.pop(name, None)


def _spread(text: str, distinct: str, *, sample: bool) -> str:
    """The standard deviation, from sums; null for no values, 0 for a single one, as on a server."""
    count, mean = f"count({distinct}{text})", f"avg({distinct}{text})"
    squares = f"sum({distinct}CAST({text} AS DOUBLE) * CAST({text} AS DOUBLE))"
    spread = f"({squares} - {count} * {mean} * {mean})"
    fewer = f"({count} - 1)" if sample else count
    return (
        f"(CASE WHEN {count} <= 1 THEN 0.0 WHEN {spread} < 0 THEN 0.0 "
        f"ELSE sqrt({spread} / {fewer}) END)"
    )


def _check_range(texts: list[str]) -> None:
    """Refuse a range unless its numbers show that it is small, as in range(0, 100, 5)."""
    numbers = [text for text in texts if text.removeprefix("-").isdigit()]
    if len(numbers) != len(texts) or len(texts) not in (2, 3):
        refuse("range() needs plain whole numbers, such as range(1, 100)")
    low, high, step = (int(text) for text in [*texts, "1"][:3])
    if step == 0 or (high - low) / step > LONGEST_RANGE:
        refuse(f"range() may give at most {LONGEST_RANGE:,} numbers")
