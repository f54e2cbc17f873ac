"""Reads expressions of a query as Neo4j does, and writes them for the engine at hand.

From weakest to strongest: OR, XOR, AND, NOT, comparisons, + and ||, * / %, ^, signs, then what
follows an operand (.property, [place], :Label). Operands are in `cypher_operands`.
"""

from collections.abc import Callable
from dataclasses import replace

from graph.explore.cypher_cursor import MOST_SUMS, Piece, written
from graph.explore.cypher_patterns import Patterns
from graph.explore.cypher_tokens import refuse
from graph.explore.cypher_words import BOOLEANS, TIMES

MOMENTS = ("timestamp", "date")
PARTS = {  # parts of a date, as Neo4j and as the file call them
    "year": "year", "quarter": "quarter", "month": "month", "week": "week", "day": "day",
    "hour": "hour", "minute": "minute", "second": "second", "ordinalday": "doy",
    "dayofweek": "dow",
}  # fmt: skip
COMPARE = ("=", "<>", "!=", "<", ">", "<=", ">=", "<-", "=~")


class Expressions(Patterns):
    """Reads expressions; `operand` reads what stands between the signs."""

    def operand(self) -> Piece:
        """Read a single operand: a value, a name, a call, or something in brackets."""
        raise NotImplementedError

    def expression(self) -> Piece:
        """Read a whole expression."""
        return self._joined(("OR",), lambda: self._joined(("XOR",), self._and))

    def _joined(self, words: tuple[str, ...], lower: Callable[[], Piece]) -> Piece:
        left = lower()
        while word := self.took_word(*words):
            right = lower()
            left = Piece(
                f"{left.text} {word} {right.text}",
                aggregate=left.aggregate or right.aggregate,
                apart=left.apart | right.apart if word == "AND" else frozenset(),
            )
        return left

    def _and(self) -> Piece:
        return self._joined(("AND",), self._not)

    def _not(self) -> Piece:
        if not self.took_word("NOT"):
            return self._comparison()
        with self.inside():
            inner = self._not()
        return Piece(f"NOT {inner.text}", aggregate=inner.aggregate)

    # ── comparisons ──────────────────────────────────────────────────────────────────────

    def _comparison(self) -> Piece:
        left = self._sum()
        parts: list[Piece] = []
        while True:
            if sign := self.took_sign(*COMPARE):
                if sign == "<-":  # x <-1
                    self.at -= 1
                    self.tokens[self.at] = replace(self.tokens[self.at], text="-", upper="-")
                    sign = "<"
                right = self._sum()
                parts.append(self._compared(left, "<>" if sign == "!=" else sign, right))
                left = right
            elif self.is_word("IN", "STARTS", "ENDS", "CONTAINS", "IS"):
                left = self._worded(left)
                if self.is_sign(*COMPARE):
                    continue
                parts.append(left)
            else:
                break
        if not parts:
            return left
        if len(parts) == 1:
            return parts[0]
        return Piece("(" + " AND ".join(part.text for part in parts) + ")")

    def _compared(self, left: Piece, sign: str, right: Piece) -> Piece:
        aggregate = left.aggregate or right.aggregate
        if sign == "=~":
            self._check_pattern(right)
        elif "time" in (left.kind, right.kind) or left.kind in MOMENTS or right.kind in MOMENTS:
            left, right = self.as_seconds(left), self.as_seconds(right)
        apart: frozenset[frozenset[str]] = frozenset()
        if left.variable and right.variable and sign in ("<>", "<", ">"):
            same = left.text.partition(".")[2] == right.text.partition(".")[2]
            apart = frozenset({frozenset({left.variable, right.variable})} if same else ())
        return Piece(f"{left.text} {sign} {right.text}", aggregate=aggregate, apart=apart)

    def _worded(self, left: Piece) -> Piece:
        word = self.next().upper
        if word == "IS":
            negated = "NOT " if self.took_word("NOT") else ""
            self.expect_word("NULL")
            return Piece(f"{left.text} IS {negated}NULL", aggregate=left.aggregate)
        if word in ("STARTS", "ENDS"):
            self.expect_word("WITH")
            word += " WITH"
        right = self._sum()
        return Piece(
            f"{left.text} {word} {right.text}", aggregate=left.aggregate or right.aggregate
        )

    def _check_pattern(self, pattern: Piece) -> None:
        """Refuse a regular expression that may run for ever, as when a repetition is repeated."""
        text = pattern.string
        if text is None:
            refuse("=~ takes a literal pattern, as in name =~ '(?i)bach.*'")
        bare = text.replace("\\\\", "").removeprefix("(?i)")
        repeated = sum(bare.count(sign) for sign in "*+{")
        if any(f"){sign}" in bare for sign in "*+{?") or "(?" in bare or repeated > 3:
            refuse(
                f"the pattern {text!r} may run for ever: repeat no group, and at most three "
                "letters; or use CONTAINS, STARTS WITH, ENDS WITH"
            )
        if any(f"\\{digit}" in bare for digit in "123456789k"):
            refuse(f"the pattern {text!r} refers back to a group")

    def as_seconds(self, piece: Piece) -> Piece:
        """A moment as the seconds since 1970 that are stored."""
        if piece.seconds is not None:
            return Piece(piece.seconds, "time")
        if piece.kind in MOMENTS:
            if self.file:
                moment = piece.text
                if piece.kind == "date":
                    moment = f"CAST({moment} AS TIMESTAMP)"
                return Piece(f"to_epoch_ms({moment}) / 1000", "time")
            moment = (
                piece.text if piece.kind == "timestamp" else f"datetime({{date: {piece.text}}})"
            )
            return Piece(f"({moment}).epochSeconds", "time")
        seconds = self.moment_of(piece)
        return piece if seconds is None else Piece(seconds, "time")

    # ── sums, products, signs ────────────────────────────────────────────────────────────

    def _sum(self) -> Piece:
        left = self._product()
        while sign := self.took_sign("+", "-", "||"):
            if self.is_sign("=") and sign == "+":
                refuse("+= writes, and a query can only read")
            right = self._product()
            if sign != "-":
                self.sums += 1
                if self.sums > MOST_SUMS:
                    refuse(f"it has more than {MOST_SUMS} sums")
                self.grows(2, f"more than {MOST_SUMS} sums")
            left = self._added(left, sign, right)
        return left

    def _added(self, left: Piece, sign: str, right: Piece) -> Piece:
        kind, texts = "", [left.text, right.text]
        if "text" in (left.kind, right.kind):
            kind = "text"
            if self.file:
                texts = [
                    f"CAST({piece.text} AS STRING)" if piece.kind == "number" else piece.text
                    for piece in (left, right)
                ]
        elif right.kind == "span" and left.kind == "time":
            if right.seconds is None:
                refuse("a month has no fixed number of seconds: add days to a time")
            kind, texts[1] = "time", right.seconds
        elif right.kind == "span" and left.kind in MOMENTS:
            kind = left.kind
            if self.file and kind == "date":
                texts[0] = f"CAST({left.text} AS TIMESTAMP)"
                kind = "timestamp"
        elif left.kind == "time" and right.kind in ("", "number"):
            kind = "time"
        elif left.kind in ("time", *MOMENTS) and right.kind in ("time", *MOMENTS):
            texts = [self.as_seconds(left).text, self.as_seconds(right).text]
        elif left.kind == right.kind == "number":
            kind = "number"
        if self.file and sign == "||":
            sign = "+"
        aggregate = left.aggregate or right.aggregate
        return Piece(f"{texts[0]} {sign} {texts[1]}", kind, aggregate=aggregate)

    def _product(self) -> Piece:
        left = self._signed()
        while sign := self.took_sign("*", "/", "%", "^"):
            right = self._signed()
            kind = "number" if left.kind == right.kind == "number" else ""
            aggregate = left.aggregate or right.aggregate
            left = Piece(f"{left.text} {sign} {right.text}", kind, aggregate=aggregate)
        return left

    def _signed(self) -> Piece:
        if sign := self.took_sign("-", "+"):
            with self.inside():
                inner = self._signed()
            return replace(inner, text=f"{sign}{inner.text}", variable=None)
        return self._behind(self.operand())

    # ── what stands behind an operand ────────────────────────────────────────────────────

    def _behind(self, piece: Piece) -> Piece:
        while True:
            if self.is_sign("."):
                piece = self._property(piece)
            elif self.is_sign("["):
                piece = self._indexed(piece)
            elif (
                self.is_sign(":")
                and piece.variable is not None
                and piece.text == written(piece.variable)
            ):
                piece = self._has_label(piece)
            else:
                return piece

    def _property(self, piece: Piece) -> Piece:
        self.expect_sign(".")
        if self.is_sign("*"):
            refuse("write properties(x) for all properties")
        name = self.name("the name of a property")
        low = name.lower()
        if low == "epochseconds" and piece.kind in MOMENTS:
            return self.as_seconds(piece)
        if low in ("epochmillis", "milliseconds") and piece.kind in MOMENTS:
            return Piece(f"({self.as_seconds(piece).text}) * 1000")
        if low in PARTS and piece.kind in (*MOMENTS, "time"):
            return self._part(piece, low)
        if self.is_sign("("):
            refuse(f"functions with a dot in their name are not allowed (.{name})")
        return Piece(
            f"{piece.text}.{written(name)}",
            "time" if name in TIMES else "boolean" if name in BOOLEANS else "",
            variable=piece.variable,
            aggregate=piece.aggregate,
        )

    def _part(self, piece: Piece, part: str) -> Piece:
        """The year, the month, … of a moment."""
        moment = self.as_moment(piece)
        if not self.file:
            own = {"ordinalday": "ordinalDay", "dayofweek": "dayOfWeek"}.get(part, part)
            return Piece(f"({moment}).{own}", "number")
        text = f"date_part('{PARTS[part]}', {moment})"
        return Piece(f"(({text} + 6) % 7 + 1)" if part == "dayofweek" else text, "number")

    def as_moment(self, piece: Piece) -> str:
        """Seconds since 1970 as a timestamp; other moments stay as they are."""
        if piece.kind != "time":
            return piece.text
        if self.file:
            return f"to_timestamp({piece.text})"
        moment = f"datetime({{epochSeconds: {piece.text}}})"
        return f"(CASE WHEN {piece.text} IS NULL THEN null ELSE {moment} END)"

    def _indexed(self, piece: Piece) -> Piece:
        """[n] and [a..b]: places begin at 0; in the file they begin at 1."""
        self.expect_sign("[")
        with self.inside():
            start = None if self.is_sign("..") else self.expression()
            if self.took_sign(".."):
                stop = None if self.is_sign("]") else self.expression()
                text = self._slice(piece, start, stop)
            elif piece.kind == "labels" and start is not None and self.file:
                text = piece.text.removeprefix("[").removesuffix("]")
            else:
                assert start is not None
                if start.string is not None or start.kind == "text":
                    refuse("a property is named with a dot: n.title")
                text = f"{piece.text}[{start.text}]"
                if self.file:
                    text = f"list_extract({piece.text}, {self._counted(start)})"
        self.expect_sign("]")
        kind = {"time": "time", "texts": "text", "labels": "text"}.get(piece.kind, "")
        return Piece(text, kind, aggregate=piece.aggregate)

    def _slice(self, piece: Piece, start: Piece | None, stop: Piece | None) -> str:
        if self.file and any(bound and bound.text.startswith("-") for bound in (start, stop)):
            refuse("positions in a slice are counted from the start of the list: list[0..3]")
        first = self._counted(start) if start else "1" if self.file else ""
        last = stop.text if stop else f"size({piece.text})" if self.file else ""
        part = f"{piece.text}[{first}..{last}]"
        return f"({part})" if self.file else part

    def _counted(self, position: Piece) -> str:
        if not self.file or position.text.startswith("-"):
            return position.text
        return str(int(position.text) + 1) if position.text.isdigit() else f"({position.text}) + 1"

    def _has_label(self, piece: Piece) -> Piece:
        labels = self._labels()
        if not self.file:
            return Piece(f"{piece.text}{labels}")
        names = [f"label({piece.text}) = '{label.strip('`')}'" for label in labels[1:].split("|")]
        return Piece("(" + " OR ".join(names) + ")")
