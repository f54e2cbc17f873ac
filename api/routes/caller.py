"""What the caller may do, so that a page shows no more than that."""

from typing import Any

from flask import g
from flask_openapi3 import OpenAPI, Tag

from api.inputs import asked_from_here, checked
from api.keys import SCOPES
from api.operate_schemas import AccessAnswer
from api.schemas import NoQuery

TAG = Tag(name="access", description="What a key may do.")


def register(app: OpenAPI) -> None:
    """Add the route."""

    @app.get("/v1/access", tags=[TAG], summary="What you may do", responses={200: AccessAnswer})
    @checked
    def get_access(query: NoQuery) -> dict[str, Any]:
        del query
        if (key := g.get("key")) is not None:
            return {"scopes": list(key.scopes)}
        return {"scopes": list(SCOPES) if asked_from_here() else ["recommend", "explore"]}
