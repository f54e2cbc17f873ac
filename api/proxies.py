"""A proxy in front: the prefix that it strips from paths, if a trusted proxy names it.

`https://shop.example/recommend/v1/popular` arrives as `/v1/popular` with the header
`X-Forwarded-Prefix: /recommend`; links and redirects then begin with that.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from flask import Response

from graph.errors import SettingError

HEADER = "HTTP_X_FORWARDED_PREFIX"
PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]


def trusted_networks(setting: str) -> tuple[Network, ...]:
    """The addresses and networks of the setting `trusted_proxies`, separated by commas."""
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in setting.split(",") if part)
    except ValueError as error:
        raise SettingError(
            f"setting 'trusted_proxies': {error}; name addresses or networks such as "
            "127.0.0.1, 10.0.0.0/8"
        ) from error


def behind_prefix(app: Wsgi, trusted: tuple[Network, ...]) -> Wsgi:
    """The application, made to believe the prefix that a trusted proxy names, and no other."""

    def prefixed(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        prefix = environ.get(HEADER, "").rstrip("/")
        if PREFIX.fullmatch(prefix) and _trusts(trusted, environ.get("REMOTE_ADDR", "")):
            environ["SCRIPT_NAME"] = prefix
            path = environ["PATH_INFO"]
            if path.startswith(f"{prefix}/"):  # a proxy that does not strip it
                environ["PATH_INFO"] = path.removeprefix(prefix)
        return app(environ, start_response)

    return prefixed


def relative(response: Response) -> Response:
    """A redirect without scheme and host, which only the proxy knows."""
    if "Location" in response.headers:
        to = urlsplit(response.headers["Location"])
        response.headers["Location"] = urlunsplit(("", "", to.path, to.query, to.fragment))
    return response


def _trusts(trusted: tuple[Network, ...], address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in trusted)
