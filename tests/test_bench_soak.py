"""What `./run bench soak` makes of the memory of a process."""

import numpy as np
import pytest

from benchmarks.soak import slope_of

HOURS = np.linspace(0, 2, 400)


def test_the_slope_of_a_line_is_told_in_mb_an_hour():
    noise = np.random.default_rng(0).normal(0, 0.5, len(HOURS))
    slope, low, high = slope_of(list(zip(HOURS, 100 + 3 * HOURS + noise, strict=True)))
    assert slope == pytest.approx(3, abs=0.3)
    assert low < slope < high


def test_what_never_changes_has_no_slope_and_no_doubt_about_it():
    assert slope_of([(hour, 90.3) for hour in HOURS]) == (0.0, 0.0, 0.0)
