"""What operators meet: exit codes, log lines, the version, names in the environment, proxies."""

import json
import logging
import logging.config
import os
import re
import signal
import subprocess
import sys

import pytest
from test_api_worker import free_port, get, until

from api import observability
from api.app import create_app
from api.cli.main import run
from api.observability import ServerLines, log, server_lines, set_format
from api.settings import load_settings
from graph.errors import SettingError

STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"


# ── status, version, names ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize("as_json", [True, False])
def test_status_of_a_broken_store_is_exit_code_1(tmp_path, capsys, as_json):
    home, file = tmp_path / "home", tmp_path / "events.csv"
    file.write_text("user,item\na,b\n")
    assert run(["--home", str(home), "load", str(file)]) == 0
    words = ["--home", str(home), "status", *(["--json"] if as_json else [])]
    assert run(words) == 0
    next(home.glob("*.sqlite")).write_bytes(b"no database " * 500)
    capsys.readouterr()
    assert run(words) == 1
    output = capsys.readouterr().out
    assert json.loads(output)["store"]["error"] if as_json else "does not answer" in output


def test_status_of_a_damaged_release_is_exit_code_1(planted_home, tmp_path, capsys):
    import shutil

    home = shutil.copytree(planted_home.folder, tmp_path / "home")
    assert run(["--home", str(home), "status"]) == 0
    next(home.glob("releases/0*/manifest.json")).write_text("{")
    assert run(["--home", str(home), "status"]) == 1


def test_the_version_is_that_of_the_package(capsys):
    from importlib.metadata import version

    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"nichegraph {version('nichegraph')}\n"


def test_no_command_shows_the_help_as_it_is(capsys):
    assert run([]) == 2
    output = capsys.readouterr()
    assert "Commands:\n" in output.out + output.err


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("NICHEGRAPH_PROT", "did you mean NICHEGRAPH_PORT?"),
        ("nichegraph_hoem", "did you mean NICHEGRAPH_HOME?"),
        ("NICHEGRAPH_QQQQ", "docs/settings.md lists them all"),
    ],
)
def test_an_unknown_name_in_the_environment_is_an_error(tmp_path, monkeypatch, name, hint):
    monkeypatch.setenv(name, "1")
    with pytest.raises(SettingError, match=f"there is no setting {name} .*{re.escape(hint)}"):
        load_settings(tmp_path)


def test_names_that_are_no_settings_but_ours_are_fine(tmp_path, monkeypatch):
    for name in ("NICHEGRAPH_PYTHON", "NICHEGRAPH_TRACEBACK"):
        monkeypatch.setenv(name, "1")
    assert load_settings(tmp_path).port == 8000


# ── the log ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def form():
    yield set_format
    set_format("text")


def test_lines_have_a_date_and_are_one_line(form, capsys):
    form("text")
    log("swapped", release="a\nb", color="\x1b[31m")
    line = capsys.readouterr().err
    assert re.fullmatch(rf"{STAMP} swapped release='a\\nb' color='\\x1b\[31m'\n", line)
    form("json")
    log("swapped", release="a\nb", at_once=True)
    document = json.loads(capsys.readouterr().err)
    assert re.fullmatch(STAMP, document.pop("at"))
    assert document == {"event": "swapped", "release": "a\nb", "at_once": True}


def record(name, message, *arguments):
    return logging.LogRecord(name, logging.INFO, "", 0, message, arguments, None)


def test_lines_of_granian_have_the_same_form():
    fields = {"method": "GET", "path": "/a\nb", "status": 200, "dt_ms": 1.5, "addr": "::1"}
    access = record("granian.access", "%(method)s", fields)
    line = ServerLines("text").format(access)
    assert re.fullmatch(
        rf"{STAMP} request method='GET' path='/a\\nb' status='200' ms='1.5' from='::1'", line
    )
    line = json.loads(ServerLines("json").format(access))
    assert line["event"] == "request"
    assert (line["status"], line["ms"]) == (200, 1.5)
    line = ServerLines("text").format(record("_granian", "Started worker-%d", 1))
    assert re.fullmatch(rf"{STAMP} Started worker-1 level='info'", line)
    assert set(server_lines("json")) <= {"formatters", "handlers"}
    assert observability.defects is not None


@pytest.mark.parametrize("form_name", ["text", "json"])
def test_every_line_of_a_server_has_that_form_and_requests_are_there_if_asked(
    used_home, tmp_path, form_name
):
    port, log = free_port(), tmp_path / "log"
    words = ["--home", str(used_home.folder), "serve", "--port", str(port), "--workers", "1"]
    with log.open("w") as file:
        server = subprocess.Popen(
            [sys.executable, "-m", "api.cli.main", *words],
            env=os.environ
            | {
                "NICHEGRAPH_LOG_FORMAT": form_name,
                "NICHEGRAPH_ACCESS_LOG": str(form_name == "json"),
            },
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        try:
            until(lambda: get(port, "/live"))
            if form_name == "json":  # a line is written after its request was answered
                until(lambda: '"/live"' in log.read_text())
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(60)
    lines = log.read_text().splitlines()
    assert len(lines) >= 3
    if form_name == "text":
        assert all(re.match(rf"{STAMP} \S", line) for line in lines), lines
        assert not [line for line in lines if " request " in line]
    else:
        document = [json.loads(line) for line in lines]
        assert all(re.fullmatch(STAMP, line["at"]) for line in document)
        assert [line["path"] for line in document if line["event"] == "request"][-1] == "/live"


# ── behind a proxy ───────────────────────────────────────────────────────────────────────


def ask(used_home, trusted, path, **headers):
    app = create_app(load_settings(used_home.folder, trusted_proxies=trusted))
    return app.test_client().get(path, headers=headers)


@pytest.mark.parametrize(
    ("trusted", "prefix", "begins"),
    [
        ("127.0.0.1", "/recommend", "/recommend"),
        ("10.0.0.0/8, 127.0.0.0/8", "/a/b/", "/a/b"),
        ("127.0.0.1", None, ""),
        ("", "/recommend", ""),
        ("10.0.0.1", "/recommend", ""),
        ("127.0.0.1", "//evil.example", ""),
        ("127.0.0.1", "/a b", ""),
        ("127.0.0.1", "javascript:1", ""),
    ],
)
def test_the_page_redirects_below_the_prefix_of_a_trusted_proxy(used_home, trusted, prefix, begins):
    headers = {} if prefix is None else {"X-Forwarded-Prefix": prefix}
    response = ask(used_home, trusted, "/openapi", **headers)
    assert response.status_code == 308
    assert response.headers["Location"] == f"{begins}/openapi/"
    document = ask(used_home, trusted, "/openapi/openapi.json", **headers).json
    assert document["servers"] == [{"url": begins or "/"}]
    if begins:  # a proxy that leaves the prefix where it is
        assert ask(used_home, trusted, f"{begins}/live", **headers).status_code == 200


def test_who_comes_through_a_proxy_is_not_from_here(used_home):
    settings = load_settings(used_home.folder, similar_users_enabled=True)
    client = create_app(settings).test_client()
    for header in ("X-Forwarded-Prefix", "Via", "X-Forwarded-For"):
        response = client.get("/v1/users/reader-1/similar", headers={header: "/x"})
        assert response.status_code == 403


def test_a_wrong_address_of_a_proxy_is_told(used_home):
    with pytest.raises(SettingError, match="trusted_proxies"):
        create_app(load_settings(used_home.folder, trusted_proxies="my-proxy"))
