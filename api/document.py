"""The OpenAPI document, in the form that generators of clients understand."""

from typing import Any

from flask import request
from flask.typing import ResponseReturnValue
from flask_openapi3 import OpenAPI

from api.inputs import CHECKS_ITSELF
from api.schemas import for_generators


def operation_name(*, name: str, **_: Any) -> str:
    """The id of an operation, which becomes the name of a client's function: that of the view."""
    return name


def finish(app: OpenAPI) -> None:
    """To be called after all routes: serve the document, and let views check their own input."""
    document = app.api_doc
    components = document["components"]
    if not components.get("securitySchemes"):
        components.pop("securitySchemes", None)
    for schema in components["schemas"].values():
        for_generators(schema)

    def served() -> ResponseReturnValue:
        servers = [{"url": request.script_root or "/"}]
        return app.json.response({**document, "servers": servers})

    app.view_functions["openapi.doc_url"] = served
    for endpoint, view in app.view_functions.items():
        own = getattr(view, "__wrapped__", None)
        if own is not None and getattr(own, CHECKS_ITSELF, False):
            app.view_functions[endpoint] = own
