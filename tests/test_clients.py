"""Clients that generators make from the OpenAPI document ask a running server."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_api_worker import get, served

from recommender.ranking.request import Request

CLIENTS = Path(__file__).parent / "clients"
GENERATOR = "openapi-python-client==0.29.1"  # needs another typer than ours: a place of its own
NOW = 1_760_000_000


@pytest.fixture(scope="module")
def server(used_home):
    with served(used_home.folder, "--workers", "1") as port:
        yield port


@pytest.fixture(scope="module")
def document(server, tmp_path_factory):
    path = tmp_path_factory.mktemp("document") / "openapi.json"
    path.write_text(json.dumps(get(server, "/openapi/openapi.json")))
    return path


def done(command, folder, skip=None):
    """What a command prints; a test is skipped where there is no registry to install from."""
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if result.returncode and skip:
        pytest.skip(f"{skip}: {result.stderr[-300:]}")
    assert result.returncode == 0, f"{result.stdout}{result.stderr}"
    return result.stdout


def expected(recommender, planted):
    """The same, asked in this process."""
    user = planted.answers.users[0]
    own = recommender.recommend([Request(user=user, n=5)], now=NOW)[0]
    session = Request(items={own.items[0].item: 1.0}, n=20)
    return {
        "own": [entry.item for entry in own.items],
        "many": [
            [entry.item for entry in answer.items]
            for answer in recommender.recommend([Request(user=user, n=5), session], now=NOW)
        ],
        "pages": [entry.item for entry in recommender.popular(10, now=NOW).items],
        "wrong": [404, 0],
    }


def test_a_python_client_is_made_and_used(server, document, tmp_path, recommender, planted):
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        pytest.skip("no uv beside this Python: the generator needs an environment of its own")
    done([uv, "venv", "--python", sys.executable, "venv"], tmp_path)
    python = tmp_path / "venv/bin/python"
    install = [uv, "pip", "install", "--python", python, GENERATOR]
    done(install, tmp_path, skip="the generator cannot be installed here")
    generate = [python, "-m", "openapi_python_client", "generate", "--path", document]
    output = done([*generate, "--output-path", "made", "--meta", "none"], tmp_path)
    assert "WARNING" not in output, output  # nothing is left out
    shutil.copy(CLIENTS / "client.py", tmp_path)
    user = planted.answers.users[0]
    output = done([python, "client.py", f"http://127.0.0.1:{server}", user], tmp_path)
    assert json.loads(output) == expected(recommender, planted)


def test_a_typescript_client_is_made_checked_and_used(
    server, document, tmp_path, recommender, planted
):
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("no Node with npm here: clients in TypeScript cannot be made")
    for name in ("package.json", "package-lock.json", "client.ts"):
        shutil.copy(CLIENTS / name, tmp_path)
    done(["npm", "ci", "--no-audit", "--no-fund"], tmp_path, skip="npm cannot install here")
    done(["npx", "openapi-typescript", document, "-o", "schema.d.ts"], tmp_path)
    assert (
        "Record<string, never>"
        not in (tmp_path / "schema.d.ts")
        .read_text()
        .partition("export interface components")[2]
        .partition("export type $defs")[0]
    )
    compiled = ["--strict", "--module", "nodenext", "--target", "es2022", "--outDir", "made"]
    done(
        [
            "npx",
            "tsc",
            *compiled,
            "--allowImportingTsExtensions",
            "--rewriteRelativeImportExtensions",
            "--skipLibCheck",
            "client.ts",
        ],
        tmp_path,
    )
    user = planted.answers.users[0]
    output = done(["node", "made/client.js", f"http://127.0.0.1:{server}", user], tmp_path)
    assert json.loads(output) == expected(recommender, planted)


def test_the_document_has_what_generators_need(document):
    """Servers; ways to present a key; no default that makes a field required; operations' names."""
    document = json.loads(document.read_text())
    assert document["servers"] == [{"url": "/"}]
    assert set(document["components"]["securitySchemes"]) == {"bearer", "key", "subject"}
    names = [
        operation["operationId"]
        for ways in document["paths"].values()
        for operation in ways.values()
    ]
    assert len(names) == len(set(names))
    assert {"recommend", "recommend_to_many", "similar_items"} <= set(names)
    parameters = {
        parameter["name"]: parameter
        for parameter in document["paths"]["/v1/users/{user}/recommendations"]["get"]["parameters"]
    }
    assert parameters["filter"]["schema"]["type"] == "string"
    subject = document["components"]["schemas"]["Subject"]
    assert "required" not in subject
    assert subject["properties"]["n"]["description"] == "How many items. Default: 20."
    assert '"default"' not in json.dumps(document)
