"""A proxy in front: what a trusted one says about a request, and nobody else.

`https://shop.example/recommend/v1/popular` arrives as `/v1/popular` with the header
`X-Forwarded-Prefix: /recommend`; links and redirects then begin with that. `X-Forwarded-For` names
who asked: the last address there that is not a trusted proxy's. Limits count for that address.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from flask import Response

from graph.errors import SettingError

HEADER = "HTTP_X_FORWARDED_PREFIX"
ASKED_FOR = "HTTP_X_FORWARDED_FOR"
SCHEME = "HTTP_X_FORWARDED_PROTO"
PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]


def utf8(text: str) -> str:
    """A text of a WSGI environment, whose bytes stand as letters of Latin-1."""
    return text.encode("latin-1").decode(errors="replace")


def trusted_networks(setting: str) -> tuple[Network, ...]:
    """The addresses and networks of the setting `trusted_proxies`, separated by commas."""
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in setting.split(",") if part)
    except ValueError as error:
        raise SettingError(
            f"setting 'trusted_proxies': {error}; name addresses or networks such as "
            "127.0.0.1, 10.0.0.0/8"
        ) from error


def behind_proxy(app: Wsgi, trusted: tuple[Network, ...]) -> Wsgi:
    """The application, made to believe what a trusted proxy says, and nobody else."""

    def behind(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if trusted and _trusts(trusted, environ.get("REMOTE_ADDR", "")):
            prefix = environ.get(HEADER, "").rstrip("/")
            if PREFIX.fullmatch(prefix):
                environ["SCRIPT_NAME"] = prefix
                path = environ["PATH_INFO"]
                if path.startswith(f"{prefix}/"):  # a proxy that does not strip it
                    environ["PATH_INFO"] = path.removeprefix(prefix)
            if environ.get(SCHEME) in ("http", "https"):
                environ["wsgi.url_scheme"] = environ[SCHEME]
            environ["REMOTE_ADDR"] = _asker(trusted, environ)
        return app(environ, start_response)

    return behind


def relative(response: Response) -> Response:
    """A redirect without scheme and host, which only the proxy knows."""
    if "Location" in response.headers:
        to = urlsplit(response.headers["Location"])
        response.headers["Location"] = urlunsplit(("", "", to.path, to.query, to.fragment))
    return response


def _asker(trusted: tuple[Network, ...], environ: dict[str, Any]) -> str:
    """The address nearest to us that is not a trusted proxy's; what stands before it is hearsay."""
    nearest: str = environ["REMOTE_ADDR"]
    for name in reversed(environ.get(ASKED_FOR, "").split(",")):
        try:
            nearest = str(ipaddress.ip_address(name.strip()))
        except ValueError:
            break
        if not _trusts(trusted, nearest):
            break
    return nearest


def _trusts(trusted: tuple[Network, ...], address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in trusted)
