"""Skip-gram learns what stands together, the same bytes on one thread."""

import numpy as np
import pytest

from embeddings.vectors.skipgram import SkipgramConfig, _negative_table, train
from graph.errors import SettingError


def sentences(seed=0, walks=400, length=10):
    """Walks that stay inside one of three groups of eight nodes, some of them cut short."""
    rng = np.random.default_rng(seed)
    block = rng.integers(8, size=(walks, length)) + 8 * rng.integers(3, size=(walks, 1))
    block[::7, length // 2 :] = -1
    return block.astype(np.int32)


def learned(threads=1, seed=3, **options):
    block = sentences()
    config = SkipgramConfig(dimensions=16, window=3, learning_rate=0.2)
    frequencies = np.bincount(block[block >= 0], minlength=26).astype(float)
    return train(
        [block] * 10, frequencies, block.size * 10, config, seed=seed, threads=threads, **options
    )


def own_group_first(inputs, outputs):
    """Share of nodes whose seven best contexts all lie in their own group of eight."""
    scores = inputs[:24] @ outputs[:24].T
    np.fill_diagonal(scores, -np.inf)
    best = np.argsort(-scores, axis=1)[:, :7]
    return float((best // 8 == np.arange(24)[:, None] // 8).mean())


@pytest.mark.parametrize("threads", [1, 2])
def test_contexts_of_the_same_group_score_highest(threads):
    assert own_group_first(*learned(threads)) > 0.99


def test_one_thread_gives_the_same_bytes_and_another_seed_others():
    first, again, other = learned(), learned(), learned(seed=4)
    assert first[0].tobytes() == again[0].tobytes()
    assert first[1].tobytes() == again[1].tobytes()
    assert first[0].tobytes() != other[0].tobytes()


def test_only_named_contexts_get_output_vectors():
    _, outputs = learned(contexts=(8, 16))
    assert (np.abs(outputs).sum(1) > 0).tolist() == [False] * 8 + [True] * 8 + [False] * 10


def test_nodes_outside_all_walks_keep_small_noise_and_no_output():
    inputs, outputs = learned()
    assert np.abs(inputs[24:]).max() <= 0.5 / 16
    assert not outputs[24:].any()


def test_training_goes_on_from_given_vectors():
    first = learned()
    kept = [part.copy() for part in first]
    later = learned(start=first)
    assert later[0].tobytes() != first[0].tobytes()
    assert all((part == copy).all() for part, copy in zip(first, kept, strict=True))


def test_negatives_are_drawn_by_the_power_of_their_frequency():
    table = _negative_table(np.array([0.0, 1.0, 16.0, 81.0]), 0.5)
    shares = np.bincount(table, minlength=4) / len(table)
    np.testing.assert_allclose(shares, np.array([0, 1, 4, 9]) / 14, atol=1e-5)


def test_nothing_to_learn_from_gives_the_start_back():
    inputs, outputs = train([], np.zeros(3), 0, SkipgramConfig(4), seed=0)
    assert inputs.shape == outputs.shape == (3, 4)
    with pytest.raises(SettingError):
        SkipgramConfig(dimensions=0)
