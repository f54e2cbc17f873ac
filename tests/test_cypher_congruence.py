"""The file engine counts what SQL counts, on random graphs whose pairs have many relationships.

Every pattern of the ready-made questions and of the reasons is taken as it stands there, counted by
the engine and by SQLite, whole and by distinct end. Releases of the engine have dropped rows of
just these patterns without a word: whoever moves its pin runs this.
"""

import random
import re
import sqlite3

import pyarrow as pa
import pytest

from graph.explore import ladybug_graph, why_cypher
from graph.explore.questions import questions

KEY = {"User": "id", "Item": "id", "Tag": "key", "Domain": "name", "Segment": "name"}
NODE = r"\((\w*)(?::(\w+))?\s*(\{[^}]*\})?\)"
LINK = r"(<?)-\[\w*:`?(\w+)`?\]-(>?)"
CHAIN = re.compile(NODE + f"(?:{LINK}{NODE})+")
WHERE_IT_IS_HEAVY = 2  # so many events in a pattern without a fixed end: one is fixed


def chains():
    """The patterns as (nodes, links): a node is (label, whether its key is given)."""
    texts = [listed_question.query for listed_question in questions().values()]
    for user in ("u", None):
        texts += [
            why_cypher.through_tag(user, "b", "t", "i")[0],
            why_cypher.through_people(user, "b", "i")[0],
            why_cypher.through_relation(user, "b", "i")[0],
        ]
    texts += [why_cypher.carries_tag("t", "i")[0], why_cypher.through_popularity("i")[0]]
    made = {}
    for text in texts:
        labels = dict(re.findall(r"\((\w+):(\w+)", text))
        for chain in CHAIN.finditer(text):
            links = tuple(re.findall(LINK, chain[0]))
            nodes = [
                (label or labels[name], bool(given))
                for name, label, given in re.findall(NODE, chain[0])
            ]
            events = sum(link == "INTERACTED" for _, link, _ in links)
            if events >= WHERE_IT_IS_HEAVY and not any(given for _, given in nodes):
                nodes[0] = (nodes[0][0], True)
            made[tuple(nodes), links] = None
    return list(made)


def cypher(nodes, links):
    """A pattern that counts its rows, and the distinct nodes at each place that is not given."""
    parts = [
        f"(n{n}:{label} {{{KEY[label]}: $p{n}}})" if given else f"(n{n}:{label})"
        for n, (label, given) in enumerate(nodes)
    ]
    for n, (left, kind, right) in enumerate(links):
        parts[n] += f"{left}-[:`{kind}`]-{right}"
    counts = [f"count(DISTINCT n{n}.{KEY[label]}) AS c{n}" for n, label in free(nodes)]
    return f"MATCH {''.join(parts)} RETURN {', '.join(['count(*) AS c', *counts])}"


def sql(nodes, links):
    """The same as a join; `a` and `b` are the ends of a relationship."""
    tables, conditions, column = [], [], {}
    for n, (left, kind, right) in enumerate(links):
        either = f'(SELECT a, b FROM "{kind}" UNION ALL SELECT b, a FROM "{kind}")'
        tables.append(f'"{kind}" r{n}' if left or right else f"{either} r{n}")
        near, far = ("b", "a") if left else ("a", "b")
        if n in column:
            conditions.append(f"{column[n]} = r{n}.{near}")
        column.setdefault(n, f"r{n}.{near}")
        column[n + 1] = f"r{n}.{far}"
    conditions += [f"{column[n]} = :p{n}" for n, (_, given) in enumerate(nodes) if given]
    counts = ", ".join(["count(*)", *(f"count(DISTINCT {column[n]})" for n, _ in free(nodes))])
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"SELECT {counts} FROM {', '.join(tables)}{where}"


def free(nodes):
    return [(n, label) for n, (label, given) in enumerate(nodes) if not given]


class World:
    """A random graph of so many events, in the file and in SQLite.

    A tenth of the people and items have most of the events; a pair that meets has one to five.
    """

    def __init__(self, folder, events, seed):
        self.draw = draw = random.Random(seed)
        names = {
            "User": [f"u{n}" for n in range(max(30, events // 25))],
            "Item": [f"i{n}" for n in range(max(20, events // 30))],
            "Tag": [f"t{n}" for n in range(40)],
            "Domain": [f"d{n}" for n in range(6)],
            "Segment": ["s0", "s1", "s2"],
        }
        self.names, items, users = names, names["Item"], names["User"]
        pairs = []
        while len(pairs) < events:
            pairs += [(self.often("User"), self.often("Item"))] * draw.choice([1, 1, 2, 3, 5])
        links = {
            "INTERACTED": pairs[:events],
            "IN": {(i, draw.choice(names["Domain"])) for i in items for _ in range(2)},
            "HAS_TAG": {(i, self.often("Tag")) for i in items for _ in range(3)},
            "USED": {(u, self.often("Tag")) for u in users for _ in range(2)},
            "KNOWS": [(draw.choice(users), draw.choice(users)) for _ in users],
            "RELATED": [(draw.choice(items), draw.choice(items)) for _ in range(2 * len(items))],
            "IN_SEGMENT": [(u, draw.choice(names["Segment"])) for u in users],
            "NEAR": [(a, b) for a in items for b in draw.sample(items, 3) if a != b],
        }
        tables = {
            label: with_nulls(ladybug_graph._NODES[label], {KEY[label]: ids})
            for label, ids in names.items()
        }
        self.sql = sqlite3.connect(":memory:")
        for kind, ends in links.items():
            ordered = sorted(ends) if isinstance(ends, set) else ends
            sources, targets = zip(*ordered, strict=True)
            columns = ladybug_graph._LINKS[kind].partition(", ")[2]
            tables[kind] = with_nulls(columns, {"from": sources, "to": targets})
            self.sql.execute(f'CREATE TABLE "{kind}"(a, b)')
            self.sql.executemany(f'INSERT INTO "{kind}" VALUES (?, ?)', ends)
            for first, other in ("ab", "ba"):
                self.sql.execute(f'CREATE INDEX "{kind} {first}" ON "{kind}"({first}, {other})')
        path = folder / f"{events}-{seed}.lbug"
        ladybug_graph._build(path, tables)
        self.file = ladybug_graph.GraphFile(path, seconds=120, memory=512 << 20)

    def often(self, label):
        """One of a label, the first ones far more often."""
        return self.names[label][int(len(self.names[label]) * self.draw.random() ** 2)]

    def differences(self, chain, tries):
        """(given, counted by the file, counted by SQL) wherever they differ."""
        nodes, links = chain
        for _ in range(tries if any(given for _, given in nodes) else 1):
            ends = {f"p{n}": self.often(label) for n, (label, given) in enumerate(nodes) if given}
            right = list(self.sql.execute(sql(nodes, links), ends).fetchone())
            counted = next(self.file.rows(cypher(nodes, links), ends)[1])
            if counted != right:
                yield ends, counted, right


def with_nulls(columns, made):
    """A table of the given columns, and null in all others that the file's table has."""
    kinds = {"STRING": pa.string(), "BOOLEAN": pa.bool_(), "INT64": pa.int64()}
    size = len(next(iter(made.values())))
    for name, kind in re.findall(r"(\w+) (STRING|BOOLEAN|INT64|DOUBLE)", columns):
        made.setdefault(name, pa.nulls(size, kinds.get(kind, pa.float64())))
    order = ["from", "to"] if "from" in made else []
    order += [name for name, _ in re.findall(r"(\w+) (STRING|BOOLEAN|INT64|DOUBLE)", columns)]
    return pa.table({name: made[name] for name in order})


def test_the_patterns_are_those_of_the_questions_and_reasons():
    assert len(chains()) >= 30
    between = [("Item", True), ("User", False), ("Item", True)]
    links = (("<", "INTERACTED", ""), ("", "INTERACTED", ">"))
    assert (tuple(between), links) in chains()


@pytest.mark.parametrize(("events", "seed"), [(4_000, 1), (20_000, 2), (100_000, 3)])
def test_the_file_counts_what_sql_counts(tmp_path, events, seed):
    compare(tmp_path, events, seed, tries=2 if events > 50_000 else 6)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("events", [4_000, 20_000, 100_000])
def test_the_file_counts_what_sql_counts_on_many_graphs(tmp_path, events, seed):
    compare(tmp_path, events, 10 + seed, tries=6)


def compare(folder, events, seed, tries):
    """`tries`: of a pattern with fixed ends, each with other ends."""
    world = World(folder, events, seed)
    wrong = {cypher(*chain): list(world.differences(chain, tries)) for chain in chains()}
    assert not {query: difference for query, difference in wrong.items() if difference}
