"""What was published and what was refused; serving another release, and keeping one for good."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Response
from flask_openapi3 import OpenAPI, Tag

from api.answer_schemas import ManyAnswer
from api.bootstrap import note, now
from api.errors import Problem
from api.inputs import about_similar_users, checked, from_here_or_with, has_key
from api.limiter import charge
from api.long_requests import LongRequests
from api.operate_schemas import ReleaseAnswer, ReleasePath, ReleasesAnswer, ServeBody
from api.schemas import NoQuery, RecommendationsBody
from api.settings import Settings
from graph.errors import NotFound
from recommender.releases.home import Home
from recommender.releases.publishing import activate, known, list_refused, list_releases, pin
from recommender.serving.beside import Beside
from recommender.serving.live import Live

TAG = Tag(name="releases", description="What was published, and which release is served.")
PAGE = {  # a report has no scripts and loads nothing, but styles its bars where they stand
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "private, no-store",
}


def register(app: OpenAPI, live: Live, settings: Settings) -> None:
    """Add the routes."""
    home = live.home
    beside, long_requests = Beside(live), LongRequests(settings)

    @app.get(
        "/v1/releases",
        tags=[TAG],
        summary="The releases, and the candidates that were refused",
        responses={200: ReleasesAnswer},
    )
    @checked
    def get_releases(query: NoQuery) -> dict[str, Any]:
        del query
        return {
            "releases": [_shown(home, release) for release in list_releases(home)],
            "refused": [_shown(home, release) for release in list_refused(home)],
        }

    @app.post(
        "/v1/releases/<release>/recommendations",
        tags=[TAG],
        summary="The lists that another release would answer, to compare; nothing is counted",
        responses={200: ManyAnswer},
    )
    @checked
    def recommend_by(path: ReleasePath, body: RecommendationsBody) -> bytes:
        if has_key() and not has_key("recommend"):
            raise Problem(403, "this API key lacks the scope recommend")
        if any(subject.similar_to is not None for subject in body.subjects):
            about_similar_users(settings)
        requests = [subject.request() for subject in body.subjects]
        charge(sum(request.n for request in requests))
        with beside.recommender(path.release) as recommender:
            answers = long_requests.answers(
                lambda some: recommender.recommend_json(some, now=now()), requests
            )
        return b'{"answers":[%b]}' % b",".join(answers)

    @app.put(
        "/v1/releases/current",
        tags=[TAG],
        summary="Serve another release, older or newer",
        responses={200: ReleaseAnswer},
    )
    @checked
    def put_current(body: ServeBody) -> dict[str, str]:
        from_here_or_with("admin")
        with written(home):
            name = activate(home, body.release).name
            note(home, "rollback", release=name)
        return {"release": name}

    @app.put(
        "/v1/releases/<release>/pin",
        tags=[TAG],
        summary="Keep a release, however old it gets",
        responses={200: ReleaseAnswer},
    )
    @checked
    def put_pin(path: ReleasePath) -> dict[str, str]:
        return _pinned(home, path.release, on=True)

    @app.delete(
        "/v1/releases/<release>/pin",
        tags=[TAG],
        summary="Let a release go when it is old",
        responses={200: ReleaseAnswer},
    )
    @checked
    def delete_pin(path: ReleasePath) -> dict[str, str]:
        return _pinned(home, path.release, on=False)

    @app.get(
        "/v1/releases/<release>/report",
        tags=[TAG],
        summary="The report of a release or a refused candidate, as a page",
        responses={200: {"content": {"text/html": {"schema": {"type": "string"}}}}},
    )
    @checked
    def get_report(path: ReleasePath) -> Response:
        refused = {release["name"] for release in list_refused(home)}
        name = path.release if path.release in refused else known(home, path.release)
        report = home.reports / f"{name}.html"
        if not report.is_file():
            raise NotFound(f"there is no report of release {name}; a refresh writes one")
        return Response(report.read_bytes(), content_type="text/html; charset=utf-8", headers=PAGE)


@contextmanager
def written(home: Home) -> Iterator[None]:
    """A 503 if the home cannot be written to."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise Problem(503, f"the home {home.folder} cannot be written to: {reason}") from error


def _pinned(home: Home, release: str, *, on: bool) -> dict[str, str]:
    from_here_or_with("admin")
    with written(home):
        name = pin(home, release, on=on)
        note(home, "pin" if on else "unpin", release=name)
    return {"release": name}


def _shown(home: Home, release: dict[str, Any]) -> dict[str, Any]:
    """A manifest without its list of files; `report` says whether a report of it is there."""
    facts = {key: value for key, value in release.items() if key != "files"}
    return facts | {"report": (home.reports / f"{release['name']}.html").is_file()}
