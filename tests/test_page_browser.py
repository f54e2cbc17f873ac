"""The page in a real Chromium: every flow, and nothing that axe finds."""

import pytest
from browser import serious, serving

from tests.page_tab import VIEWS, address, browser, settled, tab, titles, wrong  # noqa: F401

pytestmark = pytest.mark.browser


def typed(tab, query):
    """Typed over what stands in the editor, as people do."""
    tab.locator(".cm-content").press("Control+a")
    tab.keyboard.type(query)


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
    tab.get_by_role("button", name=f"only {domain}: switch").click()
    settled(tab)
    assert with_domain.count() == 0 and shown.count() > 0


def test_the_slider_changes_the_list_and_tells_what_it_costs(tab, address):
    tab.goto(f"{address}#/recommend?user=reader-1&profile=neutral&diversity=0")
    settled(tab)
    before = titles(tab)
    assert tab.locator(".cost b").inner_text() == "0.0%"
    tab.get_by_label("Diversity", exact=True).fill("1")
    settled(tab)
    assert titles(tab) != before
    assert tab.locator(".cost b").inner_text() != "0.0%"


def test_two_lists_side_by_side_tell_what_moved(tab, address):
    tab.goto(f"{address}#/recommend?user=reader-1")
    tab.get_by_role("button", name="Side by side").click()
    settled(tab)
    tab.get_by_label("Profile", exact=True).nth(1).select_option("default")
    settled(tab)
    first, second = titles(tab, 0), titles(tab, 1)
    fresh = tab.locator(".side").nth(1).locator(".moved.new").count()
    assert fresh == len(set(second) - set(first))


def test_two_moments_side_by_side_are_two_contexts(tab, address):
    tab.goto(f"{address}#/recommend?user=reader-1&b=1&b-user=reader-1&b-device=phone")
    settled(tab)
    with tab.expect_request(lambda request: "night" in (request.post_data or "")) as heard:
        tab.get_by_label("Time of day", exact=True).nth(1).select_option("night")
    settled(tab)
    assert '"context":{"device":"phone","time":"night"}' in heard.value.post_data
    assert "b-time=night" in tab.url
    assert titles(tab, 1)


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


def test_an_item_is_explored_node_by_node(tab, address, planted):
    tab.goto(f"{address}#/explore")
    tab.get_by_role("combobox", name="An item, a tag or a user", exact=True).fill(
        planted.answers.niches[0][:6]
    )
    tab.get_by_role("option").first.click()
    settled(tab)
    before = tab.locator(".picture [role=status]").inner_text()
    tab.get_by_text("Nodes as a list").click()
    tab.locator(".nodes button").last.click()
    tab.locator(".nodes li", has_text="opened").nth(1).wait_for()
    assert tab.locator(".picture [role=status]").inner_text() != before
    assert tab.locator(".canvas canvas").count() > 0


def test_the_map_lights_up_what_is_searched_and_moves_by_keys(tab, address):
    tab.goto(f"{address}#/explore")
    settled(tab)
    tab.locator(".regions bdi").first.wait_for()
    names = tab.locator(".regions bdi").first
    where = names.bounding_box()["x"]
    tab.locator(".map canvas").press("ArrowLeft")
    tab.wait_for_timeout(100)  # a frame is drawn
    assert tab.locator(".regions bdi").first.bounding_box()["x"] > where
    tab.get_by_role("combobox", name="Highlight").fill("reader-1")
    tab.get_by_role("option", name="reader-1 user").first.click()
    tab.locator(".lit-state").get_by_text("items of").wait_for()


def test_segments_show_who_they_are_and_lead_to_a_users_list(tab, address):
    tab.goto(f"{address}#/segments")
    settled(tab)
    assert tab.locator(".cards .card").count() >= 1
    tab.locator(".samples a").first.click()
    settled(tab)
    assert "user=" in tab.url
    tab.locator(".title").first.wait_for()


def test_the_console_is_not_shown_where_it_is_off(tab, address):
    tab.goto(address)
    settled(tab)
    assert tab.get_by_role("link", name="Console").count() == 0
    tab.goto(f"{address}#/console")
    tab.get_by_role("alert").wait_for()
    assert "console_enabled" in tab.get_by_role("alert").inner_text()


def test_the_console_answers_draws_completes_and_refuses(tab, used_home, wrong):
    with serving(used_home.folder, console_enabled=True) as where:
        tab.goto(where)
        tab.get_by_role("link", name="Console").click()
        tab.get_by_label("Question").select_option("domains")
        tab.get_by_role("columnheader", name="domain").wait_for(timeout=60_000)
        with tab.expect_download() as download:
            tab.get_by_role("button", name="CSV").click()
        first = download.value.path().read_text(encoding="utf-8").splitlines()[0]
        assert first == '"domain","items","users"'
        typed(tab, "MATCH p = (i:Item)-[:HAS_TAG]->(t:Tag) RETURN p LIMIT 3")
        tab.get_by_role("button", name="Run").click()
        tab.locator(".canvas canvas").first.wait_for()
        assert serious(tab) == []
        typed(tab, "MATCH (i:Ite")
        tab.locator(".cm-tooltip-autocomplete").get_by_text("Item").wait_for()
        tab.keyboard.press("Escape")
        typed(tab, "MATCH (i:Item) DELETE i")
        tab.get_by_role("button", name="Run").click()
        tab.get_by_role("alert").wait_for()
    # Chromium joins lines of what is edited by styles of its own, which the policy keeps away.
    wrong[:] = [note for note in wrong if not note.startswith("Applying inline style")]


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(tab, address, view, scheme):
    tab.emulate_media(color_scheme=scheme)
    tab.goto(f"{address}#/{view}")
    settled(tab)
    assert serious(tab) == []


@pytest.mark.parametrize("view", VIEWS)
def test_no_view_is_wider_than_the_window(tab, address, view):
    """In both directions; 720 pixels are also what 1440 are at 200 % zoom."""
    tab.goto(f"{address}#/{view}")
    settled(tab)
    for direction in ("ltr", "rtl"):
        tab.evaluate(f"document.documentElement.dir = '{direction}'")
        for width in (320, 390, 720, 1920):
            tab.set_viewport_size({"width": width, "height": 800})
            tab.wait_for_function(f"document.documentElement.scrollWidth <= {width}")


def test_the_first_view_is_small(tab, address):
    sizes = []
    tab.on("response", lambda answer: sizes.append(int(answer.headers.get("content-length", 0))))
    tab.goto(address)
    settled(tab)
    assert 0 < sum(sizes) < 400_000
