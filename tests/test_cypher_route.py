"""`POST /v1/cypher`: off by default, for this machine, and nobody is seen by name."""

import contextlib
import errno
import os
import resource

import pytest
import small_world

from api.app import create_app
from api.bootstrap import open_console
from api.settings import load_settings
from graph.errors import SettingError
from graph.explore import console_process
from graph.stores.embedded_store import EmbeddedStore
from recommender.learning.build import RefreshConfig
from recommender.learning.refresh import refresh
from recommender.releases.home import Home

COUNT = "MATCH (u:User) RETURN count(u) AS n"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The small world, learned from once."""
    home = Home(tmp_path_factory.mktemp("home")).create()
    store = EmbeddedStore(home.store)
    store.apply(small_world.batch())
    refresh(store, home, RefreshConfig(preset="fast", threads=1), now=small_world.START)
    store.close()
    return home


@pytest.fixture(scope="module")
def client(home):
    app = create_app(load_settings(home.folder, console_enabled=True))
    yield app.test_client()
    app.extensions["console"].close()


def ask(client, query, parameters=None, **how):
    body = {"query": query, "parameters": parameters or {}}
    return client.post("/v1/cypher", json=body, **how)


@pytest.fixture
def fresh(home, monkeypatch):
    """A client whose console has not started a process yet, and what it calls in the system."""
    app = create_app(load_settings(home.folder, console_enabled=True))
    yield app.test_client(), monkeypatch
    monkeypatch.undo()
    app.extensions["console"].close()


def problem(response, status):
    assert response.status_code == status, response.data
    assert response.content_type == "application/problem+json"
    return response.json


def test_it_is_off_unless_it_is_turned_on(home):
    off = create_app(load_settings(home.folder)).test_client()
    assert "console_enabled" in problem(ask(off, COUNT), 403)["detail"]


def test_rows_come_back_with_their_columns(client):
    query = "MATCH (i:Item)-[:`IN`]->(d:Domain) WHERE d.name = $name RETURN count(i) AS n"
    answer = ask(client, query, {"name": "noir"})
    assert answer.status_code == 200, answer.data
    assert answer.json["columns"] == ["n"]
    assert answer.json["rows"] == [[20]]
    assert answer.json["truncated"] is False


def test_users_are_pseudonyms_wherever_they_stand(client):
    result = ask(client, "MATCH (u:User) RETURN u.id, u").json["rows"]
    assert len(result) == small_world.USERS
    assert all(name.startswith("user-") and len(name) == 25 for name, _ in result)
    assert ask(client, "MATCH (u:User {id: 'user-01'}) RETURN u").json["rows"] == []


def test_the_cypher_of_a_reason_works_where_it_is_shown(client):
    """Over HTTP people are pseudonyms, in the answer of `why` too."""
    questions_asked = 0
    for user in [f"user-{u:02}" for u in range(1, 9)]:
        shown = client.get(f"/v1/users/{user}/recommendations?n=4").json["items"]
        for item in [entry["item"] for entry in shown]:
            explanation = client.get(f"/v1/users/{user}/recommendations/{item}/why").json
            for reason in explanation["reasons"]:
                answer = ask(client, **reason["cypher"])
                assert answer.status_code == 200, answer.data
                assert answer.json["rows"], reason
                assert f"'{user}'" not in str(reason["cypher"])
                questions_asked += "user" in reason["cypher"]["parameters"]
    assert questions_asked >= 30


@pytest.mark.parametrize("number", ["99999999999999999999", "-1" + "0" * 40, "1e999"])
def test_numbers_beyond_64_bits_are_refused(client, number):
    """In parameters, and in the query itself: a problem that says so, and no defect."""
    body = f'{{"query": "RETURN $x AS x", "parameters": {{"x": {number}}}}}'
    problem(client.post("/v1/cypher", data=body, content_type="application/json"), 400)
    problem(ask(client, f"RETURN {number} AS x"), 400)
    assert ask(client, "RETURN 1 AS x").json["rows"] == [[1]]


@pytest.mark.parametrize("how", [{"REMOTE_ADDR": "192.0.2.7"}, {"HTTP_X_FORWARDED_FOR": "::1"}])
def test_other_machines_are_refused(client, how):
    assert "only this machine" in problem(ask(client, COUNT, environ_overrides=how), 403)["detail"]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("CREATE (:Item {id: 'x'})", "CREATE"),
        ("MATCH (u:User) RETURN nothing(", "not run"),
        ("MATCH (i:Item {id: $id}) RETURN i", "$id"),
        ("MATCH (i:Item) RETURN i.colour", "not understood"),
    ],
)
def test_what_may_not_run_is_a_problem_that_says_why(client, query, message):
    document = problem(ask(client, query), 400)
    assert message in document["detail"]
    assert document["errors"][0]["field"] == "query"


def test_a_hungry_query_is_stopped_and_the_next_one_answered(client):
    stars = ", ".join(f"(a{n})-[]-(b{n})" for n in range(6))
    assert "stopped" in problem(ask(client, f"MATCH {stars} RETURN count(*) AS n"), 400)["detail"]
    assert ask(client, COUNT).json["rows"] == [[small_world.USERS]]


def test_the_console_has_a_database_user_of_its_own_where_one_is_set(tmp_path):
    server = {"store": "bolt://127.0.0.1:1", "neo4j_password": "x"}
    reader = open_console(load_settings(tmp_path, **server)).target.reader
    assert (reader["user"], reader["password"]) == ("neo4j", "x")
    (tmp_path / "secret").write_text("y\n")
    own = {"console_user": "asker", "console_password_file": tmp_path / "secret"}
    reader = open_console(load_settings(tmp_path, **server, **own)).target.reader
    assert (reader["user"], reader["password"]) == ("asker", "y")
    with pytest.raises(SettingError, match="NICHEGRAPH_CONSOLE_PASSWORD"):
        open_console(load_settings(tmp_path, **server, console_user="asker"))


def test_a_store_that_is_away_is_said_to_be(tmp_path):
    settings = load_settings(
        tmp_path, console_enabled=True, store="bolt://127.0.0.1:1", neo4j_password="x"
    )
    answer = ask(create_app(settings).test_client(), COUNT)
    assert "127.0.0.1:1" in problem(answer, 503)["detail"]


def test_a_new_release_shows_the_graph_as_it_is_then(home, client):
    before = ask(client, "MATCH (i:Item) RETURN count(i) AS n").json["rows"][0][0]
    store = EmbeddedStore(home.store)
    store.apply({"items": small_world.table("items", [{"id": "new"}])})
    refresh(store, home, RefreshConfig(preset="fast", threads=1), now=small_world.START, force=True)
    store.close()
    assert ask(client, "MATCH (i:Item) RETURN count(i) AS n").json["rows"] == [[before + 1]]


@pytest.mark.parametrize("lacking", [errno.ENOMEM, errno.EAGAIN, errno.EMFILE])
def test_a_machine_without_room_for_a_process_is_a_503_that_says_so(fresh, lacking):
    client, patch = fresh

    def full(*_, **__):
        raise OSError(lacking, os.strerror(lacking))

    patch.setattr(console_process.subprocess, "Popen", full)
    answer = ask(client, COUNT)
    assert os.strerror(lacking) in problem(answer, 503)["detail"]
    assert answer.headers["Retry-After"] == "1"
    patch.undo()
    assert ask(client, COUNT).status_code == 200


def test_a_process_that_starts_too_slowly_is_a_503_that_says_so(fresh):
    client, patch = fresh
    patch.setattr(console_process, "STARTING", 0.0)
    assert "machine is busy" in problem(ask(client, COUNT), 503)["detail"]
    patch.undo()
    assert ask(client, COUNT).status_code == 200


def test_a_server_with_a_thousand_open_files_answers(fresh):
    """A pipe's number beyond 1,024 is none that select() takes."""
    client, _ = fresh
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 1200:
        pytest.skip("fewer than 1,200 files may be open here")
    with contextlib.ExitStack() as stack:
        for _ in range(1100):
            stack.enter_context(open(os.devnull))
        assert ask(client, COUNT).status_code == 200


def test_a_sum_beyond_64_bits_is_a_number_of_json(client):
    most = 2**63 - 1
    query = f"UNWIND [{most}, {most}, {most}] AS x RETURN sum(x) AS total"
    assert ask(client, query).json["rows"] == [[pytest.approx(3 * most)]]
