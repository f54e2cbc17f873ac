"""The recipe is never behind a baseline that it could have been, and is chosen by honest parts."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from benchmarks import robust
from benchmarks._worlds import world
from embeddings.hold_out import hold_back
from embeddings.item_item import held_back
from embeddings.item_item.blend import build_item_table, choose_recipe
from embeddings.item_item.exact_ridge import exact_ridge
from embeddings.item_item.graph_filter import normalise
from embeddings.item_item.held_back import HeldBack, Trial, learned_from
from embeddings.item_item.item_table import ItemTable
from embeddings.item_item.judge import Judge
from embeddings.item_item.recipe import FEW_USERS, RIDGE, Recipe, Scorer, usual_ridge
from embeddings.item_item.scorers import Feature
from embeddings.item_item.worth import Findings, together, worthiest
from graph.weighting import Weighting, weigh
from recommender.learning.held_parts import MOST_WAYS, held_parts
from recommender.learning.split import GATE, SELECT, pair_parts, relevant_pairs
from tests.planted import tastes

NOW = 1_760_000_000


def drawn(law: str) -> sparse.csr_matrix:
    """By a law of popularity alone 400 users choose five of 600 items; or series: 300 users of 150
    series of six choose five of each of three, and six items for no reason.
    """
    rng = np.random.default_rng(8)
    if law == "popular":
        strength = rng.pareto(1.5, 600) + 0.3
        dense = np.zeros((400, 600), np.float32)
        for user in range(400):
            dense[user, rng.choice(600, 5, replace=False, p=strength / strength.sum())] = 1
        return sparse.csr_matrix(dense)
    strength = rng.pareto(1.0, 150) + 0.1
    strength /= strength.sum()
    dense = np.zeros((300, 900), np.float32)
    for user in range(300):
        for series in rng.choice(150, 3, replace=False, p=strength):
            dense[user, 6 * series + rng.permutation(6)[:5]] = 1
        dense[user, rng.choice(900, 6, replace=False, p=np.repeat(strength, 6) / 6)] = 1
    return sparse.csr_matrix(dense)


def quality_of(table: ItemTable, fit: sparse.csr_matrix, test: sparse.csr_matrix) -> float:
    return Judge(fit, test, 10_000, 0, 1)(table.neighbours, table.scores)[0]


@pytest.mark.parametrize("law", ["series", "popular"])
@pytest.mark.parametrize("preset", ["fast", "default"])
def test_no_baseline_finds_more(law, preset):
    fit, test = hold_back(drawn(law), 3)
    ours = quality_of(build_item_table(fit, preset=preset)[0], fit, test)
    graph = normalise(fit, 0, 0)
    items = fit.shape[1]
    ease = [exact_ridge(graph, penalty, items, 0.0) for penalty in (0.1, 1.0, 10.0, 100.0)]
    counts = np.asarray(fit.sum(axis=0)).ravel()
    popular = np.tile(np.argsort(-counts, kind="stable").astype(np.int32), (len(counts), 1))
    others = [*ease, ItemTable(popular, counts[popular].astype(np.float32))]
    best = max(quality_of(entry, fit, test) for entry in others)
    assert ours >= 0.98 * best
    first = build_item_table(fit, recipe=Recipe(((RIDGE, 1.0),), (), 0.0, 200, 200))[0]
    assert quality_of(first, fit, test) < 0.98 * best  # the choice matters


def test_the_penalty_is_chosen_from_three_powers_of_ten():
    """What goes together for certain wants a weak one, what chance put together a strong one."""
    chosen = {}
    for law in ("series", "popular"):
        report = build_item_table(drawn(law), preset="fast")[2]
        ridges = [scorer.strength for scorer in report.candidates if scorer.kind == "ridge"]
        assert {f"ridge 0.2/0.3 {penalty:g}" for penalty in (0.3, 300)} <= set(report.tried)
        chosen[law] = ridges[0]
    assert chosen["series"] < chosen["popular"]


@pytest.mark.parametrize(("users", "draws"), [(60, 8), (1200, 1)])
def test_the_usual_penalty_suits_few_users_and_many(users, draws):
    """Motives that many users tell apart are mostly chance where few are seen together."""
    usual = usual_ridge(users)
    other = replace(RIDGE, strength={10.0: 30.0, 30.0: 10.0}[usual.strength])
    figures: dict[Scorer, list[float]] = {usual: [], other: []}
    for draw in range(draws):
        fit, test = hold_back(tastes(draw, users), draw)
        for ridge, of_ridge in figures.items():
            table = build_item_table(fit, recipe=Recipe(((ridge, 1.0),), (), 0.0, 200, 200))[0]
            of_ridge.append(quality_of(table, fit, test))
    assert np.mean(figures[usual]) > 1.02 * np.mean(figures[other])


def test_the_choice_begins_with_the_penalty_for_so_many_users():
    """Forty people are too few to choose by; a row without a history is nobody to learn from."""
    few = sparse.vstack([tastes(0, 40), sparse.csr_matrix((FEW_USERS, 600), dtype=np.float32)])
    report = choose_recipe(few, preset="fast")
    assert report.recipe.weights[0] == (usual_ridge(40), 1.0)
    assert usual_ridge(40).strength > usual_ridge(FEW_USERS).strength == RIDGE.strength


def test_a_trial_learns_nothing_that_it_asks_for():
    users = drawn("series")
    new = np.arange(300) >= 230
    rest = sparse.csr_matrix(sparse.diags((~new).astype(np.float32)) @ users)
    rest.eliminate_zeros()
    rest, select = hold_back(rest, 0, 0.1)
    later = hold_back(rest, 1, 0.1)[1]
    trial = Trial(users, HeldBack(select, later=later, newcomers=new), (), 1000, 0, 1)
    assert trial.fit.multiply(select + later).nnz == 0
    assert trial.fit[np.flatnonzero(new)].nnz == 0
    assert trial.fit.nnz == users[:230].nnz - select.nnz - later.nnz
    # One ranker that knows each held-back pair, and one that knows nothing.
    nothing = ItemTable(np.full((900, 2), -1, np.int32), np.zeros((900, 2), np.float32))
    assert trial(nothing.neighbours, nothing.scores) == (0.0, 0.0)
    series = np.arange(900)[:, None] // 6 * 6 + np.arange(6)
    assert trial(series.astype(np.int32), np.ones((900, 6), np.float32))[1] > 0.5


def test_each_part_weighs_what_is_said():
    """One user, four items; the random part is found, the later one is not."""
    users = sparse.csr_matrix(np.ones((1, 4), np.float32))

    def only(item: int) -> sparse.csr_matrix:
        return sparse.csr_matrix((np.ones(1, np.float32), ([0], [item])), shape=(1, 4))

    seen = sparse.csr_matrix((1, 4), dtype=np.float32)
    trial = Trial(users, HeldBack(only(2), seen, later=only(3)), (), 100, 0, 1)
    supports = np.array([[2], [-1], [-1], [-1]], np.int32)
    scores = np.array([[1], [0], [0], [0]], np.float32)
    # Random 1, later 2, and among both the rare ones, of which all are: .5, half of which is found.
    ideal = 1 + 1 / np.log2(3)
    expected = (1 * 1 + 2 * 0 + 0.5 / ideal) / 3.5
    assert trial(supports, scores)[0] == pytest.approx(expected)


@pytest.mark.parametrize(("ahead", "counts"), [(4, True), (5, False)])
def test_among_a_quarter_of_the_items_lists_are_a_quarter_as_long(monkeypatch, ahead, counts):
    """The wanted item counts if four of ten stand before it: they stand for sixteen of forty."""
    monkeypatch.setattr(held_back, "SEARCHED", 10)
    searched = np.flatnonzero(held_back._drawn_items(40, 0))
    history = next(item for item in range(40) if item not in searched)
    wanted = searched[-1]
    held = sparse.csr_matrix((np.ones(1, np.float32), ([0], [wanted])), shape=(1, 40))
    alone = sparse.csr_matrix((np.ones(2, np.float32), ([0, 0], [history, wanted])), shape=(1, 40))
    trial = Trial(alone, HeldBack(held), (), 100, 0, 1)
    supports = np.full((40, ahead + 1), -1, np.int32)
    scores = np.zeros((40, ahead + 1), np.float32)
    supports[history] = [*searched[:ahead], wanted]
    scores[history] = np.arange(ahead + 1, 0, -1)
    assert (trial.quick(supports, scores).quality[1] > 0) is counts


@pytest.mark.parametrize(("longer", "chosen"), [(0.5, "other"), (-0.5, "expected")])
def test_what_is_better_at_the_top_of_lists_must_be_so_further_down(longer, chosen):
    def judged(gain: float) -> Findings:
        rng = np.random.default_rng(0)
        return Findings(((1.0, rng.random((50, 2)) + gain),))

    other = replace(judged(0.5), longer=judged(longer))
    expected = replace(judged(0), longer=judged(0))
    assert worthiest({"other": other, "expected": expected}, "expected") == chosen
    assert worthiest({"other": judged(0.5), "expected": judged(0)}, "expected") == "other"
    both = together([other, other])
    assert both.longer is not None
    assert both.longer.quality == pytest.approx(judged(longer).quality)


def test_what_a_refresh_holds_back_is_drawn_by_what_it_is():
    snapshot = world("drifting", 1)
    graph = weigh(snapshot, Weighting(), NOW)
    pairs = relevant_pairs(snapshot, graph.user_items, 0)
    parts = pair_parts(pairs)
    ways, _ = held_parts(snapshot, graph, Weighting(), 0)
    for number, held in enumerate(ways):
        wanted = sparse.csr_matrix(held.select + held.later)
        assert wanted.max() == 1  # no pair in both
        gate = wanted[pairs.users[parts == GATE], pairs.items[parts == GATE]]
        assert not gate.any()
        new = np.flatnonzero(held.newcomers)
        assert 0.03 * len(snapshot.users) < len(new) < 0.06 * len(snapshot.users)
        assert wanted[new].nnz == 0
        # Whoever has something later has nothing after it that is no gate's and no newcomer's.
        order = held.order.multiply(held.later)
        first = np.array([row.data.min(initial=np.inf) for row in order])
        rest = learned_from(sparse.csr_matrix(graph.user_items), held)
        gates = pairs.users[parts == GATE], pairs.items[parts == GATE]
        gate = sparse.csr_matrix((np.ones(len(gates[0])), gates), shape=rest.shape)
        rest = rest.sign() - rest.sign().multiply(gate)
        last = held.order.multiply(rest).max(axis=1).toarray().ravel()
        assert (last < first).all()
        if number == 0:
            chosen = (parts == SELECT) & ~held.newcomers[pairs.users]
            missing = chosen & (np.asarray(wanted[pairs.users, pairs.items]).ravel() == 0)
            assert not missing.any()


def test_what_nobody_has_changes_no_choice():
    """Every second of 1,200 items is in no history; choosing looks at the other 600 alone."""
    rng = np.random.default_rng(5)
    few = drawn("popular")
    tags = sparse.csr_matrix((rng.random((30, 600)) < 0.05).astype(np.float32))
    wide_users, wide_tags = spread(few), spread(tags)
    reports = [
        choose_recipe(users, [Feature("tags", rows)], preset="fast", held=HeldBack(part))
        for users, rows, part in (
            (few, tags, hold_back(few, 1)[1]),
            (wide_users, wide_tags, spread(hold_back(few, 1)[1])),
        )
    ]
    assert reports[0].recipe == reports[1].recipe
    assert reports[0].tried == reports[1].tried


def spread(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    return sparse.csr_matrix(
        (matrix.data, 2 * matrix.indices, matrix.indptr), (matrix.shape[0], 1200)
    )


def test_popularity_alone_is_left_alone():
    """Everybody draws from one law: any other scorer beside it would add noise."""
    report = choose_recipe(drawn("popular"), held=[HeldBack(hold_back(drawn("popular"), 7)[1])])
    ((first, _), *others) = report.recipe.weights
    assert first.kind == "popularity"
    assert not others


def test_the_bench_tells_how_far_the_default_is_from_the_best(monkeypatch, tmp_path):
    monkeypatch.setattr(robust, "MOST_DRAWS", 1)
    arguments = ["--set", "tiny", "--baselines", "popularity,item_knn"]
    arguments += ["--results", str(tmp_path / "draws.jsonl"), "--json"]
    result = robust.main(arguments)
    (row,) = result["table"]
    others = {"popularity", "item_knn", "ridge alone", "spectral alone"}
    assert others <= set(row)
    best = max(row[name] for name in row if name in others or name.endswith("alone"))
    assert row["its"] == best
    assert row["users"] == 40
    assert row["ratio"] == pytest.approx(row["served"] / best, rel=1e-3)
    assert result["ratios"]["worst"] == row["ratio"]
    assert result["ratios"]["share_ahead"] == float(row["ratio"] >= 1)
    monkeypatch.setattr(robust, "of_one", None)  # a run that goes on measures nothing again
    (again,) = robust.main(arguments)["table"]
    assert again | {"seconds": 0} == row | {"seconds": 0}


def test_a_small_catalogue_holds_back_in_several_ways():
    snapshot = world("tiny", 1)
    graph = weigh(snapshot, Weighting(), NOW)
    ways, _ = held_parts(snapshot, graph, Weighting(), 0)
    assert len(ways) == MOST_WAYS
    assert (ways[0].select != ways[1].select).nnz > 0
    assert all(held.later is None and held.newcomers is None for held in ways)


def test_an_exact_form_takes_part_where_it_is_cheap():
    report = build_item_table(drawn("series"), preset="fast")[2]
    assert any(name.startswith("exact") for name in report.tried)
    assert Scorer("exact", 0.0, 0.0, 1.0).name == "exact 0/0 1"
