"""`nichegraph releases`: what was published, and going back to it."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from api.bootstrap import note, open_home
from api.cli.output import say, show_json, show_table, show_text
from api.settings import load_settings
from graph.errors import InputError, NotFound
from recommender.releases.home import Home

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def register(cli: typer.Typer) -> None:
    """Add the command group."""
    group = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="Published releases: list, show, compare, rollback, pin, prune.",
    )
    group.command("list")(show_all)
    group.command("show")(show_one)
    group.command("compare")(compare)
    group.command("rollback")(rollback)
    group.command("pin")(pin)
    group.command("prune")(prune)
    cli.add_typer(group, name="releases")


def _home(ctx: typer.Context) -> Home:
    return open_home(load_settings(ctx.obj))


def show_all(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the releases, and then the refused ones.

    Oldest first.

    \b
    nichegraph releases list
    """
    from recommender.releases.publishing import list_refused, list_releases

    home = _home(ctx)
    releases = [*list_releases(home), *list_refused(home)]
    if as_json:
        published = [summary(release) for release in releases if "refused" not in release]
        refused = [summary(release) for release in releases if "refused" in release]
        show_json({"releases": published, "refused": refused})
        return
    rows = [
        [
            "→" if release["current"] else "refused" if "refused" in release else "",
            release["name"],
            made_at(release.get("created_at")),
            *(release.get("counts", {}).get(kind, "") for kind in ("users", "items", "events")),
            release.get("damaged", release.get("refused", "")) or _remark(release),
        ]
        for release in releases
    ]
    show_table("", ["", "release", "made", "users", "items", "events", ""], rows)


def show_one(
    ctx: typer.Context, name: Annotated[str, typer.Argument(help="Name or number.")]
) -> None:
    """Print the manifest of a release, or of a refused candidate.

    Counts, configuration, report, drift, files.

    \b
    nichegraph releases show 3
    """
    from recommender.releases.publishing import find, list_refused, list_releases

    home = _home(ctx)
    folder = find(home, name)
    listed = list_releases(home) if folder.parent == home.releases else list_refused(home)
    show_json(next(release for release in listed if release["name"] == folder.name))


def compare(
    ctx: typer.Context,
    new: Annotated[
        str | None, typer.Argument(help="Name or number; default: the current one.")
    ] = None,
    old: Annotated[
        str | None, typer.Argument(help="Name or number; default: the one before.")
    ] = None,
    users: Annotated[
        int, typer.Option(min=0, max=100, help="How many users' lists to compare.")
    ] = 3,
    as_json: AsJson = False,
    as_html: Annotated[
        bool, typer.Option("--html", help="Print a page that needs no other file and no script.")
    ] = False,
) -> None:
    """Say what changed between two releases; each may be a candidate that was refused.

    Counts, settings, gates, vectors, some users' lists.

    \b
    nichegraph releases compare
    nichegraph releases compare 3 1 --users 10
    nichegraph releases compare 3 1 --json
    nichegraph releases compare 3 1 --html > compared.html
    """
    from api.report_page import comparison_page
    from recommender.learning.comparison import compare as compared
    from recommender.overlay.overlay import Overlay
    from recommender.overlay.state import read_state
    from recommender.releases.publishing import current, find, open_release

    if as_json and as_html:
        raise InputError("--json and --html: choose one of them")
    home = _home(ctx)
    name = new or current(home)
    if name is None:
        raise NotFound("there is no release yet; run `nichegraph refresh`")
    newer = open_release(find(home, name))
    older = open_release(find(home, old or _previous(home, newer.name)))
    overlay = Overlay.over(newer, read_state(home))
    comparison = compared(newer, older, users=users, overlay=overlay)
    if as_json:
        show_json(comparison)
    elif as_html:
        show_text(comparison_page(comparison))
    else:
        _show_comparison(comparison)


def _show_comparison(comparison: dict[str, Any]) -> None:
    rows = [[what, *pair, pair[1] - pair[0]] for what, pair in comparison["counts"].items()]
    show_table("", ["", comparison["old"], comparison["new"], "change"], rows)
    if comparison["gates"]:
        rows = [
            [part["part"], part["users"], "" if part["old"] is None else f"{part['old']:.4f}",
             f"{part['new']:.4f}"]
            for part in comparison["gates"]
        ]  # fmt: skip
        columns = ["NDCG@20 at the gate", "users", comparison["old"], comparison["new"]]
        show_table("", columns, rows)
    for what in ("users", "items"):
        part = comparison["drift"][what]
        say(f"{what}: {part['common']:,} in both, {part['new']:,} new, {part['gone']:,} gone")
    for vectors, moved in comparison["drift"]["vectors"].items():
        if moved["sample"]:
            say(
                f"{vectors}: in a sample of {moved['sample']:,} items the ten nearest overlap by "
                f"{moved['jaccard@10']:.3f}, and the cosine of old and new is {moved['cosine']:.3f}"
            )
    for item in comparison["moved"]:
        say(f"neighbours changed: {item['title']} keeps {item['kept']} of its ten")
    for name, pair in comparison["configuration"].items():
        say(f"setting {name}: {pair[0]} before, {pair[1]} now")
    few, both = comparison["few_items"], comparison["both_items"]
    if few[0] != few[1]:
        say(f"a table of their own is read by histories of up to {few[1]} items, before {few[0]}")
    if both[0] != both[1]:
        say(f"longer ones of up to {both[1]} items read both added up, before {both[0]}")
    for shown in comparison["lists"]:
        say(f"list of a user with {shown['history']:,} items: {in_words(shown)}")


def in_words(shown: dict[str, Any]) -> str:
    """What became of a user's list."""
    parts = [f"{shown['stayed']} keep their place"]
    parts += [f"{word}: {', '.join(shown[word])}" for word in ("came", "went") if shown[word]]
    moved = [f"{item['title']} from {item['from']} to {item['to']}" for item in shown["moved"]]
    parts += [f"moved: {', '.join(moved)}"] if moved else []
    return "; ".join(parts)


def rollback(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(help="Name or number; default: the one before the current.")
    ] = None,
) -> None:
    """Serve another release.

    What was hidden or erased since then stays so.

    \b
    nichegraph releases rollback
    nichegraph releases rollback 3
    """
    from recommender.releases.publishing import activate, current

    home = _home(ctx)
    release = activate(home, name if name is not None else _previous(home, current(home)))
    note(home, "rollback", release=release.name)
    say(f"release {release.name} is served now")


def pin(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Name or number.")],
    off: Annotated[bool, typer.Option("--off", help="Allow it to be removed again.")] = False,
) -> None:
    """Keep a release however old it gets.

    \b
    nichegraph releases pin 3
    nichegraph releases pin 3 --off
    """
    from recommender.releases.publishing import pin as keep

    home = _home(ctx)
    full = keep(home, name, on=not off)
    note(home, "unpin" if off else "pin", release=full)
    say(f"release {full} is {'no longer pinned' if off else 'pinned'}")


def prune(
    ctx: typer.Context,
    keep: Annotated[int, typer.Option(min=1, help="How many of the newest to keep.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Remove old releases.

    Also removes what killed refreshes left behind. The current release and pinned ones stay.

    \b
    nichegraph releases prune --keep 3
    """
    from recommender.releases.publishing import prune as remove
    from recommender.releases.steps import drop_unfinished

    if keep < 1:
        raise InputError("--keep: at least one release must stay")
    home = _home(ctx)
    gone, unfinished = remove(home, keep), len(drop_unfinished(home))
    if gone:
        note(home, "prune", releases=gone)
    if as_json:
        show_json({"removed": gone, "unfinished": unfinished})
    else:
        say(f"removed {len(gone)}: {', '.join(gone)}" if gone else "nothing to remove")
        if unfinished:
            say(f"removed the finished steps of {unfinished} refreshes that were stopped")


def _remark(release: dict[str, Any]) -> str:
    """What one should know of a release and its counts do not show."""
    remarks = ["pinned"] if release.get("pinned") else []
    remarks += ["forced"] if release.get("gates", {}).get("forced") else []
    if "ranks_by" in release:
        remarks.append(f"ranks by {release['ranks_by']}")
    return ", ".join(remarks)


def summary(release: dict[str, Any]) -> dict[str, Any]:
    """A manifest without its files, for lists."""
    return {key: value for key, value in release.items() if key != "files"}


def made_at(moment: object) -> str:
    """A time as people read it, UTC; nothing where there is none."""
    if not isinstance(moment, int | float):
        return ""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M")


def _previous(home: Home, name: str | None) -> str:
    from recommender.releases.publishing import list_releases

    names = [release["name"] for release in list_releases(home)]
    older = [earlier for earlier in names if name is not None and earlier < name]
    if not older:
        raise NotFound(f"there is no release before {name or 'the first'}")
    return str(older[-1])
