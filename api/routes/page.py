"""The page at `/`, and the tracking snippet for other pages: bundled when the project was set up.

Nothing here knows what the page shows: it is a client of the routes beside this one.
"""

from pathlib import Path

from flask import Flask, Response, request

from api.errors import Problem

BUNDLE = Path(__file__).resolve().parents[1] / "web" / "dist"
UNBUILT = (
    "The page is not built yet, but everything else works: run `./run page` in the project's "
    "folder and start the server again. All routes are listed at /openapi/.\n"
)
TYPES = {".js": "text/javascript", ".css": "text/css", ".txt": "text/plain", ".html": "text/html",
         ".json": "application/schema+json"}  # fmt: skip
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Vary": "Accept-Encoding",
}

TRACKING = {"/track.js": "track.js", "/track.schema.json": "track.schema.json"}
FOR_OTHER_SITES = {
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Content-Type-Options": "nosniff",
    "Vary": "Accept-Encoding",
}


def register(app: Flask) -> None:
    """Add `/` and `/assets/…`; without a bundle `/` says how to build it.

    Files are looked up when they are asked for, so that a new bundle is served at once.
    """

    def page() -> Response:
        index = BUNDLE / "index.html"
        if not index.is_file():
            return Response(UNBUILT, 503, headers=HEADERS, content_type="text/plain; charset=utf-8")
        return _sent(index, "no-cache")

    def asset(name: str) -> Response:  # a name holds no slash
        path = BUNDLE / "assets" / name
        if path.suffix not in TYPES or not path.is_file():
            raise Problem(404, f"the page has no file {name[:80]!r}")
        return _sent(path, "public, max-age=31536000, immutable")  # named by its content

    def tracking() -> Response:
        path = BUNDLE / TRACKING[request.path]
        if not path.is_file():
            raise Problem(404, "the tracking snippet is not bundled; run `./run page` once")
        return _sent(path, "public, max-age=3600", FOR_OTHER_SITES)

    for rule in TRACKING:
        app.add_url_rule(rule, view_func=tracking)
    app.add_url_rule("/", view_func=page)  # not in the OpenAPI document
    app.add_url_rule("/assets/<name>", view_func=asset)


def _sent(path: Path, kept: str, headers: dict[str, str] = HEADERS) -> Response:
    response = Response(headers=headers, content_type=f"{TYPES[path.suffix]}; charset=utf-8")
    packed = path.with_name(f"{path.name}.gz")
    if packed.is_file() and request.accept_encodings["gzip"] > 0:
        path = packed
        response.headers["Content-Encoding"] = "gzip"
    response.data = path.read_bytes()
    response.headers["Cache-Control"] = kept
    return response
