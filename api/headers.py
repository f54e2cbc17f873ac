"""Headers of every answer: what a browser may do with it, and which other sites may ask.

Pages set their own policy. Scripts of another site get an answer only if the setting
`cors_origins` names that site; the browser first asks whether it does, without a key.
"""

import re

from flask import Flask, Response, request

from api.settings import Settings
from graph.errors import SettingError

EVERY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}
POLICY = "Content-Security-Policy"
DATA = "default-src 'none'; frame-ancestors 'none'"  # policy of an answer that is no page
DATA_TYPES = ("application/json", "application/problem+json", "text/plain")
ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:]+\])(?::\d{1,5})?")
ASKED = "Access-Control-Request-Method"
MAY_SEND = "Authorization, Content-Type, Idempotency-Key, If-None-Match, X-API-Key, X-Subject"
MAY_READ = "ETag, Retry-After"
PREFLIGHT_SECONDS = 600


def register(app: Flask, settings: Settings) -> None:
    """Put the headers on every answer; to be registered before the check of keys.

    Raises:
        SettingError: an entry of `cors_origins` is not an origin.
    """
    allowed = origins(settings.cors_origins)

    @app.before_request
    def _preflight() -> Response | None:
        if request.method != "OPTIONS" or ASKED not in request.headers or not _named(allowed):
            return None
        response = Response(status=204)
        response.headers["Access-Control-Allow-Methods"] = "GET, POST, PUT, PATCH, DELETE"
        response.headers["Access-Control-Allow-Headers"] = MAY_SEND
        response.headers["Access-Control-Max-Age"] = str(PREFLIGHT_SECONDS)
        return response

    @app.after_request
    def _add(response: Response) -> Response:
        own = {name.lower() for name, _ in response.headers}
        for name, value in EVERY.items():
            if name.lower() not in own:
                response.headers.add(name, value)
        if response.mimetype in DATA_TYPES and POLICY.lower() not in own:
            response.headers.add(POLICY, DATA)
        if allowed:
            response.vary.add("Origin")
        if _named(allowed):
            response.headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
            response.headers["Access-Control-Expose-Headers"] = MAY_READ
        return response


def of_data(settings: Settings) -> list[tuple[str, str]]:
    """The headers that every answer with data has where no script of another site asks."""
    own = [*EVERY.items(), (POLICY, DATA)]
    return [*own, ("Vary", "Origin")] if origins(settings.cors_origins) else own


def origins(setting: str) -> frozenset[str]:
    """The origins that the setting `cors_origins` names, separated by commas."""
    named = [part.strip() for part in setting.split(",") if part.strip()]
    for origin in named:
        if not ORIGIN.fullmatch(origin):
            raise SettingError(
                f"setting 'cors_origins': {origin!r} is not an origin; write it as a browser "
                "does, such as https://shop.example, without a path or a star"
            )
    return frozenset(named)


def _named(allowed: frozenset[str]) -> bool:
    return request.headers.get("Origin") in allowed
