"""The log of what was done: every edit, deletion, swap and truncation is found."""

import json
import shutil
from contextlib import closing
from dataclasses import replace

import pytest

from api.cli.main import run
from recommender.inbox.facts import fact
from recommender.inbox.journal import Journal
from recommender.inbox.quarantine import put_aside
from recommender.releases.audit import Head, head_in, lines, note, read_head, verify
from recommender.releases.home import Home

NOW = 1_760_000_000


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "audit"
    for number in range(5):
        note(folder, "write", now=NOW + number, upto=number)
    return folder


def rewrite(folder, change):
    log = folder / "log.jsonl"
    log.write_bytes(b"".join(change(log.read_bytes().splitlines(keepends=True))))


def test_a_whole_log_is_whole_and_an_empty_one_too(folder, tmp_path):
    assert verify(folder) == []
    assert [line["upto"] for line in lines(folder)] == [0, 1, 2, 3, 4]
    assert verify(tmp_path / "nothing") == []


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: [rows[0], rows[1].replace(b'"upto": 1', b'"upto": 9'), *rows[2:]],
        lambda rows: [*rows[:4], rows[4].replace(b'"upto": 4', b'"upto": 9')],
        lambda rows: [rows[0], *rows[2:]],
        lambda rows: rows[1:],
        lambda rows: [rows[0], rows[2], rows[1], *rows[3:]],
        lambda rows: rows[:-1],
        lambda rows: rows[:2],
        lambda rows: [],
        lambda rows: [*rows[:4], rows[4][:-10]],
        lambda rows: [*rows, rows[4], rows[4]],
        lambda rows: [*rows[:2], b"not json\n", *rows[3:]],
    ],
)
def test_every_change_is_found(folder, change):
    rewrite(folder, change)
    assert verify(folder)


def test_a_log_that_lost_its_head_is_not_taken_for_whole(folder):
    rewrite(folder, lambda rows: rows[:1])
    (folder / "head.json").unlink()
    assert "head.json is gone" in verify(folder)[0]
    (folder / "log.jsonl").unlink()
    assert verify(folder)


def test_a_head_elsewhere_stays_when_the_log_does_not_go_on_from_it(tmp_path):
    folder, apart = tmp_path / "audit", tmp_path / "apart.json"
    for number in range(3):
        head = note(folder, "write", now=NOW, elsewhere=apart, upto=number)
        assert head_in(apart) == head
    note(folder, "write", now=NOW, upto=3)  # while the setting was not there
    note(folder, "write", now=NOW, elsewhere=apart, upto=4)
    assert (
        head_in(apart)
        == read_head(folder)
        == Head(5, read_head(folder).hash, read_head(folder).bytes)
    )
    for file in folder.iterdir():  # all of it is gone, and a new log begins
        file.unlink()
    note(folder, "write", now=NOW, elsewhere=apart, upto=5)
    assert verify(folder) == []
    assert "1 of 5" in verify(folder, head_in(apart))[0]


def test_a_log_written_anew_with_its_head_is_found_by_a_head_kept_elsewhere(folder, tmp_path):
    kept = read_head(folder)
    forged = tmp_path / "forged"
    for number in range(6):
        note(forged, "write", now=NOW + number, upto=number + (number == 2))
    assert verify(forged) == []
    assert verify(forged, kept)
    note(folder, "write", now=NOW, upto=5)
    assert verify(folder, kept) == []  # an earlier head still tells the truth
    assert verify(folder, replace(kept, number=50))


def test_a_kill_between_line_and_head_is_no_crime(folder):
    before = (folder / "head.json").read_text()
    note(folder, "write", now=NOW, upto=5)
    (folder / "head.json").write_text(before)
    assert verify(folder) == []
    note(folder, "write", now=NOW, upto=6)
    assert verify(folder) == []
    with (folder / "log.jsonl").open("ab") as file:
        file.write(b'{"number": 8, "bef')  # half a line: the disk was full
    note(folder, "write", now=NOW, upto=7)
    assert verify(folder) == []
    assert [line["upto"] for line in lines(folder)] == [0, 1, 2, 3, 4, 5, 6, 7]


def test_commands_are_in_the_log_and_it_can_be_verified(tmp_path, capsys):
    home = Home(tmp_path / "home")
    (tmp_path / "plays.csv").write_text("user,item\nann,x\nbob,x\nann,y\n")

    def command(*words):
        return run(["--home", str(home.folder), *words])

    assert command("load", str(tmp_path / "plays.csv")) == 0
    assert command("erase", "ann") == 0
    assert command("export", str(tmp_path / "all.graphml")) == 0
    assert [line["what"] for line in lines(home.audit)] == [
        "load",
        "erasure asked",
        "erasure done",
        "export",
    ]
    text = (home.audit / "log.jsonl").read_text()
    assert "ann" not in text
    assert lines(home.audit)[1]["person"] == lines(home.audit)[2]["person"]
    head = tmp_path / "head.json"
    head.write_text((home.audit / "head.json").read_text())
    capsys.readouterr()
    assert command("audit", "verify") == 0
    assert "4 lines" in capsys.readouterr().out
    assert command("audit", "show", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)) == 4
    rewrite(home.audit, lambda rows: rows[:-1])
    assert command("audit", "verify") == 1
    assert command("audit", "verify", "--head", str(head)) == 1
    assert "missing at the end" in capsys.readouterr().err


def test_what_tells_of_people_or_forgets_facts_leaves_a_line(planted_home, tmp_path):
    home = Home(shutil.copytree(planted_home.folder, tmp_path / "home"))

    def command(*words):
        return run(["--home", str(home.folder), *words])

    with closing(Journal(home.inbox)) as journal:
        journal.append([fact("events", {"user": "ann", "item": "x", "kind": "view"})], now=NOW)
        (waits,) = journal.facts_after(0)
        for sequence in (waits.sequence, waits.sequence + 100):
            put_aside(journal, waits._replace(sequence=sequence), "why", now=NOW)
    assert command("recommend", "--all", "--out", str(tmp_path / "lists.parquet"), "-n", "3") == 0
    assert command("inbox", "drop", str(waits.sequence + 100)) == 0
    assert command("inbox", "retry", str(waits.sequence)) == 0
    assert command("data", "ann") == 0
    done = {line["what"]: line for line in lines(home.audit)}
    assert done.keys() == {
        "lists of all users", "fact dropped", "fact retried", "data of a person",
    }  # fmt: skip
    assert done["lists of all users"]["lists"] > 100
    assert done["data of a person"]["person"]  # though nobody was ever erased
    assert "ann" not in (home.audit / "log.jsonl").read_text()


def test_the_setting_keeps_the_head_outside_of_the_home(tmp_path, monkeypatch, capsys):
    apart = tmp_path / "apart.json"
    monkeypatch.setenv("NICHEGRAPH_AUDIT_HEAD", str(apart))
    (tmp_path / "plays.csv").write_text("user,item\nann,x\n")
    home = Home(tmp_path / "home")

    def command(*words):
        return run(["--home", str(home.folder), *words])

    assert command("load", str(tmp_path / "plays.csv")) == 0
    assert command("keys", "create", "--scope", "track") == 0
    assert head_in(apart) == read_head(home.audit)
    assert command("audit", "verify") == 0
    shutil.rmtree(home.audit)
    assert command("audit", "verify") == 1
    assert "0 of 2" in capsys.readouterr().err
    apart.unlink()
    assert command("keys", "create", "--scope", "track") == 0
    apart.unlink()
    assert command("audit", "verify") == 1
    assert "apart.json is gone" in capsys.readouterr().err


def test_an_empty_head_is_that_of_an_empty_log(tmp_path):
    assert read_head(tmp_path) == Head()
