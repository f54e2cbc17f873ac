"""`nichegraph status`: what is here."""

from contextlib import closing
from dataclasses import asdict
from typing import Annotated, Any

import typer

from api.bootstrap import now, open_home, open_journal, open_store
from api.cli.output import say, show_json, show_table
from api.cli.releases import made_at
from api.settings import Settings, load_settings
from graph.errors import StoreError


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("status")(status)


def status(
    ctx: typer.Context,
    graph: Annotated[
        bool,
        typer.Option("--graph", help="Also how events spread, hubs and orphans; reads it all."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """What the store holds, which release is served, what is missing.

    Exit code 1 where the store does not answer or the release is damaged.

    \b
    nichegraph status
    nichegraph status --graph
    """
    facts = gather(load_settings(ctx.obj), graph=graph)
    if as_json:
        show_json(facts)
    else:
        _show(facts)
    damaged = facts["release"] is not None and facts["release"].get("damaged")
    if facts["store"]["error"] or damaged:
        raise typer.Exit(1)


def _show(facts: dict[str, Any]) -> None:
    say(f"home     {facts['home']}")
    say(f"store    {facts['store']['uri']}")
    if facts["store"]["error"]:
        say(f"         does not answer: {facts['store']['error']}")
    inbox = facts["inbox"]
    if inbox["sequence"]:
        say(f"inbox    {inbox['waiting']:,} facts wait for the store, {inbox['bytes']:,} bytes")
        if inbox["problem"]:
            say(f"         the store takes nothing: {inbox['problem']}")
        if inbox["aside"]:
            say(f"         {inbox['aside']:,} were refused; see `nichegraph inbox list`")
    release = facts["release"]
    if release is None:
        say("release  none yet; run `nichegraph refresh`")
    else:
        new = facts["events_since_release"]
        behind = f", {new:,} events are newer" if new else ""
        say(f"release  {release['name']} of {made_at(release.get('created_at'))} UTC{behind}")
        if release.get("damaged"):
            say(f"         {release['damaged']}")
    rows = [[name, count] for name, count in facts["store"]["counts"].items()]
    if rows:
        show_table("", ["in the store", ""], rows)
    if facts["graph"] is not None:
        _show_graph(facts["graph"])


def _show_graph(facts: dict[str, Any]) -> None:
    from graph.statistics import QUANTILES

    say(
        f"{facts['pairs']:,} pairs, density {facts['density']:.2g}, Gini of popularity "
        f"{facts['popularity_gini']:.2f}"
    )
    say(
        f"without events: {facts['users_without_events']:,} users, "
        f"{facts['items_without_events']:,} items; {facts['items_without_anything']:,} items "
        "without tags, domains or relations too"
    )
    show_table(
        "",
        ["events of", *(f"{share:.0%}" for share in QUANTILES)],
        [["a user", *facts["events_per_user"]], ["an item", *facts["events_per_item"]]],
    )
    for user, events in facts["hubs"].items():
        say(f"hub: {user} has {events:,} events, 1,000 times the median or more")


def gather(settings: Settings, *, graph: bool = False) -> dict[str, Any]:
    """The facts that `status` prints; a store that does not answer is one of them."""
    from graph.snapshot import take_snapshot
    from graph.statistics import statistics
    from recommender.inbox.lag import lag
    from recommender.releases.publishing import list_releases

    home = open_home(settings)
    store_facts: dict[str, Any] = {"uri": settings.store, "counts": {}, "error": None}
    watermark = spread = None
    try:
        store = open_store(settings)
        try:
            store_facts |= {"uri": store.uri, "counts": store.counts()}
            watermark = store.watermark()
            if graph:
                spread = asdict(statistics(take_snapshot(store)))
        finally:
            store.close()
    except StoreError as error:
        store_facts["error"] = str(error)
    releases = list_releases(home)
    served = next((release for release in releases if release["current"]), None)
    newer = None
    if served is not None and watermark is not None and "watermark" in served:
        newer = watermark - served["watermark"]
    with closing(open_journal(settings)) as journal:
        inbox = lag(journal, now=now()).as_dict()
    return {
        "inbox": inbox,
        "home": str(home.folder),
        "store": store_facts,
        "graph": spread,
        "release": served and {key: value for key, value in served.items() if key != "files"},
        "releases": len(releases),
        "events_since_release": newer,
    }
