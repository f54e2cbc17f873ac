"""`nichegraph refresh`: learn from the store and publish a release."""

from typing import Annotated

import typer

from api.bootstrap import now, open_home, open_store
from api.cli.output import say, show_json, step
from api.settings import Settings, load_settings
from graph.errors import InputError

PRESETS = ("fast", "default", "graph")


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("refresh")(refresh)


def refresh(
    ctx: typer.Context,
    preset: Annotated[
        str, typer.Option(help="fast, default, or graph (node2vec and GNN too).")
    ] = "default",
    seed: Annotated[int, typer.Option(help="Same data, same seed, same release.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest.")] = False,
) -> None:
    """Learn from the store and publish a release; running servers swap to it.

    \b
    nichegraph refresh
    nichegraph refresh --preset fast --seed 7
    """
    from recommender.release import list_releases

    settings = load_settings(ctx.obj)
    name = publish(settings, preset, seed)
    if as_json:
        releases = list_releases(open_home(settings))
        show_json(next(one for one in releases if one["name"] == name))
    else:
        say(f"release {name} is served now")


def publish(settings: Settings, preset: str, seed: int) -> str:
    """Refresh and publish; the name of the release.

    Raises:
        InputError: no such preset.
        GateRefused: the new release is worse than what is served.
    """
    from recommender.refresh import RefreshConfig
    from recommender.refresh import refresh as make_release

    if preset not in PRESETS:
        raise InputError(f"--preset: {preset!r} is none of {', '.join(PRESETS)}")
    home = open_home(settings)
    store = open_store(settings)
    try:
        config = RefreshConfig(preset=preset, seed=seed)
        return make_release(store, home, config, now=now(), progress=step).name
    finally:
        store.close()
