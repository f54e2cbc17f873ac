"""Over HTTP: another release is served, kept, read about; rules are read and saved."""

import json
import shutil
from urllib.parse import quote

import pytest

from api.app import create_app
from api.settings import load_settings
from recommender.releases.audit import lines
from recommender.releases.home import Home
from recommender.releases.publishing import current, list_releases, names, note
from tests.test_api_routes import problem
from tests.test_api_worker import until

RULE = '[[rule]]\nname = "two of a kind"\ndo = "limit"\nby = "domain"\nmost = 2\n'


@pytest.fixture
def home(planted_home, tmp_path):
    """A home with two releases; the second is served."""
    home = Home(shutil.copytree(planted_home.folder, tmp_path / "home"))
    (first,) = names(home)
    second = f"000002-{first.split('-')[1]}"
    shutil.copytree(home.releases / first, home.releases / second)
    (home.releases / "CURRENT").write_text(second)
    return home


@pytest.fixture
def client(home):
    return create_app(load_settings(home.folder)).test_client()


def test_another_release_is_served_and_the_audit_log_says_so(home, client):
    first, second = names(home)
    answer = client.put("/v1/releases/current", json={"release": "1"})
    assert answer.json == {"release": first}
    assert current(home) == first
    until(lambda: client.get("/v1/popular?n=1").json["release"] == first)
    assert client.put("/v1/releases/current", json={"release": second}).json["release"] == second
    done = [line["release"] for line in lines(home.audit) if line["what"] == "rollback"]
    assert done == [first, second]
    assert (
        "000001"
        in problem(client.put("/v1/releases/current", json={"release": "9"}), 404)["detail"]
    )
    assert current(home) == second


def test_a_release_is_pinned_and_let_go(home, client):
    first, _ = names(home)
    assert client.put("/v1/releases/1/pin").json == {"release": first}
    assert [row["pinned"] for row in list_releases(home)] == [True, False]
    shown = client.get("/v1/releases").json["releases"]
    assert [row["pinned"] for row in shown] == [True, False]
    assert client.delete(f"/v1/releases/{first}/pin").json == {"release": first}
    assert [row["pinned"] for row in list_releases(home)] == [False, False]
    problem(client.put("/v1/releases/9/pin"), 404)


def test_a_report_is_a_page_without_scripts(home, client):
    first, second = names(home)
    (home.reports / f"{second}.html").write_text("<h1>Release</h1>")
    answer = client.get("/v1/releases/2/report")
    assert (answer.mimetype, answer.text) == ("text/html", "<h1>Release</h1>")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert [row["report"] for row in client.get("/v1/releases").json["releases"]] == [False, True]
    assert first in problem(client.get("/v1/releases/1/report"), 404)["detail"]
    problem(client.get("/v1/releases/..%2F..%2Fkeys/report"), 404)


def test_a_refused_candidate_is_listed_with_its_reasons_and_its_report(home, client):
    first, _ = names(home)
    aside = home.releases / "refused" / "000003-abcdefabcdef"
    shutil.copytree(home.releases / first, aside)
    gates = json.loads((aside / "manifest.json").read_text())["gates"]
    gates["reasons"] = [{"gate": "events gone", "text": "half of them are gone"}]
    note(aside, {"gates": gates})
    (home.reports / f"{aside.name}.html").write_text("why")
    (shown,) = client.get("/v1/releases").json["refused"]
    assert (shown["name"], shown["refused"]) == (aside.name, "half of them are gone")
    assert "files" not in shown
    assert client.get(f"/v1/releases/{aside.name}/report").text == "why"
    problem(client.put("/v1/releases/current", json={"release": aside.name}), 404)


def test_rules_are_saved_and_hold_soon(home, client):
    before = client.get("/v1/rules").json
    assert (before["rules"], before["problem"]) == ("", None)
    top = client.get("/v1/popular?n=1").json["items"][0]["item"]
    hide = RULE + f'[[rule]]\nname = "gone"\ndo = "hide"\nitems = ["{top}"]\n'
    saved = client.put("/v1/rules", json={"rules": hide, "version": before["version"]})
    assert saved.json["rules"] == home.rules.read_text() == hide
    until(lambda: client.get("/v1/popular?n=1").json["items"][0]["item"] != top)
    assert lines(home.audit)[-1]["version"] == saved.json["version"]


def test_who_saves_over_the_changes_of_another_is_told_and_nothing_is_lost(home, client):
    before = client.get("/v1/rules").json["version"]
    home.rules.write_text(RULE)  # by hand, meanwhile
    refused = client.put("/v1/rules", json={"rules": "", "version": before})
    assert "somebody else" in problem(refused, 409, "version")["detail"]
    document = client.get("/openapi/openapi.json").json
    assert "409" in document["paths"]["/v1/rules"]["put"]["responses"]
    assert home.rules.read_text() == RULE
    now = client.get("/v1/rules").json["version"]
    assert client.put("/v1/rules", json={"rules": "", "version": now}).status_code == 200
    assert home.rules.read_text() == ""


@pytest.mark.parametrize("wrong", ["[[rule]", '[[rule]]\nname = "x"\ndo = "dance"\n'])
def test_wrong_rules_are_not_saved_and_a_wrong_file_says_why(home, client, wrong):
    version = client.get("/v1/rules").json["version"]
    problem(client.put("/v1/rules", json={"rules": wrong, "version": version}), 400, "rules")
    assert not home.rules.exists()
    home.rules.write_text(wrong)
    assert "rules.toml" in client.get("/v1/rules").json["problem"]


def test_a_home_that_cannot_be_written_to_is_said(home, client, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("recommender.serving.rules_file.replace_file", full)
    monkeypatch.setattr("recommender.releases.publishing.replace_file", full)
    version = client.get("/v1/rules").json["version"]
    for answer in (
        client.put("/v1/rules", json={"rules": RULE, "version": version}),
        client.put("/v1/releases/current", json={"release": "1"}),
        client.put("/v1/releases/1/pin"),
    ):
        assert "No space left" in problem(answer, 503)["detail"]


def test_other_machines_need_a_key_to_change_anything(home, client):
    elsewhere = {"environ_overrides": {"REMOTE_ADDR": "192.0.2.7"}}
    version = client.get("/v1/rules").json["version"]
    for answer in (
        client.put("/v1/rules", json={"rules": RULE, "version": version}, **elsewhere),
        client.put("/v1/releases/current", json={"release": "1"}, **elsewhere),
        client.put("/v1/releases/1/pin", **elsewhere),
    ):
        problem(answer, 403)
    assert "admin" in client.get("/v1/access").json["scopes"]
    assert "admin" not in client.get("/v1/access", **elsewhere).json["scopes"]


@pytest.mark.parametrize("name", ["²", "٣", "9" * 100, "-1", "+1", "1_0", " 1"])
def test_what_only_looks_like_the_number_of_a_release_is_no_release(home, client, name):
    problem(client.put("/v1/releases/current", json={"release": name}), 404)
    problem(client.put(f"/v1/releases/{quote(name)}/pin"), 404)
    problem(client.get(f"/v1/releases/{quote(name)}/report"), 404)
