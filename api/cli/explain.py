"""`nichegraph explain`: why an item is, or would be, shown to a user."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer

from api.bootstrap import now, open_live
from api.cli.output import say, show_json
from api.settings import load_settings
from graph.explore.why_cypher import literal
from graph.ids import as_id


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("explain")(explain)


def explain(
    ctx: typer.Context,
    user: Annotated[str, typer.Argument(help="Id of a user, known or not.")],
    item: Annotated[str, typer.Argument(help="Id of an item.")],
    picture: Annotated[
        Path | None, typer.Option("--picture", help="Draw the paths into this .svg or .png.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say why an item is, or would be, shown to a user.

    Prints sentences, paths, and Cypher that shows the same.

    \b
    nichegraph explain alice goldberg
    nichegraph explain alice goldberg --picture why.svg
    """
    from recommender.serving.why import why  # brings all that serves

    recommender = open_live(load_settings(ctx.obj)).recommender()
    explanation = why(recommender, as_id(user), as_id(item), now=now())
    if picture is not None:
        from graph.explore.drawing import draw  # needs the extra explore

        draw(
            [[step for reason in explanation["reasons"] for step in _steps(reason["path"])]],
            picture,
        )
    if as_json:
        show_json(explanation)
        return
    say(f"{explanation['title']}: score {explanation['score']:.4g}, from {explanation['source']}")
    for reason, line in zip(explanation["reasons"], explanation["drawing"], strict=True):
        say(f"  {reason['text']}")
        say(f"  {line}")
    if explanation["cypher"] is None:
        say("  nothing we know speaks for it: it would only fill up a list")
    else:
        say("in Cypher, for `nichegraph explore`:")
        say(f"  {literal(**explanation['cypher'])}")
    for note in explanation["notes"]:
        say(f"note: {note}")
    if picture is not None:
        say(f"drawn into {picture}")


def _steps(path: Sequence[dict[str, str]]) -> list[dict[str, Any]]:
    """Nodes and links of a path as `graph.explore.drawing` takes them."""
    nodes = [part for part in path if "node" in part]
    if any(part.get("of") in ("you", "one of you") for part in path):
        nodes = [{"node": "User", "text": "you", "id": "you"}, *nodes]
    handles = [f"{part['node']} {part['id']}" for part in nodes]
    drawn: list[dict[str, Any]] = [
        {"node": handle, "label": part["node"], "properties": {"title": part["text"]}}
        for handle, part in zip(handles, nodes, strict=True)
    ]
    return drawn + [
        {"relationship": f"{a}→{b}", "from": a, "to": b, "type": "", "properties": {}}
        for a, b in pairwise(handles)
    ]
