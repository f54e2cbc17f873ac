"""Lists that are not about a person: similar items, a tag's items, what is popular or new."""

import hashlib
from dataclasses import asdict

import orjson
from flask import Response, request
from flask_openapi3 import OpenAPI, Tag

from api.answer_schemas import ListAnswer, RisingAnswer
from api.bootstrap import now
from api.inputs import JSON, checked
from api.limiter import charge
from api.metrics import count_answers
from api.new_item import NewItemBody
from api.schemas import ItemPath, ListQuery, PagedQuery, TagQuery, TrendingQuery
from api.settings import Settings
from recommender.ranking.request import Request
from recommender.serving.live import Live
from recommender.serving.recommend import Recommender
from recommender.serving.results import Results
from recommender.serving.trending import rising, trending

TAG = Tag(
    name="items",
    description="Items similar to an item, items of a tag, and lists of the whole catalogue.",
)


def register(app: OpenAPI, live: Live, results: Results, settings: Settings) -> None:
    """Add the routes."""

    def listed(recommender: Recommender, request: Request) -> Response:
        return public(results.answers(recommender, [request], now=now())[0], settings)

    @app.get(
        "/v1/items/<id:item>/similar",
        tags=[TAG],
        summary="Items similar to an item",
        responses={200: ListAnswer},
    )
    @checked
    def similar_items(path: ItemPath, query: PagedQuery) -> Response:
        charge(query.n)
        recommender = live.recommender()
        arguments = (path.item, query.n, query.conditions(), query.cursor)
        return listed(recommender, recommender.asking_similar(*arguments))

    @app.post(
        "/v1/items/similar",
        tags=[TAG],
        summary="Items similar to one that the catalogue does not have yet",
        responses={200: ListAnswer},
    )
    @checked
    def similar_to_new_item(body: NewItemBody) -> bytes:
        charge(body.n)
        answers = live.recommender().recommend_json([body.request()], now=now())
        count_answers(answers)
        return answers[0]

    @app.get(
        "/v1/tags/items", tags=[TAG], summary="Items that carry a tag", responses={200: ListAnswer}
    )
    @checked
    def tag_items(query: TagQuery) -> Response:
        charge(query.n)
        recommender = live.recommender()
        arguments = (query.name, query.n, query.conditions(), query.cursor)
        return listed(recommender, recommender.asking_tag_items(*arguments))

    @app.get(
        "/v1/popular", tags=[TAG], summary="The most popular items", responses={200: ListAnswer}
    )
    @checked
    def popular_items(query: PagedQuery) -> Response:
        charge(query.n)
        recommender = live.recommender()
        arguments = (query.n, query.conditions(), query.cursor)
        return listed(recommender, recommender.asking_popular(*arguments))

    @app.get(
        "/v1/trending",
        tags=[TAG],
        summary="The items that most people chose lately",
        description="A score is how many people chose the item; older choices count less. Items "
        "that fewer than 20 people chose are left out.",
        responses={200: ListAnswer},
    )
    @checked
    def trending_items(query: TrendingQuery) -> Response:
        charge(query.n)
        made = trending(live.recommender(), query.n, query.conditions(), query.window, now=now())
        return public(orjson.dumps(made.to_json()), settings)

    @app.get(
        "/v1/trending/tags",
        tags=[TAG],
        summary="The tags that more people choose than usual",
        responses={200: RisingAnswer},
    )
    @checked
    def rising_tags(query: TrendingQuery) -> Response:
        charge(query.n)
        recommender = live.recommender()
        tags = rising(recommender, query.n, query.conditions(), query.window, now=now())
        content = {
            "tags": [asdict(tag) for tag in tags],
            "window": query.window,
            "release": recommender.release.name,
        }
        return cacheable(orjson.dumps(content), settings)

    @app.get("/v1/latest", tags=[TAG], summary="The newest items", responses={200: ListAnswer})
    @checked
    def latest_items(query: ListQuery) -> Response:
        charge(query.n)
        answer = live.recommender().latest(query.n, query.conditions(), now=now())
        return public(orjson.dumps(answer.to_json()), settings)


def public(content: bytes, settings: Settings) -> Response:
    """A list about no person: caches may keep it a while, then ask whether it is still valid."""
    count_answers([content])
    return cacheable(content, settings)


def cacheable(content: bytes, settings: Settings) -> Response:
    """An answer about no person; see `public`."""
    response = Response(content, content_type=JSON)
    response.headers["Cache-Control"] = f"public, max-age={settings.public_seconds}"
    response.set_etag(hashlib.blake2b(content, digest_size=16).hexdigest())
    response.make_conditional(request)
    return response
