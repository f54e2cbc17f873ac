"""Histories of few items read a table of their own where that is clearly better, and only they."""

from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from api.cli.releases import _show_comparison
from api.report_page import comparison_page, page
from embeddings.hold_out import hold_back
from embeddings.item_item.blend import choose_recipe
from embeddings.item_item.few import (
    FIRST,
    LIMITS,
    NONE,
    SHARE,
    Few,
    _findings,
    _Judged,
    both_tables,
    chosen,
    few_table,
)
from embeddings.item_item.held_back import HeldBack, Trial
from embeddings.item_item.item_table import ItemTable, table_read, table_read_by
from embeddings.item_item.judge import Judge
from embeddings.item_item.mixture import ORDERED, UNORDERED, mixture
from embeddings.item_item.recency import order_of
from embeddings.item_item.recipe import RIDGE, Recipe
from embeddings.item_item.scorers import Fitted
from embeddings.item_item.short import readings, spoken_of
from embeddings.item_item.side_by_side import Targets
from embeddings.item_item.untold_order import worth_among
from embeddings.item_item.worth import Findings
from graph.errors import ReleaseError
from graph.model import table
from graph.snapshot import take_snapshot
from graph.stores.embedded_store import EmbeddedStore
from graph.weighting import weigh
from recommender.learning.build import Choice, RefreshConfig, build
from recommender.learning.comparison import compare
from recommender.learning.fold_in_arrays import with_new_items
from recommender.learning.report import report
from recommender.learning.simple import simple_recipe
from recommender.learning.trial import made_of
from recommender.learning.writing import write
from recommender.overlay.appended import LiveItem
from recommender.overlay.histories import EVENT, LiveUser
from recommender.overlay.overlay import Overlay
from recommender.ranking.request import Part, Request
from recommender.releases.contents import check
from recommender.releases.publishing import open_release
from recommender.releases.release import Release
from recommender.serving.live_items import LiveItems
from recommender.serving.recommend import Recommender
from recommender.serving.warming import warm
from tests.shares import contributions

NOW = 1_760_000_000
MOST = 4  # items of a history that reads the table for few


# ── chosen ───────────────────────────────────────────────────────────────────────────────


def broad(seed: int, users: int = 400, items: int = 300, most: int = 90) -> sparse.csr_matrix:
    """Long histories (30 items and more), mostly popular ones of one of three genres.

    Beside all the others each item adds little; alone it says which genre it is.
    """
    rng = np.random.default_rng(seed)
    strength = np.arange(1, items + 1) ** -0.7
    genres = rng.integers(3, size=items)
    dense = np.zeros((users, items), np.float32)
    for own in dense:
        law = strength * np.where(genres == rng.integers(3), 4.0, 1.0)
        own[rng.choice(items, rng.integers(30, most), replace=False, p=law / law.sum())] = 1
    return sparse.csr_matrix(dense)


def by_chance(seed: int) -> sparse.csr_matrix:
    """Everybody chooses 40 of 300 items, all with the same chance."""
    rng = np.random.default_rng(seed)
    dense = np.zeros((400, 300), np.float32)
    for own in dense:
        own[rng.choice(300, 40, replace=False)] = 1
    return sparse.csr_matrix(dense)


def test_short_histories_get_their_table_where_pairs_tell_more():
    users = broad(4)
    words: list[str] = []
    held = HeldBack(hold_back(users, 1)[1])
    made = choose_recipe(users, preset="fast", held=held, say=words.append)
    recipe = made.recipe
    assert recipe.few_items == max(LIMITS)
    assert made.as_json()["few_items"] == recipe.few_items
    assert sum(made.tried["few 5 x 0"]) > 1.1 * sum(made.tried["few 0 x 0"])
    assert words[-1].startswith("histories of at most 5 items have a table of their own")
    assert choose_recipe(users, preset="fast", held=held).recipe == recipe


def test_chance_gives_them_none():
    users = by_chance(2)
    made = choose_recipe(users, preset="fast", held=HeldBack(hold_back(users, 1)[1]))
    assert made.recipe.few_items == 0 and "few 5 x 0" in made.tried


def finding(*levels: float) -> tuple[Findings, Findings]:
    """What 100 people find of all cut histories, and of those cut to the oldest entries."""
    people = np.linspace(0, 0.1, 100)[:, None] * np.ones((1, 2))
    both = [Findings(((1.0, people + level / 2),)) for level in levels]
    return both[0], both[1]


def test_a_table_must_be_clearly_better_and_not_worse_with_the_oldest_entries():
    plain = finding(0.30, 0.20)
    better = Few(10)
    assert chosen({NONE: plain, better: finding(0.31, 0.21)}) == NONE  # less than its price
    assert chosen({NONE: plain, better: finding(0.35, 0.21)}) == better
    assert chosen({NONE: plain, better: finding(0.35, 0.19)}) == NONE
    popular = Few(10, 0.3)  # its power costs 4.5 % more
    assert chosen({NONE: plain, better: finding(0.35, 0.21), popular: finding(0.36, 0.3)}) == better


def test_histories_are_cut_at_random_and_to_the_oldest():
    users = sparse.csr_matrix(np.ones((3, 12), np.float32))
    order = order_of(users, np.tile(np.arange(12)[::-1], 3))  # the last item is the oldest
    known = users.copy()
    known.data[[0, 13]] = 0  # met, and neither known nor ranked
    judge = Judge(known, sparse.csr_matrix(np.eye(3, 12, dtype=np.float32)), 10, 0, 1, users)
    recipe = Recipe(
        ((RIDGE, 1.0),), recency_exponent=1.0, follows_weight=2.0, follows_steepness=1.0
    )
    drawn, oldest = readings([judge], order, recipe, 5)
    assert [drawn.oldest, oldest.oldest] == [False, True]
    size = np.diff(judge.histories.indptr)[0]
    for at, count in enumerate(FIRST):
        for reading in (drawn, oldest):
            own = reading.weights[:size, at]
            assert np.count_nonzero(own) == min(
                count, np.count_nonzero(judge.histories.data[:size])
            )
        assert set(drawn.weights[:size, at]) <= {0.0, 1.0}
        assert sorted(oldest.weights[:size, at])[::-1][:count] == pytest.approx(
            [1 / (1 + later) for later in range(count)]
        )  # the newest of those known weighs most
        left = min(count, np.count_nonzero(judge.histories.data[:size]))
        assert drawn.sizes[0, at] == oldest.sizes[0, at] == left
        worth = 2 / np.arange(1, left + 1)
        assert sorted(oldest.newest[:size, at])[::-1][:left] == pytest.approx(worth)
        own = drawn.newest[:size, at]
        assert own[own > 0] == pytest.approx([2 * worth_among(np.array([left]), 1.0)[0]] * left)
    speaking = judge.histories.indices[:size][oldest.weights[:size, 1] > 0]
    assert speaking.tolist() == [10, 11]
    assert set(spoken_of([oldest], 12)) >= {10, 11}


def judged(users: sparse.csr_matrix, most: int = 4000) -> tuple[_Judged, Fitted]:
    """Cut histories of these users, of whom a fifth of the entries is to be found."""
    trial = Trial(users, HeldBack(hold_back(users, 1)[1]), (), most, 0, 1)
    recipe = Recipe(((RIDGE, 1.0),))
    return _Judged(trial, recipe), Fitted(trial.fit, (), recipe, 0, 1, ())


def drawn_table(items: int, width: int) -> ItemTable:
    rng = np.random.default_rng(7)
    neighbours = np.stack([rng.permutation(items)[:width] for _ in range(items)]).astype(np.int32)
    return ItemTable(neighbours, rng.random((items, width)).astype(np.float32) + 0.1)


def test_both_tables_are_judged_by_what_whole_ones_find():
    users = broad(4, 150, 80, 50)
    own, model = judged(users)
    items = np.arange(80, dtype=np.int32)
    table, way = drawn_table(80, 30), Few(3, 0.1)
    of_all = Targets.of(items, table.neighbours, 80)
    few = few_table(model, way, table.scores)
    made = own.with_few(model, way, of_all, table.scores, 1)
    for figures, whole in zip(made, (few, both_tables(few, table)), strict=True):
        again = Targets.of(items, whole.neighbours, 80)
        for reading, judgement in zip(own.readings, figures, strict=True):
            expected = reading.per_user(again, whole.scores, None)
            np.testing.assert_allclose(judgement, expected, atol=1e-6)
    assert not np.allclose(made[0], made[1])


def test_a_short_history_is_judged_by_the_table_that_it_reads_however_far_it_was_to_be_cut():
    """Nobody has more than four items left: up to a limit of five all read the second table, and up
    to two none reads the first."""
    users = broad(4, 150, 80, 50).tolil()
    for row in range(users.shape[0]):
        users[row, users.rows[row][5:]] = 0
    users = sparse.csr_matrix(users, dtype=np.float32)
    users.eliminate_zeros()
    own, _ = judged(users)
    (reading,) = own.readings
    assert reading.sizes.max() == 4
    nothing, something = (
        [[[np.full((len(reading.sizes), 2), float(level)) for _ in FIRST]]] for level in (0, 1)
    )
    for limit, third in ((5, nothing), (2, something)):
        findings, _ = _findings([own], [nothing, something, third], limit)
        assert findings.quality == pytest.approx((1.0, 1.0))


def test_without_an_order_little_of_a_spectrum_is_expected(monkeypatch):
    users = broad(4, 120)
    times = np.arange(users.nnz)
    seen = []

    def watched(scorers, mixed, tried, say, usual, network_weight=None):
        seen.append(usual)
        return mixture(scorers, mixed, tried, say, usual, network_weight)

    monkeypatch.setattr("embeddings.item_item.blend.mixture", watched)
    for order, usual in ((None, UNORDERED), (order_of(users, times), ORDERED)):
        held = HeldBack(hold_back(users, 1)[1], order=order)
        choose_recipe(users, preset="fast", held=held)
        assert seen.pop() == usual
        few = users[:40]
        held = HeldBack(hold_back(few, 1)[1], order=None if order is None else order[:40])
        made = choose_recipe(few, preset="fast", held=held)
        assert [weight for _, weight in made.recipe.weights] == [1.0, usual.expected]
    assert not seen


def test_the_table_counts_pairs():
    """Three people: 0 and 1 together twice, 0 and 2 once; each history's length damps it."""
    users = sparse.csr_matrix(np.array([[1, 1, 0], [1, 1, 1], [1, 0, 0]], np.float32))
    model = Fitted(users, [], Recipe(((RIDGE, 1.0),)), 0, 1, ())
    like = np.array([[2.0, -3.0], [1.0, 0.0]], np.float32)
    made = few_table(model, Few(3, 0.5), like)
    counts = np.array([3, 2, 1.0])
    expected = np.zeros((3, 3))
    for row in users.toarray():
        expected += np.outer(row, row) / row.sum() ** 0.5
    expected = expected / np.sqrt(np.outer(counts, counts)) * counts**0.5
    np.fill_diagonal(expected, 0)
    expected *= 2 / expected.max(axis=1).mean()  # the strongest of `like` are 3 and 1
    dense = np.zeros((3, 3))
    for row in range(3):
        there = made.neighbours[row] >= 0
        dense[row, made.neighbours[row][there]] = made.scores[row][there]
    np.testing.assert_allclose(dense, expected, rtol=1e-4)
    again = few_table(model, Few(3, 0.5), like, threads=2)
    assert again.scores.tobytes() == made.scores.tobytes()
    some = few_table(model, Few(3, 0.5), like, items=np.array([2], np.int32))
    assert some.neighbours[0].tolist() == made.neighbours[2].tolist()


def dense(table: ItemTable, targets: int):
    """(r, targets) what a table says."""
    made = np.zeros((len(table.neighbours), targets), np.float32)
    for own, rows, scores in zip(made, table.neighbours, table.scores, strict=True):
        own[rows[rows >= 0]] = scores[rows >= 0]
    return made


def test_in_the_third_table_both_are_added_up(monkeypatch):
    rng = np.random.default_rng(3)
    both = []
    for width in (6, 9):
        rows = np.array([rng.permutation(20)[:width] for _ in range(50)], np.int32)
        rows[rng.integers(50, size=10), width - 2 :] = -1
        scores = np.where(rows >= 0, rng.normal(size=rows.shape), 0).astype(np.float32)
        both.append(ItemTable(rows, scores))
    few, table = both
    sums = dense(few, 20) + np.float32(SHARE) * dense(table, 20)
    for at_once in (4_096, 7):
        monkeypatch.setattr("embeddings.item_item.item_table.ROWS_AT_ONCE", at_once)
        made = both_tables(few, table)
        assert made.neighbours.shape == few.neighbours.shape
        assert (np.diff(np.abs(made.scores), axis=1) <= 0).all()
        strongest = np.sort(np.abs(sums), axis=1)[:, ::-1][:, :6]
        np.testing.assert_allclose(np.abs(made.scores), strongest, rtol=1e-6)
        kept = dense(made, 20)
        np.testing.assert_allclose(kept[kept != 0], sums[kept != 0], rtol=1e-6)
    nothing = ItemTable(np.zeros((0, 3), np.int32), np.zeros((0, 3), np.float32))
    assert both_tables(nothing, nothing).neighbours.shape == (0, 3)


def test_which_table_is_read_goes_by_the_number_of_items():
    assert [table_read(items, 5) for items in (0, 1, 5, 6, 10, 11)] == [0, 1, 1, 2, 2, 0]
    assert [table_read(items, 0) for items in (0, 1, 2)] == [0, 0, 0]
    rng = np.random.default_rng(2)
    for size in range(30):
        items = rng.integers(12, size=size).astype(np.int32)
        assert table_read_by(items, 3) == table_read(len(np.unique(items)), 3)


# ── served ───────────────────────────────────────────────────────────────────────────────

RECIPE = Recipe(
    ((RIDGE, 1.0),), follows_weight=0.5, follows_steepness=1.0, few_items=MOST,
    few_popularity=0.2,
)  # fmt: skip


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Recommender:
    """A release in which every third person has 1 to 8 items; nobody has the last of its items."""
    folder = tmp_path_factory.mktemp("few")
    likes = broad(7, users=150, items=80, most=50).toarray()
    rng = np.random.default_rng(1)
    for user in range(0, 150, 3):
        own = np.flatnonzero(likes[user])
        likes[user, rng.permutation(own)[user % 12 + 1 :]] = 0
    rows = [
        {"user": f"u{user:03}", "item": f"i{item:02}", "kind": "play", "at": NOW - 9000 + 7 * item}
        for user, item in zip(*np.nonzero(likes), strict=True)
    ]
    genres = [{"item": f"i{item:02}", "tag": f"t{item % 5}"} for item in range(80)]
    cold = {"item": "cold", "tag": "t1"}
    with closing(EmbeddedStore(folder / "store.sqlite")) as store:
        store.apply({
            "events": table("events", rows),
            "items": table("items", [{"id": each["item"]} for each in [*genres, cold]]),
            "item_tags": table("item_tags", [
                {"category": "tag", "weight": 1.0, **each} for each in [*genres, cold]
            ]),
        })  # fmt: skip
        snapshot = take_snapshot(store)
    config = RefreshConfig(preset="fast", threads=1)
    graph = weigh(snapshot, config.weighting, NOW)
    recipe = replace(RECIPE, feature_weights=(1.0,))
    built = build(snapshot, graph, config, lambda _: None, choice=Choice(recipe))
    built = with_new_items(built, snapshot, graph, lambda _: None, 1)
    write(folder / "1-release", built, snapshot, config, now=NOW)
    return Recommender(open_release(folder / "1-release"))


def expected_scores(release: Release, items, weights, newest, read: int):
    """(i,) what a history adds up that reads a table, without compiled code."""
    sums = np.zeros(len(release.items))
    read = release.tables[read]
    for item, weight, other in zip(items, weights, newest, strict=True):
        for rows, factor in ((read, weight), (release.table.follows, other)):
            kept = rows.neighbours[item] >= 0
            sums[rows.neighbours[item][kept]] += factor * rows.scores[item][kept]
    return sums


def test_each_history_reads_the_table_of_its_length_and_reasons_are_exact(served):
    release, read = served.release, set()
    for row in range(60):
        own = release.histories.span(row)
        items, weights = release.histories.indices[own], release.histories.values[own]
        newest = release.newest[own]
        table = 1 if len(items) <= MOST else 2 if len(items) <= 2 * MOST else 0
        read.add(table)
        sums = expected_scores(release, items, weights, newest, table)
        shut = sums.copy()
        shut[release.blocked.of(row)] = 0
        request = Request(user=release.users.id(row), n=5, profile="neutral")
        answer = served.recommend([request], now=NOW)[0]
        ranking = served.rank_users(np.array([row]), 5, source="items")
        assert answer.served_by == "history"
        assert ranking.scores[0] == pytest.approx(np.sort(shut)[::-1][:5], rel=1e-4)
        ours = release.items.rows([shown.item for shown in answer.items])
        assert shut[ours] == pytest.approx(ranking.scores[0], rel=1e-4)
        for shown in answer.items:
            item = release.items.row(shown.item)
            parts = contributions(release, item, items, weights, newest)
            assert parts.sum() == pytest.approx(sums[item], rel=1e-4)
            total = parts[parts > 0].sum()
            assert shown.reasons
            for reason in shown.reasons:
                at = items.tolist().index(release.items.row(reason.because))
                assert reason.share == pytest.approx(parts[at] / total, abs=1e-4)
    assert read == {0, 1, 2}


def test_a_batch_equals_single_requests(served):
    users = list(served.release.users)[:40]
    mixed = [Request(user=user, n=7) for user in users]
    mixed += [Request(user=user, n=7, interests=True, profile="neutral") for user in users[:12]]
    mixed += [Request(items=dict.fromkeys(["i00", "i03", "i40", "i41", "i50"][:k], 1.0), n=6)
              for k in range(6)]  # fmt: skip
    mixed += [Request(mix=(Part("user", users[0]), Part("item", "i09")), n=5)]
    mixed += [Request(household=(users[0], users[1]), n=5)]
    together = served.recommend_json(mixed, now=NOW)
    alone = [served.recommend_json([request], now=NOW)[0] for request in mixed]
    assert together == alone
    rows = np.arange(40)
    for source in (None, "items"):
        ranking = served.rank_users(rows, 6, source=source)
        each = [served.rank_users(rows[at : at + 1], 6, source=source).items for at in range(40)]
        assert (ranking.items == np.concatenate(each)).all()


def test_different_items_count_not_entries(served):
    """A session of what the user has already chosen makes the history no longer."""
    release = served.release
    sizes = np.diff(release.histories.indptr)
    row = int(np.flatnonzero(sizes == MOST)[0])
    user, own = release.users.id(row), release.items.ids(release.histories.of(row))
    again = Request(user=user, items=dict.fromkeys(own[:2], 1.0), n=5)
    more = replace(again, items={next(i for i in release.items if i not in own): 1.0})
    assert served.planner.read(again, NOW).subject.reads == 1
    assert served.planner.read(more, NOW).subject.reads == 2
    assert release.reads(np.zeros(0, np.int32)) == 0


def test_newer_events_carry_somebody_over_the_limit(served):
    release = served.release
    row = int(np.flatnonzero(np.diff(release.histories.indptr) == MOST)[0])
    user, own = release.users.id(row), release.items.ids(release.histories.of(row))
    item = next(each for each in release.items if each not in own)
    play = release.event_kinds.index("play")
    at = np.array([(release.items.row(item), play, np.nan, NOW + 5, 0)], EVENT)
    overlay = replace(served.overlay, users={user: LiveUser(at)})
    request = Request(user=user, n=5, profile="neutral")
    later = served.following(overlay=overlay)
    assert served.planner.read(request, NOW).subject.reads == 1
    history = overlay.history(user)
    sums = expected_scores(release, history.items, history.weights, history.newest, read=2)
    sums[[*history.items, *release.blocked.of(row)]] = 0
    shown = later.recommend([request], now=NOW)[0].items
    assert [each.score for each in shown] == pytest.approx(np.sort(sums)[::-1][:5], rel=1e-3)
    assert later.planner.read(request, NOW).subject.reads == 2


def test_items_like_one_are_read_from_the_item_table(served):
    release = served.release
    row = release.items.row("i40")
    sums = expected_scores(release, [row], [1.0], [0.5], read=0)
    shown = served.similar("i40", 5, now=NOW).items
    assert [each.score for each in shown] == pytest.approx(np.sort(sums)[::-1][:5], rel=1e-3)
    session = served.recommend([Request(items={"i40": 1.0}, n=5, profile="neutral")], now=NOW)[0]
    assert session.served_by == "session"
    assert [each.item for each in session.items] != [each.item for each in shown]


def test_cold_and_newer_items_have_places_in_all_tables(served):
    release = served.release
    cold = release.items.row("cold")
    assert all((each.neighbours == cold).any() for each in release.tables)
    items = LiveItems(release, served.overlay.agreed)
    items.live["new"] = LiveItem("new", tags=(("tag", "t2", 1.0),))
    items.names["new"] = len(release.items)
    items.moved.add("new")
    longer = items.release_with_all()
    assert len(longer.tables) == len(longer.arrivals) == 3
    for arrivals in longer.arrivals:
        targets, scores = arrivals.of_item(len(release.items))
        assert (targets >= 0).any() and scores.max() > 0
    assert longer.few_items == MOST
    over = served.following(overlay=Overlay.over(longer))
    wanted = Request(items={"i02": 1.0}, n=81, profile="neutral")
    shown = {each.item: each for each in over.recommend([wanted], now=NOW)[0].items}
    assert "new" in shown
    warm(served, now=NOW)


@pytest.mark.parametrize("gone", [("few.", "both."), ("both.",)])
def test_a_release_without_the_arrays_reads_the_tables_it_has(served, gone):
    old = served.release
    arrays = {name: each for name, each in old.arrays.items() if not name.startswith(gone)}
    check(arrays, "it")
    release = Release(old.folder, old.manifest, arrays)
    assert len(release.tables) == len(release.arrivals) == 3 - len(gone)
    assert release.few_items == (MOST if len(gone) == 1 else 0)
    assert release.reads(np.array([3], np.int32)) == 2 - len(gone)
    assert release.reads(np.arange(MOST + 1, dtype=np.int32)) == 0
    for read in (1, 2):
        user = next(
            user
            for user in old.users
            if served.planner.read(Request(user=user), NOW).subject.reads == read
        )
        answer = Recommender(release).recommend([Request(user=user, n=5)], now=NOW)[0]
        assert len(answer.items) == 5


def test_what_was_chosen_is_told_and_kept(served, capsys):
    release = served.release
    made = made_of(release.manifest)
    assert made is not None and made.recipe == replace(RECIPE, feature_weights=(1.0,))
    without = {
        name: each
        for name, each in release.arrays.items()
        if not name.startswith(("few.", "both."))
    }
    plain = Release(release.folder, release.manifest, without)
    compared, recipe = compare(release, plain), report(release, None)["recipe"]
    assert compared["few_items"] == [0, MOST]
    assert compared["both_items"] == [0, 2 * MOST]
    assert (recipe["few_items"], recipe["both_items"]) == (MOST, 2 * MOST)
    _show_comparison(compared)
    assert f"of up to {2 * MOST} items read both added up, before 0" in capsys.readouterr().out
    assert f"of at most {2 * MOST}\nread both" in page(report(release, None))
    assert f"of up to {2 * MOST} items read both tables" in comparison_page(compared)
    assert simple_recipe("popularity", made.recipe).few_items == 0


def test_the_third_table_needs_the_second(served):
    arrays = {n: each for n, each in served.release.arrays.items() if not n.startswith("few.")}
    with pytest.raises(ReleaseError, match=r"here is incomplete: few\.scores is missing"):
        check(arrays, "here")
