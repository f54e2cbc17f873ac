"""The six pictures of docs/concepts.md, drawn as SVG; `./run pictures` writes them anew."""

import html
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "images" / "concepts"
WIDTH = 690
STYLE = """<style>
text{font:14px system-ui,"Segoe UI","DejaVu Sans",sans-serif;fill:#1d2126}
.dim{fill:#5a626b;font-size:12.5px}.b{font-weight:600}.mid{text-anchor:middle}
.user{fill:#f1eaf8;stroke:#6a3d9a}.item{fill:#e4f0ee;stroke:#0b6a62}.tag{fill:#fbeedd;stroke:#8a4b00}
.plain{fill:#fff;stroke:#8b929a}.good{fill:#e3f2e6;stroke:#1e6b2c}.bad{fill:#fbe7e5;stroke:#a3211b}
.line{stroke:#5a626b;fill:none;stroke-width:1.5}.dash{stroke-dasharray:5 4}
</style>
<defs><marker id="to" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" \
orient="auto"><path d="M0 0 8 4 0 8z" fill="#5a626b"/></marker></defs>"""


def write(folder: Path = FOLDER) -> None:
    """Every picture, as NAME.svg."""
    folder.mkdir(parents=True, exist_ok=True)
    for draw in (graph, weights, table, segments, release, overlay):
        (folder / f"{draw.__name__}.svg").write_text(draw(), encoding="utf-8")


def graph() -> str:
    """Users, items and tags, joined by who chose what and what carries what."""
    users, items = ["alice", "bob", "carol", "dave"], [
        "Goldberg Variations", "Partitas", "The Art of Fugue", "Kind of Blue",
    ]  # fmt: skip
    tags = ["baroque", "keyboard", "counterpoint", "jazz"]
    rows = [70, 125, 180, 235]
    chose = [(0, 0), (0, 1), (1, 0), (1, 2), (2, 1), (2, 2), (3, 3)]
    carries = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 2), (3, 3)]
    return picture(
        270,
        "Four listeners, four records and their tags, joined by lines",
        *(
            text(x, 28, word, "dim mid")
            for x, word in ((70, "users"), (325, "items"), (610, "tags"))
        ),
        *(line(115, rows[user], 240, rows[item]) for user, item in chose),
        *(line(410, rows[item], 555, rows[tag]) for item, tag in carries),
        *(pill(25, y, 90, name, "user") for y, name in zip(rows, users, strict=True)),
        *(pill(240, y, 170, name, "item") for y, name in zip(rows, items, strict=True)),
        *(pill(555, y, 110, name, "tag", round_by=5) for y, name in zip(rows, tags, strict=True)),
    )


def weights() -> str:
    """What four events weigh, and how thick their line in the graph is."""
    parts = [
        text(25, 32, "what happened", "dim"),
        *(
            text(x, 32, word, "dim mid")
            for x, word in ((250, "kind"), (345, "age"), (440, "weight"))
        ),
        text(500, 32, "the line in the graph", "dim"),
    ]
    events = [
        ("bought, last week", 1.5, 1.0),
        ("liked, a year ago", 1.0, 0.5),
        ("looked at, last week", 0.5, 1.0),
        ("looked at, a year ago", 0.5, 0.5),
    ]
    for number, (what, kind, age) in enumerate(events):
        y = 66 + 36 * number
        parts += [
            text(25, y, what),
            text(250, y, kind, "mid"),
            text(297, y, "×", "mid dim"),
            text(345, y, age, "mid"),
            text(392, y, "=", "mid dim"),
            text(440, y, kind * age, "mid b"),
            line(500, y - 5, 655, y - 5, wide=6 * kind * age),
        ]
    return picture(200, "Four events and the weight of each: its kind times its age", *parts)


def table() -> str:
    """The rows of what a user heard, and their sum."""
    columns = {"Goldberg": 290, "Partitas": 390, "Art of Fugue": 490, "Kind of Blue": 590}
    rows = {"Goldberg Variations": [None, 0.6, 0.5, 0.0], "Partitas": [0.6, None, 0.4, 0.1]}
    parts = [
        text(25, 32, "alice has heard", "dim"),
        text(440, 32, "how strongly each speaks for …", "dim mid"),
        *(text(x, 62, name, "mid dim") for name, x in columns.items()),
    ]
    for y, (name, scores) in zip((91, 129), rows.items(), strict=True):
        parts.append(pill(25, y, 180, name, "item"))
        for x, score in zip(columns.values(), scores, strict=True):
            parts += [
                box(x - 42, y - 16, 84, 32, "plain", round_by=3),
                text(x, y + 5, "–" if score is None else score, "mid"),
            ]
    parts.append(text(25, 190, "the sum", "b"))
    for x, scores in zip(columns.values(), zip(*rows.values(), strict=True), strict=True):
        if None in scores:
            parts.append(text(x, 190, "heard", "mid dim"))
            continue
        best = x == columns["Art of Fugue"]
        parts += [
            box(x - 42, 169, 84, 32, "good" if best else "plain", round_by=3),
            text(x, 190, round(sum(scores), 1), "mid b" if best else "mid"),
        ]
    first = "First in the list: The Art of Fugue, “because you heard Goldberg Variations”"
    return picture(
        256,
        "The rows of two records are added up; the highest sum comes first",
        *parts,
        text(25, 232, f"{first} (0.5 of its 0.9)."),
    )


def segments() -> str:
    """Two clouds of users, and the mix of each one's lists."""
    draw = np.random.default_rng(5)
    parts = [
        text(25, 32, "users, by what they do", "dim"),
        text(400, 32, "how their lists are mixed", "dim"),
    ]
    for kind, middle in (("user", (115, 112)), ("tag", (248, 150))):
        for x, y in draw.normal(middle, (27, 25), (26, 2)).clip((20, 50), (345, 218)):
            parts.append(f'<circle cx="{x:.0f}" cy="{y:.0f}" r="5" class="{kind}"/>')
    mixes = [("user", "often here, digs deep", 90, 70), ("tag", "now and then", 130, 15)]
    for number, (kind, name, relevance, tail) in enumerate(mixes):
        y = 61 + 90 * number
        parts += [
            f'<circle cx="408" cy="{y}" r="6" class="{kind}"/>',
            text(422, y + 5, name, "b"),
            text(422, y + 29, "relevance", "dim"),
            box(520, y + 18, relevance, 12, "item", round_by=2),
            text(422, y + 51, "long tail", "dim"),
            box(520, y + 40, tail, 12, "item", round_by=2),
        ]
    alt = "Two groups of users, each with a mix of relevance and long tail of its own"
    return picture(232, alt, *parts)


def release() -> str:
    """From the graph over the gates to what is served, or kept aside."""
    return picture(
        236,
        "A refresh makes a folder: not worse, it is served, else kept aside; older ones stay",
        named(25, 50, 110, "plain", "the graph", "frozen at 3:15"),
        arrow(135, 78, 196, 78),
        text(165, 66, "refresh", "mid dim"),
        named(200, 50, 120, "item", "candidate", "a new folder"),
        arrow(320, 78, 371, 78),
        named(375, 50, 110, "tag", "gates", "is it worse?"),
        arrow(485, 78, 532, 78),
        text(508, 66, "no", "mid dim"),
        named(536, 50, 130, "good", "000003", "CURRENT: is served"),
        arrow(430, 106, 430, 160),
        text(440, 138, "yes", "dim"),
        named(365, 164, 130, "bad", "kept aside", "with its report", high=48),
        *(
            box(536, y, 130, 36, "plain") + "\n" + text(601, y + 23, name, "mid")
            for y, name in ((122, "000002"), (166, "000001"))
        ),
        text(601, 222, "the way back", "mid dim"),
    )


def overlay() -> str:
    """What came since lies on top of a release that stays as it is."""
    return picture(
        200,
        "The overlay with what came since lies on top of the release; an answer reads both",
        *(
            text(x, 34, word, "dim")
            for x, word in ((25, "at night"), (250, "during the day"), (545, "each answer"))
        ),
        named(25, 124, 200, "item", "release", "all that was known at 3:15"),
        named(250, 56, 240, "tag", "overlay", "clicks, new items, who was erased"),
        named(250, 124, 240, "item", "the same release", "never changed"),
        arrow(225, 150, 246, 150),
        named(545, 86, 120, "good", "both together", "within a second"),
        arrow(490, 82, 541, 104),
        arrow(490, 150, 541, 126),
        '<path d="M250 82 H125 V120" class="line dash" marker-end="url(#to)"/>',
        text(25, 72, "the next refresh takes it in", "dim"),
    )


def picture(height: int, alt: str, *parts: str) -> str:
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{alt}">'
    paper = f'<rect width="{WIDTH}" height="{height}" rx="10" fill="#fff"/>'
    return "\n".join([head, STYLE, paper, *parts, "</svg>"]) + "\n"


def text(x: float, y: float, words: object, kind: str = "") -> str:
    shown = f' class="{kind}"' if kind else ""
    return f'<text x="{x:g}" y="{y:g}"{shown}>{html.escape(str(words), quote=False)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, wide: float = 1.5) -> str:
    style = "" if wide == 1.5 else f' style="stroke-width:{wide:g}"'
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" class="line"{style}/>'


def arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    return line(x1, y1, x2, y2).replace("/>", ' marker-end="url(#to)"/>')


def box(x: float, y: float, wide: float, high: float, kind: str, round_by: float = 6) -> str:
    size = f'width="{wide}" height="{high}" rx="{round_by}"'
    return f'<rect x="{x}" y="{y}" {size} class="{kind}"/>'


def pill(x: float, y: float, wide: float, name: str, kind: str, round_by: float = 15) -> str:
    """A name in a box; `y` is the middle of it."""
    return box(x, y - 15, wide, 30, kind, round_by) + "\n" + text(x + wide / 2, y + 5, name, "mid")


def named(
    x: float, y: float, wide: float, kind: str, name: str, what: str, high: float = 56
) -> str:
    """A box with a name, and what it is below."""
    middle = x + wide / 2
    return "\n".join(
        [
            box(x, y, wide, high, kind),
            text(middle, y + high / 2 - 3, name, "mid b"),
            text(middle, y + high / 2 + 16, what, "mid dim"),
        ]
    )


if __name__ == "__main__":
    write()
