"""`nichegraph refresh`: learn from the store and publish a release."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from api.bootstrap import note, now, open_home, open_store
from api.cli.output import say, show_json, step
from api.settings import Settings, load_settings
from graph.errors import InputError

if TYPE_CHECKING:
    from graph.stores.neo4j_store import Neo4jStore
    from recommender.learning.build import Preset, RefreshConfig

PRESETS = ("fast", "default", "graph")


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("refresh")(refresh)


def refresh(
    ctx: typer.Context,
    preset: Annotated[
        str, typer.Option(help="fast, default, or graph (node2vec and GNN too).")
    ] = "default",
    seed: Annotated[
        int, typer.Option(help="Same data, seed, last release and one thread: the same bytes.")
    ] = 0,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, max=64, help="Default: the setting refresh_threads.", show_default=False
        ),
    ] = None,
    write_back: Annotated[
        bool, typer.Option("--write-back", help="Also write what was found into Neo4j.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Publish what the gates refuse, too; it is noted.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Choose anew, also where the data has hardly moved.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Where another refresh is under way, wait for it.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest.")] = False,
) -> None:
    """Learn from the store and publish a release; running servers swap to it.

    What is worse than the release that is served is not published: exit code 3.

    \b
    nichegraph refresh
    nichegraph refresh --preset fast --seed 7 --threads 1
    nichegraph refresh --write-back
    nichegraph refresh --force
    nichegraph refresh --full --wait
    """
    from recommender.releases.publishing import list_releases

    settings = load_settings(ctx.obj, refresh_threads=threads)
    name = publish(settings, preset, seed, write_back=write_back, force=force, full=full, wait=wait)
    releases = list_releases(open_home(settings))
    if as_json:
        show_json(next(release for release in releases if release["name"] == name))
    else:
        _tell_verdict(next(release for release in releases if release["name"] == name))
        say(f"release {name} is served now")


def _tell_verdict(manifest: dict[str, Any]) -> None:
    """What the gates said of a release that was published all the same."""
    gates = manifest.get("gates", {})
    for reason in gates.get("reasons", []):
        step(f"published by force: {reason['text']}")
    for remark in gates.get("notes", []):
        step(f"note: {remark}")
    if "ranks_by" in manifest:
        step(f"it ranks by {manifest['ranks_by']}, which finds more here than what was learned")


def publish(
    settings: Settings,
    preset: str,
    seed: int,
    *,
    write_back: bool = False,
    force: bool = False,
    full: bool = False,
    wait: bool = False,
) -> str:
    """Refresh, publish and prune; the name of the release.

    `write_back` makes segments and nearest items relationships in the store, to be explored;
    `force` publishes what the gates refuse, too; `full` chooses everything anew; `wait` waits for
    another refresh to end.

    Raises:
        ReleaseError: another refresh is under way, or took over.
        InputError: no such preset, or a store that nothing can be written back to.
        GateRefused: the new release is worse than what is served.
    """
    from recommender.learning.refresh import refresh as make_release
    from recommender.releases.lease import leased
    from recommender.releases.publishing import prune

    if write_back and settings.store == "embedded":
        raise InputError(
            "--write-back is for a Neo4j server; with the embedded store `nichegraph explore` "
            "shows segments and nearest items anyway"
        )
    config = with_settings(config_of(settings.home, preset, seed), settings)
    home = open_home(settings)
    with leased(home, clock=now, wait=wait) as fence, closing(open_store(settings)) as store:
        release = make_release(
            store, home, config, now=now(), say=step, force=force, full=full, fence=fence
        )
        if settings.keep_releases:
            for name in prune(home, settings.keep_releases):
                step(f"removed the old release {name}")
        if write_back:
            from recommender.releases.findings import findings_of

            step("writing what was found back into the store")
            cast("Neo4jStore", store).write_back(findings_of(release), release.name)
    note(home, "refresh", release=release.name)
    return release.name


def with_settings(config: "RefreshConfig", settings: Settings) -> "RefreshConfig":
    """What to compute, as the settings of a refresh say."""
    from dataclasses import replace

    from recommender.learning.networks import Networks

    networks = Networks(
        settings.node2vec_engine,
        tuple(settings.node2vec_metapath.replace(",", " ").split()),
    )
    return replace(config, threads=settings.refresh_threads, networks=networks)


def config_of(home: Path | None, preset: str, seed: int) -> "RefreshConfig":
    """What to compute, with the weighting of a home, or the default one without a home.

    Raises:
        InputError: no such preset, or a weighting file with a wrong key.
    """
    from graph.weighting import Weighting, load_weighting
    from recommender.learning.build import RefreshConfig
    from recommender.releases.home import Home

    if preset not in PRESETS:
        raise InputError(f"--preset: {preset!r} is none of {', '.join(PRESETS)}")
    weighting = Weighting() if home is None else load_weighting(Home(home).weighting)
    return RefreshConfig(preset=cast("Preset", preset), seed=seed, weighting=weighting)
