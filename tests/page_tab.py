"""A page in a real Chromium, which fails its test when a script fails or the policy is broken."""

import pytest
from browser import chromium, missing, serving


@pytest.fixture(scope="module")
def browser():
    reason = missing()
    if reason:
        pytest.skip(reason)
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def address(used_home):
    with serving(used_home.folder) as where:
        yield where


@pytest.fixture
def wrong():
    """What a script threw, and what the policy kept from happening."""
    return []


@pytest.fixture
def tab(browser, wrong):
    """A page that fails the test when a script fails or the policy is broken."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(15_000)
    opened = context.new_page()
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on(
        "console", lambda note: wrong.append(note.text) if "Security Policy" in note.text else None
    )
    yield opened
    context.close()
    assert not wrong


def titles(tab, side=0):
    return tab.locator(".side").nth(side).locator(".item .title").all_inner_texts()


def settled(tab):
    """The view is drawn and waits for no answer."""
    tab.locator("main:has(h1):not(:has([aria-busy=true]))").wait_for()


VIEWS = [
    "recommend?user=reader-1&b=1",
    "explore",
    "explore?user=reader-1",
    "segments",
    "operate",
]
