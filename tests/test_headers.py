"""Headers of every answer, and which sites' scripts may ask."""

import pytest

from api.app import create_app
from api.headers import origins
from api.keys import KeyFile
from api.settings import load_settings
from graph.errors import SettingError
from recommender.releases.home import Home

SHOP = "https://shop.example"
PREFLIGHT = {"Origin": SHOP, "Access-Control-Request-Method": "POST"}


@pytest.fixture
def client(tmp_path):
    return create_app(load_settings(Home(tmp_path).create().folder)).test_client()


@pytest.fixture
def shop(tmp_path):
    """A client of a server with a key that answers scripts of one site."""
    home = Home(tmp_path).create()
    KeyFile(home.keys).create(["recommend"], now=1_800_000_000)
    settings = load_settings(home.folder, cors_origins=f"{SHOP}, http://localhost:3000")
    return create_app(settings).test_client()


@pytest.mark.parametrize(
    ("path", "status"),
    [("/live", 200), ("/ready", 503), ("/v1/nothing", 404), ("/v1/popular?x=1", 400)],
)
def test_answers_say_what_a_browser_may_do_with_them(client, path, status):
    answer = client.get(path)
    assert answer.status_code == status
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["X-Frame-Options"] == "DENY"
    policy = "default-src 'none'; frame-ancestors 'none'"
    assert answer.headers["Content-Security-Policy"] == policy


def test_the_page_of_the_document_keeps_what_it_needs(client):
    answer = client.get("/openapi/", follow_redirects=True)
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert "Content-Security-Policy" not in answer.headers


def test_no_other_site_may_ask_unless_it_is_named(client, shop):
    assert "Access-Control-Allow-Origin" not in client.get("/live", headers=PREFLIGHT).headers
    assert "Origin" not in client.get("/live", headers=PREFLIGHT).headers.get("Vary", "")
    strangers = ["https://shop.example.org", "http://shop.example", f"{SHOP}:8443", "null", ""]
    for origin in strangers:
        answer = shop.get("/live", headers={"Origin": origin})
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert "Origin" in answer.headers["Vary"]  # what is kept for others is not theirs
    for origin in (SHOP, "http://localhost:3000"):
        answer = shop.get("/live", headers={"Origin": origin})
        assert answer.headers["Access-Control-Allow-Origin"] == origin
        assert "Access-Control-Allow-Credentials" not in answer.headers


def test_a_browser_that_asks_first_needs_no_key_and_what_follows_does(shop):
    first = shop.options("/v1/events", headers=PREFLIGHT)
    assert first.status_code == 204
    assert first.headers["Access-Control-Allow-Origin"] == SHOP
    assert "POST" in first.headers["Access-Control-Allow-Methods"]
    for name in ("Authorization", "X-API-Key", "X-Subject", "Content-Type"):
        assert name in first.headers["Access-Control-Allow-Headers"]
    then = shop.post("/v1/events", headers={"Origin": SHOP}, json={"user": "a", "item": "b"})
    assert then.status_code == 401
    assert then.headers["Access-Control-Allow-Origin"] == SHOP  # so that its script can read why
    stranger = PREFLIGHT | {"Origin": "https://else.example"}
    refused = shop.options("/v1/events", headers=stranger)
    assert refused.status_code == 401
    assert "Access-Control-Allow-Origin" not in refused.headers
    no_preflight = shop.options("/v1/events", headers={"Origin": SHOP})
    assert no_preflight.status_code == 401


@pytest.mark.parametrize("wrong", ["*", "shop.example", f"{SHOP}/", f"{SHOP}/page", "https://*.de"])
def test_only_exact_origins_are_taken(wrong):
    with pytest.raises(SettingError, match="is not an origin"):
        origins(f"{SHOP},{wrong}")
