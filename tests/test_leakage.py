"""What lies in the future cannot be learned from: held-out events leave no trace in a release."""

from dataclasses import fields, replace

import numpy as np
import pytest

from graph.model import table
from graph.snapshot import take_snapshot
from graph.stores.embedded_store import EmbeddedStore
from graph.weighting import scale_of, weigh
from recommender.evaluation.evaluate import evaluate_snapshot
from recommender.evaluation.truth import cut
from recommender.learning.build import RefreshConfig
from recommender.learning.train import build_release
from tests.conftest import NOW

CONFIG = RefreshConfig(preset="fast", threads=1)


@pytest.fixture(scope="module")
def snapshot(planted, tmp_path_factory):
    """The planted catalogue."""
    return snapshot_of(planted.batches(), tmp_path_factory.mktemp("leakage"))


def snapshot_of(batches, folder):
    store = EmbeddedStore(folder / "store.sqlite")
    for batch in batches:
        store.apply(batch)
    result = take_snapshot(store)
    store.close()
    return result


def built(fit, folder):
    release = build_release(fit, weigh(fit, CONFIG.weighting, NOW), CONFIG, folder, now=NOW)
    return {name: np.array(array) for name, array in release.arrays.items()}


def differing(first, other):
    assert first.keys() == other.keys()
    return [name for name in first if first[name].tobytes() != other[name].tobytes()]


def events_of_held_out(snapshot, test):
    width = len(snapshot.items)
    pairs = snapshot.events.user.astype(np.int64) * width + snapshot.events.item
    return np.isin(pairs, test.pairs[0] * width + test.pairs[1])


def test_planted_future_edges_leave_every_array_byte_identical(planted, snapshot, tmp_path):
    """Two worlds that differ in held-out events only: more of them, of other kinds and values."""
    fit, test = cut(snapshot, CONFIG, "time", now=NOW)
    future = np.flatnonzero(events_of_held_out(snapshot, test))
    assert len(future) > 100
    planted_edges = table(
        "events",
        [
            {
                "user": snapshot.users.id(int(snapshot.events.user[moved])),
                "item": snapshot.items.id(int(snapshot.events.item[moved])),
                "kind": kind,
                "value": 5.0,
                "at": int(snapshot.events.at[moved]) + 60,
            }
            for moved in future
            for kind in snapshot.kinds
        ],
    )
    more = snapshot_of([*planted.batches(), {"events": planted_edges}], tmp_path)
    assert len(more.events.user) > len(snapshot.events.user) + 100
    other, again = cut(more, CONFIG, "time", now=NOW)
    assert all(map(np.array_equal, again.pairs, test.pairs))
    assert fit.fingerprint == other.fingerprint
    assert differing(built(fit, tmp_path / "one"), built(other, tmp_path / "other")) == []


def test_what_is_good_the_scale_of_the_train_part_tells(tmp_path):
    """Of twelve users' last ratings the only 7 is held out: in train the stars go up to 5.

    By all ratings the scale is 1 to 7. Each has six good ratings, of which the last is held out;
    a 7 off the scale says nothing.
    """
    values = [1, 3, 5, 5, 5, 5, 5]
    rows = [
        {"user": f"u{user:02}", "item": f"i{number}", "kind": "rating", "value": value,
         "at": NOW - 1000 + number}
        for user in range(12)
        for number, value in enumerate([*values, 7 if user == 0 else 5])
    ]  # fmt: skip
    whole = snapshot_of([{"events": table("events", rows)}], tmp_path)
    fit, test = cut(whole, CONFIG, "time", now=NOW)
    assert scale_of(whole, CONFIG.weighting) == (1, 7)
    assert scale_of(fit, CONFIG.weighting) == (1, 5)
    held = zip(whole.users.ids(test.pairs[0]), whole.items.ids(test.pairs[1]), strict=True)
    assert set(held) == {(f"u{user:02}", "i7") for user in range(1, 12)}
    assert len(test.ratings.values) == 12  # all of them can be guessed


def test_an_edge_of_the_past_does_change_the_release(snapshot, tmp_path):
    """The comparison above can fail: one train event less is seen."""
    fit, _ = cut(snapshot, CONFIG, "time", now=NOW)
    keep = np.arange(len(fit.events.user)) != 7
    columns = {part.name: getattr(fit.events, part.name)[keep] for part in fields(fit.events)}
    less = replace(fit, events=type(fit.events)(**columns))
    changed = differing(built(fit, tmp_path / "one"), built(less, tmp_path / "less"))
    assert any(name.startswith("vectors.") for name in changed)
    assert "table.scores" in changed


def test_no_figure_depends_on_whose_test_part_it_is(snapshot, tmp_path):
    """With the test part dealt to other users, what is served finds no more than popularity does.

    A ranker that had looked at the test pairs would still find its own; an honest one is left
    with what everybody likes.
    """
    fit, test = cut(snapshot, CONFIG, "time", now=NOW)
    own = evaluate_snapshot(fit, test, CONFIG, tmp_path / "own", now=NOW)
    order = np.random.default_rng(0).permutation(len(test.pairs[0]))
    dealt = np.unique(np.stack([test.pairs[0][order], test.pairs[1]]), axis=1)
    strangers = replace(test, pairs=(dealt[0], dealt[1]))
    other = evaluate_snapshot(fit, strangers, CONFIG, tmp_path / "other", now=NOW)
    popular = other["baselines"]["popularity"]["ndcg@20"]
    assert own["served"]["ndcg@20"] > 1.2 * own["baselines"]["popularity"]["ndcg@20"]
    assert other["served"]["ndcg@20"] <= popular


def test_times_dealt_at_random_leave_the_sizes_of_the_parts(snapshot):
    """Shuffled times: each user gives as many pairs, but others, so the cut is by time alone."""
    rng = np.random.default_rng(0)
    events = snapshot.events
    moments = events.at.copy()
    for begin, end in zip(*_runs(events.user), strict=True):
        rng.shuffle(moments[begin:end])
    shuffled = replace(snapshot, events=replace(events, at=moments))
    _, test = cut(snapshot, CONFIG, "time", now=NOW)
    _, control = cut(shuffled, CONFIG, "time", now=NOW)
    count = len(snapshot.users)
    sizes = [np.bincount(part.pairs[0], minlength=count) for part in (test, control)]
    assert np.array_equal(*sizes)
    same = len(set(zip(*test.pairs, strict=True)) & set(zip(*control.pairs, strict=True)))
    assert same < 0.6 * len(test.pairs[0])


def _runs(users):
    begins = np.flatnonzero(np.diff(users, prepend=-1))
    return begins, np.append(begins[1:], len(users))
