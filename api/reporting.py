"""Reports of refreshes, `reports/<release>.json` and `.html`, and how the last refresh ended.

A report outlives its release. The newest `MOST` are kept.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api.bootstrap import now
from api.recording import Recording, Run
from graph.durable import replace_file
from graph.errors import GateRefused
from recommender.releases.home import Home

if TYPE_CHECKING:
    from graph.store import GraphStore, Load
    from recommender.releases.release import Release

LAST = "last-refresh.json"
MOST = 100
READ = 10  # reports that tell how long steps take


def save_report(
    home: Home,
    store: "GraphStore",
    release: "Release",
    parent: "Release | None",
    recording: Recording,
    retained: Sequence[dict[str, Any]] = (),
) -> Path:
    """Write the report of a release, or of a refused candidate; gives the path of the page.

    `retained` says which events had been kept long enough, see `api.cli.retain`.
    """
    from api.report_page import page
    from recommender.learning.report import report
    from recommender.overlay.overlay import Overlay
    from recommender.overlay.state import read_state

    before = parent.manifest.get("last_load", 0) if parent else 0
    content = report(
        release,
        parent,
        steps=recording.steps(),
        loads=[
            _load_facts(load) for load in store.loads() if load.load > before and not load.undone
        ],
        overlay=Overlay.over(release, read_state(home)),
        retained=retained,
    )
    path = home.reports / f"{release.name}.html"
    replace_file(path.with_suffix(".json"), json.dumps(content, indent=1, default=str))
    replace_file(path, page(content))
    for old in sorted(home.reports.glob("[0-9]*-*.html"))[:-MOST]:
        old.unlink()
        old.with_suffix(".json").unlink(missing_ok=True)
    return path


def runs_before(home: Home) -> list[Run]:
    """The steps of the last refreshes and their seconds, the newest first."""
    runs: list[Run] = []
    for path in sorted(home.reports.glob("[0-9]*-*.json"), reverse=True)[:READ]:
        with suppress(OSError, ValueError, KeyError, TypeError):
            report = json.loads(path.read_text(encoding="utf-8"))
            runs.append([(step["name"], float(step["seconds"])) for step in report["steps"]])
    return runs


@contextmanager
def noted(home: Home) -> Iterator[dict[str, Any]]:
    """Keep how a refresh ends, for `status`; the block may add to what is kept.

    What another refresh noted that has taken over meanwhile stays: it ended later, or will.
    """
    facts: dict[str, Any] = {"began": now(), "ended": None, "outcome": "was stopped"}
    path, begun = home.reports / LAST, json.dumps(facts)
    replace_file(path, begun)
    try:
        yield facts
        facts["outcome"] = "published"
    except GateRefused as error:
        facts |= {"outcome": "refused", "why": str(error)}
        raise
    except Exception as error:
        facts |= {"outcome": "failed", "why": str(error) or type(error).__name__}
        raise
    finally:
        facts["ended"] = now()
        with suppress(OSError):  # a full disk: the error to show is the one that ended the refresh
            if path.read_text(encoding="utf-8") == begun:
                replace_file(path, json.dumps(facts))


def ending(home: Home, error: Exception) -> dict[str, Any]:
    """How a refresh ended that published nothing, as an object for scripts."""
    from recommender.releases.publishing import list_refused

    if not isinstance(error, GateRefused):
        return {"outcome": "failed", "why": str(error) or type(error).__name__}
    refused = list_refused(home)[-1]
    return {
        "outcome": "refused",
        "why": str(error),
        "name": refused["name"],
        "gates": refused["gates"],
        "report": str(home.reports / f"{refused['name']}.html"),
    }


def last_refresh(home: Home) -> dict[str, Any] | None:
    """How the last refresh ended, see `noted`; None before the first."""
    facts: dict[str, Any] | None = None
    with suppress(OSError, ValueError):
        facts = json.loads((home.reports / LAST).read_text(encoding="utf-8"))
    return facts


def _load_facts(load: "Load") -> dict[str, Any]:
    """What a report says of a load."""
    files, outliers = load.about.get("files", []), load.about.get("outliers", 0)
    remarks = [f"{count:,} {reason}" for reason, count in load.about.get("rejected", {}).items()]
    if outliers:
        remarks.append(f"{outliers:,} users with a thousand times the usual number of events")
    return {
        "load": load.load,
        "at": load.at,
        "files": [Path(file["file"]).name for file in files],
        "rows": sum(file["rows"] for file in files),
        "rejected": sum(file.get("rejected", 0) for file in files),
        "remarks": remarks,
    }
