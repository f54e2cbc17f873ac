"""`nichegraph backup` and `nichegraph restore`: a whole home in one file, and the way back."""

import itertools
import os
import shutil
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.bootstrap import home_of, note, now, on_disk_of, open_home, open_journal, open_store
from api.cli.output import Encrypt, say, show_json
from api.cli.releases import made_at
from api.keys import KeyFile
from api.settings import load_settings
from graph.errors import InputError
from recommender.releases.home import Home

if TYPE_CHECKING:
    from recommender.inbox.erasing import Erased

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Name = Annotated[Path, typer.Argument(metavar="FILE", help="The backup.")]


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    cli.command("backup")(backup)
    cli.command("restore")(restore)


def backup(
    ctx: typer.Context,
    file: Name,
    encrypt: Encrypt = None,
    as_json: AsJson = False,
) -> None:
    """Copy the whole home into one file, while servers run.

    A graph on a Neo4j server is not part of it: back that up with Neo4j's own tools.

    \b
    nichegraph backup monday.tar.gz
    nichegraph backup monday.age --encrypt age1…
    """
    from recommender.releases.backups import save

    settings = load_settings(ctx.obj)
    home = open_home(settings)
    with closing(open_journal(settings)) as journal:
        journal.last_sequence()  # if its key is wrong, this says so
    with on_disk_of(home):
        made = save(home, file, now=now(), recipient=encrypt)
    note(home, "backup", encrypted=encrypt is not None)
    if as_json:
        show_json({"file": str(file), "files": len(made.files), "bytes": made.bytes})
        return
    say(f"{len(made.files):,} files, {made.bytes:,} bytes, are in {file}")
    if settings.store != "embedded":
        say(f"the graph is on {settings.store}: back that up, too")
    if settings.erasure_log is None:
        say("it will not know who is erased from now on: set erasure_log, see docs/security.md")
    if encrypt is None:
        say("it is not encrypted, and holds what is known about people; --encrypt does that")


def restore(
    ctx: typer.Context,
    file: Name,
    identity: Annotated[Path | None, typer.Option(help="File with the private key of age.")] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the place of the home that is there.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a home from a backup.

    With --replace, whoever the present home has erased since is erased again, and its API keys stay
    as they are; the present home is kept beside the new one. If that home is lost, the setting
    erasure_log does the same for people.

    \b
    nichegraph restore monday.tar.gz --replace
    nichegraph --home elsewhere restore monday.age --identity key.txt
    """
    from recommender.releases.backups import unpack

    settings = load_settings(ctx.obj)
    home = home_of(settings)
    there = home.folder.is_dir() and any(home.folder.iterdir())
    if there and not replace:
        raise InputError(f"{home.folder} is not empty; add --replace, or name another --home")
    newer = _erased(ctx, home) if there else None
    if home.keys.exists():
        KeyFile(home.keys).keys()  # a damaged file is not to replace that of the backup
    fresh = home.folder.with_name(f"{home.folder.name}.restoring-{os.getpid()}")
    try:
        made = unpack(file, fresh, identity=identity)
        again = _made_fit(fresh, newer)
        restored = fresh / home.keys.name
        keys = home.keys if home.keys.exists() else restored  # who was shut out since stays so
        if keys.exists():
            KeyFile(restored).take_over(keys)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    kept = None
    if there:
        names = (f"{home.folder.name}.before-{second}" for second in itertools.count(now()))
        kept = next(path for path in map(home.folder.with_name, names) if not path.exists())
        home.folder.rename(kept)
    elif home.folder.is_dir():
        home.folder.rmdir()
    fresh.rename(home.folder)
    if home.audit_head is not None:  # the log begins again where the backup ended
        home.audit_head.unlink(missing_ok=True)
    note(home, "restore", made_at=made.created_at, erased_again=again)
    if as_json:
        show_json({"made_at": made.created_at, "erased_again": again, "kept": kept and str(kept)})
        return
    say(f"{home.folder} is as it was on {made_at(made.created_at)} UTC")
    say(f"{again:,} people who were erased since then were erased again; refresh now")
    if kept:
        say(f"what was there is in {kept}; remove it when you need it no more")


def _erased(ctx: typer.Context, home: Home) -> "Erased | None":
    """Who was erased from the present home, on which no server may run."""
    from recommender.inbox.drain import lease
    from recommender.inbox.erasing import erased

    with lease(home.inbox) as mine:
        if not mine:
            raise InputError(f"a server runs on {home.folder}; stop it first")
    with closing(open_journal(load_settings(ctx.obj))) as journal:
        return erased(journal)


def _made_fit(folder: Path, newer: "Erased | None") -> int:
    """Make a restored home fit its store, and erase whom `newer` knows to be erased; how many.

    A store on a server may be newer than the home. The journal must not give out the numbers of
    facts that the store has already.
    """
    from api.cli.erase import finish
    from recommender.inbox.drain import renamed_if_older, source
    from recommender.inbox.encrypting import rewrite
    from recommender.inbox.erasing import erased
    from recommender.overlay.erasure import ask, everybody
    from recommender.releases.journal_key import key_of

    settings = load_settings(folder)
    home = open_home(settings)
    key = key_of(home)
    if key is not None:
        rewrite(home.inbox, None, key)  # of a backup from before there was a key
    with closing(open_journal(settings)) as journal:
        before = erased(journal)
        with closing(open_store(settings)) as store:
            if before is not None:
                renamed_if_older(journal, store.position(source(journal)))
            users = set(everybody(store, journal, home)) if newer else set()
        people = [user for user in sorted(users) if newer and newer.knows_more(user, before)]
        for person in people:
            finish(settings, home, journal, ask(journal, home, person, now=now()))
    return len(people)
