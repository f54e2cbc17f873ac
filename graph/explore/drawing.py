"""Draws the graph in a query's result: nodes, relationships and paths, as SVG or PNG."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from graph.errors import InputError

COLOURS = {
    "User": "#4477aa",
    "Item": "#ee6677",
    "Tag": "#228833",
    "Domain": "#ccbb44",
    "Segment": "#aa3377",
}
MOST_NODES = 150  # more is no picture
LABEL_LETTERS = 24


def draw(rows: list[list[Any]], path: Path, *, seed: int = 0) -> int:
    """Draw what is in the rows into `path` (.svg or .png); how many nodes were drawn.

    Relationships whose ends are not in the result are left out. The same rows and seed give the
    same places.

    Raises:
        InputError: the ending is another, or the rows hold no nodes, or more than can be seen.
    """
    if path.suffix.lower() not in (".svg", ".png"):
        raise InputError(f"{path.name}: a picture ends in .svg or .png")
    nodes, links = parts(rows)
    if not nodes:
        raise InputError("the result holds no nodes to draw: RETURN nodes or paths, such as p")
    if len(nodes) > MOST_NODES:
        raise InputError(f"{len(nodes)} nodes are too many to draw; LIMIT them to {MOST_NODES}")
    _draw(nodes, links, path, seed)
    return len(nodes)


def parts(rows: list[list[Any]]) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """The nodes by handle and the relationships between them that are anywhere in the rows."""
    nodes: dict[str, dict[str, Any]] = {}
    links: dict[str, dict[str, Any]] = {}
    for found in _walk(rows):
        if "node" in found:
            nodes[str(found["node"])] = found
        else:
            links[str(found["relationship"])] = found
    between = [link for link in links.values() if link["from"] in nodes and link["to"] in nodes]
    return nodes, between


def _walk(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        for part in value:
            yield from _walk(part)
    elif isinstance(value, dict):
        if {"node", "label", "properties"} <= set(value) or {"relationship", "from"} <= set(value):
            yield value
        else:
            yield from _walk(list(value.values()))


def _draw(
    nodes: dict[str, dict[str, Any]], links: list[dict[str, Any]], path: Path, seed: int
) -> None:
    import matplotlib as mpl
    import networkx as nx
    from matplotlib.figure import Figure

    graph = nx.MultiDiGraph()
    graph.add_nodes_from(nodes)
    graph.add_edges_from((link["from"], link["to"]) for link in links)
    side = max(6.0, min(16.0, 1.2 * len(nodes) ** 0.5 + 3))
    with mpl.rc_context({"svg.hashsalt": "nichegraph", "svg.fonttype": "none"}):
        figure = Figure(figsize=(side, side * 0.75), layout="constrained")
        axes = figure.add_subplot()
        places = nx.spring_layout(nx.Graph(graph), seed=seed, k=1.6 / len(nodes) ** 0.5)
        colours = [COLOURS.get(node["label"], "#bbbbbb") for node in nodes.values()]
        nx.draw_networkx_edges(
            graph, places, ax=axes, edge_color="#999999", arrowsize=8, node_size=220, width=0.8
        )
        nx.draw_networkx_nodes(graph, places, ax=axes, node_color=colours, node_size=220)
        for handle, node in nodes.items():
            axes.annotate(
                _label(node),
                places[handle],
                xytext=(0, 9),
                textcoords="offset points",
                horizontalalignment="center",
                fontsize=7,
                parse_math=False,  # a title may hold $
            )
        for label in sorted({str(node["label"]) for node in nodes.values()}):
            axes.scatter([], [], color=COLOURS.get(label, "#bbbbbb"), label=label)
        axes.margins(0.16, 0.08)  # room for long labels at the edge
        figure.legend(loc="outside lower left", ncols=len(COLOURS), frameon=False, fontsize=8)
        axes.set_axis_off()
        metadata = {"Date": None} if path.suffix.lower() == ".svg" else {"Software": None}
        figure.savefig(path, dpi=130, metadata=metadata)


def _label(node: dict[str, Any]) -> str:
    """What a person would call the node, short and printable."""
    said = node["properties"]
    text = str(said.get("title") or said.get("name") or said.get("id") or node["label"])
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    return text if len(text) <= LABEL_LETTERS else text[: LABEL_LETTERS - 1] + "…"
