"""How users are grouped."""

from typing import Any

from flask_openapi3 import OpenAPI, Tag

from api.bootstrap import now
from api.inputs import checked
from api.schemas import SegmentsAnswer, SegmentsQuery
from recommender.live import Live
from recommender.segment_view import of_user, overview

TAG = Tag(name="segments", description="How users are grouped, and what lists are made for.")


def register(app: OpenAPI, live: Live) -> None:
    """Add the route."""

    @app.get(
        "/v1/segments",
        tags=[TAG],
        summary="The segments, or those of one user",
        responses={200: SegmentsAnswer},
    )
    @checked
    def segments(query: SegmentsQuery) -> dict[str, Any]:
        recommender = live.recommender()
        found = overview(recommender)
        if query.user is None:
            return found
        one = of_user(recommender, query.user, now=now())
        kept = [s for s in found["segments"] if s["name"] in one["segments"]]
        return found | {"segments": kept, "user": one["user"], "profile": one["profile"]}
