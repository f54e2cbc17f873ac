"""Looking around in the release: searching by what somebody types."""

from typing import Any

from flask_openapi3 import OpenAPI, Tag

from api.explore_schemas import SearchAnswer, SearchQuery
from api.inputs import asked_from_here, checked
from recommender.serving.live import Live
from recommender.serving.look import search_hits

TAG = Tag(name="explore", description="Looking around in what is served.")


def register(app: OpenAPI, live: Live) -> None:
    """Add the routes."""

    @app.get(
        "/v1/search",
        tags=[TAG],
        summary="Items, users and tags by what somebody types; users for this machine only",
        responses={200: SearchAnswer},
    )
    @checked
    def search(query: SearchQuery) -> dict[str, Any]:
        kinds = list(dict.fromkeys(query.kind))
        notes = []
        if "user" in kinds and not asked_from_here():
            kinds.remove("user")
            notes.append("users are searched from this machine only, as there are no API keys")
        recommender = live.recommender()
        hits = [hit for kind in kinds for hit in search_hits(recommender, kind, query.q, query.n)]
        return {"hits": hits, "release": recommender.release.name, "notes": notes}
