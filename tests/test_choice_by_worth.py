"""What is chosen by: many ways of scoring in one pass, and the rule that keeps what is expected."""

import numpy as np
import pytest
from scipy import sparse

from embeddings.item_item.candidates import PENALTIES
from embeddings.item_item.item_table import ItemTable, score_history
from embeddings.item_item.judge import Judge
from embeddings.item_item.mixture import ANY_WEIGHTS, ORDERED, UNORDERED, mixture
from embeddings.item_item.recipe import RIDGE, Scorer
from embeddings.item_item.side_by_side import Targets, score_weightings
from embeddings.item_item.worth import Findings, together, worthiest
from recommender.learning.held_parts import ENOUGH_JUDGES, MOST_JUDGES, judges_of
from recommender.learning.split import Pairs

ITEMS = 300


@pytest.fixture(scope="module")
def drawn():
    """40 users with 12 of 300 items and 5 others to find; 50 supports each, two scorers."""
    rng = np.random.default_rng(3)
    known, wanted = np.zeros((2, 40, ITEMS), np.float32)
    for user in range(40):
        items = rng.permutation(ITEMS)
        known[user, items[:12]] = rng.random(12) + 0.1
        wanted[user, items[12:17]] = 1
    supports = np.array([rng.choice(ITEMS, 50, replace=False) for _ in range(ITEMS)], np.int32)
    supports[rng.random(supports.shape) < 0.1] = -1
    supports = -np.sort(-supports, axis=1)  # padding comes last
    scores = [rng.normal(0.3, 1, supports.shape).astype(np.float32) for _ in range(2)]
    scores = [np.where(supports >= 0, values, 0).astype(np.float32) for values in scores]
    return sparse.csr_matrix(known), sparse.csr_matrix(wanted), supports, scores


def everything(supports):
    return Targets.of(np.arange(ITEMS, dtype=np.int32), supports, ITEMS)


def test_many_weightings_in_one_pass_are_each_what_it_is_alone(drawn):
    known, _, supports, (scores, _) = drawn
    exponents = (0.0, 0.5, 2.0)
    weights = np.column_stack([known.data**exponent for exponent in exponents])
    for threads in (1, 2):
        tops = score_weightings(everything(supports), scores, known, weights, 15, threads)
        for exponent, top in zip(exponents, tops, strict=True):
            alone, _ = score_history(
                ItemTable(supports, scores),
                known.indptr,
                known.indices,
                (known.data**exponent).astype(np.float32),
                15,
            )
            assert (top == alone).all()


def test_targets_of_the_items_in_histories_are_enough(drawn):
    known, _, supports, (scores, _) = drawn
    weights = known.data[:, None]
    used = np.unique(known.indices)[::-1].astype(np.int32)
    assert len(used) < ITEMS
    of_some = Targets.of(used, supports[used], ITEMS)
    top = score_weightings(of_some, scores[used], known, weights, 15)
    assert (top == score_weightings(everything(supports), scores, known, weights, 15)).all()
    without_first = Targets.of(used[1:], supports[used[1:]], ITEMS)
    with pytest.raises(ValueError, match="entries of histories have no targets"):
        score_weightings(without_first, scores[used[1:]], known, weights, 15)


@pytest.mark.parametrize("mixture", [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (1.0, 0.3)])
def test_a_short_list_finds_what_the_whole_mixture_finds(drawn, mixture):
    known, wanted, supports, scores = drawn
    judge = Judge(known, wanted, 100, 0, 1)
    factors = np.random.default_rng(1).random(ITEMS).astype(np.float32) + 0.5
    short = judge.short_lists(everything(supports), np.stack(scores, axis=-1))
    mixed = sum(np.float32(weight) * values for weight, values in zip(mixture, scores, strict=True))
    for of_target in (np.ones(ITEMS, np.float32), factors):
        ours = short.per_user(np.array(mixture, np.float32), of_target, 20)
        scaled = mixed * np.where(supports >= 0, of_target[supports], 0)
        np.testing.assert_allclose(ours, judge.per_user(supports, scaled), atol=1e-6)
    assert ours[:, 1].sum() > 0


def findings(*values: float) -> Findings:
    return Findings(((1.0, np.column_stack([values, np.zeros(len(values))])),))


def test_what_is_expected_stays_unless_another_is_clearly_ahead():
    base = findings(0, 1, 0, 1)
    luck = findings(1, 0, 0, 1.2)  # .05 ahead; the differences 1, -1, 0, .2 have an error of .35
    better = findings(0.1, 1.1, 0.2, 1.2)  # .15 ahead with an error of .025
    assert worthiest({"base": base, "luck": luck}, "base") == "base"
    choices = {"base": base, "luck": luck, "better": better}
    assert worthiest(choices, "base") == "better"
    price = {"base": 0.0, "luck": 0.0, "better": 0.3}
    assert worthiest(choices, "base", price.__getitem__) == "base"


RIDGE_THEN_WIDE = RIDGE, Scorer("spectral", 0.5, 0.5, 0.5, 768)


def by_weight(qualities):
    """What a ridge with so much of a spectrum finds: as much for everybody, so gains are sure."""

    def mixed(weights):
        ridge, wide = (weights.get(scorer, 0.0) for scorer in RIDGE_THEN_WIDE)
        return findings(*[qualities[wide] if ridge else 0.1] * 9)

    return mixed


@pytest.mark.parametrize(
    ("usual", "alone", "expected"),
    [
        (ORDERED, 1.02, 0.5),  # none counts as .1: it has to be 2.2 % better; .5 is nearest to .4
        (ORDERED, 1.03, 0.0),
        (UNORDERED, 1.01, 0.15),  # as .05: 1.4 %
        (UNORDERED, 1.02, 0.0),
    ],
)
def test_a_ridge_alone_must_be_worth_more_than_with_the_usual_spectrum(usual, alone, expected):
    qualities = dict.fromkeys(ANY_WEIGHTS, 1.0) | {0.0: alone}
    chosen = mixture(RIDGE_THEN_WIDE, by_weight(qualities), {}, lambda _: None, usual)
    assert chosen == {RIDGE: 1.0} | ({RIDGE_THEN_WIDE[1]: expected} if expected else {})


def test_more_of_a_spectrum_must_be_worth_more_where_no_order_is_known():
    qualities = dict.fromkeys((0.0, *ANY_WEIGHTS), 1.0) | {0.5: 1.01}
    for usual, weight in ((ORDERED, 0.5), (UNORDERED, 0.15)):
        chosen = mixture(RIDGE_THEN_WIDE, by_weight(qualities), {}, lambda _: None, usual)
        assert chosen[RIDGE_THEN_WIDE[1]] == weight


def test_the_error_of_a_difference_is_that_of_its_mean_over_parts():
    """Part one weighs .75: differences 1 and 3, variance 1 over 2 users; part two has none."""
    zero = np.zeros((2, 2))
    first = Findings(((0.75, np.array([[1.0, 0.0], [2.0, 1.0]])), (0.25, zero + 1)))
    second = Findings(((0.75, zero), (0.25, zero)))
    assert first.error(second) == pytest.approx(0.75 * np.sqrt(1 / 2))
    assert sum(first.quality) == pytest.approx(0.75 * 2 + 0.25 * 2)
    both = together([first, second])
    assert sum(both.quality) == pytest.approx(1.0)


def test_penalties_hold_the_usual_one_and_three_powers_of_ten():
    assert 10.0 in PENALTIES
    assert max(PENALTIES) / min(PENALTIES) == pytest.approx(1000)


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("users", [ENOUGH_JUDGES // 2, MOST_JUDGES + 500])
def test_of_a_user_a_random_tenth_is_held_back_or_the_end(users, ordered):
    """Five pairs each; the last ten users have four, too few to spare any."""
    sizes = np.where(np.arange(users) < users - 10, 5, 4)
    owners = np.repeat(np.arange(users), sizes)
    keys = np.random.default_rng(2).integers(2**63, size=len(owners)).astype(np.uint64)
    pairs = Pairs(owners, np.zeros_like(owners), np.zeros_like(owners), keys)
    at_random, by_end = judges_of(pairs, users, ordered)
    able = min(users - 10, MOST_JUDGES)
    assert np.count_nonzero(at_random | by_end) == able
    assert not (at_random | by_end)[-10:].any()
    if ordered and able >= ENOUGH_JUDGES:
        assert not (at_random & by_end).any()
        assert np.count_nonzero(by_end) == able // 2
    else:
        assert (at_random == by_end).all()
