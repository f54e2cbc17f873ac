"""`nichegraph data`: everything that is known about a person."""

from contextlib import closing
from typing import Annotated, Any

import typer

from api.bootstrap import note, now, open_home, open_journal, open_live, open_store
from api.cli.output import Encrypt, json_bytes, show_json, show_text
from api.settings import Settings, load_settings
from graph.errors import ReleaseError
from graph.ids import as_id


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("data")(data)


def data(
    ctx: typer.Context,
    user: Annotated[str, typer.Argument(help="Id of the user.")],
    encrypt: Encrypt = None,
) -> None:
    """Print everything that is known about a user as JSON.

    For the person, on request.
    Attributes, consent, events, relations, what waits in the inbox, and the list that they are
    shown with its reasons.

    \b
    nichegraph data alice
    nichegraph data alice --encrypt age1… > alice.age
    """
    if encrypt is not None:
        from recommender.releases.age import encrypted_text, recipient_of

        recipient_of(encrypt)  # before anything is asked of the store
    known = gather(load_settings(ctx.obj), as_id(user))
    if encrypt is None:
        show_json(known)
    else:
        show_text(encrypted_text(json_bytes(known), encrypt))


def gather(settings: Settings, user: str) -> dict[str, Any]:
    """All that is known of a user; the audit log notes that it was asked for.

    Raises:
        StoreError: the store does not answer.
    """
    from recommender.overlay.personal import personal_data
    from recommender.overlay.state import pseudonym
    from recommender.ranking.request import Request

    home = open_home(settings)
    with closing(open_store(settings)) as store, closing(open_journal(settings)) as journal:
        known = personal_data(store, journal, user, settings.agreed)
    try:
        shown = open_live(settings).recommender().recommend([Request(user=user)], now=now())[0]
        known["shown"] = shown.to_json()
    except ReleaseError:
        known["shown"] = None
    note(home, "data of a person", person=pseudonym(home, user))
    return known
