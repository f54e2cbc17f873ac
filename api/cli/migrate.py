"""`nichegraph migrate`: copy one store into another."""

from contextlib import closing
from typing import Annotated

import typer

from api.bootstrap import note, open_home, open_store
from api.cli.output import progress, say, show_json
from api.settings import load_settings
from graph.errors import InputError


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("migrate")(migrate)


def migrate(
    ctx: typer.Context,
    source: Annotated[str, typer.Option("--from", help="`embedded`, or the URI of a server.")],
    target: Annotated[str, typer.Option("--to", help="`embedded`, or the URI of a server.")],
    go_on: Annotated[
        bool,
        typer.Option(
            "--go-on", help="Continue an interrupted copy into a target that is not empty."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Copy all facts of a store into an empty one.

    Both then give the same release.
    The user, password and database of a server come from the settings.

    \b
    nichegraph migrate --from embedded --to bolt://localhost:7687
    """
    from graph.stores.migrate import migrate as copy

    if source == target:
        raise InputError(f"--from and --to are the same store: {source}")
    settings = load_settings(ctx.obj)
    with (
        closing(open_store(settings.model_copy(update={"store": source}))) as old,
        closing(open_store(settings.model_copy(update={"store": target}), make=True)) as new,
        progress("copy") as tell,
    ):
        copied = copy(
            old,
            new,
            into_filled=go_on,
            progress=lambda _table, done, rows: tell(done, rows, done),
        )
    if settings.home.exists():
        note(open_home(settings), "migrate", rows=sum(copied.values()))
    if as_json:
        show_json({"from": source, "to": target, "copied": copied})
    else:
        say(f"{sum(copied.values()):,} rows copied; set `store` to {target} to use them")
