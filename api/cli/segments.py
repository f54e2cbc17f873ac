"""`nichegraph segments`: how users are grouped, and the profile of each group."""

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
        help="How users are grouped, and the profile of each group.",
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
    view = overview(recommender) if user is None else of_user(recommender, as_id(user), now=now())
    if as_json:
        show_json(view)
        return
    if user is None:
        _show(view)
    else:
        say(f"{user}: {', '.join(view['segments'])}; profile {view['profile']}")
        for name, words in (("moves", "moving to another segment"), ("returns", "coming back")):
            if view[name] is not None:
                say(f"chance of {words}: {view[name]:.0%}")
    if live.segments_problem is not None:
        say(f"note: {live.segments_problem}; the version read before stays in use")


def curve(
    ctx: typer.Context,
    segment: Annotated[
        str | None, typer.Option(help="Only this segment.", show_default=False)
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Draw the curve into this .svg or .png.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what long tail costs each segment.

    NDCG, coverage and diversity, with the chosen point marked.

    \b
    nichegraph segments curve
    nichegraph segments curve --segment "night-time, few domains" --picture curve.svg
    """
    from recommender.segments.report import curves, draw_curves

    release = open_live(load_settings(ctx.obj)).recommender().release
    learned_curves = curves(release, segment)
    if picture is not None:
        draw_curves(learned_curves, picture)
        say(f"{len(learned_curves)} curves drawn into {picture}")
    if as_json:
        show_json({"release": release.name, "curves": learned_curves})
    elif picture is None:
        _show_curves(learned_curves)


def _show(view: dict[str, Any]) -> None:
    rows = [
        [
            segment["name"],
            "" if segment["users"] is None else segment["users"],
            segment["profile"],
            segment["persona"],
        ]
        for segment in view["segments"]
    ]
    show_table("", ["segment", "users", "profile", "marked by"], rows)
    if view["note"]:
        say(f"note: {view['note']}")
    say(f"release {view['release']}, grouped by {view['method']}")


def _show_curves(learned_curves: dict[str, Any]) -> None:
    rows = []
    for name, learned_curve in learned_curves.items():
        rows.append([name, "neutral", *_cells(learned_curve["neutral"])])
        rows += [
            ["", "→" if position == learned_curve["chosen"] else "", *_cells(point)]
            for position, point in enumerate(learned_curve["curve"])
        ]
    columns = ["segment", "", "diversity", "long_tail", "freshness", "ndcg@20", "tail share"]
    show_table("", [*columns, "coverage", "unlike"], rows)


def _cells(point: dict[str, Any]) -> list[float]:
    shown = ("ndcg", "long_tail_share", "coverage", "diversity")
    return [
        *(round(point[key], 4) for key in ("diversity", "long_tail", "freshness")),
        *(round(point[f"shown_{key}"], 4) for key in shown),
    ]
