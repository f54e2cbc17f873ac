"""Reads operands of a query: values, names, brackets, maps, CASE; calls: `cypher_calls`."""

from dataclasses import replace

from graph.explore.cypher_cursor import Piece, written
from graph.explore.cypher_expressions import Expressions
from graph.explore.cypher_tokens import refuse
from graph.explore.cypher_words import NEVER, RESERVED


class Operands(Expressions):
    """Reads what stands between the signs of an expression."""

    def call(self) -> Piece:
        """Read a function and its arguments."""
        raise NotImplementedError

    def subquery(self) -> Piece:
        """Read EXISTS, COUNT or COLLECT { … }."""
        raise NotImplementedError

    def bracket(self) -> Piece:
        """Read a list, or a loop over one."""
        raise NotImplementedError

    def operand(self) -> Piece:
        """Read one operand."""
        token = self.ahead()
        if token.kind == "text":
            return self.lifted(self.next().text)
        if token.kind == "number":
            return Piece(self.next().text, "number")
        if token.kind == "parameter":
            return self.parameter(self.next().text[1:])
        if self.is_sign("("):
            return self._predicate() if self.is_pattern() else self._bracketed()
        if self.is_sign("["):
            return self.bracket()
        if self.is_sign("{"):
            return self.map_of()
        if token.kind == "name":
            return self._variable()
        if token.kind != "word":
            self.unexpected("an expression")
        return self._word()

    def _word(self) -> Piece:
        token = self.ahead()
        if token.upper in ("TRUE", "FALSE", "NULL"):
            return Piece(self.next().upper)
        if token.upper == "CASE":
            return self._case()
        if token.upper in ("EXISTS", "COUNT", "COLLECT") and self.is_sign("{", steps=1):
            return self.subquery()
        steps = 1
        while self.is_sign(".", steps=steps) and self.ahead(steps + 1).kind == "word":
            steps += 2
        if self.is_sign("(", steps=steps):
            return self.call()
        if token.upper in RESERVED and token.text not in self.names:
            if token.upper in NEVER:
                refuse(f"{token.upper} is not allowed: a query can only read, from the graph alone")
            self.unexpected("an expression")
        return self._variable()

    def _variable(self) -> Piece:
        name = self.name("a name")
        if self.is_sign("{"):
            return self._projection(name)
        for loop in self.loops:
            loop.uses += name == loop.total
        return Piece(written(name), self.kinds.get(name, ""), variable=name)

    def _bracketed(self) -> Piece:
        self.expect_sign("(")
        with self.inside():
            inner = self.expression()
        self.expect_sign(")")
        return replace(inner, text=f"({inner.text})", variable=None)

    def _predicate(self) -> Piece:
        """A pattern that must be there: (u)-[:KNOWS]->(v)."""
        names, kinds = set(self.names), dict(self.kinds)
        pattern = self.alone()
        self.names, self.kinds = names, kinds
        as_it_is = not self.file and " WHERE " not in pattern
        return Piece(pattern if as_it_is else f"EXISTS {{ MATCH {pattern} }}")

    def map_of(self) -> Piece:
        """{key: value, …}; the piece remembers the value of each key."""
        self.expect_sign("{")
        entries: dict[str, Piece] = {}
        with self.inside():
            while not self.is_sign("}"):
                key = self.name("a key")
                self.expect_sign(":")
                entries[key] = self.expression()
                if not self.took_sign(","):
                    break
        self.expect_sign("}")
        text = ", ".join(f"{written(key)}: {entry.text}" for key, entry in entries.items())
        if not entries and self.file:
            refuse("the embedded graph has no empty map {}")
        aggregate = any(entry.aggregate for entry in entries.values())
        return Piece(f"{{{text}}}", entries=entries, aggregate=aggregate)

    def _projection(self, name: str) -> Piece:
        """A map of some properties: u {.id, .title, n: …}."""
        own = written(name)
        self.expect_sign("{")
        parts, here = [], []
        with self.inside():
            while not self.is_sign("}"):
                if self.took_sign("."):
                    if self.took_sign("*"):
                        parts.append("*")
                        here.append(".*")
                    else:
                        key = written(self.name("the name of a property"))
                        parts.append(f"{key}: {own}.{key}")
                        here.append(f".{key}")
                else:
                    key = written(self.name("a key"))
                    value = f"{key}: {self.expression().text}" if self.took_sign(":") else key
                    parts.append(value if ":" in value else f"{key}: {key}")
                    here.append(value)
                if not self.took_sign(","):
                    break
        self.expect_sign("}")
        if not self.file:
            return Piece(f"{own} {{{', '.join(here)}}}", variable=None)
        if "*" in parts:
            if len(parts) > 1:
                refuse(f"name the properties in place of .*, as in {name} {{.id, .title}}")
            return Piece(f"properties({own})")
        return Piece("{" + ", ".join(parts) + "}")

    def _case(self) -> Piece:
        self.expect_word("CASE")
        with self.inside():
            parts, every = ["CASE"], []
            if not self.is_word("WHEN"):
                every.append(self.expression())
                parts.append(every[-1].text)
            while word := self.took_word("WHEN", "ELSE"):
                every.append(self.expression())
                parts.append(f"{word} {every[-1].text}")
                if word == "WHEN":
                    self.expect_word("THEN")
                    every.append(self.expression())
                    parts.append(f"THEN {every[-1].text}")
            self.expect_word("END")
        return Piece(" ".join([*parts, "END"]), aggregate=any(piece.aggregate for piece in every))
