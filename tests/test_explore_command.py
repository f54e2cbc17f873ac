"""`nichegraph explore` prints, draws and refuses."""

import csv
import io
import json

import pytest
import small_world
import typer
from typer.testing import CliRunner

from api.cli import explore, main
from api.cli.prompt import suggestions
from graph.errors import InputError
from graph.explore.copies import forget
from graph.stores.embedded_store import EmbeddedStore
from recommender.learning.build import RefreshConfig
from recommender.learning.refresh import refresh
from recommender.releases.home import Home
from recommender.releases.publishing import list_releases


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
    assert {question["name"] for question in json.loads(run("--list", "--format", "json"))} >= {
        "hubs"
    }


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


def test_a_query_of_several_lines_stays_together(run):
    lines = [
        "MATCH (d:Domain)", "WHERE d.name < 'h'", "RETURN d.name AS domain", "ORDER BY domain",
        "LIMIT 2", "", "RETURN 'the second' AS x", "quit", "RETURN 'after' AS x",
    ]  # fmt: skip
    printed = run(typed="\n".join(lines))
    for part in ("baroque", "graph theory", "the second"):
        assert part in printed
    for part in ("noir", "not run", "after"):
        assert part not in printed


def test_queries_of_one_line_each_are_asked_one_by_one(run):
    lines = [
        "MATCH (d:Domain) RETURN count(d) AS first", "RETURN 'b' AS second",
        "UNWIND [1, 2] AS third", "RETURN third", "WITH 4 AS fourth RETURN fourth",
        "MATCH (d:Domain) SET d.x = 1", "RETURN d.x",
    ]  # fmt: skip
    printed = run(typed="\n".join(lines))
    for header in ("first", "second", "third", "fourth"):
        assert header in [line.strip() for line in printed.splitlines()]
    assert printed.count("was not run") == 1


@pytest.mark.parametrize("leave", [":quit", "quit", "exit"])
def test_the_prompt_is_left_by_what_people_write(run, leave):
    assert "after" not in run(typed=f"{leave}\nRETURN 'after' AS x\n")


def test_a_question_takes_values_with_spaces(run):
    for arguments in ("domain=graph theory limit=1", "domain='graph theory' limit=1"):
        assert "1 rows" in run(typed=f":ask niche-hubs {arguments}\n")
    assert "opened but not closed" in run(typed=":ask niche-hubs domain='graph theory\n")


def test_parameters_are_kept_for_the_queries_after(run):
    printed = run(
        typed=":param d=noir since=2020-12-01\nMATCH (d:Domain {name: $d}) RETURN d.name AS x\n"
    )
    assert "noir" in printed.splitlines()[-2]


def test_a_question_asked_with_its_examples_says_so(run):
    assert "example used: domain=baroque" in run("--question", "niche-hubs")
    assert "example" not in run("--question", "niche-hubs", "-p", "domain=noir")
    assert "example" not in run("--question", "niche-hubs", "--format", "csv")
    assert "example used: since=2021-12-20" in run("--question", "rising-items")


def test_times_are_shown_as_times_and_taken_as_dates(run):
    """The first event of each person lies between START and 700 days later."""
    query = "MATCH (u:User)-[e:INTERACTED]->(i) RETURN u.id AS user, min(e.at) AS first"
    rows = list(csv.reader(io.StringIO(run(query, "--format", "csv"))))[1:]
    assert all(row[1].startswith(("2020-", "2021-", "2022-")) for row in rows)
    count = "MATCH ()-[e:INTERACTED]->() WHERE e.at >= $since RETURN count(*) AS n"
    events = [e["at"] for e in small_world.batch()["events"].to_pylist()]
    right = sum(at is not None and at >= 1_612_137_600 for at in events)  # 2021-02-01
    answer = json.loads(run(count, "-p", "since=2021-02-01", "--format", "json"))
    assert answer["rows"] == [[right]]
    answer = run("--question", "rising-items", "-p", "since=2021-02-01", "--format", "json")
    assert answer == run("--question", "rising-items", "-p", "since=1612137600", "--format", "json")
    with pytest.raises(InputError, match="2024-12-01"):
        run("--question", "rising-items", "-p", "since=soon")


def test_headers_are_as_written(run):
    assert run("MATCH (d:Domain) RETURN count(*)", "--format", "csv").splitlines() == [
        "count(*)",
        "4",
    ]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("MATCH (u:Us", "User"),
        ("MATCH (u:User)-[r:KN", "KNOWS"),
        ("MATCH (u:User)-[:", "INTERACTED"),
        ("MATCH (n:Item|Ta", "Tag"),
        ("MATCH (i:Item) RETURN i.ti", "title"),
        ("MAT", "MATCH"),
        ("MATCH (u) RETURN coun", "count("),
        (":as", ":ask"),
        (":ask niche-h", "niche-hubs"),
        (":ask niche-hubs dom", "domain="),
    ],
)
def test_tab_completes_what_may_stand_there(text, word):
    result = dict(suggestions(text))
    assert word in result
    assert word.lower().startswith(text[len(text) - result[word] :].lower())
    assert not [word_shown for word_shown in result if word_shown == "MATCH"] or word == "MATCH"


def test_two_releases_are_compared_by_name(tmp_path):
    """`changes-between` takes the moments of releases; events from the batch alone."""
    home = Home(tmp_path).create()
    store = EmbeddedStore(home.store)
    store.apply(small_world.batch())
    first = small_world.START + 200 * small_world.DAY
    for now in (first, first + 200 * small_world.DAY):
        store.apply({"items": small_world.table("items", [{"id": f"made at {now}"}])})
        refresh(store, home, RefreshConfig(preset="fast", threads=1), now=now)
    store.close()
    cli = typer.Typer()
    explore.register(cli)
    words = ["--question", "changes-between", "--format", "json"]
    printed = CliRunner().invoke(cli, words, obj=home.folder).stdout
    rows = {row[0]: row[1:] for row in json.loads(printed)["rows"]}
    batch = small_world.batch()
    noir = {r["item"] for r in batch["item_domains"].to_pylist() if r["domain"] == "noir"}
    events = [e for e in batch["events"].to_pylist() if e["item"] in noir and e["at"] is not None]
    upto = [[e for e in events if e["at"] < end] for end in (first, first + 200 * small_world.DAY)]
    people = [len({e["user"] for e in part}) for part in upto]
    assert rows["noir"] == [len(upto[0]), len(upto[1]), *people]
    names = [release["name"] for release in list_releases(home)]
    given = ["-p", f"from_time={names[0]}", "-p", f"to_time={names[1][:6]}"]
    assert CliRunner().invoke(cli, [*words, *given], obj=home.folder).stdout == printed


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
