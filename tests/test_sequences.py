"""The preset sequence: the model joins the table where it helps, and its lists are explained."""

from collections import Counter
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from embeddings.hold_out import places, taken
from embeddings.item_item.held_back import HeldBack
from embeddings.item_item.recency import shuffled
from embeddings.item_item.recipe import RIDGE, Recipe
from graph.errors import ReleaseError
from graph.snapshot import take_snapshot
from graph.weighting import weigh
from recommender.learning.build import Choice, RefreshConfig, build
from recommender.learning.checked_release import Seen
from recommender.learning.fold_in_arrays import with_new_items
from recommender.learning.large_arrays import TORCH
from recommender.learning.memory import moments
from recommender.learning.model_checks import not_numbers
from recommender.learning.refresh import refresh
from recommender.learning.sequences import lists_of, with_sequences
from recommender.learning.trial import made_of, without_networks
from recommender.learning.writing import write
from recommender.overlay.histories import EVENT, LiveUser
from recommender.ranking.ranker import pool_size
from recommender.ranking.request import Filter, Part, Request
from recommender.ranking.sources import SEQUENCE
from recommender.releases.contents import check
from recommender.releases.home import Home
from recommender.releases.publishing import open_release
from recommender.releases.release import Release
from recommender.serving.recommend import Recommender
from recommender.serving.why import why
from tests.data import package
from tests.test_follows import ITEMS, NARROW, NOW, following, in_order, stored, walks

package("torch")


def test_histories_become_lists_in_their_order():
    users, order = in_order([[2, 0, 3], [], [1], [3, 1, 0, 2]], 4)
    assert [own.tolist() for own in lists_of(users, order)] == [[2, 0, 3], [], [1], [3, 1, 0, 2]]
    users.data[1] = 0
    users.eliminate_zeros()  # held back
    assert lists_of(users, order)[0].tolist() == [0, 3]


def ends_of(users, order):
    """The last tenth of each history held back."""
    rows = np.repeat(np.arange(users.shape[0]), np.diff(users.indptr))
    position, sizes = places(rows, -np.asarray(order[rows, users.indices]).ravel())
    later = users.copy()
    later.data = (position < taken(sizes, 0.1, 5)).astype(np.float32)
    later.eliminate_zeros()
    nothing = users.copy()
    nothing.data[:] = 0
    nothing.eliminate_zeros()
    return HeldBack(nothing, order=order, later=later)


@pytest.mark.parametrize("planted", [True, False])
def test_a_planted_order_gives_the_model_weight_and_a_shuffled_one_none(planted):
    users, order = in_order(walks(users=400), ITEMS)
    if not planted:
        order = shuffled(order, 7)
    heard = []
    recipe, tried = with_sequences(
        Recipe(((RIDGE, 1.0),)), users, ends_of(users, order), [], seed=0, threads=1,
        say=heard.append,
    )  # fmt: skip
    without = sum(tried["sequence x 0 1"])
    if not planted:
        assert recipe == Recipe(((RIDGE, 1.0),))
        return
    assert recipe.sequence_weight > 0 and recipe.sequence_epochs > 0
    chosen = f"sequence x {recipe.sequence_weight:g} {recipe.sequence_sharpness:g}"
    assert tried[chosen][0] > 0.65  # seven of ten go on to the next of the ring
    assert sum(tried[chosen]) > 1.2 * without
    assert heard[-1].startswith(f"sequence model: weight {recipe.sequence_weight:g}")


def test_without_an_order_nothing_is_trained():
    users, _ = in_order(walks(users=80), ITEMS)
    nothing = 0 * users
    heard = []
    recipe, tried = with_sequences(
        Recipe(((RIDGE, 1.0),)), users, HeldBack(nothing), [], seed=0, threads=1, say=heard.append
    )
    assert (recipe, tried) == (Recipe(((RIDGE, 1.0),)), {})
    assert heard == ["sequence model: too few histories are in order, so there is none"]


# ── served ───────────────────────────────────────────────────────────────────────────────

RECIPE = Recipe(
    ((RIDGE, 1.0),), recency_exponent=0.3, sequence_weight=1.5, sequence_sharpness=0.5,
    sequence_epochs=12,
)  # fmt: skip


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A release of the walks with a sequence model and without what follows what."""
    folder = tmp_path_factory.mktemp("walks")
    with closing(stored(folder / "store.sqlite", walks(users=300))) as store:
        snapshot = take_snapshot(store)
    config = RefreshConfig(preset="sequence", threads=1)
    graph = weigh(snapshot, config.weighting, NOW)
    built = build(snapshot, graph, config, lambda _: None, choice=Choice(RECIPE))
    built = with_new_items(built, snapshot, graph, lambda _: None, 1)
    write(folder / "release", built, snapshot, config, now=NOW)
    return Recommender(open_release(folder / "release"))


def expected_parts(release, row):
    """(i,) what the table and the model give a user's items, without compiled code."""
    own = release.histories.span(row)
    items, weights = release.histories.indices[own], release.histories.values[own]
    table = np.zeros(len(release.items))
    for item, weight in zip(items, weights, strict=True):
        kept = release.table.neighbours[item] >= 0
        table[release.table.neighbours[item][kept]] += weight * release.table.scores[item][kept]
    in_time = items[np.argsort(release.history_times[own])]
    logits, _ = release.sequence.foretell(in_time[None])
    model = np.zeros(len(release.items))
    model[release.sequence.rows] = np.exp(logits[0].astype(float))
    for part in (table, model):
        part[items] = 0
        part[np.argsort(-part)[pool_size(5) :]] = 0  # what neither proposes
    best = table.max()
    return table, 1.5 * model * best / model.max()


def test_a_list_is_the_sum_of_what_the_table_and_the_model_give(served):
    release = served.release
    for row in (0, 7, 123):
        table, model = expected_parts(release, row)
        for answer in (
            served.recommend(
                [Request(user=release.users.id(row), n=5, profile="neutral")], now=NOW
            ),
            served.rank_users(np.array([row]), 5),
        ):
            if isinstance(answer, list):
                shown = release.items.rows([item.item for item in answer[0].items])
                scores = [item.score for item in answer[0].items]
            else:
                shown, scores = answer.items[0], answer.scores[0]
            expected = np.sort(table + model)[::-1][:5]
            assert scores == pytest.approx(expected, rel=1e-3)
            assert (table + model)[shown] == pytest.approx(expected, rel=1e-3)


def test_reasons_say_what_the_model_proposed_and_share_the_score_with_the_history(served):
    release = served.release
    counted = Counter()
    for row in range(40):
        user = release.users.id(row)
        answer = served.recommend([Request(user=user, n=4, profile="neutral")], now=NOW)[0]
        table, model = expected_parts(release, row)
        own = release.histories.span(row)
        newest = release.histories.indices[own][np.argmax(release.history_times[own])]
        for shown in answer.items:
            item = release.items.row(shown.item)
            by_model = model[item] / (table + model)[item]
            assert shown.parts.get(SEQUENCE, 0) == pytest.approx(model[item], rel=1e-3)
            counted[shown.source] += 1
            if shown.source == SEQUENCE:
                (reason,) = shown.reasons
                assert reason.share == pytest.approx(by_model, abs=2e-3)
                assert (reason.through, reason.because) == (SEQUENCE, None)
                assert reason.text.endswith(f"after “{release.items.id(newest)}”")
                continue
            assert sum(reason.share for reason in shown.reasons) <= 1 - by_model + 1e-3
            gave = {}  # what speaks for the item by the table, of each item of the history
            for near, weight in zip(
                release.histories.indices[own], release.histories.values[own], strict=True
            ):
                at = np.flatnonzero(release.table.neighbours[near] == item)
                worth = weight * release.table.scores[near, at].sum()
                if worth > 0:
                    gave[release.items.id(int(near))] = worth
            for reason in shown.reasons:
                share = gave[reason.because] / sum(gave.values()) * (1 - by_model)
                assert reason.share == pytest.approx(share, abs=1e-3)
    assert counted[SEQUENCE] > 20
    assert counted["items"] > 5


def test_a_reason_of_the_model_is_explained_with_cypher(served):
    release = served.release
    for row in range(20):
        user = release.users.id(row)
        shown = served.recommend([Request(user=user, n=1, profile="neutral")], now=NOW)[0].items[0]
        if shown.source == SEQUENCE:
            explained = why(served, user, shown.item, now=NOW)
            assert explained["source"] == SEQUENCE
            assert explained["cypher"]["query"]
            return
    raise AssertionError("the model proposed nothing")


def test_a_session_is_read_from_its_newest_item(served):
    right = 0
    for item in range(ITEMS):
        session = {f"i{(item + 50) % ITEMS:03}": 0.9, f"i{item:03}": 1.0}
        answer = served.recommend([Request(items=session, n=1)], now=NOW)[0]
        right += answer.items[0].item == following(f"i{item:03}")
    assert right > 0.8 * ITEMS
    equal = Request(items={"i003": 1.0, "i070": 1.0}, n=9, profile="neutral")
    assert {shown.source for shown in served.recommend([equal], now=NOW)[0].items} == {"items"}


def test_a_mix_and_a_newcomer_have_no_order(served):
    user = served.release.users.id(3)
    for request in (
        Request(mix=(Part("user", user, 1.0), Part("item", "i005", 1.0)), n=5),
        Request(n=5),
        Request(user="nobody", n=5),
    ):
        answer = served.recommend([request], now=NOW)[0]
        assert len(answer.items) == 5
        assert SEQUENCE not in {shown.source for shown in answer.items}


def test_a_newer_event_becomes_the_newest(served):
    release = served.release
    user = release.users.id(5)
    before = set(release.items.ids(release.histories.of(5)))
    item = next(i for i in release.items if i not in before and following(i) not in before)
    play = release.event_kinds.index("play")
    at = np.array([(release.items.row(item), play, np.nan, NOW + 5, False)], EVENT)
    overlay = replace(served.overlay, users={user: LiveUser(at)})
    request = Request(user=user, n=1, source=SEQUENCE)
    shown = Recommender(release, overlay).recommend([request], now=NOW)[0].items
    assert [each.item for each in shown] == [following(item)]
    assert served.recommend([request], now=NOW)[0].items[0].item != following(item)


def test_households_filters_and_long_lists_hold(served):
    users = [served.release.users.id(row) for row in (1, 2)]
    few = tuple(f"i{row:03}" for row in range(0, ITEMS, 9))
    answers = served.recommend(
        [
            Request(household=tuple(users), n=6),
            Request(user=users[0], n=6, filter=Filter(items=few)),
            Request(user=users[0], n=ITEMS),
            Request(user=users[0], n=8, interests=3),
        ],
        now=NOW,
    )
    assert len(answers[0].items) == 6
    assert {shown.item for shown in answers[1].items} <= set(few)
    assert len({shown.item for shown in answers[2].items}) == ITEMS - 12
    assert len(answers[3].items) == 8


def test_a_release_without_a_whole_model_is_refused(served):
    arrays = dict(served.release.arrays)
    check(arrays, "it")
    for key, spoiled in (
        ("sequence.rows", arrays["sequence.rows"][::-1].copy()),
        ("sequence.rows", arrays["sequence.rows"] + 1),
        ("sequence.vectors", arrays["sequence.vectors"][:, 1:]),
        ("sequence.norms", arrays["sequence.norms"].astype(np.float64)),
    ):
        with pytest.raises(ReleaseError, match=r"it: sequence\."):
            check(arrays | {key: spoiled}, "it")


def test_a_model_with_values_that_are_no_numbers_is_not_published(served):
    release = served.release
    assert not_numbers(Seen(release, None, None, None)) is None
    norms = release.arrays["sequence.norms"].copy()
    norms[0, 0, 3] = np.nan
    spoiled = Release(release.folder, release.manifest, release.arrays | {"sequence.norms": norms})
    refusal = not_numbers(Seen(spoiled, None, None, None))
    assert refusal is not None
    assert refusal.startswith("norms of the sequence model: 1 values are not numbers")


def test_the_memory_of_a_refresh_counts_torch_and_a_model_of_bounded_size():
    counts = {"users": 50_000, "items": 40_000, "events": 1_000_000}
    plain, with_model = (
        moments(counts, RefreshConfig(preset=preset)) for preset in ("default", "sequence")
    )
    more = with_model["judging"]["libraries"] - plain["judging"]["libraries"]
    assert more == TORCH["sequence"]
    training = "training a sequence model"
    assert training not in plain
    of_many = moments(counts | {"items": 400_000}, RefreshConfig(preset="sequence"))
    name = "weights, their moments and the best"
    assert of_many[training][name] == with_model[training][name] == 6 * 40_000 * 64 * 4


def test_a_recipe_is_read_back_and_fitted_without_the_model(served):
    made = made_of(served.release.manifest)
    assert made is not None
    assert made.recipe == RECIPE
    assert without_networks(made.recipe).sequence_weight == 0


def test_a_refresh_with_the_preset_publishes_and_a_warm_one_keeps_the_choice(tmp_path):
    home = Home(tmp_path / "home").create()
    histories = [history[: 6 + user % 7] for user, history in enumerate(walks(users=150))]
    config = RefreshConfig(preset="sequence", table=NARROW, threads=1)
    with closing(stored(home.store, histories)) as store:
        first = refresh(store, home, config, now=NOW)
        again = refresh(store, home, config, now=NOW + 60)
    weight = first.manifest["recipe"]["sequence_weight"]
    assert any(name.startswith("sequence x") for name in first.manifest["item_table"]["tried"])
    assert again.manifest["chosen"] == first.manifest["chosen"]
    for release in (first, again):
        assert release.manifest["recipe"]["sequence_weight"] == weight
        assert (release.sequence is not None) == (weight > 0)
