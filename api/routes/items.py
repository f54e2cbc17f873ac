"""Lists that are not about a person: similar items, a tag's items, what is popular or new."""

from typing import Any

from flask_openapi3 import OpenAPI, Tag

from api.bootstrap import now
from api.inputs import checked
from api.new_item import NewItemBody
from api.schemas import ItemPath, ListAnswer, ListQuery, PagedQuery, TagQuery
from recommender.serving.live import Live

TAG = Tag(name="items", description="The catalogue, seen from an item, a tag or as a whole.")


def register(app: OpenAPI, live: Live) -> None:
    """Add the routes."""

    @app.get(
        "/v1/items/<id:item>/similar",
        tags=[TAG],
        summary="What is like an item",
        responses={200: ListAnswer},
    )
    @checked
    def similar_items(path: ItemPath, query: PagedQuery) -> dict[str, Any]:
        arguments = (path.item, query.n, query.conditions(), query.cursor)
        return live.recommender().similar(*arguments, now=now()).to_json()

    @app.post(
        "/v1/items/similar",
        tags=[TAG],
        summary="What is like an item that the catalogue does not have yet",
        responses={200: ListAnswer},
    )
    @checked
    def similar_to_new_item(body: NewItemBody) -> dict[str, Any]:
        return live.recommender().recommend([body.request()], now=now())[0].to_json()

    @app.get(
        "/v1/tags/items", tags=[TAG], summary="Items that carry a tag", responses={200: ListAnswer}
    )
    @checked
    def tag_items(query: TagQuery) -> dict[str, Any]:
        arguments = (query.name, query.n, query.conditions(), query.cursor)
        return live.recommender().tag_items(*arguments, now=now()).to_json()

    @app.get("/v1/popular", tags=[TAG], summary="What many chose", responses={200: ListAnswer})
    @checked
    def popular_items(query: PagedQuery) -> dict[str, Any]:
        arguments = (query.n, query.conditions(), query.cursor)
        return live.recommender().popular(*arguments, now=now()).to_json()

    @app.get("/v1/latest", tags=[TAG], summary="The newest items", responses={200: ListAnswer})
    @checked
    def latest_items(query: ListQuery) -> dict[str, Any]:
        return live.recommender().latest(query.n, query.conditions(), now=now()).to_json()
