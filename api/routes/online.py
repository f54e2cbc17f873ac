"""How often what was shown is clicked."""

from typing import Any

from flask_openapi3 import OpenAPI, Tag

from api.answer_schemas import OnlineAnswer
from api.bootstrap import now
from api.inputs import checked
from api.schemas import OnlineQuery
from recommender.inbox.click_rates import click_rates
from recommender.inbox.feedback import SECONDS_A_DAY
from recommender.inbox.journal import Journal

TAG = Tag(name="online", description="What people do with what they are shown.")


def register(app: OpenAPI, journal: Journal) -> None:
    """Add the route."""

    @app.get(
        "/v1/online",
        tags=[TAG],
        summary="Click rates by source, place, segment, release and rule",
        responses={200: OnlineAnswer},
    )
    @checked
    def online(query: OnlineQuery) -> dict[str, Any]:
        since = None if query.days is None else now() - query.days * SECONDS_A_DAY
        return click_rates(journal, since=since)
