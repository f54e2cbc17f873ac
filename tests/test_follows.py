"""What follows what: a planted order is found and told exactly, a shuffled one changes nothing."""

import re
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from embeddings.hold_out import hold_back
from embeddings.item_item.blend import build_item_table
from embeddings.item_item.follows import DAMPING, REACH, follow_table
from embeddings.item_item.held_back import HeldBack
from embeddings.item_item.item_table import ItemTable
from embeddings.item_item.recency import order_of, shuffled
from embeddings.item_item.recipe import RIDGE, Recipe
from embeddings.item_item.side_by_side import Targets, score_weightings
from embeddings.item_item.table_settings import TableSettings
from embeddings.item_item.untold_order import worth_among, worth_of_session
from graph.snapshot import take_snapshot
from graph.stores.embedded_store import EmbeddedStore
from graph.weighting import weigh
from recommender.learning.build import Choice, RefreshConfig, build
from recommender.learning.fold_in_arrays import with_new_items
from recommender.learning.refresh import refresh
from recommender.learning.writing import write
from recommender.overlay.histories import EVENT, LiveUser
from recommender.ranking.request import Request
from recommender.releases.home import Home
from recommender.releases.publishing import open_release
from recommender.serving.recommend import Recommender
from tests.shares import contributions
from tests.store_contract import events

NOW = 1_760_000_000


def in_order(histories: list[list[int]], items: int) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Users and items (u, i), and the order in which each history lists them."""
    likes, at = np.zeros((2, len(histories), items), np.int64)
    for user, history in enumerate(histories):
        likes[user, history] = 1
        at[user, history] = np.arange(1, len(history) + 1)
    users = sparse.csr_matrix(likes.astype(np.float32))
    return users, order_of(users, at[likes > 0])


def counted(table: ItemTable) -> dict[tuple[int, int], float]:
    rows, places = np.nonzero(table.neighbours >= 0)
    return {
        (int(row), int(table.neighbours[row, at])): float(table.scores[row, at])
        for row, at in zip(rows, places, strict=True)
    }


def test_pairs_count_by_the_steps_between_them_and_only_forwards():
    users, order = in_order([[0, 1, 2], [0, 2], [3]], 4)
    pairs = counted(follow_table(users, order, width=3))
    # 0 is followed by 1 (a step) and by 2 (two steps, and one); 1 by 2.
    plain = {(0, 1): 1 / 2.5**DAMPING, (0, 2): 1.5 / 2.5**DAMPING, (1, 2): 1.0}
    size = np.sqrt(sum(value**2 for value in plain.values()) / 12)
    assert pairs.keys() == plain.keys()
    for pair, value in plain.items():
        assert pairs[pair] == pytest.approx(value / size)


def test_entries_of_a_moment_do_not_follow_each_other_and_a_bulk_says_nothing():
    users, order = in_order([[0, 1, 2]], 3)
    order.data[:] = [1, 1, 3]  # 0 and 1 in the same moment, 2 after both
    pairs = counted(follow_table(users, order))
    assert pairs.keys() == {(0, 2), (1, 2)}
    assert pairs[0, 2] == pairs[1, 2]
    many = REACH + 1
    users, order = in_order([list(range(many + 1))], many + 1)
    order.data[:many], order.data[many] = 1, many + 1
    assert not counted(follow_table(users, order))


def test_what_is_held_back_is_a_step_but_teaches_nothing():
    users, order = in_order([[0, 1, 2]], 3)
    known = users.copy()
    known.data[1] = 0
    known.eliminate_zeros()
    assert counted(follow_table(known, order)).keys() == {(0, 2)}


def test_the_widest_rows_keep_the_strongest_and_threads_change_nothing():
    rng = np.random.default_rng(3)
    users, order = in_order([rng.permutation(40)[:12].tolist() for _ in range(200)], 40)
    full, cut = follow_table(users, order, width=40), follow_table(users, order, width=5, threads=3)
    assert (cut.neighbours == full.neighbours[:, :5]).all()


def test_weightings_add_up_both_tables():
    rng = np.random.default_rng(0)
    near = np.argsort(rng.random((20, 20)), axis=1)[:, :6].astype(np.int32)
    after = np.argsort(rng.random((20, 20)), axis=1)[:, :4].astype(np.int32)
    worth, worth_after = rng.random((20, 6), np.float32), rng.random((20, 4), np.float32)
    users, _ = in_order([[0, 5, 9], [3], []], 20)
    weights, newest = rng.random((2, users.nnz, 2)).astype(np.float32)
    targets = Targets.of(np.arange(20, dtype=np.int32), near, 20)
    top = score_weightings(
        targets, worth, users, weights, 5, follows=ItemTable(after, worth_after), newest=newest
    )
    for k in range(2):
        for user in range(3):
            sums = np.zeros(20)
            own = slice(users.indptr[user], users.indptr[user + 1])
            for item, w, v in zip(users.indices[own], weights[own, k], newest[own, k], strict=True):
                np.add.at(sums, near[item], w * worth[item])
                np.add.at(sums, after[item], v * worth_after[item])
            sums[users.indices[own]] = 0
            expected = [row for row in np.argsort(-sums)[:5] if sums[row] > 0]
            assert [row for row in top[k, user].tolist() if row >= 0] == expected


ITEMS = 120


def walks(seed: int = 2, users: int = 900) -> list[list[int]]:
    """Everybody goes from an item to the next of its ring of 30, or now and then to another."""
    rng = np.random.default_rng(seed)
    histories = []
    for _ in range(users):
        item = int(rng.integers(ITEMS))
        history = [item]
        while len(history) < 12:
            ring = item - item % 30
            item = ring + (item + 1) % 30 if rng.random() < 0.7 else int(rng.integers(ITEMS))
            if item not in history:
                history.append(item)
            else:
                item = int(rng.integers(ITEMS))
        histories.append(history)
    return histories


@pytest.mark.parametrize("planted", [True, False])
def test_a_planted_order_is_found_and_a_shuffled_one_changes_nothing(planted):
    users, order = in_order(walks(), ITEMS)
    if not planted:
        order = shuffled(order, 7)
    held = HeldBack(hold_back(users, 1)[1], order=order)
    table, _, report = build_item_table(users, preset="fast", held=held, order=order)
    assert any(name.startswith("follows x 1") for name in report.tried)
    if not planted:
        assert report.recipe.follows_weight == 0 and table.follows is None
        without = replace(report.recipe, recency_exponent=0)
        again, _, _ = build_item_table(users, preset="fast", recipe=without)
        assert (again.scores == table.scores).all()
        return
    assert report.recipe.follows_weight > 0
    assert report.as_json()["follows_steepness"] == report.recipe.follows_steepness > 0
    assert table.follows is not None
    following = table.follows.neighbours[:, 0]
    expected = np.arange(ITEMS) // 30 * 30 + (np.arange(ITEMS) + 1) % 30
    assert (following == expected).mean() > 0.95


# ── served ───────────────────────────────────────────────────────────────────────────────

RECIPE = Recipe(((RIDGE, 1.0),), recency_exponent=0.3, follows_weight=2.0, follows_steepness=1.5)


def stored(path, histories):
    """A store of plays, a second between two of them."""
    store = EmbeddedStore(path)
    rows = [
        {"user": f"u{user:03}", "item": f"i{item:03}", "kind": "play", "at": NOW - 1000 + at}
        for user, history in enumerate(histories)
        for at, item in enumerate(history)
    ]
    store.apply(events(*rows))
    return store


NARROW = TableSettings(width=60, neighbours=40, dimensions=32)


def test_a_refresh_publishes_what_follows_what_beside_groups_of_users(tmp_path):
    home = Home(tmp_path / "home").create()
    histories = [history[: 6 + user % 7] for user, history in enumerate(walks(users=400))]
    with closing(stored(home.store, histories)) as store:
        release = refresh(store, home, RefreshConfig(preset="fast", table=NARROW), now=NOW)
    assert release.table.follows is not None
    assert release.segment_arrays["raw"].shape[1] != release.table.follows.neighbours.shape[1]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A release of the walks that reads what follows what, and its store."""
    folder = tmp_path_factory.mktemp("walks")
    with closing(stored(folder / "store.sqlite", walks(users=300))) as store:
        snapshot = take_snapshot(store)
    config = RefreshConfig(preset="fast")
    graph = weigh(snapshot, config.weighting, NOW)
    built = build(snapshot, graph, config, lambda _: None, choice=Choice(RECIPE))
    built = with_new_items(built, snapshot, graph, lambda _: None, 1)
    write(folder / "release", built, snapshot, config, now=NOW)
    return Recommender(open_release(folder / "release"))


def expected_scores(release, items, weights, newest):
    """(i,) both tables added up without compiled code."""
    sums = np.zeros(len(release.items))
    for item, weight, other in zip(items, weights, newest, strict=True):
        for table, factor in ((release.table, weight), (release.table.follows, other)):
            kept = table.neighbours[item] >= 0
            sums[table.neighbours[item][kept]] += factor * table.scores[item][kept]
    return sums


def test_a_release_ranks_by_both_tables_and_the_shares_of_reasons_are_exact(served):
    release = served.release
    later = np.arange(12)[::-1]  # of the twelve items of a history, in their order
    for row in (0, 7, 123):
        own = release.histories.span(row)
        items, weights = release.histories.indices[own], release.histories.values[own]
        newest = release.newest[own]
        by_age = np.argsort(release.history_times[own])
        assert newest[by_age] == pytest.approx(2 * (1.0 + later) ** -1.5)
        sums = expected_scores(release, items, weights, newest)
        sums[items] = 0
        answer = served.recommend([Request(user=release.users.id(row), n=5)], now=NOW)[0]
        ranking = served.rank_users(np.array([row]), 5, source="items")
        assert ranking.items[0].tolist() == np.argsort(-sums, kind="stable")[:5].tolist()
        assert ranking.scores[0] == pytest.approx(np.sort(sums)[::-1][:5], rel=1e-4)
        for shown in answer.items:
            item = release.items.row(shown.item)
            parts = contributions(release, item, items, weights, newest)
            assert parts.sum() == pytest.approx(sums[item], rel=1e-4)
            total = parts[parts > 0].sum()
            for reason in shown.reasons:
                at = items.tolist().index(release.items.row(reason.because))
                assert reason.share == pytest.approx(parts[at] / total, abs=1e-4)


def test_people_are_told_when_others_go_on_from_what_they_did(served):
    release = served.release
    texts = [
        reason.text
        for row in range(60)
        for shown in served.recommend([Request(user=release.users.id(row), n=3)], now=NOW)[0].items
        for reason in shown.reasons
        if reason.through == "next"
    ]
    assert len(texts) > 30
    assert all(
        re.fullmatch(r"because you played “i\d+”, from which people go on to it", text)
        for text in texts
    )


def following(item: str) -> str:
    """The next of its ring."""
    row = int(item[1:])
    return f"i{row // 30 * 30 + (row + 1) % 30:03}"


def test_a_session_is_read_from_its_newest_item(served):
    right = 0
    for item in range(ITEMS):
        session = {f"i{(item + 50) % ITEMS:03}": 0.9, f"i{item:03}": 1.0}
        first = served.recommend([Request(items=session, n=1)], now=NOW)[0].items[0].item
        right += first == following(f"i{item:03}")
    assert right > 0.9 * ITEMS
    release = served.release
    items = release.items.rows(["i003", "i070"])
    answer = served.recommend(
        [Request(items={"i003": 1.0, "i070": 1.0}, n=9, profile="neutral")], now=NOW
    )[0]
    share = 0.25 * (1 + 2**-1.5) / 2  # equal weights: a quarter of what places count on average
    sums = expected_scores(release, items, [0.5, 0.5], [share, share])
    sums[items] = 0
    assert release.items.rows([shown.item for shown in answer.items]).tolist() == (
        np.argsort(-sums, kind="stable")[:9].tolist()
    )


def test_items_of_unknown_order_count_a_quarter_of_their_places():
    worth = worth_of_session([0.5, 2, 0.5, 1], 1.0)
    assert worth == pytest.approx([(1 / 3 + 1 / 4) / 8, 1, (1 / 3 + 1 / 4) / 8, 1 / 2])
    for count in (1, 2, 7):
        alike = worth_of_session([0.7] * count, 1.5)
        assert alike == pytest.approx([worth_among(np.array([count]), 1.5)[0]] * count)
    assert len(worth_of_session([], 1.5)) == 0
    assert worth_among(np.array([0, 1]), 1.5).tolist() == [1, 1]


def test_a_newer_event_becomes_the_newest(served):
    release = served.release
    user, row = release.users.id(5), 5
    before = set(release.items.ids(release.histories.of(row)))
    item = next(i for i in release.items if i not in before and following(i) not in before)
    kinds = release.event_kinds
    at = np.array([(release.items.row(item), kinds.index("play"), np.nan, NOW + 5, 0)], EVENT)
    overlay = replace(served.overlay, users={user: LiveUser(at)})
    history = overlay.history(user)
    newest = dict(zip(release.items.ids(history.items), history.newest, strict=True))
    assert newest[item] == 2.0
    assert sorted(newest.values()) == pytest.approx(2 * (1.0 + np.arange(13))[::-1] ** -1.5)
    shown = Recommender(release, overlay).recommend([Request(user=user, n=3)], now=NOW)[0].items
    assert following(item) in [each.item for each in shown]
