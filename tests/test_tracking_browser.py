"""The tracking snippet in a real Chromium, on pages of another site than the service."""

import io
import json
import re
import shutil
import threading
import time
import wave

import httpx
import jsonschema_rs
import pytest
from browser import chromium, missing, serving
from werkzeug.serving import make_server

from api.keys import KeyFile
from api.routes import page
from nichegraph_client import Client
from recommender.inbox.journal import Journal
from recommender.releases.home import Home

pytestmark = pytest.mark.browser
HEARD = """document.addEventListener('nichegraph:event', ({detail}) => window.heard(detail))"""


def recording():
    """A tenth of a second of silence."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 1, 8000, 800, "NONE", ""))
        sound.writeframes(b"\x80" * 800)
    return file.getvalue()


@pytest.fixture(scope="module")
def browser():
    reason = missing()
    if reason:
        pytest.skip(reason)
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def home(planted_home, tmp_path_factory):
    return Home(shutil.copytree(planted_home.folder, tmp_path_factory.mktemp("track") / "home"))


@pytest.fixture(scope="module")
def shop():
    """Another site: its address, and its pages by path, for tests to write.

    As a proxy it passes events on to the service whose address is `pages["service"]`.
    """
    pages = {}

    def answer(environ, begin):
        if environ["PATH_INFO"] == "/v1/events":
            body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            headers = {"Content-Type": environ["CONTENT_TYPE"]}
            got = httpx.post(f"{pages['service']}v1/events", content=body, headers=headers)
            begin(f"{got.status_code} Done", [("Content-Type", "application/json")])
            return [got.content]
        kind, content = pages.get(environ["PATH_INFO"], ("text/plain", b""))
        begin("200 OK", [("Content-Type", kind)])
        return [content]

    server = make_server("127.0.0.1", 0, answer, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", pages
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def service(home, shop):
    """The address of the service, a key for pages, and a client that may read lists."""
    keys = KeyFile(home.keys)
    tracking = keys.create(["track"], now=int(time.time())).secret
    reading = keys.create(["recommend"], now=int(time.time())).secret
    with (
        serving(home.folder, cors_origins=shop[0]) as address,
        Client(address, key=reading) as client,
    ):
        yield address, tracking, client


@pytest.fixture
def proxied(shop, tmp_path):
    """The home of a service without keys, which the shop's own origin leads to."""
    other = Home(tmp_path / "open").create()
    with serving(other.folder) as address:
        shop[1]["service"] = address
        yield other


@pytest.fixture
def visit(browser, service, shop):
    """Opens a browser context for a site with some pages; closes it at the end."""
    own, own_key, _ = service
    opened = []

    def begin(site, user, consent="granted", script="", service=None, key=own_key):
        context = browser.new_context(viewport={"width": 800, "height": 600})
        context.set_default_timeout(20_000)
        opened.append(context)
        context.heard, context.requests = [], []
        context.expose_function("heard", lambda event: context.heard.append(event))  # noqa: PLW0108
        context.add_init_script(f"{script};{HEARD}")
        context.on("request", lambda request: context.requests.append(request.url))
        for path, (item, body) in site.items():
            marks = {
                "key": key, "user": user, "item": item, "consent": consent, "service": service
            }  # fmt: skip
            data = " ".join(f'data-{name}="{text}"' for name, text in marks.items() if text)
            head = f'<script src="{own}track.js" {data}></script>'
            html = f"<!doctype html><title>A page</title>{head}{body}"
            shop[1][path] = ("text/html; charset=utf-8", html.encode())
        return context

    shop[1]["/a.wav"] = ("audio/wav", recording())
    yield begin
    for context in opened:
        context.close()


def until(tab, condition):
    """Wait while the browser goes on."""
    for _ in range(300):
        if condition():
            return
        tab.wait_for_timeout(100)
    raise AssertionError("waited in vain")


def facts(home, user):
    """What the journal holds of a user, as (kind, payload)."""
    journal = Journal(home.inbox)
    try:
        rows = journal.facts_after(0)
        return [
            (row.payload.get("kind", row.kind), row.payload)
            for row in rows
            if row.payload.get("user") == user
        ]
    finally:
        journal.close()


def kinds(home, user):
    return [kind for kind, _ in facts(home, user)]


def test_what_a_visitor_does_on_a_page_counts_in_their_next_list(visit, shop, home, service):
    _, _, client = service
    before = client.recommend("ines", n=5)
    assert before.served_by != "history"
    first = before.items[1].item
    rows = "".join(
        f'<li data-ng-item="{entry.item}" data-ng-position="{n}" style="height: 250px">'
        f'<a href="/item">{entry.title}</a></li>'
        for n, entry in enumerate(before.items, 1)
    )
    site = {
        "/list": (None, f'<ol data-ng-request="{before.request_id}">{rows}</ol>'),
        "/item": (
            first,
            """<audio src="/a.wav" muted></audio><form name="letter" onsubmit="return false">
            <button>Send</button></form><p style="height: 3000px">""",
        ),
        "/end": (None, ""),
    }
    context = visit(site, "ines")
    tab = context.new_page()
    tab.goto(f"{shop[0]}/list?secret=1")
    until(tab, lambda: sum(event["event"] == "impression" for event in context.heard) >= 2)
    tab.locator(f'[data-ng-item="{first}"] a').click()
    tab.wait_for_url(f"{shop[0]}/item")
    tab.evaluate("document.querySelector('audio').play()")
    until(tab, lambda: any(event["event"] == "play" for event in context.heard))
    tab.get_by_role("button", name="Send").click()
    tab.evaluate("scrollTo(0, 1200)")
    tab.evaluate(
        """dataLayer.push({event: "purchase", ecommerce: {items: [{item_id: "item-2"}]}});
        nichegraph.track({event: "rating", item: "item-3", value: 5});
        nichegraph.track({event: "add_to_list", item: "item-4", list: "later"});
        gtag = function () { dataLayer.push(arguments) };
        gtag("event", "search", {search_term: "moss"});
        new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"""
    )
    tab.goto(f"{shop[0]}/end")
    until(tab, lambda: "scroll" in kinds(home, "ines"))
    happened = dict(facts(home, "ines"))
    assert {happened[kind]["item"] for kind in ("view", "play", "click", "scroll")} == {first}
    assert happened["click"]["position"] == 2
    assert happened["play"]["value"] == 1.0  # all of it
    assert 0.4 < happened["scroll"]["value"] < 0.7  # 1,800 of about 3,100 points
    assert (happened["purchase"]["item"], happened["purchase"]["value"]) == ("item-2", 1)
    assert (happened["rating"]["value"], happened["add"]["item"]) == (5, "item-4")
    assert "impression" in happened and "search" not in happened and "form" not in happened
    after = client.recommend("ines", n=5)
    assert after.served_by == "history"
    assert first not in [entry.item for entry in after.items]

    names = [event["event"] for event in context.heard]
    assert {"search", "form", "page_view"} <= set(names)  # the site's own scripts hear of all
    schema = json.loads((page.BUNDLE / "track.schema.json").read_text())
    check = jsonschema_rs.validator_for(schema)
    for event in context.heard:
        assert check.is_valid(event), (event, [str(error) for error in check.iter_errors(event)])
        assert "secret" not in json.dumps(event)
    search = next(event for event in context.heard if event["event"] == "search")
    assert search["query"] == "moss"


def test_who_signs_in_is_named_until_they_sign_out(visit, shop):
    context = visit({"/door": ("goldberg", "")}, None)
    tab = context.new_page()
    tab.goto(f"{shop[0]}/door")
    tab.evaluate("nichegraph.identify('nora')")
    tab.evaluate("nichegraph.track({event: 'rating', item: 'goldberg', value: 5})")
    tab.evaluate("nichegraph.user()")
    tab.evaluate("nichegraph.track({event: 'rating', item: 'goldberg', value: 4})")
    until(tab, lambda: len(context.heard) == 3)
    viewed, rated, after = context.heard
    assert [event.get("user") for event in context.heard] == [None, "nora", None]
    assert viewed["session"] == rated["session"] != after["session"]


def test_events_survive_a_lost_connection_and_the_end_of_the_page(visit, shop, home):
    context = visit({"/item": ("item-1", ""), "/end": (None, "")}, "olga")
    tab = context.new_page()
    tab.goto(f"{shop[0]}/item")
    until(tab, lambda: kinds(home, "olga") == ["view"])
    context.set_offline(True)
    tab.evaluate("nichegraph.track({event: 'rating', item: 'item-1', value: 4})")
    tab.evaluate("nichegraph.flush()")
    tab.close()  # while there is no connection
    assert kinds(home, "olga") == ["view"]
    context.set_offline(False)
    tab = context.new_page()
    tab.goto(f"{shop[0]}/end")
    until(tab, lambda: kinds(home, "olga") == ["view", "rating"])
    # at once before the page ends, long before events would have gathered
    tab.evaluate(
        "nichegraph.track({event: 'purchase', item: 'item-2', quantity: 3}); location = '/item'"
    )
    until(tab, lambda: "purchase" in kinds(home, "olga"))
    until(tab, lambda: tab.evaluate("nichegraph.flush().then(() => localStorage.length)") == 0)
    assert kinds(home, "olga").count("rating") == kinds(home, "olga").count("purchase") == 1


def test_a_browser_without_keepalive_sends_a_beacon(visit, shop, proxied):
    site = {"/item": ("item-1", ""), "/end": (None, "")}
    old = "delete Request.prototype.keepalive"
    context = visit(site, "bea", script=old, service=shop[0], key=None)
    tab = context.new_page()
    tab.goto(f"{shop[0]}/item")
    tab.goto("about:blank")  # long before events would have gathered
    until(tab, lambda: kinds(proxied, "bea") == ["view"])
    tab.goto(f"{shop[0]}/end")
    # whether it arrived was not known, so it is sent again, and counts once
    until(tab, lambda: tab.evaluate("nichegraph.flush().then(() => localStorage.length)") == 0)
    assert kinds(proxied, "bea") == ["view"]


@pytest.mark.parametrize("answer", ["{}", "5", "{personalise: true}", "{track: 0}"])
def test_an_answer_that_does_not_say_yes_is_a_no(visit, shop, answer):
    context = visit({"/item": ("item-1", "")}, "nick", consent=None)
    tab = context.new_page()
    tab.goto(f"{shop[0]}/item")
    tab.evaluate(f"nichegraph.consent({answer})")
    tab.evaluate("nichegraph.flush()")
    assert tab.evaluate("Object.keys(localStorage)") == ["ng-consent"]
    tab.reload()  # what is kept says the same
    tab.evaluate("nichegraph.track({event: 'rating', item: 'item-1', value: 1})")
    tab.evaluate("nichegraph.flush()")
    assert context.heard == []
    assert [url for url in context.requests if "/v1/" in url] == []


@pytest.mark.parametrize(
    "wish", ["Object.defineProperty(navigator, 'doNotTrack', {get: () => '1'})",
             "Object.defineProperty(navigator, 'globalPrivacyControl', {get: () => true})"],
    ids=["do not track", "global privacy control"],
)  # fmt: skip
def test_whoever_does_not_want_to_be_tracked_is_not(visit, shop, home, wish):
    context = visit({"/item": ("item-1", "")}, "dora", script=wish)
    tab = context.new_page()
    tab.goto(f"{shop[0]}/item")
    tab.evaluate("nichegraph.consent('granted')")  # a banner cannot overrule the browser
    tab.evaluate("nichegraph.track({event: 'rating', item: 'item-1', value: 4})")
    tab.evaluate("nichegraph.flush()")
    kept = tab.evaluate("[Object.keys(localStorage), Object.keys(sessionStorage)]")
    tab.goto("about:blank")
    assert kept == [["ng-consent"], []]
    assert context.heard == []
    assert [url for url in context.requests if "/v1/" in url] == []
    assert kinds(home, "dora") == []


def test_nothing_is_kept_or_sent_without_the_visitors_consent(visit, shop, home):
    context = visit({"/item": ("item-1", "")}, "carla", consent=None)
    tab = context.new_page()
    tab.goto(f"{shop[0]}/item")
    tab.evaluate("nichegraph.flush()")
    assert tab.evaluate("localStorage.length + sessionStorage.length") == 0
    assert [url for url in context.requests if "/v1/" in url] == []
    tab.evaluate("nichegraph.consent({track: true, personalise: false})")
    until(tab, lambda: kinds(home, "carla") == ["view"])  # what happened before counts now
    tab.evaluate("nichegraph.track({event: 'rating', item: 'item-1', value: 4})")
    tab.evaluate("nichegraph.consent('denied'); nichegraph.flush()")
    kept = tab.evaluate("[Object.keys(localStorage), Object.keys(sessionStorage)]")
    assert kept == [["ng-consent"], []]
    tab.goto("about:blank")
    assert kinds(home, "carla") == ["view"]


def test_the_snippet_is_small_and_any_site_may_load_it(browser, service):
    address, _, client = service
    answer = client._http.get(f"{address}track.js")
    assert len(answer.content) < 5_000
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
    schema = client._http.get(f"{address}track.schema.json")
    assert schema.json()["title"] == "Tracking event"
    assert schema.headers["Content-Type"].startswith("application/schema+json")


def test_the_docs_have_a_line_for_each_event_with_its_fields():
    source = page.BUNDLE.parent / "src" / "tracking.schema.json"
    schema = json.loads(source.read_text())
    text = (source.parents[3] / "docs" / "tracking.md").read_text()
    table = re.search(r"^\| event \|.*\n\|.*\n((?:\|.*\n)+)", text, re.MULTILINE)
    cells = [line.split(" |") for line in table[1].splitlines()]
    lines = {name.strip("| `"): fields for name, fields, *_ in cells}
    assert list(lines) == schema["properties"]["event"]["enum"]
    for kind in schema["oneOf"]:
        named = set(re.findall(r"`(\w+)`", lines[kind["properties"]["event"]["const"]]))
        needed = set(kind["properties"]) | set(kind.get("required", []))
        assert needed - {"event", "item"} <= named


@pytest.mark.parametrize(
    ("change", "good"),
    [
        ({}, True),
        ({"event": "play", "share": 0.5}, True),
        ({"event": "play"}, False),  # no share
        ({"event": "play", "share": 1.5}, False),
        ({"event": "rating"}, False),  # no value
        ({"event": "impression"}, False),  # of which list?
        ({"event": "impression", "request_id": "r", "position": 0}, False),
        ({"event": "dance"}, False),
        ({"consent": {"track": False}}, False),
        ({"share": 0.5}, False),  # of a page view
        ({"event": "purchase", "price": 3.5, "currency": "EUR", "quantity": 2}, True),
    ],
)
def test_the_schema_tells_events_from_what_is_none(change, good):
    reason = missing()
    if reason:
        pytest.skip(reason)
    event = {
        "event": "page_view", "id": "a1", "at": 1_760_000_000_000, "session": "s", "item": "i",
        "context": {"page": "https://shop.example/i"}, "consent": {"track": True},
    }  # fmt: skip
    schema = json.loads((page.BUNDLE / "track.schema.json").read_text())
    assert jsonschema_rs.validator_for(schema).is_valid(event | change) is good
