"""`nichegraph segments`: how users are grouped, and what each group's lists are made for."""

from pathlib import Path
from typing import Annotated, Any

import typer

from api.bootstrap import now, open_live
from api.cli.output import say, show_json, show_table
from api.settings import load_settings
from graph.ids import as_id

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def register(cli: typer.Typer) -> None:
    """Add the command group."""
    group = typer.Typer(
        rich_markup_mode=None,
        invoke_without_command=True,
        help="How users are grouped, and what each group's lists are made for.",
    )
    group.callback()(segments)
    group.command("curve")(curve)
    cli.add_typer(group, name="segments")


def segments(
    ctx: typer.Context,
    user: Annotated[
        str | None, typer.Option(help="Only the segments of this user.", show_default=False)
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(help="Draw the users into this .svg or .png.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The segments of the current release: sizes, what marks each, and its profile.

    \b
    nichegraph segments
    nichegraph segments --user alice
    nichegraph segments --picture segments.svg
    """
    if ctx.invoked_subcommand is not None:
        return
    from recommender.segments.report import draw_users
    from recommender.serving.segment_view import of_user, overview

    live = open_live(load_settings(ctx.obj))
    recommender = live.recommender()
    if picture is not None:
        say(f"{draw_users(recommender.release, picture):,} users drawn into {picture}")
        return
    found = overview(recommender) if user is None else of_user(recommender, as_id(user), now=now())
    if as_json:
        show_json(found)
        return
    if user is None:
        _show(found)
    else:
        say(f"{user}: {', '.join(found['segments'])}; profile {found['profile']}")
        for name, words in (("moves", "moving to another segment"), ("returns", "coming back")):
            if found[name] is not None:
                say(f"chance of {words}: {found[name]:.0%}")
    if live.segments_problem is not None:
        say(f"note: {live.segments_problem}; what was read before holds")


def curve(
    ctx: typer.Context,
    segment: Annotated[
        str | None, typer.Option(help="Only of this segment.", show_default=False)
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Draw into this .svg or .png.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What the long tail costs: NDCG, coverage and diversity along it, the chosen point marked.

    \b
    nichegraph segments curve
    nichegraph segments curve --segment "night-time, few domains" --picture curve.svg
    """
    from recommender.segments.report import curves, draw_curves

    release = open_live(load_settings(ctx.obj)).recommender().release
    found = curves(release, segment)
    if picture is not None:
        draw_curves(found, picture)
        say(f"{len(found)} curves drawn into {picture}")
    if as_json:
        show_json({"release": release.name, "curves": found})
    elif picture is None:
        _show_curves(found)


def _show(found: dict[str, Any]) -> None:
    rows = [
        [one["name"], "" if one["users"] is None else one["users"], one["profile"], one["persona"]]
        for one in found["segments"]
    ]
    show_table("", ["segment", "users", "profile", "marked by"], rows)
    if found["note"]:
        say(f"note: {found['note']}")
    say(f"release {found['release']}, grouped by {found['method']}")


def _show_curves(found: dict[str, Any]) -> None:
    rows = []
    for name, one in found.items():
        rows.append([name, "neutral", *_cells(one["neutral"])])
        rows += [
            ["", "→" if place == one["chosen"] else "", *_cells(point)]
            for place, point in enumerate(one["curve"])
        ]
    columns = ["segment", "", "diversity", "long_tail", "freshness", "ndcg@20", "tail share"]
    show_table("", [*columns, "coverage", "unlike"], rows)


def _cells(point: dict[str, Any]) -> list[float]:
    shown = ("ndcg", "long_tail_share", "coverage", "diversity")
    return [
        *(round(point[key], 4) for key in ("diversity", "long_tail", "freshness")),
        *(round(point[f"shown_{key}"], 4) for key in shown),
    ]
