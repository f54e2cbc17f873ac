"""The TypeScript client: typed by the OpenAPI document, and tried on a running server."""

import json
import re
import shutil
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from browser import chromium, missing, serving
from node import PROGRAMS, ROOT, node, programs
from test_api_worker import served
from test_python_client import LEFT_OUT

import nichegraph_client
from api.app import create_app
from api.keys import subject_of
from api.settings import load_settings
from recommender.ranking.request import Request
from recommender.releases.home import Home

NOW = 1_760_000_000
SOURCE = ROOT / "clients" / "typescript"
PAGE = """<!doctype html><script type="importmap">
{"imports": {"nichegraph-client": "/node_modules/nichegraph-client/dist/index.js"}}</script>"""


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    return create_app(load_settings(tmp_path_factory.mktemp("home"))).api_doc


@pytest.fixture(scope="module")
def app(document, tmp_path_factory):
    """A folder in which the package is installed: types made, compiled under its own settings."""
    programs()
    folder = tmp_path_factory.mktemp("app")
    package = folder / "node_modules" / "nichegraph-client"
    shutil.copytree(SOURCE, package, ignore=shutil.ignore_patterns("node_modules", "schema.d.ts"))
    (folder / "openapi.json").write_text(json.dumps(document))
    made = package / "src" / "schema.d.ts"
    node(PROGRAMS / "openapi-typescript", "openapi.json", "--output", made, folder=folder)
    node(PROGRAMS / "tsc", "--project", package, folder=folder)
    shutil.copy(made, package / "dist")
    shutil.copy(SOURCE / "examples" / "shop.ts", folder)
    shutil.copy(ROOT / "tests" / "clients" / "package.mjs", folder)
    (folder / "package.json").write_text('{"type": "module"}')
    return folder


@pytest.fixture(scope="module")
def port(planted_home, tmp_path_factory):
    home = shutil.copytree(planted_home.folder, tmp_path_factory.mktemp("client") / "home")
    with served(home, "--workers", "1") as opened:
        yield opened


@pytest.fixture(
    scope="module", params=["node", pytest.param("chromium", marks=pytest.mark.browser)]
)
def asked_for(request, planted):
    """What `tests/clients/package.mjs` saw, under Node and in a browser."""
    ask = {"node": "in_node", "chromium": "in_chromium"}[request.param]
    return request.getfixturevalue(ask)(planted.answers.users[0])


@pytest.fixture(scope="module")
def in_node(app, port):
    return lambda user: json.loads(
        node("package.mjs", f"http://127.0.0.1:{port}", user, folder=app)
    )


@pytest.fixture(scope="module")
def in_chromium(app, planted_home, tmp_path_factory):
    """On a page of another site, which loads the package as it is: modules, no bundle."""
    if reason := missing():
        pytest.skip(reason)
    (app / "index.html").write_text(PAGE)
    home = Home(shutil.copytree(planted_home.folder, tmp_path_factory.mktemp("browser") / "home"))

    def ask(user):
        with (
            files(app) as site,
            serving(home.folder, cors_origins=site) as service,
            chromium() as browser,
        ):
            tab = browser.new_page()
            tab.goto(site)
            script = "async ([own, user]) => (await import('/package.mjs')).tried(own, user)"
            return tab.evaluate(script, [service, user])

    return ask


@contextmanager
def files(folder):
    """The origin of a site that serves the files of a folder."""
    handler = partial(SimpleHTTPRequestHandler, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_each_operation_has_a_method_or_is_left_out_on_purpose(asked_for, document):
    operations = {
        operation["operationId"]
        for methods in document["paths"].values()
        for operation in methods.values()
    }
    camel = {re.sub("_(.)", lambda m: m[1].upper(), name) for name in operations - LEFT_OUT}
    assert set(asked_for["methods"]) == camel | {"constructor", "track"}


def test_the_lists_are_those_of_the_release(asked_for, recommender, planted):
    user = planted.answers.users[0]
    own = [
        entry.item for entry in recommender.recommend([Request(user=user, n=5)], now=NOW)[0].items
    ]
    assert asked_for["lists"] == {
        "own": own,
        "reason": True,
        "only": True,
        "many": own,
        "pages": [entry.item for entry in recommender.popular(10, now=NOW).items],
        "unknown": [True, 404],
    }


def test_what_is_written_is_taken_once(asked_for):
    assert asked_for["writes"] == {
        "first": "taken",
        "again": "repeated",
        "put": 1,
        "item": ["a/b", None, "odd"],
        "consent": {"personalise": False, "train": True, "track": True},
        "erased": True,
    }


def test_what_failed_is_sent_again_and_what_was_refused_is_not(asked_for):
    assert asked_for["retries"] == {
        "sequence": 7,
        "sameBody": True,
        "keepalive": True,
        "headers": ["Bearer ng_1", "token"],
        "waited": True,
        "sameKey": True,
        "refused": [400, "n", 1],
        "slow": [429, 1],
        "gone": True,
        "proxy": True,
        "dots": "user: .. cannot stand in an address",
        "path": "http://shop/recommend/v1/users/a%2Fb%3Fc%23d",
    }


def test_both_clients_sign_alike(asked_for):
    event = {"user": "a", "item": "b", "event_id": "c"}
    pixel = nichegraph_client.pixel_address("http://shop/", "1f2e3d4c", "secret", event, 9)
    assert asked_for["pixel"] == pixel
    # Python escapes the umlaut in its JSON; what counts is what the service reads
    assert subject_of(asked_for["token"], "secret", 1_760_000_000 - 60) == "älice"
    token = nichegraph_client.subject_token("secret", "älice", 1_760_000_000)
    assert subject_of(token, "secret", 1_760_000_000 - 60) == "älice"


@pytest.mark.parametrize(
    ("page", "lines", "last"), [("clients.md", 4, "404 "), ("api.md", 1, "5 [ 5, 5 ] ")]
)
def test_the_block_of_the_docs_runs(app, port, monkeypatch, page, lines, last):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    (block,) = re.findall(r"^```javascript run\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (app / "docs.mjs").write_text(block)
    monkeypatch.setenv("SERVICE", f"http://127.0.0.1:{port}")
    printed = node("docs.mjs", folder=app).splitlines()
    assert len(printed) == lines and printed[-1].startswith(last)


def test_the_example_is_typed_and_shows_what_an_event_changes(app, port, planted):
    strict = ["--strict", "--noEmit", "--module", "nodenext", "--target", "es2022"]
    node(PROGRAMS / "tsc", *strict, "--lib", "es2022,dom", "shop.ts", folder=app)
    user = planted.answers.users[1]
    output = node("shop.ts", f"http://127.0.0.1:{port}", user, folder=app)
    before, _, after = output.partition("\n\nAfter ")
    assert len(before.splitlines()) == 5 and len(after.splitlines()) == 6
    first = before.splitlines()[0].partition(" - ")[0]
    assert after.startswith(f"{first}:") and first not in after.splitlines()[1:]
