"""Seconds and memory of the steps of an evaluation."""

import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

Say = Callable[[str], None]


@dataclass
class Steps:
    """Seconds and memory of each step, in order."""

    say: Say = lambda _: None
    taken: dict[str, dict[str, float]] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure a block. Memory is the highest of this process up to the end of the block."""
        self.say(name)
        began = time.perf_counter()
        yield
        seconds = round(time.perf_counter() - began, 3)
        self.taken[name] = {"seconds": seconds, "peak_rss_mb": peak_rss_mb()}


def peak_rss_mb() -> float:
    """The most memory that this process held so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1024 * 1024 if sys.platform == "darwin" else 1024), 1)
