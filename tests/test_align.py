"""A turned copy is turned back exactly; neighbours are compared by overlap."""

import numpy as np
import pytest

from embeddings.vectors.align import neighbour_overlap, rotation


def test_a_turned_copy_comes_back_and_keeps_all_neighbours():
    rng = np.random.default_rng(0)
    old = rng.normal(size=(50, 6)).astype(np.float32)
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0].astype(np.float32)
    back = rotation(old @ turn, old)
    np.testing.assert_allclose(back @ back.T, np.eye(6), atol=1e-5)
    np.testing.assert_allclose(old @ turn @ back, old, atol=1e-4)
    assert (neighbour_overlap(old @ turn, old) == 1).all()


def test_unrelated_vectors_overlap_little_and_shapes_must_agree():
    rng = np.random.default_rng(0)
    assert neighbour_overlap(rng.normal(size=(200, 6)), rng.normal(size=(200, 6))).mean() < 0.2
    assert (rotation(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32)) == np.eye(3)).all()
    with pytest.raises(ValueError, match="shapes"):
        rotation(np.zeros((2, 3), np.float32), np.zeros((3, 3), np.float32))
