"""`nichegraph rules check`: what editorial rules change and cost, before anybody sees them."""

from pathlib import Path
from typing import Annotated

import typer

from api.bootstrap import now, open_live
from api.cli.output import say, show_json, show_table
from api.settings import load_settings
from graph.errors import InputError

rules = typer.Typer(help="Editorial rules: rules.toml in the home.", no_args_is_help=True)


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    cli.add_typer(rules, name="rules")


@rules.callback()
def _group() -> None:
    """Editorial rules: rules.toml in the home."""


@rules.command("check")
def check(
    ctx: typer.Context,
    file: Annotated[Path | None, typer.Option(help="A file other than the home's.")] = None,
    users: Annotated[int, typer.Option(min=1, help="How many users to try them on.")] = 200,
    n: Annotated[int, typer.Option("-n", "--n", min=1, max=200, help="Length of lists.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Seed for drawing the users.")] = 0,
    context: Annotated[
        list[str] | None, typer.Option(help="Context as in a request: device=phone.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Try rules on a sample of users; nothing is changed.

    \b
    nichegraph rules check
    nichegraph rules check --file spring.toml --context device=phone
    """
    from api.cli.explore import parameters
    from recommender.serving.rules_check import check_rules, without_effect
    from recommender.serving.rules_file import load_rules

    if file is not None and not file.is_file():
        raise InputError(f"there is no file {file}")
    live = open_live(load_settings(ctx.obj))
    recommender = live.recommender()
    read = load_rules(file or live.home.rules)
    rows = check_rules(
        recommender, read, users=users, n=n, now=now(), seed=seed,
        context=parameters(context or [], "--context"),
    )  # fmt: skip
    notes = without_effect(recommender, read, now=now())
    if as_json:
        show_json({"rules": rows, "notes": notes})
        return
    show_table("", list(rows[0]), [list(row.values()) for row in rows])
    for note in notes:
        say(f"note: {note}")
    say(f"{len(read)} rules; cost is the share of NDCG lost, by the release's own scores")
