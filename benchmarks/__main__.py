"""`./run bench NAME [--json] […]`: run a benchmark of this folder and show what it found.

A benchmark is a module with `main(arguments) -> dict`, which holds `table` (rows) and `ratios`
(ours over the named baseline of the same run) and takes `--json` as "print nothing yourself".
"""

import contextlib
import importlib
import json
import sys
from pathlib import Path

ALIASES = {"neo4j": "neo4j_store"}  # no module is named like a dependency


def main(arguments: list[str]) -> int:
    """Run the named benchmark; the exit code."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))
    if not arguments or ALIASES.get(arguments[0], arguments[0]) not in names:
        print(f"bench: name one of {', '.join(names)}", file=sys.stderr)
        return 2
    name, *more = arguments
    module = importlib.import_module(f"benchmarks.{ALIASES.get(name, name)}")
    as_json = "--json" in more
    more = [*(word for word in more if word != "--json"), "--json"]
    with contextlib.redirect_stdout(sys.stderr):  # what libraries print is no result
        result = module.main(more)
    if as_json:
        print(json.dumps(result, indent=1, default=str))
    else:
        _show(result)
    return 0


def _show(result: dict) -> None:
    from api.cli.output import say, show_table

    columns = list(dict.fromkeys(key for row in result.get("table", []) for key in row))
    rows = [[row.get(column) for column in columns] for row in result.get("table", [])]
    show_table("", columns, rows)
    for name, value in result.get("ratios", {}).items():
        say(f"{name}: {value:.3g} times" if isinstance(value, float) else f"{name}: {value}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
