"""Who may use a route: scopes, signed subjects, limits on work. The same check for every route.

Without keys the server answers everybody who reaches it, and only this machine can reach it. Once
there is a key, every route but those of `OPEN` asks for one.
"""

from collections.abc import Iterator
from typing import Any

from flask import Flask, Response, g, request

from api.bootstrap import now
from api.errors import Problem, problem
from api.keys import OF_SUBJECTS, SCOPES, Key, KeyFile, pixel_of, subject_of
from api.limiter import Limiter
from api.metrics import count_refused
from api.observability import log
from api.settings import Settings
from api.strict_json import parse as parse_json
from api.under_way import UnderWay
from graph.errors import SettingError

OPEN = {  # these need no key: whether the server runs, the page, the OpenAPI document
    ("GET", "/"),
    ("GET", "/track.js"),
    ("GET", "/track.schema.json"),
    ("GET", "/live"),
    ("GET", "/ready"),
}
METRICS = "/metrics"
PLACE = "nichegraph.place"  # this request counts as one of those under way
PIXEL = "/v1/pixel/<key_id>/<token>.gif"  # what it writes is signed, see `_pixel`
OPEN.add(("GET", PIXEL))
OPEN_FOLDERS = ("/openapi/", "/assets/", "/docs/")
NEEDED: dict[tuple[str, str], tuple[str, ...]] = {  # method, route -> any of these scopes
    ("GET", "/v1/users/<id:user>/recommendations"): ("recommend",),
    ("POST", "/v1/recommendations"): ("recommend",),
    ("GET", "/v1/users/<id:user>/recommendations/<id:item>/why"): ("recommend",),
    ("GET", "/v1/items/<id:item>/similar"): ("recommend",),
    ("POST", "/v1/items/similar"): ("recommend",),
    ("GET", "/v1/tags/items"): ("recommend",),
    ("GET", "/v1/popular"): ("recommend",),
    ("GET", "/v1/latest"): ("recommend",),
    ("GET", "/v1/trending"): ("recommend",),
    ("GET", "/v1/trending/tags"): ("recommend",),
    ("GET", "/v1/items/<id:item>"): ("recommend", "ingest"),
    ("GET", "/v1/search"): ("recommend", "explore"),
    ("POST", "/v1/events"): ("track", "ingest"),
    ("POST", "/v1/items"): ("ingest",),
    ("PUT", "/v1/items/<id:item>"): ("ingest",),
    ("PATCH", "/v1/items/<id:item>"): ("ingest",),
    ("DELETE", "/v1/items/<id:item>"): ("ingest",),
    ("PUT", "/v1/users/<id:user>"): ("ingest",),
    ("PUT", "/v1/users/<id:user>/consent"): ("ingest", "privacy"),
    ("POST", "/v1/users/<id:user>/alias"): ("ingest",),
    ("GET", "/v1/users/<id:user>"): ("privacy",),
    ("DELETE", "/v1/users/<id:user>"): ("privacy",),
    ("GET", "/v1/users/<id:user>/data"): ("privacy",),
    ("GET", "/v1/erasures/<sequence>"): ("privacy",),
    ("GET", "/v1/users/<id:user>/similar"): ("privacy",),
    ("GET", "/v1/items/<id:item>/popularity"): ("recommend", "explore"),
    ("GET", "/v1/graph"): ("explore",),
    ("GET", "/v1/map"): ("explore",),
    ("GET", "/v1/map/items"): ("explore",),
    ("GET", "/v1/map/points"): ("explore",),
    ("POST", "/v1/cypher"): ("explore",),
    ("GET", "/v1/cypher/questions"): ("explore",),
    ("GET", "/v1/segments/picture"): ("explore", "admin"),
    ("POST", "/v1/rules/check"): ("admin",),
    ("GET", "/v1/segments"): ("explore", "admin"),
    ("GET", "/v1/releases"): ("admin", "explore"),
    ("GET", "/v1/releases/<release>/report"): ("admin", "explore"),
    ("POST", "/v1/releases/<release>/recommendations"): ("admin", "explore"),
    ("PUT", "/v1/releases/current"): ("admin",),
    ("PUT", "/v1/releases/<release>/pin"): ("admin",),
    ("DELETE", "/v1/releases/<release>/pin"): ("admin",),
    ("GET", "/v1/rules"): ("admin",),
    ("PUT", "/v1/rules"): ("admin",),
    ("GET", "/v1/access"): tuple(SCOPES),
    ("GET", "/v1/online"): ("admin", "explore"),
    ("GET", METRICS): ("admin",),
}


def register(
    app: Flask, settings: Settings, keys: KeyFile, limiter: Limiter, under_way: UnderWay
) -> None:
    """Check every request before its view is called, which then has a place and a seat."""

    @app.before_request
    def _let_in() -> Response | None:
        g.key = None
        if request.url_rule is None:  # no such route: the answer is a 404, key or not
            limiter.count(None)
            return None
        rule, method = request.url_rule.rule, _method()
        if rule != PIXEL and ((method, rule) in OPEN or rule.startswith(OPEN_FOLDERS)):
            return None  # little work, and `/live` is to answer when all places are taken
        try:
            if rule == PIXEL:
                g.key, g.pixel = _pixel(keys, **(request.view_args or {}))
            else:
                g.key = key_of(keys, method, rule, request.environ)
        except Problem:
            limiter.count(None)  # who has no key for this route counts by address
            raise
        limiter.count(g.key)
        signed = rule != PIXEL and g.key is not None and g.key.signing is not None
        if signed:
            g.subject = _subject(g.key)
        if rule == METRICS:
            return None  # which tell what is wrong when all places are taken
        if (refusal := _begin()) is not None:
            return refusal
        if signed:
            _check_subject(g.subject, NEEDED[method, rule])
        return None

    def _begin() -> Response | None:
        """Wait for the body and for a seat; a 503 if too many wait already."""
        if request.method in ("POST", "PUT", "PATCH"):
            with under_way.body() as good:
                if not good:
                    return _full("bodies of requests are already awaited")
                request.get_data()  # keeps it for whoever reads it next
        if not under_way.enter():
            return _full("requests are already under way")
        request.environ[PLACE] = True
        return None

    def _full(what: str) -> Response:
        count_refused("in_flight")
        return problem(503, f"{settings.max_in_flight} {what}; try again soon")

    @app.teardown_request
    def _give_back(_: BaseException | None) -> None:
        if request.environ.pop(PLACE, False):
            under_way.leave()


def check_loopback(settings: Settings, keys: KeyFile, *, loopback: bool) -> None:
    """Refuse a server that others can reach without a key; `SettingError` says what to do."""
    if loopback or settings.bind_anywhere or keys.keys():
        return
    raise SettingError(
        f"setting 'host': {settings.host} is reachable from other machines, and there are no API "
        "keys; create one with `nichegraph keys create`, or use 127.0.0.1"
    )


def _method() -> str:
    return "GET" if request.method in ("HEAD", "OPTIONS") else request.method


def _pixel(keys: KeyFile, key_id: str, token: str) -> tuple[Key, dict[str, Any]]:
    """The key that signed an image's address, and the event; a 403 where it is not to count."""
    key = _known(keys).get(key_id)
    signed = pixel_of(token, key.signing) if key is not None and key.signing else None
    if key is None or signed is None or not key.holds(now()) or "track" not in key.scopes:
        raise Problem(403, "no valid key with the scope track has signed this address")
    event, ends = signed
    if ends <= now():
        raise Problem(403, "this address has expired")
    return key, event


def _known(keys: KeyFile) -> dict[str, Key]:
    """Every key by its id."""
    try:
        return keys.keys()
    except SettingError as error:
        log("keys refused", problem=error)
        raise Problem(503, "the file of API keys cannot be read; see the server's log") from error


def key_of(keys: KeyFile, method: str, rule: str, environ: dict[str, Any]) -> Key | None:
    """The request's key, which has one of the route's scopes; None if there are no keys at all.

    Raises:
        Problem: 401 without a valid key, 403 without the scope, 503 if the keys cannot be read.
    """
    known = _known(keys)
    if not known:
        return None
    presented = _presented(environ)
    if presented is None:
        raise Problem(401, "this needs an API key: send it as `Authorization: Bearer …`")
    key = keys.opened_by(presented, now())
    if key is None:
        raise Problem(401, "this API key is not valid: it is unknown, expired or revoked")
    needed = NEEDED.get((method, rule))
    opens = [scope for scope in key.scopes if key.signing is None or scope in OF_SUBJECTS]
    if needed is None or not set(needed) & set(opens):
        wanted = " or ".join(needed or ("no",))
        raise Problem(403, f"this API key lacks the scope {wanted}")
    return key


def _presented(environ: dict[str, Any]) -> str | None:
    scheme, _, value = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme.lower() == "bearer" and value:
        return str(value.strip())
    return environ.get("HTTP_X_API_KEY")


def _subject(key: Key) -> str:
    token = request.headers.get("X-Subject", "")
    user = subject_of(token, key.signing or "", now())
    if user is None:
        raise Problem(401, "this key needs a signed subject: send a fresh token as `X-Subject`")
    return user


def _check_subject(subject: str, needed: tuple[str, ...]) -> None:
    """A 403 if the path, the body or an event in it names a user other than the subject.

    So does what tells of people, for which a scope of `needed` is asked, and names none of them.
    """
    named = (request.view_args or {}).get("user")
    if named is None and needed == ("privacy",):
        raise Problem(403, "the signed subject may ask only for what is known of that user")
    if named is not None and named != subject:
        raise Problem(403, "the signed subject is for another user")
    if request.method not in ("POST", "PUT", "PATCH"):
        return
    content = request.get_data()
    for user in _users(parse_json(content) if content else None):
        if user != subject:
            raise Problem(403, "the signed subject is for another user")


def _users(content: object) -> Iterator[str]:
    """Every user that a body names, at any depth; "" where it cannot be told who is meant."""
    if isinstance(content, dict):
        if "session" in content and content.get("user") is None:
            yield ""
        for name, value in content.items():
            if name in ("user", "similar_to") and value is not None:
                yield _id(value)
            elif name == "household" and isinstance(value, list):
                yield from map(_id, value)
            elif name == "kind" and value == "user" and "name" in content:
                yield _id(content["name"])
            else:
                yield from _users(value)
    elif isinstance(content, list):
        for value in content:
            yield from _users(value)


def _id(value: object) -> str:
    """The id that a value of a body means, as reading it makes one: whole numbers are ids, too."""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
