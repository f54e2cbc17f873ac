"""What follows what: a planted order is found and told exactly, a shuffled one changes nothing."""

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
from embeddings.item_item.side_by_side import score_weightings

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
        (int(row), int(table.neighbours[row, place])): float(table.scores[row, place])
        for row, place in zip(rows, places, strict=True)
    }


def test_pairs_count_by_the_steps_between_them_and_only_forwards():
    users, order = in_order([[0, 1, 2], [0, 2], [3]], 4)
    found = counted(follow_table(users, order, width=3))
    # 0 is followed by 1 (a step) and by 2 (two steps, and one); 1 by 2.
    plain = {(0, 1): 1 / 2.5**DAMPING, (0, 2): 1.5 / 2.5**DAMPING, (1, 2): 1.0}
    size = np.sqrt(sum(value**2 for value in plain.values()) / 12)
    assert found.keys() == plain.keys()
    for pair, value in plain.items():
        assert found[pair] == pytest.approx(value / size)


def test_entries_of_a_moment_do_not_follow_each_other_and_a_bulk_says_nothing():
    users, order = in_order([[0, 1, 2]], 3)
    order.data[:] = [1, 1, 3]  # 0 and 1 in the same moment, 2 after both
    found = counted(follow_table(users, order))
    assert found.keys() == {(0, 2), (1, 2)}
    assert found[0, 2] == found[1, 2]
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
    top = score_weightings(
        near, worth, users, weights, 5, follows=ItemTable(after, worth_after), newest=newest
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
