"""Whatever lies where a TOML file belongs is told, by name, and nothing fails."""

import os

import pytest

from api.app import create_app
from api.cli.main import run
from api.settings import load_settings
from graph.errors import SettingError
from graph.toml_file import MOST_BYTES, read_toml


def folder(path):
    path.mkdir()


def loop(path):
    path.symlink_to(path.name)


def pipe(path):
    os.mkfifo(path)


def bytes_of(content):
    return lambda path: path.write_bytes(content)


WRONG = {
    "a folder": (folder, "is not a file"),
    "a loop of links": (loop, "cannot be read"),
    "a pipe": (pipe, "is not a file"),
    "not UTF-8": (bytes_of(b'name = "\xff"'), "it is not UTF-8, byte 8"),
    "not TOML": (bytes_of(b"name ="), "not valid TOML"),
    "too large": (bytes_of(b"#" * (MOST_BYTES + 1)), "at most 1,000,000"),
    "nested lists": (bytes_of(b"a = " + b"[" * 10_000 + b"]" * 10_000), "nested deeper"),
    "nested tables": (bytes_of(b"a = " + b"{a=" * 10_000 + b"1" + b"}" * 10_000), "nested deeper"),
    "nested keys": (bytes_of(b"a." * 10_000 + b"a = 1"), "nested deeper"),
    "a huge number": (bytes_of(b"a = 1" + b"0" * 30), "beyond 64 bits"),
    "a number without end": (bytes_of(b"a = " + b"9" * 5000), "not valid TOML"),
    "no number": (bytes_of(b"a = nan"), "a is nan"),
    "infinite": (bytes_of(b"a = [1e999]"), "a.0 is inf"),
}
FILES = ("rules.toml", "segments.toml", "settings.toml", "weighting.toml")


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_told(tmp_path, wrong):
    make, outcome = WRONG[wrong]
    path = tmp_path / "some.toml"
    make(path)
    with pytest.raises(SettingError, match=outcome) as error:
        read_toml(path)
    assert str(error.value).startswith(str(path))


def test_a_missing_file_is_empty_and_a_good_one_is_read(tmp_path):
    assert read_toml(tmp_path / "none.toml") == {}
    (tmp_path / "some.toml").write_text('[a]\nb = [1, 2.5, "c", true]\n')
    assert read_toml(tmp_path / "some.toml") == {"a": {"b": [1, 2.5, "c", True]}}


@pytest.mark.parametrize("wrong", ["a folder", "a loop of links", "nested keys", "not UTF-8"])
@pytest.mark.parametrize("name", FILES)
def test_commands_tell_it_in_one_sentence(tmp_path, capsys, name, wrong):
    (tmp_path / "home").mkdir()
    WRONG[wrong][0](tmp_path / "home" / name)
    assert run(["--home", str(tmp_path / "home"), "refresh", "--preset", "fast"]) == (
        0 if name == "rules.toml" else 1  # a refresh asks for no editorial rules
    )
    output = capsys.readouterr().err
    assert name == "rules.toml" or WRONG[wrong][1] in output
    assert "unexpected" not in output


@pytest.mark.parametrize("name", ["rules.toml", "segments.toml"])
def test_a_server_tells_it_and_answers_on(planted_home, tmp_path, name):
    import shutil

    for wrong in ("a folder", "a loop of links", "nested keys", "not UTF-8"):
        home = shutil.copytree(planted_home.folder, tmp_path / wrong)
        WRONG[wrong][0](home / name)
        client = create_app(load_settings(home)).test_client()
        assert client.get("/v1/popular").status_code == 200
        notes = client.get("/ready").json["notes"]
        assert len(notes) == 1
        assert name in notes[0]
