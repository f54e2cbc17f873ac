"""The key of an inbox: read from its file; a wrong one is named, and changes nothing."""

import shutil
import signal
import subprocess
import sys
from contextlib import closing

import pytest

from api.cli.main import run
from graph.errors import SettingError, StoreForeign
from graph.sqlite_file import in_the_clear
from recommender.inbox import feedback
from recommender.inbox.facts import Row, fact
from recommender.inbox.journal import Journal
from recommender.releases.home import Home
from recommender.releases.journal_key import key_of
from tests.filled_inbox import (  # noqa: F401
    CANARY,
    FILL,
    KEY,
    NOW,
    OTHER,
    ROOT,
    SHOWN,
    content,
    fill,
    home,
    key_file,
    keyed,
    write_key,
)

# ── the key ──────────────────────────────────────────────────────────────────────────────


def test_a_key_is_read_from_its_file(home, key_file):
    assert key_of(keyed(home, key_file)) == KEY
    assert key_of(keyed(home, write_key(key_file, KEY.upper()))) == KEY
    assert key_of(home) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "64 hexadecimal"), ("5a" * 31, "64 hexadecimal"), ("zz" * 32, "64 hexadecimal"),
     ("5a" * 33, "64 hexadecimal"), ("é", "64 hexadecimal"), (f"{KEY}\n{KEY}", "64 hexadecimal")],
)  # fmt: skip
def test_a_file_without_a_key_is_named_and_not_quoted(home, key_file, text, words):
    key_file.write_text(text, encoding="utf-8")
    with pytest.raises(SettingError, match=words) as error:
        key_of(keyed(home, key_file))
    assert str(key_file) in str(error.value)
    assert "openssl rand" in str(error.value)
    assert KEY[:20] not in str(error.value)


def test_a_key_that_is_missing_or_that_everybody_may_read_is_refused(home, key_file):
    key_file.chmod(0o644)
    with pytest.raises(SettingError, match="chmod o= "):
        key_of(keyed(home, key_file))
    key_file.unlink()
    with pytest.raises(SettingError, match="No such file"):
        key_of(keyed(home, key_file))


def test_a_key_does_not_lie_in_the_home_whose_backups_would_hold_it(home):
    file = write_key(home.folder / "journal.key", KEY)
    with pytest.raises(SettingError, match="lies in the home"):
        key_of(keyed(home, file))


def test_without_the_setting_sqlcipher_is_not_imported_and_with_it_its_extra_is_named(
    home, key_file, tmp_path, monkeypatch
):
    """The package is hidden by a module of its name, as in `test_extras`."""
    (tmp_path / "sqlcipher3.py").write_text(
        "raise ModuleNotFoundError('missing', name='sqlcipher3')"
    )
    words = [sys.executable, "-m", "api.cli.main", "--home", str(home.folder), "inbox", "list"]
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    fill_plain = [sys.executable, "-c", FILL, home.inbox, "", CANARY]
    assert subprocess.run(fill_plain, cwd=ROOT).returncode == -signal.SIGKILL
    assert subprocess.run(words, capture_output=True).returncode == 0
    monkeypatch.setenv("NICHEGRAPH_JOURNAL_KEY_FILE", str(key_file))
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 1
    assert "nichegraph[encrypted]" in done.stderr
    assert len(content(home, None)[1]) == 150


# ── a wrong key ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("key", "other", "words", "remedy"),
    [
        (KEY, OTHER, "encrypted with another key", "name the file of its key"),
        (KEY, None, "or an encrypted one", "name the file of its key"),
        (
            None,
            KEY,
            "in the clear, while",
            "inbox encrypt`; or `nichegraph inbox decrypt`, which also ends a decryption",
        ),
    ],
)
def test_a_key_that_does_not_fit_is_said_and_nothing_is_written(home, key, other, words, remedy):
    """A wrong key, a missing one and one that is not needed: each has a message of its own."""
    fill(home, key)
    copy = Home(shutil.copytree(home.folder, home.folder.with_name("copy")))
    journal = Journal(home.inbox, key=other)
    for use in (
        lambda: journal.facts_after(0),
        lambda: journal.append([fact("events", {"user": "u", "item": "i", "kind": "k"})], now=NOW),
        lambda: feedback.about_user(journal, CANARY),
        lambda: feedback.take(journal, [Row(8, "impression", SHOWN, NOW)]),
        lambda: feedback.forget(journal, CANARY),
    ):
        with pytest.raises(StoreForeign, match=words) as error:
            use()
        assert str(home.inbox.parent) in str(error.value)
        assert remedy in str(error.value)
    journal.close()
    assert content(home, key) == content(copy, key)


LOCK = """
import fcntl, sys
with open(sys.argv[1], "r+b") as file:  # the bytes that each reader has locked
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 510, 0x40000002)
"""


def test_looking_whether_a_file_is_in_the_clear_takes_no_locks_away(home):
    """Else another process might replace what this one reads and writes."""
    fill(home, KEY)
    words = [sys.executable, "-c", LOCK, home.inbox]
    with closing(Journal(home.inbox, key=KEY)) as journal:
        assert journal.last_sequence() == 200
        assert not in_the_clear(home.inbox)
        done = subprocess.run(words, capture_output=True, text=True)
        assert "BlockingIOError" in done.stderr
    subprocess.run(words, check=True)


def test_a_server_does_not_start_with_a_wrong_key(home, key_file, monkeypatch, capsys):
    fill(home, OTHER)
    monkeypatch.setenv("NICHEGRAPH_JOURNAL_KEY_FILE", str(key_file))
    assert run(["--home", str(home.folder), "serve", "--port", "0"]) == 1
    assert "another key" in capsys.readouterr().err
    assert run(["--home", str(home.folder), "doctor"]) == 1
    assert "another key" in capsys.readouterr().out
