"""The pieces of ranking by hand: fusing, filling up, adjusting, taking some of the subjects."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from embeddings.item_item.item_table import ItemTable
from recommender.ranking import ranker as ranking
from recommender.ranking.candidates import Ranking, Subjects, from_table, top_of_scores
from recommender.ranking.ranker import Lists, Order, Ranker, pool_size
from recommender.ranking.request import Filter
from recommender.ranking.rerank import NEUTRAL_PROFILE, Profile, shares_of
from recommender.ranking.sources import AskedTags, fuse
from recommender.releases.arrivals import Arrivals

# ── fusing ───────────────────────────────────────────────────────────────────────────────


def padded(lists, width):
    """[(item, score), …] per subject as a ranking."""
    items = np.full((len(lists), width), -1, np.int32)
    scores = np.full((len(lists), width), -np.inf, np.float32)
    for row, entries in enumerate(lists):
        for number, (item, score) in enumerate(sorted(entries, key=lambda e: (-e[1], e[0]))):
            items[row, number], scores[row, number] = item, score
    return Ranking(items, scores)


one_list = st.dictionaries(
    st.integers(0, 8), st.sampled_from([0.25, 0.5, 1.0, 2.0, 4.0]), max_size=6
)


@given(
    st.lists(st.tuples(one_list, one_list, one_list), min_size=1, max_size=3), st.integers(1, 10)
)
def test_fusing_adds_what_each_ranking_gives(subjects, n):
    """Beside a dict: each ranking is divided by its best score and weighted."""
    weights = (1.0, 0.5, 2.0)
    rankings = [padded([list(s[number].items()) for s in subjects], 6) for number in range(3)]
    result, origin, parts = fuse(rankings, weights, n)
    assert result.items.shape[1] == min(n, 18)
    for row, lists in enumerate(subjects):
        given_by = defaultdict(lambda: [0.0, 0.0, 0.0])
        for number, entries in enumerate(lists):
            best = max(entries.values(), default=1.0)
            for item, score in entries.items():
                given_by[item][number] = score / best * weights[number]
        order = sorted(given_by, key=lambda item: (-sum(given_by[item]), item))[:n]
        count = len(order)
        assert result.items[row, :count].tolist() == order
        assert (result.items[row, count:] == -1).all()
        assert np.isneginf(result.scores[row, count:]).all()
        assert (origin[row, count:] == -1).all()
        for number, item in enumerate(order):
            assert result.scores[row, number] == pytest.approx(sum(given_by[item]))
            assert parts[row, number].tolist() == pytest.approx(given_by[item])
            assert origin[row, number] == int(np.argmax(given_by[item]))


# ── the pool, and taking subjects apart ──────────────────────────────────────────────────


def test_a_list_is_chosen_from_a_pool_of_its_kind():
    neutral, bold = NEUTRAL_PROFILE.weights(), Profile(long_tail=0.3).weights()
    alone = Order(n=20, sources=("items",), weights=neutral)
    assert (alone.plain, alone.length, alone.pool) == (True, 20, 20)
    whole = Order(n=20, sources=("items",), weights=neutral, whole_pool=True)
    assert (whole.length, whole.pool) == (pool_size(20), pool_size(20))
    for more in (
        Order(n=20, sources=("items",), weights=bold),
        Order(n=20, sources=("items", "tags"), weights=neutral),
        Order(n=20, sources=("items",), weights=neutral, adjust=lambda rows: rows),
    ):
        assert (more.length, more.pool) == (20, pool_size(20))
    assert (pool_size(1), pool_size(1000)) == (ranking.POOL, 2000)


def three():
    """Histories [1 2], [], [3 1 4]; blocked [7], [8 9], []."""
    return Subjects(
        indptr=np.array([0, 2, 2, 5]),
        items=np.array([1, 2, 3, 1, 4], np.int32),
        weights=np.array([1, 2, 3, 4, 5], np.float32),
        blocked_indptr=np.array([0, 1, 3, 3]),
        blocked=np.array([7, 8, 9], np.int32),
        masks=np.ones((2, 10), np.bool_),
        mask=np.array([0, 1, 1], np.int32),
        interests=np.array([0, 1, 0, 0, 2], np.int32),
        queries={"gnn": np.arange(6, dtype=np.float32).reshape(3, 2)},
    )


@pytest.mark.parametrize("who", [[0, 1, 2], [2, 0], [1], []])
def test_some_subjects_keep_what_is_theirs(who):
    histories, blocked = [[1, 2], [], [3, 1, 4]], [[7], [8, 9], []]
    part = three().taken(np.array(who, np.int64))
    assert len(part) == len(who)
    for number, own in enumerate(who):
        mine = slice(part.indptr[number], part.indptr[number + 1])
        assert part.items[mine].tolist() == histories[own]
        assert part.weights[mine].tolist() == [[1, 2], [], [3, 4, 5]][own]
        assert part.interests[mine].tolist() == [[0, 1], [], [0, 0, 2]][own]
        shut = slice(part.blocked_indptr[number], part.blocked_indptr[number + 1])
        assert part.blocked[shut].tolist() == blocked[own]
        assert part.mask[number] == [0, 1, 1][own]
        assert part.queries["gnn"][number].tolist() == [2 * own, 2 * own + 1]


@pytest.mark.parametrize(("start", "stop"), [(0, 3), (1, 3), (2, 3), (0, 1)])
def test_a_run_of_subjects_is_what_taking_them_gives(start, stop):
    run, taken = three().part(start, stop), three().taken(np.arange(start, stop))
    for name in ("indptr", "items", "weights", "blocked_indptr", "blocked", "mask", "interests"):
        assert getattr(run, name).tolist() == getattr(taken, name).tolist()
    assert run.queries["gnn"].tolist() == taken.queries["gnn"].tolist()


def test_who_has_several_interests_is_told_apart():
    assert ranking._several(three()) == [True, False, True]


def test_shares_of_domains_sum_to_one_and_nothing_stays_nothing():
    shares = shares_of(csr_array(np.array([[1, 3, 0], [0, 0, 0], [0, 0, 5]], np.float32)))
    assert shares["indptr"].tolist() == [0, 2, 2, 3]
    assert shares["domains"].tolist() == [0, 1, 2]
    assert shares["shares"].tolist() == [0.25, 0.75, 1.0]


# ── dense scores, adjusting, the last check ──────────────────────────────────────────────


def test_the_best_of_dense_scores_are_positive_allowed_and_free():
    masks = np.ones((2, 10), np.bool_)
    masks[1, 5] = False
    subjects = Subjects(**{**three().__dict__, "masks": masks})
    scores = np.tile(np.array([0, 3, 3, -1, 9, 8, 1, 7, 6, 5], np.float32), (3, 1))
    result = top_of_scores(scores, subjects, 4)
    assert result.items.tolist() == [[4, 5, 8, 9], [4, 7, 1, 2], [4, 7, 8, 9]]
    assert result.scores.tolist() == [[9, 8, 6, 5], [9, 7, 3, 3], [9, 7, 6, 5]]
    assert top_of_scores(scores[:, :3], Subjects(**{**three().__dict__, "masks": masks[:, :3],
                         "blocked": np.array([0, 1, 2], np.int32)}), 2).items.tolist() == [
        [1, 2], [-1, -1], [1, 2]]  # fmt: skip


def lists():
    return Lists(
        items=np.array([[4, 2, 7], [1, -1, -1]], np.int32),
        scores=np.array([[3, 2, 1], [5, -np.inf, -np.inf]], np.float32),
        origins=np.array([[0, 1, 0], [1, -1, -1]], np.int8),
        parts=np.array([[[3, 0], [1, 1], [1, 0]], [[2, 3], [0, 0], [0, 0]]], np.float32),
    )


def test_adjusting_multiplies_and_puts_in_order():
    changed = ranking._adjusted(lists(), [lambda rows: np.where(rows == 7, 10, 1), None])
    assert changed.items.tolist() == [[7, 4, 2], [1, -1, -1]]
    assert changed.scores[0].tolist() == [10, 3, 2]
    assert changed.parts[0].tolist() == [[10, 0], [3, 0], [1, 1]]
    assert changed.scores[1, 0] == 5


def test_what_must_not_be_shown_is_dropped_told_of_and_the_rest_moves_up():
    masks = np.ones((2, 10), np.bool_)
    masks[0, 4] = False
    subjects = Subjects(**{**three().__dict__, "masks": masks})
    shut = np.array([7, 1, 9], np.int32)
    blocked = Subjects(**{**subjects.__dict__, "blocked": shut}).taken(np.array([0, 1]))
    heard = []
    kept = ranking._allowed(blocked, lists(), lambda what, count: heard.append((what, count)))
    assert kept.items.tolist() == [[2, -1, -1], [-1, -1, -1]]
    assert kept.scores.tolist() == [[2, *[-np.inf] * 2], [-np.inf] * 3]
    assert kept.origins.tolist() == [[1, -1, -1], [-1, -1, -1]]
    assert kept.parts.tolist() == [[[1, 1], [0, 0], [0, 0]], [[0, 0]] * 3]
    assert [count for _, count in heard] == [1, 2]
    assert "filter" in heard[0][0]
    assert "must not be shown" in heard[1][0]


def test_what_may_be_shown_is_left_as_it_is():
    same = lists()
    allowed = three().taken(np.array([1, 2]))

    def defect(what, count):
        raise AssertionError(what, count)

    assert ranking._allowed(allowed, same, defect) is same


# ── over the planted release ─────────────────────────────────────────────────────────────


def asking(recommender, histories, *, allowed=None):
    """Subjects of some histories (item rows), of weight 1."""
    count = len(recommender.release.items)
    mask = recommender.filters.mask(Filter()) if allowed is None else allowed
    return Subjects(
        indptr=np.concatenate([[0], np.cumsum([len(own) for own in histories])]),
        items=np.array([item for own in histories for item in own], np.int32),
        weights=np.ones(sum(map(len, histories)), np.float32),
        blocked_indptr=np.zeros(len(histories) + 1, np.int64),
        blocked=np.zeros(0, np.int32),
        masks=np.asarray(mask).reshape(1, count),
        mask=np.zeros(len(histories), np.int32),
    )


def test_a_mix_is_the_share_of_each_domain_and_nothing_without_one(recommender):
    shares = recommender.release.item_domains.matrix.toarray()
    given_one = np.flatnonzero(shares.sum(axis=1) > 0)[:3].tolist()
    mixes = recommender.opened.ranker.mixes(asking(recommender, [given_one, []]))
    expected = sum(shares[row] / shares[row].sum() for row in given_one) / 3
    np.testing.assert_allclose(mixes[0], expected, rtol=1e-5)
    assert mixes[1].tolist() == [0] * shares.shape[1]


def test_a_short_list_is_filled_up_below_what_is_there(recommender):
    """Nobody with an empty history has neighbours: what is popular follows, falling, once each."""
    ranker = Ranker(recommender.release, recommender.opened.sources, {"items": 1.0})
    table, few = recommender.release.table, np.zeros(len(recommender.release.items), np.bool_)
    few[::4] = recommender.filters.mask(Filter())[::4]
    near = (few[table.neighbours] & (table.neighbours >= 0) & (table.scores > 0)).sum(axis=1)
    history = [int(np.flatnonzero((near > 2) & (near < 20))[0])]
    assert few.sum() >= 31
    order = Order(n=30, sources=("items",), weights=NEUTRAL_PROFILE.weights())
    tags = AskedTags(((), ()), len(recommender.release.tags))
    subjects = asking(recommender, [history, []], allowed=few)
    result = ranker.rank(subjects, tags, [order, order], 0)
    names = recommender.sources
    for row in range(2):
        own = result.items[row]
        assert len(set(own.tolist())) == 30
        assert few[own].all()
        assert (np.diff(result.scores[row]) <= 0).all()
        origins = [names[number] for number in result.origins[row]]
        ranked = origins.count("items")
        assert origins[:ranked] == ["items"] * ranked
        later = [names.index(name) for name in origins[ranked:]]
        assert later == sorted(later)  # source after source
        assert later
        floor = result.scores[row, ranked - 1] if ranked else 1.0
        assert result.scores[row, ranked] == pytest.approx(floor / 2)
        summed = result.parts[row].sum(axis=1)
        np.testing.assert_allclose(summed, result.scores[row], rtol=1e-4)
    popular = [int(row) for row in result.items[1]]
    counts = recommender.release.popularity[popular]
    assert (np.diff(counts) <= 0).all()
    assert result.scores[1, 1] == pytest.approx(1 / 3)


def test_neighbours_by_vectors_are_those_of_an_exact_search(recommender):
    release = recommender.release
    vectors = release.vectors["spectral"]
    histories = [[1, 5], [int(np.argmax(release.popularity))]]
    subjects = asking(recommender, histories)
    subjects = Subjects(**{**subjects.__dict__, "blocked_indptr": np.array([0, 2, 2]),
                           "blocked": np.array([1, 5], np.int32)})  # fmt: skip
    tags = AskedTags(((), ()), len(release.tags))
    result = recommender.opened.sources.propose("spectral", subjects, tags, 10)
    for row, own in enumerate(histories):
        products = vectors @ vectors[own].sum(axis=0)
        products[~subjects.masks[0]] = -np.inf
        if row == 0:
            products[own] = -np.inf
        best = np.sort(products)[::-1][:10]
        best = best[best > 0]
        np.testing.assert_allclose(result.scores[row, : len(best)], best, rtol=1e-4)
        np.testing.assert_allclose(products[result.items[row, : len(best)]], best, rtol=1e-4)


def test_tags_and_domains_are_scored_by_what_histories_share(recommender):
    """Beside dense products; equal matches are told apart by what is better known."""
    release, sources = recommender.release, recommender.opened.sources
    counts = np.asarray(release.popularity, np.float64)
    known = (counts + 0.5) / (counts.max() + 0.5)
    carried = release.item_tags.matrix.toarray().astype(np.float64)
    domains = release.item_domains.matrix.toarray().astype(np.float64)
    history = np.flatnonzero((carried.sum(axis=1) > 0) & (domains.sum(axis=1) > 0))[:2].tolist()
    subjects, count = asking(recommender, [history]), 10
    wanted = AskedTags(((),), len(release.tags))
    by_tags = carried @ carried[history].sum(axis=0)
    shares = domains @ domains[history].sum(axis=0)
    for name, scores in (
        ("tags", by_tags * (1 + 0.01 * known)),
        ("popular in domain", np.where(shares > 0, known * (1 + shares / (1 + shares)), 0)),
        ("popular", known),
    ):
        result = sources.propose(name, subjects, wanted, count)
        expected = np.sort(np.where(subjects.masks[0], scores, -1))[::-1][:count]
        np.testing.assert_allclose(result.scores[0], expected, rtol=1e-4)


def test_nothing_is_where_a_list_ends(recommender):
    """Three items are allowed, five are asked for; an unknown subject has no neighbours at all."""
    release, sources = recommender.release, recommender.opened.sources
    few = np.zeros(len(release.items), np.bool_)
    few[np.flatnonzero(recommender.filters.mask(Filter()))[:3]] = True
    tags = AskedTags(((),), len(release.tags))
    order = Order(n=5, sources=("items",), weights=NEUTRAL_PROFILE.weights())
    result = recommender.opened.ranker.rank(
        asking(recommender, [[]], allowed=few), tags, [order], 0
    )
    assert sorted(result.items[0, :3].tolist()) == np.flatnonzero(few).tolist()
    assert result.items[0, 3:].tolist() == result.origins[0, 3:].tolist() == [-1, -1]
    assert np.isneginf(result.scores[0, 3:]).all()
    for name in ("items", "spectral"):
        nothing = sources.propose(name, asking(recommender, [[]]), tags, 4)
        assert nothing.items.tolist() == [[-1] * 4]
        assert np.isneginf(nothing.scores).all()


def test_where_the_first_source_is_silent_the_others_count_as_they_are(recommender):
    """An empty history and a tag: the best of the tag's items scores one, the weight of tags."""
    common = int(np.argmax(np.diff(recommender.release.tag_items.indptr)))
    tags = AskedTags(((common,),), len(recommender.release.tags))
    order = Order(n=3, sources=("items", "tags"), weights=NEUTRAL_PROFILE.weights())
    subjects = asking(recommender, [[]])
    result = recommender.opened.ranker.rank(subjects, tags, [order], 0)
    assert result.scores[0, 0] == pytest.approx(1.0)


@settings(deadline=None)  # the first call compiles
@given(st.integers(0, 2**32))
def test_items_behind_the_table_are_ranked_as_if_they_stood_in_it(seed):
    """Beside dense sums: each of their rows holds both ways, from a history and to it."""
    rng = np.random.default_rng(seed)
    known, behind, width = 7, 3, 3
    dense = np.zeros((known + behind, known + behind))
    neighbours = np.full((known, width), -1, np.int32)
    scores = np.zeros((known, width), np.float32)
    for item in range(known):
        near = rng.choice(known, rng.integers(0, width + 1), replace=False)
        neighbours[item, : len(near)] = near
        scores[item, : len(near)] = rng.integers(1, 9, len(near)) / 8
        dense[item, near] = scores[item, : len(near)]
    rows = {}
    for item in range(known, known + behind):
        near = np.sort(rng.choice(known, rng.integers(0, width + 1), replace=False))
        gains = (rng.integers(1, 9, len(near)) / 8).astype(np.float32)
        rows[item] = near.astype(np.int32), gains
        dense[item, near] = dense[near, item] = gains
    history = rng.choice(known + behind, 3, replace=False).astype(np.int32)
    subjects = Subjects(
        indptr=np.array([0, 3]),
        items=history,
        weights=np.array([1, 2, 0.5], np.float32),
        blocked_indptr=np.array([0, 0]),
        blocked=np.zeros(0, np.int32),
        masks=np.ones((1, known + behind), np.bool_),
        mask=np.zeros(1, np.int32),
    )
    arrivals = Arrivals.of(known, rows, behind)
    result = from_table(ItemTable(neighbours, scores), subjects, known + behind, arrivals)
    summed = subjects.weights @ dense[history]
    expected = np.lexsort((np.arange(len(summed)), -summed))
    expected = expected[summed[expected] > 0]
    assert result.items[0][: len(expected)].tolist() == expected.tolist()
    assert (result.items[0][len(expected) :] == -1).all()
    np.testing.assert_allclose(result.scores[0][: len(expected)], summed[expected], rtol=1e-6)
