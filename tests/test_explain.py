"""Reasons are true: they carry the score, name no ids or people, and Cypher shows the same."""

import random
import re
from contextlib import closing
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from data import shared_data

from graph.errors import NotFound
from graph.explore.cypher_guard import check
from graph.explore.why_cypher import literal
from graph.model import table
from graph.stores.embedded_store import EmbeddedStore
from loaders.ingest import load
from recommender.learning.build import RefreshConfig
from recommender.learning.refresh import refresh
from recommender.ranking.request import Request
from recommender.releases.home import Home
from recommender.serving.live import Live
from recommender.serving.recommend import Recommender
from recommender.serving.why import why
from tests.data import package
from tests.shares import contributions

NOW = 1_760_000_000


def answer_to(recommender, **fields):
    return recommender.recommend([Request(**fields)], now=NOW)[0]


def without(release, pairs):
    """The same release where some users' histories lack one item each."""
    matrix = release.histories.matrix
    kept = np.ones(matrix.nnz, bool)
    for user, item in pairs:
        own = slice(*matrix.indptr[user : user + 2])
        kept[own.start + np.flatnonzero(matrix.indices[own] == item)] = False
    users = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))[kept]
    arrays = dict(release.arrays) | {
        "histories.indptr": np.searchsorted(users, np.arange(matrix.shape[0] + 1)),
        "histories.indices": matrix.indices[kept],
        "histories.values": matrix.data[kept],
        "histories.kinds": release.history_kinds[kept],
        "histories.at": release.history_times[kept],
    }
    return replace(release, arrays=arrays)


def lowered(recommender, users, number):
    """For each user: whether the item at a place of the list falls without its first reason."""
    release = recommender.release
    requests = [Request(user=user, n=number + 1, profile="neutral") for user in users]
    cases = []
    for user, answer in zip(users, recommender.recommend(requests, now=NOW), strict=True):
        shown = answer.items[number]
        if shown.reasons[0].because is not None:
            cases.append((user, shown, shown.reasons[0].because))
    pairs = [(release.users.row(user), release.items.row(because)) for user, _, because in cases]
    other = Recommender(without(release, pairs))
    return [
        why(other, user, shown.item, now=NOW)["score"] < shown.score for user, shown, _ in cases
    ]


def test_without_its_reason_an_item_scores_lower(recommender, planted):
    users = [user for user in planted.answers.users if user in recommender.release.users]
    result = lowered(recommender, users[:100], 0)
    assert len(result) >= 90
    assert np.mean(result) >= 0.9


@pytest.mark.long
def test_without_their_reasons_five_hundred_items_score_lower(recommender, planted):
    users = [user for user in planted.answers.users if user in recommender.release.users]
    result = [low for number in range(6) for low in lowered(recommender, users, number)]
    assert len(result) >= 500
    assert np.mean(result) >= 0.9


@pytest.mark.long
def test_five_hundred_reasons_hold_on_real_ratings(tmp_path):
    home = Home(tmp_path).create()
    with closing(EmbeddedStore(home.store)) as store:
        load(
            [shared_data("ml-latest-small")], "movielens", store,
            staging_folder=home.staging, rejects_file=home.rejects / "rejects.csv", now=NOW,
        )  # fmt: skip
        refresh(store, home, RefreshConfig(preset="fast"), now=NOW)
    recommender = Live(home).recommender()
    users = recommender.release.users
    drawn = users.ids(np.random.default_rng(0).permutation(len(users))[:110])
    result = [low for number in range(5) for low in lowered(recommender, drawn, number)]
    assert len(result) >= 500
    assert np.mean(result) >= 0.9


def test_the_score_falls_by_the_share_that_was_told(recommender, planted):
    user = planted.answers.users[0]
    shown = answer_to(recommender, user=user, n=1, profile="neutral").items[0]
    reason = shown.reasons[0]
    release = recommender.release
    number, row = release.users.row(user), release.items.row(shown.item)
    history = release.histories.matrix[[number]]
    parts = contributions(release, row, history.indices, history.data)
    speaks_for = parts[parts > 0].sum() * shown.score / parts.sum()
    pair = number, release.items.row(reason.because)
    other = why(Recommender(without(release, [pair])), user, shown.item, now=NOW)
    assert other["score"] == pytest.approx(shown.score - reason.share * speaks_for, rel=1e-2)


def test_the_reason_lies_in_the_items_planted_niche(recommender, planted):
    """Of first reasons for items of a niche, most name an item of that niche."""
    niche = dict(zip(planted.answers.items, planted.answers.item_niches.tolist(), strict=True))
    same = []
    for user in planted.answers.users:
        for shown in answer_to(recommender, user=user, n=3, profile="neutral").items:
            if niche[shown.item] >= 0 and shown.reasons[0].because:
                same.append(niche[shown.reasons[0].because] == niche[shown.item])
    assert len(same) >= 120
    assert np.mean(same) >= 0.75


def test_reasons_are_few_and_strongest_first_and_name_nobody(recommender, planted):
    users = set(planted.answers.users)
    for user in planted.answers.users[:20]:
        for shown in answer_to(recommender, user=user).items:
            shares = [reason.share for reason in shown.reasons]
            assert 1 <= len(shares) <= 3
            assert shares == sorted(shares, reverse=True)
            assert sum(shares) <= 1.001
            for reason in shown.reasons:
                assert shown.item not in reason.text
                content = {part.get("id") for part in reason.path} | {reason.text}
                assert not content & users


# ── a small catalogue where each path is known ───────────────────────────────────────────


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Five people chose a and b; c is cited by a; d shares a tag with a; e is alone."""
    home = Home(tmp_path_factory.mktemp("small")).create()
    store = EmbeddedStore(home.store)
    store.apply(
        {
            "items": table("items", [{"id": i, "title": f"The {i}"} for i in "abcde"]),
            "item_tags": table(
                "item_tags",
                [{"item": i, "category": "tag", "tag": "organ", "weight": 1.0} for i in "ad"],
            ),
            "item_relations": table(
                "item_relations", [{"source": "a", "target": "c", "kind": "cites", "weight": 1.0}]
            ),
        }
    )
    pairs = [(f"p{n}", item) for n in range(5) for item in "ab"]
    pairs += [("me", "a"), ("q1", "a"), ("q1", "c"), ("q2", "c"), ("q2", "a"), ("q3", "e")]
    pairs += [("q1", "d"), ("q2", "d")]
    store.apply(
        {"events": table("events", [{"user": u, "item": i, "kind": "save"} for u, i in pairs])}
    )
    refresh(store, home, RefreshConfig(preset="fast", threads=1), now=NOW)
    store.close()
    return home, Live(home).recommender()


@pytest.mark.parametrize(
    ("item", "text", "through"),
    [
        ("b", "because you saved “The a”, which 5 people choose as well", "people"),
        ("c", "because you saved “The a”, linked to it as “cites”", "relation"),
        ("d", "because you saved “The a”, both tagged “organ”", "tag"),
    ],
)
def test_each_path_is_told_in_words(small, item, text, through):
    shown = next(i for i in answer_to(small[1], user="me").items if i.item == item)
    assert (shown.reasons[0].text, shown.reasons[0].through) == (text, through)
    assert shown.reasons[0].because == "a"


def test_a_path_goes_from_node_to_edge_to_node(small):
    for user in ("me", "q3", "stranger"):
        for shown in answer_to(small[1], user=user, n=9).items:
            for reason in shown.reasons:
                kinds = ["node" if "node" in part else "edge" for part in reason.path]
                assert kinds[-1] == "node"
                assert all(a != b for a, b in pairwise(kinds))
    line = why(small[1], "me", "d", now=NOW)["drawing"][0]
    assert line.endswith("─[HAS_TAG]─ (Tag organ) ─[HAS_TAG]─ (Item The d)")


def test_few_people_are_not_counted(small):
    shown = next(
        i for i in answer_to(small[1], user="q2", include_seen=True).items if i.item == "a"
    )
    texts = " ".join(reason.text for reason in shown.reasons)
    assert "2 people" not in texts


def test_why_tells_what_the_list_tells(recommender, planted):
    user = planted.answers.users[0]
    for shown in answer_to(recommender, user=user, n=5, profile="neutral").items:
        explanation = why(recommender, user, shown.item, now=NOW)
        assert explanation["score"] == pytest.approx(shown.score, rel=1e-4)
        assert [r["text"] for r in explanation["reasons"]] == [r.text for r in shown.reasons]
        assert explanation["source"] == shown.source
        assert explanation["cypher"]["parameters"]["item"] == shown.item
        assert len(explanation["drawing"]) == len(shown.reasons)
    with pytest.raises(NotFound, match="does not show"):
        why(recommender, user, "nothing", now=NOW)


def test_why_answers_strangers_and_seen_items(recommender, planted):
    item = planted.answers.items[0]
    explanation = why(recommender, "a stranger", item, now=NOW)
    assert explanation["reasons"][0]["text"].startswith("popular")
    assert "user" not in explanation["cypher"]["parameters"]
    row = recommender.release.users.row(planted.answers.users[0])
    seen = recommender.release.items.id(recommender.release.blocked.matrix[[row]].indices[0])
    assert why(recommender, planted.answers.users[0], seen, now=NOW)["item"] == seen


@pytest.mark.parametrize("item", ["b", "c", "d", "e"])
def test_the_cypher_shows_the_path(small, item):
    package("ladybug")
    from graph.explore.console import Console, Target

    home, recommender = small
    query = why(recommender, "me", item, now=NOW)["cypher"]
    console = Console(Target(str(home.store)), home.explore, now=lambda: float(NOW))
    try:
        rows = console.run(query["query"], query["parameters"], privacy=True).rows
    finally:
        console.close()
    assert rows


# ── the Cypher of a reason counts what its sentence counts ───────────────────────────────


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """People who like, rate high and low, dislike and hide items without tags, some twice."""
    draw = random.Random(2)
    home = Home(tmp_path_factory.mktemp("mixed")).create()
    events = []
    for user in range(60):
        for item in draw.sample(range(24), 9):
            kind = draw.choice(["like", "view", "rating", "rating", "dislike", "hide"])
            value = float(draw.randrange(1, 6)) if kind == "rating" else None
            row = {"user": f"u{user}", "item": f"i{item}", "kind": kind, "value": value}
            events += [row] * (1 if kind == "hide" else draw.choice([1, 2]))
    events = [event | {"at": NOW - 1000 * number} for number, event in enumerate(events)]
    people = [{"id": f"u{user}", "consent": user % 7 > 0} for user in range(60)]
    with closing(EmbeddedStore(home.store)) as store:
        store.apply({"users": table("users", people), "events": table("events", events)})
        refresh(store, home, RefreshConfig(preset="fast", threads=1), now=NOW)
    return home, Live(home).recommender()


def test_the_cypher_of_a_reason_counts_the_people_of_its_sentence(mixed):
    package("ladybug")
    from graph.explore.console import Console, Target

    home, recommender = mixed
    console = Console(Target(str(home.store)), home.explore)
    counted = 0
    try:
        for user in range(30):
            for shown in answer_to(recommender, user=f"u{user}", n=4).items:
                for reason in why(recommender, f"u{user}", shown.item, now=NOW)["reasons"]:
                    content = re.search(r"which (\d+) people", reason["text"])
                    if content is None:
                        continue
                    query = reason["cypher"]
                    rows = console.run(query["query"], query["parameters"], privacy=True).rows
                    assert rows[0][2] == int(content[1]), (reason["text"], query)
                    pasted = literal(query["query"], query["parameters"])
                    assert console.run(pasted, {}, privacy=True).rows == rows
                    counted += 1
    finally:
        console.close()
    assert counted >= 40


def test_a_query_with_its_values_written_out_means_the_same():
    query = "MATCH (i:Item {id: $item}) WHERE i.kind IN $kinds AND i.x >= $good RETURN $item AS x"
    given = {"item": "it's a \\ “quoted”\n$kinds", "kinds": ["a", "b"], "good": 2.5}
    pasted = check(literal(query, given), "neo4j")
    assert list(pasted.strings.values()) == [given["item"], "a", "b", given["item"]]
    assert not pasted.parameters
