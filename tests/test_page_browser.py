"""The page in a real Chromium: every flow, an error of each kind, and nothing that axe finds."""

import pytest
from browser import chromium, missing, serious, serving

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser():
    reason = missing()
    if reason:
        pytest.skip(reason)
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def address(planted_home):
    with serving(planted_home.folder) as where:
        yield where


@pytest.fixture
def tab(browser):
    """A page that fails the test when a script fails or the policy is broken."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(15_000)
    opened = context.new_page()
    wrong = []
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


def test_a_user_is_searched_with_a_typing_error_and_gets_a_list_with_reasons(tab, address):
    tab.goto(address)
    tab.get_by_role("combobox", name="A user, or items").fill("raeder-1")
    tab.get_by_role("option", name="reader-1 user").first.click()
    settled(tab)
    assert len(titles(tab)) == 20
    assert "user=reader-1" in tab.url
    tab.locator(".why summary").first.click()
    tab.locator(".path .node").first.wait_for()
    tab.get_by_role("button", name="Show the Cypher").first.click()
    assert "MATCH" in tab.locator(".cypher pre").inner_text()


def test_filters_are_built_by_clicking_and_turned_around(tab, address):
    tab.goto(f"{address}#/recommend?user=reader-1")
    mark = tab.locator(".mark.domain").first
    domain = mark.inner_text()
    mark.click()
    settled(tab)
    shown = tab.locator(".item")
    with_domain = tab.locator(".item", has=tab.locator(".mark.domain", has_text=domain))
    assert shown.count() == with_domain.count() > 0
    tab.get_by_role("button", name=f"only {domain}: turn around").click()
    settled(tab)
    assert with_domain.count() == 0 and shown.count() > 0


def test_the_slider_changes_the_list_and_tells_what_it_costs(tab, address):
    tab.goto(f"{address}#/recommend?user=reader-1&profile=neutral&diversity=0")
    settled(tab)
    before = titles(tab)
    assert tab.locator(".cost b").inner_text() == "0.0 %"
    tab.get_by_label("Diversity", exact=True).fill("1")
    settled(tab)
    assert titles(tab) != before
    assert tab.locator(".cost b").inner_text() != "0.0 %"


def test_two_lists_side_by_side_tell_what_moved(tab, address):
    tab.goto(f"{address}#/recommend?user=reader-1")
    tab.get_by_role("button", name="Side by side").click()
    settled(tab)
    tab.get_by_label("Profile", exact=True).nth(1).select_option("default")
    settled(tab)
    first, second = titles(tab, 0), titles(tab, 1)
    fresh = tab.locator(".side").nth(1).locator(".moved.new").count()
    assert fresh == len(set(second) - set(first))


def test_a_session_is_collected_and_the_address_keeps_it(tab, address):
    tab.goto(address)
    tab.locator(".item").first.wait_for()
    tab.get_by_role("button", name="to the session").first.click()
    settled(tab)
    assert tab.locator(".chip.item").count() == 1
    assert "By session" in tab.locator(".by").inner_text()
    tab.reload()
    settled(tab)
    assert tab.locator(".chip.item").count() == 1


@pytest.mark.parametrize("view", ["recommend?user=reader-1&b=1"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(tab, address, view, scheme):
    tab.emulate_media(color_scheme=scheme)
    tab.goto(f"{address}#/{view}")
    settled(tab)
    tab.locator("h1").wait_for()
    assert serious(tab) == []


@pytest.mark.parametrize("width", [320, 390, 720, 1920])
@pytest.mark.parametrize("direction", ["ltr", "rtl"])
def test_no_view_is_wider_than_the_window(tab, address, width, direction):
    """720 pixels are also what 1440 are at 200 % zoom."""
    tab.set_viewport_size({"width": width, "height": 800})
    tab.goto(f"{address}#/recommend?user=reader-1&b=1")
    tab.evaluate(f"document.documentElement.dir = '{direction}'")
    settled(tab)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_without_a_release_the_page_says_what_to_do(tab, tmp_path):
    with serving(tmp_path) as where:
        tab.goto(where)
        tab.get_by_role("alert").wait_for()
        assert "nichegraph refresh" in tab.get_by_role("alert").inner_text()


def test_a_server_that_is_gone_is_a_sentence(tab, address):
    tab.goto(f"{address}#/recommend?user=reader-1")
    settled(tab)
    tab.context.set_offline(True)
    tab.get_by_role("button", name="to the session").first.click()
    tab.get_by_role("alert").wait_for()
    assert "does not answer" in tab.get_by_role("alert").inner_text()


def test_a_refused_request_is_told_as_the_server_words_it(tab, address):
    tab.goto(f"{address}#/recommend?user=reader-1&profile=nothing")
    tab.get_by_role("alert").wait_for()
    assert "profile 'nothing' is not one of" in tab.get_by_role("alert").inner_text()


def test_the_first_view_is_small(tab, address):
    sizes = []
    tab.on("response", lambda answer: sizes.append(int(answer.headers.get("content-length", 0))))
    tab.goto(address)
    settled(tab)
    assert 0 < sum(sizes) < 400_000
