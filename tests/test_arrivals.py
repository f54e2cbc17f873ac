"""Items that came after a release find the same places many at a time as they do one by one."""

import numpy as np
import pytest

from embeddings.item_item.item_table import ItemTable
from embeddings.item_item.likeness import DAMPING, OWN, SHARPNESS, WORTH
from recommender.ranking.filters import Filters
from recommender.ranking.request import NewItem
from recommender.releases.arrivals import HALF, NEAREST, WIDTH, Arrivals, placed_rows
from recommender.serving.new_items import NewItems

ITEMS = 300


@pytest.fixture(scope="module")
def table():
    """Rows of 0 to 20 items, padded."""
    rng = np.random.default_rng(3)
    neighbours = np.full((ITEMS, 20), -1, np.int32)
    scores = np.zeros((ITEMS, 20), np.float32)
    for row in range(ITEMS):
        width = rng.integers(0, 21)
        neighbours[row, :width] = rng.choice(ITEMS, width, replace=False)
        scores[row, :width] = -np.sort(-rng.random(width))
    return ItemTable(neighbours, scores)


def by_hand(table, near, likeness, people):
    """The scores of one new item with every item, in full."""
    dense = np.zeros((ITEMS, ITEMS))
    for row in range(ITEMS):
        known = table.neighbours[row] >= 0
        dense[row, table.neighbours[row][known]] = table.scores[row][known]
    worth = 1 - (1 - WORTH) * HALF / (HALF + people)
    like = np.where(likeness > 0, likeness, 0) ** SHARPNESS
    sums = np.zeros(ITEMS)
    for row, share in zip(near, like, strict=True):
        sums += share * dense[row]
        sums[row] += share * OWN * dense[row].max()
    return sums * worth * like.sum() ** -DAMPING if like.any() else sums


@pytest.mark.parametrize("nearest", [NEAREST, 10], ids=["all are looked at", "few are touched"])
def test_a_new_item_speaks_for_what_items_like_it_speak_for(table, nearest):
    rng = np.random.default_rng(5)
    near = np.stack([rng.permutation(ITEMS)[:nearest] for _ in range(6)]).astype(np.int32)
    likeness = -np.sort(-rng.uniform(-0.2, 1, near.shape).astype(np.float32), axis=1)
    likeness[3] = 0  # like nothing
    people = np.array([0, 1, 8, 2, 1000, 0])
    rows, scores = placed_rows(table, near, likeness, people)
    assert rows.shape == scores.shape == (6, WIDTH)
    for number in range(6):
        expected = by_hand(table, near[number], likeness[number].astype(np.float64), people[number])
        best = np.argsort(-expected, kind="stable")[:WIDTH]
        best = best[expected[best] > 0]
        assert rows[number, : len(best)].tolist() == best.tolist()
        assert (rows[number, len(best) :] == -1).all()
        np.testing.assert_allclose(scores[number, : len(best)], expected[best], rtol=1e-5)
    assert (rows[3] == -1).all()


def test_places_that_are_changed_or_come_later_are_those_of_all_at_once():
    def row_of(*items):
        return np.array(items, np.int32), np.arange(1, len(items) + 1).astype(np.float32)

    at_once = Arrivals.of(10, {10: row_of(3, 1), 12: row_of(1, 2, 0), 13: row_of(9)}, 4)
    first = Arrivals.of(10, {10: row_of(7, 8, 9), 12: row_of(1, 2, 0)}, 3)
    rows, scores = np.array([[3, 1], [9, -1]], np.int32), np.array([[1, 2], [1, 0]], np.float32)
    later = first.with_(np.array([10, 13]), rows, scores, 4)
    for array, other in zip(later.arrays, at_once.arrays, strict=True):
        np.testing.assert_array_equal(array, other)
    assert first.neighbours[0].tolist() == [7, 8, 9]  # it is as it was


def test_many_items_are_located_as_each_of_them_alone(recommender):
    release = recommender.release
    card, other = release.card(5), release.card(90)
    domain = release.domains.id(0)
    items = [
        NewItem(title=card["title"], tags=tuple(card["tags"])),
        NewItem(tags=("nobody knows it",), title="zzz"),
        NewItem(tags=(*other["tags"], other["tags"][0].upper()), domains=(domain, "unknown")),
        NewItem(title=other["title"]),
    ]
    filters = Filters(release)
    alone = [NewItems(release, filters).locate(item) for item in items]
    together = NewItems(release, filters).locate_many(items)
    assert {name: numbers.tolist() for name, (numbers, _) in together.items()} == {
        name: [n for n, item in enumerate(alone) if item.source == name] for name in together
    }
    assert alone[1].source is None and alone[0].source is not None
    for source, (numbers, vectors) in together.items():
        for number, vector in zip(numbers.tolist(), vectors, strict=True):
            np.testing.assert_allclose(vector, alone[number].vector(source), atol=1e-5)
        near, likeness = NewItems(release, filters).nearest_many(source, vectors, 7)
        known = release.vectors[source]
        cosines = vectors @ (known / np.linalg.norm(known, axis=1, keepdims=True)).T
        np.testing.assert_allclose(likeness, -np.sort(-cosines, axis=1)[:, :7], atol=1e-5)
        np.testing.assert_allclose(
            np.take_along_axis(cosines, near.astype(np.int64), axis=1), likeness, atol=1e-5
        )
