"""`nichegraph demo`: the whole way once, on a made-up catalogue."""

from dataclasses import replace
from typing import Annotated

import typer

from api.bootstrap import now, open_home, open_live, open_store
from api.cli.output import progress, say, step
from api.cli.recommend import show_answer
from api.cli.refresh import publish
from api.settings import Settings, load_settings
from graph.errors import InputError
from recommender.ranking.request import Request

SHOWN_USERS = 3


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("demo")(demo)


def demo(
    ctx: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Stop before serving.")] = False,
    events: Annotated[int, typer.Option(min=200, help="Number of events.")] = 20_000,
    seed: Annotated[int, typer.Option(help="The same seed makes the same catalogue.")] = 0,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
) -> None:
    """Try everything once, with a made-up catalogue.

    Loads it, refreshes, recommends with reasons, then serves.
    Everything happens in the folder `demo` inside the home.

    \b
    nichegraph demo
    nichegraph demo --once
    """
    settings = load_settings(ctx.obj, port=port)
    if settings.store != "embedded":
        raise InputError(
            "the demo writes made-up data, so it only uses an embedded store; unset the setting "
            "store"
        )
    settings = settings.model_copy(update={"home": settings.home / "demo"})
    users = _load(settings, events, seed)
    release = publish(settings, "default", seed)
    say(f"release {release} is served from {settings.home}")
    recommender = open_live(settings).recommender()
    request = Request(n=5)
    for user in users:
        answer = recommender.recommend([replace(request, user=user)], now=now())[0]
        say("")
        show_answer(f"for {user}", answer, as_json=False)
    if not once:
        base = f"http://{settings.host}:{settings.port}"
        say(f"\nLook at it: {base}/#/recommend?user={users[0]}")
        say(f"Ask for more: curl {base}/v1/users/{users[0]}/recommendations")
        say(f"All routes: {base}/openapi/ (Ctrl-C stops)")
        from api.server import serve

        serve(settings)


def _load(settings: Settings, events: int, seed: int) -> tuple[str, ...]:
    """Fill the store; a few of its users."""
    from loaders.synthetic import generate

    catalogue = generate(events, seed)
    open_home(settings, make=True)
    store = open_store(settings)
    done = 0
    try:
        with progress("load") as tell:
            for number, batch in enumerate(catalogue.batches()):
                store.apply(batch, name=f"demo {events} {seed} {number}")
                if "events" in batch:
                    done += batch["events"].num_rows
                    tell(done, events, done)
        counts = store.counts()
    finally:
        store.close()
    step(f"the catalogue has {counts['items']:,} items, {counts['events']:,} events")
    return catalogue.answers.users[:SHOWN_USERS]
