"""Draws the graph in a query's result: nodes, relationships and paths, as SVG or PNG."""

import contextlib
import functools
import math
import unicodedata
import warnings
from collections import Counter
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
MOST_NODES = 150  # a picture of more cannot be read
LABEL_WIDTH = 26.0  # of a label, measured in letters x; broad letters count more
FONTS = (
    "DejaVu Sans", "Noto Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR",
    "Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari", "Noto Sans Thai",
    "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "Droid Sans Fallback", "Unifont",
    "Arial Unicode MS", "Hiragino Sans", "Microsoft YaHei", "Malgun Gothic", "sans-serif",
)  # fmt: skip
"""The fonts in which the letters of a title are looked up, one after the other."""


def draw(rows: list[list[Any]], path: Path, *, seed: int = 0) -> int:
    """Draw the graph in the rows into `path` (.svg or .png); gives how many nodes were drawn.

    Relationships whose ends are not in the result are left out. The same rows and seed give the
    same places.

    Raises:
        InputError: the file has another ending, or the rows hold no nodes or too many to draw.
    """
    if path.suffix.lower() not in (".svg", ".png"):
        raise InputError(f"{path.name}: a picture ends in .svg or .png")
    nodes, links = parts(rows)
    if not nodes:
        raise InputError("the result holds no nodes to draw: RETURN nodes or paths, such as p")
    if len(nodes) > MOST_NODES:
        raise InputError(f"{len(nodes)} nodes are too many to draw; LIMIT them to {MOST_NODES}")
    _draw(nodes, _bundled(links), path, seed)
    return len(nodes)


def parts(rows: list[list[Any]]) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """All nodes in the rows, by handle, and the relationships between them."""
    nodes: dict[str, dict[str, Any]] = {}
    links: dict[str, dict[str, Any]] = {}
    for element in _walk(rows):
        if "node" in element:
            nodes[str(element["node"])] = element
        else:
            links[str(element["relationship"])] = element
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


def _bundled(links: list[dict[str, Any]]) -> dict[tuple[str, str], str]:
    """(from, to) -> the label for the relationships between the two, as `INTERACTED ×3`."""
    types: dict[tuple[str, str], Counter[str]] = {}
    for link in links:
        types.setdefault((link["from"], link["to"]), Counter())[str(link.get("type") or "")] += 1
    return {
        ends: ", ".join(f"{name} ×{n}" if n > 1 and name else name for name, n in kinds.items())
        for ends, kinds in types.items()
    }


def _draw(
    nodes: dict[str, dict[str, Any]], links: dict[tuple[str, str], str], path: Path, seed: int
) -> None:
    import matplotlib as mpl
    import networkx as nx
    from matplotlib.figure import Figure

    graph = nx.DiGraph()
    graph.add_nodes_from(nodes)
    graph.add_edges_from(links)
    side = max(6.0, min(16.0, 1.2 * len(nodes) ** 0.5 + 3))
    # An SVG is shown with the reader's fonts; in a PNG a letter must be drawn now.
    letters = None if path.suffix.lower() == ".svg" else _letters()
    style: Any = {
        "svg.hashsalt": "nichegraph", "svg.fonttype": "none", "font.family": known_fonts(),
    }  # fmt: skip
    with mpl.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(side, side * 0.75), layout="constrained")
        axes = figure.add_subplot()
        places = nx.spring_layout(nx.Graph(graph), seed=seed, k=1.6 / len(nodes) ** 0.5)
        colours = [COLOURS.get(node["label"], "#bbbbbb") for node in nodes.values()]
        nx.draw_networkx_edges(
            graph, places, ax=axes, edge_color="#999999", arrowsize=8, node_size=220, width=0.8
        )
        nx.draw_networkx_nodes(graph, places, ax=axes, node_color=colours, node_size=220)
        for (source, target), name in links.items():
            (x, y), (v, w) = places[source], places[target]
            axes.text(
                (x + v) / 2,
                (y + w) / 2,
                name,
                horizontalalignment="center",
                verticalalignment="center",
                fontsize=5,
                color="#666666",
                parse_math=False,
                rotation=_slope(places[source], places[target]),
                rotation_mode="anchor",
                transform_rotates_text=True,
            )
        for handle, node in nodes.items():
            axes.annotate(
                _label(node, letters),
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


def _label(node: dict[str, Any], letters: frozenset[int] | None) -> str:
    """A readable name of the node: short, printable, and in letters that can be drawn."""
    properties = node["properties"]
    names = [str(properties[name]) for name in ("title", "name", "id") if properties.get(name)]
    names = [
        "".join(letter if letter.isprintable() else " " for letter in name)
        for name in [*names, str(node["label"])]
    ]
    drawable = (
        name for name in names if letters is None or {ord(letter) for letter in name} <= letters
    )
    return cut(next(drawable, names[0]), LABEL_WIDTH)


def cut(text: str, width: float) -> str:
    """The text cut to a width in letters; an ellipsis stands for the rest.

    Letters of East Asia count as two, and marks that sit on other letters count nothing.
    """
    used = 0.0
    for index, letter in enumerate(text):
        used += _width(letter)
        if used > width:
            return text[:index].rstrip() + "…"
    return text


def _width(letter: str) -> float:
    if unicodedata.combining(letter) or unicodedata.category(letter) in ("Mn", "Me", "Cf"):
        return 0.0
    if unicodedata.east_asian_width(letter) in ("W", "F"):
        return 2.0
    return 0.6 if letter in "ijl.,:;'|!ft() " else 1.4 if letter in "mwMW—" else 1.0


def known_fonts() -> list[str]:
    """The fonts of `FONTS` that are installed, in their order: a letter is taken from the first."""
    from matplotlib import font_manager

    _read_new_fonts()
    there = {font.name for font in font_manager.fontManager.ttflist}
    return [name for name in FONTS if name in there or name == "sans-serif"]


@functools.cache
def _read_new_fonts() -> None:
    """Add the fonts installed after matplotlib made its list, as it keeps an old list."""
    from matplotlib import font_manager

    manager = font_manager.fontManager
    listed = {font.fname for font in manager.ttflist}
    for file in font_manager.findSystemFonts():
        if file not in listed:
            with contextlib.suppress(OSError, RuntimeError):  # not a font that FreeType can read
                manager.addfont(file)


def _letters() -> frozenset[int]:
    """The letters that one of the installed fonts has."""
    from matplotlib import font_manager

    fonts = (font_manager.FontProperties(family=[name]) for name in known_fonts())
    files = {font_manager.findfont(font) for font in fonts}
    return frozenset().union(*(font_manager.get_font(file).get_charmap() for file in files))


def _slope(start: Any, end: Any) -> float:
    """The angle of a line in degrees, chosen so that text along it stands upright."""
    degrees = math.degrees(math.atan2(end[1] - start[1], end[0] - start[0]))
    return degrees - 180 if degrees > 90 else degrees + 180 if degrees < -90 else degrees
