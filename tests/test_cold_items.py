"""Items that nobody touched get into the table by their tags and title words."""

import tracemalloc

import numpy as np
import pytest
from scipy import sparse

from embeddings.indexes import faiss_index
from embeddings.item_item import cold_items, scorers
from embeddings.item_item.cold_items import content, with_cold_items
from embeddings.item_item.item_table import ItemTable, score_history
from recommender.releases.item_words import item_words
from tests.planted import niches


def table_of(user_items):
    """Every pair of items by the number of users they share."""
    common = np.asarray((user_items.T @ user_items).todense(), np.float32)
    np.fill_diagonal(common, 0)
    order = np.argsort(-common, axis=1, kind="stable").astype(np.int32)
    scores = np.take_along_axis(common, order, axis=1)
    return ItemTable(np.where(scores > 0, order, -1).astype(np.int32), scores)


def without(graph, cold):
    kept = graph.user_items.copy().tolil()
    kept[:, cold] = 0
    return sparse.csr_matrix(kept.tocsr())


def test_a_history_finds_the_cold_items_of_its_niche_and_keeps_the_others():
    graph, niche = niches()
    cold = np.arange(0, len(niche), 9)
    known = without(graph, cold)
    before = table_of(known)
    words = sparse.csr_matrix((len(niche), 0), dtype=np.float32)
    after = with_cold_items(before, content(graph.item_tags, words), cold)
    for item in np.setdiff1d(np.arange(len(niche)), cold):
        mine = after.neighbours[item]
        mine = mine[mine >= 0]
        fresh = mine[np.isin(mine, cold)]
        assert set(fresh[:1].tolist()) <= set(cold[niche[cold] == niche[item]].tolist())
        assert set(mine) - set(cold) == set(before.neighbours[item]) - {-1}
    histories = sparse.csr_matrix(known[:20])
    result, _ = score_history(after, histories.indptr, histories.indices, histories.data, 90)
    for user in range(20):
        best = [row for row in result[user] if row in cold][:1]
        assert [niche[row] for row in best] == [0]


def test_the_more_items_are_cold_the_less_each_is_worth():
    """Two warm items, of which one speaks for the other with 5, and cold ones just like the first.

    A quarter of 5, and of twice the 5 that the first has for its strongest: as long as no more
    items are cold than warm. With eight of them, a quarter of that.
    """
    for count, share in ((1, 1.0), (2, 1.0), (8, 0.25)):
        features = sparse.csr_matrix(np.eye(2, dtype=np.float32)[[0, 1] + [0] * count])
        neighbours = np.full((2 + count, 1), -1, np.int32)
        neighbours[:2, 0] = [1, 0]
        warm = ItemTable(neighbours, np.where(neighbours >= 0, 5, 0).astype(np.float32))
        after = with_cold_items(warm, features, np.arange(2, 2 + count))
        for item, expected in ((0, 2.5), (1, 1.25)):
            of_cold = after.scores[item][after.neighbours[item] >= 2]
            np.testing.assert_allclose(of_cold, [expected * share] * count, rtol=1e-6)
            assert after.scores[item][after.neighbours[item] == 1 - item] == 5


def test_neither_blocks_nor_the_order_of_the_cold_items_change_a_byte(monkeypatch):
    graph, niche = niches()
    cold = np.arange(0, len(niche), 9)
    features = content(graph.item_tags, sparse.csr_matrix((len(niche), 0), dtype=np.float32))
    table = table_of(without(graph, cold))
    whole = with_cold_items(table, features, cold)
    monkeypatch.setattr(cold_items, "_ROWS_AT_ONCE", 7)
    again = with_cold_items(table, features, cold[::-1])
    assert again.neighbours.tobytes() == whole.neighbours.tobytes()
    assert again.scores.tobytes() == whole.scores.tobytes()


def test_scores_are_the_sums_that_the_docstring_states():
    tags = sparse.csr_matrix(np.array([[1, 0], [1, 0], [0, 1], [1, 0]], np.float32))
    table = ItemTable(
        np.array([[1, 2], [0, -1], [0, -1], [-1, -1]], np.int32),
        np.array([[4, -1], [3, 0], [2, 0], [0, 0]], np.float32),
    )
    made = with_cold_items(table, content(tags, 0 * tags), np.array([3]))
    likeness = 0.25 * 2**-0.8  # two items like it, cosine 1 each; cold items are worth a quarter
    entries = dict(zip(made.neighbours[0].tolist(), made.scores[0].tolist(), strict=True))
    np.testing.assert_allclose(entries[3], likeness * (4 + 2.0 * 4), rtol=1e-5)
    assert (entries[1], entries[2]) == (4, -1)
    assert made.neighbours[3].tolist()[0] == -1


def test_half_of_what_the_table_knows_of_a_cold_item_is_added():
    """Items 3 and 4 are cold and alike; of 3 the table says something in rows 0 and 2."""
    tags = sparse.csr_matrix(np.array([[1, 0], [1, 0], [0, 1], [1, 0], [1, 0]], np.float32))
    nobody = [-1, -1, -1]
    table = ItemTable(
        np.array([[3, 1, 2], [0, -1, -1], [3, 0, -1], nobody, nobody], np.int32),
        np.array([[6, 4, -1], [3, 0, 0], [-9, 2, 0], [0, 0, 0], [0, 0, 0]], np.float32),
    )
    made = with_cold_items(table, content(tags, 0 * tags), np.array([3, 4]))
    rows = [
        dict(zip(neighbours, scores, strict=True))
        for neighbours, scores in zip(made.neighbours.tolist(), made.scores.tolist(), strict=True)
    ]
    likeness = 0.25 * 2**-0.8  # see the test before; 4 is the strongest beside cold ones
    assert rows[0][4] == pytest.approx(likeness * (4 + 2 * 4), rel=1e-5)
    assert rows[0][3] == pytest.approx(6 / 2 + rows[0][4], rel=1e-5)
    assert rows[1][3] == pytest.approx(rows[1][4], rel=1e-5)  # this row says nothing of it
    assert 3 not in rows[2]  # -9 / 2, and less is added: nothing speaks against a cold item
    assert (rows[0][1], rows[0][2], rows[1][0], rows[2][0]) == (4, -1, 3, 2)


def test_without_cold_items_or_content_the_table_stays():
    graph, _ = niches()
    table = table_of(graph.user_items)
    nothing = sparse.csr_matrix((90, 0), dtype=np.float32)
    assert with_cold_items(table, content(graph.item_tags, nothing), np.array([], int)) is table
    assert with_cold_items(table, content(nothing, nothing), np.array([3])) is table


def test_words_of_titles_are_those_that_tell_items_apart():
    titles = [f"The Tin Lichen, part {'abcdefghij'[k]}" for k in range(10)]
    titles += ["Café 1984", "CAFÉ 1984 again", "", "x y"] + [f"single{k}" for k in range(86)]
    words, names = item_words((title, ()) for title in titles)
    assert names == ["the", "tin", "lichen", "part", "café", "1984"]  # the first on 10 of 100
    assert words.shape == (100, 6)
    assert words[10].toarray().tolist() == words[11].toarray().tolist()
    assert words[12].nnz == words[13].nnz == 0
    assert item_words([])[0].shape == (0, 0)


def test_vectors_speak_for_the_cold_items_that_likeness_cannot_tell_apart():
    # All four items are alike; 0 and 1 are warm; vectors put 2 beside 0 and 3 beside 1.
    alike = sparse.csr_matrix(np.ones((4, 1), np.float32))
    table = ItemTable(
        np.array([[1], [0], [-1], [-1]], np.int32), np.array([[1], [1], [0], [0]], np.float32)
    )
    histories = np.array([[1, 0], [0, 1], [0, 0], [0, 0]], np.float32)
    placed = np.array([[0, 1], [1, 0]], np.float32)
    made = with_cold_items(table, alike, np.array([3, 2]), (histories, placed))
    first = {
        item: next(n for n in made.neighbours[item].tolist() if n in (2, 3)) for item in (0, 1)
    }
    assert first == {0: 2, 1: 3}


def test_where_a_catalogue_is_large_proposed_cold_items_are_nearly_the_nearest(monkeypatch):
    graph, niche = niches()
    cold = np.arange(0, len(niche), 3)
    features = content(graph.item_tags, sparse.csr_matrix((len(niche), 0), dtype=np.float32))
    table = table_of(without(graph, cold))
    vectors = np.random.default_rng(1).normal(size=(len(niche), 8)).astype(np.float32)
    vectors += 2 * np.eye(8)[niche].astype(np.float32)
    exact = with_cold_items(table, features, cold, (vectors, vectors[cold]))
    monkeypatch.setattr(scorers, "QUADRATIC_ITEMS", 50)
    monkeypatch.setattr(scorers.gf, "vector_supports", lambda *_a, **_k: 1 / 0)
    result = with_cold_items(table, features, cold, (vectors, vectors[cold]))
    same = [
        len(np.intersect1d(a, b)) for a, b in zip(exact.neighbours, result.neighbours, strict=True)
    ]
    assert np.mean(same) >= 0.98 * (exact.neighbours >= 0).sum(axis=1).mean()


def test_of_what_most_items_carry_an_even_part_is_looked_at(monkeypatch):
    monkeypatch.setattr(cold_items, "MOST_CARRIERS", 10)
    tags = sparse.csr_matrix(np.array([[1, 0]] * 90 + [[0, 0]] * 10 + [[1, 1]] * 4, np.float32))
    before = table_of(sparse.csr_matrix(np.tile([1.0] * 103 + [0.0], (3, 1))))
    made = with_cold_items(before, content(tags, 0 * tags), np.array([103]))
    rows = np.flatnonzero((made.neighbours == 103).any(axis=1))
    assert len(rows) == 103  # all speak for it, through those that are like it
    like = cold_items.likeness(content(tags, 0 * tags), np.array([103]), np.arange(104) < 103)
    stand = np.flatnonzero(like.toarray()[:, 103])
    assert set(range(100, 103)) <= set(stand)  # of the rare tag all are looked at
    common = stand[stand < 100]
    assert 5 <= len(common) <= 10 and common.max() - common.min() > 50


def test_little_more_is_held_than_the_table_itself(monkeypatch):
    rng = np.random.default_rng(0)
    items, width = 5_000, 100
    monkeypatch.setattr(scorers, "QUADRATIC_ITEMS", 500)  # as in a large catalogue
    monkeypatch.setattr(cold_items, "_ROWS_AT_ONCE", 100)
    monkeypatch.setattr(faiss_index, "ROWS_AT_ONCE", 500)
    neighbours = np.argsort(rng.random((items, items), np.float32), axis=1)[:, :width]
    table = ItemTable(neighbours.astype(np.int32), rng.random((items, width), np.float32))
    tags = sparse.random(items, 200, 0.02, "csr", np.float32, random_state=1)
    features, cold = content(tags, 0 * tags), np.arange(150)
    vectors = rng.random((items, 16), np.float32)
    arguments = table, features, cold, (vectors, vectors[cold])
    with_cold_items(*arguments)  # whatever is not yet compiled
    tracemalloc.start()
    made = with_cold_items(*arguments)
    _, held = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert made.neighbours.shape[1] > 1.9 * width
    # The wider table, and a copy of one of its halves or the nearest cold items of all.
    allowed = 2.4 * (made.neighbours.nbytes + made.scores.nbytes)
    assert held < allowed
