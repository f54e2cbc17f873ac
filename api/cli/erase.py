"""`nichegraph erase`: forget a person."""

import unicodedata
from typing import Annotated

import typer

from api.bootstrap import open_home, open_store
from api.cli.output import say, show_json
from api.settings import load_settings


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("erase")(erase)


def erase(
    ctx: typer.Context,
    user: Annotated[str, typer.Argument(help="Id of the user.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Forget a user: no list is made from the history any more, and the store holds none of it.

    The copies for exploring go with what they hold; the next query makes a new one.

    \b
    nichegraph erase alice
    """
    from graph.explore.copies import forget

    settings = load_settings(ctx.obj)
    user = unicodedata.normalize("NFC", user)
    home = open_home(settings)
    # First the running servers, then the store: a kill in between leaves nothing served.
    with home.erased.open("a", encoding="utf-8", newline="\n") as file:
        file.write(user.replace("\n", " ") + "\n")
    store = open_store(settings)
    try:
        events = store.erase_user(user)
    finally:
        store.close()
    forget(home.explore)
    if as_json:
        show_json({"user": user, "events_erased": events})
    else:
        say(f"{user} is forgotten, {events:,} events went; refresh to learn without them")
