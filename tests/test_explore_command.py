"""`nichegraph explore` prints, draws and refuses."""

import csv
import io
import json

import pytest
import small_world
import typer
from typer.testing import CliRunner

from api.cli import explore, main
from graph.errors import InputError
from graph.explore.copies import forget
from graph.stores.embedded_store import EmbeddedStore
from recommender.releases.home import Home


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("home")).create()
    store = EmbeddedStore(home.store)
    store.apply(small_world.batch())
    store.close()
    return home


@pytest.fixture(scope="module")
def run(home):
    """Run `explore` with arguments; what it printed."""
    cli = typer.Typer()
    explore.register(cli)

    def invoke(*arguments, typed=None):
        result = CliRunner().invoke(cli, list(arguments), obj=home.folder, input=typed)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.stdout

    return invoke


def test_the_questions_are_listed(run):
    assert "orphans" in run("--list")
    assert {one["name"] for one in json.loads(run("--list", "--format", "json"))} >= {"hubs"}


def test_a_query_with_parameters_is_answered_as_json_and_csv(run):
    query = "MATCH (i:Item) WHERE i.id IN $ids RETURN i.id AS id, i.title AS title ORDER BY id"
    ids = 'ids=["item-01", "item-07"]'
    answer = json.loads(run(query, "--param", ids, "--format", "json"))
    assert answer["rows"] == [["item-01", "Title 1"], ["item-07", None]]
    rows = list(csv.reader(io.StringIO(run(query, "-p", ids, "--format", "csv"))))
    assert rows == [["id", "title"], ["item-01", "Title 1"], ["item-07", ""]]


def test_formulas_and_control_characters_do_not_reach_a_spreadsheet_or_terminal(run):
    query = "RETURN '=1+1' AS a, 'x\\u001b[31m [/red]' AS b"
    assert "'=1+1" in run(query, "--format", "csv")
    assert "\x1b" not in run(query) + run(query, "--format", "csv")


def test_a_question_is_drawn(run, tmp_path):
    target = tmp_path / "user.svg"
    run("--question", "neighbourhood", "--param", "user=user-02", "--picture", str(target))
    assert "user-02" in target.read_text()


def test_pseudonyms_are_shown_when_asked_for(run):
    shown = run("MATCH (u:User) RETURN u.id", "--pseudonyms", "--format", "csv").splitlines()
    assert len(shown) > 10
    assert "user-02" not in shown  # a pseudonym may begin like it


def test_lines_are_answered_until_quit(run, tmp_path):
    picture = tmp_path / "p.png"
    lines = [
        ":help",
        "MATCH (d:Domain) RETURN count(d) AS domains",
        "CREATE (:Evil)",
        ":ask orphans limit=1",
        ":nonsense",
        ":draw nowhere.svg",
        ":ask circle",
        f":draw {picture}",
        ":quit",
        "RETURN 'after' AS x",
    ]
    printed = run(typed="\n".join(lines))
    for part in ("domains", "was not run", "item-78", "unknown", "no nodes", "nodes drawn"):
        assert part in printed
    assert "after" not in printed
    assert picture.exists()


def test_what_is_not_understood_is_refused(run):
    for arguments in (
        ["RETURN 1", "--format", "xml"],
        ["RETURN 1", "--param", "x"],
        ["DROP DATABASE neo4j"],
    ):
        with pytest.raises(InputError):
            run(*arguments)


def test_what_a_process_of_the_console_wrote_is_shown_by_debug(home, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("NICHEGRAPH_TRACEBACK", "")
    (tmp_path / "ladybug.py").write_text("raise RuntimeError('the engine is unwell')")
    monkeypatch.syspath_prepend(tmp_path)
    words = ["--home", str(home.folder), "explore", "MATCH (t:Tag) RETURN count(t) AS n"]
    forget(home.explore)
    assert main.run(words) == 1
    assert "could not be made" in (plainly := capfd.readouterr().err)
    assert "unwell" not in plainly
    assert main.run(["--debug", *words]) == 1
    assert "the engine is unwell" in capfd.readouterr().err
