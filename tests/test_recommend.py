"""`recommend()`: never short, never wrong, always an answer; and right on planted niches."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embeddings.item_item.item_table import ItemTable
from graph.errors import InputError, NotFound
from graph.model import table
from graph.stores.embedded_store import EmbeddedStore
from recommender.learning.build import RefreshConfig
from recommender.learning.refresh import refresh
from recommender.overlay.overlay import Overlay
from recommender.ranking import ranker
from recommender.ranking.candidates import Ranking, Subjects, from_table
from recommender.ranking.request import Filter, Request
from recommender.releases.home import Home
from recommender.serving.recommend import Recommender
from recommender.serving.rules_file import parse_rules
from tests.shares import contributions

NOW = 1_760_000_000


def answer_to(recommender, **fields):
    return recommender.recommend([Request(**fields)], now=NOW)[0]


def ids(answer):
    return [shown.item for shown in answer.items]


def test_most_of_a_list_lies_in_the_users_planted_niches(recommender, planted):
    answers = planted.answers
    niche = dict(zip(answers.items, answers.item_niches.tolist(), strict=True))
    right = total = 0
    for user, own in list(zip(answers.users, answers.user_niches.tolist(), strict=True))[:60]:
        for item in ids(answer_to(recommender, user=user, n=5, profile="neutral")):
            right += niche[item] in own
            total += 1
    assert right / total >= 0.6


def test_nothing_seen_hidden_or_excluded_is_shown(recommender, planted):
    user = planted.answers.users[0]
    first = ids(answer_to(recommender, user=user))
    seen = recommender.release.blocked.matrix[[recommender.release.users.row(user)]].indices
    assert not set(recommender.release.items.rows(first)) & set(seen.tolist())
    second = ids(answer_to(recommender, user=user, exclude=tuple(first[:10])))
    assert not set(first[:10]) & set(second)


def test_seen_items_come_back_when_asked_for(recommender, planted):
    answer = answer_to(
        recommender, user=planted.answers.users[0], include_seen=True, profile="neutral"
    )
    row = recommender.release.users.row(planted.answers.users[0])
    seen = set(recommender.release.blocked.matrix[[row]].indices.tolist())
    assert seen & set(recommender.release.items.rows(ids(answer)).tolist())


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_list_is_short_only_when_too_few_items_are_allowed(recommender, data):
    release = recommender.release
    domains = data.draw(st.lists(st.sampled_from(list(release.domains)), max_size=2))
    tags = st.sampled_from([key.split("\x1f")[1] for key in release.tags])
    wanted = Filter(
        domains=tuple(domains),
        tags_any=tuple(data.draw(st.lists(tags, max_size=2))),
        tags_none=tuple(data.draw(st.lists(tags, max_size=1))),
    )
    user = data.draw(st.sampled_from([*list(release.users)[:30], "nobody", None]))
    session = data.draw(st.lists(st.sampled_from(list(release.items)[:50]), max_size=3))
    n = data.draw(st.integers(1, 60))
    profile = data.draw(st.sampled_from(["neutral", "default"]))
    answer = answer_to(
        recommender, user=user, items=dict.fromkeys(session, 1.0), n=n, filter=wanted,
        profile=profile, reasons=False,
    )  # fmt: skip
    allowed = set(np.flatnonzero(recommender.filters.mask(wanted)).tolist())
    if user in release.users:
        allowed -= set(release.blocked.matrix[[release.users.row(user)]].indices.tolist())
    allowed -= set(release.items.rows(session).tolist())
    shown = release.items.rows(ids(answer)).tolist()
    assert set(shown) <= allowed
    assert len(shown) == len(set(shown)) == min(n, len(allowed))


def test_the_table_ranks_as_the_dense_oracle(recommender):
    release = recommender.release
    dense = np.zeros((len(release.items),) * 2, np.float32)
    neighbours, scores = release.table.neighbours, release.table.scores
    for row in range(len(dense)):
        kept = neighbours[row] >= 0
        dense[row, neighbours[row][kept]] = scores[row][kept]
    rng = np.random.default_rng(0)
    history = rng.choice(len(dense), 6, replace=False).astype(np.int32)
    weights = rng.random(6).astype(np.float32)
    blocked = history[:2]
    subjects = Subjects(
        np.array([0, 6]), history, weights, np.array([0, 2]), blocked,
        np.ones((1, len(dense)), bool), np.zeros(1, np.int32),
    )  # fmt: skip
    expected = weights @ dense[history]
    expected[blocked] = 0
    result = from_table(ItemTable(neighbours, scores), subjects, 10)
    np.testing.assert_allclose(result.scores[0], np.sort(expected)[::-1][:10], rtol=1e-4)
    np.testing.assert_allclose(expected[result.items[0]], result.scores[0], rtol=1e-4)
    again = from_table(ItemTable(neighbours, scores), subjects, 10, threads=2)
    np.testing.assert_array_equal(result.items, again.items)


def test_contributions_add_up_to_the_score(recommender):
    release = recommender.release
    row = 0
    own = slice(*release.histories.indptr[row : row + 2])
    history = release.arrays["histories.indices"][own]
    weights = release.arrays["histories.values"][own]
    ranking = recommender.rank_users(np.array([row]), 3, source="items")
    for item, score in zip(ranking.items[0], ranking.scores[0], strict=True):
        total = contributions(release, int(item), history, weights).sum()
        np.testing.assert_allclose(total, score, rtol=1e-4)


def test_reasons_speak_in_titles_not_ids(recommender, planted):
    answer = answer_to(recommender, user=planted.answers.users[0], n=5)
    for shown in answer.items:
        assert shown.reasons
        for reason in shown.reasons:
            assert shown.item not in reason.text
            assert "“" in reason.text or "popular" in reason.text


@pytest.mark.parametrize(
    ("request_fields", "served_by"),
    [({}, "popular"), ({"user": "nobody"}, "popular"), ({"items": {"nothing": 1.0}}, "popular")],
)
def test_a_stranger_gets_what_is_popular_and_is_told(recommender, request_fields, served_by):
    answer = answer_to(recommender, **request_fields)
    assert answer.served_by == served_by
    assert len(answer.items) == 20
    assert bool(answer.notes) == bool(request_fields)


def test_a_session_works_without_any_user(recommender, planted):
    answers = planted.answers
    item, niche = next(
        (i, n) for i, n in zip(answers.items, answers.item_niches, strict=True) if n >= 0
    )
    answer = answer_to(recommender, items={item: 1.0}, n=5, profile="neutral")
    niches = dict(zip(answers.items, answers.item_niches.tolist(), strict=True))
    assert answer.served_by == "session"
    assert sum(niches[shown] == niche for shown in ids(answer)) >= 3


def test_similar_tags_popular_latest(recommender, planted):
    item = planted.answers.items[-1]
    assert item not in ids(recommender.similar(item, 5, now=NOW))
    tag = next(iter(recommender.release.tags)).split("\x1f")[1]
    carriers = recommender.filters.mask(Filter(tags_any=(tag,)))
    assert carriers[
        recommender.release.items.rows(ids(recommender.tag_items(tag, 5, now=NOW)))
    ].all()
    popular = recommender.popular(5, now=NOW)
    counts = recommender.release.popularity
    rows = recommender.release.items.rows(ids(popular))
    np.testing.assert_array_equal(np.sort(counts)[::-1][:5], counts[rows])
    assert popular.fallback is None
    created = recommender.release.created_at
    latest = recommender.release.items.rows(ids(recommender.latest(5, now=NOW)))
    assert (np.diff(created[latest]) <= 0).all()


def test_what_nobody_knows_is_said(recommender):
    with pytest.raises(NotFound, match="no item"):
        recommender.similar("nothing", 5, now=NOW)
    with pytest.raises(NotFound, match="no tag"):
        recommender.tag_items("nothing", 5, now=NOW)
    for arguments in ({"n": 0}, {"profile": "x"}, {"source": "x"}):
        with pytest.raises(InputError):
            answer_to(recommender, **arguments)


def test_a_batch_is_its_requests_one_by_one(recommender, planted):
    requests = [
        Request(user=planted.answers.users[3], n=4),
        Request(n=7, profile="neutral"),
        Request(items={planted.answers.items[5]: 2.0}, filter=Filter(tags_none=("x",)), n=20),
    ]
    together = recommender.recommend(requests, now=NOW)
    alone = [recommender.recommend([request], now=NOW)[0] for request in requests]
    assert together == alone


def test_erased_users_are_strangers(planted_home, planted):
    from recommender.serving.live import Live

    user = planted.answers.users[0]
    release = Live(planted_home).recommender().release
    recommender = Recommender(release, Overlay.without(release, [user]))
    assert answer_to(recommender, user=user).served_by == "popular"


@pytest.mark.parametrize("rows", [0, 1])
def test_a_nearly_empty_catalogue_gets_an_answer(tmp_path, rows):
    home = Home(tmp_path).create()
    store = EmbeddedStore(home.store)
    if rows:
        store.apply({"events": table("events", [{"user": "u", "item": "i", "kind": "save"}])})
    release = refresh(store, home, RefreshConfig(preset="fast", threads=1), now=NOW)
    store.close()
    recommender = Recommender(release)
    answer = answer_to(recommender, user="u")
    assert (answer.items, answer.served_by) == ((), "nothing")
    assert answer.fallback
    assert len(answer_to(recommender, user="new").items) == rows
    assert recommender.latest(5, now=NOW).items == ()


def test_the_same_seed_gives_the_same_bytes(planted, tmp_path):
    manifests = []
    for name in ("a", "b"):
        home = Home(tmp_path / name).create()
        store = EmbeddedStore(home.store)
        for batch in planted.batches():
            store.apply(batch)
        config = RefreshConfig(preset="fast", threads=1)
        manifests.append(refresh(store, home, config, now=NOW).manifest["files"])
        store.close()
    assert manifests[0] == manifests[1]


@pytest.mark.parametrize("source", ["items", "popular"])
def test_a_source_that_breaks_a_promise_is_a_defect_and_never_an_answer(
    recommender, planted, monkeypatch, source
):
    """Whatever a source proposes, on the way of every list stands a last check."""
    user, allowed = planted.answers.users[0], planted.answers.items[0]
    release = recommender.release
    known = int(release.blocked.matrix[[release.users.row(user)]].indices[0])
    spoilt = Recommender(release)
    for wrong, wanted in (
        (known, Filter()),  # seen already
        (release.items.row(planted.answers.items[1]), Filter(items=(allowed,))),
    ):

        def propose(name, subjects, tags, n, wrong=wrong):
            rows = np.full((len(subjects), n), -1, np.int32)
            scores = np.full((len(subjects), n), -np.inf, np.float32)
            if name == source:
                rows[:, 0], scores[:, 0] = wrong, 1.0
            return Ranking(rows, scores)

        def alone(table, arrivals, subjects, pool, n, weights, traits, propose=propose):
            ranking = propose("items", subjects, None, n)
            return ranking.items, ranking.scores, np.full(len(subjects), source != "items")

        monkeypatch.setattr(spoilt.opened.sources, "propose", propose)
        monkeypatch.setattr(ranker, "table_lists", alone)
        with pytest.raises(AssertionError, match="a source proposed"):
            spoilt.recommend([Request(user=user, filter=wanted, n=3)], now=NOW)


def test_a_rule_that_breaks_a_promise_is_a_defect_and_never_an_answer(
    recommender, planted, monkeypatch
):
    item = planted.answers.items[0]
    rule = {"name": "first", "do": "pin", "items": [item]}
    spoilt = Recommender(recommender.release, rules=parse_rules({"rule": [rule]}))
    keep = spoilt.rulebook.arrange
    monkeypatch.setattr(
        spoilt.rulebook, "arrange", lambda rules, e, n, _: keep(rules, e, n, lambda _: True)
    )
    with pytest.raises(AssertionError, match="a rule placed"):
        spoilt.recommend([Request(exclude=(item,), n=3)], now=NOW)
