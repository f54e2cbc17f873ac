"""Lists for users by a short way, past Flask, where a request is plainly good.

    GET /v1/users/{user}/recommendations ─▶ host, key, query, limits ─▶ place, seat ─▶ list
                                              └ whatever is not plain ─▶ Flask, from the start

Flask and what is hooked into it take as long as making a list. So this route, which most requests
ask for, has a way around them. It refuses nothing and knows no errors: whatever it does not answer
with a list, Flask gets as if nothing had happened, and says what is wrong. What it answers is what
Flask would have answered (`tests/test_short_way.py`).
"""

import time
from collections.abc import Callable, Iterable
from typing import Any

from api.access import key_of
from api.errors import Problem
from api.headers import of_data
from api.inputs import JSON, NOT_KEPT, query_reader
from api.keys import Key, KeyFile
from api.limiter import COUNTED, Limiter
from api.metrics import Counting, in_flight
from api.proxies import Wsgi, utf8
from api.schemas import UserPath, UserQuery
from api.settings import Settings
from api.under_way import UnderWay

BEGIN, END = "/v1/users/", "/recommendations"
RULE = f"{BEGIN}<id:user>{END}"


def short_way(
    flask: Wsgi,
    settings: Settings,
    *,
    keys: KeyFile,
    limiter: Limiter,
    under_way: UnderWay,
    counting: Counting,
    known_host: Callable[[str], bool],
    answered: Callable[[str, UserQuery], bytes],
) -> Wsgi:
    """The application with the short way before Flask.

    There is none where requests are logged or traced: these look at what Flask knows.

    Args:
        flask: the whole application.
        settings: of the server.
        keys: API keys; a request with a key for signed subjects is not plain.
        limiter: of requests and work, shared with Flask.
        under_way: places and seats, shared with Flask.
        counting: of requests, shared with Flask.
        known_host: whether a `Host` header is one of ours.
        answered: makes the list of a user.
    """
    if settings.request_log or settings.traces_url:
        return flask
    limited = bool(settings.requests_per_second or settings.items_per_second)
    headers = [("Content-Type", JSON), ("Cache-Control", NOT_KEPT), *of_data(settings)]
    query_of = query_reader(UserQuery)

    def plain(environ: dict[str, Any]) -> tuple[str, UserQuery] | None:
        """The user and the query, counted against limits; None where Flask is to look at it."""
        if "HTTP_ORIGIN" in environ or not known_host(environ.get("HTTP_HOST", "")):
            return None
        try:
            key = key_of(keys, "GET", RULE, environ)
            if key is not None and key.signing is not None:
                return None
            user = UserPath(user=utf8(environ["PATH_INFO"][len(BEGIN) : -len(END)])).user
            query = query_of(environ.get("QUERY_STRING", "").encode("latin-1"))
            if limited:
                environ[COUNTED] = _counted(limiter, key, environ["REMOTE_ADDR"], query.n)
                if isinstance(environ[COUNTED], Problem):
                    return None
        except Exception:  # noqa: BLE001 - Flask meets it once more, and answers it
            return None
        return user, query

    def listed(user: str, query: UserQuery) -> bytes | None:
        """The list, made on a seat; None where Flask is to say what is wrong."""
        if not under_way.enter():
            return None
        try:
            return answered(user, query)
        except Exception:  # noqa: BLE001 - Flask meets it once more, and answers it
            return None
        finally:
            under_way.leave()

    def way(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """The application: by the short way where the request is plain, else by Flask."""
        began, path = time.perf_counter(), environ["PATH_INFO"]
        fits = path.startswith(BEGIN) and path.endswith(END) and environ["REQUEST_METHOD"] == "GET"
        wanted = plain(environ) if fits else None
        if wanted is None:
            return flask(environ, start_response)
        in_flight.inc()
        try:
            made = listed(*wanted)
        finally:
            in_flight.dec()
        if made is None:
            return flask(environ, start_response)
        counting.answered("GET", RULE, 200, began)
        start_response("200 OK", [*headers, ("Content-Length", str(len(made)))])
        return [made]

    return way


def _counted(
    limiter: Limiter, key: Key | None, address: str, work: int
) -> Callable[[int], None] | Problem:
    """Count a request and its work, so that Flask, if it gets the request, counts neither again."""
    try:
        limiter.counted(key, address)(work)
    except Problem as error:
        return error
    return lambda _: None
