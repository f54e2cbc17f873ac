"""The compose file and the Dockerfile, piece by piece, without an engine."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from neo4j_fixture import missing, servers
from store_contract import batch_of_everything

from api.settings import Settings
from graph.stores.embedded_store import EmbeddedStore
from graph.stores.neo4j_store import Neo4jStore
from graph.snapshot import take_snapshot

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


@pytest.fixture(scope="module")
def dockerfile():
    return (ROOT / "Dockerfile").read_text()


def test_what_we_set_are_settings_and_fit(compose, monkeypatch):
    for service in ("api", "refresh"):
        given = compose["services"][service]["environment"]
        for name, value in given.items():
            assert name.startswith("NICHEGRAPH_")
            assert name.removeprefix("NICHEGRAPH_").lower() in Settings.model_fields, name
            monkeypatch.setenv(name, value)
        assert Settings().store == "bolt://neo4j:7687"


def test_nothing_is_published_beyond_loopback(compose):
    for service in compose["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_no_secret_stands_in_the_files(compose, dockerfile):
    for service in compose["services"].values():
        named = [name for name in service["environment"] if "PASSWORD" in name or "AUTH" in name]
        assert all(name.endswith("_FILE") for name in named)
        assert service["secrets"] == ["neo4j_password"]
    assert "PASSWORD" not in dockerfile


def test_every_service_has_a_memory_limit_and_what_runs_on_is_watched(compose):
    for name, service in compose["services"].items():
        assert service["mem_limit"]
        assert name == "refresh" or service["healthcheck"]["test"]


def test_the_version_is_pinned_to_the_one_that_is_tested(compose):
    assert compose["services"]["neo4j"]["image"] == f"neo4j:{servers().VERSION}-community"


def test_targets_exist_copy_what_is_there_and_only_training_has_torch(compose, dockerfile):
    stages = dict(re.findall(r"FROM \S+ AS (\w+)\n(.*?)(?=\nFROM|\Z)", dockerfile, re.S))
    for service in ("api", "refresh"):
        assert compose["services"][service]["build"]["target"] in stages
    assert ",train]" not in stages["serve"] and ",train]" in stages["train"]
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line[0] == "!"}
    copied = re.findall(r"^COPY (.+) \S+$", dockerfile, re.M)
    for name in " ".join(copied).split():
        assert (ROOT / name).exists() and name in kept


def test_the_client_finds_it_valid():
    docker = shutil.which("docker")
    if not docker or subprocess.run([docker, "compose", "version"], capture_output=True).returncode:
        pytest.skip("no docker client with compose")
    command = [docker, "compose", "--profile", "jobs", "config", "--quiet"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.neo4j
def test_a_server_with_these_settings_carries_the_store_and_the_command_line(compose, tmp_path):
    """The server knows every setting (it checks strictly), and `load`, `refresh`, `status`,
    `export`, `erase` run with the environment of the job, but for places."""
    module = servers()
    if module.missing():
        missing(module.missing())
    settings = {
        name.removeprefix("NEO4J_").replace("__", "\0").replace("_", ".").replace("\0", "_"): value
        for name, value in compose["services"]["neo4j"]["environment"].items()
    }
    small = {name: "512m" for name in settings if ".heap." in name}
    small |= {"dbms.memory.transaction.total.max": "256m", "db.memory.transaction.max": "200m"}
    server = module.Server(tmp_path / "neo4j", heap="512m", settings=settings | small).start()
    try:
        store = Neo4jStore(server.uri, "neo4j", module.PASSWORD, deadline=30.0)
        embedded = EmbeddedStore(tmp_path / "same.sqlite")
        for one in (store, embedded):
            one.apply(batch_of_everything())
        assert take_snapshot(store).fingerprint == take_snapshot(embedded).fingerprint
        secret = tmp_path / "password"
        secret.write_text(module.PASSWORD + "\n")
        environment = dict(compose["services"]["refresh"]["environment"])
        environment |= {
            "NICHEGRAPH_HOME": str(tmp_path / "home"),
            "NICHEGRAPH_STORE": server.uri,
            "NICHEGRAPH_NEO4J_DEADLINE": "60",  # a server just started, beside other tests
            "NICHEGRAPH_NEO4J_PASSWORD_FILE": str(secret),
        }
        file = tmp_path / "events.csv"
        rows = [f"u{k % 20},i{k % 17}" for k in range(200)]
        file.write_text("\n".join(["user,item", *rows]) + "\n")
        drawn = tmp_path / "around.graphml"
        for arguments in (
            ["load", str(file)],
            ["refresh", "--preset", "fast"],
            ["status"],
            ["export", str(drawn), "--item", "i1"],
            ["erase", "u1"],
        ):
            done = subprocess.run(
                [sys.executable, "-m", "api.cli.main", *arguments],
                cwd=ROOT,
                env=os.environ | environment,
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        assert store.counts()["users"] == 19 + 3
        assert store.user_events("u1").num_rows == 0
        assert "<graphml" in drawn.read_text()
        store.close()
        embedded.close()
    finally:
        server.kill()
