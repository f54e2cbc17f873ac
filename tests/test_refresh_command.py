"""What the command `refresh` prints: for cron, for scripts, and to a second one beside it."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack, closing, nullcontext
from pathlib import Path

import pytest

from api.cli import refresh as command
from api.cli.main import run
from graph.stores.embedded_store import EmbeddedStore
from loaders.synthetic import generate
from recommender.learning import candidate
from recommender.learning.gates import Reason, Verdict
from recommender.releases import lease
from recommender.releases.home import Home
from recommender.releases.lease import leased
from tests.test_every import ROOT, cron_command


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home with a release of a small planted catalogue."""
    home = Home(tmp_path_factory.mktemp("command") / "home").create()
    home.segments.write_text("[learned]\nmost = 2\n")
    with closing(EmbeddedStore(home.store)) as store:
        for batch in generate(1500, seed=1).batches():
            store.apply(batch)
    assert refreshed(home) == 0
    return home


def refreshed(home, *words):
    return run(["--home", str(home.folder), "refresh", "--preset", "fast", *words])


def test_json_ends_with_an_object_however_it_ends(home, tmp_path, monkeypatch, capfd):
    """The verdict is given, so that nothing is learned for it."""
    other = Home(shutil.copytree(home.folder, tmp_path / "home"))
    verdict = Verdict(reasons=[Reason("twins", "a third of the items are the same")])
    monkeypatch.setattr(candidate, "judge", lambda *_, **__: verdict)
    capfd.readouterr()
    assert refreshed(other, "--json") == 3
    ended = json.loads(capfd.readouterr().out)
    assert ended["outcome"] == "refused"
    assert [reason["gate"] for reason in ended["gates"]["reasons"]] == ["twins"]
    assert (other.releases / "refused" / ended["name"]).is_dir()
    assert "This candidate was refused" in Path(ended["report"]).read_text()
    other.weighting.write_text("this is not TOML\n")
    assert refreshed(other, "--json") == 1
    ended = json.loads(capfd.readouterr().out)
    assert ended["outcome"] == "failed"
    assert "weighting.toml" in ended["why"]


def test_the_line_for_cron_prints_what_somebody_should_read_and_else_nothing(home, tmp_path):
    """Run as cron runs it; in place of the refresh that goes well a command that is faster."""
    log = tmp_path / "refresh.log"
    line = (
        cron_command()
        .replace("/opt/nichegraph/bin/nichegraph", f"{sys.executable} -m api.cli.main")
        .replace("/var/log/nichegraph/refresh.log", str(log))
    )
    assert line.count(str(log)) == 2

    def mailed(line, folder):
        cache = os.environ.get("NUMBA_CACHE_DIR")
        done = subprocess.run(
            ["sh", "-c", line.replace("/srv/catalogue", str(folder))],
            env={"PATH": "/usr/bin:/bin"} | ({"NUMBA_CACHE_DIR": cache} if cache else {}),
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.stdout + done.stderr

    spoiled = Home(shutil.copytree(home.folder, tmp_path / "home"))
    with closing(EmbeddedStore(spoiled.store)) as store:
        users = store.read("users")["id"].to_pylist()
        for user in users[: 2 * len(users) // 3]:
            store.erase_user(user)
    assert mailed(line.replace("refresh --wait", "releases list"), home.folder) == ""
    mail = mailed(line.replace("--wait", "--wait --preset fast"), spoiled.folder)
    assert "the new release is not published" in mail
    name = next((spoiled.releases / "refused").iterdir()).name
    assert f"{name}.html" in mail
    assert "weighing" in log.read_text()
    assert len(mail.splitlines()) == 2


def test_a_second_refresh_says_who_holds_the_lease_or_waits(home, tmp_path, monkeypatch, capfd):
    other = Home(shutil.copytree(home.folder, tmp_path / "home"))
    other.weighting.write_text("this is not TOML\n")  # what the second meets when it has the lease
    with ExitStack() as stack:
        stack.enter_context(leased(other, clock=time.time))
        capfd.readouterr()
        assert refreshed(other) == 1
        error = capfd.readouterr().err
        assert f"a refresh is under way: process {os.getpid()} on" in error
        assert re.search(r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", error)
        waits = []

        def first_ends(seconds):
            waits.append(seconds)
            stack.close()

        monkeypatch.setattr(lease.time, "sleep", first_ends)
        assert refreshed(other, "--wait") == 1
    error = capfd.readouterr().err
    assert "under way" not in error
    assert "weighting.toml" in error
    assert len(waits) == 1


def test_without_its_name_a_full_disk_would_be_any_disk(home, monkeypatch, capfd):
    """`fsync` does not say which file failed; the command adds the folder of the home."""

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(command, "with_settings", full)
    capfd.readouterr()
    assert refreshed(home) == 1
    named = capfd.readouterr().err
    monkeypatch.setattr(command, "on_disk_of", nullcontext)
    assert refreshed(home) == 1
    nameless = capfd.readouterr().err
    assert "No space left on device" in named
    assert "No space left on device" in nameless
    assert (str(home.folder) in named, str(home.folder) in nameless) == (True, False)
