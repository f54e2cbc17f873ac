"""`nichegraph audit`: what was done, and whether the log of it is intact."""

import json
from pathlib import Path
from typing import Annotated

import typer

from api.bootstrap import open_home
from api.cli.output import say, show_json, show_table
from api.cli.releases import made_at
from api.settings import load_settings
from graph.errors import InputError

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        no_args_is_help=True, help="What was done, and whether the log of it is intact."
    )
    group.command("show")(show)
    group.command("verify")(verify)
    cli.add_typer(group, name="audit")


def show(
    ctx: typer.Context,
    last: Annotated[int, typer.Option(min=1, help="How many of the newest entries.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show what was done, oldest first.

    Writes, loads, erasures, exports, rollbacks, queries.

    \b
    nichegraph audit show --last 10
    """
    from recommender.releases.audit import lines

    newest = lines(open_home(load_settings(ctx.obj)).audit)[-last:]
    if as_json:
        show_json(newest)
        return
    plain = ("number", "before", "at", "what")
    rows = [
        [
            line["number"],
            f"{made_at(line['at'])} UTC",
            line["what"],
            ", ".join(f"{name} {value}" for name, value in line.items() if name not in plain),
        ]
        for line in newest
    ]
    show_table("", ["number", "at", "what", ""], rows)


def verify(
    ctx: typer.Context,
    head: Annotated[
        Path | None, typer.Option(help="A copy of audit/head.json that you kept elsewhere.")
    ] = None,
) -> None:
    """Check that the log is intact.

    Finds changed, removed and swapped lines, and a missing end.

    \b
    nichegraph audit verify
    nichegraph audit verify --head /mnt/elsewhere/head.json
    """
    from recommender.releases import audit

    home = open_home(load_settings(ctx.obj))
    kept = None
    if head is not None:
        try:
            kept = audit.Head(**json.loads(head.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise InputError(
                f"--head: {head} is not a copy of audit/head.json ({error})"
            ) from error
    problems = audit.verify(home.audit, kept)
    if problems:
        raise InputError(f"{home.audit}: {'; '.join(problems)}")
    say(f"the log is complete and unchanged, {len(audit.lines(home.audit)):,} lines")
