"""The view Operate, two releases side by side, and what a key may do, in a real Chromium."""

import json
import shutil
import time
from collections import Counter
from contextlib import closing

import pytest
from browser import serving
from prometheus_client.parser import text_string_to_metric_families

from api.keys import KeyFile
from graph.stores.embedded_store import EmbeddedStore
from recommender.inbox.click_rates import wilson
from recommender.inbox.drain import drain
from recommender.inbox.journal import Journal
from recommender.releases.home import Home
from recommender.releases.publishing import current, names, note
from tests.page_tab import browser, settled, tab, titles, wrong  # noqa: F401

pytestmark = pytest.mark.browser


@pytest.fixture
def operated(planted_home, tmp_path):
    """A home with two releases, the second served, and one that was refused."""
    home = Home(shutil.copytree(planted_home.folder, tmp_path / "home"))
    (first,) = names(home)
    second = f"000002-{first.split('-')[1]}"
    shutil.copytree(home.releases / first, home.releases / second)
    (home.releases / "CURRENT").write_text(second)
    aside = home.releases / "refused" / "000003-abcdefabcdef"
    shutil.copytree(home.releases / first, aside)
    gates = json.loads((aside / "manifest.json").read_text())["gates"]
    gates["reasons"] = [{"gate": "events gone", "text": "half of the events are gone"}]
    note(aside, {"gates": gates})
    (home.reports / f"{second}.html").write_text("<h1>Report of the second</h1>")
    return home


def test_releases_are_served_pinned_and_read_about(tab, operated):
    first, second = names(operated)
    with serving(operated.folder) as where:
        tab.goto(f"{where}#/operate")
        settled(tab)
        assert "half of the events are gone" in tab.locator(".refused").inner_text()
        with tab.expect_popup() as report:
            tab.get_by_role("link", name=f"Report of release {second}").click()
        assert report.value.get_by_role("heading").inner_text() == "Report of the second"
        tab.get_by_role("button", name=f"Pin release {first}").click()
        tab.get_by_role("button", name=f"Unpin release {first}").wait_for()
        tab.get_by_role("button", name=f"Serve release {first}").click()
        tab.get_by_role("button", name=f"Serve release {second}").wait_for()
        assert current(operated) == first
        (operated.releases / second / "manifest.json").unlink()
        tab.get_by_role("button", name=f"Serve release {second}").click()
        tab.get_by_role("alert").wait_for()
        assert current(operated) == first


def test_two_releases_side_by_side_answer_for_the_same_user(tab, operated):
    first, _ = names(operated)
    with serving(operated.folder) as where:
        tab.goto(f"{where}#/recommend?user=reader-1")
        tab.get_by_role("button", name="Side by side").click()
        settled(tab)
        tab.get_by_label("Profile", exact=True).nth(1).select_option("")
        with tab.expect_request(f"**/v1/releases/{first}/recommendations"):
            tab.get_by_label("Release", exact=True).nth(1).select_option(first)
        settled(tab)
        assert f"b-release={first}" in tab.url
        assert titles(tab, 0) == titles(tab, 1)
        assert "Both lists are the same" in tab.locator(".side").nth(1).inner_text()
        shutil.rmtree(operated.releases / first)
        tab.reload()
        tab.get_by_role("alert").first.wait_for()
        assert f"there is no release '{first}'" in tab.get_by_role("alert").first.inner_text()


def busiest(metrics):
    """The route that was asked most; servers of other tests in this process count, too."""
    counts = Counter()
    for family in text_string_to_metric_families(metrics):
        for name, labels, value, *_ in family.samples:
            if name == "nichegraph_requests_total" and labels["route"].startswith("/v1/"):
                counts[f"{labels['method']} {labels['route']}"] += value
    return counts.most_common(1)[0][0]


def test_operators_see_how_the_service_does_and_how_releases_went(tab, operated):
    first, second = names(operated)
    for name, overlap in ((first, None), (second, 0.5)):
        folder = operated.releases / name
        counts = json.loads((folder / "manifest.json").read_text())["counts"]
        counts["events"] += 7 * (name == second)
        drift = {"vectors": {"spectral": {"jaccard@10": overlap}}}
        note(folder, {"drift": drift, "counts": counts})
    with serving(operated.folder) as where:
        event = {"user": "reader-1", "item": "evergreen-1", "kind": "view"}
        assert tab.context.request.post(f"{where}v1/events", data=event).ok
        tab.goto(f"{where}#/operate")
        settled(tab)
        route = busiest(tab.context.request.get(f"{where}metrics").text())
        row = tab.get_by_role("region", name="Requests since").get_by_role("row", name=route).first
        row.wait_for()
        assert " ms" in row.inner_text()
        assert "1 fact waits for the store" in tab.get_by_role("region", name="Health").inner_text()
        assert tab.locator(".small-plots figure").count() == 3  # 0.5 alone is no drift
        events = tab.get_by_role("img", name="Events, release by release: from 3000 to 3007")
        assert events.locator("canvas").count() == 1


def test_click_rates_are_shown_with_their_intervals(tab, operated):
    with serving(operated.folder) as where:
        request = tab.context.request
        users = [f"reader-{number}" for number in range(1, 26)]
        events = []
        for user in users:
            answer = request.get(f"{where}v1/users/{user}/recommendations?n=2").json()
            fields = {"user": user, "request_id": answer["request_id"]}
            events += [
                {"kind": "impression", "item": item["item"], **fields} for item in answer["items"]
            ]
        clicks = [{**shown, "kind": "click"} for shown in events[:40:2]]
        for part in (events, clicks):
            assert request.post(f"{where}v1/events", data={"events": part}).ok
        with closing(EmbeddedStore(operated.store)) as store:
            drain(Journal(operated.inbox), store, now=lambda: int(time.time()))
        tab.goto(f"{where}#/operate")
        settled(tab)
        tab.get_by_role("combobox", name="Click rates").select_option("release")
        row = tab.get_by_role("region", name="Click rates").get_by_role(
            "row", name=names(operated)[1]
        )
        low, high = wilson(20, 50)
        row.get_by_text("40.0%").wait_for()
        assert f"{100 * low:.1f}% – {100 * high:.1f}%" in row.inner_text()


def test_rules_are_tried_saved_and_a_wrong_one_is_told(tab, operated):
    with serving(operated.folder) as where:
        tab.goto(f"{where}#/operate")
        settled(tab)
        tab.get_by_role("button", name="Try them on users").click()
        tab.get_by_role("row", name="all together").wait_for()
        rules = tab.get_by_label("Rules, as in rules.toml")
        tab.get_by_role("button", name="Save", exact=True).click()
        tab.get_by_text("Every worker follows them").wait_for()
        assert operated.rules.read_text() == rules.input_value()
        for button in ("Try them on users", "Save"):
            rules.fill("[[rule]")
            tab.get_by_role("button", name=button, exact=True).click()
            assert "rules:" in tab.get_by_role("alert").inner_text()
        operated.rules.write_text("")
        rules.fill("# mine")
        tab.get_by_role("button", name="Save", exact=True).click()
        tab.get_by_text("somebody else").wait_for()
        assert operated.rules.read_text() == ""


def test_what_a_key_may_not_do_is_not_shown(tab, operated):
    made = {
        name: KeyFile(operated.keys).create(scopes, now=int(time.time())).secret
        for name, scopes in {"lists": ["recommend"], "admin": ["admin", "explore"]}.items()
    }
    with serving(operated.folder) as where:
        for name, views in {
            "lists": ["Recommend"],
            "admin": ["Explore", "Segments", "Operate"],
        }.items():
            tab.goto(where)
            tab.evaluate("key => sessionStorage.setItem('nichegraph-key', key)", made[name])
            tab.reload()
            tab.get_by_role("link", name=views[-1], exact=True).wait_for()
            assert tab.get_by_role("navigation").get_by_role("link").all_inner_texts() == views
        tab.get_by_role("link", name="Operate", exact=True).click()
        settled(tab)
        with tab.expect_download() as report:
            tab.get_by_role("button", name="Download the report").click()
        assert "Report of the second" in report.value.path().read_text()
