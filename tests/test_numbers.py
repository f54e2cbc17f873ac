"""Numbers of items as features: near ones are alike, and only those count that have a weight."""

import json
from contextlib import closing
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from graph.numbers import NumberScale, item_numbers
from graph.snapshot import drop_pairs, take_snapshot
from graph.stores.embedded_store import EmbeddedStore
from graph.weighting import Weighting, weigh
from graph.weighting_file import parse_weighting
from loaders.synthetic import generate
from recommender.evaluation.weighting_knobs import knobs_of, weighting_with
from recommender.evaluation.weighting_trial import trial_of
from recommender.learning.build import RefreshConfig
from recommender.learning.train import build_release
from recommender.ranking.filters import Filters
from recommender.serving.live_items import live_item, placed
from recommender.serving.new_items import NewItems
from tests.conftest import NOW

PITCH = Weighting(attributes={"pitch": 1.0})


def test_a_number_is_shared_by_the_knots_beside_it():
    scale = NumberScale((0.0, 10.0, 20.0), 2.0)
    made = scale.features([5, 20, 25, -1, 12.5, None, float("nan")]).toarray().tolist()
    rows = [[1, 1, 0], [0, 0, 2], [0, 0, 2], [2, 0, 0], [0, 1.5, 0.5], [0, 0, 0], [0, 0, 0]]
    assert made == rows
    assert NumberScale((3.0,), 1.0).features([1, None]).toarray().tolist() == [[1], [0]]


def test_knots_are_quantiles_and_only_numbers_with_a_weight_are_read():
    rows = [json.dumps({"a": k, "b": "word", "c": True, "d": 1}) for k in range(17)] + ["{}"]
    matrix, scales = item_numbers(rows, {"a": 0.5, "b": 1, "c": 1, "d": 0, "z": 1}, 18)
    assert scales == {"a": NumberScale((0, 2, 4, 6, 8, 10, 12, 14, 16), 0.5)}
    assert matrix.shape == (18, 9)
    np.testing.assert_allclose(matrix.sum(axis=1), [0.5] * 17 + [0])
    assert item_numbers(rows, {}, 18)[0].shape == (18, 0)
    many = [json.dumps({"a": k % 7}) for k in range(30_000)]
    assert len(item_numbers(many, {"a": 1}, 30_000)[1]["a"].knots) == 7  # each value once
    many = [json.dumps({"a": k}) for k in range(30_000)]
    assert len(item_numbers(many, {"a": 1}, 30_000)[1]["a"].knots) == 30


def test_weights_are_read_from_the_file():
    weighting = parse_weighting({"attributes": {"critics": 0.5}})
    assert weighting.attributes == {"critics": 0.5}
    assert Weighting.from_json(weighting.to_json()) == weighting


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    """(snapshot, niche of each item): no tags, domains, titles; a tenth cold; `pitch` by niche.

    `noise` is random. Both are there for all items.
    """
    planted = generate(6000, seed=2, niches=15)
    with closing(EmbeddedStore(tmp_path_factory.mktemp("numbers") / "store.sqlite")) as store:
        for batch in planted.batches():
            store.apply(batch)
        snapshot = take_snapshot(store)
    own = dict(zip(planted.answers.items, planted.answers.item_niches.tolist(), strict=True))
    niche = np.array([own[item] for item in snapshot.items])
    gone = (np.arange(len(niche)) % 10 == 0)[snapshot.events.item] | (snapshot.events.tag >= 0)
    snapshot = drop_pairs(snapshot, snapshot.events.user[gone], snapshot.events.item[gone])
    nothing = [
        replace(links, source=links.source[:0], target=links.target[:0], weight=links.weight[:0])
        for links in (snapshot.item_tags, snapshot.item_domains)
    ]
    rng = np.random.default_rng(0)
    pitch, noise = 10 * niche + rng.normal(0, 1, len(niche)), rng.normal(size=len(niche))
    texts = [
        json.dumps({"pitch": p, "noise": n, "name": "x"})
        for p, n in zip(pitch.tolist(), noise.tolist(), strict=True)
    ]
    snapshot = replace(snapshot, item_tags=nothing[0], item_domains=nothing[1])
    titles = pa.array([""] * len(niche))
    return replace(snapshot, item_attributes=pa.array(texts), item_titles=titles), niche


def test_tuning_knows_numbers_and_finds_which_of_them_tells(catalogue):
    snapshot, _ = catalogue
    knobs, _ = knobs_of(snapshot, "nothing")
    own = {knob.key: knob for knob in knobs if knob.table == "attributes"}
    assert sorted(own) == ["noise", "pitch"]
    assert {knob.neutral for knob in own.values()} == {0.0}
    weighting = weighting_with(Weighting(), knobs, {own["pitch"]: 2.0})
    assert weighting.attributes == {"noise": 0.0, "pitch": 2.0}
    # Of two fifths of the events: all of them tell the niches so well that numbers add little.
    events = snapshot.events
    pairs = events.user.astype(np.int64) * len(snapshot.items) + events.item
    gone = np.random.default_rng(1).random(pairs.max() + 1)[pairs] > 0.4
    few = drop_pairs(snapshot, events.user[gone], events.item[gone])
    trial = trial_of(few, Weighting(), now=NOW, seed=0, threads=1)
    plain, pitch, noise = (
        trial.ndcg(Weighting(attributes=weights)).mean()
        for weights in ({}, {"pitch": 4.0}, {"noise": 4.0})
    )
    assert pitch > 1.04 * max(plain, noise)


def test_items_known_by_numbers_alone_are_placed_in_the_catalogue_and_live(catalogue, tmp_path):
    snapshot, niche = catalogue
    config = RefreshConfig(preset="fast", threads=1, weighting=PITCH)
    graph = weigh(snapshot, PITCH, NOW)
    release = build_release(snapshot, graph, config, tmp_path / "release", now=NOW)
    cold = np.arange(len(niche)) % 10 == 0
    proposed = [
        abs(niche[row] - niche[item])
        for row in np.flatnonzero(~cold & (niche >= 0)).tolist()
        for item in [n for n in release.table.neighbours[row].tolist() if n >= 0 and cold[n]][:1]
    ]
    assert len(proposed) > 100
    assert np.mean(np.array(proposed) <= 1) >= 0.6  # knots lie between niches: neighbours are like
    new = [live_item(f"new{n}", {"attributes": {"pitch": 10.0 * n}}, {}) for n in range(15)]
    units, ((near, scores), *_) = placed(NewItems(release, Filters(release)), release, new)
    assert units.any(axis=1).all() and (scores[:, 0] > 0).all()
    apart = [np.abs(niche[rows[:8]] - n).mean() for n, rows in enumerate(near)]
    assert np.mean(apart) < 1.5
    silent = live_item("silent", {"attributes": {"noise": 1.0}}, {})
    assert not placed(NewItems(release, Filters(release)), release, [silent])[1][0][1].any()
