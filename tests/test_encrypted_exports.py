"""What leaves a home can be encrypted: `export`, `data` and `recommend --all` write for one key."""

import io
import json
import os
from concurrent.futures import ThreadPoolExecutor

import networkx as nx
import pyarrow.parquet as pq
import pyrage
import pytest

from api.cli.main import run
from graph.errors import InputError
from recommender.releases.age import new_file

READER = b"reader-1"


@pytest.fixture
def identity():
    return pyrage.x25519.Identity.generate()


def command(home, *words):
    return run(["--home", str(home.folder), *map(str, words)])


def both_ways(home, tmp_path, identity, *words):
    """What a command writes into a file, and what the key opens of the same, encrypted."""
    plain, sealed = tmp_path / "plain", tmp_path / "sealed"
    for path, more in ((plain, ()), (sealed, ("--encrypt", identity.to_public()))):
        at = words.index("FILE")
        assert command(home, *words[:at], path, *words[at + 1 :], *more) == 0
    assert {path.name for path in tmp_path.iterdir()} >= {"plain", "sealed"}
    assert not list(tmp_path.glob("*.part"))
    assert READER in plain.read_bytes()
    assert READER not in sealed.read_bytes()
    with pytest.raises(pyrage.DecryptError):
        pyrage.decrypt(sealed.read_bytes(), [pyrage.x25519.Identity.generate()])
    return plain.read_bytes(), pyrage.decrypt(sealed.read_bytes(), [identity])


def test_an_encrypted_graph_is_the_same_graph_for_its_key_alone(used_home, tmp_path, identity):
    plain, opened = (
        nx.read_graphml(io.BytesIO(content))
        for content in both_ways(used_home, tmp_path, identity, "export", "FILE")
    )
    assert len(plain) > 0
    assert dict(opened.nodes(data=True)) == dict(plain.nodes(data=True))
    assert opened.number_of_edges() == plain.number_of_edges()


def test_encrypted_lists_for_all_are_the_same_lists(used_home, tmp_path, identity):
    lists = ("recommend", "--all", "-n", "3", "--out", "FILE")
    plain, opened = both_ways(used_home, tmp_path, identity, *lists)
    assert pq.read_table(io.BytesIO(opened)).equals(pq.read_table(io.BytesIO(plain)))
    plain, opened = both_ways(used_home, tmp_path, identity, *lists, "--format", "jsonl")
    assert opened == plain


def test_what_is_known_of_a_person_is_printed_for_a_key(used_home, identity, capsys):
    assert command(used_home, "data", "reader-1") == 0
    plain = json.loads(capsys.readouterr().out)
    assert command(used_home, "data", "reader-1", "--encrypt", identity.to_public()) == 0
    sealed = capsys.readouterr().out
    assert sealed.startswith("-----BEGIN AGE ENCRYPTED FILE-----\n")
    opened = json.loads(pyrage.decrypt(sealed.encode(), [identity]))
    assert opened["events"] == plain["events"] != []
    assert opened.keys() == plain.keys()


@pytest.mark.parametrize(
    "words", [("export", "f"), ("data", "reader-1"), ("recommend", "--all", "--out", "f")]
)
def test_what_is_no_public_key_is_refused_and_nothing_is_written(
    used_home, tmp_path, capsys, monkeypatch, words
):
    monkeypatch.chdir(tmp_path)
    assert command(used_home, *words, "--encrypt", "AGE-SECRET-KEY-1") == 1
    out, err = capsys.readouterr()
    assert "public key of age" in err
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_begun_and_not_ended_is_gone(tmp_path, identity):
    """Whatever went wrong, the file that was there before is still there."""
    (tmp_path / "f").write_bytes(b"before")
    for recipient in (None, str(identity.to_public())):
        with pytest.raises(InputError), new_file(tmp_path / "f", recipient) as file:
            file.write(os.urandom(200_000))
            raise InputError("the network went away")
    assert (tmp_path / "f").read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_what_is_no_file_is_written_to_and_not_replaced(tmp_path):
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(tmp_path / "f")
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(pipe.read_bytes)
        with new_file(pipe) as file:
            file.write(b"all")
        assert reading.result() == b"all"
    assert pipe.is_fifo()
    with new_file(link) as file:
        file.write(b"all")
    assert link.is_symlink()
    assert (tmp_path / "f").read_bytes() == b"all"


def test_a_full_disk_is_the_error_that_is_told(monkeypatch, tmp_path, identity):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pyrage, "encrypt_io", full)
    writing = new_file(tmp_path / "f", str(identity.to_public()))
    with pytest.raises(OSError, match="No space left"), writing as file:
        file.write(bytes(1_000_000))
    assert list(tmp_path.iterdir()) == []
