"""What is foretold of users is calibrated, and left out where the base rate is as good."""

import numpy as np
import pytest

from recommender.segments.prediction import calibration, forecast


def drawn(users, seed, *, signal):
    """Features of which the first one says with what chance something happens."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(users, 4))
    features[rng.random((users, 4)) < 0.05] = np.nan
    chance = 1 / (1 + np.exp(-2 * np.nan_to_num(features[:, 0]))) if signal else 0.3
    return features, rng.random(users) < chance, np.broadcast_to(chance, users)


def test_planted_chances_are_found_and_calibrated():
    past, happened, _ = drawn(1500, 0, signal=True)
    today, _, chance = drawn(500, 1, signal=True)
    result = forecast(past, happened, today, seed=0)
    assert result.report["kept"]
    assert result.report["brier"] < result.report["brier_of_base_rate"]
    assert np.corrcoef(result.chances, chance)[0, 1] > 0.9
    gaps = [abs(part["told"] - part["happened"]) for part in result.report["calibration"]]
    assert max(gaps) < 0.15  # four deviations of a tenth


def test_what_is_unknown_of_everybody_tells_nothing():
    """As the age of an item in a catalogue without dates, or known of one user alone."""
    past, happened, _ = drawn(600, 0, signal=True)
    unknown = np.full((len(past), 2), np.nan)
    unknown[0, 1] = 3.0
    wide = np.hstack([past, unknown])
    result = forecast(wide, happened, wide, seed=0)
    assert result.report["kept"]
    assert np.isfinite(result.chances).all()


@pytest.mark.parametrize("seed", range(3))
def test_chance_alone_is_left_out(seed):
    past, happened, _ = drawn(600, seed, signal=False)
    result = forecast(past, happened, past, seed=0)
    assert result.chances is None
    assert not result.report["kept"]
    assert "base rate" in result.report["note"]


def test_too_few_are_not_learned_from():
    past, happened, _ = drawn(50, 0, signal=True)
    result = forecast(past, happened, past, seed=0)
    assert result.chances is None
    assert "too few" in result.report["note"]
    assert forecast(past[:0], happened[:0], past, seed=0).chances is None


def test_the_same_seed_foretells_the_same():
    past, happened, _ = drawn(400, 0, signal=True)
    a, b = (forecast(past, happened, past, seed=3) for _ in range(2))
    np.testing.assert_array_equal(a.chances, b.chances)


def test_calibration_by_hand():
    predicted = np.repeat([0.1, 0.9], 10)
    happened = np.repeat([False, True], 10)
    result = calibration(predicted, happened)
    assert [part["users"] for part in result] == [2] * 10
    assert [part["told"] for part in result] == [0.1] * 5 + [0.9] * 5
    assert [part["happened"] for part in result] == [0.0] * 5 + [1.0] * 5
