"""`nichegraph releases`: what was published, and the way back."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from api.bootstrap import open_home
from api.cli.output import say, show_json, show_table
from api.settings import load_settings
from graph.errors import InputError, NotFound
from recommender.home import Home

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def register(cli: typer.Typer) -> None:
    """Add the command group."""
    group = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="What was published: list, show, rollback, prune.",
    )
    group.command("list")(show_all)
    group.command("show")(show_one)
    group.command("rollback")(rollback)
    group.command("prune")(prune)
    cli.add_typer(group, name="releases")


def _home(ctx: typer.Context) -> Home:
    return open_home(load_settings(ctx.obj))


def show_all(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the releases, oldest first.

    \b
    nichegraph releases list
    """
    from recommender.release import list_releases

    releases = list_releases(_home(ctx))
    if as_json:
        show_json({"releases": [summary(one) for one in releases]})
        return
    rows = [
        [
            "→" if one["current"] else "",
            one["name"],
            made_at(one.get("created_at")),
            *(one.get("counts", {}).get(what, "") for what in ("users", "items", "events")),
            one.get("damaged", ""),
        ]
        for one in releases
    ]
    show_table("", ["", "release", "made", "users", "items", "events", ""], rows)


def show_one(
    ctx: typer.Context, name: Annotated[str, typer.Argument(help="Name or number.")]
) -> None:
    """Print the manifest of a release: counts, configuration, report, files.

    \b
    nichegraph releases show 3
    """
    from recommender.release import known, list_releases

    home = _home(ctx)
    full = known(home, name)
    show_json(next(one for one in list_releases(home) if one["name"] == full))


def rollback(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(help="Name or number; default: the one before the current.")
    ] = None,
) -> None:
    """Serve another release; what was hidden or erased since stays so.

    \b
    nichegraph releases rollback
    nichegraph releases rollback 3
    """
    from recommender.release import activate

    home = _home(ctx)
    release = activate(home, name if name is not None else _previous(home))
    say(f"release {release.name} is served now")


def prune(
    ctx: typer.Context,
    keep: Annotated[int, typer.Option(min=1, help="How many of the newest stay.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Remove old releases; the current one always stays.

    \b
    nichegraph releases prune --keep 3
    """
    from recommender.release import prune as remove

    if keep < 1:
        raise InputError("--keep: at least one release must stay")
    gone = remove(_home(ctx), keep)
    if as_json:
        show_json({"removed": gone})
    else:
        say(f"removed {len(gone)}: {', '.join(gone)}" if gone else "nothing to remove")


def summary(one: dict[str, Any]) -> dict[str, Any]:
    """A manifest without its files, for lists."""
    return {key: value for key, value in one.items() if key != "files"}


def made_at(moment: object) -> str:
    """A time as people read it, UTC; nothing where there is none."""
    if not isinstance(moment, int | float):
        return ""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M")


def _previous(home: Home) -> str:
    from recommender.release import current, list_releases

    names = [one["name"] for one in list_releases(home)]
    served = current(home)
    older = [name for name in names if served is not None and name < served]
    if not older:
        raise NotFound("there is no release before the current one")
    return str(older[-1])
