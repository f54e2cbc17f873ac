"""`nichegraph audit`: what was done, and whether the log of it is intact."""

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
        Path | None,
        typer.Option(
            help="A copy of audit/head.json that you kept elsewhere; default: the setting "
            "audit_head."
        ),
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
    kept = None if head is None else audit.head_in(head)
    if head is not None and kept is None:
        raise InputError(f"--head: there is no {head}; name a copy of audit/head.json")
    if head is None and home.audit_head is not None:
        kept = audit.head_in(home.audit_head)
        if kept is None and audit.lines(home.audit):
            raise InputError(
                f"{home.audit_head} is gone; it is the head of the log (setting audit_head). The "
                "next write makes it anew"
            )
    problems = audit.verify(home.audit, kept)
    if problems:
        raise InputError(f"{home.audit}: {'; '.join(problems)}")
    say(f"the log is complete and unchanged, {len(audit.lines(home.audit)):,} lines")
