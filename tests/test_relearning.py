"""Learning single targets anew gives what a fit of everything gives for them."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from embeddings.item_item.fitting import fit_table
from embeddings.item_item.item_table import ItemTable, replaced
from embeddings.item_item.recipe import RIDGE, Recipe, Scorer
from embeddings.item_item.relearning import folded, relearned
from embeddings.item_item.scorers import Feature, Fitted
from embeddings.singular import Spectral

ITEMS = 60
SPECTRUM = Scorer("spectral", 0.5, 0.5, 1.0, 16)
RECIPE = Recipe(
    ((RIDGE, 1.0),),
    popularity_exponent=0.05,
    history_exponent=-0.1,
    support_width=2 * ITEMS,  # nothing is cut off
    table_width=ITEMS,
    ridge_width=ITEMS,
)
MIXED = replace(RECIPE, weights=((RIDGE, 1.0), (Scorer("cosine", 0.5, 0.5), 0.3), (SPECTRUM, 0.4)))


@pytest.fixture(scope="module")
def users():
    """(300, 60) users of six niches, who stray now and then; drawn with seed 0."""
    rng = np.random.default_rng(0)
    niches = rng.integers(0, 6, 300)
    chance = np.where(niches[:, None] == np.arange(ITEMS) % 6, 0.4, 0.03)
    return sparse.csr_matrix((rng.random(chance.shape) < chance).astype(np.float32))


def fitted(users, recipe):
    return fit_table(users, (), recipe, seed=0, threads=1)


def again(users, recipe, last, changed, fresh=()):
    table, _, learned = last
    flags = np.zeros((2, ITEMS), bool)
    flags[0, list(changed)] = True
    flags[1, list(fresh)] = True
    model = Fitted(users, (), recipe, 0, 1, ())
    return relearned(table, learned, model, recipe, flags[0], flags[1], 1)


def square(table):
    """(i, i) the table as a matrix of history items and targets."""
    matrix = np.zeros((ITEMS, ITEMS))
    rows, columns = np.nonzero(table.neighbours >= 0)
    matrix[rows, table.neighbours[rows, columns]] = table.scores[rows, columns]
    return matrix


def test_the_same_data_gives_the_same_table(users):
    """Every third target, and all of them, by three kinds of scorers at once."""
    last = fitted(users, MIXED)
    expected = square(last[0])
    for changed in (range(0, ITEMS, 3), range(ITEMS)):
        table, settled, _ = again(users, MIXED, last, changed)
        assert np.abs(square(table) - expected).max() < 0.01 * np.abs(expected).max()
        assert np.abs(settled.item_vectors - last[1].item_vectors).max() < 1e-3


def test_changed_targets_are_those_of_a_whole_fit_and_others_stay(users):
    """The spread of all scores is that of the last fit: it is the only difference."""
    last = fitted(users, RECIPE)
    more = sparse.lil_matrix(users)
    more[:40, [7, 20]] = 1
    more = sparse.csr_matrix(more)
    table, _, _ = again(more, RECIPE, last, [7, 20])
    whole, own, before = square(fitted(more, RECIPE)[0]), square(table), square(last[0])
    ratio = (own[:, [7, 20]] / np.where(whole[:, [7, 20]], whole[:, [7, 20]], np.nan)).ravel()
    ratio = ratio[~np.isnan(ratio)]
    assert len(ratio) > 100
    assert ratio == pytest.approx(np.median(ratio), rel=1e-3)
    others = np.setdiff1d(np.arange(ITEMS), [7, 20])
    assert (own[:, others] == before[:, others]).all()
    assert np.abs(own[:, [7, 20]] - before[:, [7, 20]]).max() > 0.1 * np.abs(before).max()


def test_a_row_of_a_new_item_is_read_from_its_own_regression(users):
    """Close to what a whole fit learns; before, the row was empty."""
    last = fitted(users, MIXED)
    expected = square(last[0])
    neighbours, scores = last[0].neighbours.copy(), last[0].scores.copy()
    gone = neighbours == 5
    gone[5] = True
    neighbours[gone], scores[gone] = -1, 0
    order = np.argsort(neighbours < 0, axis=1, kind="stable")
    without = ItemTable(*(np.take_along_axis(part, order, 1) for part in (neighbours, scores)))
    rows = np.arange(ITEMS)
    rows[5] = -1
    learned = last[2].by_rows(rows)
    own = square(again(users, MIXED, (without, None, learned), [5], [5])[0])
    assert np.corrcoef(own[5], expected[5])[0, 1] > 0.95
    assert np.corrcoef(own[:, 5], expected[:, 5])[0, 1] > 0.95
    assert np.abs(own[5]).sum() == pytest.approx(np.abs(expected[5]).sum(), rel=0.2)


def test_an_item_that_nobody_has_is_learned_anew_by_its_tags(users):
    """Whatever was put into the table for it: the release holds what it was placed with."""
    nobody_has_5 = users.tolil()
    nobody_has_5[:, 5] = 0
    known = sparse.csr_matrix(nobody_has_5)
    of_niche = np.arange(6)[:, None] == np.arange(ITEMS) % 6
    tags = Feature("tags", sparse.csr_matrix(of_niche, dtype=np.float32))
    recipe = replace(MIXED, feature_weights=(2.0,))
    table, _, learned = fit_table(known, (tags,), recipe, seed=0, threads=1)
    expected = square(table)
    assert np.count_nonzero(expected[:, 5]) > 10
    for placed in (0.0, 100.0):
        last = ItemTable(
            table.neighbours, np.where(table.neighbours == 5, np.float32(placed), table.scores)
        )
        model = Fitted(known, (tags,), recipe, 0, 1, ())
        nothing = np.zeros(ITEMS, bool)
        own = square(relearned(last, learned, model, recipe, nothing, nothing, 1)[0])
        assert np.abs(own - expected).max() < 0.01 * np.abs(expected).max()


def test_folding_in_finds_a_vector_again_from_the_others():
    """Two items that the same two users have: v = (√½, √½), s = 2, and each is half of s²."""
    shared = Fitted(sparse.csr_matrix([[1.0, 1, 0], [1, 1, 0]]), (), RECIPE, 0, 1, ())
    graph = shared.graph(0.0, 0.0)
    for stale in (0.0, 0.3, 9.0):  # what was there before does not matter
        vectors = np.array([[0.5**0.5], [stale], [0.0]], np.float32)
        last = Spectral(vectors, np.array([2.0], np.float32))
        own = folded(graph, last, np.array([1]), 1).item_vectors.ravel()
        assert own == pytest.approx([0.5**0.5, 0.5**0.5, 0.0])
        weak = Spectral(vectors, np.array([1.9], np.float32))
        assert folded(graph, weak, np.array([1]), 1).item_vectors[1] == 0


def test_ten_steps_end_near_a_whole_fit(users):
    """Half of the items are rare; of their pairs most come while only what changed is learned."""
    rng = np.random.default_rng(1)
    entries = users.tocoo()
    rare = (entries.col % 2 == 1) & (rng.random(users.nnz) < 0.9)
    kept = ~rare | (rng.random(users.nnz) < 0.1)
    own = sparse.csr_matrix((entries.data, (entries.row, entries.col)), shape=users.shape)
    step = np.where(kept & (rng.random(users.nnz) < 0.9), 0, rng.integers(1, 11, users.nnz))

    def upto(number):
        there = step <= number
        places = entries.row[there], entries.col[there]
        return sparse.csr_matrix((entries.data[there], places), shape=users.shape)

    before = upto(0)
    last, pending = fitted(before, MIXED), np.zeros(ITEMS, int)
    for number in range(1, 11):
        now = upto(number)
        counts = now.getnnz(axis=0)
        pending += counts - before.getnnz(axis=0)
        changed = (pending > 0) & (pending >= 0.05 * counts)
        fresh = changed & (pending >= 0.5 * counts)
        last = again(now, MIXED, last, np.flatnonzero(changed), np.flatnonzero(fresh))
        pending[changed], before = 0, now
    assert (before != own).nnz == 0
    whole = square(fitted(before, MIXED)[0])
    assert np.corrcoef(square(last[0]).ravel(), whole.ravel())[0, 1] > 0.9
    assert np.abs(square(last[0])).max() < 2 * np.abs(whole).max()


def test_recipes_that_cannot_learn_one_target_alone_leave_nothing(users):
    for weights in (((Scorer("exact"), 1.0),), ((Scorer("popularity"), 1.0),)):
        recipe = replace(RECIPE, weights=weights)
        assert fitted(users, recipe)[2] is None


def test_replaced_entries_stand_in_order_and_the_weakest_go():
    table = ItemTable(np.array([[1, 2, -1], [0, 2, -1]], np.int32),
                      np.array([[3, -2, 0], [5, 1, 0]], np.float32))  # fmt: skip
    new = sparse.csr_matrix(([-4.0, 0.5], ([0, 0], [2, 3])), shape=(2, 4), dtype=np.float32)
    kept = np.array([[True, False, False], [True, True, False]])
    both = replaced(table, kept, new, 2)
    assert both.neighbours.tolist() == [[2, 1], [0, 2]]
    assert both.scores.tolist() == [[-4, 3], [5, 1]]
