"""The rooms of the house and what they import of each other, read from the code.

    python tests/rooms.py            write both into the docs

The picture stands in docs/architecture.md, the list of a release's contents in docs/release.md;
`tests/test_architecture.py` holds that they are up to date.
"""

import ast
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("graph", "embeddings", "loaders", "recommender", "api")


def room_of(module):
    """The room of a dotted module: a package, or a folder inside one."""
    parts = module.split(".")
    inside = ROOT.joinpath(*parts[:2])
    return ".".join(parts[:2]) if inside.is_dir() else parts[0]


def arrows():
    """(from room, to room) -> how many imports."""
    counts = Counter()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            own = room_of(".".join(path.relative_to(ROOT).with_suffix("").parts))
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                modules = (
                    [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                )
                if isinstance(node, ast.ImportFrom) and node.module:
                    inside = [f"{node.module}.{alias.name}" for alias in node.names]
                    modules = [full if (ROOT / full.replace(".", "/")).with_suffix(".py").exists()
                               else node.module for full in inside]  # fmt: skip
                for module in modules:
                    if module.split(".")[0] in PACKAGES and room_of(module) != own:
                        counts[own, room_of(module)] += 1
    return counts


def picture(package="recommender"):
    """The rooms of one package, and the arrows between them, as mermaid."""
    inside = sorted(
        (source, target)
        for source, target in arrows()
        if source.startswith(f"{package}.") and target.startswith(f"{package}.")
    )
    lines = [f"  {s.split('.')[1]} --> {t.split('.')[1]}" for s, t in inside]
    return "\n".join(["flowchart TD", *lines])


def contents():
    """Every array and every fact of a release, as two tables."""
    from recommender.releases.contents import ARRAYS, MANIFEST

    rows = [
        f"| `{a.key}` | {a.dtype} | {a.shape}{', may be missing' if a.optional else ''} "
        f"| {a.meaning} | `{a.written_by}` |"
        for a in ARRAYS
    ]
    facts = [f"| `{name}` | {meaning} |" for name, meaning in MANIFEST.items()]
    return "\n".join(
        [
            "| array | type | shape | meaning | written by |",
            "|---|---|---|---|---|",
            *rows,
            "",
            "| in the manifest | meaning |",
            "|---|---|",
            *facts,
        ]
    )


def between(text, name, new=None):
    """What stands between the marks of a name, or the text with something new there."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, _, rest = text.partition(begin)
    old, _, after = rest.partition(end)
    return old if new is None else f"{before}{begin}{new}{end}{after}"


MADE = {  # file -> mark -> what stands there
    "docs/architecture.md": {"rooms": lambda: f"```mermaid\n{picture()}\n```\n"},
    "docs/release.md": {"contents": lambda: contents() + "\n"},
}


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    for name, marks in MADE.items():
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        for mark, make in marks.items():
            text = between(text, mark, make())
        path.write_text(text, encoding="utf-8")
