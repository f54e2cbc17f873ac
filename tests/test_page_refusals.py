"""What the page says when there is nothing, when it is refused, and of hostile titles."""

import json
from contextlib import closing

import pyarrow as pa
import pytest
from browser import serious, serving

from graph.stores.embedded_store import EmbeddedStore
from recommender.learning.build import RefreshConfig
from recommender.learning.refresh import refresh
from recommender.releases.home import Home
from tests.page_tab import VIEWS, address, browser, settled, tab, wrong  # noqa: F401

pytestmark = pytest.mark.browser


HOSTILE = [
    "<script>document.title='taken'</script><img src=x onerror=alert(1)>",
    "موسيقى الأندلس <b>القديمة</b>",
    "=HYPERLINK(1) " + "Wort" * 200,
    "tab\u202eright-to-left override",
    "100 % \"quoted\" & 'single' {{braces}} ${query}",
]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """The address of a server over a few items with hostile titles, liked by twenty people."""
    home = Home(tmp_path_factory.mktemp("hostile")).create()
    store = EmbeddedStore(home.store)
    ids = [f"i{at}/<b>" for at in range(len(HOSTILE))]
    users = [f"u{at}" for at in range(20)]
    pairs = [
        (user, item) for u, user in enumerate(users) for i, item in enumerate(ids) if (u + i) % 3
    ]
    store.apply({
        "items": pa.table({"id": ids, "title": HOSTILE}),
        "users": pa.table({"id": users}),
        "item_tags": pa.table({
            "item": ids, "category": ["topic"] * len(ids),
            "tag": ["<i>tag</i>"] * len(ids),
        }),
        "events": pa.table({
            "user": [user for user, _ in pairs], "item": [item for _, item in pairs],
            "kind": ["like"] * len(pairs),
        }),
    })  # fmt: skip
    refresh(store, home, RefreshConfig(preset="fast", threads=1), now=1_760_000_000)
    store.close()
    with serving(home.folder) as where:
        yield where


@pytest.mark.parametrize("view", ["recommend?user=u0", "explore?item=i0%2F%3Cb%3E", "explore"])
def test_hostile_titles_are_text(tab, hostile, view):
    tab.set_viewport_size({"width": 390, "height": 800})
    tab.goto(f"{hostile}#/{view}")
    settled(tab)
    assert tab.title().endswith("nichegraph")
    assert tab.locator("main img, main script, main b:not(.cost b), main i:not(.dot)").count() == 0
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    if view.startswith("recommend"):
        shown = tab.locator(".item .title").all_inner_texts()
        assert shown and set(shown) <= {" ".join(title.split()) for title in HOSTILE}


@pytest.mark.parametrize("view", VIEWS)
def test_without_a_release_every_view_says_what_to_do(tab, tmp_path, view):
    with serving(tmp_path) as where:
        tab.goto(f"{where}#/{view}")
        tab.locator("main").get_by_text("nichegraph refresh").first.wait_for()
        assert serious(tab) == []


@pytest.fixture(scope="module")
def nothing(tmp_path_factory):
    """The address of a server over a release of a store that holds nothing."""
    home = Home(tmp_path_factory.mktemp("nothing")).create()
    with closing(EmbeddedStore(home.store)) as store:
        refresh(store, home, RefreshConfig(preset="fast", threads=1), now=1_760_000_000)
    with serving(home.folder) as where:
        yield where


@pytest.mark.parametrize(
    ("view", "words"),
    [
        ("recommend", "load items first"),
        ("explore", "The catalogue is empty"),
        ("segments", "no learned segments"),
        ("operate", "No group has 20 people yet"),
    ],
)
def test_an_empty_catalogue_is_told_in_every_view(tab, nothing, view, words):
    tab.goto(f"{nothing}#/{view}")
    settled(tab)
    tab.get_by_text(words).first.wait_for()
    assert tab.get_by_role("alert").count() == 0
    assert serious(tab) == []


def refusing(status, detail):
    """What a route answers in place of the server, as it would answer itself."""
    problem = {"type": "about:blank", "title": "No", "status": status, "detail": detail}
    return {
        "status": status,
        "content_type": "application/problem+json",
        "body": json.dumps(problem),
    }


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_tells_what_the_server_refuses(tab, address, view):
    tab.route("**/v1/**", lambda route: route.fulfill(**refusing(503, "the store is away")))
    tab.goto(f"{address}#/{view}")
    tab.get_by_role("alert").first.wait_for()
    assert "the store is away" in tab.get_by_role("alert").first.inner_text()
    assert serious(tab) == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (refusing(401, "this API key is not valid"), "this API key is not valid"),
        (refusing(403, "this API key lacks the scope recommend"), "lacks the scope recommend"),
        (refusing(404, "there is no user 'x'"), "there is no user 'x'"),
        (refusing(429, "more than 5 per second; wait a moment"), "wait a moment"),
        (refusing(500, "<b>it broke</b>"), "<b>it broke</b>"),
        ({"status": 500, "body": "<h1>Bad</h1>"}, "The server answered 500"),
        ({"status": 502, "body": ""}, "The server answered 502"),
    ],
    ids=["401", "403", "404", "429", "500", "500 without words", "502"],
)
def test_an_error_of_each_kind_is_told_and_gone_when_it_is_over(tab, address, answer, words):
    tab.goto(f"{address}#/recommend?user=reader-1")
    settled(tab)
    tab.route("**/v1/recommendations", lambda route: route.fulfill(**answer))
    tab.get_by_role("button", name="to the session").first.click()
    tab.get_by_role("alert").wait_for()
    assert words in tab.get_by_role("alert").inner_text()
    tab.unroute("**/v1/recommendations")
    tab.get_by_role("button", name="Remove").last.click()
    tab.locator(".item .title").first.wait_for()
    assert tab.get_by_role("alert").count() == 0


def test_a_server_that_is_gone_is_a_sentence(tab, address):
    tab.goto(f"{address}#/recommend?user=reader-1")
    settled(tab)
    tab.context.set_offline(True)
    tab.get_by_role("button", name="to the session").first.click()
    tab.get_by_role("alert").wait_for()
    assert "does not answer" in tab.get_by_role("alert").inner_text()


def test_a_refused_request_is_told_as_the_server_words_it(tab, address):
    tab.goto(f"{address}#/recommend?user=reader-1&profile=nothing")
    tab.get_by_role("alert").wait_for()
    assert "profile 'nothing' is not one of" in tab.get_by_role("alert").inner_text()
