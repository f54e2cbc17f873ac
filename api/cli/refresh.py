"""`nichegraph refresh`: learn from the store and publish a release."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from api.bootstrap import erase_again, note, now, on_disk_of, open_home, open_journal, open_store
from api.cli.output import say, show_json, step
from api.cli.retain import kept
from api.cli.schedule import for_ever, seconds_of, share_of
from api.memory import memory as free_memory
from api.recording import Recording
from api.reporting import ending, noted, runs_before, save_report
from api.settings import Settings, load_settings
from graph.errors import GateRefused, InputError

if TYPE_CHECKING:
    from graph.stores.neo4j_store import Neo4jStore
    from recommender.learning.build import Preset, RefreshConfig

PRESETS = ("fast", "default", "graph", "sequence")


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("refresh")(refresh)


def refresh(
    ctx: typer.Context,
    preset: Annotated[
        str,
        typer.Option(
            help="fast, default, graph (with node2vec and a graph network), or sequence (with a "
            "model of what comes next)."
        ),
    ] = "default",
    seed: Annotated[
        int,
        typer.Option(
            help="The same data, seed and last release give the same bytes on one thread."
        ),
    ] = 0,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, max=64, help="Default: the setting refresh_threads.", show_default=False
        ),
    ] = None,
    write_back: Annotated[
        bool, typer.Option("--write-back", help="Also write segments and nearest items into Neo4j.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Publish even if the gates refuse; the release records it."),
    ] = False,
    full: Annotated[
        bool,
        typer.Option(
            "--full", help="Choose everything again, even if the data has hardly changed."
        ),
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="If another refresh is running, wait for it.")
    ] = False,
    every: Annotated[
        str | None, typer.Option(help="Refresh again and again, at this interval: 24h, 90m, 7d.")
    ] = None,
    if_changed: Annotated[
        str | None,
        typer.Option(
            "--if-changed",
            help="Only if at least this share of events or items came or went (such as 5%), "
            "if choices drifted, or if settings changed.",
        ),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            help="Do not begin if it is expected to need more: 8GB. Default: the setting "
            "refresh_memory, or what is free.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest.")] = False,
) -> None:
    """Learn from the store and publish a release.

    Running servers switch to it.
    A release that is worse than the served one is not published: exit code 3.

    \b
    nichegraph refresh
    nichegraph refresh --preset fast --seed 7 --threads 1
    nichegraph refresh --write-back
    nichegraph refresh --force
    nichegraph refresh --full --wait
    nichegraph refresh --every 24h --if-changed 5%
    nichegraph refresh --memory 8GB
    """
    settings = load_settings(ctx.obj, refresh_threads=threads, refresh_memory=memory)
    share = None if if_changed is None else share_of(if_changed)
    options = {"write_back": write_back, "force": force, "full": full, "wait": wait}

    def once() -> None:
        """Refresh, or say why there is nothing to do."""
        if share is not None:
            due, why = due_since(settings, preset, seed, share)
            if not due:
                name = current(open_home(settings))
                if as_json:
                    show_json({"name": name, "unchanged": why})
                else:
                    say(f"nothing to do: {why}; release {name} stays in service")
                return
            step(f"refreshing: {why}")
        try:
            name = publish(settings, preset, seed, **options)
        except Exception as error:
            if as_json:
                show_json(ending(open_home(settings), error))
            raise
        manifest = next(row for row in list_releases(open_home(settings)) if row["name"] == name)
        if as_json:
            show_json(manifest)
        else:
            _tell_verdict(manifest)
            say(f"release {name} is served now")

    from recommender.releases.publishing import current, list_releases

    if every is None:
        once()
    else:
        for_ever(open_home(settings), seconds_of(every), once)


def due_since(settings: Settings, preset: str, seed: int, share: float) -> tuple[bool, str]:
    """Whether a refresh is due; and what has changed since the served release, in words.

    It is due if at least this share of the events or items came or went, if choices have drifted
    (see `recommender.learning.drift`), or if settings changed.
    """
    from recommender.learning.drift import drifted
    from recommender.learning.stability import parent_of
    from recommender.learning.warm import configuration_changed

    served = parent_of(open_home(settings))
    if served is None:
        return True, "no release is served yet"
    config = with_settings(config_of(settings.home, preset, seed), settings)
    changed = configuration_changed(served, config)
    if changed:
        return True, f"{' and '.join(changed)} changed"
    with closing(open_store(settings)) as store:
        counts, news = store.counts(), store.watermark() - served.watermark
        before = served.manifest["counts"]
        shares = {
            what: abs(counts[what] - before[what]) / max(before[what], 1)
            for what in ("events", "items")
        }
        shares["events"] = max(shares["events"], news / max(before["events"], 1))
        most = max(shares, key=lambda what: shares[what])
        why = f"{shares[most]:.1%} of the {most} are new or gone since {served.name}"
        if shares[most] >= share:
            return True, why
        drift = drifted(store, served)
    return drift is not None, drift or why


def _tell_verdict(manifest: dict[str, Any]) -> None:
    """Print what the gates remarked on a release that was published all the same."""
    gates = manifest.get("gates", {})
    for reason in gates.get("reasons", []):
        step(f"published although a gate refused: {reason['text']}")
    for remark in gates.get("notes", []):
        step(f"note: {remark}")
    if "ranks_by" in manifest:
        step(f"it ranks by {manifest['ranks_by']}, which does better here than what was learned")


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

    `write_back` writes segments and nearest items into the store as relationships, for exploring;
    `force` also publishes what the gates refuse; `full` chooses everything anew; `wait` waits for
    another refresh to end.

    Raises:
        ReleaseError: another refresh is under way, or took over.
        InputError: no such preset, a store that nothing can be written back to, or more memory is
            needed than there is.
        GateRefused: the new release is worse than what is served.
    """
    from recommender.inbox.erasing import reached, still_in_releases
    from recommender.learning.memory import foretold
    from recommender.learning.refresh import refresh as make_release
    from recommender.learning.stability import parent_of
    from recommender.releases.lease import leased
    from recommender.releases.publishing import REFUSED, list_refused, open_release, prune

    if write_back and settings.store == "embedded":
        raise InputError(
            "--write-back is for a Neo4j server; with the embedded store `nichegraph explore` "
            "shows segments and nearest items anyway"
        )
    check_preset(preset)
    home = open_home(settings)
    with (
        on_disk_of(home),
        leased(home, clock=now, wait=wait) as fence,
        noted(home) as outcome,
    ):
        config = with_settings(config_of(settings.home, preset, seed), settings)
        parent = parent_of(home)
        recording = Recording(step, runs_before(home))
        with closing(open_store(settings)) as store:
            erase_again(settings, store)
            retained = kept(settings, store)
            for kind in retained:
                count = kind["store"] + kind["inbox"] + kind["shown"]
                step(f"removed after {kind['days']} days: {count:,} of {kind['kind']}")
            with closing(open_journal(settings)) as journal:
                forgotten = still_in_releases(journal)
            free = free_memory()["available"]
            step(foretold(store.counts(), config, settings.refresh_memory, free))
            try:
                release = make_release(
                    store, home, config, now=now(), say=recording, force=force, full=full,
                    fence=fence,
                )  # fmt: skip
            except GateRefused:
                refused = list_refused(home)[-1]["name"]
                candidate = open_release(home.releases / REFUSED / refused, verify=False)
                page = save_report(home, store, candidate, parent, recording, retained)
                outcome["report"] = str(page)
                step(f"report: {page}")
                raise
            outcome["release"] = release.name
            with closing(open_journal(settings)) as journal:
                for sequence in forgotten:  # older releases were scrubbed
                    reached(journal, sequence, "releases", at=now())
            page = save_report(home, store, release, parent, recording, retained)
            step(f"the report is {page}")
            if settings.keep_releases:
                for name in prune(home, settings.keep_releases):
                    step(f"removed the old release {name}")
            if write_back:
                from recommender.releases.findings import findings_of

                step("writing segments and nearest items back into the store")
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
    return replace(
        config,
        threads=settings.refresh_threads,
        networks=networks,
        consent="train" in settings.agreed,
    )


def check_preset(preset: str) -> None:
    """Raise an `InputError` for a preset that does not exist."""
    if preset not in PRESETS:
        raise InputError(f"--preset: {preset!r} is not one of {', '.join(PRESETS)}")


def config_of(home: Path | None, preset: str, seed: int) -> "RefreshConfig":
    """What to compute, with the weighting and the model of a home, or the usual ones without.

    Raises:
        InputError: no such preset, or a file with a wrong key.
    """
    from dataclasses import replace

    from graph.weighting_file import load_weighting
    from recommender.learning.build import RefreshConfig
    from recommender.learning.model_file import load_table_settings
    from recommender.releases.home import Home

    check_preset(preset)
    config = RefreshConfig(preset=cast("Preset", preset), seed=seed)
    if home is None:
        return config
    return replace(
        config,
        weighting=load_weighting(Home(home).weighting),
        table=load_table_settings(Home(home).model),
    )
