"""Search: words, beginnings, one typing error; nothing hidden, users for this machine only."""

import numpy as np
import pytest

from api.app import create_app
from api.settings import load_settings
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


def test_accents_case_and_marks_do_not_count():
    assert folded("  Été—À l’OUEST (No. 3) ") == "ete a l ouest no 3"


def test_an_empty_catalogue_has_no_hits():
    assert Names.of([], np.zeros(0, np.float32)).find("a", 3) == []


@pytest.fixture(scope="module")
def client(planted_home):
    return create_app(load_settings(planted_home.folder)).test_client()


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
