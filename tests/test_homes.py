"""Every command works whatever the home is called and wherever it is called from."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from api.cli.main import run

HOMES = ["nichegraph-home", "mein Katalog/домашня 家", "../elsewhere/a home"]
EVENTS = "user,item,kind\n" + "".join(
    f"u{u},i{(u * 5 + k * (k + 1) // 2) % 24},like\n" for u in range(24) for k in range(5)
)
COUNT = "MATCH (u:User) RETURN count(u) AS n"


@pytest.fixture(params=HOMES)
def home(request, tmp_path, monkeypatch):
    """A home that is said relatively to the folder one stands in, with one release."""
    here = tmp_path / "somewhere else"
    here.mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(here)
    monkeypatch.delenv("NICHEGRAPH_HOME", raising=False)
    Path("events.csv").write_text(EVENTS)
    for words in (["load", "events.csv"], ["refresh", "--preset", "fast"]):
        assert run(["--home", request.param, *words]) == 0
    return request.param


def commands(home):
    """Each command as one would call it, with paths that are relative too."""
    Path("rules.toml").write_text("")
    Path("items.csv").write_text("id,title\n" + "".join(f"i{i},Item {i}\n" for i in range(24)))
    Path("later.csv").write_text(
        "user,item\n" + "".join(f"u{u},i{(u * 5 + 15) % 24}\n" for u in range(24))
    )
    yield ["recommend", "u1"]
    yield ["recommend", "--all", "--out", "lists.parquet"]
    yield ["similar", "i1"]
    yield ["explain", "u1", "i1", "--picture", "why.svg"]
    yield ["explore", COUNT]
    yield ["explore", COUNT, "--pseudonyms"]
    yield ["rules", "check", "--file", "rules.toml"]
    yield ["segments"]
    yield ["status"]
    for part in (["list"], ["prune"]):
        yield ["releases", *part]
    yield ["evaluate", "--train", "events.csv", "--test", "later.csv", "--no-baselines"]
    yield ["export", "all.graphml"]
    yield ["load", "items.csv", "--table", "items", "--replace"]
    yield ["refresh", "--preset", "fast"]
    yield ["erase", "u1"]
    yield ["explore", COUNT]


def test_commands_find_a_relative_home(home, capfd):
    for words in commands(home):
        capfd.readouterr()
        code = run(["--home", home, *words])
        assert code == 0, (words, capfd.readouterr())


def test_the_server_and_its_processes_find_a_relative_home(home):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [
            Path(sys.executable).with_name("nichegraph"),
            "--home",
            home,
            "serve",
            "--port",
            str(port),
        ],
        env={
            "NICHEGRAPH_CONSOLE_ENABLED": "true",
            "NICHEGRAPH_WORKERS": "1",
            "PATH": "/usr/bin",
            **{name: os.environ[name] for name in ("NUMBA_CACHE_DIR",) if name in os.environ},
        },
    )
    try:
        assert ask(port, "/v1/users/u1/recommendations")["items"]
        assert ask(port, "/v1/cypher", {"query": COUNT, "parameters": {}})["rows"] == [[24]]
    finally:
        server.terminate()
        server.wait(30)


def ask(port, path, body=None):
    """The answer of a server that is starting."""
    for _ in range(150):
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read()) from error
        except OSError:
            time.sleep(0.2)
    raise AssertionError("the server did not start")
