"""What a refresh tells: its report, the comparison of two releases, how it ended."""

import errno
import json
import re
import shutil
import time
from contextlib import closing
from itertools import pairwise

import pyarrow as pa
import pytest

from api.cli import refresh as command
from api.cli import schedule
from api.cli import status as status_command
from api.cli.main import run
from api.report_page import SCORERS, comparison_page, page
from api.reporting import last_refresh
from graph.model import SCHEMAS
from graph.stores.embedded_store import EmbeddedStore
from loaders.synthetic import generate
from recommender.learning.comparison import compare
from recommender.learning.report import Step, report
from recommender.releases.home import Home
from recommender.releases.publishing import current, list_releases, open_release
from tests.page_tab import browser  # noqa: F401
from tests.planted import without_a_tenth

LOAD = {
    "load": 12, "at": 1_760_000_000, "files": ["listening-history-of-october.csv"],
    "rows": 1_234_567, "rejected": 2_345, "remarks": ["2,345 times that are no times"],
}  # fmt: skip
RETAINED = {"kind": "listening", "days": 365, "then": "count", "store": 234_567, "inbox": 1_234,
            "shown": 12_345}  # fmt: skip
STEPS = [Step("weighing 1,234,567 events", 12.5, 20.1, 1_234_567_890)]
BROKEN_WORDS = r"""() => {
  const broken = [];
  for (const cell of document.querySelectorAll("th"))
    for (const node of cell.childNodes)
      for (const word of (node.data || "").matchAll(/\S+/g)) {
        const range = document.createRange();
        range.setStart(node, word.index);
        range.setEnd(node, word.index + word[0].length);
        if (range.getClientRects().length > 1) broken.push(word[0]);
      }
  return broken;
}"""
OUT_OF_SIGHT = """() => [...document.querySelectorAll("th, td, .row")]
  .filter((cell) => cell.getBoundingClientRect().right > innerWidth)
  .map((cell) => cell.innerText)"""
HOSTILE = '<script>alert(1)</script> & "quotes" {{ 7 * 7 }}'


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home with two releases of a planted catalogue, the second from a tenth more events."""
    home = Home(tmp_path_factory.mktemp("reports") / "home").create()
    home.segments.write_text("[learned]\nmost = 3\n")
    batches, rest, _ = without_a_tenth(*generate(5000, seed=1).batches())
    items = sorted(set(batches[-1]["events"]["item"].to_pylist()))[:1]
    titled = pa.Table.from_pylist([{"id": items[0], "title": HOSTILE}], schema=SCHEMAS["items"])
    with closing(EmbeddedStore(home.store)) as store:
        for batch in [*batches, {"items": titled}]:
            store.apply(batch)
    assert refreshed(home) == 0
    with closing(EmbeddedStore(home.store)) as store:
        store.apply({"events": rest})
        assert refreshed(home) == 0
    return home


def refreshed(home, *words):
    return run(["--home", str(home.folder), "refresh", "--preset", "fast", *words])


def status(home, capfd):
    capfd.readouterr()
    run(["--home", str(home.folder), "status", "--json"])
    return json.loads(capfd.readouterr().out)


def test_the_page_needs_nothing_and_names_nobody(home):
    name = current(home)
    page = (home.reports / f"{name}.html").read_text()
    report = json.loads((home.reports / f"{name}.json").read_text())
    assert report["release"] == name
    assert "<script" not in page
    assert not re.search(r"(src|href)=", page)
    with closing(EmbeddedStore(home.store)) as store:
        users = store.read("users")["id"].to_pylist()
    words = set(re.findall(r"[\w-]+", page + json.dumps(report)))
    assert not words & set(users)


def test_it_says_what_was_measured_and_what_changed(home):
    before, after = sorted(home.reports.glob("0*.json"))
    report = json.loads(after.read_text())
    page = after.with_suffix(".html").read_text()
    assert json.loads(before.read_text())["compared"] is None
    compared = report["compared"]
    assert compared["counts"]["events"] == [4500, 5000]
    assert f"{report['figures'][0]['candidate']:.4f}" in page
    assert "the served release" in page
    assert [step["name"] for step in report["steps"]][:2] == ["taking a snapshot", "weighing"]
    assert all(step["peak_bytes"] > 1e6 and step["seconds"] >= 0 for step in report["steps"])
    lists = compared["lists"]
    assert len(lists) == 3
    for shown in lists:
        assert shown["stayed"] + len(shown["moved"]) + len(shown["came"]) == 10
        assert len(shown["came"]) == len(shown["went"])
    # Every item is chosen, so the last point is all of them; the curve only rises.
    curve = [point["choices"] for point in report["long_tail"]]
    assert curve == sorted(curve)
    assert curve[-1] == 1.0
    # Each user and item stands in one bar; the words of scorers are in the page.
    for noun in ("users", "items"):
        bars = report["degrees"][f"{noun}_by_choices"]
        assert sum(bar["count"] for bar in bars) == report["counts"][noun]
        assert [bar["least"] for bar in bars[:4]] == [0, 1, 2, 4]
        assert all(bar["most"] + 1 == after["least"] for bar, after in pairwise(bars))
    kinds = {scorer["kind"] for scorer in report["recipe"]["scorers"]}
    assert kinds
    for kind in kinds:
        assert SCORERS[kind].split("{")[0] in page
    assert page.count('class="interval"') == sum(1 + len(f["rivals"]) for f in report["figures"])
    assert "A segment counts here" in page


def test_loads_since_stand_in_it_with_what_they_rejected(home, tmp_path):
    other = Home(shutil.copytree(home.folder, tmp_path / "home"))
    plays = tmp_path / "plays.csv"
    plays.write_text("user,item,at\n" + "ann,b,2026-01-02\n" * 40 + "ann,b,some day\n")
    assert run(["--home", str(other.folder), "load", str(plays)]) == 0
    assert refreshed(other, "--force") == 0
    report = json.loads((other.reports / f"{current(other)}.json").read_text())
    assert [(load["files"], load["rows"], load["rejected"]) for load in report["loads"]] == [
        (["plays.csv"], 41, 1)
    ]
    assert len(report["loads"][0]["remarks"]) == 1
    page = (other.reports / f"{current(other)}.html").read_text()
    assert report["loads"][0]["remarks"][0] in page


def test_a_hostile_title_is_text(home):
    report = json.loads((home.reports / f"{current(home)}.json").read_text())
    report["compared"]["moved"] = [{"title": HOSTILE, "kept": 3}]
    text = page(report)
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "{{ 7 * 7 }}" in text


def test_compare_says_all_that_in_words(home, capfd):
    capfd.readouterr()
    assert run(["--home", str(home.folder), "releases", "compare"]) == 0
    text = capfd.readouterr().out
    for part in ("NDCG@20 at the gate", "everybody", "neighbours changed: ", "list of a user with"):
        assert part in text
    assert run(["--home", str(home.folder), "releases", "compare", "2", "1", "--json"]) == 0
    compared = json.loads(capfd.readouterr().out)
    assert compared["configuration"] == {}
    assert compared["gates"][0]["old"] != compared["gates"][0]["new"]


def test_compare_is_a_page_too_that_needs_nothing(home, capfd):
    capfd.readouterr()
    assert run(["--home", str(home.folder), "releases", "compare", "--json"]) == 0
    compared = json.loads(capfd.readouterr().out)
    assert run(["--home", str(home.folder), "releases", "compare", "--html"]) == 0
    page = capfd.readouterr().out
    assert page.startswith("<!doctype html>")
    assert not re.search(r"<script|(src|href)=", page)
    for part in compared["gates"]:
        assert f"{part['new']:.4f}" in page
        assert f"{part['old']:.4f}" in page
    assert page.count("<h3>The list of a user with") == len(compared["lists"]) == 3
    assert "+500" in page  # events
    assert run(["--home", str(home.folder), "releases", "compare", "--html", "--json"]) == 1
    compared["moved"] = [{"title": HOSTILE, "kept": 3}]
    assert "&lt;script&gt;" in comparison_page(compared)


def test_status_says_how_the_last_refresh_ended_and_what_mends_it(home, tmp_path, capfd):
    facts = status(home, capfd)
    assert facts["last_refresh"]["outcome"] == "published"
    assert facts["last_refresh"]["release"] == current(home)
    assert facts["problems"] == []
    assert facts["disk"]["home"] > facts["disk"]["releases"] > 0
    assert facts["memory"]["total"] > facts["memory"]["available"] > 0

    other = Home(shutil.copytree(home.folder, tmp_path / "home"))
    other.weighting.write_text("this is not TOML\n")
    assert refreshed(other) == 1
    facts = status(other, capfd)
    assert facts["last_refresh"]["outcome"] == "failed"
    assert "weighting.toml" in facts["problems"][0]["what"]
    assert facts["problems"][0]["mend"] == "nichegraph refresh"


def test_a_refused_candidate_has_a_report_that_says_why(home, tmp_path, capfd):
    other = Home(shutil.copytree(home.folder, tmp_path / "home"))
    with closing(EmbeddedStore(other.store)) as store:
        users = store.read("users")["id"].to_pylist()
        for user in users[: 2 * len(users) // 3]:
            store.erase_user(user)
    before = current(other)
    assert refreshed(other) == 3
    assert current(other) == before
    facts = status(other, capfd)
    assert facts["last_refresh"]["outcome"] == "refused"
    name = next((other.releases / "refused").iterdir()).name
    (problem,) = facts["problems"]
    first, last = f"read {other.reports / name}.html", "nichegraph refresh --force"
    look, load, undo, force = map(problem["mend"].index, (first, "loads list", "loads undo", last))
    assert look == 0 < load < undo < force == len(problem["mend"]) - len(last)
    for called in (name, "3"):  # as `releases list` shows it, or by its number
        capfd.readouterr()
        assert run(["--home", str(other.folder), "releases", "show", called]) == 0
        assert json.loads(capfd.readouterr().out)["name"] == name
        compare = ["--home", str(other.folder), "releases", "compare", called, "2", "--json"]
        assert run(compare) == 0
        compared = json.loads(capfd.readouterr().out)
        assert (compared["new"], compared["old"]) == (name, before)
        assert compared["counts"]["users"][0] > 2 * compared["counts"]["users"][1]
    report = json.loads((other.reports / f"{name}.json").read_text())
    assert report["refused"]
    page = (other.reports / f"{name}.html").read_text()
    assert "This candidate was refused" in page
    assert refreshed(other, "--force") == 0
    report = json.loads((other.reports / f"{current(other)}.json").read_text())
    assert (report["refused"], bool(report["forced"])) == ([], True)


def test_a_stopped_refresh_is_a_problem_that_is_told(home, tmp_path, monkeypatch, capfd):
    other = Home(shutil.copytree(home.folder, tmp_path / "home"))

    def stopped(text):
        if text.startswith("fitting"):
            raise KeyboardInterrupt

    monkeypatch.setattr(command, "step", stopped)
    assert refreshed(other, "--full") == 130
    facts = status(other, capfd)
    assert facts["last_refresh"]["outcome"] == "was stopped"
    assert "continues where it stopped" in facts["problems"][0]["mend"]


def test_it_refreshes_only_where_enough_changed(home, tmp_path, capfd):
    other = Home(shutil.copytree(home.folder, tmp_path / "home"))
    name = current(other)
    assert refreshed(other, "--if-changed", "5%") == 0
    assert (
        f"nothing to do: 0.0% of the events are new or gone since {name}" in capfd.readouterr().out
    )
    assert current(other) == name
    assert refreshed(other, "--if-changed", "5%", "--seed", "3") == 0
    assert "refreshing: seed changed" in capfd.readouterr().err
    assert current(other) != name
    compare = ["--home", str(other.folder), "releases", "compare"]
    assert run([*compare, "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["configuration"] == {"seed": [0, 3]}
    assert run(compare) == 0
    assert "setting seed: 0 before, 3 now" in capfd.readouterr().out
    for wrong in ("5 per cent", "0", "101%"):
        assert refreshed(other, "--if-changed", wrong) == 1
        assert "is not a share such as 5%" in capfd.readouterr().err
    for wrong in ("daily", "5", "10s", "nanh"):
        assert refreshed(other, "--every", wrong) == 1
        assert "is not a time such as 90m" in capfd.readouterr().err


@pytest.mark.parametrize("setting", [None, 2])
def test_a_refresh_prunes_to_a_setting(home, tmp_path, monkeypatch, setting):
    """The newest (five as it comes), whatever is pinned, and what is served; the others go."""
    other = Home(shutil.copytree(home.folder, tmp_path / "home"))
    served = current(other)
    for number in range(3, 9):
        shutil.copytree(other.releases / served, other.releases / f"{number:06d}-abcdefabcdef")
    for words in (["pin", "1"], ["pin", "3"], ["pin", "3", "--off"], ["rollback", "2"]):
        assert run(["--home", str(other.folder), "releases", *words]) == 0
    if setting:
        monkeypatch.setenv("NICHEGRAPH_KEEP_RELEASES", str(setting))
    assert refreshed(other) == 0
    there = [int(release["name"][:6]) for release in list_releases(other)]
    assert there == ([1, 8, 9] if setting else [1, 5, 6, 7, 8, 9])
    assert current(other)[:6] == "000009"
    for words in (["rollback", "8" if setting else "5"], ["prune", "--keep", "1"]):
        assert run(["--home", str(other.folder), "releases", *words]) == 0
    there = [int(release["name"][:6]) for release in list_releases(other)]
    assert there == ([1, 8, 9] if setting else [1, 5, 9])


@pytest.mark.parametrize(
    "error",
    [None, OSError(errno.ENOSPC, "No space left on device"), MemoryError("12 GB"), KeyError("x")],
    ids=["a mistake in a file", "full", "memory", "a mistake in the code"],
)
def test_every_goes_on_after_a_failure(home, tmp_path, monkeypatch, capfd, error):
    other = Home(shutil.copytree(home.folder, tmp_path / "home"))
    naps = []

    def sleep(seconds):
        naps.append(seconds)
        if len(naps) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(schedule.time, "sleep", sleep)
    (other.reports / "last-refresh.json").unlink()
    if error is None:
        other.weighting.write_text("this is not TOML\n")
    else:

        def fail(*_):
            raise error

        monkeypatch.setattr(command, "with_settings", fail)
    assert refreshed(other, "--every", "24h") == 130
    errors = capfd.readouterr().err
    assert ("failed: " if error is None else f"failed: {type(error).__name__}: {error}") in errors
    assert last_refresh(other)["outcome"] == "failed"
    assert "the next refresh is due" in errors
    assert naps == [30.0, 30.0]


def test_sizes_and_times_are_told_as_people_read_them():
    words = [status_command.in_words(n) for n in (5, 65, 7300, 86_400, 3 * 86_400)]
    assert words == ["5 seconds", "1 minute", "2 hours", "1 day", "3 days"]


def test_a_refresh_drops_what_was_kept_long_enough_tells_it_and_is_not_refused(home, tmp_path):
    other = Home(shutil.copytree(home.folder, tmp_path / "home"))
    with closing(EmbeddedStore(other.store)) as store:
        events = store.read("events").to_pandas()
    kind = events["kind"].value_counts().index[0]
    days = int((time.time() - events["at"].quantile(0.6)) // 86_400)
    other.retention.write_text(f"[days]\n{kind} = {days}\n")
    assert refreshed(other) == 0
    name = current(other)
    assert name != current(home)
    report = json.loads((other.reports / f"{name}.json").read_text())
    (gone,) = report["retained"]
    assert gone["kind"] == kind
    assert gone["store"] > len(events) / 3
    assert f"{gone['store']:,}" in (other.reports / f"{name}.html").read_text()


@pytest.fixture(scope="module")
def pages(home):
    older, newer = (open_release(home.releases / row["name"]) for row in list_releases(home))
    made = report(newer, older, steps=STEPS, loads=[LOAD], retained=[RETAINED])
    return {"report": page(made), "comparison": comparison_page(compare(newer, older))}


@pytest.mark.browser
@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("which", ["report", "comparison"])
def test_no_heading_is_broken_and_nothing_is_out_of_sight(browser, pages, which, width):
    tab = browser.new_page(viewport={"width": width, "height": 900})
    tab.set_content(pages[which])
    assert tab.evaluate(BROKEN_WORDS) == []
    assert tab.evaluate(OUT_OF_SIGHT) == []
    tab.close()
