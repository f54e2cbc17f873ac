"""Evaluation: figures that can be worked out by hand, and nothing learned from the test part."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.sparse import csr_array

from graph.vocabulary import Vocabulary
from graph.weighted import WeightedGraph
from recommender.evaluation import ratings
from recommender.evaluation.evaluate import evaluate, table_rows
from recommender.evaluation.ratings import Ratings
from recommender.evaluation.steps import Steps
from recommender.evaluation.truth import HeldOut, known_truth
from recommender.learning.baselines import Baseline


@dataclass
class Lists:
    items: np.ndarray


class Dense:
    """Ranks from dense scores per profile and source, without what was seen."""

    def __init__(self, seen, **scores):
        self.seen, self.scores = seen, scores
        self.sources = tuple(name for name in scores if name not in ("neutral", "segments"))

    def rank_users(self, user_rows, n, *, profile="neutral", source=None, now=0):
        scores = self.scores[source or profile][user_rows].astype(float)
        scores[self.seen.toarray()[user_rows] > 0] = -np.inf
        order = np.argsort(-scores, axis=1, kind="stable")[:, :n].astype(np.int32)
        order[~np.isfinite(np.take_along_axis(scores, order, axis=1))] = -1
        return Lists(order)


def graph_of(user_items, item_tags=None, seen=None):
    u, i = user_items.shape
    empty = lambda *shape: csr_array(shape, dtype=np.float32)  # noqa: E731
    return WeightedGraph(
        user_items=user_items,
        user_seen=user_items if seen is None else seen,
        user_hides=empty(u, i),
        item_tags=empty(i, 1) if item_tags is None else item_tags,
        item_domains=empty(i, 0),
        item_items=empty(i, i),
        user_users=empty(u, u),
        item_numbers=empty(i, 0),
        scales={},
        domains=Vocabulary.of([]),
        domains_from="nothing",
    )


def matrix(rows):
    return csr_array(np.array(rows, np.float32))


TRAIN = matrix([[1, 1, 0, 0, 0], [1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 1, 0, 0]])
TRUTH = matrix([[0, 0, 1, 0, 0], [0, 1, 0, 0, 1], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0]])


@pytest.fixture(scope="module")
def result():
    right = TRUTH.toarray()
    ranker = Dense(TRAIN, neutral=right, segments=-right, alone=right)
    popular = Baseline(
        "popularity", {"a": 1.0}, lambda rows: np.tile(np.float32([3, 2, 1, 0, 0]), (len(rows), 1))
    )
    return evaluate(ranker, TRUTH, graph_of(TRAIN), baselines={"popularity": popular}, seed=0)


def test_a_ranker_that_knows_the_answers_is_perfect(result):
    for figures in (result["served"], result["sources"]["alone"]):
        for name in ("recall@20", "ndcg@20", "recall@10", "map@20", "hit@20", "tail_ndcg@20"):
            assert figures[name] == 1
        assert figures["intervals"]["ndcg@20"] == [1, 1]


def test_users_with_nothing_to_find_are_left_out_and_train_is_masked(result):
    # Popularity: user 0 sees 2 3 4, finds 2 first; user 1 sees 1 2 3 4, finds 1 and 4;
    # user 3 sees 0 1 3 4, finds 0 first.
    figures = result["baselines"]["popularity"]
    second = (1 + 1 / np.log2(5)) / (1 + 1 / np.log2(3))
    assert figures["ndcg@20"] == pytest.approx((1 + second + 1) / 3, abs=1e-6)
    assert figures["map@20"] == pytest.approx((1 + (1 + 2 / 4) / 2 + 1) / 3, abs=1e-6)
    assert figures["parameters"] == {"a": 1.0}
    assert figures["coverage"] == 1


def test_the_default_profile_stands_beside(result):
    assert result["served_default"]["ndcg@20"] < result["served"]["ndcg@20"]


def test_the_gain_over_each_baseline_has_an_interval(result):
    gain = result["served_minus_baseline"]["popularity"]["ndcg@20"]
    expected = 1 - result["baselines"]["popularity"]["ndcg@20"]
    assert gain["mean"] == pytest.approx(expected, abs=1e-6)
    assert gain["interval"][0] <= gain["mean"] <= gain["interval"][1]


def test_baselines_may_answer_for_some_users_and_ours_is_compared_on_those():
    ranker = Dense(TRAIN, neutral=TRUTH.toarray(), segments=TRUTH.toarray())
    right = Baseline("right", {}, lambda rows: TRUTH.toarray()[rows])
    result = evaluate(
        ranker, TRUTH, graph_of(TRAIN), baselines={"right": right}, seed=0, sampled_users=2
    )
    figures = result["baselines"]["right"]
    assert (figures["users"], figures["ndcg@20"], figures["coverage"]) == (2, 1, None)
    assert result["served_minus_baseline"]["right"]["ndcg@20"]["mean"] == 0
    assert all(len(row) == len(table_rows(result)[0]) for row in table_rows(result)[1])


def test_tail_figures_count_wanted_items_outside_the_head_only():
    # Half of the six interactions is item 0: the head. User 3 wants nothing else.
    only_head = np.zeros((4, 5))
    only_head[3, 0] = 1
    ranker = Dense(TRAIN, neutral=TRUTH.toarray() - 2 * only_head, segments=only_head)
    result = evaluate(ranker, TRUTH, graph_of(TRAIN), baselines={}, seed=0)["served"]
    assert result["tail_ndcg@20"] == 1
    assert result["ndcg@20"] < 1


def test_diversity_is_by_tags_where_there_are_tags():
    alike = matrix([[1], [1], [1], [1], [1]])
    ranker = Dense(TRAIN, neutral=TRUTH.toarray(), segments=TRUTH.toarray())
    by_tags = evaluate(ranker, TRUTH, graph_of(TRAIN, alike), baselines={}, seed=0)
    by_users = evaluate(ranker, TRUTH, graph_of(TRAIN), baselines={}, seed=0)
    assert by_tags["served"]["intra_list_diversity"] == 0
    assert by_users["served"]["intra_list_diversity"] > 0.5


def test_every_ranker_is_a_row_of_the_table_and_every_step_is_measured(result):
    columns, rows = table_rows(result)
    assert [row[0] for row in rows] == [
        "served",
        "served, default profile",
        "source alone",
        "baseline popularity",
    ]
    assert all(len(row) == len(columns) for row in rows)
    steps = Steps()
    evaluate(
        Dense(TRAIN, neutral=TRUTH.toarray(), segments=TRUTH.toarray()),
        TRUTH,
        graph_of(TRAIN),
        baselines={},
        seed=0,
        steps=steps,
    )
    assert list(steps.taken) == ["served", "served_default", "intervals"]
    assert all(step["peak_rss_mb"] > 1 and step["seconds"] >= 0 for step in steps.taken.values())


def test_nobody_to_ask_gives_zeros_and_no_intervals():
    ranker = Dense(TRAIN, neutral=TRAIN.toarray(), segments=TRAIN.toarray())
    result = evaluate(
        ranker, csr_array((4, 5), dtype=np.float32), graph_of(TRAIN), baselines={}, seed=0
    )
    assert result["served"]["ndcg@20"] == 0
    assert result["served"]["intervals"] == {}


def test_test_pairs_that_cannot_be_found_are_counted_and_left_out():
    users, items = Vocabulary.of(["a", "b", "c"]), Vocabulary.of(["v", "w", "x"])
    seen = matrix([[1, 1, 0], [0, 0, 0], [0, 1, 0]])  # a has seen v without liking it
    likes = matrix([[0, 1, 0], [0, 0, 0], [0, 1, 0]])
    names = [
        ("a", "x"),  # to be found
        ("a", "w"),  # in train
        ("a", "v"),  # seen in train: masked
        ("a", "new"),  # unknown item
        ("b", "x"),  # b has no history
        ("nobody", "x"),  # unknown user
        ("nobody", "new"),
        ("c", "v"),  # to be found
    ]
    own_users = Vocabulary.of(u for u, _ in names)
    own_items = Vocabulary.of(i for _, i in names)
    pairs = (own_users.rows(u for u, _ in names), own_items.rows(i for _, i in names))
    nothing = Ratings(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    part = HeldOut(own_users, own_items, pairs, nothing, "given")
    truth, counts = known_truth(part, users, items, graph_of(likes, seen=seen))
    assert sorted(zip(*map(list, truth.nonzero()), strict=True)) == [(0, 2), (2, 0)]
    assert counts == {
        "test_pairs_given": 8,
        "test_pairs_of_unknown_users": 2,
        "test_pairs_of_unknown_items": 1,
        "test_pairs_in_train": 2,
        "test_pairs_of_users_without_history": 1,
        "test_pairs": 2,
        "test_users": 2,
        "unknown_users": 1,
        "unknown_items": 1,
    }


def test_rating_biases_are_damped_means():
    train = Ratings(np.array([0, 0, 1]), np.array([0, 1, 0]), np.array([5.0, 3.0, 1.0]))
    item = (5 - 3 + 1 - 3) / (2 + 5)
    user = (5 - 3 - item + 3 - 3 - 0) / (2 + 5)
    result = ratings.predict(train, np.array([0]), np.array([0]), (2, 2))
    assert result == pytest.approx([3 + item + user])


def test_neighbours_say_what_the_user_thought_of_like_items():
    """Two kinds of items; each user loves one kind and not the other: biases know nothing."""
    rng = np.random.default_rng(0)
    users, items = map(np.ravel, np.meshgrid(np.arange(20), np.arange(12), indexing="ij"))
    values = np.where(users % 2 == items % 2, 5.0, 1.0)
    shown = rng.random(len(users)) < 0.7
    same = csr_array(((np.arange(12)[:, None] % 2) == (np.arange(12)[None] % 2)) - np.eye(12))
    train = Ratings(users[shown], items[shown], values[shown])
    test = Ratings(users[~shown], items[~shown], values[~shown])
    result = ratings.errors(train, test, (20, 12), same)
    assert result["pairs"] == (~shown).sum()
    assert result["neighbours"]["rmse"] < 1.0
    assert result["biases"]["rmse"] > 1.5
    assert result["neighbours"]["mae"] <= result["neighbours"]["rmse"]


def test_neighbours_that_mean_nothing_are_not_listened_to():
    """Items alike by a table drawn at random: no worse than the biases alone."""
    rng = np.random.default_rng(0)
    users, items = map(np.ravel, np.meshgrid(np.arange(60), np.arange(40), indexing="ij"))
    taste, worth = rng.normal(0, 1, 60), rng.normal(0, 1, 40)
    values = 3 + taste[users] + worth[items] + rng.normal(0, 1, len(users))
    shown = rng.random(len(users)) < 0.5
    random = csr_array(rng.random((40, 40)) * (rng.random((40, 40)) < 0.1))
    train = Ratings(users[shown], items[shown], values[shown])
    test = Ratings(users[~shown], items[~shown], values[~shown])
    result = ratings.errors(train, test, (60, 40), random)
    assert result["neighbours"]["rmse"] <= result["biases"]["rmse"] + 0.005


def test_no_ratings_give_no_errors():
    nothing = Ratings(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    assert ratings.errors(nothing, nothing, (3, 3), None) == {}


def test_neighbours_that_say_nothing_of_what_comes_next_are_not_listened_to():
    """Users are true to one of two kinds of items at first, and rate at random at last."""
    rng = np.random.default_rng(0)
    users, items = map(np.ravel, np.meshgrid(np.arange(40), np.arange(40), indexing="ij"))
    at = np.concatenate([rng.permutation(40) for _ in range(40)])
    true = np.where(users % 2 == items % 2, 5.0, 1.0)
    values = np.where(at < 32, true, rng.choice([1.0, 5.0], len(users)))
    same = csr_array(((np.arange(40)[:, None] % 2) == (np.arange(40)[None] % 2)) - np.eye(40))
    train = Ratings(users, items, values, at)
    assert ratings.chosen_damping(train, (40, 40), same) == np.inf
    assert ratings.chosen_damping(replace(train, at=None), (40, 40), same) < np.inf
