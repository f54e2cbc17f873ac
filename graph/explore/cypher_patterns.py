"""Reads patterns of a query (nodes, relationships, paths) with the meaning they have in Neo4j.

Neo4j walks no relationship twice in one pattern, but the file does. So for the file, relationships
of one type get names, and a condition that they differ, unless the pattern shows that already.
"""

import difflib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from graph.explore.cypher_cursor import MOST_LINKS, Apart, Cursor, Piece, written
from graph.explore.cypher_tokens import refuse
from graph.explore.cypher_words import LABELS, TYPES

MOST_HOPS = 30  # of a path without an upper bound, in the file


@dataclass(frozen=True)
class Link:
    """A relationship of a pattern."""

    name: str
    types: frozenset[str]  # empty: any type
    ends: tuple[str, str]  # names of the nodes, from and to; empty if a node has none
    directed: bool
    made: bool  # whether we made up the name


class Patterns(Cursor):
    """Reads patterns; `expression` reads what stands in their maps and conditions."""

    def expression(self) -> Piece:
        """Read an expression."""
        raise NotImplementedError

    def match(self) -> str:
        """Patterns and the condition after them, as they follow MATCH."""
        outer, self.wheres = self.wheres, []
        links: list[Link] = []
        paths = [self.path(links)]
        while self.took_sign(","):
            paths.append(self.path(links))
        inner, self.wheres = self.wheres, outer
        apart: Apart = frozenset()
        if self.took_word("USING"):
            refuse("hints for the planner (USING …) are not supported; leave them out")
        conditions = [f"({text})" for text in inner]
        if self.took_word("WHERE"):
            condition = self.expression()
            apart = condition.apart
            alone = not conditions and not self.file
            conditions.insert(0, condition.text if alone else f"({condition.text})")
        return _finished(", ".join(paths), links, conditions, apart)

    def alone(self) -> str:
        """One pattern without a name, together with the conditions inside its nodes."""
        outer, self.wheres = self.wheres, []
        links: list[Link] = []
        chain = self.chain(links)
        inner, self.wheres = self.wheres, outer
        return _finished(chain, links, [f"({text})" for text in inner], frozenset())

    def path(self, links: list[Link]) -> str:
        """One pattern, with its name and `shortestPath` if it has them."""
        start = ""
        if self.ahead().kind in ("word", "name") and self.is_sign("=", steps=1):
            start = f"{written(self.declared())} = "
            self.expect_sign("=")
        if self.is_word("SHORTESTPATH", "ALLSHORTESTPATHS"):
            return start + self._shortest(links)
        if self.is_word("SHORTEST", "ALL", "ANY"):
            refuse("write shortestPath((a)-[:TYPE*..5]-(b)) for the shortest path")
        return start + self.chain(links)

    def chain(self, links: list[Link], way: str = "") -> str:
        """(a)-[r]->(b)…; in the file `way` follows the * of its relationship."""
        text, left = self._node()
        while self.is_sign("-", "<-"):
            made = self.made
            link, kinds, name, hops, directed, backward = self._link(way)
            ours = self.made > made
            node, right = self._node()
            if not hops and self.file:
                ends = (right, left) if backward else (left, right)
                links.append(Link(name=name, types=kinds, ends=ends, directed=directed, made=ours))
            text, left = text + link + node, right
        return text

    def is_pattern(self) -> bool:
        """Whether the ( ahead begins a pattern with a relationship, not an expression."""
        depth = 0
        for steps in range(len(self.tokens) - self.at):
            if self.is_sign("(", steps=steps):
                depth += 1
            elif self.is_sign(")", steps=steps):
                depth -= 1
                if depth == 0:
                    return self._is_node() and self._is_link(steps + 1)
        return False

    def _is_node(self) -> bool:
        named = self.ahead(1).kind in ("word", "name")
        return self.is_sign(")", ":", "{", steps=2 if named else 1)

    def _is_link(self, steps: int) -> bool:
        return self.is_sign("-", "<-", steps=steps) and self.is_sign(
            "[", "-", "->", steps=steps + 1
        )

    def _shortest(self, links: list[Link]) -> str:
        function = self.next().text
        way = "SHORTEST" if function.lower() == "shortestpath" else "ALL SHORTEST"
        self.expect_sign("(")
        with self.inside():
            before = self.at
            chain = self.chain(links, way)
            if not any(token.text == "*" for token in self.tokens[before : self.at]):
                refuse(f"{function} takes a path of several steps: (a)-[:TYPE*..5]-(b)")
        self.expect_sign(")")
        return chain if self.file else f"{function}({chain})"

    def _node(self) -> tuple[str, str]:
        """(name:Label {…} WHERE …), and its name."""
        self.expect_sign("(")
        name = text = ""
        with self.inside():
            if self.ahead().kind in ("word", "name") and not self.is_word("WHERE"):
                name = self.declared()
                text = written(name)
            if self.is_sign(":"):
                text += self._labels()
            text += self._properties(text)
            if self.took_word("WHERE"):
                self.wheres.append(self.expression().text)
        self.expect_sign(")")
        return f"({text})", name

    def _labels(self) -> str:
        labels, both = [], False
        self.expect_sign(":")
        labels.append(self.name("a label"))
        while sign := self.took_sign("|", ":", "&"):
            both = both or sign in (":", "&")
            self.took_sign(":")
            labels.append(self.name("a label"))
        if self.is_sign("!", "%"):
            refuse("labels are joined by | alone: (n:Item|Tag)")
        if both and self.file:
            refuse(f"no node has two labels; (n:{'|'.join(labels)}) is either")
        for label in labels:
            self.known(label, LABELS, "label")
        return ":" + (":" if both else "|").join(written(label) for label in labels)

    def _properties(self, before: str) -> str:
        if self.is_sign("{"):
            return (" " if before else "") + self._map()
        if self.ahead().kind == "parameter":
            refuse("a parameter in place of a map: name the properties, such as {id: $id}")
        return ""

    def _map(self) -> str:
        """{key: value, …} of a node or relationship."""
        self.expect_sign("{")
        entries = []
        with self.inside():
            while not self.is_sign("}"):
                key = written(self.name("the name of a property"))
                self.expect_sign(":")
                entries.append(f"{key}: {self.expression().text}")
                if not self.took_sign(","):
                    break
        self.expect_sign("}")
        return "{" + ", ".join(entries) + "}"

    def _link(self, way: str) -> tuple[str, frozenset[str], str, str, bool, bool]:
        """-[name:TYPE {…}]->, and its types, name, hops, and whether it has a direction."""
        self.links += 1
        if self.links > MOST_LINKS:
            refuse(f"its patterns have more than {MOST_LINKS} relationships")
        left = self.took_sign("-", "<-")
        name = hops = properties = ""
        types: list[str] = []
        if self.took_sign("["):
            with self.inside():
                if self.ahead().kind in ("word", "name"):
                    name = self.declared()
                if self.took_sign(":"):
                    types = self._types()
                if self.is_sign("*"):
                    hops = self._hops(way)
                properties = self._properties("[")
                if self.is_word("WHERE"):
                    refuse("write the condition on a relationship after the pattern: WHERE …")
            self.expect_sign("]")
        right = self.took_sign("-", "->")
        if not right or (left == "<-" and right == "->"):
            self.unexpected("-> or -")
        if self.is_sign("{", "+", "*"):
            refuse("write how many steps inside the brackets: -[:TYPE*1..3]->")
        if not name and not hops and self.file and not self.shows_all:
            name = self.new_name("link")
        kinds = ":" + "|".join(written(kind) for kind in types) if types else ""
        inside = written(name) if name else ""
        inside += kinds + hops + properties
        text = f"{left}[{inside}]{right}" if inside else left + right
        directed = left == "<-" or right == "->"
        return text, frozenset(types), name, hops, directed, left == "<-"

    def _types(self) -> list[str]:
        types = [self.name("a type of relationship")]
        while self.took_sign("|"):
            self.took_sign(":")
            types.append(self.name("a type of relationship"))
        if self.is_sign("!", "&", "%"):
            refuse("types of relationships are joined by | alone: [:KNOWS|USED]")
        for kind in types:
            self.known(kind, TYPES, "type of relationship")
        return types

    def _hops(self, way: str) -> str:
        """* and how many steps: `*1..3`; in the file no relationship is walked twice."""
        self.expect_sign("*")
        if self.file and not way:
            way = " ".join(
                word for word in (self.took_word("ALL"), self.took_word("SHORTEST")) if word
            )
        low = self._number()
        high = low
        if self.took_sign(".."):
            high = self._number()
        elif low is None:
            high = None
        if not self.file:
            span = "" if low is high is None else f"{_or(low)}..{_or(high)}"
            return f"*{span}"
        return (
            f"* {way or 'TRAIL'} {1 if low is None else low}..{MOST_HOPS if high is None else high}"
        )

    def _number(self) -> int | None:
        if self.ahead().kind == "number" and self.ahead().text.isdigit():
            return int(self.next().text)
        return None

    def known(self, name: str, names: Sequence[str], kind: str) -> None:
        """Refuse a label or type that the file does not have, and suggest the nearest."""
        if not self.file or name in names:
            return
        near = difflib.get_close_matches(
            name.upper(), [known_name.upper() for known_name in names], 1
        )
        meant = next(
            (known_name for known_name in names if near and known_name.upper() == near[0]), ""
        )
        hint = f"did you mean {meant}?" if meant else f"there are {', '.join(names)}"
        refuse(f"there is no {kind} {name!r}; {hint.rstrip('?') if meant else hint}")


def _finished(text: str, links: list[Link], conditions: list[str], apart: Apart) -> str:
    """Patterns with their conditions, and with one that no relationship is walked twice."""
    differing = _differing(links, apart)
    for link in links:
        if link.made and not any(f"({link.name})" in condition for condition in differing):
            text = text.replace(f"[{link.name}:", "[:").replace(f"[{link.name}]", "[]")
    every = [*conditions, *differing]
    return text + (f" WHERE {' AND '.join(every)}" if every else "")


def _or(number: int | None) -> str:
    return "" if number is None else str(number)


def _differing(links: list[Link], apart: Apart) -> list[str]:
    """Conditions that no relationship is walked twice, if that is not clear already."""
    conditions = []
    for link, second in itertools.combinations(links, 2):
        if not link.name or not second.name or link.name == second.name:
            continue
        if link.types and second.types and not link.types & second.types:
            continue
        if link.directed and second.directed and _ends_differ(link, second, apart):
            continue
        conditions.append(f"id({written(link.name)}) <> id({written(second.name)})")
    return conditions


def _ends_differ(link: Link, second: Link, apart: Apart) -> bool:
    return any(frozenset(pair) in apart for pair in zip(link.ends, second.ends, strict=True))
