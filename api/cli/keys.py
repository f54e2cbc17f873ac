"""`nichegraph keys`: API keys, and what each may ask."""

from typing import Annotated, Any

import typer

from api.bootstrap import note, now, open_home
from api.cli.output import say, show_json, show_table
from api.cli.releases import made_at
from api.keys import SCOPES, KeyFile, Made
from api.settings import load_settings

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Number = Annotated[str, typer.Argument(help="Id of the key, as `keys list` shows it.")]


def register(cli: typer.Typer) -> None:
    """Add the command group."""
    group = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="API keys, and what each may do: create, list, revoke, rotate.",
    )
    group.command("create")(create)
    group.command("list")(show_all)
    group.command("revoke")(revoke)
    group.command("rotate")(rotate)
    cli.add_typer(group, name="keys")


def create(
    ctx: typer.Context,
    scope: Annotated[list[str], typer.Option(help=f"One of {', '.join(SCOPES)}; may be repeated.")],
    name: Annotated[str, typer.Option(help="What the key is for.")] = "",
    days: Annotated[
        float | None,
        typer.Option(min=0.001, help="For how many days the key is valid; default: without end."),
    ] = None,
    signed: Annotated[
        bool,
        typer.Option("--signed", help="Each request must carry a token for the user it is about."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a key; it is shown once and stored nowhere.

    \b
    nichegraph keys create --scope recommend --scope ingest --name shop
    nichegraph keys create --scope track --name page --days 90
    nichegraph keys create --scope recommend --scope track --signed --name browsers
    """
    home = open_home(load_settings(ctx.obj))
    made = KeyFile(home.keys).create(scope, now=now(), name=name, days=days, signed_subjects=signed)
    note(home, "key created", key=made.key.id, scopes=made.key.scopes)
    _show(made, as_json=as_json)


def show_all(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the keys, without their secrets.

    \b
    nichegraph keys list
    """
    moment = now()
    keys = KeyFile(open_home(load_settings(ctx.obj)).keys).keys().values()
    if as_json:
        show_json({"keys": [key.public() | {"holds": key.holds(moment)} for key in keys]})
        return
    rows: list[list[Any]] = [
        [
            key.id,
            key.name,
            ", ".join(key.scopes),
            made_at(key.created_at),
            made_at(key.expires_at),
            "yes" if key.holds(moment) else "revoked" if key.revoked_at is not None else "expired",
        ]
        for key in keys
    ]
    show_table("", ["key", "name", "scopes", "made", "expires", "holds"], rows)


def revoke(ctx: typer.Context, key: Number) -> None:
    """Make a key invalid at once, in every worker.

    \b
    nichegraph keys revoke 1f2e3d4c
    """
    home = open_home(load_settings(ctx.obj))
    gone = KeyFile(home.keys).revoke(key, now=now())
    note(home, "key revoked", key=gone.id)
    say(f"key {gone.id} no longer works")


def rotate(
    ctx: typer.Context,
    key: Number,
    overlap: Annotated[
        float, typer.Option(min=0, help="Hours for which the old key stays valid.")
    ] = 24.0,
    as_json: AsJson = False,
) -> None:
    """Make a key in place of another, which stays valid for a while.

    \b
    nichegraph keys rotate 1f2e3d4c --overlap 2
    """
    home = open_home(load_settings(ctx.obj))
    made = KeyFile(home.keys).rotate(key, now=now(), overlap=round(overlap * 3600))
    note(home, "key rotated", key=key, new=made.key.id)
    _show(made, as_json=as_json)


def _show(made: Made, *, as_json: bool) -> None:
    if as_json:
        secrets = {"secret": made.secret, "signing_secret": made.signing}
        show_json(made.key.public() | secrets)
        return
    say(f"key {made.key.id} ({', '.join(made.key.scopes)}); it is shown only now:")
    say(made.secret)
    if made.signing is not None:
        say("secret for subject tokens, for your server alone:")
        say(made.signing)
