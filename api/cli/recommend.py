"""`nichegraph recommend` and `similar`: ask the current release."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from api import strict_json
from api.bootstrap import note, now, open_home, open_live
from api.cli.output import Encrypt, say, show_json, show_table
from api.settings import load_settings
from graph.ids import as_id
from recommender.ranking.filter_language import parse_conditions
from recommender.ranking.request import NEUTRAL, Answer, Filter, NewItem, Request
from recommender.ranking.request import session as weighted

Form = Literal["parquet", "jsonl"]

Count = Annotated[int, typer.Option("-n", "--n", min=1, max=200, help="How many items.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Domains = Annotated[
    list[str] | None, typer.Option("--domain", help="Only items of this domain; may be repeated.")
]
Cursor = Annotated[str | None, typer.Option("--cursor", help="`next` of the previous page.")]
Tags = Annotated[
    list[str] | None,
    typer.Option("--tag", help="Only items with this tag; may be repeated, and all must match."),
]


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    cli.command("recommend")(recommend)
    cli.command("similar")(similar)


def recommend(
    ctx: typer.Context,
    user: Annotated[str | None, typer.Argument(help="Id of a user, known or not.")] = None,
    n: Count = 20,
    domain: Domains = None,
    tag: Tags = None,
    where: Annotated[
        str | None, typer.Option("--filter", help="Conditions as JSON, see docs/requests.md.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Leave out this item; may be repeated.")
    ] = None,
    session: Annotated[
        list[str] | None, typer.Option(help="An item of the running session; may be repeated.")
    ] = None,
    include_seen: Annotated[
        bool, typer.Option("--include-seen", help="Also show items that the user already knows.")
    ] = False,
    alike: Annotated[
        bool,
        typer.Option("--alike", help="Items that at least 20 of the most similar users share."),
    ] = False,
    profile: Annotated[
        str | None, typer.Option(help="Profile of reranking, such as neutral.")
    ] = None,
    long_tail: Annotated[
        float | None,
        typer.Option(
            "--long-tail",
            min=0,
            max=1,
            help="How much long tail: 0 to 1 along the trade-off curve.",
        ),
    ] = None,
    interests: Annotated[
        bool,
        typer.Option(
            "--interests", help="Show each of several interests in proportion, with its name."
        ),
    ] = False,
    context: Annotated[
        list[str] | None,
        typer.Option(help="Context of the request, such as device=phone; may be repeated."),
    ] = None,
    cursor: Cursor = None,
    everybody: Annotated[bool, typer.Option("--all", help="Write lists for all users.")] = False,
    form: Annotated[
        Form, typer.Option("--format", help="Format of the file for all users.")
    ] = "parquet",
    out: Annotated[
        Path | None, typer.Option("--out", help="File for the lists of all users.")
    ] = None,
    encrypt: Encrypt = None,
    as_json: AsJson = False,
) -> None:
    """Recommend items to a user, with reasons.

    With --all, write lists for all users to a file.

    \b
    nichegraph recommend alice
    nichegraph recommend alice -n 5 --domain baroque --json
    nichegraph recommend somebody-new --session bwv-1004
    nichegraph recommend --all --format parquet --out lists.parquet
    nichegraph recommend --all --out lists.parquet.age --encrypt age1…
    """
    if everybody != (user is None) or everybody != (out is not None):
        raise typer.BadParameter("give a user, or --all --out FILE")
    if encrypt is not None and not everybody:
        raise typer.BadParameter("--encrypt is for the file that --all writes")
    from api.cli.explore import parameters

    settings = load_settings(ctx.obj)
    recommender = open_live(settings).recommender()
    if out is not None:
        from recommender.serving.list_files import write_lists

        count = write_lists(
            recommender, out, form, n=n, profile=profile, recipient=encrypt, now=now()
        )
        note(open_home(settings), "lists of all users", lists=count)
        if as_json:
            show_json({"lists": count, "file": str(out)})
        else:
            say(f"{count:,} lists written to {out}")
        return
    user = as_id(user or "")
    conditions = parse_conditions(strict_json.parse((where or "{}").encode(), "--filter"))
    request = Request(
        user=None if alike else user,
        similar_to=user if alike else None,
        items=weighted([as_id(item) for item in session or []]),
        n=n,
        filter=Filter(
            domains=tuple(domain or ()), tags_all=tuple(tag or ()), all_of=(conditions.filter,)
        ),
        exclude=(*map(as_id, exclude or ()), *conditions.exclude),
        include_seen=include_seen or conditions.seen == "include",
        only_seen=conditions.seen == "only",
        profile=profile,
        long_tail=long_tail,
        interests=interests,
        context=parameters(context or [], "--context"),
        cursor=cursor,
    )
    answer = recommender.recommend([request], now=now())[0]
    show_answer(f"for {user}", answer, as_json=as_json)


def similar(
    ctx: typer.Context,
    item: Annotated[str | None, typer.Argument(help="Id of an item.")] = None,
    n: Count = 20,
    domain: Domains = None,
    tag: Tags = None,
    new: Annotated[
        bool,
        typer.Option(
            "--new", help="For an item that is not in the catalogue, with these tags and domains."
        ),
    ] = False,
    title: Annotated[str | None, typer.Option("--title", help="Title of the new item.")] = None,
    related: Annotated[
        list[str] | None,
        typer.Option(
            "--related", help="Id of an item that the new one is related to; may be repeated."
        ),
    ] = None,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """Find items similar to an item.

    With --new, to one that the catalogue does not have yet.

    \b
    nichegraph similar bwv-1004 -n 10
    nichegraph similar --new --title "Cello suites" --tag baroque --tag strings
    nichegraph similar --new --domain jazz --related kind-of-blue
    """
    if new != (item is None):
        raise typer.BadParameter("give an item, or --new with what is known about it")
    if not new and (title is not None or related):
        raise typer.BadParameter("--title and --related describe a new item; add --new")
    domains, tags = tuple(domain or ()), tuple(tag or ())
    recommender = open_live(load_settings(ctx.obj)).recommender()
    if item is None:
        known = NewItem(title or "", tags, domains, tuple(map(as_id, related or ())))
        request = Request(new_item=known, n=n, profile=NEUTRAL, cursor=cursor)
        answer = recommender.recommend([request], now=now())[0]
    else:
        wanted = Filter(domains=domains, tags_all=tags)
        answer = recommender.similar(as_id(item), n, wanted, cursor, now=now())
    show_answer(f"like {item or 'the new item'}", answer, as_json=as_json)


def show_answer(title: str, answer: Answer, *, as_json: bool) -> None:
    """Print an answer as a table, or as the JSON the server gives."""
    if as_json:
        show_json(answer.to_json())
        return
    rows: list[list[Any]] = [
        [
            rank,
            entry.item,
            entry.title,
            entry.score,
            entry.reasons[0].text if entry.reasons else entry.source,
        ]
        for rank, entry in enumerate(answer.items, 1)
    ]
    columns = ["", "item", "title", "score", "why"]
    if any(entry.interest for entry in answer.items):
        columns.append("interest")
        rows = [[*row, entry.interest or ""] for row, entry in zip(rows, answer.items, strict=True)]
    show_table(title, columns, rows)
    for remark in (answer.fallback, *answer.notes):
        if remark:
            say(f"note: {remark}")
    say(f"release {answer.release}, profile {answer.profile}, from {answer.served_by}")
