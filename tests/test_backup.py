"""A backup is whole, encrypted if asked, and brings nobody back who was erased since."""

import io
import json
import shutil
import stat
import tarfile
import time
from contextlib import closing

import numpy as np
import pyrage
import pytest

from api import bootstrap
from api.app import create_app
from api.bootstrap import open_journal
from api.cli import backup
from api.cli.main import run
from api.keys import KeyFile
from api.settings import load_settings
from graph.stores.embedded_store import EmbeddedStore
from recommender.inbox.drain import drain, lease
from recommender.overlay.spellings import search
from recommender.releases.backups import CONTENTS, LEFT_OUT, save, unpack
from recommender.releases.home import Home
from recommender.releases.publishing import current, open_release
from tests.conftest import NOW

ALICE = "reader-alice-in-person"


@pytest.fixture
def home(planted_home, tmp_path):
    """A home with a release, a fact in the journal, and a person of whom the store knows."""
    home = Home(shutil.copytree(planted_home.folder, tmp_path / "home"))
    client(home).post(
        "/v1/events", json={"user": "reader-1", "item": "evergreen-1", "kind": "like"}
    )
    tell(home, ALICE, "evergreen-2")
    return home


def client(home):
    return create_app(load_settings(home.folder)).test_client()


def tell(home, user, item):
    answer = client(home).post("/v1/events", json={"user": user, "item": item, "kind": "like"})
    assert answer.status_code == 202


def command(home, *words):
    return run(["--home", str(home.folder), *map(str, words)])


def content(folder):
    """Bytes of every file, but not of databases and their logs, which closing one rewrites."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".sqlite" not in path.name and path.suffix != ".lock"
    }


def test_what_comes_back_is_what_was_there(home, tmp_path):
    backup = save(home, tmp_path / "b.tar.gz", now=NOW)
    assert backup.created_at == NOW
    assert unpack(tmp_path / "b.tar.gz", tmp_path / "back") == backup
    back = Home(tmp_path / "back")
    assert content(back.folder).items() <= content(home.folder).items()
    assert {path.name for path in back.folder.iterdir()}.isdisjoint(LEFT_OUT)
    release = open_release(back.releases / current(back))  # sums checked
    assert np.array_equal(
        release.table.scores, open_release(home.releases / current(home)).table.scores
    )
    for name in ("events", "items", "users"):
        with (
            closing(EmbeddedStore(home.store)) as before,
            closing(EmbeddedStore(back.store)) as after,
        ):
            assert before.read(name).equals(after.read(name))
    with closing(open_journal(load_settings(back.folder))) as journal:
        assert len(journal.facts_after(0, 10)) == 2
    assert not list(home.folder.glob(".backup-*"))
    assert (tmp_path / "b.tar.gz").stat().st_mode & 0o077 == 0


def test_an_encrypted_backup_opens_for_its_key_alone(home, tmp_path):
    own, other = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
    for name, key in (("own", own), ("other", other)):
        (tmp_path / name).write_text(f"# a key of age\n{key}\n")
    file = tmp_path / "b.age"
    assert command(home, "backup", file, "--encrypt", own.to_public()) == 0
    assert ALICE.encode() not in file.read_bytes()
    assert pyrage.decrypt(file.read_bytes(), [own])[:2] == b"\x1f\x8b"  # as age itself would
    target = Home(tmp_path / "back")
    assert command(target, "restore", file) == 1
    assert command(target, "restore", file, "--identity", tmp_path / "other") == 1
    assert not target.folder.exists()
    assert command(target, "restore", file, "--identity", tmp_path / "own") == 0
    assert client(target).get("/v1/users/reader-1/recommendations?n=3").status_code == 200


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_damaged_or_cut_backup_is_refused_and_nothing_is_left(home, tmp_path, encrypted):
    key = pyrage.x25519.Identity.generate()
    (tmp_path / "key").write_text(str(key))
    file = tmp_path / "b"
    save(home, file, now=NOW, recipient=str(key.to_public()) if encrypted else None)
    whole, rng = file.read_bytes(), np.random.default_rng(0)
    spoiled = [whole[: len(whole) * part // 7] for part in range(7)]
    for at in rng.integers(20, len(whole), 12):
        # All eight bits: packing leaves some bits of a byte unused, and these may be anything.
        spoiled.append(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
    present = content(home.folder)
    for bad in spoiled:
        file.write_bytes(bad)
        assert command(home, "restore", file, "--replace", "--identity", tmp_path / "key") == 1
    assert content(home.folder) == present
    assert {path.name for path in tmp_path.iterdir()} == {"home", "b", "key"}


def test_no_member_of_an_archive_leaves_the_folder(home, tmp_path):
    file = tmp_path / "b.tar.gz"
    with tarfile.open(file, "w:gz") as tar:
        about = json.dumps({"version": 1, "created_at": 0, "files": {}}).encode()
        for name, body in ((CONTENTS, about), ("../outside", b"x")):
            member = tarfile.TarInfo(name)
            member.size = len(body)
            tar.addfile(member, io.BytesIO(body))
    assert command(Home(tmp_path / "back"), "restore", file) == 1
    assert not (tmp_path / "outside").exists()


def test_who_was_erased_since_stays_erased(home, tmp_path, capsys):
    """In the store, in the journal, and in every file of the home."""
    tell(home, "erased-before", "evergreen-2")
    assert command(home, "erase", "erased-before") == 0
    file = tmp_path / "b.tar.gz"
    assert command(home, "backup", file) == 0
    tell(home, "erased-before", "evergreen-2")  # a new person, who is lost with what came later
    assert command(home, "erase", ALICE) == 0
    assert command(home, "restore", file) == 1  # not empty
    capsys.readouterr()
    assert command(home, "restore", file, "--replace", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["erased_again"] == 1
    assert not list(search(home.folder, ALICE))
    assert list(search(home.folder, "reader-1"))
    with closing(EmbeddedStore(home.store)) as store:
        assert ALICE not in store.read("users").column("id").to_pylist()
    late = {"user": ALICE, "item": "evergreen-2", "kind": "like", "at": NOW}
    refused = client(home).post("/v1/events", json=late)
    assert refused.status_code == 400  # older than the erasure
    assert (Home(tmp_path / answer["kept"]).store).exists()


def test_keys_that_were_revoked_since_stay_so_and_nobody_else_reads_the_file(home, tmp_path):
    now, file = int(time.time()), tmp_path / "b.tar.gz"
    keys = KeyFile(home.keys)
    ended, kept = (keys.create(["admin"], now=now) for _ in range(2))
    assert command(home, "backup", file) == 0
    keys.revoke(ended.key.id, now=now)
    later = keys.create(["recommend"], now=now)
    assert command(home, "restore", file, "--replace") == 0
    restored = KeyFile(home.keys)
    opened = [restored.opened_by(made.secret, now) for made in (ended, kept, later)]
    assert [key and key.id for key in opened] == [None, kept.key.id, later.key.id]
    assert stat.S_IMODE(home.keys.stat().st_mode) == 0o600
    home.keys.write_text("[{]")  # damaged: it is not to replace the good ones of the backup
    assert command(home, "restore", file, "--replace") == 1
    home.keys.unlink()
    assert command(home, "restore", file, "--replace") == 0
    assert KeyFile(home.keys).opened_by(kept.secret, now) is not None
    shutil.rmtree(home.folder)
    assert command(home, "restore", file) == 0  # the keys of the backup: there are no others
    assert KeyFile(home.keys).opened_by(ended.secret, now) is not None
    assert stat.S_IMODE(home.keys.stat().st_mode) == 0o600


def test_without_the_present_home_the_person_would_be_back(home, tmp_path):
    """The variant without the protection."""
    file = tmp_path / "b.tar.gz"
    assert command(home, "backup", file) == 0
    assert command(home, "erase", ALICE) == 0
    shutil.rmtree(home.folder)
    assert command(home, "restore", file) == 0
    assert list(search(home.folder, ALICE))


def test_a_store_that_is_newer_than_the_backup_takes_what_comes_next(home, tmp_path, monkeypatch):
    """As on a server, which no backup of the home holds: here it is an embedded one elsewhere."""
    elsewhere = shutil.copy(home.store, tmp_path / "elsewhere.sqlite")
    monkeypatch.setattr(bootstrap, "open_store", lambda *_, **__: EmbeddedStore(elsewhere))
    monkeypatch.setattr(backup, "open_store", lambda *_, **__: EmbeddedStore(elsewhere))
    file = tmp_path / "b.tar.gz"
    assert command(home, "backup", file) == 0
    for number in range(5):
        tell(home, "late", f"evergreen-{number + 1}")
    with (
        closing(open_journal(load_settings(home.folder))) as journal,
        closing(EmbeddedStore(elsewhere)) as store,
    ):
        drain(journal, store, now=lambda: NOW)
    assert command(home, "restore", file, "--replace") == 0
    tell(home, "later", "evergreen-1")  # before anybody drains
    with (
        closing(open_journal(load_settings(home.folder))) as journal,
        closing(EmbeddedStore(elsewhere)) as store,
    ):
        drain(journal, store, now=lambda: NOW)
        users = store.read("events").column("user").to_pylist()
    assert (users.count("late"), users.count("later")) == (5, 1)


def test_a_home_with_a_server_is_not_replaced(home, tmp_path):
    file = tmp_path / "b.tar.gz"
    assert command(home, "backup", file) == 0
    with lease(home.inbox) as mine:
        assert mine
        assert command(home, "restore", file, "--replace") == 1
    assert command(home, "backup", file) == 1  # a backup is never overwritten
    assert command(home, "backup", tmp_path / "c", "--encrypt", "age1nonsense") == 1
    assert not (tmp_path / "c").exists()
