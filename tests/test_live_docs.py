"""The examples of docs/live.md work as they stand: curl, Python, JavaScript.

Programs that are missing are told: `TESTS_REQUIRE_EXTRAS` makes that a failure.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from browser import chromium, missing, serving
from node import NODE
from test_api_worker import served

from loaders.synthetic import HEAD
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


def test_every_example_is_taken_and_counts_in_the_next_list(planted_home, planted, tmp_path):
    """The two pieces of music are two items of one planted niche here, and alice is new."""
    if shutil.which("curl") is None:
        (pytest.fail if os.environ.get("TESTS_REQUIRE_EXTRAS") else pytest.skip)("no curl here")
    home = Home(shutil.copytree(planted_home.folder, tmp_path / "home"))
    answers = planted.answers
    niches = dict(zip(answers.items, answers.item_niches.tolist(), strict=True))
    played = []
    with served(home.folder, "--workers", "1") as port:

        def answer_to(command):
            for name, item in zip(("goldberg", "partitas"), played, strict=False):
                command = command.replace(f'"{name}"', f'"{item}"')
            return json.loads(run("sh", "-c", command.replace(":8000", f":{port}"), port=port))

        commands = curls()
        assert len(commands) >= 7
        (for_a_list,) = [command for command in commands if "recommendations" in command]
        before = answer_to(for_a_list)
        assert before["served_by"] == "popular"
        niche = min(set(niches.values()) - {HEAD, *(niches[e["item"]] for e in before["items"])})
        played += [item for item in answers.items if niches[item] == niche][:2]
        for command in commands:
            answer = answer_to(command)
            if "results" in answer:
                assert {result["status"] for result in answer["results"]} == {"taken"}, command
            elif command == for_a_list:
                ends = time.monotonic() + 5
                while answer["served_by"] == "popular" or set(played) & {
                    entry["item"] for entry in answer["items"]
                }:  # a worker follows within a tenth of a second
                    assert time.monotonic() < ends
                    answer = answer_to(command)
                assert answer["served_by"] == "history"
                alike = [entry for entry in answer["items"] if niches[entry["item"]] == niche]
                assert alike  # beside items that everybody likes
                assert all("because you" in entry["reasons"][0]["text"] for entry in alike)
            else:
                assert answer["status"] == 404, command  # the item that was taken away just before
        (python,) = blocks("python run")
        (script,) = blocks("javascript run")
        programs = (
            run(sys.executable, "-c", python, port=port),
            run(NODE, "--input-type=module", text=script, port=port),
        )
        for printed in programs:
            number, items = printed.splitlines()
            assert int(number) > 0
            assert len(set(items.split()) - {*played, "goldberg", "partitas"}) == 3
    journal = Journal(home.inbox)
    kinds = [row.kind for row in journal.facts_after(0)]
    journal.close()
    written = ["events"] * 3 + ["item_put", "item_patch", "item_delete", "alias"]
    assert kinds[: len(written)] == written
    assert set(kinds[len(written) :]) == {"events"}


@pytest.mark.browser
def test_the_example_in_javascript_runs_in_a_page(planted_home, tmp_path):
    reason = missing()
    if reason:
        pytest.skip(reason)
    home, lines = Home(shutil.copytree(planted_home.folder, tmp_path / "home")), []
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
    number, items = lines[-2:]  # the browser has remarks of its own
    assert number == str(row.sequence)
    assert len(items.split()) == 3
