"""`nichegraph recommend` and `similar`: ask the current release."""

from typing import Annotated, Any

import typer

from api.bootstrap import now, open_live
from api.cli.output import say, show_json, show_table
from api.settings import load_settings
from recommender.request import Answer, Filter, Request

Count = Annotated[int, typer.Option("-n", "--n", min=1, max=200, help="How many items.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Domains = Annotated[
    list[str] | None, typer.Option("--domain", help="Only of this domain; may be repeated.")
]
Tags = Annotated[
    list[str] | None, typer.Option("--tag", help="Only with this tag; all must be there.")
]


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    cli.command("recommend")(recommend)
    cli.command("similar")(similar)


def recommend(
    ctx: typer.Context,
    user: Annotated[str, typer.Argument(help="Id of a user, known or not.")],
    n: Count = 20,
    domain: Domains = None,
    tag: Tags = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Not this item; may be repeated.")
    ] = None,
    session: Annotated[
        list[str] | None, typer.Option(help="An item of the running session; may be repeated.")
    ] = None,
    include_seen: Annotated[
        bool, typer.Option("--include-seen", help="Also what the user knows.")
    ] = False,
    profile: Annotated[str | None, typer.Option(help="Of reranking, such as neutral.")] = None,
    as_json: AsJson = False,
) -> None:
    """What to show a user, and why.

    \b
    nichegraph recommend alice
    nichegraph recommend alice -n 5 --domain baroque --json
    nichegraph recommend somebody-new --session bwv-1004
    """
    request = Request(
        user=user,
        items=dict.fromkeys(session or [], 1.0),
        n=n,
        filter=Filter(domains=tuple(domain or ()), tags_all=tuple(tag or ())),
        exclude=tuple(exclude or ()),
        include_seen=include_seen,
        profile=profile,
    )
    recommender = open_live(load_settings(ctx.obj)).recommender()
    answer = recommender.recommend([request], now=now())[0]
    show_answer(f"for {user}", answer, as_json=as_json)


def similar(
    ctx: typer.Context,
    item: Annotated[str, typer.Argument(help="Id of an item.")],
    n: Count = 20,
    domain: Domains = None,
    tag: Tags = None,
    as_json: AsJson = False,
) -> None:
    """What is like an item.

    \b
    nichegraph similar bwv-1004 -n 10
    """
    wanted = Filter(domains=tuple(domain or ()), tags_all=tuple(tag or ()))
    recommender = open_live(load_settings(ctx.obj)).recommender()
    show_answer(f"like {item}", recommender.similar(item, n, wanted, now=now()), as_json=as_json)


def show_answer(title: str, answer: Answer, *, as_json: bool) -> None:
    """Print an answer as a table, or as the JSON the server gives."""
    if as_json:
        show_json(answer.to_json())
        return
    rows: list[list[Any]] = [
        [place, one.item, one.title, one.score, one.reasons[0].text if one.reasons else one.source]
        for place, one in enumerate(answer.items, 1)
    ]
    show_table(title, ["", "item", "title", "score", "why"], rows)
    for note in (answer.fallback, *answer.notes):
        if note:
            say(f"note: {note}")
    say(f"release {answer.release}, profile {answer.profile}, from {answer.served_by}")
