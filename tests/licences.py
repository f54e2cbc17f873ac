"""The licences of what nichegraph needs: `python tests/licences.py` writes docs/licences.md.

What packages say of themselves: their licence expression, else their classifiers, else the first
line of their licence field, or of the file that they name as their licence.
"""

import re
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

PAGE = Path(__file__).parents[1] / "docs" / "licences.md"
EXTRAS = (
    "",
    "console",
    "explore",
    "neo4j",
    "redis",
    "backup",
    "encrypted",
    "traces",
    "segments",
    "train",
)
SHORT = {
    "MIT License": "MIT",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.1-or-later",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "3-Clause BSD License": "BSD-3-Clause",
    "The MIT License (MIT)": "MIT",
    "ISC License (ISCL)": "ISC",
    "Copyright (c) 2004-2007 Gerhard Häring": "Zlib",  # the first line of that licence
}
ELSEWHERE = {"async-timeout": ("Apache-2.0", "redis")}  # needed by Python before 3.11.3
HEAD = """# Licences

For whoever packages or sells a service with nichegraph: the licences of what it needs to run, as
the packages state them. `python tests/licences.py` writes this page; a test holds it up to date.

nichegraph itself is under the MIT licence. Packages of NVIDIA, which `torch` brings on some
platforms, are left out: they have NVIDIA's own terms, and a processor needs none of them.

| package | licence | needed by |
|---|---|---|
"""


def page() -> str:
    """The page as it is to be."""
    needed: dict[str, str] = {}
    for extra in EXTRAS:
        for name in closure("nichegraph", extra):
            needed.setdefault(name, f"the extra `{extra}`" if extra else "every installation")
    del needed["nichegraph"]
    stated = {name: (licence(name), by) for name, by in needed.items()}
    stated |= {name: (terms, f"the extra `{by}`") for name, (terms, by) in ELSEWHERE.items()}
    rows = [f"| {name} | {terms} | {by} |\n" for name, (terms, by) in sorted(stated.items())]
    return HEAD + "".join(rows)


def closure(root: str, extra: str) -> list[str]:
    """All packages that one needs with an extra, itself included, by their normal names."""
    seen: set[tuple[str, str]] = set()
    todo = [(root, extra)]
    while todo:
        name, with_extra = todo.pop()
        if (name, with_extra) in seen or left_out(name):
            continue
        seen.add((name, with_extra))
        for text in distribution(name).requires or ():
            wanted = Requirement(text)
            if wanted.marker is None or wanted.marker.evaluate({"extra": with_extra}):
                todo += [(normal(wanted.name), each) for each in ("", *wanted.extras)]
    return sorted({name for name, _ in seen})


def left_out(name: str) -> bool:
    return name.startswith(("nvidia-", "cuda-")) or name == "triton"


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def licence(name: str) -> str:
    """What a package says its licence is."""
    about = distribution(name).metadata
    if stated := about.get("License-Expression"):
        return str(stated)
    classified = [
        text.rpartition(" :: ")[2]
        for text in about.get_all("Classifier") or ()
        if text.startswith("License :: OSI Approved :: ")
    ]
    if not classified:
        file = distribution(name).read_text(f"licenses/{about.get('License-File')}")
        classified = (about.get("License") or file or "not stated").strip().splitlines()[:1]
    return " AND ".join(SHORT.get(text, text) for text in classified)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
