"""`nichegraph erase`: forget a person."""

import difflib
from collections.abc import Sequence
from typing import Annotated

import typer

from api.bootstrap import open_home, open_store
from api.cli.output import say, show_json
from api.settings import Settings, load_settings
from graph.errors import NotFound
from graph.ids import as_id
from recommender.overlay.state import was_erased
from recommender.releases.home import Home


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("erase")(erase)


def erase(
    ctx: typer.Context,
    user: Annotated[str, typer.Argument(help="Id of the user.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Forget a user: no list is made from the history any more, and the store holds none of it.

    The copies for exploring go with what they hold; the next query makes a new one. An id that
    nobody has is an error that names those like it.

    \b
    nichegraph erase alice
    """
    from recommender.overlay.erasure import erase as forget

    settings = load_settings(ctx.obj)
    user = as_id(user)
    home = open_home(settings)
    _check_known(settings, home, user)
    store = open_store(settings)
    try:
        events = forget(store, home, user)
    finally:
        store.close()
    if as_json:
        show_json({"user": user, "events_erased": events})
    else:
        say(f"{user} is forgotten, {events:,} events went; refresh to learn without them")


def _check_known(settings: Settings, home: Home, user: str) -> None:
    """`NotFound` for an id that the store does not have and that was not erased before."""
    store = open_store(settings)
    try:
        users = store.read("users").column("id").to_pylist()
    finally:
        store.close()
    if user not in users and not was_erased(home, user):
        near = near_names(user, users)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "check the id"
        raise NotFound(f"there is no user {user!r}, and nothing was erased; {hint}")


def near_names(name: str, names: Sequence[str], most: int = 3) -> list[str]:
    """The names most like one that is none of them: the same but for case or spaces first."""

    def bare(text: str) -> str:
        return "".join(text.casefold().split())

    same = [other for other in names if bare(other) == bare(name)]
    if same:
        return same[:most]
    # Only names that begin or end alike are compared letter by letter: there may be millions.
    ends = bare(name)[:2], bare(name)[-2:]
    alike = [
        other for other in names if bare(other).startswith(ends[0]) or bare(other).endswith(ends[1])
    ]
    return difflib.get_close_matches(name, alike[:20_000], most)
