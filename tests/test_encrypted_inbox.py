"""An inbox with a key: nothing of it is on the disk in the clear, and nothing of it gets lost."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext

import pytest

from api.cli.main import run
from api.settings import load_settings
from graph.errors import InputError, StoreForeign
from graph.sqlite_file import opening, replacing
from graph.stores.embedded_store import EmbeddedStore
from recommender.inbox import encrypting, feedback
from recommender.inbox.encrypting import rewrite
from recommender.inbox.facts import fact
from recommender.inbox.journal import Journal
from recommender.overlay.spellings import search
from recommender.releases.home import Home
from tests.filled_inbox import (  # noqa: F401
    CANARY,
    KEY,
    NOW,
    OTHER,
    PLAIN,
    ROOT,
    TITLE,
    content,
    fill,
    filled,
    home,
    key_file,
    without_inbox,
    write_key,
    written,
)
from tests.test_api_worker import free_port, until
from tests.test_drainer import server

# ── what is on the disk ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_server_with_a_key_leaves_nothing_in_the_clear(
    planted_home, tmp_path, key_file, monkeypatch, encrypted
):
    """Without a key the same search finds the person, so it can fail."""
    home = without_inbox(planted_home, tmp_path / "home")
    if encrypted:
        monkeypatch.setenv("NICHEGRAPH_JOURNAL_KEY_FILE", str(key_file))
    port = free_port()

    def ask(method, path, body=None):
        content = None if body is None else json.dumps(body).encode()
        address, kind = f"http://127.0.0.1:{port}{path}", {"Content-Type": "application/json"}
        request = urllib.request.Request(address, content, kind, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def in_the_clear():
        on_disk = written(home)
        assert (PLAIN in on_disk) is not encrypted
        return CANARY.encode() in on_disk, TITLE.encode() in on_disk

    with server(home, port):
        ask("PUT", "/v1/items/canary-item", {"title": TITLE})
        for number in range(30):
            event = {"user": CANARY, "item": f"evergreen-{number}", "kind": "like"}
            ask("POST", "/v1/events", event)
        shown = ask("GET", f"/v1/users/{CANARY}/recommendations?n=1")
        seen = {"user": CANARY, "item": shown["items"][0]["item"], "kind": "impression"}
        ask("POST", "/v1/events", seen | {"request_id": shown["request_id"], "position": 1})
        assert in_the_clear() == (not encrypted, not encrypted)
        until(lambda: ask("GET", "/ready")["inbox"]["waiting"] == 0)
        assert feedback.feedback_file(home.inbox).exists()
        assert in_the_clear() == (not encrypted, not encrypted)
        about = ask("GET", f"/v1/users/{CANARY}/data")  # of a process of its own
        assert (len(about["events"]), len(about["feedback"])) == (30, 1)
        erasure = ask("DELETE", f"/v1/users/{CANARY}")["sequence"]
        until(lambda: ask("GET", f"/v1/erasures/{erasure}")["done"])
        assert in_the_clear() == (False, not encrypted)
    facts = content(home, KEY if encrypted else None)[1]
    assert [row.payload["title"] for row in facts if row.kind == "item_put"] == [TITLE]
    assert CANARY not in str(facts)


def test_verify_reads_what_is_encrypted(filled, key_file, monkeypatch, capsys):
    monkeypatch.setenv("NICHEGRAPH_JOURNAL_KEY_FILE", str(key_file))
    rewrite(filled.inbox, None, KEY)
    assert list(search(filled.inbox.parent, CANARY)) == []
    words = ["--home", str(filled.folder), "erase", CANARY, "--verify", "--json"]
    assert run(words) == 1
    counts = json.loads(capsys.readouterr().out)["files"]
    assert counts == {str(filled.inbox): 150, str(feedback.feedback_file(filled.inbox)): 1}


# ── encrypting what is there ─────────────────────────────────────────────────────────────


def test_an_inbox_is_encrypted_gets_another_key_and_is_decrypted(
    filled, key_file, tmp_path, monkeypatch, capsys
):
    def command(*words):
        code = run(["--home", str(filled.folder), "inbox", *map(str, words)])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    assert "setting 'journal_key_file' is missing" in command("encrypt")[1]
    before = written(filled)
    assert CANARY.encode() in before
    monkeypatch.setenv("NICHEGRAPH_JOURNAL_KEY_FILE", str(key_file))
    assert command("list")[0] == 1
    assert command("encrypt") == (0, "encrypted: journal.sqlite, feedback.sqlite\n")
    was = content(filled, KEY)
    assert len(was[1]) == 150
    assert len(was[2]) == 1
    assert CANARY.encode() not in written(filled)
    assert PLAIN not in written(filled)
    assert command("encrypt") == (0, "there was nothing to be encrypted\n")
    newer = write_key(tmp_path / "newer.key", OTHER)
    monkeypatch.setenv("NICHEGRAPH_JOURNAL_KEY_FILE", str(newer))
    code, text = command("encrypt")
    assert code == 1
    assert "--old-key" in text
    assert command("encrypt", "--old-key", key_file)[0] == 0
    assert content(filled, OTHER) == was
    with closing(Journal(filled.inbox, key=OTHER)) as journal:
        event = fact("events", {"user": "new", "item": "i", "kind": "k"})
        assert journal.append([event], now=NOW)[0].sequence == 201
    assert command("decrypt") == (0, "decrypted: journal.sqlite, feedback.sqlite\n")
    monkeypatch.delenv("NICHEGRAPH_JOURNAL_KEY_FILE")
    assert content(filled, None)[1][:-1] == was[1]
    assert command("list")[0] == 0


def test_the_schema_is_as_it_was(filled):
    """Of the file itself: version, owner, numbers that were given out, the order of receipts."""

    def about():
        with closing(sqlite3.connect(filled.inbox)) as db:
            return [
                db.execute(query).fetchall()
                for query in (
                    "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name",
                    "SELECT * FROM sqlite_sequence",
                    "PRAGMA user_version",
                    "PRAGMA application_id",
                    "SELECT * FROM facts",
                    "SELECT * FROM about",
                )
            ]

    before = about()
    assert rewrite(filled.inbox, None, KEY) == ["journal.sqlite", "feedback.sqlite"]
    assert rewrite(filled.inbox, KEY, None) == ["journal.sqlite", "feedback.sqlite"]
    assert about() == before


@pytest.mark.parametrize(
    ("key", "before", "after", "words"),
    [
        (KEY, None, OTHER, "another key .* --old-key FILE` names the key"),
        (KEY, OTHER, None, "another key .* Name the file of its key with that setting"),
        (KEY, OTHER, "11" * 32, "neither the key of --old-key .* with --old-key$"),
        (None, KEY, OTHER, "in the clear; .* without --old-key$"),
    ],
)
def test_a_file_that_has_neither_key_is_named_with_the_remedy(home, key, before, after, words):
    fill(home, key)
    copy = origin_copy(home, home.folder.parent, 0)
    with pytest.raises(StoreForeign, match=f"^{home.inbox}: .*{words}"):
        rewrite(home.inbox, before, after)
    assert content(home, key) == content(copy, key)


READER = """
import sys, time
from pathlib import Path
from recommender.inbox import feedback
from recommender.inbox.journal import Journal
journal = Journal(Path(sys.argv[1]), key=sys.argv[2] or None)
if sys.argv[3] == "journal":
    journal.last_sequence()
else:
    shown = feedback.opened(journal)
    shown.__enter__()
print("reads", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("which", ["journal", "feedback"])
@pytest.mark.parametrize("key", [None, KEY])
def test_what_others_use_is_not_rewritten(filled, which, key):
    """Another process: SQLite's locks are those of processes."""
    if key:
        rewrite(filled.inbox, None, key)
    words = [sys.executable, "-c", READER, filled.inbox, key or "", which]
    other = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "reads\n"
        with pytest.raises(InputError, match=f"{which}.sqlite is in use"):
            rewrite(filled.inbox, key, OTHER)
    finally:
        other.kill()
        other.communicate()
    rewrite(filled.inbox, key, OTHER)
    assert len(content(filled, OTHER)[1]) == 150


def test_who_opens_a_file_waits_until_it_is_replaced(filled, monkeypatch):
    """Else the log of the old file would be taken for that of the new one."""
    with replacing(filled.inbox), monkeypatch.context() as patch:
        reader = ThreadPoolExecutor(1).submit(content, filled, KEY)
        time.sleep(0.3)
        assert not reader.done()
        aside = filled.inbox.with_name("aside")
        patch.setattr(encrypting, "replacing", lambda _: nullcontext(aside))  # the lock is ours
        rewrite(filled.inbox, None, KEY)
    assert len(reader.result(60)[1]) == 150
    with opening(filled.inbox), pytest.raises(InputError, match="in use"):
        rewrite(filled.inbox, KEY, None)


REWRITE = """
import os, sys
from pathlib import Path
from graph import sqlite_file
from recommender.inbox import encrypting
from recommender.releases.home import Home
left = int(sys.argv[4])
def count():
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), 9)
def step(do):
    def counted(*values, **named):
        count()
        result = do(*values, **named)
        count()
        return result
    return counted
for name in ("_both", "_copy", "sync"):
    setattr(encrypting, name, step(getattr(encrypting, name)))
encrypting.Path.replace = step(Path.replace)
before, after = sys.argv[2] or None, sys.argv[3] or None
encrypting.rewrite(Home(Path(sys.argv[1])).inbox, before, after)
"""


@pytest.mark.parametrize(("before", "after"), [(None, KEY), (KEY, None), (KEY, OTHER)])
def test_killed_at_any_step_each_file_is_whole_and_a_second_call_does_the_rest(
    tmp_path, before, after
):
    origin = Home(tmp_path / "origin").create()
    fill(origin, before)
    finished, states = False, set()
    for steps in range(40):
        home = Home(shutil.copytree(origin.folder, tmp_path / str(steps)))
        words = [REWRITE, home.folder, before or "", after or "", steps]
        done = subprocess.run([sys.executable, "-c", *map(str, words)], cwd=ROOT)
        finished = done.returncode == 0
        assert finished or done.returncode == -signal.SIGKILL
        again = rewrite(home.inbox, before, after)
        states.add(tuple(again))
        assert content(home, after) == content(origin_copy(origin, tmp_path, steps), before)
        assert [path.name for path in home.inbox.parent.iterdir() if ".new" in path.name] == []
        if finished:
            break
    assert finished
    assert states == {("journal.sqlite", "feedback.sqlite"), ("feedback.sqlite",), ()}


def origin_copy(origin, folder, number):
    """Reading the files changes them, so a copy is read."""
    return Home(shutil.copytree(origin.folder, folder / f"read-{number}"))


NEXT = {  # what is done after the kill
    "status": lambda home: run(["--home", str(home.folder), "status"]),
    "inbox list": lambda home: run(["--home", str(home.folder), "inbox", "list"]),
    "a reader": lambda home: content(home, KEY),
    "the same again": lambda home: rewrite(home.inbox, KEY, None),
    "another key": lambda home: rewrite(home.inbox, KEY, OTHER),
}


@pytest.mark.parametrize("which", NEXT)
def test_what_a_killed_decryption_left_in_the_clear_goes_when_the_inbox_is_opened(
    home, key_file, monkeypatch, which
):
    monkeypatch.setenv("NICHEGRAPH_JOURNAL_KEY_FILE", str(key_file))
    fill(home, KEY)
    after_the_copy = 3  # steps
    words = [REWRITE, home.folder, KEY, "", after_the_copy]
    done = subprocess.run([sys.executable, "-c", *map(str, words)], cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    left = home.inbox.with_name(".journal.sqlite.new")
    assert PLAIN in left.read_bytes()
    assert CANARY.encode() in left.read_bytes()
    log = left.with_name(f"{left.name}-journal")
    log.write_bytes(b"")  # there, too, if it is killed a moment earlier
    second = home.inbox.with_name(".feedback.sqlite.new")
    second.write_bytes(PLAIN)  # there if it is killed some steps later
    NEXT[which](home)
    assert not left.exists()
    assert not log.exists()
    assert not second.exists()


def test_a_server_that_starts_removes_what_a_killed_decryption_left(
    planted_home, tmp_path, key_file, monkeypatch
):
    home = without_inbox(planted_home, tmp_path / "home")
    monkeypatch.setenv("NICHEGRAPH_JOURNAL_KEY_FILE", str(key_file))
    fill(home, KEY)
    left = [home.inbox.with_name(f".{name}.sqlite.new") for name in ("journal", "feedback")]
    for path in left:
        path.write_bytes(PLAIN)
    with server(home, free_port()):
        assert not any(path.exists() for path in left)


def test_what_is_being_replaced_is_not_removed(filled):
    """Who opens a file waits until its successor has its name."""
    with replacing(filled.inbox) as aside:
        aside.write_bytes(b"")
        reader = ThreadPoolExecutor(1).submit(content, filled, None)
        time.sleep(0.3)
        assert aside.exists()
    assert len(reader.result(60)[1]) == 150
    assert not aside.exists()


# ── backups ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def known(planted_home, tmp_path, key_file, monkeypatch):
    """A home with a key, and a person in its journal, its feedback and its store."""
    monkeypatch.setenv("NICHEGRAPH_JOURNAL_KEY_FILE", str(key_file))
    home = without_inbox(planted_home, tmp_path / "home")
    fill(home, KEY)
    with closing(EmbeddedStore(home.store)) as store:
        assert store.counts()
    return home


def command(home, *words):
    return run(["--home", str(home.folder), *map(str, words)])


def test_a_backup_holds_the_inbox_encrypted_and_brings_it_back(known, tmp_path, capsys):
    before = content(known, KEY)
    assert command(known, "backup", tmp_path / "b.tar.gz") == 0
    other = Home(tmp_path / "other")
    assert command(other, "restore", tmp_path / "b.tar.gz") == 0
    assert content(other, KEY) == before
    assert PLAIN not in written(other)
    assert CANARY.encode() not in written(other)
    capsys.readouterr()
    os.environ.pop("NICHEGRAPH_JOURNAL_KEY_FILE")
    assert command(Home(tmp_path / "third"), "restore", tmp_path / "b.tar.gz") == 1
    assert "setting journal_key_file" in capsys.readouterr().err
    assert not (tmp_path / "third").exists()


def test_a_backup_is_not_made_with_a_wrong_key(known, tmp_path, key_file, capsys):
    write_key(key_file, OTHER)
    assert command(known, "backup", tmp_path / "b.tar.gz") == 1
    assert "another key" in capsys.readouterr().err
    assert not (tmp_path / "b.tar.gz").exists()


def test_who_was_erased_since_stays_erased_where_the_inbox_is_encrypted(known, tmp_path, capsys):
    assert command(known, "backup", tmp_path / "b.tar.gz") == 0
    assert command(known, "erase", CANARY) == 0
    assert len(content(known, KEY)[1]) == 1  # the erasure itself, which names nobody
    assert command(known, "restore", tmp_path / "b.tar.gz", "--replace") == 0
    assert "1 people" in capsys.readouterr().out
    assert CANARY not in str(content(known, KEY))
    assert command(known, "erase", CANARY, "--verify") == 0


def test_the_inbox_of_an_older_backup_is_encrypted_when_it_is_restored(
    filled, key_file, tmp_path, monkeypatch
):
    before = content(filled, None)
    assert command(filled, "backup", tmp_path / "b.tar.gz") == 0
    monkeypatch.setenv("NICHEGRAPH_JOURNAL_KEY_FILE", str(key_file))
    other = Home(tmp_path / "other")
    assert command(other, "restore", tmp_path / "b.tar.gz") == 0
    assert content(other, KEY) == before
    assert CANARY.encode() not in written(other)
    assert load_settings(other.folder).journal_key_file == key_file
