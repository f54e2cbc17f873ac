"""Errors as the outside sees them: problem+json (RFC 9457), which names the field.

{"type": "about:blank", "title": "Bad Request", "status": 400, "detail": "…",
 "instance": "/v1/…", "errors": [{"field": "n", "message": "…"}]}
"""

import secrets
from collections.abc import Mapping, Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import Any

import orjson
from flask import Flask, Response, current_app, request
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException

from api.bootstrap import now
from api.metrics import count_refused
from api.observability import log, log_failure
from graph.errors import (
    InboxFull,
    InputError,
    MissingExtra,
    NichegraphError,
    NotFound,
    ReleaseError,
    StoreError,
)
from graph.extras import missing_extra

MOST_ERRORS = 50  # named in one answer
PROBLEM = "application/problem+json"
HOME = "NICHEGRAPH_HOME"  # in the configuration of an application: the folder, as errors name it
STATUS: tuple[tuple[type[NichegraphError], int], ...] = (
    (InputError, 400),
    (NotFound, 404),
    (ReleaseError, 503),
    (StoreError, 503),
    (MissingExtra, 503),
)


class Problem(Exception):  # noqa: N818 - the word of the RFC
    """A request that is answered with a problem; `errors` holds (field, message)."""

    def __init__(self, status: int, detail: str, errors: Sequence[tuple[str, str]] = ()) -> None:
        """Say what is wrong, and where."""
        super().__init__(detail)
        self.status, self.detail, self.errors = status, detail, tuple(errors)


def problem(
    status: int,
    detail: str,
    errors: Sequence[tuple[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The response for a problem."""
    if status >= 500:
        detail = for_strangers(detail)
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": request.path,
    }
    if errors:
        document["errors"] = [{"field": field, "message": text} for field, text in errors]
    response = Response(_bytes(document), status, content_type=PROBLEM)
    if status in (429, 503):
        response.headers["Retry-After"] = "1"
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    response.headers.update(headers or {})
    return response


def for_strangers(text: str) -> str:
    """A text without the absolute path of the home; the log says it in full, once a minute."""
    folder = current_app.config.get(HOME, "")
    if not folder.startswith("/") or folder not in text:
        return text
    _log(text, now() // 60)
    return text.replace(f"{folder}/", "").replace(folder, "the home")


@lru_cache(maxsize=8)
def _log(text: str, minute: int) -> None:
    del minute  # of which each may log the text once
    log("problem", problem=text)


def from_validation(error: ValidationError) -> Problem:
    """Pydantic's errors as a problem, with fields named as the caller wrote them."""
    errors = []
    all_errors = error.errors(include_url=False, include_context=False, include_input=False)
    for fault in all_errors[:MOST_ERRORS]:
        field = ".".join(str(part) for part in fault["loc"])
        message = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            message = "there is no such field; /openapi/ lists those there are"
        location, colon, reason = message.partition(": ")
        if colon and location.startswith(f"{field.rpartition('.')[2]}."):  # within the field
            field, message = field.rpartition(".")[0] + "." + location, reason
        errors.append((field.removeprefix("."), message))
    field, message = errors[0]
    return Problem(400, f"{field}: {message}" if field else message, errors)


def register(app: Flask) -> None:
    """Answer every error of this application with a problem."""

    @app.errorhandler(Problem)
    def _problem(error: Problem) -> Response:
        return problem(error.status, error.detail, error.errors)

    @app.errorhandler(NichegraphError)
    def _ours(error: NichegraphError) -> Response:
        for note in getattr(error, "__notes__", ()):
            log("failure", error=str(error), wrote=note)
        if isinstance(error, InboxFull):
            count_refused("inbox")
        status = next((status for kind, status in STATUS if isinstance(error, kind)), 500)
        return problem(status, str(error))

    @app.errorhandler(ModuleNotFoundError)
    def _not_installed(error: ModuleNotFoundError) -> Response:
        missing = missing_extra(error)
        return _defect(error) if missing is None else problem(503, str(missing))

    @app.errorhandler(HTTPException)
    def _http(error: HTTPException) -> Response:
        status = error.code or 500
        kept = {
            name: value
            for name, value in error.get_headers()
            if name in ("Allow", "Location", "Retry-After")
        }
        return problem(status, error.description or HTTPStatus(status).phrase, headers=kept)

    @app.errorhandler(Exception)
    def _defect(error: Exception) -> Response:
        number = secrets.token_hex(6)
        rule = None if request.url_rule is None else request.url_rule.rule
        log_failure(error, number=number, method=request.method, route=rule)
        return problem(500, f"a fault in this program; the server's log says more under {number}")


def _bytes(document: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(document)
    except TypeError:  # a path that is no text
        document["instance"] = document["instance"].encode("utf-8", "replace").decode()
        document["detail"] = document["detail"].encode("utf-8", "replace").decode()
        return orjson.dumps(document)
