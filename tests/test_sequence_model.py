"""The sequence model: numpy foretells what torch learned, a planted order is recovered."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from embeddings.vectors.sequence_model import REACH, SequenceModel
from tests.data import package
from tests.test_follows import ITEMS, walks

torch = package("torch")
from embeddings.vectors import sequence_training as training  # noqa: E402
from embeddings.vectors.sequence_training import SequenceConfig, train_sequences  # noqa: E402


def lists_of(histories):
    return [np.array(history, np.int32) for history in histories]


@pytest.fixture(scope="module")
def network():
    """A network with random numbers in all of its arrays, whose items have the rows 1, 4, 7, …"""
    made = training.Network(200, SequenceConfig(width=16, heads=4), None, 3)
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for part in made.parameters():
            part.add_(0.3 * torch.randn(part.shape, generator=draw))
    return made.eval()


def test_the_loss_is_a_softmax_over_what_was_drawn_each_by_its_chance(network):
    lists = np.array([[5, 9, 120, 7], [-1, -1, 44, 9]])
    rng = np.random.default_rng(1)
    chances = rng.uniform(0.2, 0.4, 200)
    drawn = np.flatnonzero(rng.random(200) < chances)
    drawn = np.union1d(drawn[drawn != 7], [9, 120])  # of the items that come next all but one
    loss, count = training._loss(network, lists, drawn, chances)
    with torch.no_grad():
        logits = (network(torch.from_numpy(lists[:, :-1])) @ network.vectors.T).double().numpy()
    losses = []
    for row, at, wanted in [(0, 0, 9), (0, 1, 120), (0, 2, 7), (1, 2, 9)]:
        others = drawn[drawn != wanted]
        weighed = np.exp(logits[row, at, others]) / chances[others]
        own = np.exp(logits[row, at, wanted])
        losses.append(-np.log(own / (own + weighed.sum())))
    assert count == 4
    assert float(loss.detach()) == pytest.approx(np.mean(losses), rel=1e-4)


def test_numbers_are_dropped_in_training_alone(network):
    lists = torch.from_numpy(np.array([[5, 9, 120, 7]]))
    with torch.no_grad():
        plain = network(lists)
        assert torch.equal(network(lists), plain)
        network.train()
        try:
            several = torch.stack([network(lists) for _ in range(8)])
        finally:
            network.eval()
    assert len({tuple(each.flatten().tolist()) for each in several}) == 8


def test_numpy_foretells_what_torch_does_whatever_the_padding(network):
    model = network.export(np.arange(1, 600, 3, dtype=np.int32))
    rng = np.random.default_rng(0)
    lists = np.full((7, REACH + 15), -1, np.int32)
    for row, length in zip(lists, (1, 2, 9, REACH, REACH + 15, 0, 4), strict=True):
        if length:
            row[-length:] = 1 + 3 * rng.integers(200, size=length)
    lists[6, -2] = 2  # an item that the model does not know, and one that came since
    lists[6, -3] = 10_000
    logits, known = model.foretell(lists)
    assert known.tolist() == [True] * 5 + [False, True]
    assert not logits[5].any()
    for row in (0, 1, 2, 3, 4, 6):
        own = [(item - 1) // 3 for item in lists[row].tolist() if item % 3 == 1 and item < 600]
        with torch.no_grad():
            expected = network(torch.tensor([own[-REACH:]]))[0, -1] @ network.vectors.T
        np.testing.assert_allclose(logits[row], expected.numpy(), rtol=1e-4, atol=1e-4)


def test_a_model_survives_its_arrays(network):
    model = network.export(np.arange(200, dtype=np.int32))
    again = SequenceModel.of(dict(model.arrays))
    short = np.array([[5, 9, 3]], np.int32)
    assert (again.foretell(short)[0] == model.foretell(short)[0]).all()


def test_each_item_but_the_first_is_foretold_once_from_what_came_before():
    rng = np.random.default_rng(1)
    lists = [rng.integers(40, size=size).astype(np.int32) for size in (1, 2, 9, 51, 52, 160, 0)]
    windows = training._windows(lists)
    assert max(map(len, windows)) == REACH + 1
    assert sum(len(window) - 1 for window in windows) == sum(max(len(own) - 1, 0) for own in lists)
    batches = list(training._batches(windows, 64, rng))
    foretold = np.concatenate([places[:, 1:][places[:, :-1] >= 0] for places in batches])
    expected = np.concatenate([own[1:] for own in lists])
    assert sorted(foretold.tolist()) == sorted(expected.tolist())


def test_the_loss_is_that_of_a_whole_softmax_where_everything_is_drawn(network):
    places = np.array([[-1, -1, 4, 8, 1], [5, 9, 3, 7, 2]], np.int64)
    drawn, chances = np.arange(200), np.ones(200)
    loss, count = training._loss(network, places, drawn, chances)
    lists = torch.from_numpy(places)
    logits = network(lists[:, :-1]) @ network.vectors.T
    there = lists[:, :-1] >= 0
    expected = torch.nn.functional.cross_entropy(logits[there], lists[:, 1:][there])
    assert count == 6
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_negatives_that_are_drawn_now_and_then_stand_for_the_others(network):
    places = np.array([[5, 9, 3, 7, 2]], np.int64)
    chances = np.full(200, 0.5)
    rng = np.random.default_rng(2)
    with torch.no_grad():
        drawn = [
            float(
                training._loss(network, places, np.flatnonzero(rng.random(200) < 0.5), chances)[0]
            )
            for _ in range(200)
        ]
        whole = float(training._loss(network, places, np.arange(200), np.ones(200))[0])
    assert np.mean(drawn) == pytest.approx(whole, abs=4 * np.std(drawn) / 200**0.5 + 0.02)


@pytest.fixture(scope="module")
def learned():
    """A model of the walks."""
    config = SequenceConfig(epochs=10)
    return train_sequences(lists_of(walks()), ITEMS, config=config, seed=0, threads=1)[0]


def following_of(items):
    return items // 30 * 30 + (items + 1) % 30


def test_a_planted_order_is_recovered(learned):
    items = np.arange(ITEMS)
    logits, _ = learned.foretell(items.astype(np.int32)[:, None])
    logits[items, items] = -np.inf
    assert (logits.argmax(axis=1) == following_of(items)).mean() > 0.9


def test_the_newest_item_speaks_loudest(learned):
    items = np.arange(ITEMS, dtype=np.int32)
    lists = np.column_stack([(items + 50) % ITEMS, (items + 77) % ITEMS, items])
    logits, _ = learned.foretell(lists)
    np.put_along_axis(logits, lists.astype(np.int64), -np.inf, axis=1)
    assert (logits.argmax(axis=1) == following_of(items)).mean() > 0.8


def test_a_seed_gives_the_same_bytes_on_one_thread_and_leaves_torch_as_it_was():
    lists, config = lists_of(walks(users=60)), SequenceConfig(epochs=2)
    before = torch.get_num_threads(), torch.random.get_rng_state()

    def trained(seed):
        model, _ = train_sequences(lists, ITEMS, config=config, seed=seed, threads=1)
        return b"".join(array.tobytes() for array in model.arrays.values())

    assert trained(4) == trained(4) != trained(5)
    assert torch.get_num_threads() == before[0]
    assert (torch.random.get_rng_state() == before[1]).all()


def test_training_stops_when_nothing_gets_better_and_keeps_the_best_epoch():
    lists, seen = lists_of(walks(users=40)), []

    def watch(model):
        seen.append(model.vectors.copy())
        return {1: 0.1, 2: 0.3}.get(len(seen), 0.2)

    config = SequenceConfig(epochs=30, patience=2)
    model, report = train_sequences(lists, ITEMS, config=config, seed=0, threads=1, watch=watch)
    assert len(seen) == 4
    assert report["best_epoch"] == 2
    assert (model.vectors == seen[1]).all()


def test_nothing_to_learn_from_gives_a_model_that_knows_its_items():
    model, report = train_sequences(
        lists_of([[3], []]), 5, config=SequenceConfig(epochs=2), seed=0, threads=1
    )
    assert report["best_epoch"] == 0
    assert model.foretell(np.array([[3]], np.int32))[0].shape == (1, 5)


def test_foretelling_needs_no_torch():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from recommender.serving.recommend import Recommender\n"
        "from embeddings.vectors.sequence_model import SequenceModel"
    )
    root = Path(__file__).resolve().parents[1]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)
