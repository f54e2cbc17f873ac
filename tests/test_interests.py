"""Several interests of one subject: each is found, shown in proportion, and named."""

import re
from collections import Counter
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.app import create_app
from api.cli.main import run
from api.settings import load_settings
from embeddings.item_item.item_table import ItemTable
from graph.errors import InputError
from graph.stores.embedded_store import EmbeddedStore
from loaders.synthetic import HEAD_DOMAIN, generate
from recommender.learning.build import RefreshConfig
from recommender.learning.refresh import refresh
from recommender.ranking.candidates import Subjects, from_table
from recommender.ranking.interests import (
    APART,
    FEWEST_ITEMS,
    MOST,
    SMALLEST,
    _halved,
    interests_of,
    propose,
    shares_of_interests,
    shown_first,
    voices,
)
from recommender.ranking.request import Filter, Request
from recommender.releases.home import Home
from recommender.serving.live import Live
from recommender.serving.recommend import Recommender
from recommender.serving.rules_file import parse_rules
from tests.test_any_request import requests

NOW = 1_760_000_000
NICHES = Filter(none_of=(Filter(domains=(HEAD_DOMAIN,)),))  # the head belongs to no niche
EVERYTHING = {"suppress_health_check": list(HealthCheck), "deadline": None}


def history(rows, weights=None, labels=None, blocked=(), items=40):
    """One subject who likes these rows and may be shown all of so many items but `blocked`."""
    rows = np.array(rows, np.int32)
    given_weights = np.ones(len(rows)) if weights is None else weights
    return Subjects(
        np.array([0, len(rows)]),
        rows,
        np.array(given_weights, np.float32),
        np.array([0, len(blocked)]),
        np.array(blocked, np.int32),
        np.ones((1, items), np.bool_),
        np.zeros(1, np.int32),
        None if labels is None else np.array(labels, np.int32),
    )


def directions(counts, spread=0.1, seed=0, width=8):
    """Unit vectors around as many axes as there are counts, so many around each."""
    rng = np.random.default_rng(seed)
    centres = np.repeat(np.eye(width)[: len(counts)], counts, axis=0)
    vectors = centres + spread * rng.standard_normal(centres.shape)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("counts", [(14, 6), (10, 6, 4), (8, 6, 5, 4), (9, 8, 7, 6, 5)])
def test_as_many_interests_as_planted_directions(counts):
    vectors = directions(counts)
    labels = interests_of(vectors, history(np.arange(len(vectors))))
    assert labels.tolist() == np.repeat(np.arange(len(counts)), counts).tolist()


def test_the_heaviest_is_first_and_weights_count_not_numbers():
    weights = [1.0] * 12 + [9.0] * 4
    labels = interests_of(directions((12, 4)), history(np.arange(16), weights))
    assert labels.tolist() == [1] * 12 + [0] * 4


@pytest.mark.parametrize(
    ("counts", "why"),
    [((2, 2), "too short"), ((20, 2), "two items are no interest"), ((40, 3), "a small share")],
)
def test_small_things_are_no_interests(counts, why):
    vectors = directions(counts)
    assert not interests_of(vectors, history(np.arange(len(vectors)))).any(), why


def test_a_history_without_weight_or_without_vectors_is_of_one_piece():
    vectors = directions((6, 6))
    assert not interests_of(vectors, history(np.arange(12), np.zeros(12))).any()
    assert not interests_of(np.zeros_like(vectors), history(np.arange(12))).any()
    assert interests_of(vectors, history([])).tolist() == []


@given(data=st.data())
@settings(max_examples=60, **EVERYTHING)
def test_groups_are_large_apart_and_in_order(data):
    """What makes an interest, counted again by hand; and nothing depends on a second asking."""
    seed, size = data.draw(st.integers(0, 10_000)), data.draw(st.integers(1, 60))
    rng = np.random.default_rng(seed)
    vectors = directions((20, 20, 20), spread=data.draw(st.floats(0.05, 0.8)), seed=seed)
    rows = rng.permutation(60)[:size]
    subject = history(rows, rng.random(size) + 0.01, items=60)
    labels = interests_of(vectors, subject)
    shares = shares_of_interests(labels, subject.weights)
    assert labels.max() < MOST
    if labels.any():
        assert np.bincount(labels).min() >= FEWEST_ITEMS
        assert shares.min() >= SMALLEST - 1e-5
        assert (np.diff(shares) <= 1e-6).all()
    assert interests_of(vectors, subject).tolist() == labels.tolist()
    if labels.max() == 1:
        middles = [subject.weights[labels == g] @ vectors[rows[labels == g]] for g in (0, 1)]
        a, b = (middle / np.linalg.norm(middle) for middle in middles)
        assert a @ b < APART + 0.05  # told before the last items changed sides


@given(data=st.data())
@settings(max_examples=60, **EVERYTHING)
def test_candidates_come_from_each_in_proportion_with_the_scores_of_the_whole(data):
    seed = data.draw(st.integers(0, 10_000))
    n = data.draw(st.integers(1, 30))
    rng = np.random.default_rng(seed)
    neighbours = np.stack([rng.permutation(40)[:8] for _ in range(40)]).astype(np.int32)
    strengths = rng.random((40, 8)).astype(np.float32)
    rows = rng.permutation(40)[: data.draw(st.integers(2, 12))]
    labels = rng.integers(2, size=len(rows))
    labels[:2] = (0, 1)
    subject = history(rows, rng.random(len(rows)) + 0.1, labels, blocked=rows)
    whole = from_table(ItemTable(neighbours, strengths), subject, 40)
    scores = dict(zip(whole.items[0].tolist(), whole.scores[0].tolist(), strict=True))
    result = propose(ItemTable(neighbours, strengths), subject, n)
    shown = result.items[0][result.items[0] >= 0].tolist()
    assert len(set(shown)) == len(shown) == min(n, len(scores) - (-1 in scores))
    assert not set(shown) & set(rows.tolist())
    assert np.allclose(result.scores[0][: len(shown)], [scores[row] for row in shown], rtol=1e-5)
    assert (np.diff(result.scores[0][: len(shown)]) <= 0).all()
    table, best = ItemTable(neighbours, strengths), []
    for g in (0, 1):
        own = labels == g
        half = history(rows[own], subject.weights[own], blocked=rows)
        best.append(from_table(table, half, 40).items[0])
    shares = shares_of_interests(subject.interests, subject.weights)
    for g in (0, 1):  # as many of the best of each as its share says, rounded down
        least = int(np.floor(shares[g] * n))
        assert set(best[g][:least].tolist()) - {-1} <= set(shown)


def test_voices_sum_to_the_scores():
    rng = np.random.default_rng(3)
    neighbours = np.stack([rng.permutation(40)[:8] for _ in range(40)]).astype(np.int32)
    strengths = rng.random((40, 8)).astype(np.float32)
    subject = history([1, 2, 3, 4], [1, 2, 3, 4], [0, 1, 0, 1])
    whole = from_table(ItemTable(neighbours, strengths), subject, 40)
    pool = whole.items[0][whole.items[0] >= 0]
    scores = voices(ItemTable(neighbours, strengths), subject, pool)
    assert np.allclose(scores.sum(axis=1), whole.scores[0][: len(pool)], rtol=1e-5)
    only = from_table(ItemTable(neighbours, strengths), history([1, 3], [1, 3]), 40)
    at = [pool.tolist().index(row) for row in only.items[0] if row >= 0]
    assert np.allclose(scores[at, 0], only.scores[0][: len(at)], rtol=1e-5)


@pytest.mark.parametrize(
    ("labels", "n", "first"),
    [
        ([0, 0, 0, 0, 0, 0, 0, 1, 1, 1], 4, [0, 1, 2, 7]),  # 70 and 30 % of four places
        ([0, 0, 0, 1, 0], 3, [0, 1, 3]),
        ([0, 0, 0], 3, [0, 1, 2]),  # nothing of the other: no gap
        ([-1, 0, 0, 0, 1, -1], 3, [0, 1, 4]),  # what is no interest's stays where it is
        ([1, 1, 1, 1], 2, [0, 1]),
        ([], 3, []),
    ],
)
def test_places_by_hand(labels, n, first):
    order = shown_first(np.array(labels, np.int32), np.array([0.7, 0.3], np.float32), n)
    assert order[:n].tolist() == first
    assert sorted(order.tolist()) == list(range(len(labels)))
    assert sorted(order[n:].tolist()) == order[n:].tolist()


# ── over the path that serves ────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def niches():
    """A thousand items in some forty niches: as many as the vectors can tell apart."""
    return generate(20_000, seed=1)


@pytest.fixture(scope="module")
def home(niches, tmp_path_factory):
    """A home with those, and a release."""
    home = Home(tmp_path_factory.mktemp("niches")).create()
    home.segments.write_text('[learned]\nmethod = "none"\n', encoding="utf-8")
    with closing(EmbeddedStore(home.store)) as store:
        for batch in niches.batches():
            store.apply(batch)
        refresh(store, home, RefreshConfig(preset="fast", threads=1), now=NOW)
    return home


@pytest.fixture(scope="module")
def serving(home):
    """Serves them."""
    return Live(home).recommender()


def of_niches(niches, counts):
    """(places of the largest niches, a session of so many items of each)."""
    answers = niches.answers
    sizes = np.bincount(answers.item_niches[answers.item_niches >= 0])
    places = np.argsort(-sizes, kind="stable")[: len(counts)].tolist()
    chosen = [
        answers.items[row]
        for niche, count in zip(places, counts, strict=True)
        for row in np.flatnonzero(answers.item_niches == niche)[:count]
    ]
    return places, dict.fromkeys(chosen, 1.0)


def shown_niches(niches, answer):
    """How many items of an answer lie in each niche."""
    niche = dict(zip(niches.answers.items, niches.answers.item_niches.tolist(), strict=True))
    return Counter(niche[entry.item] for entry in answer.items)


@pytest.mark.parametrize(("counts", "n"), [((14, 6), 20), ((7, 3), 10), ((10, 6, 4), 10)])
def test_planted_niches_are_shown_in_proportion_and_named(serving, niches, counts, n):
    places, session = of_niches(niches, counts)
    request = Request(items=session, n=n, filter=NICHES, profile="neutral", interests=True)
    answer = serving.recommend([request], now=NOW)[0]
    wanted = [count * n // sum(counts) for count in counts]
    assert shown_niches(niches, answer) == dict(zip(places, wanted, strict=True))
    names = niches.answers.niches
    niche = dict(zip(niches.answers.items, niches.answers.item_niches.tolist(), strict=True))
    for entry in answer.items:
        assert names[niche[entry.item]] in entry.interest
        assert not set(niches.answers.items) & set(re.split(r"[ ,“”]+", entry.interest))
    assert len({entry.interest for entry in answer.items}) == len(counts)


def test_scores_are_those_of_the_whole_history(serving, niches):
    _, session = of_niches(niches, (14, 6))
    request = Request(items=session, n=200, profile="neutral")
    plain, apart = serving.recommend([request, replace(request, interests=True)], now=NOW)
    assert {entry.interest for entry in plain.items} == {None}
    scores = {entry.item: entry.score for entry in plain.items if entry.source == "items"}
    both = [entry for entry in apart.items if entry.item in scores and entry.source == "items"]
    assert len(both) > 20
    for side in both:
        assert side.score == pytest.approx(scores[side.item], rel=1e-4)


def test_a_niche_that_the_list_forgot_is_in_it(serving, niches):
    """One item of the first interest weighs as much as all others: it may not fill the list."""
    places, session = of_niches(niches, (12, 4))
    heavy = next(iter(session))
    session = {item: 20.0 if item == heavy else 1.0 for item in session}
    session |= dict.fromkeys(list(session)[-4:], 3.0)
    request = Request(items=session, n=10, filter=NICHES, profile="neutral", interests=True)
    plain, apart = serving.recommend([replace(request, interests=False), request], now=NOW)
    share = 12 / (12 + 31)
    assert shown_niches(niches, apart)[places[1]] == round(10 * share)
    assert shown_niches(niches, plain)[places[1]] < round(10 * share)


def test_interests_without_words_are_named_by_titles(serving, niches, monkeypatch):
    monkeypatch.setattr("recommender.serving.interest_words.CARRIED", 2.0)
    _, session = of_niches(niches, (14, 6))
    answer = serving.recommend([Request(items=session, n=10, interests=True)], now=NOW)[0]
    names = {entry.interest for entry in answer.items}
    release = serving.release
    titles = {release.card(release.items.row(item))["title"] for item in session}
    assert len(names) == 2
    for name in names:
        assert name.startswith("like “")
        assert {title.strip("“”") for title in re.findall("“.*?”", name)} <= titles


def test_rules_choose_from_the_list_and_keep_the_labels(serving, niches):
    _, session = of_niches(niches, (14, 6))
    other = next(item for item in niches.answers.items[::-1] if item not in session)
    rule = {"name": "pin", "do": "pin", "items": [other], "place": 1}
    ruled = Recommender(serving.release, rules=parse_rules({"rule": [rule]}))
    request = Request(items=session, n=8, interests=True)
    free = serving.recommend([request], now=NOW)[0].items
    pinned = ruled.recommend([request], now=NOW)[0].items
    assert (pinned[0].item, pinned[0].label, pinned[0].interest) == (other, "pinned", None)
    assert [(entry.item, entry.interest) for entry in pinned[1:]] == [
        (entry.item, entry.interest) for entry in free if entry.item != other
    ][:7]


def test_a_history_of_one_piece_is_not_changed(serving, niches):
    """Nor is anybody's list in the same batch."""
    _, session = of_niches(niches, (8,))
    _, two = of_niches(niches, (14, 6))
    plain = [Request(items=session), Request(user=niches.answers.users[0]), Request(items=two)]
    request = [replace(plain[0], interests=True), plain[1], replace(plain[2], interests=True)]
    before = serving.recommend(plain, now=NOW)
    after = serving.recommend(request, now=NOW)
    assert [entry.items for entry in after[:2]] == [entry.items for entry in before[:2]]
    assert after[2].items != before[2].items
    assert after[2] == serving.recommend([request[2]], now=NOW)[0]


@given(data=st.data())
@settings(max_examples=40, **EVERYTHING)
def test_whatever_is_asked_the_list_is_as_long_and_as_allowed(recommender, planted, data):
    plain = data.draw(requests(planted))
    if plain.profile in ("many", "volume", "chance"):
        plain = replace(plain, profile=None)
    if plain.household:
        with pytest.raises(InputError, match="not for a household"):
            recommender.recommend([replace(plain, interests=True)], now=NOW)
        return
    before, after = (
        recommender.recommend([replace(plain, interests=content)], now=NOW)[0]
        for content in (False, True)
    )
    shown = [entry.item for entry in after.items]
    assert len(set(shown)) == len(shown) == len(before.items)
    everything = replace(plain, n=1000, profile="neutral", long_tail=None)
    allowed = {entry.item for entry in recommender.recommend([everything], now=NOW)[0].items}
    assert set(shown) <= allowed
    assert recommender.recommend([replace(plain, interests=True)], now=NOW)[0] == after
    if {entry.interest for entry in after.items} == {None}:
        assert shown == [entry.item for entry in before.items]


# ── through the doors ────────────────────────────────────────────────────────────────────


def test_over_http(home, niches):
    client = create_app(load_settings(home.folder)).test_client()
    _, session = of_niches(niches, (14, 6))
    subject = {"items": list(session), "n": 10}
    body = {"subjects": [subject, {**subject, "interests": True}]}
    plain, apart = client.post("/v1/recommendations", json=body).json["answers"]
    assert {entry["interest"] for entry in plain["items"]} == {None}
    assert len({entry["interest"] for entry in apart["items"]}) == 2
    path = f"/v1/users/{niches.answers.users[0]}/recommendations"
    assert client.get(f"{path}?interests=true").status_code == 200
    assert client.get(f"{path}?interests=yes").json["errors"][0]["field"] == "interests"
    wrong = {"subjects": [{"household": list(niches.answers.users[:2]), "interests": True}]}
    assert "not for a household" in client.post("/v1/recommendations", json=wrong).json["detail"]


def test_on_the_command_line(home, niches, capfd):
    _, session = of_niches(niches, (14, 6))
    words = [word for item in session for word in ("--session", item)]
    line = ["--home", str(home.folder), "recommend", "nobody", *words, "-n", "4"]
    assert run([*line, "--interests"]) == 0
    assert "interest" in capfd.readouterr().out
    assert run(line) == 0
    assert "interest" not in capfd.readouterr().out


@pytest.mark.parametrize("seed", range(6))
def test_a_history_is_halved_where_it_falls_apart(seed):
    """Two bundles of directions, of different weight: which is which, and the middles' cosine."""
    rng = np.random.default_rng(seed)
    sizes, directions = rng.integers(4, 12, 2), np.linalg.qr(rng.standard_normal((8, 2)))[0].T
    label = np.repeat([0, 1], sizes)
    vectors = directions[label] + 0.2 * rng.standard_normal((len(label), 8)) / np.sqrt(8)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    order = rng.permutation(len(label))
    vectors, label = vectors[order], label[order]
    weights = rng.uniform(0.2, 3, len(label)).astype(np.float32)
    second, alike = _halved(vectors, weights)
    assert np.array_equal(second, label == label[second][0])
    middles = [weights[label == side] @ vectors[label == side] for side in (0, 1)]
    lengths = [np.linalg.norm(middle) for middle in middles]
    assert alike == pytest.approx(middles[0] @ middles[1] / (lengths[0] * lengths[1]), abs=1e-4)


def test_what_lies_on_one_side_of_the_middle_is_found_whatever_the_first_axis():
    """The item farthest from the middle, by its weight, gives the first axis; all is one line."""
    angles = np.radians([0, 1, 2, 3, 40, 41, 42, 43, 44])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    second, alike = _halved(vectors, np.ones(9, np.float32))
    assert second.tolist() in ([False] * 4 + [True] * 5, [True] * 4 + [False] * 5)
    assert alike == pytest.approx(np.cos(np.radians(40.5)), abs=1e-3)


def test_six_items_can_be_two_interests_and_five_cannot():
    for sizes, groups in (((3, 3), 2), ((3, 2), 1)):
        vectors = directions(sizes)
        labels = interests_of(vectors, history(np.arange(sum(sizes))))
        assert len(set(labels.tolist())) == groups
