"""What was published."""

from typing import Any

from flask_openapi3 import OpenAPI, Tag

from api.answer_schemas import ReleasesAnswer
from api.inputs import checked
from api.schemas import NoQuery
from recommender.releases.publishing import list_releases
from recommender.serving.live import Live

TAG = Tag(name="releases", description="What was published, oldest first.")


def register(app: OpenAPI, live: Live) -> None:
    """Add the route."""

    @app.get("/v1/releases", tags=[TAG], summary="The releases", responses={200: ReleasesAnswer})
    @checked
    def get_releases(query: NoQuery) -> dict[str, Any]:
        del query
        return {
            "releases": [
                {key: value for key, value in release.items() if key != "files"}
                for release in list_releases(live.home)
            ]
        }
