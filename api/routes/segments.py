"""How users are grouped, and what similar users have in common."""

from typing import Any

from flask_openapi3 import OpenAPI, Tag

from api.answer_schemas import SegmentsAnswer, SimilarUsersAnswer
from api.bootstrap import now
from api.explore_schemas import SegmentPictureAnswer
from api.inputs import about_similar_users, asked_from_here, checked, has_key
from api.schemas import CountQuery, NoQuery, SegmentsQuery, UserPath
from api.settings import Settings
from recommender.serving.live import Live
from recommender.serving.segment_view import of_user, overview, picture
from recommender.serving.similar_users import similar_users

TAG = Tag(name="segments", description="How users are grouped, and what lists are made for.")


def register(app: OpenAPI, live: Live, settings: Settings) -> None:
    """Add the routes."""

    @app.get(
        "/v1/segments",
        tags=[TAG],
        summary="The segments, or those of one user",
        responses={200: SegmentsAnswer},
    )
    @checked
    def get_segments(query: SegmentsQuery) -> dict[str, Any]:
        recommender = live.recommender()
        view = overview(recommender)
        if query.user is None:
            return view
        of_the_user = of_user(recommender, query.user, now=now())
        kept = [s for s in view["segments"] if s["name"] in of_the_user["segments"]]
        more = {key: of_the_user[key] for key in ("user", "profile", "moves", "returns")}
        return view | {"segments": kept} | more

    @app.get(
        "/v1/segments/picture",
        tags=[TAG],
        summary="A sample of users in two dimensions, by what groups them",
        responses={200: SegmentPictureAnswer},
    )
    @checked
    def get_segments_picture(query: NoQuery) -> dict[str, Any]:
        del query
        return picture(live.recommender(), named=asked_from_here() or has_key("privacy"))

    @app.get(
        "/v1/users/<id:user>/similar",
        tags=[TAG],
        summary="What the most similar users have in common; nothing that fewer than 20 share",
        responses={200: SimilarUsersAnswer},
    )
    @checked
    def get_similar_users(path: UserPath, query: CountQuery) -> dict[str, Any]:
        about_similar_users(settings)
        return similar_users(live.recommender(), path.user, query.n)
