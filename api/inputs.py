"""From a request to checked values: unknown or repeated parameters are errors, not ignored."""

import difflib
import ipaddress
from collections.abc import Callable
from functools import cache, lru_cache, wraps
from typing import Any, get_origin, get_type_hints

import orjson
from flask import Response, g, request
from pydantic import BaseModel, ValidationError
from werkzeug.datastructures import Headers, MultiDict
from werkzeug.sansio.request import Request

from api import strict_json
from api.errors import Problem, from_validation
from api.settings import Settings

JSON = "application/json"
# Headers that show that the request comes from another machine.
PROXIES = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Prefix", "X-Real-IP")
View = Callable[..., Any]
QUERIES, LONGEST_KEPT = 256, 500  # checked queries kept for each model, and their bytes at most
NOT_KEPT = "private, no-store"  # by others
CHECKS_ITSELF = "checks_itself"  # marks views that `checked` made


def checked(view: View) -> View:
    """Give a view its `path`, `query` and `body`, checked against its annotations.

    The view returns what is to be sent as JSON, or that and a status (bytes are JSON already), or a
    finished response.
    flask-openapi3 documents the annotations. Its own validation would ignore unknown parameters and
    build a schema for every request, so `api.document.finish` removes it from these views.
    """
    models: dict[str, type[BaseModel]] = get_type_hints(view)
    query_of = query_reader(models["query"]) if "query" in models else None

    @wraps(view)
    def checked_view(**path: str) -> Response:
        """Read the parts of the request, call the view, and answer in JSON."""
        inputs: dict[str, BaseModel] = {}
        try:
            if "path" in models:
                inputs["path"] = models["path"].model_validate(path)
            if query_of is not None:
                inputs["query"] = query_of(request.query_string)
            if "body" in models:
                inputs["body"] = models["body"].model_validate(_body())
        except ValidationError as error:
            raise from_validation(error) from error
        answer = view(**inputs)
        if isinstance(answer, Response):
            return answer
        status = 200
        if isinstance(answer, tuple):
            answer, status = answer
        content = answer if isinstance(answer, bytes) else orjson.dumps(answer)
        response = Response(content, status, content_type=JSON)
        response.headers["Cache-Control"] = NOT_KEPT
        return response

    setattr(checked_view, CHECKS_ITSELF, True)
    return checked_view


@cache
def query_reader(model: type[BaseModel]) -> Callable[[bytes], Any]:
    """What reads the text of a query as this model: the same text always means the same.

    It raises a `Problem` or a `ValidationError`.
    """
    listed = _lists(model)

    @lru_cache(QUERIES)
    def kept(text: bytes) -> BaseModel:
        return model.model_validate(_query(model, listed, text))

    def read(text: bytes) -> BaseModel:
        return kept(text) if len(text) <= LONGEST_KEPT else kept.__wrapped__(text)

    return read


@lru_cache(64)
def is_loopback(address: str) -> bool:
    """Whether this is a loopback address; a host name is not one."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def asked_from_here() -> bool:
    """Whether the request comes from this machine, and nothing says that another sent it.

    Neither a proxy's header does, nor a visitor's key, which an application may pass on.
    """
    key = g.get("key")
    if key is not None and key.signing is not None:
        return False
    return is_loopback(request.remote_addr or "") and not any(
        name in request.headers for name in PROXIES
    )


def has_key(scope: str | None = None) -> bool:
    """Whether an API key let the request in; with `scope`: a key that also has this scope.

    A key with a signed subject counts as without scopes wherever the path does not name the user.
    """
    key = g.get("key")
    if key is None or scope is None:
        return key is not None
    alone = key.signing is not None and "user" not in (request.view_args or {})
    return scope in key.scopes and not alone


def from_here_or_with(scope: str) -> None:
    """A 403 unless this machine asks, or a key with this scope lets the request in."""
    if asked_from_here() or has_key(scope):
        return
    if has_key():
        raise Problem(403, f"this API key lacks the scope {scope}")
    raise Problem(
        403,
        "only this machine may ask for this; from elsewhere, send an API key with the scope "
        f"{scope}",
    )


def about_similar_users(settings: Settings) -> None:
    """A 403 unless the setting allows it and either this machine or a key for privacy asks."""
    if not settings.similar_users_enabled:
        raise Problem(403, "this is off; the setting similar_users_enabled turns it on")
    from_here_or_with("privacy")


def _lists(model: type[BaseModel]) -> frozenset[str]:
    return frozenset(
        name for name, field in model.model_fields.items() if get_origin(field.annotation) is list
    )


def _arguments(text: bytes) -> MultiDict[str, str]:
    return Request("GET", "http", None, "", "/", text, Headers(), None).args


def _query(model: type[BaseModel], listed: frozenset[str], text: bytes) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, all_given in _arguments(text).lists():
        if name not in model.model_fields:
            near = difflib.get_close_matches(name, model.model_fields, 1)
            known = ", ".join(model.model_fields) or "none"
            hint = f"did you mean {near[0]!r}?" if near else f"choose from: {known}"
            message = f"there is no query parameter {name[:80]!r}; {hint}"
            raise Problem(400, message, [(name[:80], message)])
        if name in listed:
            values[name] = all_given
        elif len(all_given) > 1:
            message = f"the query parameter {name!r} is given {len(all_given)} times"
            raise Problem(400, message, [(name, message)])
        else:
            values[name] = all_given[0]
    return values


def _body() -> Any:
    coding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if coding != "identity":
        raise Problem(415, f"the body is sent as {coding[:40]!r}; send it as it is, uncompressed")
    if request.mimetype != JSON:
        raise Problem(415, f"the body must be {JSON}, not {request.mimetype or 'unnamed'}")
    return strict_json.parse(request.get_data(cache=False))
