"""The page on every route: made of the OpenAPI document, and each of its calls is tried."""

import json
import re
import shutil
import sys
import tomllib
from http.client import HTTPConnection

import pytest
from node import PROGRAMS, ROOT, node
from test_api_worker import served
from test_python_client import LEFT_OUT
from test_typescript_client import app, document  # noqa: F401  # fixtures

from api.cli.main import run
from nichegraph_client import Client
from recommender.releases.home import Home
from recommender.releases.publishing import current

sys.path.append(str(ROOT / "docs" / "site"))
import routes

EXAMPLES = tomllib.loads(routes.EXAMPLES.read_text(encoding="utf-8"))
KNOWN = routes.operations(routes.document())
LOADS = (
    "plays.csv --column user=listener --column item=track --column at=when",
    "tracks.csv --table items --column id=track --column title=name --column tags:genre=genres",
)


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A home with what docs/example has, and more listeners: of few people nothing is told."""
    example = shutil.copytree(
        ROOT / "docs" / "example", tmp_path_factory.mktemp("home") / "example"
    )
    folder, tracks = example.with_name("home"), ("goldberg", "partitas", "art-of-fugue")
    with (example / "plays.csv").open("a") as plays:
        for number in range(60):
            plays.write(f"listener-{number // 2},{tracks[number % 3]},2026-02-08\n")
    for words in LOADS:
        assert run(["--home", str(folder), "load", *f"{example}/{words}".split()]) == 0
    assert run(["--home", str(folder), "refresh"]) == 0
    return folder


@pytest.fixture
def home(learned, tmp_path, monkeypatch):
    for switch in ("CONSOLE_ENABLED", "SIMILAR_USERS_ENABLED"):
        monkeypatch.setenv(f"NICHEGRAPH_{switch}", "true")
    return Home(shutil.copytree(learned, tmp_path / "home"))


def test_every_route_has_an_example_and_a_call_by_both_clients_or_by_none():
    assert set(EXAMPLES) == set(KNOWN)
    for name, example in EXAMPLES.items():
        assert {"python", "typescript"} & set(example) == (
            set() if name in LEFT_OUT else {"python", "typescript"}
        ), name
        method, route, _ = KNOWN[name]
        assert re.fullmatch(re.sub(r"\{\w+\}", "[^/?]+", route), example["ask"].partition("?")[0])
        assert ("body" in example) == (method in ("POST", "PUT", "PATCH") and "pin" not in name)
        if name not in LEFT_OUT:
            camel = re.sub("_(.)", lambda match: match[1].upper(), name)
            assert example["python"].startswith(f"service.{name}(")
            assert example["typescript"].startswith(f"service.{camel}(")


def test_every_request_is_answered_as_the_page_says(home):
    with served(home.folder, "--workers", "1") as port:
        for name, example in EXAMPLES.items():
            method, _, operation = KNOWN[name]
            ask = example["ask"].replace("{release}", current(home))
            connection = HTTPConnection("127.0.0.1", port, timeout=30)
            body = example.get("body")
            headers = {} if body is None else {"Content-Type": "application/json"}
            connection.request(method, ask, body and body.encode(), headers)
            answer = connection.getresponse()
            assert str(answer.status) in operation["responses"], (name, answer.read())
            assert answer.status in (200, 202), (name, answer.read())
            connection.close()


def test_every_call_in_python_works(home):
    with (
        served(home.folder, "--workers", "1") as port,
        Client(f"http://127.0.0.1:{port}") as service,
    ):
        for name, example in EXAMPLES.items():
            if "python" in example:
                assert eval(example["python"], {"service": service}) is not None, name


def test_every_call_in_typescript_is_typed_and_works(home, app):
    calls = [example["typescript"] for example in EXAMPLES.values() if "typescript" in example]
    with served(home.folder, "--workers", "1") as port:
        lines = [
            'import { Client } from "nichegraph-client";',
            f'const service = new Client("http://127.0.0.1:{port}");',
            *(f"if (!(await {call})) throw new Error({json.dumps(call)});" for call in calls),
        ]
        (app / "calls.ts").write_text("\n".join(lines))
        strict = ["--strict", "--module", "nodenext", "--target", "es2022", "--lib", "es2022,dom"]
        node(PROGRAMS / "tsc", *strict, "calls.ts", folder=app)
        node("calls.js", folder=app)


def test_the_page_names_each_parameter_and_field():
    page, described = routes.page(), routes.document()
    for method, route, operation in KNOWN.values():
        part = page.partition(f"## {method} {route} ")[2].partition("\n## ")[0]
        assert part, route
        for parameter in operation.get("parameters", ()):
            assert f"`{parameter['name']}`" in part and parameter["description"], parameter
    for name, schema in described["components"]["schemas"].items():
        part = page.partition(f"### {name}\n")[2].partition("\n### ")[0]
        for field, content in schema.get("properties", {}).items():
            assert f"`{field}`" in part, (name, field)
            assert content.get("description") or "$ref" in content, (name, field)
