"""What a trusted proxy says is believed, and nobody else is."""

import pytest

from api.proxies import behind_proxy, trusted_networks


def understood(address, trusted="127.0.0.1, 10.0.0.0/8", **headers):
    """What the application is told about a request from this address."""
    environ = {"PATH_INFO": "/live", "REMOTE_ADDR": address, "wsgi.url_scheme": "http"}
    environ |= {f"HTTP_X_FORWARDED_{name.upper()}": text for name, text in headers.items()}
    behind_proxy(lambda environ, _: [], trusted_networks(trusted))(environ, None)
    return environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]


@pytest.mark.parametrize(
    ("written", "asker"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("198.51.100.1, 203.0.113.7", "203.0.113.7"),  # the caller wrote the first
        ("198.51.100.1, 203.0.113.7, 10.1.2.3", "203.0.113.7"),  # two proxies of ours
        ("2001:db8::1", "2001:db8::1"),
        ("203.0.113.7, rubbish", "127.0.0.1"),
        ("", "127.0.0.1"),
        ("10.0.0.5", "10.0.0.5"),  # a proxy of ours that asks for itself
    ],
)
def test_the_nearest_address_that_is_no_trusted_proxy_asked(written, asker):
    assert understood("127.0.0.1", **{"for": written}) == (asker, "http")


def test_a_stranger_who_says_who_asked_is_believed_nothing():
    assert understood("203.0.113.9", **{"for": "127.0.0.1", "proto": "https"}) == (
        "203.0.113.9",
        "http",
    )
    assert understood("127.0.0.1", "", **{"for": "203.0.113.7"}) == ("127.0.0.1", "http")


def test_the_scheme_is_the_callers():
    assert understood("127.0.0.1", proto="https")[1] == "https"
    assert understood("127.0.0.1", proto="javascript")[1] == "http"
