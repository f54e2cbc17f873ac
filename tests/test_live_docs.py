"""The examples of docs/live.md work as they stand: curl, Python, JavaScript."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from browser import chromium, missing, serving
from test_api_worker import served

from recommender.inbox.journal import Journal
from recommender.releases.home import Home

TEXT = (Path(__file__).resolve().parents[1] / "docs" / "live.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def curls():
    text = "\n".join(blocks("console shown")).replace("\\\n", " ")
    return [line[2:] for line in text.splitlines() if line.startswith("$ curl ")]


def run(*words, text=None, port=0):
    done = subprocess.run(
        words,
        input=text,
        env={**os.environ, "SERVICE": f"http://127.0.0.1:{port}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_taken(tmp_path):
    if shutil.which("curl") is None:
        pytest.skip("no curl here")
    home = Home(tmp_path / "home").create()
    with served(home.folder, "--workers", "1") as port:
        commands = curls()
        assert len(commands) >= 6
        for command in commands:
            answer = json.loads(run("sh", "-c", command.replace(":8000", f":{port}"), port=port))
            if "results" in answer:
                assert {result["status"] for result in answer["results"]} == {"taken"}, command
            else:
                assert answer["status"] == 404, command  # the item that was taken away just before
        (python,) = blocks("python run")
        assert int(run(sys.executable, "-c", python, port=port)) > 0
        if shutil.which("node") is not None:
            (script,) = blocks("javascript run")
            assert int(run("node", "--input-type=module", text=script, port=port)) > 0
    journal = Journal(home.inbox)
    kinds = [row.kind for row in journal.facts_after(0)]
    journal.close()
    written = ["events"] * 3 + ["item_put", "item_patch", "item_delete", "alias"]
    assert kinds[: len(written)] == written
    assert set(kinds[len(written) :]) == {"events"}


@pytest.mark.browser
def test_the_example_in_javascript_runs_in_a_page(tmp_path):
    reason = missing()
    if reason:
        pytest.skip(reason)
    home, lines = Home(tmp_path / "home").create(), []
    (script,) = blocks("javascript run")
    with serving(home.folder) as address, chromium() as browser:
        tab = browser.new_page()
        tab.on("console", lambda message: lines.append(message.text))
        tab.goto(address)
        tab.evaluate(f"async () => {{ {script} }}")
    journal = Journal(home.inbox)
    (row,) = journal.facts_after(0)
    journal.close()
    assert (row.payload["user"], row.payload["item"], row.payload["kind"]) == (
        "alice", "partitas", "play"
    )  # fmt: skip
    assert str(row.sequence) in lines
