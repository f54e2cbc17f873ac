"""What is one step away from a node: the graph of a release, opened node by node.

A node is named by its kind and its id; tags and domains by their name. Only the strongest
neighbours are shown. Hidden items and erased users never are, and of people only the items of the
user who was asked for.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from graph.arrays import F32, I32, I64
from graph.errors import NotFound
from graph.model import NO_ROW, tag_parts
from recommender.releases.release import Release
from recommender.serving.explain import domains_of, title
from recommender.serving.recommend import Recommender

MOST_TAGS, MOST_DOMAINS = 8, 3  # of one item
FEWEST_PEOPLE = 20  # people on average in each span of a popularity curve
MOST_SPANS = 24


@dataclass
class Part:
    """Nodes and edges, as doors show them."""

    nodes: list[dict[str, Any]] = field(default_factory=list)
    edges: list[dict[str, Any]] = field(default_factory=list)

    def node(self, kind: str, name: str, text: str, weight: float) -> str:
        """Add a node and give its key; `weight` 0 … 1 is its size."""
        key = f"{kind}:{name}"
        if all(node["key"] != key for node in self.nodes):
            self.nodes.append(
                {"key": key, "kind": kind, "id": name, "text": text, "weight": round(weight, 4)}
            )
        return key

    def edge(self, source: str, target: str, kind: str, weight: float = 1.0) -> None:
        """Add an edge between two keys."""
        self.edges.append(
            {"source": source, "target": target, "kind": kind, "weight": round(weight, 4)}
        )


def around(recommender: Recommender, kind: str, name: str, n: int) -> Part:
    """A node and at most n neighbours of each of its kinds of edges.

    Raises:
        NotFound: nobody knows it, or it is hidden or erased.
    """
    part = Part()
    steps = {"item": _item, "tag": _tag, "domain": _domain, "user": _user}
    if not steps[kind](recommender, part, name, n):
        raise NotFound(f"there is no {kind} {name!r} in release {recommender.release.name}")
    return part


def spans(release: Release, item: int, uncounted: I32) -> list[dict[str, int]]:
    """When people chose an item: spans of equal length, and how many last did so in each.

    There are as many spans as leave 20 people in each on average; none if there are fewer people,
    or if no times are known. A count below three is shown as 0: it could point at somebody.
    `uncounted` are users who are not counted, see `Overlay`.
    """
    users = np.setdiff1d(release.item_users.of(item), uncounted)
    starts, at = release.histories.take(users.astype(np.int64))
    del starts
    own = at[release.histories.indices[at] == item]
    times = np.asarray(release.history_times)[own]
    times = times[times > 0]
    count = min(MOST_SPANS, len(times) // FEWEST_PEOPLE)
    if count < 2 or times.min() == times.max():
        return []
    people, edges = np.histogram(times, bins=count)
    people[people < 3] = 0
    return [
        {"begins": int(begins), "ends": int(ends), "people": int(count)}
        for begins, ends, count in zip(edges[:-1], edges[1:], people, strict=True)
    ]


def _item(recommender: Recommender, part: Part, name: str, n: int) -> bool:
    release, hidden = recommender.release, recommender.overlay.hidden
    row = release.items.row(name)
    if row == NO_ROW or hidden[row]:
        return False
    own = _add_item(release, part, row)
    tagged = release.tags_given[release.item_tags.span(row)]
    tags = release.item_tags.of(row)[tagged]
    carried = np.diff(release.carriers.indptr)
    for tag in tags[np.argsort(carried[tags], kind="stable")][:MOST_TAGS].tolist():
        text = tag_parts(release.tags.id(tag))[1]
        part.edge(own, part.node("tag", text, text, 0.3), "HAS_TAG")
    for domain in domains_of(release, row)[:MOST_DOMAINS]:
        part.edge(own, part.node("domain", domain, domain, 0.8), "IN")
    near, scores = _nearest(release, row)
    best = max(float(scores.max(initial=0)), 1e-9)
    shown = 0
    for other, score in zip(near.tolist(), scores.tolist(), strict=True):
        if other >= 0 and other != row and score > 0 and not hidden[other] and shown < n:
            part.edge(own, _add_item(release, part, other), "NEAR", score / best)
            shown += 1
    span = release.relations.span(row)
    for entry, other in enumerate(release.relations.of(row)[:n].tolist(), span.start):
        if not hidden[other]:
            part.edge(own, _add_item(release, part, other), release.relation_kind(entry))
    return True


def _nearest(release: Release, row: int) -> tuple[I32, F32]:
    """Whom the item table puts beside an item, strongest first, and how strongly.

    An item that came after the table, or stands beside one that did, has a place there, too.
    """
    arrivals = release.arrivals[0]
    near, scores = arrivals.of_item(row)
    if row < arrivals.first:
        near = np.concatenate([release.table.neighbours[row], near])
        scores = np.concatenate([release.table.scores[row], scores])
    order = np.argsort(-scores, kind="stable")
    return near[order], scores[order]


def _tag(recommender: Recommender, part: Part, name: str, n: int) -> bool:
    release = recommender.release
    rows = recommender.filters.tag_rows(name)
    if len(rows) == 0:
        return False
    carriers = np.concatenate([release.carriers.of(int(tag)) for tag in rows])
    own = part.node("tag", name, name, 0.6)
    for row in _most_chosen(recommender, carriers, n):
        part.edge(own, _add_item(release, part, row), "HAS_TAG")
    return True


def _domain(recommender: Recommender, part: Part, name: str, n: int) -> bool:
    release = recommender.release
    domain = release.domains.row(name)
    if domain == NO_ROW:
        return False
    own = part.node("domain", name, name, 1.0)
    for row in _most_chosen(recommender, release.domain_items.of(domain), n):
        part.edge(own, _add_item(release, part, row), "IN")
    return True


def _user(recommender: Recommender, part: Part, name: str, n: int) -> bool:
    release = recommender.release
    user = recommender.overlay.user_row(name)
    if user == NO_ROW:
        return False
    own = part.node("user", name, name, 0.8)
    for row in history(recommender, user)[:n].tolist():
        part.edge(own, _add_item(release, part, row), "INTERACTED")
    return True


def history(recommender: Recommender, user_row: int) -> I64:
    """The items of a user that are not hidden, the heaviest first."""
    release = recommender.release
    items = release.histories.of(user_row).astype(np.int64)
    values = release.histories.values
    weights = np.ones(len(items)) if values is None else values[release.histories.span(user_row)]
    items = items[np.argsort(-weights, kind="stable")]
    return items[~recommender.overlay.hidden[items]]


def _most_chosen(recommender: Recommender, rows: npt.NDArray[Any], n: int) -> list[int]:
    rows = np.unique(rows)
    rows = rows[~recommender.overlay.hidden[rows]]
    best = rows[np.argsort(-recommender.release.popularity[rows], kind="stable")][:n]
    kept: list[int] = best.tolist()
    return kept


def _add_item(release: Release, part: Part, row: int) -> str:
    size = 1.0 - float(release.rarity[row])
    return part.node("item", release.items.id(row), title(release, row), size)
