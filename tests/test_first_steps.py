"""`init` and `doctor`: the first commands of somebody with a file and a new machine."""

import json
import os
import shlex
import shutil
import time
from contextlib import closing
from pathlib import Path

import pytest
import typer

from api.cli import doctor as doctor_command
from api.cli import init as init_command
from api.cli.main import run
from api.settings import load_settings
from graph.stores.embedded_store import EmbeddedStore
from recommender.releases.home import Home

EXAMPLE = Path(__file__).resolve().parents[1] / "docs" / "example"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with two files, to work in."""
    for name in ("plays.csv", "tracks.csv"):
        shutil.copy(EXAMPLE / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def examined(home, capfd):
    capfd.readouterr()
    code = run(["--home", str(home), "doctor", "--json"])
    findings = json.loads(capfd.readouterr().out)["findings"]
    return code, {finding["what"]: finding for finding in findings}


# ── init ─────────────────────────────────────────────────────────────────────────────────


def test_what_init_says_to_do_leads_to_recommendations(folder, capfd):
    words = ["--home", "my records", "init", "plays.csv", "tracks.csv", "--kind", "play", "--json"]
    assert run(words) == 0
    begun = json.loads(capfd.readouterr().out)
    assert begun["settings"] == "my records/settings.toml"
    assert load_settings(Path("my records")).store == "embedded"
    *loads, refresh, serve = [shlex.split(line)[1:] for line in begun["then"]]
    assert serve == ["--home", "my records", "serve"]
    for command in loads:
        assert run(command) == 0
    assert run([*refresh, "--preset", "fast"]) == 0
    with closing(EmbeddedStore(Home(Path("my records")).store)) as store:
        assert store.counts()["events"] == 7
        assert set(store.read("events")["kind"].to_pylist()) == {"play"}
        assert None not in store.read("events")["at"].to_pylist()  # the column `when`
    capfd.readouterr()
    assert run(["--home", "my records", "recommend", "alice", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["items"]


def test_what_is_answered_stands_in_command_and_settings(folder, monkeypatch, capfd):
    answers = {
        "Who did it": "listener",
        "What it was done to": "track",
        "When": "none",
        "What did they do": "purchase",
        "Where should the graph": "bolt://graph:7687",
    }
    questions = []

    def prompt(text, default):
        question = next(question for question in answers if text.startswith(question))
        questions.append((question, default))
        return answers.pop(question)

    Path("plays.csv").write_text(Path("plays.csv").read_text().replace("listener,", "seen by,"))
    answers["Who did it"] = "seen by"
    monkeypatch.setattr(typer, "prompt", prompt)
    monkeypatch.setattr(init_command.sys.stdin, "isatty", lambda: True, raising=False)
    assert run(["init", "plays.csv", "--user", "seen by"]) == 0
    shown = capfd.readouterr().out
    assert "7 rows of events; user = seen by, item = track" in shown
    assert [question for question, _ in questions] == [
        "What it was done to", "When", "What did they do", "Where should the graph",
    ]  # fmt: skip
    assert dict(questions)["What it was done to"] == "track"
    text = Path("nichegraph-home/settings.toml").read_text()
    assert 'store = "bolt://graph:7687"' in text
    assert "neo4j_password_file" in text
    assert "nichegraph load plays.csv --column 'user=seen by' --kind purchase" in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n", "rubbish.csv fits no table; as events: "),
        ("", "rubbish.csv fits no table"),
    ],
)
def test_a_file_that_fits_nothing_is_refused(folder, capfd, content, message):
    Path("rubbish.csv").write_text(content)
    assert run(["init", "rubbish.csv"]) == 1
    assert message in capfd.readouterr().err
    assert run(["init", "missing.csv"]) == 1
    assert "missing.csv: there is no such file" in capfd.readouterr().err
    assert not Path("nichegraph-home").exists()


def test_settings_that_are_there_stay(folder, capfd):
    Path("nichegraph-home").mkdir()
    Path("nichegraph-home/settings.toml").write_text("port = 9000\n")
    assert run(["init", "plays.csv"]) == 1
    assert "already exists" in capfd.readouterr().err
    assert Path("nichegraph-home/settings.toml").read_text() == "port = 9000\n"


def test_a_store_that_is_none_is_an_error(folder, capfd):
    assert run(["init", "plays.csv", "--store", "mysql://x"]) == 1
    assert "mysql://x" in capfd.readouterr().err
    assert not Path("nichegraph-home/settings.toml").exists()


# ── doctor ───────────────────────────────────────────────────────────────────────────────


def test_a_whole_home_has_nothing_to_mend(used_home, capfd):
    os.utime(used_home.releases / "CURRENT")
    code, findings = examined(used_home.folder, capfd)
    states = {what: finding["state"] for what, finding in findings.items()}
    # The planted release was made at a moment long ago.
    assert states.pop("release") == "look"
    assert "days old" in findings["release"]["seen"]
    assert set(states) == {
        "python", "packages", "compiled code", "home", "disk", "memory", "store", "inbox",
        "clock", "keys", "outside",
    }  # fmt: skip
    assert set(states.values()) == {"ok"}
    assert "erasure_log, audit_head" in findings["outside"]["seen"]
    assert code == 0


def test_each_trouble_is_named_with_what_mends_it(planted_home, tmp_path, monkeypatch, capfd):
    code, findings = examined(tmp_path / "none", capfd)
    assert (code, findings["home"]["do"]) == (0, "nichegraph init FILE")
    assert not (tmp_path / "none").exists()

    home = Home(shutil.copytree(planted_home.folder, tmp_path / "home"))
    release = next(home.releases.glob("0*"))
    (release / "rarity.npy").write_bytes(b"rubbish")
    home.keys.write_text("rubbish")
    future = time.time() + 7200
    os.utime(home.releases / "CURRENT", (future, future))
    monkeypatch.setattr(doctor_command, "LEAST_DISK", 1 << 62)
    monkeypatch.setattr(doctor_command, "LEAST_MEMORY", 1 << 62)
    code, findings = examined(home.folder, capfd)
    wrong = {what for what, finding in findings.items() if finding["state"] != "ok"}
    assert code == 1
    assert wrong == {"release", "keys", "clock", "disk", "memory"}
    assert "rarity.npy" in findings["release"]["seen"]
    assert "2.0 hours before the newest file" in findings["clock"]["seen"]
    assert all(findings[what]["do"] for what in wrong)

    home.store.write_bytes(b"rubbish" * 1000)
    assert examined(home.folder, capfd)[1]["store"]["state"] == "wrong"


def test_keys_that_are_missing_or_end_are_told(planted_home, tmp_path, monkeypatch, capfd):
    home = shutil.copytree(planted_home.folder, tmp_path / "home")
    monkeypatch.setenv("NICHEGRAPH_HOST", "0.0.0.0")
    _, findings = examined(home, capfd)
    assert findings["keys"]["state"] == "wrong"
    assert "refuses to listen on 0.0.0.0" in findings["keys"]["seen"]
    assert run(["--home", str(home), "keys", "create", "--scope", "recommend", "--days", "2"]) == 0
    _, findings = examined(home, capfd)
    assert (findings["keys"]["state"], findings["keys"]["seen"]) == (
        "look",
        "1 of 1 expire within a week",
    )
