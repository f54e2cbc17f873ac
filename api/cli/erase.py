"""`nichegraph erase`: forget a person."""

import difflib
import time
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from api.bootstrap import now, open_carrier, open_home, open_journal, open_server, open_store
from api.cli.output import say, show_json
from api.cli.releases import made_at
from api.settings import Settings, load_settings
from graph.errors import NotFound, StoreAway
from graph.ids import as_id
from recommender.inbox.facts import user_subject
from recommender.overlay.state import was_erased
from recommender.releases.home import Home

if TYPE_CHECKING:
    from recommender.inbox.journal import Journal

WAIT_SECONDS = 60.0  # to wait for a running server's drainer


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("erase")(erase)


def erase(
    ctx: typer.Context,
    user: Annotated[str, typer.Argument(help="Id of the user.")],
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Erase nothing; search every file and the store for the id."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Forget a user, everywhere in the home.

    Running servers, the inbox, the store, the copies for exploring, rejects and reports forget
    them at once; releases at the next refresh. An unknown id is an error, which names similar ids.
    With --verify, a short id may also match other things that are written alike.

    \b
    nichegraph erase alice
    nichegraph refresh
    nichegraph erase alice --verify
    """
    from recommender.inbox.erasing import receipt
    from recommender.inbox.joining import own_name
    from recommender.overlay.erasure import ask

    settings = load_settings(ctx.obj)
    user = as_id(user)
    home = open_home(settings)
    if verify:
        _verify(settings, home, user, as_json)
        return
    with closing(open_journal(settings)) as journal:
        user = own_name(journal, user)
        _check_known(settings, home, journal, user)
        sequence = ask(journal, home, user, now=now())
        finish(settings, home, journal, sequence)
        done = receipt(journal, sequence)
    events = sum(step.count for step in done.steps if step.location == "store")
    if as_json:
        show_json({"user": user, "events_erased": events, **done.as_dict()})
        return
    say(f"{user} was erased, with {events:,} events; refresh to learn without them")
    for step in done.steps:
        say(f"  {made_at(step.at)} UTC  {step.location}")


def finish(settings: Settings, home: Home, journal: "Journal", sequence: int) -> None:
    """Carry an erasure to its end, or wait until the drainer of a running server has done so.

    Raises:
        StoreAway: the server's drainer cannot reach the store; it goes on by itself.
    """
    from recommender.inbox.drain import drain, lease
    from recommender.inbox.erasing import receipt
    from recommender.inbox.lag import read_state

    ends = time.monotonic() + WAIT_SECONDS
    while not receipt(journal, sequence).done:
        with lease(home.inbox) as mine:
            if mine:
                with closing(open_store(settings)) as store:
                    carry = open_carrier(settings, journal, store)
                    while not receipt(journal, sequence).done:
                        drain(journal, store, now=now, carry=carry)
                return
        if time.monotonic() > ends:
            state = read_state(home.inbox)
            raise StoreAway(
                "nothing of the user's is served any more, but the store still has their data: "
                f"{(state and state.problem) or 'the drainer is behind'}; the erasure continues, "
                f"and GET /v1/erasures/{sequence} says when it is done"
            )
        time.sleep(0.1)


def _verify(settings: Settings, home: Home, user: str, as_json: bool) -> None:
    """Say which files, and how much of a Neo4j graph, hold an id; leave with 1 if any do."""
    from recommender.overlay.spellings import search, search_encrypted, spellings

    with closing(open_journal(settings)) as journal:
        files = [*search(home.folder, user), *search_encrypted(journal, user)]
    counts = {str(file.path): file.count for file in files}
    in_graph = None
    if settings.store != "embedded":
        with closing(open_server(settings)) as server:
            in_graph = server.mentions(spellings(user).search)
    if as_json:
        show_json({"user": user, "files": counts, "neo4j": in_graph})
    else:
        for path, count in counts.items():
            say(f"{path}: {count:,} times")
        if in_graph is not None:
            say(f"Neo4j: {in_graph:,} times")
        say(
            f"{sum(counts.values()) + (in_graph or 0):,} hits in {len(files):,} files"
            f"{'' if in_graph is None else ' and the graph'}"
        )
    if files or in_graph:
        raise typer.Exit(1)


def _check_known(settings: Settings, home: Home, journal: "Journal", user: str) -> None:
    """`NotFound` for an id that neither store nor inbox has and that was not erased before."""
    if journal.facts_about(user_subject(user)) or was_erased(home, user):
        return
    with closing(open_store(settings)) as store:
        users = store.read("users").column("id").to_pylist()
    if user not in users:
        near = near_names(user, users)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "check the id"
        raise NotFound(f"there is no user {user!r}, and nothing was erased; {hint}")


def near_names(name: str, names: Sequence[str], most: int = 3) -> list[str]:
    """The names most like an unknown one; first those that differ only in case or spaces."""

    def bare(text: str) -> str:
        return "".join(text.casefold().split())

    same = [other for other in names if bare(other) == bare(name)]
    if same:
        return same[:most]
    # Only names that begin or end alike are compared letter by letter: there may be millions.
    ends = bare(name)[:2], bare(name)[-2:]
    alike = [
        other for other in names if bare(other).startswith(ends[0]) or bare(other).endswith(ends[1])
    ]
    return difflib.get_close_matches(name, alike[:20_000], most)
