"""One compiled call makes the lists that the steps make one after the other."""

import numpy as np
import pytest

from embeddings.item_item.item_table import ItemTable
from recommender.ranking.candidates import MANY_ENTRIES, Ranking, Subjects
from recommender.ranking.ranker import Ranker
from recommender.ranking.request import Request
from recommender.ranking.rerank import Profile, Traits, chosen_places
from recommender.ranking.sources import fuse
from recommender.ranking.table_lists import count_wrong, table_lists
from recommender.releases.arrivals import Arrivals

NOW = 1_760_000_000
WIDTH, POOL, N = 6, 12, 5
STRENGTHS = np.array([4, 2, 1, 1, 0.5, -0.5], np.float32)  # sums are exact, and often equal


def drawn(seed, items, subjects):
    """A table, one item behind it, and subjects with histories, blocked items and two filters."""
    rng = np.random.default_rng(seed)
    neighbours = np.stack([rng.permutation(items)[:WIDTH] for _ in range(items)]).astype(np.int32)
    neighbours[rng.random((items, WIDTH)).cumsum(axis=1) > 3] = -1
    table = ItemTable(neighbours, np.tile(STRENGTHS, (items, 1)))
    near = rng.permutation(items)[:3].astype(np.int32)
    arrivals = Arrivals.of(items, {items: (near, STRENGTHS[:3])}, 1)
    lengths = rng.integers(0, 6, subjects)
    shut = rng.integers(0, 4, subjects)
    everything = items + 1
    of = Subjects(
        indptr=np.append(0, lengths.cumsum()),
        items=rng.integers(0, everything, lengths.sum()).astype(np.int32),
        weights=rng.choice([0.25, 1, 2], lengths.sum()).astype(np.float32),
        blocked_indptr=np.append(0, shut.cumsum()),
        blocked=rng.integers(0, everything, shut.sum()).astype(np.int32),
        masks=np.stack([np.ones(everything, bool), rng.random(everything) < 0.6]),
        mask=rng.integers(0, 2, subjects).astype(np.int32),
    )
    traits = Traits.plain(
        rng.random((everything, 3)).astype(np.float32),
        rng.random(everything).astype(np.float32),
        np.zeros(everything, np.float32),
        subjects,
    )
    return table, arrivals, of, traits


def scored(table, arrivals, of, subject):
    """Item -> score by a dictionary: every row of the history, the allowed and free ones kept."""
    sums = {}
    own = slice(*of.indptr[subject : subject + 2])
    for item, weight in zip(of.items[own].tolist(), of.weights[own].tolist(), strict=True):
        pairs = list(zip(*arrivals.of_item(item), strict=True))
        if item < len(table.neighbours):
            pairs += list(zip(table.neighbours[item], table.scores[item], strict=True))
        for other, strength in pairs:
            if other >= 0:
                sums[int(other)] = sums.get(int(other), 0.0) + weight * float(strength)
    shut = set(of.blocked[slice(*of.blocked_indptr[subject : subject + 2])].tolist())
    allowed = of.masks[of.mask[subject]]
    return {i: s for i, s in sums.items() if s > 0 and allowed[i] and i not in shut}


def step_by_step(table, arrivals, of, traits, weights):
    """The lists by a dictionary, `fuse` and `chosen_places`."""
    rows = np.full((len(of), POOL), -1, np.int32)
    scores = np.full((len(of), POOL), -np.inf, np.float32)
    for subject in range(len(of)):
        best = sorted(scored(table, arrivals, of, subject).items(), key=lambda x: (-x[1], x[0]))
        for rank, (item, score) in enumerate(best[:POOL]):
            rows[subject, rank], scores[subject, rank] = item, score
    fused, _, _ = fuse([Ranking(rows, scores)], [1.0], POOL)
    unit = np.where(scores[:, :1] > 0, scores[:, :1], 1)
    if weights is None:
        return fused.items[:, :N], (fused.scores * unit)[:, :N], fused.items[:, N - 1] < 0
    worths = (fused.scores * unit).astype(np.float32)
    at = chosen_places(Ranking(fused.items, worths), weights, traits, N)
    there = at >= 0
    return (
        np.where(there, np.take_along_axis(fused.items, at, axis=1), -1),
        np.where(there, np.take_along_axis(worths, at, axis=1), -np.inf),
        fused.items[:, N - 1] < 0,
    )


@pytest.mark.parametrize("items", [20, 4000])  # all items are looked at, or those that are touched
@pytest.mark.parametrize("profile", [None, Profile(diversity=0.3, long_tail=0.2)])
def test_one_call_makes_what_the_steps_make(items, profile):
    assert (items < 6 * WIDTH * MANY_ENTRIES) == (items == 20)
    subjects = 40
    for seed in range(5):
        table, arrivals, of, traits = drawn(seed, items, subjects)
        weights = None
        if profile is not None:
            weights = np.tile(np.array(profile.weights(), np.float32), (subjects, 1))
        shown, scores, short = table_lists(table, arrivals, of, POOL, N, weights, traits)
        expected = step_by_step(table, arrivals, of, traits, weights)
        np.testing.assert_array_equal(shown, expected[0])
        np.testing.assert_array_equal(scores, expected[1])
        np.testing.assert_array_equal(short, expected[2])
        assert count_wrong(shown, of) == 0
        assert (shown >= 0).sum() > subjects


def test_one_subject_is_ranked_as_among_many():
    table, arrivals, of, traits = drawn(7, 30, 50)
    together, *_ = table_lists(table, arrivals, of, POOL, N, None, traits)
    alone = [
        table_lists(table, arrivals, of.part(at, at + 1), POOL, N, None, traits)[0][0]
        for at in range(len(of))
    ]
    np.testing.assert_array_equal(together, alone)


def test_what_a_filter_forbids_and_what_is_blocked_is_counted():
    _, _, of, _ = drawn(3, 20, 10)
    forbidden = int(np.flatnonzero(~of.masks[1])[0])
    rows = np.full((len(of), 3), -1, np.int32)
    wrong = 0
    for subject in range(len(of)):
        own = of.blocked[slice(*of.blocked_indptr[subject : subject + 2])].tolist()
        rows[subject, :2] = forbidden, own[0] if own else -1
        shown = [row for row in rows[subject].tolist() if row >= 0]
        wrong += sum(row in own or not of.masks[of.mask[subject], row] for row in shown)
    assert wrong > 5
    assert count_wrong(rows, of) == wrong


def test_lists_whose_scores_are_adjusted_are_those_made_step_by_step(
    recommender, planted, monkeypatch
):
    """Rotation, variety and a profile, in lists long enough to be filled up and in short ones."""
    requests = []
    for number, user in enumerate(planted.answers.users[:12]):
        (plain,) = recommender.recommend([Request(user=user, n=10, reasons=False)], now=NOW)
        shown = {item.item: rank % 4 for rank, item in enumerate(plain.items)}
        profile = ("neutral", "default", None)[number % 3]
        for n in (1, 10, 400):
            requests.append(Request(user=user, n=n, profile=profile, shown=shown, seed=None))
            requests.append(Request(user=user, n=n, profile=profile, shown=shown, seed=number))
    quick = recommender.recommend_json(requests, now=NOW)
    monkeypatch.setattr(Ranker, "_lists", Ranker._from_sources)
    assert quick == recommender.recommend_json(requests, now=NOW)
