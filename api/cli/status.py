"""`nichegraph status`: the state of a catalogue on one screen."""

import shutil
from contextlib import closing, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.filesize import decimal

from api.bootstrap import now, open_home, open_journal, open_store
from api.cli.output import say, show_json, show_table
from api.cli.releases import made_at
from api.memory import memory
from api.reporting import last_refresh
from api.settings import Settings, load_settings
from graph.errors import StoreError
from recommender.releases.home import Home

CLOCK_SKEW = 3600  # seconds by which clocks may differ


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("status")(status)


def status(
    ctx: typer.Context,
    graph: Annotated[
        bool,
        typer.Option(
            "--graph",
            help="Also how events are distributed, hubs and orphans; reads the whole store.",
        ),
    ] = False,
    online: Annotated[
        bool,
        typer.Option(
            "--online",
            help="Instead: how often what was shown is clicked, by source, place, segment, release "
            "and rule.",
        ),
    ] = False,
    days: Annotated[
        int | None,
        typer.Option(min=1, max=3650, help="With --online: only the last so many days."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show the state of a catalogue on one screen.

    The store, the served release, how the last refresh ended, and what is wrong.
    Each problem comes with its remedy. Exit code 1 if the store does not answer or the release is
    damaged.

    \b
    nichegraph status
    nichegraph status --graph
    nichegraph status --online --days 7
    """
    if online:
        rates = gather_online(load_settings(ctx.obj), days)
        show_json(rates) if as_json else _show_online(rates)
        return
    if days is not None:
        raise typer.BadParameter("--days goes with --online")
    facts = gather(load_settings(ctx.obj), graph=graph)
    if as_json:
        show_json(facts)
    else:
        _show(facts)
    damaged = facts["release"] is not None and facts["release"].get("damaged")
    if facts["store"]["error"] or damaged:
        raise typer.Exit(1)


def gather_online(settings: Settings, days: int | None) -> dict[str, Any]:
    """Click rates, see `recommender.inbox.click_rates`."""
    from recommender.inbox.click_rates import click_rates
    from recommender.inbox.feedback import SECONDS_A_DAY

    since = None if days is None else now() - days * SECONDS_A_DAY
    open_home(settings)
    with closing(open_journal(settings)) as journal:
        return click_rates(journal, since=since)


def _show_online(rates: dict[str, Any]) -> None:
    if not rates["shown"]:
        say("too few people were shown anything yet: at least 20 are needed for a rate")
    else:
        say(f"{rates['shown']:,} items shown, {rates['clicked']:,} clicked: {_rate(rates)}")
    for by, groups in rates["by"].items():
        if groups:
            columns = [by, "shown", "clicked", "rate, with its 95% interval"]
            rows = [[g["name"], g["shown"], g["clicked"], _rate(g)] for g in groups]
            show_table("", columns, rows)
    if rates["left_out"]:
        say(f"{rates['left_out']:,} groups of fewer than 20 people are left out")


def _rate(group: dict[str, Any]) -> str:
    return f"{group['rate']:.1%} ({group['low']:.1%} to {group['high']:.1%})"


def _show(facts: dict[str, Any]) -> None:
    say(f"home     {facts['home']}")
    say(f"store    {facts['store']['uri']}")
    if facts["store"]["error"]:
        say(f"         does not answer: {facts['store']['error']}")
    inbox = facts["inbox"]
    if inbox["sequence"]:
        say(f"inbox    {inbox['waiting']:,} facts waiting for the store, {inbox['bytes']:,} bytes")
        if inbox["problem"]:
            say(f"         the store accepts nothing: {inbox['problem']}")
        if inbox["aside"]:
            say(f"         {inbox['aside']:,} were refused; see `nichegraph inbox list`")
    release = facts["release"]
    if release is None:
        say("release  none yet; run `nichegraph refresh`")
    else:
        new = facts["events_since_release"]
        behind = f", {new:,} events are newer" if new else ""
        age = facts["release_age"]
        old = "" if age is None or age < 0 else f", {in_words(age)} old"
        made = made_at(release.get("created_at"))
        say(f"release  {release['name']} of {made} UTC{old}{behind}")
    _show_refresh(facts)
    disk, memory = facts["disk"], facts["memory"]
    say(
        f"disk     {decimal(disk['home'])} in the home, {decimal(disk['releases'])} of it "
        f"{facts['releases']} releases; {decimal(disk['free'])} free"
    )
    if memory["available"]:
        say(f"memory   {decimal(memory['available'])} of {decimal(memory['total'])} free")
    rows = [[name, count] for name, count in facts["store"]["counts"].items()]
    if rows:
        show_table("", ["in the store", ""], rows)
    if facts["graph"] is not None:
        _show_graph(facts["graph"])
    for problem in facts["problems"]:
        say(f"problem  {problem['what']}")
        say(f"         {problem['mend']}")


def _show_refresh(facts: dict[str, Any]) -> None:
    last = facts["last_refresh"]
    if facts["refreshing"]:
        say(f"refresh  under way: {facts['refreshing']}")
    elif last is not None:
        took = f" after {in_words(last['ended'] - last['began'])}" if last["ended"] else ""
        say(f"refresh  the last began {made_at(last['began'])} UTC and {_ended(last)}{took}")


def _ended(last: dict[str, Any]) -> str:
    return {"published": "published its release", "refused": "was refused by the gates"}.get(
        last["outcome"], last["outcome"]
    )


def in_words(seconds: float) -> str:
    """A length of time in words, such as 3 hours."""
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        count = int(seconds // length)
        if count >= 1:
            return f"{count:,} {unit}{'s' if count > 1 else ''}"
    return f"{int(seconds)} seconds"


def _show_graph(facts: dict[str, Any]) -> None:
    from graph.statistics import QUANTILES

    say(
        f"{facts['pairs']:,} pairs, density {facts['density']:.2g}, Gini of popularity "
        f"{facts['popularity_gini']:.2f}"
    )
    say(
        f"without events: {facts['users_without_events']:,} users, "
        f"{facts['items_without_events']:,} items; {facts['items_without_anything']:,} items "
        "have no tags, domains or relations either"
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
    from recommender.releases.lease import holder
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
        newest = journal.facts_after(journal.last_sequence() - 1, 1)
    last = last_refresh(home)
    made = None if served is None else served.get("created_at")
    facts: dict[str, Any] = {
        "release_age": None if made is None else now() - made,
        "newest_fact_age": now() - newest[0].acknowledged if newest else None,
        "inbox": inbox,
        "home": str(home.folder),
        "store": store_facts,
        "graph": spread,
        "release": served and {key: value for key, value in served.items() if key != "files"},
        "releases": len(releases),
        "events_since_release": newer,
        "refreshing": holder(home, clock=now),
        "last_refresh": last,
        "disk": disk(home),
        "memory": memory(),
    }
    return facts | {"problems": problems(facts)}


def disk(home: Home) -> dict[str, int]:
    """Bytes that the home takes, that its releases take, and that are free on its disk."""
    return {
        "home": _bytes(home.folder),
        "releases": _bytes(home.releases),
        "free": shutil.disk_usage(home.folder).free,
    }


def problems(facts: dict[str, Any]) -> list[dict[str, str]]:
    """What is not as it should be, and the command that mends it."""
    release, inbox, last = facts["release"], facts["inbox"], facts["last_refresh"]
    listed = []

    def problem(what: str, mend: str) -> None:
        listed.append({"what": what, "mend": mend})

    for age, happened in (
        (facts["release_age"], "the served release was made"),
        (facts["newest_fact_age"], "the newest fact of the journal was acknowledged"),
    ):
        if age is not None and age < -CLOCK_SKEW:
            problem(
                f"by this clock {happened} in {in_words(-age)} from now",
                "set the clock; the age of events and the expiry of keys depend on it",
            )
    if facts["store"]["error"]:
        problem(
            f"the store does not answer: {facts['store']['error']}",
            "start it, or name another with NICHEGRAPH_STORE; lists are still served without it",
        )
    if release is None:
        problem("there is no release to serve", "nichegraph refresh")
    elif release.get("damaged"):
        problem(release["damaged"], "nichegraph releases rollback, then nichegraph refresh")
    if last is not None and not facts["refreshing"]:
        if last["outcome"] == "refused":
            problem(f"the last refresh was refused: {last['why']}", _look_first(last))
        elif last["outcome"] == "failed":
            problem(f"the last refresh failed: {last['why']}", "nichegraph refresh")
        elif last["outcome"] == "was stopped":
            problem(
                "the last refresh was stopped", "nichegraph refresh (it continues where it stopped)"
            )
    if facts["disk"]["free"] < 2 * facts["disk"]["releases"] / max(facts["releases"], 1):
        problem(
            f"the disk has {decimal(facts['disk']['free'])} left, too little for two more releases",
            "nichegraph releases prune --keep 1",
        )
    if inbox["problem"]:
        problem(f"the store accepts nothing: {inbox['problem']}", "nichegraph inbox list")
    if inbox["aside"]:
        problem(f"the store refused {inbox['aside']:,} facts", "nichegraph inbox list")
    return listed


def _look_first(last: dict[str, Any]) -> str:
    """What to do about a refusal; publishing it all the same comes last."""
    return (
        f"read {last.get('report', 'the newest report')}, then nichegraph loads list; "
        "nichegraph loads undo NUMBER takes a wrong load back; only if all of it is meant: "
        "nichegraph refresh --force"
    )


def _bytes(folder: Path) -> int:
    count = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # a refresh or a drain tidies up meanwhile
            count += path.stat().st_size if path.is_file() else 0
    return count
