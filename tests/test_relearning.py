"""Learning single targets anew gives what a fit of everything gives for them."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from embeddings.item_item.fitting import fit_table
from embeddings.item_item.item_table import ItemTable, replaced
from embeddings.item_item.recipe import RIDGE, Recipe, Scorer
from embeddings.item_item.relearning import folded, relearned
from embeddings.item_item.scorers import Fitted
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


def test_folding_in_finds_the_singular_vectors_again(users):
    """Of a diagonal matrix they are the unit vectors."""
    graph = Fitted(sparse.csr_matrix(np.diag([1.0, 1, 1])), (), RECIPE, 0, 1, ()).graph(0.0, 0.0)
    known = Spectral(np.eye(3, dtype=np.float32), np.ones(3, np.float32))
    lost = Spectral(np.diag([1, 0.3, 1]).astype(np.float32), known.values)
    assert folded(graph, lost, np.array([0, 2]), 1).item_vectors == pytest.approx(lost.item_vectors)
    half = folded(graph, lost, np.array([1]), 1).item_vectors
    assert half == pytest.approx(lost.item_vectors)  # x'XV of its own vector alone
    shared = Fitted(sparse.csr_matrix([[1.0, 1, 0], [1, 1, 0]]), (), RECIPE, 0, 1, ())
    graph = shared.graph(0.0, 0.0)
    first = Spectral(np.array([[0.5**0.5], [0.0], [0.0]], np.float32), np.array([2.0], np.float32))
    # Item 1 is in the same rows as item 0: 2 · √½ / 2² of it at once.
    assert folded(graph, first, np.array([1]), 1).item_vectors.ravel() == pytest.approx(
        [0.5**0.5, 0.5**1.5, 0.0]
    )


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
