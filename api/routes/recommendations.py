"""Lists for users, sessions and many subjects at once."""

import secrets
from collections.abc import Callable
from typing import Any

from flask import g
from flask_openapi3 import OpenAPI, Tag

from api.answer_schemas import ListAnswer, ManyAnswer, WhyAnswer
from api.bootstrap import now
from api.inputs import about_similar_users, checked
from api.limiter import charge
from api.long_requests import LongRequests
from api.metrics import count_answers, count_lists
from api.schemas import NoQuery, RecommendationsBody, UserPath, UserQuery, WhyPath
from api.settings import Settings
from graph.explore.copies import local_secret, pseudonym
from recommender.serving.answered import numbered
from recommender.serving.live import Live
from recommender.serving.results import Results
from recommender.serving.why import why

TAG = Tag(name="recommendations", description="What to show, and why.")


def register(
    app: OpenAPI, live: Live, results: Results, settings: Settings
) -> Callable[[str, UserQuery], bytes]:
    """Add the routes; returns what makes the list of a user and counts it."""
    long_requests = LongRequests(settings)

    def answered(user: str, query: UserQuery) -> bytes:
        answers = results.answers(live.recommender(), [query.request(user)], now=now())
        answer = numbered(answers[0], _number())
        count_lists([answer])
        return answer

    @app.get(
        "/v1/users/<id:user>/recommendations",
        tags=[TAG],
        summary="What to show a user; unknown users get what is popular",
        responses={200: ListAnswer},
    )
    @checked
    def recommend(path: UserPath, query: UserQuery) -> bytes:
        charge(query.n)
        answer = answered(path.user, query)
        g.answers = [answer]
        return answer

    @app.get(
        "/v1/users/<id:user>/recommendations/<id:item>/why",
        tags=[TAG],
        summary="Why an item is, or would be, shown to a user",
        responses={200: WhyAnswer},
    )
    @checked
    def explain(path: WhyPath, query: NoQuery) -> dict[str, Any]:
        del query
        explanation = why(live.recommender(), path.user, path.item, now=now())
        return _with_pseudonyms(explanation, live) if settings.console_enabled else explanation

    @app.post(
        "/v1/recommendations",
        tags=[TAG],
        summary="Lists for many subjects: users, running sessions, tags",
        responses={200: ManyAnswer},
    )
    @checked
    def recommend_to_many(body: RecommendationsBody) -> bytes:
        if any(subject.similar_to is not None for subject in body.subjects):
            about_similar_users(settings)
        requests = [subject.request() for subject in body.subjects]
        charge(sum(request.n for request in requests))
        recommender, moment = live.recommender(), now()
        answers = long_requests.answers(
            lambda some: results.answers(recommender, some, now=moment), requests
        )
        own = [numbered(answer, _number()) for answer in answers]
        count_answers(own)
        return b'{"answers":[%b]}' % b",".join(own)

    return answered


def _number() -> str:
    """What tells two equal answers apart; it is added outside the answers that are kept."""
    return secrets.token_urlsafe(8)


def _with_pseudonyms(explanation: dict[str, Any], live: Live) -> dict[str, Any]:
    """The explanation with a pseudonym for the user in its Cypher, as `POST /v1/cypher` needs."""
    secret = local_secret(live.home.explore)
    for reason in explanation["reasons"]:
        parameters = reason["cypher"]["parameters"]
        if "user" in parameters:
            parameters["user"] = pseudonym(secret, parameters["user"])
    return explanation
