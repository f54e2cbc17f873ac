"""The command line: what it prints, how it fails, with which exit code."""

import json
import shutil

import pytest

from api.cli import main as command_line
from api.cli.main import run
from api.cli.output import plain
from graph.errors import GateRefused
from recommender.releases.audit import lines
from recommender.releases.home import Home


@pytest.fixture
def home(planted_home, tmp_path):
    """A copy of the planted home that a test may change."""
    return shutil.copytree(planted_home.folder, tmp_path / "home")


def ask(capsys, *arguments):
    code = run([str(word) for word in arguments])
    return code, *capsys.readouterr()


def test_recommendations_are_printed_with_reasons_or_as_json(home, capsys):
    code, out, _ = ask(capsys, "--home", home, "recommend", "reader-1", "-n", 3)
    assert code == 0
    assert "because you" in " ".join(out.split())
    code, out, _ = ask(capsys, "--home", home, "recommend", "reader-1", "-n", 3, "--json")
    answer = json.loads(out)
    assert len(answer["items"]) == 3
    assert answer["served_by"] == "history"


def test_what_users_like_one_share_is_listed(home, planted, capsys):
    user = planted.answers.users[0]
    code, out, _ = ask(capsys, "--home", home, "recommend", user, "-n", 3, "--alike", "--json")
    assert code == 0
    assert json.loads(out)["served_by"] == "similar users"


def test_a_wrong_filter_is_told_of_by_its_option(home, capsys):
    code, _, err = ask(capsys, "--home", home, "recommend", "reader-1", "--filter", "{")
    assert code == 1
    assert "--filter is not JSON" in err


def test_an_unknown_user_gets_a_list_and_is_told_why(home, capsys):
    code, out, _ = ask(capsys, "--home", home, "recommend", "nobody/[etc]", "-n", 2)
    assert code == 0
    assert "is not known yet" in out


def test_similar_asks_for_a_known_item(home, planted, capsys):
    item = planted.answers.items[-1]
    code, out, _ = ask(capsys, "--home", home, "similar", item, "-n", 2, "--json")
    assert code == 0
    assert item not in [entry["item"] for entry in json.loads(out)["items"]]
    code, _, err = ask(capsys, "--home", home, "similar", "no-such-item")
    assert code == 1
    assert "no-such-item" in err


def test_similar_asks_for_an_item_that_nobody_knows_yet(home, planted, capsys):
    domain, item = planted.answers.niches[0], planted.answers.items[-1]
    known = ["--title", "New", "--tag", domain, "--tag", "qwx", "--domain", domain]
    words = ["--home", home, "similar", "--new", *known, "--related", item, "-n", 3]
    code, out, _ = ask(capsys, *words, "--json")
    answer = json.loads(out)
    assert (code, answer["served_by"], len(answer["items"])) == (0, "new item", 3)
    assert item not in [entry["item"] for entry in answer["items"]]
    code, out, _ = ask(capsys, *words)
    assert code == 0
    assert "like the new item" in out
    assert "these tags are not known: 'qwx'" in out
    assert "from new item" in out


def test_status_counts_what_the_store_holds(home, planted, capsys):
    code, out, _ = ask(capsys, "--home", home, "status", "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["store"]["counts"]["items"] == len(planted.answers.items)
    assert facts["release"]["name"].startswith("000001-")
    assert facts["events_since_release"] == 0


def test_status_tells_how_events_spread_when_asked(home, planted, capsys):
    code, out, _ = ask(capsys, "--home", home, "status", "--graph", "--json")
    spread = json.loads(out)["graph"]
    assert code == 0
    assert spread["items"] == len(planted.answers.items)
    assert sum(spread["events_by_kind"].values()) == spread["events"] > 0
    assert 0 < spread["popularity_gini"] < 1
    code, out, _ = ask(capsys, "--home", home, "status", "--graph")
    assert code == 0
    assert "Gini of popularity" in out
    assert "an item" in out


def test_a_load_reports_and_a_second_one_changes_nothing(tmp_path, capsys):
    file = tmp_path / "plays.csv"
    file.write_text("who,what\nann,a\nann,b\nbob,b\n", encoding="utf-8")
    words = ["load", file, "--column", "user=who", "--column", "item=what", "--json"]
    totals = []
    for _ in range(2):
        code, out, _ = ask(capsys, "--home", tmp_path / "home", *words)
        assert code == 0
        totals.append(json.loads(out)["totals"])
    assert totals[0] == totals[1]
    assert totals[0]["events"] == 3


def test_erasing_a_user_reaches_the_running_servers_and_the_store(home, capsys):
    code, out, _ = ask(capsys, "--home", home, "erase", "reader-1", "--json")
    assert code == 0
    assert json.loads(out)["events_erased"] > 0
    code, out, _ = ask(capsys, "--home", home, "recommend", "reader-1", "--json")
    assert json.loads(out)["served_by"] == "popular"


def test_releases_can_be_listed_rolled_back_and_pruned(home, capsys):
    assert ask(capsys, "--home", home, "refresh", "--preset", "fast", "--seed", "2")[0] == 0
    code, out, _ = ask(capsys, "--home", home, "releases", "list", "--json")
    names = [release["name"] for release in json.loads(out)["releases"]]
    assert len(names) == 2
    code, out, _ = ask(capsys, "--home", home, "releases", "rollback")
    assert (code, names[0] in out) == (0, True)
    code, out, _ = ask(capsys, "--home", home, "releases", "show", 2)
    assert json.loads(out)["config"]["seed"] == 2
    code, out, _ = ask(capsys, "--home", home, "releases", "prune", "--keep", 1, "--json")
    assert json.loads(out)["removed"] == []  # the newest and the current one stay
    for words in (["pin", "1"], ["pin", "1", "--off"]):
        assert ask(capsys, "--home", home, "releases", *words)[0] == 0
    done = [line["what"] for line in lines(Home(home).audit)]
    assert done[-3:] == ["rollback", "pin", "unpin"]
    code, _, err = ask(capsys, "--home", home, "releases", "rollback", "9")
    assert code == 1
    assert names[0] in err


def test_export_writes_graphml(home, tmp_path, planted, capsys):
    file = tmp_path / "around.graphml"
    words = ["export", file, "--item", planted.answers.items[-1]]
    code, out, _ = ask(capsys, "--home", home, *words)
    assert code == 0
    assert "<graphml" in file.read_text(encoding="utf-8")
    assert "nodes" in out
    code, _, err = ask(capsys, *["--home", home, "export", file, "--item", "a", "--tag", "b"])
    assert code == 1
    assert "name one of them" in err
    code, _, err = ask(capsys, *["--home", home, "export", file, "--tag", "b"])
    assert code == 1
    assert "tag 'b' is not in this graph" in err


def test_the_demo_goes_the_whole_way(tmp_path, capsys):
    code, out, err = ask(capsys, "--home", tmp_path, "demo", "--once", "--events", 500)
    assert code == 0, err
    assert "because you" in " ".join(out.split())


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["recomend", "x"], 2, "recomend"),
        (["recommend"], 2, "user"),
        (["recommend", "x", "-n", "0"], 2, "-n"),
        (["recommend", "x", "--bogus"], 2, "--bogus"),
        (["similar"], 2, "--new"),
        (["similar", "x", "--new"], 2, "--new"),
        (["similar", "x", "--related", "y"], 2, "--new"),
        (["similar", "--new", "--tag", "x"], 1, "nichegraph refresh"),
        (["recommend", "x"], 1, "nichegraph refresh"),
        (["load", "missing.csv"], 1, "missing.csv"),
        (["load", "missing.csv", "--format", "nope"], 1, "nope"),
        (["load", "missing.csv", "--column", "nope"], 1, "--column"),
        (["refresh", "--preset", "nope"], 1, "nope"),
        (["releases", "rollback"], 1, "there is no home"),
        (["serve", "--host", "0.0.0.0"], 1, "host"),
        (["serve", "--port", "70000"], 1, "port"),
        (["migrate", "--from", "embedded", "--to", "embedded"], 1, "same store"),
        (["migrate", "--from", "ftp://x", "--to", "embedded"], 1, "ftp://x"),
        (["migrate", "--from", "embedded", "--to", "ftp://x"], 1, "there is no home"),
        (["loads", "list"], 1, "there is no home"),
        (["refresh"], 1, "is the name right"),
    ],
)
def test_errors_are_one_sentence_with_an_exit_code(words, code, message, tmp_path, capsys):
    result, _, err = ask(capsys, "--home", tmp_path / "home", *words)
    assert result == code
    assert err.count("\n") == 1
    assert message in err
    assert not (tmp_path / "home").exists()  # a slip in the name of a home makes none


@pytest.mark.parametrize(
    ("error", "code"),
    [(GateRefused("worse"), 3), (KeyError("x"), 1), (OSError(28, "No space left"), 1)],
)
def test_what_goes_wrong_inside_is_one_sentence_too(error, code, monkeypatch, capsys):
    def fails(*_arguments, **_options):
        raise error

    monkeypatch.setattr(command_line, "cli", fails)
    assert run(["status"]) == code
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("prot = 1", "did you mean 'port'"),
        ("port = 'x'", "port"),
        ("port = ", "TOML"),
    ],
)
def test_a_wrong_setting_is_named(file, message, tmp_path, capsys):
    (tmp_path / "settings.toml").write_text(file, encoding="utf-8")
    code, _, err = ask(capsys, "--home", tmp_path, "status")
    assert code == 1
    assert message in err


def test_the_environment_goes_before_the_file(tmp_path, monkeypatch):
    from api.settings import load_settings

    (tmp_path / "settings.toml").write_text("port = 1\nworkers = 3\n", encoding="utf-8")
    monkeypatch.setenv("NICHEGRAPH_PORT", "2")
    settings = load_settings(tmp_path)
    assert (settings.port, settings.workers) == (2, 3)
    assert load_settings(tmp_path, port=4).port == 4


def test_control_characters_do_not_reach_the_terminal():
    assert plain("a\x1b[31mb\n\u202e") == "a\\x1b[31mb\\n\\u202e"


def test_a_load_tells_what_it_understood_and_can_be_taken_back(tmp_path, capsys):
    file = tmp_path / "plays.csv"
    file.write_text("listener,book_id,stars,mood\nann,x,5,sad\nbob,y,1,gay\n", encoding="utf-8")
    words = ["--home", tmp_path / "home", "load", file, "--column", "user=listener"]
    code, out, _ = ask(capsys, *words, "--dry-run")
    assert code == 0
    assert "columns: user = listener, item = book_id, value = stars" in out
    assert "ignored: mood" in out
    assert "kind: rating, by the column 'stars'" in out
    assert not (tmp_path / "home").exists()
    assert ask(capsys, *words)[0] == 0
    code, out, _ = ask(capsys, *words[:2], "loads", "list", "--json")
    (load,) = json.loads(out)
    assert (load["load"], load["undone"]) == (1, False)
    code, out, _ = ask(capsys, *words[:2], "loads", "undo", 1)
    assert "load 1 was undone: 2 events, 2 items, 2 users" in out
    assert ask(capsys, *words[:2], "loads", "undo", 1)[0] == 1


def test_a_load_that_would_hide_the_catalogue_is_refused_by_code_3(tmp_path, capsys):
    for name, rows in (("all.csv", "a\nb\nc\n"), ("one.csv", "a\n")):
        (tmp_path / name).write_text("id\n" + rows, encoding="utf-8")
    words = ["--home", tmp_path / "home", "load", "--table", "items"]
    assert ask(capsys, *words, tmp_path / "all.csv")[0] == 0
    code, _, err = ask(capsys, *words, tmp_path / "one.csv", "--replace")
    assert (code, "would hide 2 of 3 items" in err) == (3, True)
    assert ask(capsys, *words, tmp_path / "one.csv", "--replace", "--max-hidden", "1")[0] == 0
