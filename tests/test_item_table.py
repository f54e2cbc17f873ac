"""The item table scores histories exactly, explains itself, and is blended by validation."""

import numpy as np
import pytest
from scipy import sparse

from embeddings.hold_out import hold_back
from embeddings.item_item.blend import build_item_table
from embeddings.item_item.held_back import HeldBack
from embeddings.item_item.item_table import (
    ItemTable,
    score_history,
    transpose,
    truncate,
)
from embeddings.item_item.judge import Judge, top_quality
from embeddings.item_item.recipe import Recipe, Scorer
from embeddings.item_item.scorers import Feature, LearnedVectors, Pair


def planted(users: int = 120, items: int = 60, seed: int = 3) -> sparse.csr_matrix:
    """Two niches: even users take about half of the lower items, odd ones of the upper ones."""
    generator = np.random.default_rng(seed)
    half = items // 2
    dense = np.zeros((users, items), np.float32)
    for user in range(users):
        low = half * (user % 2)
        dense[user, low : low + half] = generator.random(half) < 0.5
    return sparse.csr_matrix(dense)


def random_table(items: int = 30, width: int = 8, seed: int = 0) -> ItemTable:
    """Each item points at `width` others with falling scores; the last place is padding."""
    generator = np.random.default_rng(seed)
    rows = [generator.permutation(np.delete(np.arange(items), i))[:width] for i in range(items)]
    neighbours = np.array(rows, np.int32)
    scores = -np.sort(-generator.random((items, width)), axis=1).astype(np.float32)
    neighbours[:, -1], scores[:, -1] = -1, 0
    return ItemTable(neighbours, scores)


def dense_of(table: ItemTable) -> np.ndarray:
    items, width = table.neighbours.shape
    dense = np.zeros((items, items), np.float32)
    for item in range(items):
        for at in range(width):
            if table.neighbours[item, at] >= 0:
                dense[item, table.neighbours[item, at]] += table.scores[item, at]
    return dense


def histories(sizes: list[int], items: int = 30, seed: int = 1):
    generator = np.random.default_rng(seed)
    rows = [generator.permutation(items)[:size].astype(np.int32) for size in sizes]
    indptr = np.cumsum([0, *sizes]).astype(np.int64)
    return indptr, np.concatenate(rows), generator.random(sum(sizes)).astype(np.float32)


def test_scores_are_the_weighted_sum_of_rows_without_what_was_seen() -> None:
    table = random_table()
    indptr, items, weights = histories([1, 5, 0, 12, 29])
    rows, scores = score_history(table, indptr, items, weights, 10)
    dense = dense_of(table)
    for subject in range(5):
        part = slice(indptr[subject], indptr[subject + 1])
        expected = weights[part] @ dense[items[part]]
        expected[items[part]] = 0
        best = np.argsort(-expected, kind="stable")[:10]
        best = best[expected[best] > 0]
        result = rows[subject][rows[subject] >= 0]
        assert result.tolist() == best.tolist()
        np.testing.assert_allclose(scores[subject, : len(best)], expected[best], rtol=1e-5)
        assert (scores[subject, len(best) :] == 0).all()


def test_threads_do_not_change_a_byte() -> None:
    table = random_table()
    batch = histories([3] * 40)
    subject = score_history(table, *batch, 7)
    two = score_history(table, *batch, 7, threads=2)
    assert subject[0].tobytes() == two[0].tobytes()
    assert subject[1].tobytes() == two[1].tobytes()


def test_the_history_may_be_kept_among_the_candidates() -> None:
    table = ItemTable(np.array([[1], [0]], np.int32), np.ones((2, 1), np.float32))
    history = np.array([0, 2], np.int64), np.array([0, 1], np.int32), np.ones(2, np.float32)
    assert (score_history(table, *history, 2)[0] == -1).all()
    kept, _ = score_history(table, *history, 2, exclude_history=False)
    assert sorted(kept[0].tolist()) == [0, 1]


def test_turning_supports_round_keeps_the_strongest_pairs() -> None:
    supports = np.array([[1, 2, -1], [0, 2, -1], [0, 1, -1]], np.int32)
    blended = np.array([[0.5, 0.9, 7], [0.3, 0.1, 7], [-0.2, 0.8, 7]], np.float32)
    table = truncate(transpose(supports), blended, 1)
    assert table.neighbours.tolist() == [[1], [2], [0]]
    np.testing.assert_allclose(table.scores.ravel(), [0.3, 0.8, 0.9])


def test_planted_niches_are_recovered_and_the_report_says_how() -> None:
    table, spectral, report = build_item_table(planted(), preset="fast", seed=0)
    strongest = table.neighbours[:, :10]
    result = strongest[strongest >= 0]
    questions_asked = np.repeat(np.arange(60), (strongest >= 0).sum(axis=1))
    assert ((result < 30) == (questions_asked < 30)).mean() >= 0.9
    assert spectral.item_vectors.shape[0] == 60
    assert report.users == 120
    assert report.as_json()["weights"]
    assert all(weight > 0 for _, weight in report.recipe.weights)
    assert any(name.startswith("ridge") for name in report.tried)


def test_the_same_seed_gives_the_same_bytes() -> None:
    first = build_item_table(planted(), preset="fast", seed=5)[0]
    second = build_item_table(planted(), preset="fast", seed=5, threads=2)[0]
    assert first.neighbours.tobytes() == second.neighbours.tobytes()
    assert first.scores.tobytes() == second.scores.tobytes()


def test_features_reach_an_item_nobody_has_used() -> None:
    users = planted().tolil()
    users[:, 0] = 0
    niches = sparse.csr_matrix(np.repeat(np.eye(2, dtype=np.float32), 30, axis=1))
    recipe = Recipe(((Scorer("ridge", 0.3, 0.3, 15.0), 1.0),), (1.0,), 0.0, 50, 50)
    without = build_item_table(
        sparse.csr_matrix(users), recipe=Recipe(recipe.weights, (), 0.0, 50, 50)
    )[0]
    assert (without.neighbours[0] == -1).all()
    table = build_item_table(sparse.csr_matrix(users), [Feature("niche", niches)], recipe=recipe)[0]
    reached = table.neighbours[0][table.neighbours[0] >= 0]
    assert len(reached) > 0
    assert (reached < 30).mean() >= 0.9


def test_a_spectrum_stays_where_it_is_when_another_weight_of_tags_is_chosen() -> None:
    """Its vectors are served: they must not turn with every refresh that weighs tags anew."""
    niches = sparse.csr_matrix(np.repeat(np.eye(2, dtype=np.float32), 30, axis=1))
    both = ((Scorer("ridge", 0.2, 0.3, 10.0), 1.0), (Scorer("spectral", 0.5, 0.5, 0.5, 8), 0.4))

    def made(factor: float):
        recipe = Recipe(both, (factor,), 0.0, 50, 50)
        table, spectral, _ = build_item_table(planted(), [Feature("niche", niches)], recipe=recipe)
        return table.scores, spectral.item_vectors

    half, twice, none = made(0.5), made(2.0), made(0.0)
    assert np.array_equal(half[1], twice[1])
    assert not np.array_equal(half[0], twice[0])
    assert not np.array_equal(half[1], none[1])


@pytest.mark.parametrize("preset", ["fast", "default"])
@pytest.mark.parametrize("shape", [(0, 0), (3, 0), (0, 4), (1, 1), (1, 5), (4, 6)])
def test_empty_users_and_items_give_padding(shape: tuple[int, int], preset) -> None:
    dense = np.ones(shape, np.float32)
    dense[1:2] = 0
    dense[:, 2:3] = 0
    table, spectral, report = build_item_table(sparse.csr_matrix(dense), preset=preset)
    assert table.neighbours.shape[0] == shape[1]
    assert np.isfinite(table.scores).all()
    assert spectral.item_vectors.shape[0] == shape[1]
    assert report.tried == {}


def test_held_back_entries_are_a_fifth_and_leave_one_of_each_user() -> None:
    users = planted()
    kept, held = hold_back(users, seed=1)
    assert (kept + held != users).nnz == 0
    counts = np.diff(users.indptr)
    expected = np.minimum(np.rint(counts * 0.2), np.maximum(counts - 1, 0))
    assert np.diff(held.indptr).tolist() == expected.astype(int).tolist()


def test_select_names_what_is_held_back() -> None:
    users = planted()
    _, held = hold_back(users, seed=1)
    drawn = build_item_table(users, preset="fast", seed=1)
    named = build_item_table(users, preset="fast", seed=1, held=HeldBack(held))
    assert drawn[2].tried == named[2].tried
    with pytest.raises(ValueError, match="select"):
        build_item_table(users, held=HeldBack(sparse.csr_matrix((1, 1), dtype=np.float32)))


def test_quality_by_hand() -> None:
    wanted = sparse.csr_matrix(np.array([[1, 0, 1, 0], [0, 0, 0, 1]], np.float32))
    top = np.array([[0, 1], [-1, -1]], np.int32)
    ndcg, recall = top_quality(top, wanted)
    assert recall == pytest.approx(0.25)
    assert ndcg == pytest.approx(0.5 * 1.0 / (1.0 + 1.0 / np.log2(3)))


def test_learned_vectors_are_taken_up_where_they_help_and_left_where_they_do_not() -> None:
    users = planted(users=300, items=100, seed=2)
    rng = np.random.default_rng(0)
    niche = np.repeat(np.eye(2, dtype=np.float32), 50, axis=0)
    noise = rng.normal(size=(100, 8)).astype(np.float32)
    held = hold_back(users, 0, 0.9)[1]  # so little is left that only the vectors know
    for vectors, taken in ((niche, True), (noise, False)):
        pair = Pair(vectors, vectors)
        table, _, report = build_item_table(
            users, held=HeldBack(held), learned=[LearnedVectors("net", pair, pair)]
        )
        assert ("net" in report.as_json()["weights"]) == taken
        assert "net" in report.tried
        if taken:
            best = table.neighbours[:, :20]
            assert ((best < 50) == (np.arange(100)[:, None] < 50))[best >= 0].mean() > 0.95


def test_the_judge_ranks_nothing_that_was_seen_without_liking():
    # One user likes 0; a table speaks for 1 before 2; 2 is wanted, 1 was seen.
    def history_of(*items: int) -> sparse.csr_matrix:
        return sparse.csr_matrix(
            (np.ones(len(items), np.float32), ([0] * len(items), items)), shape=(1, 3)
        )

    supports = np.array([[1, 2], [-1, -1], [-1, -1]], np.int32)
    scores = np.array([[2, 1], [0, 0], [0, 0]], np.float32)
    second = 1 / np.log2(3)
    assert Judge(history_of(0), history_of(2), 10, 0, 1)(supports, scores)[0] == pytest.approx(
        second
    )
    for seen in (
        history_of(0, 1),
        history_of(1),
        history_of(0, 1, 2),
    ):  # what is wanted is never masked
        assert Judge(history_of(0), history_of(2), 10, 0, 1, seen)(supports, scores)[0] == 1
    nobody = sparse.csr_matrix((1, 3), dtype=np.float32)
    assert Judge(nobody, nobody, 10, 0, 1, nobody).users.size == 0
