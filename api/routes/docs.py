"""The documentation at `/docs/`, as `./run docs` built it: files, and nothing from elsewhere."""

import base64
import hashlib
import mimetypes
import re
from functools import lru_cache
from pathlib import Path

from flask import Flask, Response
from werkzeug.security import safe_join

from api.errors import Problem

SITE = Path(__file__).resolve().parents[1] / "web" / "site"
UNBUILT = "the documentation is not built; `./run docs` in the project's folder builds it"
POLICY = (
    "default-src 'none'; script-src 'self' {scripts}; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'self'; worker-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
INLINE = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


def register(app: Flask) -> None:
    """Add `/docs/…`; files are looked up when they are asked for."""

    def docs(name: str = "") -> Response:
        if not (SITE / "index.html").is_file():
            raise Problem(404, UNBUILT)
        inside = safe_join(str(SITE), name)
        path = SITE if inside is None else Path(inside)
        if path.is_dir():
            path = path / "index.html"
        if inside is None or not path.is_file():
            raise Problem(404, f"the documentation has no page {name[:80]!r}")
        return _sent(path)

    app.add_url_rule("/docs/", view_func=docs)  # not in the OpenAPI document
    app.add_url_rule("/docs/<path:name>", view_func=docs)


def _sent(path: Path) -> Response:
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    if kind.startswith("text/"):
        kind = f"{kind}; charset=utf-8"
    response = Response(path.read_bytes(), content_type=kind)
    scripts = _scripts(path, path.stat().st_mtime_ns) if path.suffix == ".html" else ""
    response.headers["Content-Security-Policy"] = POLICY.format(scripts=scripts)
    response.headers["Cache-Control"] = "no-cache"
    return response


@lru_cache(256)
def _scripts(path: Path, _changed_at: int) -> str:
    """The scripts in a page, each by its digest, so that no other can be put there."""
    digests = (hashlib.sha256(script).digest() for script in INLINE.findall(path.read_bytes()))
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
