"""The HTTP application: routes to the current release, nothing else.

A worker reads releases, never a store, and imports nothing that only training needs.
"""

import sys
from collections.abc import Callable
from typing import Any

from flask import Flask, request
from flask.wrappers import Request as HttpRequest
from flask_openapi3 import Info, OpenAPI
from werkzeug.routing import BaseConverter, MapAdapter

from api import access, answered_log, errors, headers, health, metrics, traces
from api.answer_schemas import ProblemAnswer
from api.bootstrap import now, open_journal, open_live, open_results
from api.document import described, finish, operation_name
from api.inputs import is_loopback
from api.keys import KeyFile
from api.limiter import Limiter
from api.observability import count_defect, log, set_format
from api.proxies import behind_proxy, relative, trusted_networks, utf8
from api.routes import (
    caller,
    catalogue,
    cypher,
    docs,
    events,
    explore,
    items,
    online,
    page,
    pixel,
    recommendations,
    releases,
    rules,
    segments,
    users,
)
from api.routes import metrics as tell_metrics
from api.settings import Settings, load_settings
from api.short_way import short_way
from api.under_way import UnderWay
from graph.errors import ReleaseError
from recommender.inbox.appending import Served
from recommender.serving.live import Live
from recommender.serving.recommend import Recommender
from recommender.serving.warming import warm

VERSION = "1"
TURN = 0.0005  # seconds; Python's own 0.005 let a short request wait for a long one again and again
PROBLEMS = (400, 401, 403, 404, 405, 413, 415, 429, 500, 503)


class IdConverter(BaseConverter):
    """An id in a path: any text, even with a `/`, which arrives decoded."""

    regex = ".+"
    part_isolating = False


class Application(OpenAPI):
    """Flask without what only others need: coroutines as views, routes by host or subdomain."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """A view or hook as it is: all of ours are plain functions."""
        return func

    def create_url_adapter(self, request: HttpRequest | None) -> MapAdapter | None:
        """What finds the route of a request; redirects are made relative, so no host is needed."""
        if request is None:
            return None
        environ = request.environ
        return MapAdapter(
            self.url_map,
            server_name="localhost",
            script_name=utf8(environ.get("SCRIPT_NAME", "")),
            subdomain="",
            url_scheme=environ["wsgi.url_scheme"],
            path_info=utf8(environ["PATH_INFO"]),
            default_method=environ["REQUEST_METHOD"],
            query_args=environ.get("QUERY_STRING", ""),
        )


def application() -> Flask:
    """The application of a worker: settings from the environment, the release opened."""
    leave_pandas_out()
    sys.setswitchinterval(TURN)
    settings = load_settings()
    set_format(settings.log_format)
    live = open_live(settings, tell=log, defect=count_defect, prepare=_warm)
    live.watch()
    return create_app(settings, live)


def leave_pandas_out() -> None:
    """Keep pyarrow from importing pandas, which it does at the first array: 0.3 s and 40 MB.

    pyarrow looks for pandas once and remembers the answer; a worker has no use for it. Code that
    imports pandas by name still gets it, such as the reading of dates written as text.
    """
    import pyarrow as pa

    class Hidden:
        @staticmethod
        def find_spec(name: str, *_: object) -> None:
            if name == "pandas":
                raise ModuleNotFoundError(name)

    sys.meta_path.insert(0, Hidden)
    try:
        pa.array([])
    finally:
        sys.meta_path.remove(Hidden)


def create_app(settings: Settings, live: Live | None = None) -> Flask:
    """The application for the home of these settings; it starts even if there is no release.

    `live` is what is served; None: it is opened here, and checked for changes at each request.
    """
    live = live or open_live(settings, tell=log, defect=count_defect, prepare=_warm)
    app = Application(
        __name__,
        info=Info(
            title="nichegraph",
            version=VERSION,
            description="Recommendations for catalogues with a long tail.",
        ),
        responses={status: described(status) for status in PROBLEMS},
        operation_id_callback=operation_name,
        validation_error_status=400,
        validation_error_model=ProblemAnswer,
        static_folder=None,
    )
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.config[errors.HOME] = str(live.home.folder)
    app.url_map.converters["id"] = IdConverter
    app.url_map.merge_slashes = False  # an id may begin with a slash
    app.url_map.strict_slashes = True
    results = app.extensions["results"] = open_results(settings)
    live.on_state = results.forget
    errors.register(app)
    answered_log.register(app, live, settings.request_log)
    traces.register(app, live, settings)
    counting = metrics.register(app, results)
    known_host = _known_host(settings)
    _check_hosts(app, known_host)
    headers.register(app, settings)
    keys, limiter, under_way = KeyFile(live.home.keys), Limiter(settings), UnderWay(settings)
    access.register(app, settings, keys, limiter, under_way)
    journal = open_journal(settings)
    journal.served = Served(
        tracked=None if "track" in settings.agreed else lambda user: _agrees(live, user),
        released=lambda: catalogue.released(live, journal),
    )
    health.register(app, live, journal)
    tell_metrics.register(app, live, journal)
    items.register(app, live, results, settings)
    explore.register(app, live)
    rules.register(app, live)
    releases.register(app, live, settings)
    caller.register(app)
    online.register(app, journal)
    answered = recommendations.register(app, live, results, settings)
    way = short_way(
        app.wsgi_app, settings, keys=keys, limiter=limiter, under_way=under_way, counting=counting,
        known_host=known_host, answered=answered,
    )  # fmt: skip
    networks = trusted_networks(settings.trusted_proxies)
    app.wsgi_app = behind_proxy(way, networks)  # type: ignore[assignment, method-assign]
    app.after_request(relative)
    segments.register(app, live, settings)
    cypher.register(app, live, settings)
    page.register(app)
    docs.register(app)
    events.register(app, journal)
    pixel.register(app, journal)
    catalogue.register(app, journal, live)
    users.register(app, journal, live)
    finish(app)
    try:
        log("started", release=live.recommender().release.name)
    except ReleaseError as error:
        log("started", waiting=str(error))
    return app


def _agrees(live: Live, user: str) -> bool:
    """Whether a user, of whom the journal does not know, agrees to be tracked."""
    try:
        return live.recommender().overlay.agrees(user, "track")
    except ReleaseError:
        return False


def _warm(recommender: Recommender) -> None:
    warm(recommender, now=now())


def _known_host(settings: Settings) -> Callable[[str], bool]:
    """Whether a Host header names one of our hosts."""
    allowed = {name.strip().lower() for name in settings.allowed_hosts.split(",") if name.strip()}

    def known(host: str) -> bool:
        name = _host_name(host)
        return name in allowed or name == "localhost" or is_loopback(name)

    return known


def _check_hosts(app: Flask, known: Callable[[str], bool]) -> None:
    """Refuse requests for a Host that is not ours: another site may point a name to this server."""

    @app.before_request
    def _check() -> None:
        host = request.environ.get("HTTP_HOST", "")
        if known(host):
            return
        name = _host_name(host)
        raise errors.Problem(
            403,
            f"this server does not answer requests for the host {name[:80]!r}; add it to the "
            "setting "
            "allowed_hosts",
            [("Host", "not an allowed host")],
        )


def _host_name(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.rpartition(":")[0].lower() if ":" in host else host.lower()
