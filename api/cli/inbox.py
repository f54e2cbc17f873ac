"""`nichegraph inbox`: what waits for the store, what the store refused, and how it is encrypted."""

from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from api.bootstrap import note, now, open_home, open_journal
from api.cli.output import say, show_json, show_table
from api.cli.releases import made_at
from api.settings import load_settings
from graph.errors import SettingError
from recommender.inbox import quarantine

Number = Annotated[
    int, typer.Argument(help="Number of the fact, as `nichegraph inbox list` shows it.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="What waits for the store, and what it refused.")
    for command in (list_facts, show, retry, drop, encrypt, decrypt):
        group.command("list" if command is list_facts else command.__name__)(command)
    cli.add_typer(group, name="inbox")


def list_facts(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Show what waits for the store, and what it refused.

    \b
    nichegraph inbox list
    """
    from recommender.inbox.lag import lag

    with closing(open_journal(load_settings(ctx.obj))) as journal:
        standing = lag(journal, now=now())
        refused = quarantine.aside(journal)
    if as_json:
        show_json(standing.as_dict() | {"refused": [entry.as_dict() for entry in refused]})
        return
    say(f"{standing.sequence:,} facts accepted, {standing.waiting:,} waiting for the store")
    if standing.oldest_seconds is not None:
        say(f"the oldest has been waiting for {standing.oldest_seconds:,} s")
    if standing.problem:
        say(f"the store accepts nothing: {standing.problem}")
    rows = [
        [entry.fact.sequence, entry.fact.kind, f"{made_at(entry.at)} UTC", entry.reason]
        for entry in refused
    ]
    if rows:
        show_table("", ["number", "kind", "refused", "why"], rows)


def show(ctx: typer.Context, number: Number, as_json: AsJson = False) -> None:
    """Show a refused fact with all its fields.

    \b
    nichegraph inbox show 1234
    """
    with closing(open_journal(load_settings(ctx.obj))) as journal:
        entry = quarantine.aside_at(journal, number)
    if as_json:
        show_json(entry.as_dict())
        return
    say(f"{entry.fact.kind}, taken {made_at(entry.fact.acknowledged)} UTC: {entry.reason}")
    rows: list[list[Any]] = [[name, str(value)] for name, value in entry.fact.payload.items()]
    show_table("", ["field", ""], rows)


def retry(ctx: typer.Context, number: Number) -> None:
    """Let the store try a refused fact again.

    As if it had just been sent.

    \b
    nichegraph inbox retry 1234
    """
    settings = load_settings(ctx.obj)
    with closing(open_journal(settings)) as journal:
        again = quarantine.retry(journal, number, now=now())
    note(open_home(settings), "fact retried", fact=number, again=again)
    say(f"fact {number} was sent again, as number {again}")


def drop(ctx: typer.Context, number: Number) -> None:
    """Forget a refused fact for good.

    A running server forgets it when it starts again.

    \b
    nichegraph inbox drop 1234
    """
    settings = load_settings(ctx.obj)
    with closing(open_journal(settings)) as journal:
        quarantine.drop(journal, number)
    note(open_home(settings), "fact dropped", fact=number)
    say(f"fact {number} was dropped")


def encrypt(
    ctx: typer.Context,
    old_key: Annotated[
        Path | None,
        typer.Option(help="File with the key it is encrypted with now, to change the key."),
    ] = None,
) -> None:
    """Encrypt the inbox with the key of the setting journal_key_file.

    For an inbox from before the setting. No server may run. What is encrypted already stays as it
    is. If the command is killed, nothing is lost; call it again.

    \b
    (umask 077; openssl rand -hex 32 > /etc/nichegraph/journal.key)
    export NICHEGRAPH_JOURNAL_KEY_FILE=/etc/nichegraph/journal.key
    nichegraph inbox encrypt
    """
    from recommender.releases.journal_key import read_key

    _rewrite(ctx, "encrypted", read_key(old_key) if old_key else None)


def decrypt(ctx: typer.Context) -> None:
    """Write the inbox in the clear again.

    The setting journal_key_file still names its key; remove it from the settings afterwards. No
    server may run.

    \b
    nichegraph inbox decrypt
    """
    _rewrite(ctx, "decrypted", None)


def _rewrite(ctx: typer.Context, becomes: str, old: str | None) -> None:
    from recommender.inbox.encrypting import rewrite
    from recommender.releases.journal_key import key_of

    home = open_home(load_settings(ctx.obj))
    key = key_of(home)
    if key is None:
        raise SettingError("setting 'journal_key_file' is missing: it names the file with the key")
    keys = (old, key) if becomes == "encrypted" else (key, None)
    done = rewrite(home.inbox, *keys)
    if done:
        note(home, f"inbox {becomes}", files=done)
    say(f"{becomes}: {', '.join(done)}" if done else f"there was nothing to be {becomes}")
