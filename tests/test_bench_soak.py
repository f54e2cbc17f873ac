"""What `./run bench soak` makes of the memory of a process."""

from collections import Counter

import numpy as np
import pytest

from benchmarks.soak import Stand, report, slope_of

HOURS = np.linspace(0, 2, 400)


def test_the_slope_of_a_line_is_told_in_mb_an_hour():
    noise = np.random.default_rng(0).normal(0, 0.5, len(HOURS))
    slope, low, high = slope_of(list(zip(HOURS, 100 + 3 * HOURS + noise, strict=True)))
    assert slope == pytest.approx(3, abs=0.3)
    assert low < slope < high


def test_what_never_changes_has_no_slope_and_no_doubt_about_it():
    assert slope_of([(hour, 90.3) for hour in HOURS]) == (0.0, 0.0, 0.0)


def test_what_is_open_for_a_moment_is_told_apart_from_what_is_never_closed():
    """Of two workers one swaps releases now and then, the other keeps a file every ten seconds."""
    samples = []
    for second in range(200):
        swaps = second % 40 == 39 and second > 100
        stands = {
            1: Stand("worker", 90.0, 187 if swaps else 110, 5),
            2: Stand("worker", 90.0, 110 + second // 10, 5),
        }
        samples.append((float(second), stands))
    swapping, keeping = report(samples, Counter(), 3)["table"]
    assert swapping["files"] == "110 then 110 to 187"
    assert swapping["files, mostly"] == "110 then 110"
    assert keeping["files"] == "110 to 119 then 120 to 129"
    assert keeping["files, mostly"] == "114 then 124"
