"""`nichegraph retain`: drops or reduces what was kept long enough, as `retention.toml` says."""

from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.bootstrap import note, now, on_disk_of, open_home, open_journal, open_store
from api.cli.output import say, show_json, show_table
from api.settings import Settings, load_settings

if TYPE_CHECKING:
    from graph.store import GraphStore


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("retain")(retain)


def retain(
    ctx: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be removed; nothing is changed.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Drop old events, or reduce them to counts.

    The file retention.toml in the home says how long to keep each kind of event. A refresh does the
    same before it begins.

    \b
    nichegraph retain --dry-run
    nichegraph retain
    """
    settings = load_settings(ctx.obj)
    home = open_home(settings)
    with on_disk_of(home), closing(open_store(settings)) as store:
        done = kept(settings, store, dry_run=dry_run)
    if as_json:
        show_json({"dry_run": dry_run, "kinds": done})
    elif not done:
        say(f"nothing to do: {home.retention} names no kind of event")
    else:
        _show(done, dry_run)


def kept(settings: Settings, store: "GraphStore", *, dry_run: bool = False) -> list[dict[str, Any]]:
    """What was removed, or would be, by kind; noted in the audit log. Nothing without a file."""
    from recommender.overlay.retention import retain as keep
    from recommender.overlay.retention_file import load_retention

    home = open_home(settings)
    rules = load_retention(home.retention)
    if not rules:
        return []
    with closing(open_journal(settings)) as journal:
        done = keep(store, journal, home, rules, now=now(), dry_run=dry_run)
    listed = [entry.as_dict() for entry in done]
    if not dry_run and any(entry.store or entry.inbox or entry.shown for entry in done):
        note(home, "retain", kinds=listed)
    return listed


def _show(done: list[dict[str, Any]], dry_run: bool) -> None:
    title = "would be removed" if dry_run else "removed"
    columns = ["kind", "kept for", "then", "from the store", "from the inbox", "of what was shown"]
    rows = [
        [
            row["kind"],
            f"{row['days']} days",
            "counted" if row["then"] == "count" else "dropped",
            row["store"],
            row["inbox"],
            row["shown"],
        ]
        for row in done
    ]
    show_table(title, columns, rows)
