"""What lately happened weighs more in a history, as far as it helps to find what came last."""

from contextlib import closing

import numpy as np
import pytest
from scipy import sparse

from embeddings.hold_out import hold_back
from embeddings.item_item.blend import build_item_table
from embeddings.item_item.by_order import judged
from embeddings.item_item.held_back import HeldBack
from embeddings.item_item.recency import (
    CLEARLY,
    Way,
    order_of,
    order_tells,
    recency_judge,
    shuffled,
    weighed,
)
from embeddings.item_item.side_by_side import Targets
from graph.errors import InputError
from graph.model import NO_TIME
from graph.snapshot import take_snapshot
from graph.stores.embedded_store import EmbeddedStore
from graph.weighting import weigh
from loaders.format import Options
from loaders.ingest import read_tables
from recommender.learning.build import RefreshConfig, build
from tests.store_contract import events

NOW = 1_760_000_000


def matrix(rows: list[list[float]]) -> sparse.csr_matrix:
    return sparse.csr_matrix(np.array(rows, np.float32))


def test_the_order_counts_what_came_earlier_and_moments_are_shared():
    likes = matrix([[1, 1, 1, 1], [0, 2, 0, 2], [0, 0, 0, 0]])
    at = np.array([50, 10, 50, NO_TIME, 7, 3], np.int64)
    assert order_of(likes, at).toarray().tolist() == [[3, 2, 3, 1], [0, 2, 0, 1], [0, 0, 0, 0]]


def test_weights_fall_with_the_number_of_later_entries():
    likes = matrix([[1, 1, 2, 1]])
    order = matrix([[3, 2, 3, 1]])
    # Two are the last; two came after the second, three after the first.
    expected = [1, 3**-0.5, 2, 4**-0.5]
    np.testing.assert_allclose(weighed(likes, order, 0.5).toarray()[0], expected, rtol=1e-6)
    assert (weighed(likes, order, 0.0) != likes).nnz == 0
    part = matrix([[1, 0, 0, 1]])  # of a part only what is in it counts
    np.testing.assert_allclose(weighed(part, order, 1.0).toarray()[0], [1, 0, 0, 0.5])


def test_a_shuffled_order_has_the_same_entries_and_moments():
    order = order_of(matrix([[1, 1, 1, 0], [1, 0, 1, 1]]), np.array([3, 1, 1, 9, 8, 7]))
    drawn = [shuffled(order, seed) for seed in range(20)]
    for draw in drawn:
        assert (draw.sign() != order.sign()).nnz == 0
        assert [sorted(row) for row in draw.toarray().tolist()] == [[0, 1, 1, 3], [0, 1, 2, 3]]
    assert len({tuple(draw.data) for draw in drawn}) > 5


def test_an_order_tells_only_what_its_shuffles_do_not():
    assert order_tells(1.03 + CLEARLY, [1.02, 1.03])
    assert not order_tells(1.02 + CLEARLY, [1.02, 1.03])
    assert not order_tells(0.9, [1.0, 1.0])


def test_nothing_that_is_asked_for_changes_the_inputs():
    likes, at = matrix([[1, 1, 0, 1, 1]]), np.array([4, 3, 2, 1], np.int64)
    order = order_of(likes, at)
    before = likes.copy(), order.copy()
    weighed(likes, order, 0.5)
    build_item_table(likes, held=HeldBack(hold_back(likes, 0)[1], order=order))
    assert (likes != before[0]).nnz == (order != before[1]).nnz == 0


def test_what_comes_next_is_judged_with_everything_known_before_it():
    """The tenth item of a history goes with the ninth, which the cut at four fifths leaves out."""
    users, items = 30, 40
    order = sparse.csr_matrix(np.tile(np.r_[np.arange(1, 11), np.zeros(30)], (users, 1)))
    order = sparse.csr_matrix(order, dtype=np.float32)
    held = sparse.csr_matrix(order.multiply(order == 10).sign(), dtype=np.float32)
    fit = sparse.csr_matrix(order.sign() - held)
    fit.eliminate_zeros()
    judge = recency_judge(fit, held, order, users, 0, 1)
    supports = np.full((items, 1), -1, np.int32)
    supports[8] = 9  # nothing but the ninth speaks for the tenth
    targets = Targets.of(np.arange(items, dtype=np.int32), supports, items)
    scores = np.ones((items, 1), np.float32)
    (by_cut,) = judge(targets, scores, [Way(0.3)])
    assert [figures.tolist() for figures in by_cut] == [[[0.0, 0.0]] * users, [[1.0, 1.0]] * users]


def test_everybody_who_is_asked_counts_the_same():
    """Ten people at the one cut and thirty at the other; a quarter of the whole is found."""

    def judge(*_):
        return [[np.ones((10, 2)), np.zeros((30, 2))], [np.zeros((10, 2)), np.ones((30, 2))]]

    findings = judged([judge], [(None, None)], [Way(0.0), Way(0.3)])
    assert [way.quality for way in findings] == [(0.25, 0.25), (0.75, 0.75)]


def walkers(moved: bool) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """1,200 users: 15 items of one niche of 25, and 8 of another; if `moved`, these came later."""
    rng = np.random.default_rng(5)
    likes = np.zeros((1200, 150), np.float32)
    at = np.zeros((1200, 150), np.int64)
    for user in range(1200):
        first, other = rng.choice(6, 2, replace=False)
        visits = np.concatenate(
            [25 * first + rng.permutation(25)[:15], 25 * other + rng.permutation(25)[:8]]
        )
        likes[user, visits] = 1
        at[user, visits if moved else rng.permutation(visits)] = np.arange(1, 24)
    users = sparse.csr_matrix(likes)
    return users, order_of(users, at[likes > 0])


@pytest.mark.parametrize(("moved", "recent"), [(True, True), (False, False)])
def test_recency_is_taken_up_where_tastes_move_and_left_where_they_do_not(moved, recent):
    users, order = walkers(moved)
    _, _, report = build_item_table(
        users, preset="fast", held=HeldBack(hold_back(users, 1)[1], order=order)
    )
    assert "recency +0.1" in report.tried
    result = report.recipe.recency_exponent
    assert result >= 0.75 if recent else result == 0  # not even a little: shuffled it does as well
    assert report.as_json()["recency_exponent"] == result


@pytest.mark.parametrize("dated", [True, False])
def test_a_release_weighs_histories_only_where_most_events_have_a_time(dated, tmp_path):
    users, order = walkers(moved=True)
    rows = users.tocoo()
    at = np.asarray(order[rows.row, rows.col]).ravel().astype(int) + 1_700_000_000
    outcome = [
        {"user": f"u{user:04}", "item": f"i{item:03}"}
        | ({"at": int(when)} if dated or user < 600 else {})
        for user, item, when in zip(rows.row, rows.col, at, strict=True)
    ]
    with closing(EmbeddedStore(tmp_path / "store.sqlite")) as store:
        store.apply(events(*outcome))
        snapshot = take_snapshot(store)
    config = RefreshConfig(preset="fast")
    made = build(snapshot, weigh(snapshot, config.weighting, NOW), config, lambda _: None)
    weights = made.arrays["histories.values"].reshape(1200, 23)
    if dated:
        assert made.manifest["item_table"]["recency_exponent"] > 0
        assert (weights.max(axis=1) == 1).all()
        assert (weights.min(axis=1) <= 23**-0.3).all()
    else:
        assert (weights == 1).all()
    counts = np.asarray(users.sum(axis=0)).ravel()
    assert (made.arrays["popularity"] == counts[counts > 0]).all()  # who is recent, not what


def test_the_order_of_a_list_stands_for_time_and_its_test_part_comes_later(tmp_path):
    (tmp_path / "train.txt").write_text("0 7 3 5\n1 3 9\n")
    (tmp_path / "test.txt").write_text("0 1 2\n1 4\n")
    undated, _ = read_tables([tmp_path], "lightgcn", now=NOW)
    assert undated["events"]["at"].null_count == 8  # unless it is said, an order is none
    ordered = Options(ordered=True)
    tables, rejects = read_tables([tmp_path], "lightgcn", now=NOW, options=ordered)
    assert not rejects
    events = sorted(tables["events"].to_pylist(), key=lambda event: event["at"])
    visits = {user: [e["item"] for e in events if e["user"] == user] for user in ("0", "1")}
    assert visits == {"0": ["7", "3", "5", "1", "2"], "1": ["3", "9", "4"]}


@pytest.mark.parametrize(("form", "name"), [("lightgcn", "train.txt"), ("table", "events.csv")])
def test_lists_sorted_by_id_are_no_order_of_time(form, name, tmp_path):
    rng = np.random.default_rng(0)
    visits = {user: sorted(rng.choice(99, 9, replace=False).tolist()) for user in range(9)}
    lists = "".join(f"{user} {' '.join(map(str, items))}\n" for user, items in visits.items())
    rows = "".join(f"{user},{item}\n" for user, items in visits.items() for item in items)
    (tmp_path / name).write_text(lists if form == "lightgcn" else "user,item\n" + rows)
    assert read_tables([tmp_path / name], form, now=NOW)[0]["events"]["at"].null_count == 81
    with pytest.raises(InputError, match="sorted by their ids.*leave out --ordered"):
        read_tables([tmp_path / name], form, now=NOW, options=Options(ordered=True))


def test_the_order_of_rows_is_time_where_that_is_said(tmp_path):
    (tmp_path / "events.csv").write_text("user,item\na,x\nb,z\na,y\n")
    ordered = Options(ordered=True)
    tables, _ = read_tables([tmp_path / "events.csv"], "table", now=NOW, options=ordered)
    at = {row["item"]: row["at"] for row in tables["events"].to_pylist()}
    assert at["x"] < at["z"] < at["y"]
