"""The documentation as a site: every page, no dead link, a search, nothing from elsewhere."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from browser import chromium, missing, serving

from api.app import create_app
from api.routes import docs
from api.settings import load_settings

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built as `./run docs` does."""
    folder = tmp_path_factory.mktemp("site")
    mkdocs = Path(sys.executable).with_name("mkdocs")
    done = subprocess.run(
        [mkdocs, "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def client(site, tmp_path, monkeypatch):
    monkeypatch.setattr(docs, "SITE", site)
    return create_app(load_settings(tmp_path)).test_client()


def test_every_page_is_there_and_no_fence_shows_what_tests_read(site, client):
    for page in ROOT.glob("docs/*.md"):
        name = "" if page.stem == "index" else f"{page.stem}/"
        answer = client.get(f"/docs/{name}")
        assert answer.status_code == 200, page
        assert "```" not in answer.text, page
    assert client.get("/docs").headers["Location"].endswith("/docs/")


def test_the_search_knows_every_page(site):
    entries = json.loads((site / "search" / "search_index.json").read_text())["docs"]
    pages = {entry["location"].split("#")[0] for entry in entries}
    assert {"loading/", "live/", "decisions/", "routes/"} <= pages


def test_nothing_is_fetched_from_elsewhere(site):
    for page in site.rglob("*.html"):
        fetched = re.findall(r'(?:src|<link[^>]+href)="?(https?:[^" >]+)', page.read_text())
        assert not fetched, page


@pytest.mark.parametrize("name", ["nothing/", "../../settings.py", "..%2F..%2Fsettings.py"])
def test_nothing_but_the_site_is_served(client, name):
    assert client.get(f"/docs/{name}").status_code == 404


def test_without_the_site_the_answer_says_how_to_build_it(client, monkeypatch, tmp_path):
    monkeypatch.setattr(docs, "SITE", tmp_path / "nothing")
    assert "./run docs" in client.get("/docs/").json["detail"]


@pytest.fixture(scope="module")
def browser():
    if reason := missing():
        pytest.skip(reason)
    with chromium() as opened:
        yield opened


@pytest.fixture
def tab(browser, site, tmp_path, monkeypatch):
    """A page of the site; the test fails if a script does, or the policy keeps something away."""
    monkeypatch.setattr(docs, "SITE", site)
    wrong = []
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    opened = context.new_page()
    opened.set_default_timeout(15_000)
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on(
        "console", lambda note: wrong.append(note.text) if "Security Policy" in note.text else None
    )
    with serving(tmp_path) as where:
        own = (where, "data:", "blob:")
        opened.on(
            "request",
            lambda request: None if request.url.startswith(own) else wrong.append(request.url),
        )
        opened.goto(f"{where}docs/")
        yield opened
        context.close()
    assert not wrong


@pytest.mark.browser
def test_a_reader_searches_and_opens_what_was_looked_for(tab):
    tab.get_by_role("textbox", name="Search").fill("half_life_days")
    tab.locator(".md-search-result__item a").first.click()
    tab.get_by_role("heading", name="Weighting").first.wait_for()


@pytest.mark.browser
def test_pictures_that_are_written_as_text_are_drawn(tab):
    tab.goto(f"{tab.url}architecture/")
    drawn = tab.locator("div.mermaid")
    drawn.nth(1).wait_for()
    assert drawn.count() == (ROOT / "docs" / "architecture.md").read_text().count("```mermaid")
    assert all(drawn.nth(at).bounding_box()["height"] > 200 for at in range(drawn.count()))
    assert tab.locator("pre.mermaid").count() == 0
