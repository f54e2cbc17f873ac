"""The OpenAPI document, in the form that generators of clients understand."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from flask import request
from flask.typing import ResponseReturnValue
from flask_openapi3 import OpenAPI

from api.access import NEEDED
from api.answer_schemas import ProblemAnswer
from api.errors import PROBLEM
from api.inputs import CHECKS_ITSELF
from api.keys import OF_SUBJECTS
from api.metrics import template
from api.schemas import for_generators

SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key with the scope; a server without keys asks for none.",
    },
    "key": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "The same key in a header of its own.",
    },
    "subject": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Subject",
        "description": "Beside a key made with `--signed`: a token for the user whom it is about.",
    },
}


def operation_name(*, name: str, **_: Any) -> str:
    """The id of an operation, which becomes the name of a client's function: that of the view."""
    return name


def described(status: int) -> dict[str, Any]:
    """What the document says of an answer that is a problem, with this status."""
    schema = {"$ref": f"#/components/schemas/{ProblemAnswer.__name__}"}
    return {
        "description": HTTPStatus(status).phrase,
        "content": {PROBLEM: {"schema": schema}},
    }


def finish(app: OpenAPI) -> None:
    """To be called after all routes: serve the document, and let views check their own input."""
    document = app.api_doc
    components = document["components"]
    components["securitySchemes"] = SCHEMES
    for schema in components["schemas"].values():
        for_generators(schema)
    needed = {(method, template(rule)): scopes for (method, rule), scopes in NEEDED.items()}
    for route, operations in document["paths"].items():
        for method, operation in operations.items():
            operation["security"] = _ways(needed.get((method.upper(), route), ()))

    def served() -> ResponseReturnValue:
        servers = [{"url": request.script_root or "/"}]
        return app.json.response({**document, "servers": servers})

    app.view_functions["openapi.doc_url"] = served
    for endpoint, view in app.view_functions.items():
        own = getattr(view, "__wrapped__", None)
        if own is not None and getattr(own, CHECKS_ITSELF, False):
            app.view_functions[endpoint] = own


def _ways(scopes: Sequence[str]) -> list[dict[str, list[str]]]:
    """What opens an operation: any one of these. Without scopes it is open to everybody."""
    ways = [(scope, {header: [scope]}) for scope in scopes for header in ("bearer", "key")]
    visitors = [way | {"subject": []} for scope, way in ways if scope in OF_SUBJECTS]
    return [*(way for _, way in ways), *visitors]
