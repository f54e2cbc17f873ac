"""What editors publish: writing, changing, reading and removing items."""

from typing import Any

from flask import request
from flask_openapi3 import OpenAPI

from api.bootstrap import now
from api.errors import Problem
from api.inputs import checked
from api.routes.events import TAG
from api.schemas import ItemPath
from api.write_schemas import ItemBody, ItemsBody, KnownItemAnswer, WriteAnswer
from api.writing import Answer, write
from graph.errors import NotFound, ReleaseError
from loaders.entries import Refused, check_items
from recommender.inbox.dating import Released
from recommender.inbox.facts import DELETE, PATCH, PUT, Fact, fact, item_subject
from recommender.inbox.journal import Journal
from recommender.inbox.known import item_after
from recommender.serving.known import known_item
from recommender.serving.live import Live

LONGEST_KEY = 200  # characters of an Idempotency-Key


def register(app: OpenAPI, journal: Journal, live: Live) -> None:
    """Add the routes."""

    @app.put(
        "/v1/items/<id:item>",
        tags=[TAG],
        summary="Replace an item; fields that you leave out are cleared",
        responses={202: WriteAnswer},
    )
    @checked
    def put_item(path: ItemPath, body: ItemBody) -> Answer:
        return write(journal, _facts(PUT, [_entry(path, body)]))

    @app.patch(
        "/v1/items/<id:item>",
        tags=[TAG],
        summary="Change the named fields of an item; null removes a value",
        responses={202: WriteAnswer},
    )
    @checked
    def patch_item(path: ItemPath, body: ItemBody) -> Answer:
        return write(journal, _facts(PATCH, [_entry(path, body)]))

    @app.delete(
        "/v1/items/<id:item>",
        tags=[TAG],
        summary="Remove an item and everything known about it",
        responses={202: WriteAnswer},
    )
    @checked
    def delete_item(path: ItemPath) -> Answer:
        return write(journal, [fact(DELETE, {"id": path.item})])

    @app.get(
        "/v1/items/<id:item>",
        tags=[TAG],
        summary="What is known about an item, including all acknowledged writes",
        responses={200: KnownItemAnswer},
    )
    @checked
    def get_item(path: ItemPath) -> dict[str, Any]:
        known, heard = released(live, journal)
        about = journal.facts_about(item_subject(path.item))
        facts = [row for row in about if row.sequence > heard]
        after = item_after(known(path.item), facts, path.item)
        if after is None:
            raise NotFound(f"item {path.item!r} is not known")
        return after | {"sequence": facts[-1].sequence if facts else None}

    @app.post(
        "/v1/items",
        tags=[TAG],
        summary="Replace many items",
        description="With an `Idempotency-Key` header, a request sent again within a day "
        "gets the same answer and changes nothing.",
        responses={202: WriteAnswer},
    )
    @checked
    def post_items(body: ItemsBody) -> Answer:
        return write(
            journal,
            _facts(PUT, body.items),
            listed_as="items",
            atomic=body.atomic,
            request=_request_name(),
        )


def released(live: Live, journal: Journal) -> Released:
    """What is served of items: nothing if there is no release."""
    try:
        overlay = live.recommender().overlay
    except ReleaseError:
        return Released(lambda _: None, 0)
    heard = overlay.release.heard(journal.identity())
    return Released(lambda item: known_item(overlay, item), heard)


def _request_name() -> str | None:
    name: str | None = request.headers.get("Idempotency-Key")
    if name is not None and not 1 <= len(name) <= LONGEST_KEY:
        message = f"between 1 and {LONGEST_KEY} characters"
        raise Problem(400, f"Idempotency-Key: {message}", [("Idempotency-Key", message)])
    return name


def _entry(path: ItemPath, body: ItemBody) -> dict[str, Any]:
    """The item as `check_items` takes it."""
    content = body.model_dump(exclude_unset=True)
    if content.get("id", path.item) != path.item:
        message = "the body has another id than the path"
        raise Problem(400, f"id: {message}", [("id", message)])
    return content | {"id": path.item}


def _facts(kind: str, entries: list[Any]) -> list[Fact | Refused]:
    checked_items = check_items(entries, now())
    return [item if isinstance(item, Refused) else fact(kind, item) for item in checked_items]
