"""Search: words, beginnings, one typing error; nothing hidden, users for this machine only."""

import numpy as np
import pytest

from api.app import create_app
from api.settings import load_settings
from recommender.overlay.appended import AppendedRelease, LiveItem, appended
from recommender.overlay.overlay import Overlay
from recommender.serving.search import Names, folded

TITLES = [
    "Cello Suites",
    "The Art of Fugue",
    "Goldberg Variations",
    "Goldberg, remixed",
    "Größenwahn <script>alert(1)</script>",
    "موسيقى الأندلس",
    "古今和歌集",
    "",
]
NAMES = Names.of(TITLES, np.array([1, 1, 5, 2, 1, 1, 1, 1], np.float32))


def rows(query, n=5):
    return [row for row, _ in NAMES.find(query, n)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("cello suites", [0]),
        ("ce", [0]),
        ("fugue art", [1]),
        ("golbderg", [2, 3]),  # two letters swapped; the more popular one first
        ("goldberk variatoins", [2]),
        ("goldberg rem", [3]),
        ("GROSSENWAHN", [4]),
        ("script", [4]),
        ("الأندلس", [5]),
        ("和歌", [6]),
        ("zzzz", []),
        ("goldberg cello", []),  # every word must be there
        ("cexx", []),  # two errors in four letters are too many
        ("<>/ ", []),
    ],
)
def test_words_beginnings_and_a_typing_error(query, expected):
    assert rows(query) == expected


def test_what_is_typed_exactly_comes_before_what_is_forgiven():
    names = Names.of(["harp", "harps", "sharp", "hart"], np.ones(4, np.float32))
    assert [row for row, _ in names.find("harp", 4)] == [0, 1, 2, 3]
    scores = [score for _, score in names.find("harp", 4)]
    assert scores == sorted(scores, reverse=True) and scores[0] == 1.0


def test_what_came_since_is_found_and_nothing_else_is_read_again(recommender, monkeypatch):
    """As a search would that reads all names anew; another item more, and only it is read."""
    release = recommender.release
    changed, count = release.items.id(3), len(release.items)
    before = release.card(3)["title"]
    since = {
        changed: LiveItem(changed, title="Quite otherwise"),
        "new": LiveItem("new", title=f"Zymurgy after {before}", tags=(("tag", "zymurgist", 1.0),)),
    }
    first = recommender.following(overlay=Overlay.over(appended(release, since)))
    search, cards = first.opened.search, first.release
    anew = Names.of(
        [f"{cards.card(row)['title'] or ''} {cards.items.id(row)}" for row in range(count + 1)],
        np.asarray(cards.popularity) + 1,
    )
    for query in ("zymurgy", "otherwise", changed, before, before.split()[0], "zymurgi after"):
        assert search.find("item", query, 20) == anew.find(query, 20), query
    assert [row for row, _ in search.find("item", "zymurgy", 5)] == [count]
    assert [cards.tag_names.id(row) for row, _ in search.find("tag", "zymurgist", 5)] == [
        "zymurgist"
    ]
    assert search.find("user", release.users.id(5), 1)[0][0] == 5
    read = []
    card = AppendedRelease.card
    monkeypatch.setattr(
        AppendedRelease, "card", lambda own, row: read.append(row) or card(own, row)
    )
    since["newer"] = LiveItem("newer", title="Yet another")
    second = first.following(overlay=Overlay.over(appended(release, since)))
    assert second.opened.search.find("item", "yet another", 5)[0][0] == count + 1
    assert set(read) <= {3, count, count + 1}
    assert second.opened.search.base is search.base is recommender.opened.search
    assert second.opened.map.base is first.opened.map.base is recommender.opened.map


def test_what_came_since_lies_beside_what_it_is_most_like(recommender):
    release = recommender.release
    near = release.likeness[7]
    since = {name: LiveItem(name) for name in ("new", "unplaced")}
    made = appended(release, since, newer=np.stack([near, np.zeros_like(near)]))
    newer = recommender.following(overlay=Overlay.over(made))
    places, old = newer.opened.map.places, recommender.opened.map.places
    assert np.array_equal(places[: len(old)], old)
    assert np.array_equal(places[len(old)], old[int((release.likeness @ near).argmax())])
    assert places[len(old) + 1].tolist() == [0, 0]
    hidden = np.zeros(len(places), bool)
    assert len(newer.opened.map.points(hidden)) == 11 * len(places)


def test_accents_case_and_marks_do_not_count():
    assert folded("  Été—À l’OUEST (No. 3) ") == "ete a l ouest no 3"


def test_an_empty_catalogue_has_no_hits():
    assert Names.of([], np.zeros(0, np.float32)).find("a", 3) == []


@pytest.fixture(scope="module")
def client(used_home):
    return create_app(load_settings(used_home.folder)).test_client()


def test_the_route_finds_each_kind(client, planted):
    hits = client.get("/v1/search?q=reader-1&kind=user&n=3").json["hits"]
    assert hits[0]["id"] == "reader-1" and hits[0]["kind"] == "user"
    domain = planted.answers.niches[0]
    hits = client.get(f"/v1/search?q={domain}&kind=tag").json["hits"]
    assert hits[0]["id"] == domain and hits[0]["score"] == 1.0
    item = planted.answers.items[-1]
    assert client.get(f"/v1/search?q={item}&kind=item&n=1").json["hits"][0]["id"] == item


def test_users_are_searched_from_this_machine_only(client):
    response = client.get("/v1/search?q=reader", headers={"X-Forwarded-For": "203.0.113.9"})
    assert {hit["kind"] for hit in response.json["hits"]} <= {"item", "tag"}
    assert "this machine" in response.json["notes"][0]


def test_a_query_without_words_is_no_error_and_an_empty_one_is(client):
    assert client.get("/v1/search?q=%3C%3E").json["hits"] == []
    assert client.get("/v1/search?q=").status_code == 400
    assert client.get("/v1/search?q=a&kind=film").status_code == 400
